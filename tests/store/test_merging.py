import dataclasses
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ConfigError, DiskFull, NothingToDo, SpecMismatch, StoreBusy, StoreError
from glocal.store.collection import Collection
from glocal.store.merging import by_folder, by_names, evenly, merge, split
from glocal.store.rows import LocalForm
from glocal.store.schema import DATABASE_NAME
from tests.store.small_collections import SPEC, bytes_of, content_of, found, make, picture

ROWS_A = [(b"x/1.jpg", 1), (b"x/2.jpg", 2), (b"copy of 1.jpg", 1), (b"bad.jpg", None)]
ROWS_B = [(b"x/2.jpg", 2), (b"3.jpg", 3)]


@pytest.fixture
def two(tmp_path):
    """Two collections of photos in two folders, with picture 2 in both."""
    return (
        make(tmp_path / "a.glocal", ROWS_A, tmp_path / "photos/a", finished=True),
        make(tmp_path / "b.glocal", ROWS_B, tmp_path / "photos/b", finished=True),
    )


def statement(directory, *commands):
    connection = sqlite3.connect(directory / DATABASE_NAME)
    for command in commands:
        connection.executescript(command)
    connection.close()


# ---------------------------------------------------------------------- merging
def test_a_merged_collection_has_all_photos_under_their_place_in_the_common_folder(two, tmp_path):
    before = [content_of(each)[2] for each in two]
    report = merge(two, tmp_path / "both")
    rows, _, features = content_of(tmp_path / "both")
    assert {path: row[3] and int(row[3], 16) for path, row in rows.items()} == {
        b"a/x/1.jpg": 1,
        b"a/x/2.jpg": 2,
        b"a/copy of 1.jpg": 1,
        b"a/bad.jpg": None,
        b"b/x/2.jpg": 2,
        b"b/3.jpg": 3,
    }
    assert features == before[0] | before[1]
    assert report.counts == {"indexed": 5, "rejected": 1, "missing": 0, "contents": 3}
    assert (report.root, report.prefixes) == (tmp_path / "photos", ("a", "b"))
    assert [(taken.pictures, taken.copies) for taken in report.taken] == [(2, 0), (1, 1)]
    with Collection.open(tmp_path / "both") as both:
        assert both.root == tmp_path / "photos"
        assert both.spec == SPEC
        assert both.last_run()[0]
    assert sorted(each.name for each in (tmp_path / "both").iterdir()) == ["glocal.db", "writer.lock"]
    assert os.stat(tmp_path / "both").st_mode & 0o777 == 0o700


def test_sources_are_left_as_they_are(two, tmp_path):
    before = [bytes_of(each) for each in two]
    merge(two, tmp_path / "both")
    assert [bytes_of(each) for each in two] == before


def test_photos_of_one_folder_keep_their_names_and_of_two_rows_the_newer_is_kept(tmp_path):
    root = tmp_path / "photos"
    make(tmp_path / "a", [(b"1.jpg", 1), (b"2.jpg", 2), (b"3.jpg", 3)], root)
    make(tmp_path / "b", [(b"4.jpg", 4)], root)
    with Collection.open(tmp_path / "a", writable=True) as a, Collection.open(tmp_path / "b", writable=True) as b:
        b.commit([picture(5), picture(6), picture(7)], [found(b"1.jpg", 5, 19), found(b"2.jpg", 6, 21)])
        b.commit([], [found(b"3.jpg", 7, 10)])
        a.hide([b"3.jpg"])
    report = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    rows = content_of(tmp_path / "both")[0]
    assert {path: int(row[3], 16) for path, row in rows.items()} == {
        b"1.jpg": 1,  # newer in a
        b"2.jpg": 6,  # newer in b
        b"3.jpg": 7,  # there in b, gone in a
        b"4.jpg": 4,
    }
    assert report.prefixes == ("", "")
    assert [taken.conflicts for taken in report.taken] == [0, 3]
    assert report.counts == {"indexed": 4, "rejected": 0, "missing": 0, "contents": 4}
    assert set(content_of(tmp_path / "both")[2]) == {f"{seed:032x}" for seed in (1, 6, 7, 4)}  # the others are dropped


def test_a_folder_inside_another_gets_the_way_from_there(tmp_path):
    make(tmp_path / "a", [(b"1.jpg", 1)], tmp_path / "photos")
    make(tmp_path / "b", [(b"2.jpg", 2)], tmp_path / "photos/old/2019")
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both").prefixes == ("", "old/2019")
    assert set(content_of(tmp_path / "both")[0]) == {b"1.jpg", b"old/2019/2.jpg"}


def test_where_a_source_knows_no_folder_the_names_of_the_indexes_keep_photos_apart(tmp_path):
    make(tmp_path / "one/photos.glocal", [(b"1.jpg", 1)], tmp_path / "photos")
    make(tmp_path / "two/photos.glocal", [(b"1.jpg", 2)])
    make(tmp_path / "three/.glocal", [(b"1.jpg", 3)])
    report = merge(
        [tmp_path / f"{name}/photos.glocal" for name in ("one", "two")] + [tmp_path / "three/.glocal"], tmp_path / "all"
    )
    assert (report.root, report.prefixes) == (None, ("photos.glocal", "photos.glocal-2", "three"))
    rows = content_of(tmp_path / "all")[0]
    assert {path: int(row[3], 16) for path, row in rows.items()} == {
        b"photos.glocal/1.jpg": 1,
        b"photos.glocal-2/1.jpg": 2,
        b"three/1.jpg": 3,
    }


def test_labels_of_folders_stay_so_as_long_as_no_photo_would_get_another(tmp_path):
    make(tmp_path / "a", [(b"cat/1.jpg", 1)], tmp_path / "photos/a", "folder")
    make(tmp_path / "b", [(b"dog/2.jpg", 2)], tmp_path / "photos/b", "folder")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert content_of(tmp_path / "both")[1] == {b"a/cat/1.jpg": "cat", b"b/dog/2.jpg": "dog"}
    with Collection.open(tmp_path / "both") as both:
        assert both.labels == "folder"


def test_labels_are_listed_where_the_new_folder_would_change_them(tmp_path):
    make(tmp_path / "a", [(b"cat/1.jpg", 1), (b"none.jpg", 2)], tmp_path / "photos/a", "folder")
    make(tmp_path / "b", [(b"x/3.jpg", 3), (b"x/4.jpg", 4)], tmp_path / "photos/b", {b"x/3.jpg": "dog"})
    make(tmp_path / "c", [(b"y/5.jpg", 5)], tmp_path / "photos/c")
    merge([tmp_path / name for name in "abc"], tmp_path / "all")
    assert content_of(tmp_path / "all")[1] == {
        b"a/cat/1.jpg": "cat",
        b"a/none.jpg": None,
        b"b/x/3.jpg": "dog",
        b"b/x/4.jpg": None,
        b"c/y/5.jpg": None,
    }


def test_a_name_that_is_no_utf8_is_kept_byte_for_byte(tmp_path):
    make(tmp_path / "a", [(b"\xff/\xfe.jpg", 1)], tmp_path / "photos/a", "folder")
    make(tmp_path / "b", [(b"2.jpg", 2)], tmp_path / "photos/b")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    with Collection.open(tmp_path / "both") as both:
        assert [row.path for row in both.catalogue()] == [b"a/\xff/\xfe.jpg", b"b/2.jpg"]
        assert both.num_labelled() == 1


def test_an_index_that_was_not_finished_makes_none_that_is(tmp_path):
    make(tmp_path / "a", [(b"1.jpg", 1)], tmp_path / "photos", finished=True)
    make(tmp_path / "b", [(b"2.jpg", 2)], tmp_path / "photos")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    with Collection.open(tmp_path / "both") as both:
        assert not both.last_run()[0]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("weights", "1" * 64, "weights: '000000000000' and '111111111111'"),
        ("model", "other", "model: 'fake' and 'other'"),
        ("scales", (0.5, 1.0), r"scales: \(1.0,\) and \(0.5, 1.0\)"),
        ("exif", "ignore", "exif: 'apply' and 'ignore'"),
    ],
)
def test_collections_of_two_extractors_are_not_merged_and_the_difference_is_named(tmp_path, field, value, named):
    make(tmp_path / "a", [(b"1.jpg", 1)])
    make(tmp_path / "b", [(b"2.jpg", 2)], spec=dataclasses.replace(SPEC, **{field: value}))
    with pytest.raises(SpecMismatch, match=named):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]


def test_collections_that_keep_local_features_in_two_ways_are_not_merged(tmp_path):
    make(tmp_path / "a", [(b"1.jpg", 1)])
    make(tmp_path / "b", [(b"2.jpg", 2)], form=LocalForm.BINARY)
    with pytest.raises(SpecMismatch, match="local features: 'int8' and 'binary'"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")


def format_1(directory, rows):
    Collection.create(directory, SPEC).close()
    statement(directory, "PRAGMA user_version = 1; DELETE FROM meta WHERE key = 'local';")
    with Collection.open(directory, writable=True) as collection:
        collection.commit([picture(seed) for _, seed in rows], [found(path, seed) for path, seed in rows])
    return directory


def test_collections_of_the_first_format_are_merged_in_it_and_with_no_other(tmp_path):
    a, b = format_1(tmp_path / "a", [(b"1.jpg", 1)]), format_1(tmp_path / "b", [(b"2.jpg", 2)])
    before = content_of(a)[2] | content_of(b)[2]
    merge([a, b], tmp_path / "both")
    assert content_of(tmp_path / "both")[2] == before
    make(tmp_path / "c", [(b"3.jpg", 3)])
    with pytest.raises(SpecMismatch, match="format: 1 and 2"):
        merge([a, tmp_path / "c"], tmp_path / "other")


@pytest.mark.parametrize("form", LocalForm)
def test_every_form_of_local_features_is_copied_byte_for_byte(tmp_path, form):
    a, b = make(tmp_path / "a", ROWS_A, form=form), make(tmp_path / "b", ROWS_B, form=form)
    merge([a, b], tmp_path / "both")
    assert content_of(tmp_path / "both")[2] == content_of(a)[2] | content_of(b)[2]
    with Collection.open(tmp_path / "both") as both:
        assert both.local_form == form


def test_what_stands_there_is_never_replaced(two, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thing").touch()
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("full", "file", "link", "a.glocal"):
        with pytest.raises(StoreError, match=r"There is something in .* already"):
            merge(two, tmp_path / name)
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    merge(two, tmp_path / "empty")
    assert Collection.exists(tmp_path / "empty")
    with pytest.raises(StoreError, match="There is no index in"):
        merge([two[0], tmp_path / "full"], tmp_path / "new")
    assert not list(tmp_path.glob(".*"))


def test_two_processes_do_not_write_to_one_place(two, tmp_path):
    (tmp_path / ".both.partial").mkdir()
    held = os.open(tmp_path / ".both.partial", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(StoreBusy, match="being written by another process"):
        merge(two, tmp_path / "both")
    os.close(held)
    merge(two, tmp_path / "both")


def test_a_source_may_be_written_meanwhile(two, tmp_path):
    with Collection.open(two[0], writable=True) as writer:
        writer.commit([picture(9)], [found(b"9.jpg", 9)])
        merge(two, tmp_path / "both")
        writer.commit([picture(10)], [found(b"10.jpg", 10)])
    rows = content_of(tmp_path / "both")[0]
    assert b"a/9.jpg" in rows
    assert b"a/10.jpg" not in rows


def test_a_nearest_neighbour_file_is_no_part_of_what_is_copied(two, tmp_path):
    statement(two[0], "INSERT INTO meta VALUES ('nearest', x'7b7d'), ('nearest covers', 7);"
                      "CREATE TRIGGER t AFTER DELETE ON contents BEGIN UPDATE meta SET value = 0; END;")  # fmt: skip
    merge(two, tmp_path / "both")
    connection = sqlite3.connect(tmp_path / "both" / DATABASE_NAME)
    kept = {key for (key,) in connection.execute("SELECT key FROM meta")}
    triggers = connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()[0]
    connection.close()
    assert kept == {"spec", "model_source", "local", "root"}
    assert triggers == 0


# ---------------------------------------------------------------------- accidents
KILLED_AT = """
import os, signal, sys
from pathlib import Path
import glocal.store.copying, glocal.store.merging
from glocal.store.merging import merge, split, evenly

where, command, *places = sys.argv[1:]
calls = 0
def count_down(original):
    def wrapped(*arguments, **options):
        global calls
        calls += 1
        if calls == int(where):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    return wrapped
module = glocal.store.copying
module.transaction = count_down(module.transaction)
module.NewCollection.finish = count_down(module.NewCollection.finish)
glocal.store.merging.move_into_place = count_down(glocal.store.merging.move_into_place)
places = [Path(place) for place in places]
if command == "merge":
    merge(places[1:], places[0])
else:
    split(places[0], places[1:], evenly(places[0], len(places) - 1))
print("survived")
"""


def run_child(*arguments):
    return subprocess.run(
        [sys.executable, "-c", KILLED_AT, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_killed_at_any_step_a_merge_leaves_nothing_at_its_place_and_the_sources_as_they_were(two, tmp_path):
    before = [content_of(each) for each in two]
    for step in range(1, 50, 2):
        done = run_child(step, "merge", tmp_path / "both", *two)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (tmp_path / "both").exists()
        assert [content_of(each) for each in two] == before
    assert step > 6  # it was killed in its transactions, and before the last move
    assert "survived" in done.stdout
    assert len(content_of(tmp_path / "both")[0]) == 6
    assert not list(tmp_path.glob(".*"))  # what the killed ones left was cleared by the one that finished


def test_killed_at_any_step_each_part_of_a_split_is_whole_or_not_there(two, tmp_path):
    whole = content_of(two[0])[0]
    parts = tmp_path / "p1", tmp_path / "p2"
    for step in range(2, 50, 3):
        for part in parts:
            subprocess.run(["rm", "-rf", part], check=True)
        if run_child(step, "split", two[0], *parts).returncode == 0:
            break
        for part in parts:
            assert not part.exists() or len(content_of(part)[0]) == 2
    assert content_of(parts[0])[0] | content_of(parts[1])[0] == whole
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_nothing_half_written(two, tmp_path):
    code = (
        "import resource, sys; from pathlib import Path; from glocal.errors import DiskFull\n"
        "from glocal.store.merging import merge\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "a, b, out = map(Path, sys.argv[1:])\n"
        "try: merge([a, b], out)\n"
        "except DiskFull as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *two, tmp_path / "both"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Disk full" in done.stdout
    assert "nothing half-written is left" in done.stdout
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.glocal", "b.glocal", "photos"]


def test_an_error_on_the_way_leaves_no_draft(two, tmp_path, monkeypatch):
    def fail(*_):
        raise DiskFull("the disk fails")

    monkeypatch.setattr("glocal.store.copying.NewCollection.finish", fail)
    with pytest.raises(DiskFull, match="both could not be written, and nothing half-written is left"):
        merge(two, tmp_path / "both")
    assert not list(tmp_path.glob(".*"))


HOSTILE = {
    "a way out": "UPDATE photos SET path = CAST('../../etc/passwd' AS BLOB) WHERE path = x'332e6a7067'",
    "an absolute name": "UPDATE photos SET path = CAST('/etc/passwd' AS BLOB) WHERE path = x'332e6a7067'",
    "a dot": "UPDATE photos SET path = CAST('./x' AS BLOB) WHERE path = x'332e6a7067'",
    "two slashes": "UPDATE photos SET path = CAST('x//y' AS BLOB) WHERE path = x'332e6a7067'",
    "no name": "UPDATE photos SET path = x'' WHERE path = x'332e6a7067'",
    "a zero byte": "UPDATE photos SET path = x'6100' WHERE path = x'332e6a7067'",
    "a name that is text": "UPDATE photos SET path = 'x' WHERE path = x'332e6a7067'",
    "a text for a number": "UPDATE photos SET mtime_ns = 'late' WHERE path = x'332e6a7067'",
    "a number for bytes": "UPDATE local_features SET geometry = 7",
    "a picture that is not there": "PRAGMA foreign_keys = OFF; DELETE FROM contents WHERE id = 1",
    "features that are not there": "DELETE FROM local_features WHERE content = 1",
    "a view": "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT * FROM n",
    "a view for a table": (
        "PRAGMA foreign_keys = OFF; ALTER TABLE photos RENAME TO p2; CREATE VIEW photos AS WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i FROM n) SELECT p2.* FROM p2, n"
    ),
    "a column that is computed": "ALTER TABLE contents ADD COLUMN more AS (hex(zeroblob(1000000000)))",
    "a column that is missing": "ALTER TABLE local_features DROP COLUMN checksum",
    "a spec that is a number": "UPDATE meta SET value = 1000000000000 WHERE key = 'spec'",
    "a spec that is no JSON": "UPDATE meta SET value = x'00' WHERE key = 'spec'",
    "a spec of another shape": "UPDATE meta SET value = CAST('[1]' AS BLOB) WHERE key = 'spec'",
    "labels that are no text": "UPDATE meta SET value = x'ff' WHERE key = 'labels'",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_source_is_refused_and_nothing_is_made(tmp_path, name):
    make(tmp_path / "a", [(b"1.jpg", 1)], tmp_path / "photos")
    make(tmp_path / "b", ROWS_B, tmp_path / "photos", "folder")
    statement(tmp_path / "b", HOSTILE[name])
    before = bytes_of(tmp_path / "b")
    with pytest.raises(StoreError, match=r"/b is damaged"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "photos"]
    assert bytes_of(tmp_path / "b") == before


# ---------------------------------------------------------------------- splitting
def test_equal_parts_have_all_photos_once_with_their_features(two, tmp_path):
    parts = [tmp_path / f"part{number}" for number in range(3)]
    counts = split(two[0], parts, evenly(two[0], 3))
    whole, found_rows = content_of(two[0]), [content_of(part)[0] for part in parts]
    assert [len(rows) for rows in found_rows] == [1, 1, 2]
    assert {path: row for rows in found_rows for path, row in rows.items()} == whole[0]
    assert sum(count["indexed"] for count in counts) == 3
    for part in parts:
        for name, features in content_of(part)[2].items():
            assert features == whole[2][name]
        with Collection.open(part) as collection:
            assert collection.root == tmp_path / "photos/a"


def test_a_folder_becomes_a_collection_of_its_own_with_names_from_there(tmp_path):
    rows = [(b"old/cat/1.jpg", 1), (b"old/2.jpg", 2), (b"older/3.jpg", 3), (b"4.jpg", 4)]
    source = make(tmp_path / "a", rows, tmp_path / "photos", "folder")
    part_of, folder = by_folder("old/")
    split(source, [tmp_path / "old", tmp_path / "rest"], part_of, folder)
    assert content_of(tmp_path / "old")[1] == {b"cat/1.jpg": "cat", b"2.jpg": "old"}
    assert content_of(tmp_path / "rest")[1] == {b"older/3.jpg": "older", b"4.jpg": None}
    with Collection.open(tmp_path / "old") as old, Collection.open(tmp_path / "rest") as rest:
        assert (old.root, rest.root) == (tmp_path / "photos/old", tmp_path / "photos")
        assert rest.labels == "folder"


def test_a_list_says_what_the_first_part_has_and_the_second_may_be_left_out(two, tmp_path):
    part_of = by_names(two[0], ["x/1.jpg", "./bad.jpg"])
    split(two[0], [tmp_path / "some", tmp_path / "others"], part_of)
    assert set(content_of(tmp_path / "some")[0]) == {b"x/1.jpg", b"bad.jpg"}
    assert set(content_of(tmp_path / "others")[0]) == {b"x/2.jpg", b"copy of 1.jpg"}
    split(two[0], [tmp_path / "only"], part_of)
    assert set(content_of(tmp_path / "only")[0]) == {b"x/1.jpg", b"bad.jpg"}


def test_names_that_are_not_there_are_counted_and_the_first_is_told(two):
    with pytest.raises(ConfigError, match=r'2 of 3 names are not in the index in .*, first "no.jpg"'):
        by_names(two[0], ["x/1.jpg", "zz.jpg", "no.jpg"])


@pytest.mark.parametrize("folder", ["..", "../b", "/etc", "."])
def test_a_folder_outside_is_refused(folder):
    with pytest.raises(ConfigError, match="is no folder inside"):
        by_folder(folder)


def test_an_empty_part_is_never_written_as_success(two, tmp_path):
    part_of, folder = by_folder("nothing here")
    with pytest.raises(NothingToDo, match=r"No photo of .* goes to"):
        split(two[0], [tmp_path / "p", tmp_path / "q"], part_of, folder)
    with pytest.raises(NothingToDo):
        split(two[1], [tmp_path / str(part) for part in range(5)], evenly(two[1], 5))
    with pytest.raises(ConfigError, match="two parts have the same place"):
        split(two[0], [tmp_path / "p", tmp_path / "p"], evenly(two[0], 2))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.glocal", "b.glocal", "photos"]


@settings(max_examples=5, deadline=None)
@given(
    names=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), min_size=4, max_size=12, unique=True),
    num_parts=st.integers(2, 4),
)
def test_split_and_merged_again_a_collection_is_what_it_was(names, num_parts):
    rows = [(f"{folder}/{number}.jpg".encode(), number) for folder, number in names]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        source = make(place / "source", rows, place / "photos", "folder")
        parts = [place / f"part{number}" for number in range(num_parts)]
        split(source, parts, evenly(source, num_parts))
        merge(parts, place / "again")
        assert content_of(place / "again") == content_of(source)
