"""Photos that lie in an object store: they are copied shard by shard, described where they are then, and deleted.

Decoders run in processes that may do nothing but read a local file (see `glocal.extract.worker`), so that a store is
asked by this process alone. While one shard is described, the next is being fetched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from glocal.data.formats import is_picture_name
from glocal.data.image import LIMITS, DecodeLimits
from glocal.data.remote import RemoteFolder, is_url
from glocal.errors import DiskFull, ImageError, RetrievalError
from glocal.extract.requests import Answer, Outcome, PhotoPool, Request, read_one
from glocal.store.scan import FolderScan, FoundFile
from glocal.types import ExtractorSpec

SHARD_PHOTOS = 32
"""Photos that are fetched together."""
_FETCHED_AT_A_TIME = 8
_PREFIX = "glocal-staged-"

_Fetching = tuple[Request, Path, Future[int]]


def scan_remote(folder: RemoteFolder) -> FolderScan:
    """What `glocal.store.scan.scan_folder` gives, for a folder in a store.

    Raises:
        ConfigError: the folder cannot be listed.
    """
    listing = folder.list_files()
    pictures = [
        FoundFile(file.path, file.size, file.mtime_ns)
        for file in listing.files
        if is_picture_name(os.path.basename(file.path))
    ]
    return FolderScan(pictures, len(listing.files) - len(pictures), listing.unlisted)


class StagingPool:
    """A `PhotoPool` around another that reads local files: requests whose root is a URL are fetched for it.

    Other requests pass through. The copies lie in a folder of their own under the system's folder for temporary files;
    what a killed process has left there is deleted by the next.

    Args:
        pool: describes the copies; ends with this one.
        limits: how large a file may be.
        shard_photos: photos that are fetched together; two times as many are on the disk at most.
    """

    def __init__(self, pool: PhotoPool, limits: DecodeLimits = LIMITS, shard_photos: int = SHARD_PHOTOS) -> None:
        self._pool = pool
        self._limits = limits
        self._shard_photos = shard_photos
        self._folders: dict[bytes, RemoteFolder] = {}

    def run(self, requests: Iterable[Request]) -> Generator[Outcome, None, None]:
        """Answer all requests, in the order in which they get done; may be closed early.

        Raises:
            ConfigError: nobody reads such a URL.
            BackendUnavailable: what reads it is not installed; or a worker cannot be started.
            DiskFull: no space is left for the copies.
        """
        source = iter(requests)
        numbers = itertools.count()
        with _staging_folder() as place, ThreadPoolExecutor(_FETCHED_AT_A_TIME, "fetch") as threads:

            def begin() -> list[_Fetching | Request]:
                return [
                    self._begin(request, place / str(next(numbers)), threads) if _is_remote(request) else request
                    for request in itertools.islice(source, self._shard_photos)
                ]

            try:
                shard = begin()
                while shard:
                    following = begin()
                    yield from self._describe(shard)
                    shard = following
            finally:
                threads.shutdown(cancel_futures=True)

    def _begin(self, request: Request, copy: Path, threads: ThreadPoolExecutor) -> _Fetching:
        assert request.root is not None
        if request.root not in self._folders:
            self._folders[request.root] = _folder_of(request)
        folder = self._folders[request.root]
        return request, copy, threads.submit(_fetch, folder, _path_in_root(request), copy, self._limits)

    def _describe(self, shard: list[_Fetching | Request]) -> Iterator[Outcome]:
        here: list[Request] = []
        for one in shard:
            if isinstance(one, Request):
                here.append(dataclasses.replace(one, key=(one, None)))
                continue
            request, copy, fetching = one
            try:
                mtime_ns = fetching.result()
            except ImageError as error:
                yield request, error
            else:
                # The copy's name is ours: there is no root to leave.
                here.append(dataclasses.replace(request, path=os.fsencode(copy), root=None, key=(request, mtime_ns)))
        with contextlib.closing(self._pool.run(here)) as outcomes:
            for asked, outcome in outcomes:
                request, mtime_ns = asked.key
                if mtime_ns is not None:
                    os.unlink(asked.path)
                    if isinstance(outcome, Answer):
                        outcome = dataclasses.replace(outcome, mtime_ns=mtime_ns)
                yield request, outcome

    def read(self, request: Request) -> Answer:
        """Answer one request.

        Raises:
            ImageError: the photo cannot be read.
        """
        return read_one(self, request)

    def spec(self) -> ExtractorSpec:
        """The spec of the model."""
        return self._pool.spec()

    def close(self) -> None:
        """End all children."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_readable(request: Request) -> bool:
    """Whether this computer can read a photo, as far as permissions tell; one of a store is fetched."""
    if not _is_remote(request):
        return os.access(request.path, os.R_OK)
    try:
        _folder_of(request).read(_path_in_root(request))
    except RetrievalError:
        return False
    return True


def _is_remote(request: Request) -> bool:
    return request.root is not None and is_url(os.fsdecode(request.root))


def _folder_of(request: Request) -> RemoteFolder:
    return RemoteFolder(os.fsdecode(request.root or b""))


def _path_in_root(request: Request) -> bytes:
    return request.path.removeprefix(request.root or b"").lstrip(b"/")


def _fetch(folder: RemoteFolder, path: bytes, copy: Path, limits: DecodeLimits) -> int:
    """Copy a file; returns its modification time in nanoseconds."""
    file = folder.read(path, limits)
    try:
        copy.write_bytes(file.data)
    except OSError as error:
        raise DiskFull(
            f"{folder.url} is read by way of {copy.parent}, and that cannot be written: {error.strerror} "
            "→ free some space there, or name another folder in TMPDIR"
        ) from error
    return file.mtime_ns


@contextlib.contextmanager
def _staging_folder() -> Iterator[Path]:
    """A new folder for copies, locked while it is in use and deleted after it."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _delete_if_left(left)
    while True:
        place = Path(tempfile.mkdtemp(prefix=_PREFIX))
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if place.exists():
            break
        os.close(descriptor)  # another process took it for one that is left, before we had the lock
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(descriptor)


def _delete_if_left(place: Path) -> None:
    """Delete a staging folder of ours whose process is gone: then nobody holds its lock."""
    with contextlib.suppress(OSError):
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_uid == os.getuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
        finally:
            os.close(descriptor)
