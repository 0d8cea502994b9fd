"""Pictures as data URIs of bounded length, for a page without other files."""

from __future__ import annotations

import base64

from glocal.pictures.files import encode_jpeg
from glocal.pictures.resizing import reduce, size_of
from glocal.types import Pixels

MIN_QUALITY = 40


def data_uri(pixels: Pixels, longest: int, max_bytes: int) -> tuple[str, tuple[int, int]]:
    """A JPEG as data URI; busy pictures lose quality, then size, to stay mailable.

    Args:
        pixels: (h, w, 3) uint8, RGB.
        longest: limit for the longest side, in pixels.
        max_bytes: limit for the JPEG; only a picture of 160 pixels at the lowest quality may exceed it.

    Returns:
        The URI and the size (w, h) in pixels.
    """
    quality = 82
    small = reduce(pixels, longest)
    data = encode_jpeg(small, quality)
    while len(data) > max_bytes and (quality > MIN_QUALITY or longest > 160):
        if quality > MIN_QUALITY:
            quality -= 14
        else:
            longest = max(160, longest * 4 // 5)
            small = reduce(pixels, longest)
        data = encode_jpeg(small, quality)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode(), size_of(small)
