"""The two photos seen from one viewpoint, for overlay and blink (NumPy, OpenCV, Pillow)."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glocal.ops.coordinates import fit_within, rescale
from glocal.ops.homography import transfer
from glocal.pictures.resizing import resize, size_of
from glocal.pictures.view import MatchView
from glocal.types import Pixels

REGISTERED_SIDE = 900
BLINK_SIDE = 640
BLINK_MS = 400
"""Each picture of a blink stays this long: 1.25 Hz, well below the 3 Hz that may trigger seizures."""


def register(query: Pixels, target: Pixels, view: MatchView) -> tuple[Pixels, Pixels] | None:
    """The query seen from the target's viewpoint, and the target: for overlay and blink.

    Both are cropped to the matched area with a margin. Outside the query's picture the first one shows
    the target itself.

    Returns:
        Two (h, w, 3) uint8 of equal size, or None where nothing is matched inside the target.
    """
    if view.homography is None or not np.isfinite(view.homography).all():
        return None
    quad = view.target_quad
    if quad is None:
        quad = transfer(view.homography, _corners(view.query_size))
    window = _window(rescale(quad, view.target_size, size_of(target)), size_of(target))
    if window is None:
        return None
    left, top, right, bottom = window
    zoom = min(2.0, REGISTERED_SIDE / max(right - left, bottom - top))
    size = max(1, round((right - left) * zoom)), max(1, round((bottom - top) * zoom))
    shown = resize(target[top:bottom, left:right], size)
    crop = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    into = _scaling((right - left, bottom - top), size) @ crop @ _scaling(view.target_size, size_of(target))
    outward = into @ view.homography  # original query -> result
    source = _fit_detail(query, view, outward)
    warp = outward @ np.linalg.inv(_scaling(view.query_size, size_of(source)))
    if abs(np.linalg.det(warp)) < 1e-12:
        return None
    warped = cv2.warpPerspective(source, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpPerspective(np.full(source.shape[:2], 255, np.uint8), warp, size, flags=cv2.INTER_LINEAR)
    cover[~_in_front(warp, size)] = 0
    share = cover[..., None].astype(np.float32) / 255
    mixed = warped.astype(np.float32) * share + shown.astype(np.float32) * (1 - share)
    return mixed.round().astype(np.uint8), shown


def blink_gif(pair: tuple[Pixels, Pixels]) -> bytes:
    """An endless animated GIF that alternates between the two pictures, 1.25 times a second."""
    size = fit_within(size_of(pair[0]), BLINK_SIDE)
    frames = [Image.fromarray(resize(pixels, size)).quantize(128) for pixels in pair]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=BLINK_MS, loop=0)
    return buffer.getvalue()


def _corners(size: tuple[int, int]) -> NDArray[np.float64]:
    right, bottom = size[0] - 1, size[1] - 1
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float64)


def _scaling(before: tuple[int, int], after: tuple[int, int]) -> NDArray[np.float64]:
    """(3, 3) map of pixel centres under resizing, as `rescale`."""
    x, y = after[0] / before[0], after[1] / before[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]], np.float64)


def _window(quad: NDArray[np.floating], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom around the part of a quad inside a picture, with a margin; None if there is none."""
    if not np.isfinite(quad).all():
        return None
    low, high = np.maximum(quad.min(axis=0), 0), np.minimum(quad.max(axis=0), np.array(size) - 1)
    if (high - low < 4).any():
        return None
    margin = 0.15 * float((high - low).max())
    left, top = np.maximum(np.floor(low - margin), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(high + margin) + 1, size).astype(int).tolist()
    return left, top, right, bottom


def _fit_detail(query: Pixels, view: MatchView, outward: NDArray[np.float64]) -> Pixels:
    """Reduce a query that is shown much smaller, or thin lines would break up in the warp."""
    rectangle = _corners(view.query_size) if view.query_quad is None else view.query_quad
    mapped = transfer(outward, rectangle)
    here = cv2.contourArea(rescale(rectangle, view.query_size, size_of(query)))
    if not np.isfinite(mapped).all() or here <= 0:
        return query
    factor = float(np.sqrt(cv2.contourArea(mapped.astype(np.float32)) / here))
    if factor > 0.7:
        return query
    width, height = size_of(query)
    return resize(query, (max(2, round(width * factor)), max(2, round(height * factor))))


def _in_front(warp: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w) bool: pixels of the result that are not behind the viewer, where the warp would show a ghost."""
    back = np.linalg.inv(warp)
    x, y = np.arange(size[0]), np.arange(size[1])
    mask: NDArray[np.bool_] = back[2, 0] * x[None, :] + back[2, 1] * y[:, None] + back[2, 2] > 0
    return mask
