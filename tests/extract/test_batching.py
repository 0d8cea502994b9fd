import os
import threading
from pathlib import Path

import numpy as np
import pytest

from glocal.data.image import decode
from glocal.errors import ConfigError, ImageError
from glocal.extract import batching
from glocal.extract.batching import BatchingPool, ModelSource, resolve_source
from glocal.extract.pool import WorkerPool
from glocal.extract.requests import Answer, Request
from glocal.ops.coordinates import turn_back
from glocal.types import Photo
from tests.conftest import save, texture
from tests.fakes import FakeNetwork


def request(path, **options):
    return Request(os.fsencode(path), key=path.name, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos of three shapes, and files that are damaged, among them."""
    folder = tmp_path_factory.mktemp("mixed")
    for number in range(14):
        width, height = ((320, 240), (240, 320), (200, 100))[number % 3]
        save(folder / f"{number:02}.png", texture(number, width, height))
    good = (folder / "00.png").read_bytes()
    (folder / "03-empty.png").touch()
    (folder / "05-cut.png").write_bytes(good[: len(good) // 2])
    (folder / "07-text.png").write_text("no picture at all")
    return folder


def names_of(outcomes, kind):
    return sorted(request.key for request, outcome in outcomes if isinstance(outcome, kind))


def test_an_answer_is_what_the_network_says_of_the_photo_as_it_was_published(tmp_path):
    network = FakeNetwork(local=True)
    path = save(tmp_path / "a.png", texture(1, 500, 400))
    with BatchingPool(network) as pool:
        answer = pool.read(request(path))
        assert pool.spec() == network.spec
    photo = decode(path.read_bytes(), "a", 320, rule="bilinear")
    expected = network.extract(photo)
    got = answer.extraction("a")
    assert np.array_equal(got.descriptor, expected.descriptor)
    assert np.array_equal(got.local.keypoints, expected.local.keypoints)
    assert np.array_equal(got.local.descriptors, expected.local.descriptors)
    assert answer.size == got.local.size == (500, 400)
    assert answer.decode_s > 0
    assert answer.extract_s > 0


def test_a_photo_on_its_side_goes_through_the_network_turned_and_comes_back_upright(tmp_path):
    network = FakeNetwork(local=True)
    path = save(tmp_path / "a.png", texture(1, 500, 400))
    with BatchingPool(network, workers=2) as pool:
        outcomes = {asked.turn: answer for asked, answer in pool.run([request(path, turn=turn) for turn in range(4)])}
    photo = decode(path.read_bytes(), "a", 320, rule="bilinear")
    for turn, answer in outcomes.items():
        side = Photo("a", np.ascontiguousarray(np.rot90(photo.pixels, turn)), (400, 500) if turn % 2 else (500, 400))
        expected = network.extract(side)
        got = answer.extraction("a")
        assert np.array_equal(got.descriptor, expected.descriptor)
        assert np.array_equal(got.local.keypoints, turn_back(expected.local.keypoints, turn, (500, 400)))
        assert got.local.size == (500, 400)
    assert len({answer.arrays["descriptor"].tobytes() for answer in outcomes.values()}) == 4


def test_mixed_and_damaged_files_are_each_answered_once_in_batches_of_one_shape(folder):
    network = FakeNetwork(batch_size=3)
    paths = sorted(folder.iterdir())
    with BatchingPool(network, workers=2) as pool:
        outcomes = list(pool.run(map(request, paths)))
    codes = {request.key: outcome.code for request, outcome in outcomes if isinstance(outcome, ImageError)}
    assert codes == {"03-empty.png": "empty", "05-cut.png": "truncated", "07-text.png": "not_an_image"}
    assert names_of(outcomes, Answer) == sorted({path.name for path in paths} - set(codes))
    assert all(len(set(batch)) == 1 and len(batch) <= 3 for batch in network.batches)
    assert len(network.batches) == 6  # 5 + 5 + 4 photos of three shapes


def test_the_features_do_not_depend_on_workers_or_batches(folder):
    def described(batch_size, workers):
        with BatchingPool(FakeNetwork(batch_size=batch_size), workers) as pool:
            outcomes = pool.run(map(request, sorted(folder.iterdir())))
            return {r.key: o.arrays["descriptor"].tobytes() for r, o in outcomes if isinstance(o, Answer)}

    assert described(1, 1) == described(4, 2)


def test_requests_for_pixels_pass_by_the_network_with_their_own_size(tmp_path):
    network = FakeNetwork()
    pixels = texture(2)
    path = save(tmp_path / "a.png", pixels)
    with BatchingPool(network) as pool:
        full = pool.read(request(path, want="pixels", longest=0)).arrays["pixels"]
        small = pool.read(request(path, want="pixels", longest=64)).arrays["pixels"]
    assert np.array_equal(full, pixels)
    assert small.shape == (48, 64, 3)
    assert network.batches == []


def test_a_box_is_described_alone(tmp_path):
    network = FakeNetwork()
    pixels = texture(4)
    path = save(tmp_path / "a.png", pixels)
    with BatchingPool(network) as pool:
        answer = pool.read(request(path, box=(40, 30, 100, 80)))
        with pytest.raises(ConfigError, match="too small"):
            pool.read(request(path, box=(900, 900, 50, 50)))
    assert answer.size == (320, 240)
    assert answer.photo_size == (100, 80)
    alone = decode(save(tmp_path / "b.png", pixels[30:110, 40:140]).read_bytes(), "b", 320, rule="bilinear")
    assert answer.box == (40, 30, 100, 80)
    assert answer.extraction("a").local.size == (100, 80)
    assert answer.arrays["descriptor"] @ network.extract(alone).descriptor > 0.99


@pytest.mark.parametrize(("spoil", "code"), [("refuse", "too_small"), ("nan", "corrupt")])
def test_a_photo_that_cannot_be_described_is_its_own_error_only(tmp_path, spoil, code):
    paths = [save(tmp_path / name, texture(i)) for i, name in enumerate(["a.png", "bad.png", "c.png"])]
    with BatchingPool(FakeNetwork(spoil=spoil)) as pool:
        outcomes = list(pool.run(map(request, paths)))
        assert names_of(outcomes, Answer) == ["a.png", "c.png"]
        with pytest.raises(ImageError) as caught:
            pool.read(request(paths[1]))
    assert caught.value.code == code


def test_a_fault_of_the_network_ends_the_run_and_is_not_hidden(tmp_path):
    class Broken(FakeNetwork):
        def extract_batch(self, photos):
            raise RuntimeError("the kernel is missing")

    paths = [save(tmp_path / f"{i}.png", texture(i)) for i in range(6)]
    with BatchingPool(Broken(batch_size=2)) as pool, pytest.raises(RuntimeError, match="kernel"):
        list(pool.run(map(request, paths)))


def test_closing_early_leaves_a_usable_pool_and_ends_with_its_children(tmp_path):
    network = FakeNetwork(batch_size=1, seconds=0.05)
    paths = [save(tmp_path / f"{i}.png", texture(i)) for i in range(8)]
    before = threading.active_count()
    with BatchingPool(network, workers=2) as pool:
        outcomes = pool.run(map(request, paths))
        next(outcomes)
        outcomes.close()
        assert pool.read(request(paths[5])).size == (320, 240)
        assert len(network.batches) < 8
        children = [worker.process for worker in pool._decoders._workers]
    assert all(child.poll() is not None for child in children)
    assert threading.active_count() == before


def test_a_slow_photo_costs_its_worker_and_a_slow_network_costs_nobody(tmp_path):
    slow = save(tmp_path / "slow.png", np.zeros((6000, 6000, 3), np.uint8))  # takes a second to decode
    quick = [save(tmp_path / f"{i}.png", texture(i, 320, 240)) for i in range(5)]
    with BatchingPool(FakeNetwork(batch_size=1, seconds=0.5), timeout_s=0.3) as pool:
        outcomes = list(pool.run(map(request, (quick[0], slow, *quick[1:]))))
    failed = {request.key: outcome.code for request, outcome in outcomes if isinstance(outcome, ImageError)}
    assert failed == {"slow.png": "timeout"}
    assert len(names_of(outcomes, Answer)) == 5


def test_pixels_that_wait_are_bounded_when_no_two_photos_are_alike(tmp_path, monkeypatch):
    paths = [save(tmp_path / f"{i}.png", texture(i, 100 + i, 80)) for i in range(30)]
    monkeypatch.setattr(batching, "MAX_WAITING_BYTES", 5 * 115 * 80 * 3)
    taken = 0
    answered = 0
    most = 0

    def source():
        nonlocal taken, most
        for path in paths:
            taken += 1
            most = max(most, taken - answered)
            yield request(path)

    with BatchingPool(FakeNetwork(batch_size=32)) as pool:
        for _ in pool.run(source()):
            answered += 1
    assert answered == 30
    assert most <= 12  # five wait, two are with the worker, the rest is slack for smaller pictures


def test_the_decoding_workers_have_no_torch_and_refuse_to_describe(tmp_path):
    path = save(tmp_path / "a.png", texture(1))
    with WorkerPool("none") as pool:
        with pytest.raises(ConfigError, match="only decodes"):
            pool.read(request(path))
        with pytest.raises(ConfigError, match="no model"):
            pool.spec()
        assert pool.read(request(path, want="pixels")).arrays["pixels"].shape == (240, 320, 3)
        maps = Path(f"/proc/{pool._workers[0].process.pid}/maps").read_text()
    assert "libtorch" not in maps


def test_a_model_is_loaded_once_for_all_its_pools(install, tmp_path):
    place = install(FakeNetwork())
    source = ModelSource(place, "cpu", 8)
    assert (source.is_network, source.is_path) == (True, True)
    assert not install.loaded
    with source.pool(workers=2) as first, source.pool() as second:
        assert first.spec() == second.spec() == source.spec
    assert install.loaded == [(str(place), "cpu", 8)]


def test_a_model_without_network_runs_in_the_workers(install):
    with ModelSource("RootSIFT").pool(workers=2) as pool:
        assert isinstance(pool, WorkerPool)
    assert not install.loaded
    assert ModelSource("rootsift").spec.model == "rootsift"


def test_names_and_places_of_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "rootsift").mkdir()
    assert resolve_source("dolg-r101") == "dolg_resnet101"
    assert resolve_source("mine") == str(tmp_path / "mine")
    assert resolve_source("rootsift") == "rootsift"
    with pytest.raises(ConfigError, match="Did you mean rootsift"):
        resolve_source("rootsfit")
    with pytest.raises(ConfigError, match=r"No such model: \./gone"):
        resolve_source("./gone")


@pytest.mark.parametrize(
    ("device", "batch_size", "message"),
    [
        ("gpu", "auto", "Unknown device"),
        ("cuda:x", "auto", "Unknown device"),
        ("cpu", 0, "number from 1"),
        ("cpu", "many", "number from 1"),
        ("cuda", "auto", "rootsift is no network: it runs on the CPU"),
    ],
)
def test_options_that_make_no_sense_are_refused(device, batch_size, message):
    with pytest.raises(ConfigError, match=message):
        ModelSource("rootsift", device, batch_size)
