"""Thumbnails of the photos of evaluation runs: only what a benchmark lists, below its folder, decoded elsewhere."""

from __future__ import annotations

import hashlib
import os
import threading

from glocal.data.image import LIMITS, DecodeLimits
from glocal.errors import ImageError
from glocal.extract.pool import WorkerPool
from glocal.extract.requests import PIXELS_ONLY, TIMEOUT_S, Answer, Request
from glocal.pictures.outlines import draw_box
from glocal.web.lab import OpenRun, RunNotFound
from glocal.web.pictures import ENCODER, Encoded, PictureCache, encode_webp

CACHE_BYTES = 16 << 20
_NO_PHOTO = "This photo cannot be shown: it is not where the run's data was, or cannot be read"


class LabPhotos:
    """Makes the thumbnails, one at a time, and keeps some of them. Safe to use from several threads; calls block.

    Args:
        limits: what one file may cost.
        timeout_s: seconds that decoding may take.
    """

    def __init__(self, limits: DecodeLimits = LIMITS, timeout_s: float = TIMEOUT_S) -> None:
        self._limits, self._timeout_s = limits, timeout_s
        self._pool: WorkerPool | None = None  # started when it is needed
        self._lock = threading.Lock()
        self._kept = PictureCache(CACHE_BYTES)

    def close(self) -> None:
        """End the process that decodes; it starts again if something is asked."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def of_gallery(self, opened: OpenRun, photo: int, longest: int) -> Encoded:
        """A WebP of a photo that was searched, by its number.

        Raises:
            RunNotFound: no such photo, or it cannot be shown.
        """
        benchmark = opened.benchmark
        if benchmark is None or not 0 <= photo < len(benchmark.files):
            raise RunNotFound(opened.trouble if benchmark is None else f"This run has no photo {photo} in its data")
        return self._encoded(opened, benchmark.files[photo], None, longest)

    def of_query(self, opened: OpenRun, query: int, longest: int) -> Encoded:
        """A WebP of a query's photo, the part that was asked for marked.

        Raises:
            RunNotFound: no such query, or its photo cannot be shown.
        """
        opened.expect_query(query)
        if opened.benchmark is None:
            raise RunNotFound(opened.trouble)
        asked = opened.benchmark.queries[query]
        cropped = not str(opened.record.card.get("crop", "on")).startswith("off")
        return self._encoded(opened, asked.file, asked.corners if cropped else None, longest)

    def _encoded(
        self, opened: OpenRun, file: str, corners: tuple[float, float, float, float] | None, longest: int
    ) -> Encoded:
        root = opened.benchmark.root if opened.benchmark else None
        if root is None:
            raise RunNotFound(_NO_PHOTO)
        path = os.path.join(os.path.abspath(root), file)
        try:
            about = os.stat(path)
        except (OSError, ValueError) as error:
            raise RunNotFound(_NO_PHOTO) from error
        what = f"{path}\0{about.st_ino}\0{about.st_mtime_ns}\0{about.st_size}\0{corners}\0{longest}"
        etag = f'"lab{ENCODER}-{hashlib.blake2b(os.fsencode(what), digest_size=12).hexdigest()}"'
        with self._lock:
            if (kept := self._kept.get(etag)) is not None:
                return kept
            answer = self._read(path, os.path.abspath(root), longest)
            pixels = answer.arrays["pixels"]
            if corners is not None:
                x1, y1, x2, y2 = corners
                pixels = draw_box(pixels, (x1, y1, x2 - x1, y2 - y1), answer.size)
            encoded = Encoded(encode_webp(pixels), "image/webp", etag)
            self._kept.put(etag, encoded)
            return encoded

    def _read(self, path: str, root: str, longest: int) -> Answer:
        if self._pool is None:
            self._pool = WorkerPool(PIXELS_ONLY, 1, self._limits, self._timeout_s)
        request = Request(os.fsencode(path), want="pixels", root=os.fsencode(root), longest=longest)
        try:
            return self._pool.read(request)
        except ImageError as error:
            raise RunNotFound(f"{_NO_PHOTO} ({error.code})") from error
