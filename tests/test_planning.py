import dataclasses
import os
from collections import Counter

import pytest

from glocal.extract.batching import BatchingPool, ModelSource
from glocal.extract.sampling import Sample, sample_photos
from glocal.photo_index import Index
from glocal.planning import Machine, cheaper, most_bytes_per_photo, seconds_per_picture, vector_bytes, ways_of
from glocal.store.counting import count_pictures
from glocal.store.rows import LocalForm
from glocal.store.scan import scan_folder
from tests.conftest import save, texture
from tests.fakes import FakeNetwork
from tests.store.small_collections import SPEC as TINY

SPEC = dataclasses.replace(TINY, dim=512, local_dim=128, max_features=1000)
MACHINE = Machine(free_bytes=10**12, memory_bytes=8 << 30, workers=2, cores=2)
SAMPLE = Sample(
    described=12,
    refused=0,
    decode_s=0.02,
    extract_s=0.2,
    num_features=600,
    local_bytes={LocalForm.INT8: 80_000, LocalForm.FLOAT16: 156_800, LocalForm.BINARY: 12_800},
    half_bytes={LocalForm.INT8: 40_000, LocalForm.FLOAT16: 78_400, LocalForm.BINARY: 6_400},
)


def by_local(ways):
    return {(way.local, way.max_features): way for way in ways}


# ---------------------------------------------------------------------- disk
def test_bytes_are_those_of_the_forms_of_local_descriptors():
    ways = by_local(ways_of(1000, SPEC, MACHINE))
    assert list(ways) == [("int8", 1000), ("float16", 1000), ("int8", 500), ("binary", 1000), ("none", 0)]
    places = ways["int8", 1000].local_bytes - 128_000_000  # what keypoints, scales and scores take in every form
    assert 0 < places < 17_000_000
    assert ways["float16", 1000].local_bytes == 256_000_000 + places
    assert ways["binary", 1000].local_bytes == 16_000_000 + places
    assert 64_000_000 < ways["int8", 500].local_bytes < 64_000_000 + places
    assert ways["none", 0].local_bytes == 0
    for way in ways.values():
        assert way.global_bytes == 1000 * 512 * 4
        assert way.disk_bytes == way.global_bytes + way.local_bytes + way.row_bytes
        assert not way.is_measured
        assert way.seconds is None


def test_what_a_sample_has_shown_goes_before_the_most_that_there_can_be():
    ways = by_local(ways_of(1000, SPEC, MACHINE, SAMPLE))
    assert [way.local_bytes for way in ways.values()] == [80_000_000, 156_800_000, 40_000_000, 12_800_000, 0]
    assert all(way.is_measured for way in ways.values())


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        (99_999, 0),
        (100_000, 100_000 * (128 + 8 + 512 + 8) + 256 * 512 * 4),  # codes, a byte per number, 256 centroids
        (250_000, 250_000 * (128 + 8 + 512 + 8) + 512 * 512 * 4),
    ],
)
def test_large_collections_have_a_nearest_neighbour_file(pictures, expected):
    assert {way.cache_bytes for way in ways_of(pictures, SPEC, MACHINE)} == {expected}
    without = dataclasses.replace(MACHINE, has_faiss=False)
    assert {way.cache_bytes for way in ways_of(pictures, SPEC, without)} == {0}


def test_what_can_be_typed_is_told_and_what_cannot_is_not():
    hows = {(way.local, way.max_features): way.how for way in ways_of(10, SPEC, MACHINE, source="delg-r50")}
    assert hows == {
        ("int8", 1000): "--model delg-r50",
        ("float16", 1000): "--model delg-r50 --local float16",
        ("binary", 1000): "--model delg-r50 --local binary",
        ("int8", 500): None,
        ("none", 0): None,
    }


def test_ways_that_a_model_does_not_have_are_not_offered():
    assert [way.local for way in ways_of(10, SPEC, MACHINE, has_signs=False)] == ["int8", "float16", "int8", "none"]
    odd = dataclasses.replace(SPEC, local_dim=100)
    assert "binary" not in [way.local for way in ways_of(10, odd, MACHINE)]
    plain = dataclasses.replace(SPEC, local_dim=0, max_features=0)
    assert [(way.local, way.how) for way in ways_of(10, plain, MACHINE)] == [("none", "--model fake")]
    assert [way.local for way in ways_of(10, SPEC, MACHINE, only_default=True)] == ["int8"]


def test_the_sizes_are_those_of_a_real_index(tmp_path):
    for seed in range(5):
        save(tmp_path / f"photos/{seed}.jpg", texture(seed, 200 + 40 * seed, 160))
    count = count_pictures(tmp_path / "photos", num_some=5)
    model = ModelSource("rootsift")
    sample = sample_photos(count.some, model, workers=2)
    with Index.create(tmp_path / "index", "rootsift") as index:
        index.add(tmp_path / "photos")
        stored = index.collection.stored_bytes()
        (usual, *_) = ways_of(5, index.collection.spec, MACHINE, sample)
        assert usual.local_bytes == stored["local"]
        assert usual.global_bytes == stored["global"]
        assert stored["local"] / 5 < most_bytes_per_photo(index.collection.spec, LocalForm.INT8)
    assert vector_bytes(256) == 1024


# ---------------------------------------------------------------------- memory
def test_a_search_holds_descriptors_and_the_features_of_a_hundred_candidates():
    ways = by_local(ways_of(1000, SPEC, MACHINE))
    assert ways["int8", 1000].ram_bytes == 1000 * 2048 + 100 * 1000 * (128 * 4 + 16)
    assert ways["float16", 1000].ram_bytes == ways["int8", 1000].ram_bytes  # both become float32
    assert ways["int8", 500].ram_bytes == 1000 * 2048 + 100 * 500 * (128 * 4 + 16)
    assert ways["binary", 1000].ram_bytes == 1000 * 2048 + 100 * 1000 * (16 + 8)
    assert ways["none", 0].ram_bytes == 1000 * 2048
    few = by_local(ways_of(1000, SPEC, MACHINE, SAMPLE))
    assert few["int8", 1000].ram_bytes == 1000 * 2048 + 100 * 600 * (128 * 4 + 16)


def test_a_large_collection_is_read_by_blocks_or_by_its_file():
    whole = dataclasses.replace(MACHINE, has_faiss=False)
    (*_, none) = ways_of(1_000_000, SPEC, whole)
    assert none.ram_bytes == 8192 * 2048
    (*_, none) = ways_of(1_000_000, SPEC, MACHINE)
    assert none.ram_bytes == none.cache_bytes > 0


# ---------------------------------------------------------------------- time
@pytest.mark.parametrize(
    ("threads", "workers", "cores", "expected"),
    [
        (0, 2, 2, 0.11),  # the processes that decode describe, too
        (0, 1, 2, 0.22),
        (2, 2, 2, 0.11),  # decoders and network share two cores
        (2, 8, 8, 0.1),  # the network's two threads are the bottleneck
        (1, 4, 4, 0.2),  # a GPU: the network is the bottleneck, the cores are free
        (1, 1, 1, 0.22),  # one core for both
    ],
)
def test_the_slowest_part_sets_the_pace(threads, workers, cores, expected):
    sample = dataclasses.replace(SAMPLE, threads=threads)
    machine = dataclasses.replace(MACHINE, workers=workers, cores=cores)
    assert seconds_per_picture(sample, machine) == pytest.approx(expected)
    assert ways_of(1000, SPEC, machine, sample)[0].seconds == pytest.approx(1000 * expected)


def test_slow_decoding_sets_the_pace_of_a_fast_network():
    sample = dataclasses.replace(SAMPLE, threads=1, decode_s=0.4, extract_s=0.01)
    assert seconds_per_picture(sample, dataclasses.replace(MACHINE, workers=4, cores=4)) == pytest.approx(0.1)


# ---------------------------------------------------------------------- advice
def test_cheaper_are_ways_that_fit_and_can_be_typed_the_largest_first():
    ways = ways_of(1000, SPEC, MACHINE, SAMPLE)
    usual = ways[0]
    other = dataclasses.replace(usual, model="other", local_bytes=1, how="--model other")
    assert cheaper([*ways, other], usual, 10**12) == [by_local(ways)["binary", 1000], other]
    assert cheaper([*ways, other], usual, other.disk_bytes) == [other]
    assert cheaper(ways, usual, 0) == []


# ---------------------------------------------------------------------- samples
def test_a_sample_describes_photos_and_counts_those_that_it_cannot(tmp_path):
    good = [save(tmp_path / f"{seed}.jpg", texture(seed, 640, 480)) for seed in range(3)]
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff")
    paths = [os.fsencode(path) for path in (*good, bad)]
    sample = sample_photos(paths, ModelSource("rootsift"), workers=2)
    assert (sample.described, sample.refused, sample.threads) == (3, 1, 0)
    assert sample.decode_s > 0
    assert sample.extract_s > 0
    assert 100 < sample.num_features <= 1000
    assert sample.local_bytes[LocalForm.FLOAT16] > 1.8 * sample.local_bytes[LocalForm.INT8]
    assert sample.half_bytes[LocalForm.INT8] < sample.local_bytes[LocalForm.INT8]
    assert sample_photos(paths[3:], ModelSource("rootsift"), workers=2) is None


def test_a_sample_of_a_network_knows_its_threads_and_ends_in_time(tmp_path, install, monkeypatch):
    paths = [os.fsencode(save(tmp_path / f"{seed}.jpg", texture(seed))) for seed in range(6)]
    place = install(FakeNetwork(local=True, batch_size=1))
    sample = sample_photos(paths, ModelSource(place), workers=1)
    assert (sample.described, sample.threads) == (6, 1)
    assert sample.local_bytes[LocalForm.BINARY] < sample.local_bytes[LocalForm.INT8] / 4
    assert sample_photos(paths, ModelSource(place), workers=1, max_seconds=0.0).described == 1
    closed = []
    original = BatchingPool.close
    monkeypatch.setattr(BatchingPool, "close", lambda self: (closed.append(1), original(self)))
    plain = install(FakeNetwork(batch_size=1), "plain")
    assert sample_photos(paths, ModelSource(plain), workers=1).local_bytes == {}
    assert closed == [1]


# ---------------------------------------------------------------------- counting
@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree"
    for number in range(20):
        (folder / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 3}/{number}.jpg").write_bytes(bytes(number))
    (folder / ".hidden").mkdir()
    (folder / ".hidden/x.jpg").touch()
    (folder / "notes.txt").touch()
    (folder / "link.jpg").symlink_to(folder / "1/1.jpg")
    os.mkfifo(folder / "pipe.jpg")
    return folder


def test_pictures_are_counted_as_a_scan_finds_them(tree):
    count = count_pictures(tree, num_some=5)
    regular = [found for found in scan_folder(os.fsencode(tree)).pictures if found.refusal is None]
    assert (count.pictures, count.num_bytes) == (len(regular), sum(found.size for found in regular)) == (20, 190)
    assert len(set(count.some)) == 5
    assert {os.path.relpath(path, os.fsencode(tree)) for path in count.some} <= {found.path for found in regular}
    assert count.is_complete


def test_the_draw_is_the_same_every_time_and_fair(tree):
    assert count_pictures(tree, 5).some == count_pictures(tree, 5).some
    drawn = Counter(path for seed in range(400) for path in count_pictures(tree, 5, seed).some)
    assert len(drawn) == 20
    # Each with a chance of 1/4: 100 times of 400, with a standard deviation of 8.7.
    assert all(60 < times < 140 for times in drawn.values())
    assert len(count_pictures(tree, 50).some) == 20
    assert count_pictures(tree, 0).some == []


def test_an_endless_folder_is_not_counted_to_its_end(tree):
    count = count_pictures(tree, 3, max_pictures=7)
    assert (count.pictures, count.is_complete, len(count.some)) == (7, False, 3)
    assert not count_pictures(tree, 3, max_seconds=-1).is_complete
