import errno
import fcntl
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glocal.data.image import DecodeLimits
from glocal.data.remote import RemoteFolder
from glocal.errors import ConfigError, DiskFull, ImageError
from glocal.extract.pool import WorkerPool
from glocal.extract.remote import StagingPool, is_readable, scan_remote
from glocal.extract.requests import Answer, Request
from tests.conftest import save, texture

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'glocal[remote]'")

URL = b"memory://bucket/p"


@pytest.fixture(scope="module")
def workers():
    with WorkerPool("rootsift") as pool:
        yield pool


@pytest.fixture(autouse=True)
def staging(tmp_path, monkeypatch):
    """The folder for temporary files, empty at first; nothing may be left in it."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert os.listdir(place) == []


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    for seed in range(5):
        store.pipe(f"/bucket/p/{'ab'[seed % 2]}/{seed}.png", png(seed))
    yield store
    store.rm("/bucket", recursive=True)


def png(seed):
    out = io.BytesIO()
    Image.fromarray(texture(seed, 96, 72)).save(out, "png")
    return out.getvalue()


def requests(*names):
    return [Request(URL + b"/" + name, key=name, root=URL) for name in names]


def test_photos_of_a_store_get_the_features_of_the_same_photos_on_the_disk(memory, workers, tmp_path):
    names = [file.path for file in scan_remote(RemoteFolder(os.fsdecode(URL))).pictures]
    assert names == [b"a/0.png", b"a/2.png", b"a/4.png", b"b/1.png", b"b/3.png"]
    for name in names:
        local = tmp_path / "local" / os.fsdecode(name)
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(memory.cat_file(f"/bucket/p/{os.fsdecode(name)}"))
    times = {file.path: file.mtime_ns for file in RemoteFolder(os.fsdecode(URL)).list_files().files}
    got = list(StagingPool(workers, shard_photos=2).run(requests(*names)))
    assert sorted(request.key for request, _ in got) == names
    for request, answer in got:
        path = os.fsencode(tmp_path / "local") + b"/" + request.key
        expected = workers.read(Request(path))
        assert answer.content_hash == expected.content_hash
        assert answer.num_bytes == expected.num_bytes
        assert answer.mtime_ns == times[request.key]
        assert all(np.array_equal(answer.arrays[name], expected.arrays[name]) for name in expected.arrays)


def test_only_pictures_by_their_name_are_taken_and_hidden_files_too(memory):
    memory.pipe("/bucket/p/notes.txt", b"no picture")
    memory.pipe("/bucket/p/.h.png", png(9))
    scan = scan_remote(RemoteFolder(os.fsdecode(URL)))
    assert (len(scan.pictures), scan.num_ignored) == (6, 1)


def test_a_photo_that_cannot_be_fetched_is_refused_and_the_others_are_described(memory, workers):
    memory.pipe("/bucket/p/big.png", bytes(100_000))
    memory.pipe("/bucket/p/text.png", b"no picture at all")
    pool = StagingPool(workers, DecodeLimits(max_bytes=90_000), shard_photos=3)
    got = dict(pool.run(requests(b"a/0.png", b"gone.png", b"big.png", b"text.png", b"b/1.png")))
    codes = {request.key: getattr(outcome, "code", "ok") for request, outcome in got.items()}
    assert codes == {
        b"a/0.png": "ok",
        b"gone.png": "unreadable",
        b"big.png": "too_large_file",
        b"text.png": "not_an_image",
        b"b/1.png": "ok",
    }


def test_photos_of_this_computer_pass_through(workers, tmp_path):
    path = save(tmp_path / "a.png", texture(1, 96, 72))
    request = Request(os.fsencode(path), key="own", root=os.fsencode(tmp_path))
    ((back, answer),) = StagingPool(workers).run([request])
    assert back is request
    assert answer.mtime_ns == path.stat().st_mtime_ns


def test_the_copies_of_two_shards_are_there_at_most(memory, workers, staging):
    most = 0
    names = [b"a/0.png", b"b/1.png"] * 5
    for _ in StagingPool(workers, shard_photos=2).run(requests(*names)):
        most = max(most, sum(len(files) for _, _, files in os.walk(staging)))
    assert 1 <= most <= 4


def test_stopping_early_leaves_no_copies_behind(memory, staging):
    with WorkerPool("rootsift") as pool:
        outcomes = StagingPool(pool, shard_photos=2).run(requests(b"a/0.png", b"b/1.png", b"a/2.png", b"b/3.png"))
        assert isinstance(next(outcomes)[1], Answer)
        outcomes.close()
        assert os.listdir(staging) == []


def test_copies_that_a_killed_process_left_are_deleted_and_those_in_use_are_not(memory, workers, staging):
    left, used = staging / "glocal-staged-left", staging / "glocal-staged-used"
    for place in (left, used):
        place.mkdir()
        (place / "0").write_bytes(b"x")
    descriptor = os.open(used, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    next(StagingPool(workers).run(requests(b"a/0.png")))
    assert not left.exists()
    assert (used / "0").exists()
    os.close(descriptor)
    next(StagingPool(workers).run(requests(b"a/0.png")))
    assert not used.exists()


def test_a_full_disk_says_where_space_is_needed(memory, workers, monkeypatch):
    def write_bytes(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(DiskFull, match=r"No space left on device → .*TMPDIR"):
        list(StagingPool(workers).run(requests(b"a/0.png")))


def test_a_url_that_nobody_reads_ends_the_run(workers):
    with pytest.raises(ConfigError, match="nonsense"):
        StagingPool(workers).read(Request(b"nonsense://b/a.png", root=b"nonsense://b"))


def test_what_can_be_read_here_is_known_of_stores_and_folders(memory, tmp_path):
    path = save(tmp_path / "a.png", texture(1, 16, 16))
    assert is_readable(Request(os.fsencode(path)))
    assert not is_readable(Request(os.fsencode(tmp_path / "gone.png")))
    assert is_readable(requests(b"a/0.png")[0])
    assert not is_readable(requests(b"gone.png")[0])
    assert not is_readable(Request(b"nonsense://b/a.png", root=b"nonsense://b"))


def test_one_photo_is_read_like_any_other(memory, workers):
    pool = StagingPool(workers)
    assert pool.read(requests(b"a/0.png")[0]).size == (96, 72)
    assert pool.spec() == workers.spec()
    with pytest.raises(ImageError):
        pool.read(requests(b"gone.png")[0])
