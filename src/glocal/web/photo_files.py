"""Photos that the service keeps itself: one file per content, named by it, readable by nobody else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from glocal.data.formats import DECODERS, sniff
from glocal.data.image import hash_content
from glocal.errors import ImageError, StoreError

_ENDINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "HEIF": "heic"}


def keep_photo(folder: Path, data: bytes) -> Path:
    """Write a photo into a folder; durable when this returns. One that is there already is left alone.

    Args:
        folder: of the index.
        data: the whole file. It is not decoded: the indexer does that where it can be killed.

    Returns:
        The path: two hexadecimal digits, and 32 with the ending of the format.

    Raises:
        ImageError: `empty`, `not_an_image` or `unsupported_format`.
        StoreError: the disk is full, or may not be written.
    """
    if not data:
        raise ImageError("empty")
    kind = sniff(data)
    if kind is None:
        raise ImageError("not_an_image")
    if kind not in DECODERS or kind not in _ENDINGS:
        raise ImageError("unsupported_format", f"{kind} is not a format that glocal reads")
    digest = hash_content(data)
    place = folder / digest[:2] / f"{digest}.{_ENDINGS[kind]}"
    try:
        if place.exists():
            return place
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A name that the indexer does not take for a picture, until all bytes are there. Mode 0600.
        descriptor, temporary = tempfile.mkstemp(suffix=".part", dir=place.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, place)
        except BaseException:
            os.unlink(temporary)
            raise
        _sync(place.parent)
    except OSError as error:
        raise StoreError(f"The photo cannot be kept: {(error.strerror or 'write error').lower()}.") from error
    return place


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
