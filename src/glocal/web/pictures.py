"""Photos for the page: decoded in processes that can be killed, re-encoded from bare pixels, kept in bounded memory.

Whatever a file says about its owner, place or camera (EXIF, XMP, IPTC, colour profile, embedded preview) stays behind:
a picture is written from an array that never held it. Nothing is written to disk but, while it is decoded, the copy of
one that is fetched from an object store.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import math
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glocal.data.image import LIMITS, DecodeLimits
from glocal.errors import BackendUnavailable, ConfigError, ImageError
from glocal.extract.pool import WorkerPool
from glocal.extract.remote import StagingPool
from glocal.extract.requests import PIXELS_ONLY, TIMEOUT_S, Request
from glocal.types import Pixels
from glocal.web.library import Found
from glocal.web.problems import Problem

WIDTHS = (160, 320, 640, 1280)
"""Longest sides of thumbnails in pixels."""
CACHE_BYTES = 64 << 20
MAX_WAITING = 64
"""Pictures that may wait for a decoder; more are refused."""
MAX_FULL_PIXELS = 25_000_000
"""A picture of more pixels is shown reduced to this: three copies of it are in memory for a moment."""
ENCODER = "1"
"""Part of every ETag: counted up when the same photo would give other bytes."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture as it is sent.

    Attributes:
        data: the file.
        media_type: such as "image/webp".
        etag: changes whenever the bytes may.
    """

    data: bytes
    media_type: str
    etag: str


class Pictures:
    """Makes the pictures that the page shows. Safe to use from several threads; each call but `ask` blocks.

    Args:
        limits: what a picture may cost; a photo of the collection may have more bytes than an upload.
        timeout_s: seconds that decoding may take.
        num_workers: thumbnails that are made at the same time; one process more decodes pictures in full size.
        cache_bytes: thumbnails that are kept.
    """

    def __init__(
        self,
        limits: DecodeLimits = LIMITS,
        timeout_s: float = TIMEOUT_S,
        num_workers: int = 2,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._limits = dataclasses.replace(limits, max_bytes=max(limits.max_bytes, LIMITS.max_bytes))
        self._timeout_s = timeout_s
        self._idle: queue.LifoQueue[WorkerPool | None] = queue.LifoQueue()
        for _ in range(num_workers + 1):
            self._idle.put(None)  # a process is started when it is needed
        self._num_decoders = num_workers + 1
        self._small = ThreadPoolExecutor(num_workers, "thumbnails")
        self._large = ThreadPoolExecutor(1, "pictures")  # one at a time: the array of a whole picture is large
        self._num_asked = 0
        self._cache = PictureCache(cache_bytes)
        self._making: dict[str, Future[Encoded]] = {}
        self._making_lock = threading.Lock()

    def close(self) -> None:
        """End the processes; what is being decoded ends within the time limit."""
        for executor in (self._small, self._large):
            executor.shutdown(wait=False, cancel_futures=True)
        for _ in range(self._num_decoders):
            with contextlib.suppress(queue.Empty):
                pool = self._idle.get(timeout=self._timeout_s)
                if pool is not None:
                    pool.close()

    async def ask(self, make: Callable[[], Encoded], large: bool = False) -> Encoded:
        """Await one of the calls below without blocking; from one event loop only.

        Args:
            make: such as `lambda: pictures.thumbnail(found, 320)`.
            large: whether it is a picture in full size; thumbnails do not wait for these.

        Raises:
            Problem: `overloaded`: too many wait already.
        """
        if self._num_asked >= MAX_WAITING:
            raise Problem("overloaded", "Too many pictures are asked for at the same time.", "try again in a moment")
        self._num_asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._large if large else self._small, make)
        finally:
            self._num_asked -= 1

    def thumbnail(self, found: Found, longest: int) -> Encoded:
        """A WebP of a photo with no side above `longest` pixels.

        Raises:
            Problem: `image_gone` if its file cannot be read, `image_changed` if that holds another picture now.
            ImageError: decoding it takes too long.
        """
        etag = thumbnail_etag(found.id, longest)
        return self._once(etag, lambda: Encoded(encode_webp(self.pixels(found, longest)), "image/webp", etag))

    def full(self, found: Found) -> Encoded:
        """A JPEG of a photo in full size, or of `MAX_FULL_PIXELS` if it has more.

        Raises:
            Problem, ImageError: as for `thumbnail`.
        """
        return Encoded(encode_jpeg(self.pixels(found, full_side(found.size))), "image/jpeg", full_etag(found.id))

    def webp(self, pixels: NDArray[np.uint8], etag: str) -> Encoded:
        """A WebP of pixels that somebody has made of a photo."""
        return Encoded(encode_webp(pixels), "image/webp", etag)

    def pixels(self, found: Found, longest: int) -> Pixels:
        """The upright RGB pixels (h, w, 3) of a photo, no side above `longest`; 0 for its full size.

        Raises:
            Problem, ImageError: as for `thumbnail`.
        """
        request = Request(found.path, want="pixels", root=found.root, longest=longest)
        try:
            with self._decoder() as pool:
                answer = (StagingPool(pool, self._limits) if found.is_remote else pool).read(request)
        except (BackendUnavailable, ConfigError) as error:
            if not found.is_remote:
                raise
            raise Problem("image_gone", "The store that this photo lies in cannot be read.") from error
        except ImageError as error:
            if error.code == "timeout":
                raise
            if error.code in _GONE:
                raise Problem("image_gone", "This photo is not there any more, or may not be read.", _UPDATE) from error
            raise Problem("image_changed", "This photo is not what was indexed.", _UPDATE) from error
        if answer.content_hash != found.id:
            raise Problem("image_changed", "This photo has changed since it was indexed.", _UPDATE)
        pixels: Pixels = answer.arrays["pixels"]
        return pixels

    @contextlib.contextmanager
    def _decoder(self) -> Iterator[WorkerPool]:
        pool = self._idle.get()
        try:
            if pool is None:
                pool = WorkerPool(PIXELS_ONLY, 1, self._limits, self._timeout_s)
            yield pool
        finally:
            self._idle.put(pool)

    def _once(self, key: str, make: Callable[[], Encoded]) -> Encoded:
        """From memory, or made by the first who asks while the others wait for it."""
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        with self._making_lock:
            promise = self._making.get(key)
            mine = promise is None
            if promise is None:
                promise = self._making[key] = Future()
        if not mine:
            return promise.result()
        try:
            encoded = make()
        except BaseException as error:
            promise.set_exception(error)
            raise
        else:
            self._cache.put(key, encoded)
            promise.set_result(encoded)
            return encoded
        finally:
            with self._making_lock:
                del self._making[key]


_GONE = ("unreadable", "not_regular_file", "outside_root")
_UPDATE = "update the index"


class PictureCache:
    """Pictures by their ETag, up to some bytes; those not asked for longest go first. Safe to use from any thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._kept: OrderedDict[str, Encoded] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Encoded | None:
        """The picture with an ETag, if it is still kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, encoded: Encoded) -> None:
        """Keep a picture, and let go of others if there are too many bytes."""
        with self._lock:
            before = self._kept.pop(key, None)
            self._num_bytes += len(encoded.data) - (len(before.data) if before else 0)
            self._kept[key] = encoded
            while self._num_bytes > self._max_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._num_bytes -= len(oldest.data)


def thumbnail_etag(photo_id: str, longest: int) -> str:
    """The ETag of a thumbnail, known without making it."""
    return f'"{photo_id}-t{ENCODER}-{longest}"'


def full_etag(photo_id: str) -> str:
    """The ETag of a picture in full size."""
    return f'"{photo_id}-f{ENCODER}"'


def is_current(if_none_match: str | None, etag: str) -> bool:
    """Whether a browser that sends this header has the picture already (RFC 9110, 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    told: Sequence[str] = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return etag in told or told == ["*"]


def full_side(size: tuple[int, int]) -> int:
    """The side to which a photo of (W, H) pixels is decoded to be shown whole; 0 for its own."""
    pixels = size[0] * size[1]
    return 0 if pixels <= MAX_FULL_PIXELS else int(max(size) * math.sqrt(MAX_FULL_PIXELS / pixels))


def encode_webp(pixels: NDArray[np.uint8], quality: int = 80) -> bytes:
    """A WebP of (h, w, 3) RGB or (h, w, 4) RGBA pixels; no side may be above 16383."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()


def encode_jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """A JPEG of (h, w, 3) RGB pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
