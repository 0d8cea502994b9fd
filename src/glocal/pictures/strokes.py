"""Lines, dots and polygons with smooth edges, placed to 1/16 pixel (OpenCV).

The functions that draw change the picture they are given.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.pictures.colours import Colour
from glocal.types import Pixels

_SHIFT = 4  # cv2 takes integers and reads them as 1/16 pixel


def draw_line(canvas: Pixels, start: NDArray[np.float64], end: NDArray[np.float64], colour: Colour, width: int) -> None:
    """A straight line between two points (x, y)."""
    cv2.line(canvas, _fixed(start), _fixed(end), colour, width, cv2.LINE_AA, _SHIFT)


def draw_dot(canvas: Pixels, point: NDArray[np.float64], radius: float, rim: float, colour: Colour) -> None:
    """A disc with a black rim around it, which shows on any ground."""
    place = _fixed(point)
    cv2.circle(canvas, place, round((radius + rim) * (1 << _SHIFT)), (0, 0, 0), -1, cv2.LINE_AA, _SHIFT)
    cv2.circle(canvas, place, round(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)


def draw_polygon(canvas: Pixels, corners: NDArray[np.float64], colour: Colour, width: int) -> None:
    """The closed outline of (N, 2) corners; `canvas` must be contiguous."""
    cv2.polylines(canvas, [_fixed_all(corners)], True, colour, width, cv2.LINE_AA, _SHIFT)


def polygon_cover(corners: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) float32: how much of each pixel of a picture of the size (W, H) lies inside the polygon, 0 to 1."""
    inside = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillPoly(inside, [_fixed_all(corners)], 255, cv2.LINE_AA, _SHIFT)
    cover: NDArray[np.float32] = inside.astype(np.float32) / np.float32(255)
    return cover


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    # A quad seen at a grazing angle may reach far outside; OpenCV's integers must not overflow.
    x, y = np.clip(point, -1e5, 1e5) * (1 << _SHIFT)
    return round(float(x)), round(float(y))


def _fixed_all(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.array([_fixed(point) for point in points], np.int32)
