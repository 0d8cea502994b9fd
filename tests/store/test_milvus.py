"""The collection in Milvus against the one in a file: what is told the same way must be answered the same way."""

import dataclasses
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from glocal.cli.main import main
from glocal.errors import BackendUnavailable, ConfigError, ShapeError, StoreBusy, StoreError
from glocal.photo_index import Index
from glocal.store.codec import decode_local, encode_local
from glocal.store.collection import Collection
from glocal.store.milvus_place import MilvusPlace
from glocal.store.rows import LocalForm, RunSummary
from glocal.types import Descriptors, Extraction
from tests.conftest import save, texture
from tests.store.test_collection import SPEC, content, row, unit_rows

pytest.importorskip("pymilvus", reason="needs pymilvus: pip install 'glocal[milvus]'")

from glocal.store.milvus import MilvusCollection
from glocal.store.milvus_lease import KEY
from glocal.store.milvus_link import MilvusLink
from glocal.store.milvus_schema import NO_VECTOR

NUMBERS = itertools.count()


def name_of(seed: int) -> str:
    return f"{seed:032x}"


def place_at(port: int, index_type: str = "FLAT", **options) -> MilvusPlace:
    return MilvusPlace("127.0.0.1", port, f"test{next(NUMBERS)}", index_type, **options)


@pytest.fixture
def place(milvus_lite) -> MilvusPlace:
    return place_at(milvus_lite)


@pytest.fixture(params=["lite", pytest.param("server", marks=pytest.mark.slow)])
def either(request) -> MilvusPlace:
    """A place on milvus-lite, and one on a real server."""
    if request.param == "lite":
        return place_at(request.getfixturevalue("milvus_lite"))
    return place_at(request.getfixturevalue("milvus_server").port)


@pytest.fixture
def collection(place):
    with MilvusCollection.create(place, SPEC) as collection:
        yield collection


def queries(*seeds: int) -> Descriptors:
    rows = np.stack([content(seed).extraction.descriptor for seed in seeds])
    return Descriptors(tuple(f"query {seed}" for seed in seeds), rows)


def story(collection, seed: int, length: int) -> list[int]:
    """Some days in the life of a collection: files come, change, move, vanish and return; what it says to that."""
    rng = np.random.default_rng(seed)
    names = [b"a.jpg", b"b/c.jpg", b"b/\xff.jpg", b"b/c' d\".jpg", b"%41.jpg", b"\xc3\xa4.png", b"z z.jpg", b"0\\n.gif"]
    said = []
    for _ in range(length):
        status_of = {each.path: each.status for each in collection.catalogue()}
        present = [path for path, status in status_of.items() if status == "indexed"]
        missing = [path for path, status in status_of.items() if status == "missing"]
        action = rng.integers(0, 7)
        if action <= 2:
            paths = [names[i] for i in rng.choice(len(names), 3, replace=False)]
            seeds = rng.integers(0, 7, len(paths)).tolist()
            fresh = [each for each in sorted(set(seeds)) if not collection.knows(name_of(each))]
            said.append(collection.commit([content(each) for each in fresh], list(map(row, paths, seeds))))
        elif action == 3 and present:
            collection.hide([present[rng.integers(0, len(present))], b"never seen.jpg"])
        elif action == 4 and missing:
            collection.show([missing[rng.integers(0, len(missing))]])
        elif action == 5:
            collection.commit([], [row(names[rng.integers(0, len(names))], None)])
        # Only what it keeps for nothing may differ before this.
        said.append(collection.drop_unused(missing_too=bool(action == 6)))
    return said


def told(collection) -> dict[str, object]:
    """All that a collection says of itself."""
    blocks = list(collection.descriptors())
    found = {name: vector for block in blocks for name, vector in zip(block.ids, block.vectors.tolist(), strict=True)}
    return {
        "rows": list(collection.catalogue()),
        "missing": list(collection.catalogue("missing")),
        "counts": collection.counts(),
        "reasons": collection.rejected_by_reason(),
        "descriptors": found,
        "paths": {name: collection.paths(name) for name in sorted(found)},
        "sizes": {name: collection.picture_size(name) for name in sorted(found)},
        "points": {name: collection.local_features(name).keypoints.tolist() for name in sorted(found)},
        "bytes": {kind: collection.stored_bytes()[kind] for kind in ("global", "local")},
    }


@pytest.mark.parametrize("seed", range(4))
def test_it_tells_the_same_as_a_file_after_the_same_story(seed, place, tmp_path):
    with Collection.create(tmp_path, SPEC) as file, MilvusCollection.create(place, SPEC) as collection:
        said = story(file, seed, 25)
        assert story(collection, seed, 25) == said
        assert sum(said) > 0
        expected = told(file)
        assert len(expected["rows"]) > 3
        assert told(collection) == expected
    with MilvusCollection.open(place) as collection:
        assert told(collection) == expected


# ---------------------------------------------------------------------- the same answers
def catalogue_of_photos(folder: Path) -> list[Path]:
    """Twelve photos: eight things, two of them seen twice, one thing thrice; and queries of them."""
    for seed in range(8):
        save(folder / f"thing{seed}/front.png", texture(seed))
    save(folder / "thing0/left.png", texture(0)[:200, :260])
    save(folder / "thing0/right.png", texture(0)[30:, 50:])
    save(folder / "thing1/top.png", texture(1)[:190])
    (folder / "thing2/copy.png").write_bytes((folder / "thing2/front.png").read_bytes())
    return [
        save(folder.parent / "queries/0.png", texture(0)[20:220, 30:300]),
        save(folder.parent / "queries/unknown.png", texture(99)),
    ]


def answers(index: Index, queries: list[Path]) -> tuple[list[tuple], list[float]]:
    """What is found for some queries, with and without verification; and the similarities."""
    results = [index.search(query, topk=20, rerank=rerank) for query in queries for rerank in ("geometric", "none")]
    found = [
        (
            result.num_searched,
            result.verdict,
            [(hit.name, hit.id, hit.copies, hit.label, hit.inliers, hit.size) for hit in result],
            [None if hit.verification is None else hit.verification.matches.tolist() for hit in result],
        )
        for result in results
    ]
    return found, [hit.similarity for result in results for hit in result]


def expect_same(index: Index, file: Index, queries: list[Path]) -> list[tuple]:
    expected, similarities = answers(file, queries)
    found, others = answers(index, queries)
    assert found == expected
    assert np.allclose(others, similarities, atol=1e-6)
    return expected


def test_the_same_photos_give_the_same_answers_as_in_a_file(either, tmp_path):
    photos = tmp_path / "photos"
    asked = catalogue_of_photos(photos)
    with Index.create(tmp_path / "index", "rootsift") as file, Index.create(either, "rootsift") as index:
        for each in (file, index):
            report = each.add(photos, labels="folder")
            assert (report.indexed, report.copies) == (12, 1)
        assert len(index) == 12
        expected = expect_same(index, file, asked)
        assert expected[0][2][0][4] > 20  # the first hit of the first query was verified
        # One goes, one is renamed, one is changed, one comes.
        (photos / "thing0/front.png").unlink()
        (photos / "thing1/top.png").rename(photos / "thing1/roof.png")
        save(photos / "thing3/front.png", texture(33))
        save(photos / "thing9/front.png", texture(9))
        for each in (file, index):
            report = each.add(photos)
            assert (report.new, report.gone, report.moved, report.changed) == (2, 2, 1, 1)
        expected = expect_same(index, file, asked)
        assert "thing0/front.png" not in str(expected)
        assert index.info()["counts"] == file.info()["counts"]
    with Index.open(either) as index:
        assert index.search(photos / "thing9/front.png")[0].name == "thing9/front.png"


def test_an_index_is_named_by_its_url(milvus_lite, tmp_path):
    catalogue_of_photos(tmp_path / "photos")
    url = f"milvus://127.0.0.1:{milvus_lite}/byname?index=FLAT"
    assert not Index.exists(url)
    with Index.create(url, "rootsift") as index:
        index.add(tmp_path / "photos")
        with pytest.raises(ConfigError, match="no folder"):
            _ = index.directory
    assert Index.exists(url)
    with pytest.raises(StoreError, match=r"There is an index in milvus://127\.0\.0\.1"):
        Index.create(url, "rootsift")
    with Index.open(url) as index:
        assert index.search(tmp_path / "queries/0.png")[0].name.startswith("thing0/")


@pytest.mark.parametrize("form", LocalForm)
def test_local_descriptors_are_kept_in_every_form(form, place, tmp_path):
    spec = dataclasses.replace(SPEC, local_dim=8)
    pictures = []
    for seed in range(3):
        made = content(seed, keypoints=40)
        local = dataclasses.replace(
            made.extraction.local,
            descriptors=unit_rows(np.random.default_rng(seed), 40, 8),
            keypoints=made.extraction.local.keypoints,
        )
        pictures.append(dataclasses.replace(made, extraction=Extraction(made.extraction.descriptor, local)))
    names = [made.content_hash for made in pictures]
    rows = [row(b"%d.jpg" % seed, seed) for seed in range(3)]
    with (
        Collection.create(tmp_path, spec, local_form=form) as file,
        MilvusCollection.create(place, spec, local_form=form) as collection,
    ):
        for each in (file, collection):
            each.commit(pictures, rows)
        assert collection.local_form == form
        for mine, theirs in zip(collection.local_features_many(names), file.local_features_many(names), strict=True):
            assert (mine.id, mine.size) == (theirs.id, theirs.size)
            for part in ("keypoints", "descriptors", "scores", "scales"):
                assert np.array_equal(getattr(mine, part), getattr(theirs, part))
        if form == LocalForm.BINARY:
            for mine, theirs in zip(collection.sign_features_many(names), file.sign_features_many(names), strict=True):
                assert np.array_equal(mine.bits, theirs.bits)
        else:
            with pytest.raises(StoreError, match=f"as {form}, not as binary"):
                collection.sign_features_many(names)


def test_local_features_of_many_parts_come_back_whole(collection):
    stored = content(1, keypoints=20_000)  # 160 kB after base64: several rows
    collection.commit([stored], [row(b"a.jpg", 1)])
    third = collection._link.get(collection._tables.local, [f"{name_of(1)}-0002"], ["part"], collection._freshness())
    assert len(third) == 1
    expected = decode_local(encode_local(stored.extraction.local), name_of(1), (100, 50), 4)
    found = collection.local_features(name_of(1))
    for part in ("keypoints", "descriptors", "scores", "scales"):
        assert np.array_equal(getattr(found, part), getattr(expected, part))


# ---------------------------------------------------------------------- neighbours
def test_equal_similarities_are_ordered_by_id(collection):
    twin = content(1).extraction
    twins = [dataclasses.replace(content(seed), extraction=twin) for seed in (5, 3, 9, 7)]
    collection.commit(twins, [row(b"%d.jpg" % seed, seed) for seed in (5, 3, 9, 7)])
    (found,) = collection.nearest(queries(1), 3)
    assert found.ids == (name_of(3), name_of(5), name_of(7))


def test_a_tie_at_the_end_is_not_cut_by_chance(collection):
    twin = content(1).extraction
    seeds = np.random.default_rng(0).permutation(100).tolist()
    twins = [dataclasses.replace(content(seed), extraction=twin) for seed in seeds]
    collection.commit(twins, [row(b"%d.jpg" % seed, seed) for seed in seeds])
    (found,) = collection.nearest(queries(1), 3)
    assert found.ids == (name_of(0), name_of(1), name_of(2))


def test_pictures_without_a_file_leave_room_for_others(collection):
    collection.commit([content(seed) for seed in range(20)], [row(b"%d.jpg" % seed, seed) for seed in range(20)])
    (expected,) = collection.nearest(queries(99), 20)
    # As if the writer had been killed before it could take the pictures out of the search.
    gone = sorted(expected.ids[:8])
    names = [row(b"%d.jpg" % int(name, 16), int(name, 16)).path for name in gone]
    photos = collection._link.get(
        collection._tables.photos, [n.decode() for n in names], ["*"], collection._freshness()
    )
    collection._link.upsert(collection._tables.photos, [photo | {"status": "missing"} for photo in photos])
    (found,) = collection.nearest(queries(99), 5)
    assert found.ids == tuple(name for name in expected.ids if name not in gone)[:5]


def test_what_milvus_cannot_find_is_refused(collection):
    with pytest.raises(ShapeError, match="queries of 3 numbers against descriptors of 8"):
        collection.nearest(Descriptors(("q",), unit_rows(np.random.default_rng(0), 1, 3)), 5)
    with pytest.raises(ConfigError, match="at most 16,384"):
        collection.nearest(queries(1), 20_000)


def test_an_unknown_picture_is_refused_by_name(collection):
    for ask in (collection.local_features, collection.picture_size, lambda name: collection.vectors([name])):
        with pytest.raises(StoreError, match=name_of(7)):
            ask(name_of(7))
    with pytest.raises(StoreError, match="is no key"):
        collection.vectors(["' or 1 == 1"])
    with pytest.raises(StoreError, match=name_of(7)):
        collection.commit([], [row(b"a.jpg", 7)])
    assert list(collection.catalogue()) == []


# ---------------------------------------------------------------------- labels, meta
def test_labels_of_a_list_go_with_moved_photos(collection):
    collection.commit([content(1), content(2)], [row(b"a.jpg", 1), row(b"\xff.jpg", 2)])
    collection.set_labels({b"a.jpg": "arch", b"\xff.jpg": "bridge 'ä\"", b"later.jpg": "church"})
    assert (collection.labels, collection.num_labelled()) == ("listed", 2)
    assert collection.label(os.fsdecode(b"\xff.jpg")) == "bridge 'ä\""
    assert collection.listed_labels() == {b"a.jpg": "arch", b"\xff.jpg": "bridge 'ä\"", b"later.jpg": "church"}
    collection.hide([b"a.jpg"])
    collection.commit([], [row(b"b.jpg", 1)])
    assert collection.label("b.jpg") == "arch"
    assert collection.label("a.jpg") is None
    collection.set_labels({b"b.jpg": "new"})
    assert (collection.label("b.jpg"), collection.label("later.jpg")) == ("new", None)


def test_a_folder_is_a_label(collection):
    collection.commit([content(1)], [row(b"a.jpg", 1), row(b"x/y/b.jpg", 1)])
    collection.labels = "folder"
    first = next(collection.catalogue())
    assert collection.file_of(first.content_hash) == first
    assert collection.file_of("0" * 32) is None
    assert (collection.label("x/y/b.jpg"), collection.label("a.jpg"), collection.num_labelled()) == ("y", None, 1)


def test_it_remembers_its_folder_its_model_and_its_runs(place):
    odd = Path("/photos/\udcff ä")
    with MilvusCollection.create(place, SPEC, "/models/\udcfe") as collection:
        assert collection.root is None
        assert collection.last_run() is None
        assert collection.last_update() is None
        collection.root = odd
        before = time.time()
        run = collection.start_run()
        assert collection.last_run()[0] is False
        collection.finish_run(run, RunSummary(4, 2, 1, 1))
    with MilvusCollection.open(place) as collection:
        assert collection.root == odd
        assert collection.model_source == "/models/\udcfe"
        assert collection.last_run() == (True, RunSummary(4, 2, 1, 1))
        assert before <= collection.last_update() <= time.time()
        with pytest.raises(StoreError, match="reading only"):
            collection.hide([b"a.jpg"])


def test_a_commit_changes_the_version(place):
    with MilvusCollection.create(place, SPEC) as writer, MilvusCollection.open(place) as reader:
        before = reader.version()
        assert reader.version() == before
        writer.commit([content(1)], [row(b"a.jpg", 1)])
        assert reader.version() > before


# ---------------------------------------------------------------------- one writer
def test_a_second_writer_is_told_who_writes(place):
    with MilvusCollection.create(place, SPEC) as writer:
        with pytest.raises(StoreBusy, match=f"process {os.getpid()} on"):
            MilvusCollection.open(place, writable=True)
        with MilvusCollection.open(place) as reader:
            writer.commit([content(1)], [row(b"a.jpg", 1)])
            assert reader.counts()["indexed"] == 1
    MilvusCollection.open(place, writable=True).close()


def test_a_dead_writer_of_this_machine_keeps_nobody_waiting(place):
    MilvusCollection.create(place, SPEC).close()
    code = (
        "import os; from glocal.store.milvus import MilvusCollection; from glocal.store.open import place_of\n"
        f"MilvusCollection.open(place_of('{place}'), writable=True); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    MilvusCollection.open(place, writable=True).close()


@pytest.mark.parametrize("lease", ["{}", "no json", '{"token": "x", "host": "elsewhere", "pid": 1, "expires": 5}'])
def test_a_lease_that_is_damaged_or_over_keeps_nobody_waiting(lease, place):
    with MilvusCollection.create(place, SPEC) as collection:
        collection._link.upsert(collection._tables.meta, [{"key": KEY, "value": lease, "vector": NO_VECTOR}])
        with MilvusCollection.open(place, writable=True) as other:
            other.commit([content(1)], [row(b"a.jpg", 1)])


def test_a_writer_that_lost_its_lease_writes_no_more(place, monkeypatch):
    theirs = '{"token": "x", "host": "elsewhere", "pid": 7, "expires": 9e9}'
    with MilvusCollection.create(place, SPEC) as collection:
        collection._link.upsert(collection._tables.meta, [{"key": KEY, "value": theirs, "vector": NO_VECTOR}])
        monkeypatch.setattr("glocal.store.milvus_lease.RENEW_S", 0.0)
        collection._written = None
        with pytest.raises(StoreBusy, match="process 7 on elsewhere"):
            collection.commit([content(1)], [row(b"a.jpg", 1)])
        assert collection.counts()["contents"] == 0


# ---------------------------------------------------------------------- killed half-way
class Killed(Exception):
    pass


def kill_at(collection: MilvusCollection, monkeypatch: pytest.MonkeyPatch, write: int) -> None:
    """Have a collection's process die before one of its writes."""
    writes = itertools.count()
    call = collection._link.call

    def dying(method, *arguments, **options):
        if method in ("upsert", "delete") and next(writes) == write:
            raise Killed
        return call(method, *arguments, **options)

    monkeypatch.setattr(collection._link, "call", dying)


def before(collection) -> None:
    collection.start_run()
    rows = [row(b"a.jpg", 1), row(b"b.jpg", 2), row(b"c.jpg", 3), row(b"d.jpg", 4)]
    collection.commit([content(seed) for seed in (1, 2, 3, 4)], rows)
    collection.set_labels({b"c.jpg": "church"})
    collection.hide([b"c.jpg"])


def after(collection) -> None:
    """A picture is replaced by a new one, one has moved, one was copied, one has gone. It can be done again."""
    fresh = [content(seed) for seed in (5,) if not collection.knows(name_of(seed))]
    collection.commit(fresh, [row(b"a.jpg", 5), row(b"moved.jpg", 3), row(b"copy.jpg", 2)])
    collection.hide([b"d.jpg"])


def test_a_load_that_was_killed_at_any_write_loses_and_doubles_nothing(milvus_lite, tmp_path, monkeypatch):
    with Collection.create(tmp_path, SPEC) as file:
        before(file)
        after(file)
        file.drop_unused()
        expected = told(file)
    for write in itertools.count():
        place = place_at(milvus_lite)
        collection = MilvusCollection.create(place, SPEC)
        before(collection)
        with monkeypatch.context() as patch:
            kill_at(collection, patch, write)
            try:
                after(collection)
            except Killed:
                finished = False
            else:
                finished = True
        with MilvusCollection.open(place) as reader, reader.snapshot():
            (found,) = reader.nearest(queries(0), 100)
            assert set(found.ids) >= {name_of(2)}
            for name, local in zip(found.ids, reader.local_features_many(found.ids), strict=True):
                assert reader.paths(name)
                assert reader.picture_size(name) == (100, 50)
                assert len(local) == 5
        collection._lease.release()
        collection._link.close()
        with MilvusCollection.open(place, writable=True) as collection:
            collection.start_run()
            after(collection)
            collection.drop_unused()
            assert told(collection) == expected
            assert collection.label("moved.jpg") == "church"
            held = [part["part"] for part in collection._link.scan(collection._tables.local, 'part != ""', ["part"])]
            assert held == sorted(f"{name_of(seed)}-0000" for seed in (2, 3, 4, 5))
        if finished:
            break
    assert write > 8  # there were so many places to die in


def test_the_making_of_an_index_can_be_killed_and_done_again(place, monkeypatch):
    def dying(self, *_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MilvusLink, "upsert", dying)
        with pytest.raises(Killed):
            MilvusCollection.create(place, SPEC)
    assert not MilvusCollection.exists(place)
    with pytest.raises(StoreError, match=r"There is no index in milvus://.*--store milvus://"):
        MilvusCollection.open(place)
    with MilvusCollection.create(place, SPEC) as collection:
        assert collection.counts()["indexed"] == 0


# ---------------------------------------------------------------------- damage
def overwrite(collection: MilvusCollection, key: str, value: str) -> None:
    collection._link.upsert(collection._tables.meta, [{"key": key, "value": value, "vector": NO_VECTOR}])


@pytest.mark.parametrize("key", ["spec", "local", "format"])
def test_an_index_that_does_not_say_what_it_holds_is_refused(key, place):
    with MilvusCollection.create(place, SPEC) as collection:
        overwrite(collection, f"meta:{key}", "nonsense")
    with pytest.raises(StoreError, match="damaged"):
        MilvusCollection.open(place)


def test_an_index_of_a_newer_format_is_refused(place):
    with MilvusCollection.create(place, SPEC) as collection:
        overwrite(collection, "meta:format", "99")
    with pytest.raises(StoreError, match="format 99, written by a newer glocal"):
        MilvusCollection.open(place)


@pytest.mark.parametrize("payload", ["", "AAAA", "no base64!", None])
def test_local_features_that_are_damaged_are_refused(payload, collection):
    collection.commit([content(1)], [row(b"a.jpg", 1)])
    part = f"{name_of(1)}-0000"
    if payload is None:
        collection._link.delete(collection._tables.local, [part])
    else:
        changed = {"part": part, "is_first": True, "payload": payload, "vector": NO_VECTOR}
        collection._link.upsert(collection._tables.local, [changed])
    with pytest.raises(StoreError, match="damaged"):
        collection.local_features(name_of(1))


# ---------------------------------------------------------------------- servers that are not there
def test_a_server_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("glocal.store.milvus_link.CONNECT_S", 0.5)
    with pytest.raises(StoreError, match=r"cannot reach Milvus at 127.0.0.1:9 .*→ is it running\?") as refusal:
        MilvusCollection.open(MilvusPlace("127.0.0.1", 9, "x", token="me:secret"))
    assert "secret" not in str(refusal.value)


def test_without_its_client_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'glocal\[milvus\]'"):
        MilvusCollection.exists(MilvusPlace("127.0.0.1", 9, "x"))


def test_it_connects_and_never_listens(place):
    MilvusCollection.create(place, SPEC).close()
    code = """
import os, re
from glocal.store.milvus import MilvusCollection
from glocal.store.open import place_of
def sockets():
    links = (os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if number.isdigit()
             and os.path.lexists(f"/proc/self/fd/{number}"))
    return {link[8:-1] for link in links if link.startswith("socket:")}
with MilvusCollection.open(place_of("%s"), writable=True) as collection:
    collection.counts()
    rows = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").readlines()[1:]]
    ours = [row for row in rows if row[9] in sockets()]
    print(len(ours), sum(row[3] == "0A" for row in ours))
"""
    said = subprocess.run([sys.executable, "-c", code % place], capture_output=True, text=True, check=True).stdout
    connections, listening = map(int, said.split())
    assert connections > 0
    assert listening == 0


# ---------------------------------------------------------------------- command line
def test_the_command_line_indexes_searches_and_tells(milvus_lite, tmp_path, capsys, monkeypatch):
    catalogue_of_photos(tmp_path / "photos")
    monkeypatch.setenv("GLOCAL_MILVUS_TOKEN", "me:secret")
    url = f"milvus://127.0.0.1:{milvus_lite}/cli"
    assert main(["index", str(tmp_path / "photos"), "--store", url, "--workers", "1"]) == 0
    assert f"--store {url}" in capsys.readouterr().err
    assert not (tmp_path / "photos/.glocal").exists()
    assert main(["search", str(tmp_path / "queries/0.png"), "--store", url]) == 0
    assert "thing0/" in capsys.readouterr().out
    assert main(["info", "--store", url]) == 0
    said = capsys.readouterr().out
    assert f"index      {url}" in said
    assert "12 searchable, 11 different" in said
    assert main(["info", "--store", url, "--json"]) == 0
    assert "secret" not in capsys.readouterr().out


def test_an_index_is_not_kept_in_two_places(tmp_path, capsys):
    catalogue_of_photos(tmp_path / "photos")
    for words in (["index", str(tmp_path / "photos")], ["search", str(tmp_path / "queries/0.png")]):
        assert main([*words, "--store", "milvus://h/x", "--index", "y"]) == 2
        assert "not both" in capsys.readouterr().err


def test_a_name_that_milvus_does_not_take_is_refused(tmp_path, capsys):
    catalogue_of_photos(tmp_path / "photos")
    assert main(["index", str(tmp_path / "photos"), "--store", "milvus://h/my-photos"]) == 2
    assert "letters, digits and _ only" in capsys.readouterr().err
