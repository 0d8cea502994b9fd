"""The matched area and the user's box, drawn on a photo (NumPy).

Quads and boxes are in pixels of the upright original; the pixel arrays may be reduced versions of it.
`draw_...` leaves the photo as it is and returns a new one, `outline_quad` and `dash_box` draw into it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glocal.ops.coordinates import rescale
from glocal.pictures.colours import SAME_GREEN, Colour
from glocal.pictures.resizing import size_of
from glocal.pictures.strokes import draw_line, draw_polygon, polygon_cover
from glocal.pictures.view import MatchView
from glocal.types import Box, Pixels

_DIMMED = 0.68
"""Brightness that is left of what lies outside."""


def draw_quad(target: Pixels, view: MatchView, *, colour: Colour = SAME_GREEN) -> Pixels:
    """The target with the matched area outlined and the rest a little darker; unchanged without a quad."""
    quad = view.target_quad
    if quad is None or not np.isfinite(quad).all():
        return target.copy()
    corners = rescale(quad, view.target_size, size_of(target)).astype(np.float64)
    light = _DIMMED + (1 - _DIMMED) * polygon_cover(corners, size_of(target))
    picture = (target * light[..., None]).round().astype(np.uint8)
    outline_quad(picture, quad, view.target_size, colour, _stroke(target))
    return picture


def draw_box(query: Pixels, box: Box, size: tuple[int, int]) -> Pixels:
    """The query with the user's box dashed and the rest a little darker.

    Args:
        query: (h, w, 3) uint8, RGB.
        box: x, y, width, height in pixels of the original.
        size: (W, H) of the original.
    """
    picture = (query * np.float32(_DIMMED)).round().astype(np.uint8)
    ends = rescale(np.array([box[:2], (box[0] + box[2], box[1] + box[3])]) - 0.5, size, size_of(query))
    (left, top), (right, bottom) = np.maximum(np.round(ends + 0.5), 0).astype(int).tolist()
    picture[top:bottom, left:right] = query[top:bottom, left:right]
    dash_box(picture, box, size, _stroke(query))
    return picture


def outline_quad(
    picture: Pixels, quad: NDArray[np.float64] | None, size: tuple[int, int], colour: Colour, width: float
) -> None:
    """Draw a quad into the picture of an original of `size`, with a dark halo that shows on any ground."""
    if quad is None or not np.isfinite(quad).all():
        return
    layer = np.ascontiguousarray(picture)
    corners = rescale(quad, size, size_of(picture)).astype(np.float64)
    core = max(1, round(width))
    draw_polygon(layer, corners, (0, 0, 0), core + _halo(width))
    draw_polygon(layer, corners, colour, core)
    picture[:] = layer


def dash_box(picture: Pixels, box: Box, size: tuple[int, int], width: float) -> None:
    """Draw a box with dashes into the picture of an original of `size`, with the same halo."""
    x, y, w, h = box
    corners = rescale(np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]) - 0.5, size, size_of(picture))
    layer = np.ascontiguousarray(picture)
    core = max(1, round(width))
    # Drawn along the frame at least half a line inside, or a box of the whole photo could not be seen.
    limit = np.array(size_of(picture)) - 1 - core
    corners = np.clip(corners.astype(np.float64), core, np.maximum(limit, core))
    for stroke, colour in ((core + _halo(width), (0, 0, 0)), (core, (255, 255, 255))):
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            dashes = max(1, round(float(np.linalg.norm(end - start)) / (width * 7)))
            for dash in range(dashes):
                step = (end - start) / dashes
                draw_line(layer, start + step * (dash + 0.2), start + step * (dash + 0.8), colour, stroke)
    picture[:] = layer


def _stroke(pixels: Pixels) -> float:
    return max(2.0, max(size_of(pixels)) / 130)


def _halo(width: float) -> int:
    return 2 * max(1, round(width * 0.6))
