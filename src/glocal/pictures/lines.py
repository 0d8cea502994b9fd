"""The match lines: which ones are drawn, and how (NumPy, OpenCV)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.pictures.colours import OUTLIER_GREY, ramp
from glocal.pictures.frames import Frame
from glocal.pictures.strokes import draw_dot, draw_line
from glocal.pictures.view import MatchView
from glocal.types import Pixels

MAX_LINES = 48
LINE_SPACING = 0.02
"""More or closer lines (share of the picture's width) hide the photos; the other inliers are drawn as dots."""
MAX_OUTLIERS = 80


def choose_lines(view: MatchView, left: Frame, right: Frame, width: int) -> list[int]:
    """The inliers that get a line: the most exact one, then those far from all chosen before.

    Args:
        view: where the photos agree.
        left: the query's place on the canvas.
        right: the target's place.
        width: of the canvas.

    Returns:
        At most `MAX_LINES` positions among the matches, in the order of choice.
    """
    start, _, drawable = _ends(view, left, right)
    inliers = np.flatnonzero(view.mask & drawable)
    order = inliers[np.argsort(view.residuals()[inliers], kind="stable")]
    return _spread(start[order], order, MAX_LINES, LINE_SPACING * width)


def draw_lines(
    canvas: Pixels, left: Frame, right: Frame, view: MatchView, lines: list[int], outliers: bool, unit: float
) -> None:
    """Draw the chosen lines and the dots of all inliers; `unit` is a pixel of a picture 1600 pixels wide."""
    start, end, drawable = _ends(view, left, right)
    thin, thick = max(1, round(unit)), max(1, round(2 * unit))
    if outliers:
        layer = canvas.copy()
        others = np.flatnonzero(~view.mask & drawable)
        for i in _spread(start[others], others, MAX_OUTLIERS, 0):
            draw_line(layer, start[i], end[i], OUTLIER_GREY, thin)
        cv2.addWeighted(layer, 0.6, canvas, 0.4, 0, dst=canvas)
    residuals = view.residuals()
    colours = ramp(residuals / residual_limit(view))
    inliers = np.flatnonzero(view.mask & drawable)
    order = inliers[np.argsort(-residuals[inliers], kind="stable")].tolist()  # the most exact ones end up on top
    chosen = set(lines)
    shadow = canvas.copy()
    for i in lines:
        draw_line(shadow, start[i], end[i], (0, 0, 0), thick + 2 * thin)
    cv2.addWeighted(shadow, 0.35, canvas, 0.65, 0, dst=canvas)
    layer = canvas.copy()
    for i in reversed(lines):
        draw_line(layer, start[i], end[i], colours[i], thick)
    cv2.addWeighted(layer, 0.85, canvas, 0.15, 0, dst=canvas)
    for i in sorted(order, key=lambda i: i in chosen):
        radius = max(2.0, 4.5 * unit) if i in chosen else max(1.0, 2.0 * unit)
        for point in (start[i], end[i]):
            draw_dot(canvas, point, radius, max(0.6, 1.4 * unit), colours[i])


def residual_limit(view: MatchView) -> float:
    """Target pixels at the far end of the colour ramp; 1 at least, or copies would show their rounding errors."""
    residuals = view.residuals()[view.mask]
    finite = residuals[np.isfinite(residuals)]
    return max(1.0, float(np.ceil(finite.max()))) if len(finite) else 1.0


def _ends(
    view: MatchView, left: Frame, right: Frame
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Both ends of every match on the canvas, and whether they can be drawn."""
    start, end = left.place(view.query_points, view.query_size), right.place(view.target_points, view.target_size)
    drawable = np.asarray(np.isfinite(np.hstack([start, end])).all(axis=1))
    return start, end, drawable


def _spread(places: NDArray[np.float64], names: NDArray[np.int64], count: int, spacing: float) -> list[int]:
    """At most `count` names, the first one and then always the one whose place is farthest from those chosen."""
    if not len(names):
        return []
    chosen = [0]
    distance = np.linalg.norm(places - places[0], axis=1)
    while len(chosen) < min(count, len(names)) and distance.max() > spacing:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return [int(name) for name in names[chosen]]
