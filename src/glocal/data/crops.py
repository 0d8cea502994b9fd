"""Which part of a photo is looked at."""

from __future__ import annotations

import math

import numpy as np

Crop = tuple[int, int, int, int]
"""x, y, width, height in whole pixels of the decoded photo."""

_TRIES = 10


def middle(width: int, height: int) -> Crop:
    """The largest square in the middle of a photo."""
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def random_crop(
    width: int, height: int, rng: np.random.Generator, area: tuple[float, float], aspect: tuple[float, float]
) -> Crop:
    """The Inception crop as published for DOLG: ten tries, then the middle."""
    for _ in range(_TRIES):
        target = rng.uniform(*area) * width * height
        ratio = rng.uniform(*aspect)
        # Sides are swapped half of the time, which makes flat and tall crops as frequent as each other; a range that
        # is not symmetric says that this is not wanted.
        if rng.random() < 0.5 and aspect[0] <= 1 / ratio <= aspect[1]:
            ratio = 1 / ratio
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h
    return middle(width, height)
