import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from glocal.errors import ConfigError, DiskFull, SpecMismatch, StoreBusy, StoreError
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, LocalForm, NewContent, RunSummary
from glocal.store.schema import DATABASE_NAME
from glocal.types import Extraction, ExtractorSpec, LocalFeatures

SPEC = ExtractorSpec(
    model="fake",
    weights="0" * 64,
    image_size=64,
    resize="area",
    exif="apply",
    colour="rgb",
    scales=(1.0,),
    whitening="none",
    metric="inner product",
    dim=8,
    local_dim=4,
    max_features=5,
)


def unit_rows(rng, count, length):
    rows = rng.normal(size=(count, length)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def content(seed: int, keypoints: int = 5, local_dim: int = 4) -> NewContent:
    rng = np.random.default_rng(seed)
    name = f"{seed:032x}"
    local = LocalFeatures(
        id=name,
        size=(100, 50),
        keypoints=rng.uniform(0, 50, (keypoints, 2)).astype(np.float32),
        descriptors=unit_rows(rng, keypoints, local_dim),
        scores=np.sort(rng.random(keypoints).astype(np.float32))[::-1].copy(),
        scales=rng.random(keypoints).astype(np.float32),
    )
    return NewContent(name, 1000 + seed, (100, 50), 1, Extraction(unit_rows(rng, 1, 8)[0], local))


def row(path: bytes, seed: int | None) -> CatalogueRow:
    if seed is None:
        return CatalogueRow(path, 10, 20, "rejected", "corrupt", "damaged")
    return CatalogueRow(path, 1000 + seed, 20, "indexed", content_hash=f"{seed:032x}")


@pytest.fixture
def collection(tmp_path):
    with Collection.create(tmp_path / "index", SPEC) as collection:
        yield collection


def test_what_was_committed_is_there_after_reopening(tmp_path):
    stored = content(1)
    with Collection.create(tmp_path / "index", SPEC) as collection:
        collection.commit([stored], [row(b"a.jpg", 1), row(b"copy.jpg", 1), row(b"bad.jpg", None)])
    with Collection.open(tmp_path / "index") as collection:
        assert collection.spec == SPEC
        assert collection.counts() == {"indexed": 2, "rejected": 1, "missing": 0, "contents": 1}
        (block,) = collection.descriptors()
        assert block.ids == (stored.content_hash,)
        assert np.array_equal(block.vectors[0], stored.extraction.descriptor)
        assert collection.paths(stored.content_hash) == [b"a.jpg", b"copy.jpg"]
        local = collection.local_features(stored.content_hash)
        assert np.abs(local.keypoints - stored.extraction.local.keypoints).max() < 50 / 131070 + 1e-5
        assert np.abs(local.scores / stored.extraction.local.scores - 1).max() < 0.02
        assert np.abs(local.descriptors - stored.extraction.local.descriptors).max() < 0.01
        rows = {r.path: r for r in collection.catalogue()}
        assert (rows[b"a.jpg"].width, rows[b"a.jpg"].height) == (100, 50)
        assert rows[b"bad.jpg"].reason == "corrupt"


def test_a_model_without_local_features_has_rows_of_none(tmp_path):
    none = np.empty(0, np.float32)
    name = f"{1:032x}"
    local = LocalFeatures(name, (100, 50), np.empty((0, 2), np.float32), np.empty((0, 0), np.float32), none, none)
    stored = NewContent(name, 1001, (100, 50), 1, Extraction(unit_rows(np.random.default_rng(1), 1, 8)[0], local))
    spec = dataclasses.replace(SPEC, local_dim=0, max_features=0)
    with Collection.create(tmp_path / "index", spec) as collection:
        collection.commit([stored], [row(b"a.jpg", 1)])
    with Collection.open(tmp_path / "index") as collection:
        assert collection.spec.local_dim == 0
        assert len(collection.local_features(name)) == 0
        assert collection.stored_bytes()["local"] == 0
        (block,) = collection.descriptors()
        assert np.array_equal(block.vectors[0], stored.extraction.descriptor)


@pytest.mark.parametrize("form", LocalForm)
def test_a_collection_keeps_the_form_in_which_it_was_made(tmp_path, form):
    spec = dataclasses.replace(SPEC, local_dim=8)
    names = [f"{seed:032x}" for seed in (3, 1, 2)]
    with Collection.create(tmp_path / "index", spec, local_form=form) as collection:
        collection.commit([content(seed, 5, 8) for seed in (1, 2, 3)], [row(b"%d.jpg" % n, n) for n in (1, 2, 3)])
    with Collection.open(tmp_path / "index") as collection:
        assert collection.local_form == form
        many = collection.local_features_many(names)
        assert [local.id for local in many] == names
        for name, local in zip(names, many, strict=True):
            before = content(int(name, 16), 5, 8).extraction.local
            wanted = before.descriptors
            if form == LocalForm.BINARY:
                wanted = np.where(wanted > 0, 1, -1) / np.sqrt(8)
            assert np.abs(local.descriptors - wanted).max() < 0.01
            assert np.abs(local.keypoints - before.keypoints).max() < 0.001
            assert np.array_equal(local.descriptors, collection.local_features(name).descriptors)
        expected = {"int8": 8, "float16": 16, "binary": 1}[form] * 15
        assert 0 < collection.stored_bytes()["local"] - expected <= 3 * (36 + 6 * 5 + 10)


def test_packed_signs_come_from_a_binary_collection_alone(tmp_path):
    spec = dataclasses.replace(SPEC, local_dim=8)
    names = [f"{seed:032x}" for seed in (2, 1)]
    for form in (LocalForm.BINARY, LocalForm.INT8):
        with Collection.create(tmp_path / form, spec, local_form=form) as collection:
            collection.commit([content(seed, 5, 8) for seed in (1, 2)], [row(b"%d.jpg" % n, n) for n in (1, 2)])
            if form == LocalForm.INT8:
                with pytest.raises(StoreError, match="as int8, not as binary"):
                    collection.sign_features_many(names)
                continue
            found = collection.sign_features_many(names)
            assert [each.id for each in found] == names
            for seed, each in zip((2, 1), found, strict=True):
                before = content(seed, 5, 8).extraction.local.descriptors
                assert each.bits.tolist() == [[int("".join("01"[bool(v > 0)] for v in line), 2)] for line in before]


def test_more_pictures_than_one_statement_names_are_read_in_the_order_asked(collection):
    count = 1203
    collection.commit([content(i, 1) for i in range(count)], [row(b"%d.jpg" % i, i) for i in range(count)])
    names = [f"{i:032x}" for i in np.random.default_rng(0).permutation(count)]
    assert [local.id for local in collection.local_features_many(names)] == names
    assert collection.local_features_many([]) == []
    twice = [names[5], names[2], names[5]]
    assert [local.id for local in collection.local_features_many(twice)] == twice


def test_a_picture_without_features_is_named_among_many(collection):
    collection.commit([content(1)], [row(b"a.jpg", 1)])
    with pytest.raises(StoreError, match=f"no local features of picture '{7:032x}'"):
        collection.local_features_many([f"{1:032x}", f"{7:032x}"])


def test_signs_that_fill_no_whole_byte_are_refused_when_a_collection_is_made(tmp_path):
    with pytest.raises(ConfigError, match="4 numbers: their signs do not fill whole bytes"):
        Collection.create(tmp_path / "index", SPEC, local_form=LocalForm.BINARY)
    assert not Collection.exists(tmp_path / "index")


@pytest.mark.parametrize("value", [b"int4", b"binary", b"\xff", None])
def test_a_form_that_there_is_not_or_cannot_be_is_refused(tmp_path, value):
    Collection.create(tmp_path / "index", SPEC).close()
    with sqlite3.connect(tmp_path / "index" / DATABASE_NAME) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'local'")
        if value is not None:
            connection.execute("INSERT INTO meta VALUES ('local', ?)", (value,))
    connection.close()
    with pytest.raises(StoreError, match="damaged: it keeps local features of 4 numbers as"):
        Collection.open(tmp_path / "index")


@pytest.fixture
def old(tmp_path):
    """A collection that a glocal of format 1 wrote (pictures 1 and 2 of `content`), and what that read from it."""
    (tmp_path / "old").mkdir()
    here = Path(__file__).parent
    connection = sqlite3.connect(tmp_path / "old" / DATABASE_NAME)
    connection.executescript((here / "format_1.sql").read_text("utf-8"))
    connection.close()
    return tmp_path / "old", json.loads((here / "format_1.json").read_text("utf-8"))


def test_a_collection_of_the_first_format_is_read_as_it_was(old):
    directory, wanted = old
    with Collection.open(directory) as collection:
        assert (collection.spec, collection.local_form) == (SPEC, LocalForm.INT8)
        assert collection.counts() == {"indexed": 3, "rejected": 1, "missing": 0, "contents": 2}
        found = collection.local_features_many([f"{seed:032x}" for seed in (2, 1)])
        for seed, local in zip((2, 1), found, strict=True):
            assert np.array_equal(local.keypoints, content(seed).extraction.local.keypoints)
            for name in ("keypoints", "descriptors", "scores", "scales"):
                assert np.abs(getattr(local, name) - np.array(wanted[str(seed)][name])).max() < 1e-6


def test_a_collection_of_the_first_format_stays_one_when_it_grows(old):
    directory, _ = old
    with Collection.open(directory, writable=True) as collection:
        collection.commit([content(3)], [row(b"c.jpg", 3)])
    with Collection.open(directory) as collection:
        local = collection.local_features(f"{3:032x}")
        assert np.array_equal(local.keypoints, content(3).extraction.local.keypoints)
        assert np.array_equal(local.scores, content(3).extraction.local.scores)
    with sqlite3.connect(directory / DATABASE_NAME) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT LENGTH(geometry) FROM local_features").fetchall() == [(80,)] * 3
    connection.close()


def test_files_beside_the_database_are_counted_as_caches(tmp_path, collection):
    assert collection.stored_bytes()["caches"] == 0
    (tmp_path / "index/deep").mkdir()
    (tmp_path / "index/vectors.npy").write_bytes(bytes(100))
    (tmp_path / "index/deep/list.bin").write_bytes(bytes(23))
    assert collection.stored_bytes()["caches"] == 123


def test_it_remembers_where_its_model_came_from(tmp_path):
    with Collection.create(tmp_path / "index", SPEC, "/models/mine\udcff") as collection:
        assert collection.model_source == "/models/mine\udcff"
        collection.model_source = "/elsewhere"
    with Collection.open(tmp_path / "index") as collection:
        assert collection.model_source == "/elsewhere"


def test_a_collection_that_does_not_say_so_took_its_model_from_the_catalogue(tmp_path):
    Collection.create(tmp_path / "index", SPEC).close()
    with sqlite3.connect(tmp_path / "index" / DATABASE_NAME) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'model_source'")
    connection.close()
    with Collection.open(tmp_path / "index") as collection:
        assert collection.model_source == "fake"


def test_a_name_that_is_not_utf8_is_kept_byte_for_byte(collection):
    collection.commit([content(1)], [row(b"\xff\xfe\n.jpg", 1)])
    assert [r.path for r in collection.catalogue()] == [b"\xff\xfe\n.jpg"]


def test_a_failed_commit_leaves_nothing_behind(collection):
    collection.commit([content(1)], [row(b"a.jpg", 1)])
    with pytest.raises(TypeError):
        collection.commit([content(2)], [row(b"b.jpg", 2), row(b"c.jpg", 3)])  # content 3 is not stored
    assert [r.path for r in collection.catalogue()] == [b"a.jpg"]
    assert not collection.knows(f"{2:032x}")


def test_hidden_files_are_not_searched_but_kept_until_they_are_pruned(collection):
    collection.commit([content(1), content(2)], [row(b"a.jpg", 1), row(b"b.jpg", 2)])
    collection.hide([b"a.jpg"])
    assert [block.ids for block in collection.descriptors()] == [(f"{2:032x}",)]
    assert collection.drop_unused() == 0
    assert collection.knows(f"{1:032x}")
    collection.show([b"a.jpg"])
    assert collection.counts()["indexed"] == 2
    collection.hide([b"a.jpg"])
    assert collection.drop_unused(missing_too=True) == 1
    assert not collection.knows(f"{1:032x}")
    with pytest.raises(StoreError):
        collection.local_features(f"{1:032x}")


def test_a_moved_file_takes_over_the_content_of_the_missing_one(collection):
    collection.commit([content(1)], [row(b"old.jpg", 1)])
    collection.hide([b"old.jpg"])
    assert collection.commit([], [row(b"new.jpg", 1)]) == 1
    assert [(r.path, r.status) for r in collection.catalogue()] == [(b"new.jpg", "indexed")]


def test_blocks_cover_everything_once_whatever_their_size(collection):
    collection.commit([content(i) for i in range(17)], [row(b"%d.jpg" % i, i) for i in range(17)])
    for size in (1, 2, 5, 17, 100):
        ids = [name for block in collection.descriptors(size) for name in block.ids]
        assert sorted(ids) == [f"{i:032x}" for i in range(17)]


def test_a_second_writer_is_told_who_holds_the_index(tmp_path, collection):
    with pytest.raises(StoreBusy, match=f"process {os.getpid()} on"):
        Collection.open(tmp_path / "index", writable=True)


def test_readers_see_committed_batches_while_a_writer_is_open(tmp_path, collection):
    with Collection.open(tmp_path / "index") as reader:
        collection.commit([content(1)], [row(b"a.jpg", 1)])
        assert reader.counts()["indexed"] == 1


def test_a_snapshot_does_not_change_under_its_reader(tmp_path, collection):
    collection.commit([content(1)], [row(b"a.jpg", 1)])
    with Collection.open(tmp_path / "index") as reader, reader.snapshot():
        assert reader.counts()["indexed"] == 1
        collection.commit([content(2)], [row(b"b.jpg", 2)])
        assert reader.counts()["indexed"] == 1


def test_a_lock_dies_with_its_process(tmp_path):
    Collection.create(tmp_path / "index", SPEC).close()
    code = (
        "import sys, time; from pathlib import Path; from glocal.store.collection import Collection;"
        "c = Collection.open(Path(sys.argv[1]), writable=True); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "index")], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(StoreBusy, match=f"process {holder.pid} "):
        Collection.open(tmp_path / "index", writable=True)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    Collection.open(tmp_path / "index", writable=True).close()


def test_readers_leave_nothing_beside_the_database(tmp_path):
    with Collection.create(tmp_path / "index", SPEC) as writer:
        reader = Collection.open(tmp_path / "index")
        writer.commit([content(1)], [row(b"a.jpg", 1)])
    assert reader.counts()["indexed"] == 1
    reader.close()
    assert {path.name for path in (tmp_path / "index").iterdir()} == {DATABASE_NAME, "writer.lock"}


def test_an_index_in_a_read_only_folder_can_be_read(tmp_path, monkeypatch):
    with Collection.create(tmp_path / "index", SPEC) as writer:
        writer.commit([content(1)], [row(b"a.jpg", 1)])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Collection.open(tmp_path / "index") as reader:
        assert reader.counts()["indexed"] == 1
        assert not (tmp_path / "index" / f"{DATABASE_NAME}-wal").exists()


def test_a_reader_cannot_write_even_by_force(tmp_path):
    Collection.create(tmp_path / "index", SPEC).close()
    with Collection.open(tmp_path / "index") as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM meta")


def test_a_read_only_connection_cannot_write(tmp_path):
    Collection.create(tmp_path / "index", SPEC).close()
    with Collection.open(tmp_path / "index") as reader, pytest.raises(StoreError, match="reading only"):
        reader.commit([content(1)], [row(b"a.jpg", 1)])


def test_an_index_from_the_future_is_refused_and_left_as_it_is(tmp_path):
    Collection.create(tmp_path / "index", SPEC).close()
    file = tmp_path / "index" / DATABASE_NAME
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = file.read_bytes()
    for writable in (False, True):
        with pytest.raises(StoreError, match=r"format 999.*newer glocal"):
            Collection.open(tmp_path / "index", writable)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "damage", [b"not a database at all, but long enough to be read as one" * 20, b"SQLite format 3\0"]
)
def test_a_damaged_file_is_refused_with_advice(tmp_path, damage):
    directory = tmp_path / "index"
    directory.mkdir()
    (directory / DATABASE_NAME).write_bytes(damage)
    with pytest.raises(StoreError, match="→"):
        Collection.open(directory)


def test_damaged_local_features_are_found_by_their_checksum(tmp_path, collection):
    collection.commit([content(1)], [row(b"a.jpg", 1)])
    collection._db.execute("UPDATE local_features SET geometry = zeroblob(LENGTH(geometry))")
    with pytest.raises(StoreError, match="damaged"):
        collection.local_features(f"{1:032x}")


def test_a_descriptor_of_another_length_is_found(collection):
    collection.commit([content(1)], [row(b"a.jpg", 1)])
    collection._db.execute("UPDATE descriptors SET vector = zeroblob(20)")
    with pytest.raises(StoreError, match="8 numbers"):
        list(collection.descriptors())


def test_a_creation_that_was_interrupted_can_be_repeated(tmp_path):
    directory = tmp_path / "index"
    directory.mkdir()
    (directory / DATABASE_NAME).touch()
    assert not Collection.exists(directory)
    Collection.create(directory, SPEC).close()
    assert Collection.exists(directory)
    with pytest.raises(StoreError, match="already"):
        Collection.create(directory, SPEC)


def test_the_collection_and_its_folder_can_move_together(tmp_path):
    photos = tmp_path / "before/photos"
    photos.mkdir(parents=True)
    with Collection.create(photos / ".glocal", SPEC) as collection:
        collection.root = photos
    (tmp_path / "before").rename(tmp_path / "after")
    with Collection.open(tmp_path / "after/photos/.glocal") as collection:
        assert collection.root == (tmp_path / "after/photos").resolve()


def test_files_of_an_index_are_private(tmp_path, collection):
    assert (tmp_path / "index").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in Path(tmp_path / "index").iterdir())


def test_a_full_disk_is_explained(collection, monkeypatch):
    collection._db.execute("PRAGMA max_page_count = 20")
    with pytest.raises(DiskFull, match="free some space"):
        collection.commit([content(i, keypoints=2000) for i in range(50)], [])
    collection._db.execute("PRAGMA max_page_count = 100000")
    collection.commit([content(1)], [row(b"a.jpg", 1)])


def test_runs_remember_whether_they_came_to_their_end(collection):
    assert collection.last_run() is None
    run = collection.start_run()
    assert collection.last_run() == (False, RunSummary(0, 0, 0, 0))
    collection.finish_run(run, RunSummary(9, 6, 1, 2))
    assert collection.last_run() == (True, RunSummary(9, 6, 1, 2))


def test_the_last_update_is_the_end_of_the_newest_run(collection, monkeypatch):
    assert collection.last_update() is None
    now = [1000.0]
    monkeypatch.setattr("glocal.store.collection.time.time", lambda: now[0])
    run = collection.start_run()
    assert collection.last_update() == 1000.0
    now[0] = 1500.5
    collection.finish_run(run, RunSummary(9, 6, 1, 2))
    assert collection.last_update() == 1500.5
    now[0] = 2000.0
    collection.start_run()
    assert collection.last_update() == 2000.0


def test_a_picture_tells_of_its_first_file_that_is_there(collection):
    collection.commit([content(1)], [row(b"b.jpg", 1), row(b"a.jpg", 1), row(b"c.jpg", 1)])
    (name,) = {r.content_hash for r in collection.catalogue()}
    assert collection.file_of(name) == next(collection.catalogue("indexed"))
    collection.hide([b"a.jpg"])
    assert collection.file_of(name).path == b"b.jpg"
    assert collection.file_of("0" * 32) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "other"), ("weights", "1" * 64), ("image_size", 65), ("resize", "cubic"), ("exif", "ignore"),
        ("colour", "bgr"), ("scales", (1.0, 0.5)), ("whitening", "learned"), ("metric", "l2"), ("dim", 9),
        ("local_dim", 5), ("max_features", 6),
    ],
)  # fmt: skip
def test_each_field_of_the_spec_tells_two_extractors_apart(field, value):
    other = dataclasses.replace(SPEC, **{field: value})
    assert SPEC.differences(other) == [(field, getattr(SPEC, field), value)]
    assert ExtractorSpec.from_json(other.to_json()) == other


def test_a_spec_of_another_version_is_refused():
    with pytest.raises(SpecMismatch, match="tone"):
        ExtractorSpec.from_json(SPEC.to_json()[:-1] + ', "tone": 1}')
