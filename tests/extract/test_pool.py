import os
import time
from pathlib import Path

import numpy as np
import pytest

from glocal.data.image import DecodeLimits
from glocal.errors import BackendUnavailable, ConfigError, ImageError
from glocal.extract.pool import WorkerPool
from glocal.extract.requests import TIMEOUT_S, Answer, Request
from glocal.models.rootsift import RootSift
from glocal.ops.coordinates import turn_back
from glocal.types import Photo
from tests.conftest import save, texture


@pytest.fixture(scope="module")
def one_worker():
    with WorkerPool("rootsift") as pool:
        yield pool


def test_a_worker_gives_what_the_model_gives_in_this_process(tmp_path, one_worker):
    pixels = texture(3)
    path = save(tmp_path / "a.png", pixels)
    answer = one_worker.read(Request(os.fsencode(path)))
    expected = RootSift().extract(Photo("a", pixels, (320, 240)))
    got = answer.extraction("a")
    assert np.allclose(got.descriptor, expected.descriptor, atol=1e-6)  # the worker has one BLAS thread
    assert np.array_equal(got.local.keypoints, expected.local.keypoints)
    assert answer.size == (320, 240)
    assert answer.num_bytes == path.stat().st_size


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_photo_described_on_its_side_has_its_features_where_they_are_upright(tmp_path, one_worker, turn):
    pixels = texture(3)
    path = save(tmp_path / "a.png", pixels)
    box = (20.0, 10.0, 200.0, 160.0)
    got = one_worker.read(Request(os.fsencode(path), turn=turn, box=box)).extraction("a")
    part = np.ascontiguousarray(np.rot90(pixels[10:170, 20:220], turn))
    expected = RootSift().extract(Photo("a", part, part.shape[1::-1]))
    assert np.allclose(got.descriptor, expected.descriptor, atol=1e-6)
    assert got.local.size == (200, 160)
    assert np.array_equal(got.local.keypoints, turn_back(expected.local.keypoints, turn, (200, 160)))
    turned = one_worker.read(Request(os.fsencode(path), want="pixels", longest=0, turn=turn, box=box))
    assert np.array_equal(turned.arrays["pixels"], part)


def test_it_reports_the_spec_of_its_model(one_worker):
    assert one_worker.spec() == RootSift().spec


def test_a_box_is_cut_out_in_pixels_of_the_upright_picture(tmp_path, one_worker):
    pixels = texture(4)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path = save(tmp_path / "turned.png", np.rot90(pixels).copy(), exif=exif)
    answer = one_worker.read(Request(os.fsencode(path), want="pixels", box=(40, 30, 100, 80)))
    assert answer.size == (320, 240)
    assert answer.orientation == 6
    assert np.array_equal(answer.arrays["pixels"], pixels[30:110, 40:140])


def test_a_box_that_misses_the_picture_is_the_callers_mistake(tmp_path, one_worker):
    path = save(tmp_path / "a.png", texture(4))
    with pytest.raises(ConfigError, match="too small"):
        one_worker.read(Request(os.fsencode(path), box=(900, 900, 50, 50)))


def test_a_file_reached_through_a_link_out_of_the_root_is_refused(tmp_path, one_worker):
    save(tmp_path / "outside/a.png", texture(1))
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to("../outside")
    request = Request(os.fsencode(tmp_path / "root/link/a.png"), root=os.fsencode(tmp_path / "root"))
    with pytest.raises(ImageError) as caught:
        one_worker.read(request)
    assert caught.value.code == "outside_root"


def test_bad_files_do_not_end_a_worker(tmp_path, one_worker):
    good = save(tmp_path / "good.jpg", texture(1))
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture at all")
    (tmp_path / "cut.jpg").write_bytes(good.read_bytes()[:3000])
    before = [worker.process.pid for worker in one_worker._workers]
    names = ["empty.jpg", "good.jpg", "text.jpg", "cut.jpg", "gone.jpg", "good.jpg"]
    outcomes = dict(
        (request.key, outcome)
        for request, outcome in one_worker.run(
            Request(os.fsencode(tmp_path / name), key=i) for i, name in enumerate(names)
        )
    )
    codes = [outcome.code if isinstance(outcome, ImageError) else "ok" for _, outcome in sorted(outcomes.items())]
    assert codes == ["empty", "ok", "not_an_image", "truncated", "unreadable", "ok"]
    assert [worker.process.pid for worker in one_worker._workers] == before


def test_a_photo_that_takes_too_long_costs_its_worker_and_not_the_others(tmp_path):
    slow = tmp_path / "slow.png"
    save(slow, np.zeros((6000, 6000, 3), np.uint8))  # takes a second to decode
    quick = [save(tmp_path / f"{i}.png", texture(i, 64, 48)) for i in range(4)]
    with WorkerPool("rootsift", workers=1, timeout_s=0.2) as pool:
        pool.spec()
        first = pool._workers[0].process
        outcomes = list(pool.run([Request(os.fsencode(path), key=path.name) for path in (slow, *quick)]))
        assert outcomes[0][0].key == "slow.png"
        assert outcomes[0][1].code == "timeout"
        assert sorted(r.key for r, o in outcomes if isinstance(o, Answer)) == ["0.png", "1.png", "2.png", "3.png"]
        assert first.poll() is not None
        assert pool._workers[0].process.pid != first.pid


def test_the_time_that_the_caller_takes_is_not_the_photos(tmp_path):
    paths = [save(tmp_path / f"{i}.png", texture(i, 1200, 900)) for i in range(3)]
    with WorkerPool("none", timeout_s=0.5) as pool:
        outcomes = []
        for _, outcome in pool.run([Request(os.fsencode(path), want="pixels") for path in paths]):
            time.sleep(0.6)  # meanwhile the next pixels, more than a pipe holds, wait half sent
            outcomes.append(outcome)
    assert all(isinstance(outcome, Answer) for outcome in outcomes)


def test_a_worker_that_dies_is_replaced_and_only_its_photo_is_lost(tmp_path):
    paths = [save(tmp_path / f"{i}.png", texture(i)) for i in range(6)]
    with WorkerPool("rootsift", workers=1) as pool:
        pool.spec()
        outcomes = pool.run([Request(os.fsencode(path), key=path.name) for path in paths])
        got = [next(outcomes)]
        pool._workers[0].process.kill()
        got += list(outcomes)
    failed = [outcome for _, outcome in got if isinstance(outcome, ImageError)]
    assert len(got) == 6
    assert len(failed) <= 1
    assert all(error.code == "corrupt" for error in failed)


def test_dropping_the_iterator_leaves_a_usable_pool(tmp_path, one_worker):
    paths = [save(tmp_path / f"{i}.png", texture(i)) for i in range(4)]
    outcomes = one_worker.run([Request(os.fsencode(path)) for path in paths])
    next(outcomes)
    outcomes.close()
    assert isinstance(one_worker.read(Request(os.fsencode(paths[0]))), Answer)


def test_limits_reach_the_worker(tmp_path):
    path = save(tmp_path / "a.png", texture(1))
    with WorkerPool("rootsift", limits=DecodeLimits(max_pixels=1000)) as pool, pytest.raises(ImageError) as caught:
        pool.read(Request(os.fsencode(path)))
    assert caught.value.code == "too_many_pixels"


def test_a_worker_that_cannot_start_says_why():
    with WorkerPool("no-such-model") as pool, pytest.raises(BackendUnavailable, match="no-such-model"):
        pool.spec()


def test_a_worker_can_neither_write_files_nor_take_all_memory(tmp_path, one_worker):
    one_worker.spec()
    limits = Path(f"/proc/{one_worker._workers[0].process.pid}/limits").read_text()
    table = {line[:26].strip(): line[26:47].strip() for line in limits.splitlines()}
    assert table["Max file size"] == "0"
    assert table["Max address space"].isdigit()


def test_children_end_with_the_pool():
    pool = WorkerPool("rootsift", workers=2)
    children = [worker.process for worker in pool._workers]
    pool.close()
    assert all(child.poll() is not None for child in children)
    assert TIMEOUT_S == 10


def test_a_worker_ends_when_its_parent_is_gone():
    pool = WorkerPool("rootsift")
    pool.spec()
    child = pool._workers[0].process
    child.stdin.close()  # what the kernel does when the parent dies
    deadline = time.monotonic() + 30
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert child.poll() == 0
    pool.close()
