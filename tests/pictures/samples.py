"""Photos and matches for the tests of the pictures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.ops.homography import transfer
from glocal.pictures.view import MatchView
from glocal.types import Pixels

TURN = np.array([[0.9, -0.3, 60.0], [0.3, 0.9, 10.0], [0.0002, 0.0, 1.0]])
GREY = 90
WILD_QUADS = [
    np.array([[-1e12, 10], [1e12, 10], [1e12, 200], [-1e12, 200]]),
    np.array([[np.inf, 10], [20, 10], [20, 20], [10, 20]]),
]
"""Quads as they come from grazing angles."""


def plain(width: int, height: int, level: int = GREY) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


def scene(width: int, height: int) -> Pixels:
    rng = np.random.default_rng(7)
    noise = rng.uniform(0, 255, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def view_of(
    query_size: tuple[int, int],
    target_size: tuple[int, int],
    homography: NDArray[np.float64] | None = TURN,
    count: int = 12,
    wrong: int = 0,
) -> MatchView:
    rng = np.random.default_rng(count)
    low, high = np.array(query_size) * 0.25, np.array(query_size) * 0.75
    points = rng.uniform(low, high, (count + wrong, 2)).astype(np.float32)
    mask = np.arange(count + wrong) < count
    if homography is None:
        return MatchView(query_size, target_size, points, points, np.zeros_like(mask), None, None, None)
    partners = transfer(homography, points).astype(np.float32)
    partners[count:] = rng.uniform((0, 0), target_size, (wrong, 2))
    quad = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    return MatchView(query_size, target_size, points, partners, mask, homography, quad, transfer(homography, quad))


def blobs(picture: Pixels, ground: Pixels) -> NDArray[np.bool_]:
    """Where something colourful was drawn on a grey photo."""
    spread = picture.max(axis=2).astype(int) - picture.min(axis=2)
    return (spread > 60) & (np.abs(picture.astype(int) - ground).max(axis=2) > 30)
