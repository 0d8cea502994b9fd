"""Pixel arrays in another size (OpenCV)."""

from __future__ import annotations

import cv2
import numpy as np

from glocal.ops.coordinates import fit_within
from glocal.types import Pixels


def size_of(pixels: Pixels) -> tuple[int, int]:
    """(W, H) of an (h, w, 3) array."""
    return pixels.shape[1], pixels.shape[0]


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A copy of the pixels in the size (W, H)."""
    if size_of(pixels) == size:
        return pixels.copy()
    smaller = size[0] < pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC).astype(np.uint8)


def reduce(pixels: Pixels, longest: int) -> Pixels:
    """The pixels with no side above `longest`; the same array where it is small enough already."""
    size = fit_within(size_of(pixels), longest)
    if size == size_of(pixels):
        return pixels
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
