import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from glocal.errors import ConfigError, StoreError
from glocal.store import bundle
from glocal.store.bundle import export_bundle, import_bundle
from glocal.store.collection import Collection
from glocal.store.rows import LocalForm
from glocal.store.schema import DATABASE_NAME
from tests.store.small_collections import bytes_of, content_of, found, make, picture

ROWS = [(b"x/1.jpg", 1), (b"x/2.jpg", 2), (b"copy.jpg", 1), (b"bad.jpg", None)]


@pytest.fixture
def index(tmp_path):
    """An index in the folder of its photos, of which the files are there."""
    photos = tmp_path / "photos"
    place = make(photos / ".glocal", ROWS, photos, {b"x/1.jpg": "cat"}, finished=True)
    put_photos(photos)
    return place


def put_photos(folder):
    for name, size in (("x/1.jpg", 1001), ("x/2.jpg", 1002), ("copy.jpg", 1001)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))


# ---------------------------------------------------------------------- there and back
@pytest.mark.parametrize("form", LocalForm)
def test_what_is_exported_and_imported_is_what_it_was(tmp_path, form):
    source = make(tmp_path / "a", ROWS, tmp_path / "photos", {b"x/1.jpg": "cat"}, form=form, finished=True)
    before = bytes_of(source)
    exported = export_bundle(source, tmp_path / "file")
    assert bytes_of(source) == before
    imported = import_bundle(tmp_path / "file", tmp_path / "b")
    assert content_of(tmp_path / "b") == content_of(source)
    assert exported.counts == imported.counts == {"indexed": 3, "rejected": 1, "missing": 0, "contents": 2}
    assert exported.sha256 == imported.sha256
    assert exported.num_bytes == (tmp_path / "file").stat().st_size
    with Collection.open(tmp_path / "b") as collection:
        assert collection.local_form == form
        assert collection.last_run()[0]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "file", "photos"]


def test_the_checksum_is_of_the_rows_and_not_of_the_file(index, tmp_path):
    first = export_bundle(index, tmp_path / "one")
    with Collection.open(index, writable=True) as collection:
        collection.commit([picture(9)], [found(b"9.jpg", 9)])
        collection.hide([b"9.jpg"])
        assert export_bundle(index, tmp_path / "two").sha256 != first.sha256
        collection.drop_unused(missing_too=True)
    assert export_bundle(index, tmp_path / "three").sha256 == first.sha256


def test_a_bundle_is_one_private_file_that_tells_no_place(index, tmp_path):
    with Collection.open(index, writable=True) as collection:
        collection.model_source = "/home/somebody/weights"
    export_bundle(index, tmp_path / "file")
    data = (tmp_path / "file").read_bytes()
    assert b"somebody" not in data
    assert os.fsencode(tmp_path) not in data
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    elsewhere = make(tmp_path / "elsewhere", ROWS, tmp_path / "secret-name/photos")
    export_bundle(elsewhere, tmp_path / "file2")
    assert b"secret-name" not in (tmp_path / "file2").read_bytes()


def test_what_was_forgotten_is_not_carried_along(index, tmp_path):
    vector = picture(77).extraction.descriptor.astype("<f4").tobytes()
    with Collection.open(index, writable=True) as collection:
        collection.commit([picture(77), picture(78)], [found(b"77.jpg", 77), found(b"78.jpg", 78)])
        collection.hide([b"77.jpg"])
        export_bundle(index, tmp_path / "with")
        collection.drop_unused(missing_too=True)
    export_bundle(index, tmp_path / "without")
    assert vector in (tmp_path / "with").read_bytes()
    assert vector not in (tmp_path / "without").read_bytes()


def test_an_export_has_what_was_committed_while_another_process_writes(index, tmp_path):
    writer = sqlite3.connect(index / DATABASE_NAME, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM photos")
    export_bundle(index, tmp_path / "file")
    writer.execute("ROLLBACK")
    writer.close()
    import_bundle(tmp_path / "file", tmp_path / "b")
    assert content_of(tmp_path / "b") == content_of(index)


def test_an_index_in_a_folder_that_cannot_be_written_is_exported(index, tmp_path, monkeypatch):
    monkeypatch.setattr("glocal.store.schema.os.access", lambda *_: False)  # as for another user
    export_bundle(index, tmp_path / "file")
    monkeypatch.undo()
    import_bundle(tmp_path / "file", tmp_path / "b")
    assert content_of(tmp_path / "b") == content_of(index)


# ---------------------------------------------------------------------- photos
def test_photos_beside_the_index_are_found_again(index, tmp_path):
    export_bundle(index, tmp_path / "file")
    put_photos(tmp_path / "there")
    report = import_bundle(tmp_path / "file", tmp_path / "there/.glocal")
    assert report.root == tmp_path / "there"
    with Collection.open(tmp_path / "there/.glocal") as collection:
        assert collection.root == tmp_path / "there"


def test_without_photos_an_index_belongs_to_no_folder(index, tmp_path):
    export_bundle(index, tmp_path / "file")
    assert import_bundle(tmp_path / "file", tmp_path / "there/.glocal").root is None
    with Collection.open(tmp_path / "there/.glocal") as collection:
        assert collection.root is None


def test_a_folder_that_is_named_must_hold_the_photos(index, tmp_path):
    export_bundle(index, tmp_path / "file")
    put_photos(tmp_path / "good")
    put_photos(tmp_path / "bad")
    (tmp_path / "bad/x/1.jpg").write_bytes(b"another size")
    with pytest.raises(ConfigError, match=r"bad has 2 of 3 pictures that were looked for"):
        import_bundle(tmp_path / "file", tmp_path / "b", tmp_path / "bad")
    assert not (tmp_path / "b").exists()
    assert import_bundle(tmp_path / "file", tmp_path / "b", tmp_path / "good").root == tmp_path / "good"


# ---------------------------------------------------------------------- refusals
def test_what_is_no_bundle_is_refused_in_words(index, tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, said in (
        ("text", "is no bundle"),
        ("empty", "is no bundle"),
        ("pipe", "is no regular file"),
        ("photos", "is no regular file"),
        ("nowhere", "cannot read .*: No such file"),
        ("photos/.glocal/glocal.db", "is no bundle"),
    ):
        with pytest.raises(StoreError, match=said):
            import_bundle(tmp_path / name, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_stands_there_is_never_replaced(index, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StoreError, match="There is something at"):
        export_bundle(index, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"
    export_bundle(index, tmp_path / "good")
    with pytest.raises(StoreError, match="There is something in"):
        import_bundle(tmp_path / "good", index)


def test_a_bundle_of_a_newer_glocal_is_refused(index, tmp_path):
    export_bundle(index, tmp_path / "file")
    change(tmp_path / "file", "UPDATE meta SET value = json_set(value, '$.format', 2) WHERE key = 'bundle'")
    with pytest.raises(StoreError, match="newer glocal"):
        import_bundle(tmp_path / "file", tmp_path / "b")
    export_bundle(index, tmp_path / "file2")
    change(tmp_path / "file2", "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer glocal"):
        import_bundle(tmp_path / "file2", tmp_path / "b")


def change(file, statement):
    connection = sqlite3.connect(file, isolation_level=None)
    connection.executescript(statement)
    connection.execute("UPDATE meta SET value = CAST(value AS BLOB) WHERE key = 'bundle'")
    connection.close()


def test_damage_anywhere_is_either_found_or_changes_nothing(index, tmp_path):
    export_bundle(index, tmp_path / "file")
    whole, expected = (tmp_path / "file").read_bytes(), content_of(index)
    rng = np.random.default_rng(0)
    used = [place for place in range(len(whole)) if whole[place]]  # most of so small a file are zeros
    places = [*rng.choice(used, 50, replace=False).tolist(), *range(0, 100, 9)]
    refused = 0
    for number, place in enumerate(places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        refused += not imports_as(damaged, expected, tmp_path / f"flip{number}")
    for number, length in enumerate(rng.integers(1, len(whole), 10).tolist()):
        refused += not imports_as(whole[:length], expected, tmp_path / f"cut{number}")
    assert refused > 45


def imports_as(data, expected, place):
    """Whether a file is imported, and then as it was; False if it is refused."""
    file = place.with_suffix(".bundle")
    file.write_bytes(data)
    try:
        import_bundle(file, place)
    except StoreError:
        assert not place.exists()
        return False
    assert content_of(place) == expected
    return True


def test_a_change_of_one_row_is_found(index, tmp_path):
    for number, statement in enumerate(
        [
            "UPDATE photos SET mtime_ns = mtime_ns + 1 WHERE path = x'636f70792e6a7067'",
            "DELETE FROM photos WHERE status = 'rejected'",
            "UPDATE labels SET label = 'dog'",
            "UPDATE meta SET value = CAST(replace(value, 'fake', 'fbke') AS BLOB) WHERE key = 'spec'",
            "UPDATE descriptors SET vector = (SELECT vector FROM descriptors WHERE content = 2)",
        ]
    ):
        file = tmp_path / f"file{number}"
        export_bundle(index, file)
        change(file, statement)
        with pytest.raises(StoreError, match=r"its rows are not those that were written \(SHA-256\)"):
            import_bundle(file, tmp_path / "b")


# Whoever writes a bundle can write a checksum that fits.
FORGED = {
    "a name that leads out": "UPDATE photos SET path = CAST('../../etc/passwd' AS BLOB) WHERE content = 2",
    "an absolute name": "UPDATE photos SET path = CAST('/etc/passwd' AS BLOB) WHERE content = 2",
    "a label for a name that leads out": "UPDATE labels SET path = CAST('../x' AS BLOB)",
    "an infinite descriptor": (
        "UPDATE descriptors SET vector = CAST(x'0000807f' || substr(vector, 5) AS BLOB) WHERE content = 2"
    ),
    "a text that is none": "UPDATE photos SET detail = CAST(x'ff' AS TEXT) WHERE content IS NULL",
    "a descriptor without direction": "UPDATE descriptors SET vector = zeroblob(32) WHERE content = 2",
    "a short descriptor": "UPDATE descriptors SET vector = x'00000000' WHERE content = 2",
    "more features than there are": "UPDATE local_features SET count = 1000000000",
    "features of another photo": "UPDATE local_features SET checksum = 1",
    "a picture without a size": "UPDATE contents SET width = 0 WHERE id = 2",
    "a picture of a negative size": "UPDATE contents SET height = -5 WHERE id = 2",
    "an orientation that there is not": "UPDATE contents SET orientation = 9 WHERE id = 2",
    "a short hash": "UPDATE contents SET hash = x'00' WHERE id = 2",
    "a file of negative size": "UPDATE photos SET bytes = -1 WHERE content = 2",
    "a very long reason": "UPDATE photos SET reason = hex(zeroblob(100)) WHERE content IS NULL",
    "a status that there is not": (
        "PRAGMA ignore_check_constraints = ON; UPDATE photos SET status = 'fine' WHERE content = 2"
    ),
    "a very long descriptor": (
        "UPDATE meta SET value = CAST(replace(value, '\"dim\": 8', '\"dim\": 100000000') AS BLOB) WHERE key = 'spec'"
    ),
    "a form that there is not": "UPDATE meta SET value = CAST('int4' AS BLOB) WHERE key = 'local'",
    "a view": "CREATE VIEW v AS SELECT 1",
    "a trigger and a missing table": (
        "CREATE TRIGGER t AFTER INSERT ON photos BEGIN DELETE FROM photos; END; DROP TABLE descriptors"
    ),
}


def forge(file, statement):
    """Change a bundle, and have its manifest say that this is how it was written."""
    change(file, f"PRAGMA foreign_keys = OFF; {statement}")
    connection = sqlite3.connect(file, isolation_level=None)
    connection.row_factory = None
    source = type("Rows", (), {"connection": connection, "format": 2})()
    try:
        digest = bundle.digest_of(source)
    except sqlite3.Error:
        digest = ""
    manifest = json.loads(connection.execute("SELECT value FROM meta WHERE key = 'bundle'").fetchone()[0])
    manifest["sha256"] = digest
    connection.execute("UPDATE meta SET value = ? WHERE key = 'bundle'", (json.dumps(manifest).encode(),))
    connection.close()


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_bundle_is_refused_and_nothing_is_made(index, tmp_path, name):
    export_bundle(index, tmp_path / "file")
    forge(tmp_path / "file", FORGED[name])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match="damaged"):
        import_bundle(tmp_path / "file", tmp_path / "b")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_forgery_that_changes_nothing_is_imported(index, tmp_path):
    export_bundle(index, tmp_path / "file")
    forge(tmp_path / "file", "CREATE TRIGGER t AFTER INSERT ON photos BEGIN DELETE FROM photos; END")
    import_bundle(tmp_path / "file", tmp_path / "b")
    with Collection.open(tmp_path / "b", writable=True) as collection:
        collection.commit([picture(9)], [found(b"9.jpg", 9)])  # the trigger did not come along
        assert collection.counts()["indexed"] == 4


def test_a_journal_beside_a_bundle_is_not_applied(index, tmp_path):
    export_bundle(index, tmp_path / "file")
    data = (tmp_path / "file").read_bytes()
    hot = bytes.fromhex("d9d505f920a163d7") + bytes(504) + bytes(20000)
    (tmp_path / "file-journal").write_bytes(hot)
    (tmp_path / "file-wal").write_bytes(hot)
    import_bundle(tmp_path / "file", tmp_path / "b")
    assert content_of(tmp_path / "b") == content_of(index)
    assert (tmp_path / "file").read_bytes() == data
    assert (tmp_path / "file-journal").read_bytes() == hot


# ---------------------------------------------------------------------- accidents
KILLED_AT = """
import os, signal, sys
from pathlib import Path
import glocal.store.bundle as bundle
step, action, source, place = sys.argv[1:]
names = ["_seal", "_sync", "move_into_place"] if action == "export_bundle" else [
    "_expect_whole", "new_collection", "_expect_sound", "move_into_place"]
if int(step) < len(names):
    setattr(bundle, names[int(step)], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
getattr(bundle, action)(Path(source), Path(place))
"""


@pytest.mark.parametrize(("action", "steps"), [("export_bundle", 3), ("import_bundle", 4)])
def test_killed_at_any_step_nothing_is_there_and_the_next_one_clears_up(index, tmp_path, action, steps):
    source, place = index, tmp_path / "result"
    if action == "import_bundle":
        source = tmp_path / "file"
        export_bundle(index, source)
    before = content_of(index)
    for step in range(steps + 1):
        command = [sys.executable, "-c", KILLED_AT, str(step), action, source, place]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == (0 if step == steps else -signal.SIGKILL), done.stderr
        assert place.exists() == (step == steps)
        assert content_of(index) == before
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_ctrl_c_ends_an_export_and_leaves_nothing(index, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "_seal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_bundle(index, tmp_path / "file")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["photos"]


def test_a_signal_ends_a_statement_that_takes_for_ever():
    connection = sqlite3.connect(":memory:")

    def count_for_ever():
        with bundle._stoppable(connection):
            connection.set_progress_handler(lambda: 1, 1)  # what a signal handler that raises makes of ours
            connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n")

    with pytest.raises(KeyboardInterrupt):
        count_for_ever()
    connection.close()


def test_reports_are_plain_values(index, tmp_path):
    report = export_bundle(index, tmp_path / "file")
    assert dataclasses.asdict(report)["model"] == "fake"
