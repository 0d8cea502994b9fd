"""Pixel coordinates under resizing: (0, 0) is the centre of the top-left pixel (NumPy)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.ops.shapes import expect_shape

MIN_BOX_SIDE = 32


def rescale(points: NDArray[np.floating], from_size: tuple[int, int], to_size: tuple[int, int]) -> NDArray[np.float32]:
    """Map points of a picture to the same places of its resized version.

    Args:
        points: (N, 2) float, (x, y).
        from_size: (W, H) of the picture in which the points lie.
        to_size: (W, H) of the resized picture.

    Returns:
        (N, 2) float32: `(x + 0.5) * s - 0.5` with one factor s per axis.
    """
    expect_shape(points, "N 2", "points")
    factors = np.asarray(to_size, np.float64) / np.asarray(from_size, np.float64)
    return ((points + 0.5) * factors - 0.5).astype(np.float32)


def fit_within(size: tuple[int, int], longest: float) -> tuple[int, int]:
    """The size (W, H) of a picture reduced so that its longest side is at most `longest`; never enlarged."""
    width, height = size
    factor = min(1.0, longest / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def turn_size(size: tuple[int, int], turns: int) -> tuple[int, int]:
    """The size (W, H) of a picture after quarter turns; the same again leads back."""
    width, height = size
    return (height, width) if turns % 2 else (width, height)


def turn_back(points: NDArray[np.floating], turns: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Map points of a turned picture to the same places of the upright one.

    Args:
        points: (N, 2) float, (x, y) in the turned picture.
        turns: quarter turns counter-clockwise by which it was turned, as `numpy.rot90` does it.
        size: (W, H) of the upright picture.

    Returns:
        (N, 2) float32.
    """
    expect_shape(points, "N 2", "points")
    right, bottom = size[0] - 1, size[1] - 1
    x, y = np.asarray(points, np.float32).T
    places = {0: (x, y), 1: (right - y, x), 2: (right - x, bottom - y), 3: (y, bottom - x)}
    return np.stack(places[turns % 4], axis=1)


def clip_box(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Cut a box to the picture that it belongs to.

    Args:
        box: x, y, width, height in pixels.
        size: (W, H) of the picture.

    Returns:
        x, y, width, height in whole pixels, inside the picture.

    Raises:
        ConfigError: what remains is smaller than `MIN_BOX_SIDE` on a side.
    """
    x, y, width, height = box
    left, right = (min(max(round(value), 0), size[0]) for value in (x, x + width))
    top, bottom = (min(max(round(value), 0), size[1]) for value in (y, y + height))
    if min(right - left, bottom - top) < MIN_BOX_SIDE:
        raise ConfigError(
            f"box is {max(0, right - left)}×{max(0, bottom - top)} px inside the picture "
            f"({size[0]}×{size[1]}) — too small, need ≥ {MIN_BOX_SIDE}"
        )
    return left, top, right - left, bottom - top
