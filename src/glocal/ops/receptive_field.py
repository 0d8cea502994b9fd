"""Which part of a picture a cell of a feature map sees (NumPy).

Noh et al., "Large-scale image retrieval with attentive deep local features", ICCV 2017, section 3.1: a
key point is the centre of its cell's receptive field.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.ops.shapes import expect_shape


def level_size(size: tuple[int, int], scale: float, rule: str) -> tuple[int, int]:
    """The size of a pyramid level; no side is less than one pixel.

    Args:
        size: (W, H) of the picture, in either order.
        scale: factor of the level.
        rule: "size" rounds the sides, half to even; "factor" floors them.

    Returns:
        The two sides in pixels, in the order of `size`.

    Raises:
        ConfigError: if the rule is neither, or the scale is not positive.
    """
    if rule not in ("size", "factor"):
        raise ConfigError(f'the rule of a pyramid level must be size or factor, not "{rule}"')
    if not 0 < scale < math.inf:
        raise ConfigError(f"the scale of a pyramid level must be positive, not {scale}")
    whole = round if rule == "size" else math.floor
    return max(1, whole(size[0] * scale)), max(1, whole(size[1] * scale))


def receptive_boxes(
    cells: NDArray[np.integer], stride: int, receptive_field: int, padding: int, scale: float
) -> NDArray[np.float32]:
    """The regions that cells of a pyramid level see, in pixels of the picture from which the level was made.

    Args:
        cells: (N, 2) integers, (column, row).
        stride: pixels of the level between two cells.
        receptive_field: side of a region in pixels of the level.
        padding: pixels by which the first region begins before the level does.
        scale: factor of the level.

    Returns:
        (N, 4) float32, (x_min, y_min, x_max, y_max) of the outermost pixel centres, divided by `scale` without
        a half-pixel correction, as published.
    """
    expect_shape(cells, "N 2", "cells")
    first = (cells * stride - padding).astype(np.float32)
    # In float32 from here on, as the published code: suppression compares overlaps of these very values.
    boxes = np.concatenate([first, first + np.float32(receptive_field - 1)], axis=1)
    return np.asarray(boxes / np.float32(scale), np.float32)


def box_centres(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle of each box: (N, 4) x_min, y_min, x_max, y_max -> (N, 2) float32, (x, y)."""
    expect_shape(boxes, "N 4", "boxes")
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32)
