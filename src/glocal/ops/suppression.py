"""Non-maximum suppression of boxes: the best of those that overlap (NumPy)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glocal.ops.shapes import expect_same_length, expect_shape

_BLOCK = 256
"""Boxes that are compared at once: large enough for NumPy, small enough to stop early at `limit`."""


def best_first(scores: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    """Indices of the best scores, best first; equal scores in the order of their index.

    Args:
        scores: (N,) without NaN.
        limit: most indices to return.

    Returns:
        (min(N, limit),) int64.
    """
    expect_shape(scores, "N", "scores")
    among = np.arange(len(scores))
    if 0 < limit < len(scores) // 4:  # sort only what can be among the best
        least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        among = np.flatnonzero(scores >= least)
    return among[np.argsort(-scores[among], kind="stable")[:limit]]


def overlaps(boxes_a: NDArray[np.float32], boxes_b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of every pair; 0 where both boxes are empty.

    Args:
        boxes_a: (N, 4) x_min, y_min, x_max, y_max.
        boxes_b: (M, 4).

    Returns:
        (N, M), same dtype as the boxes, 0 to 1.
    """
    expect_shape(boxes_a, "N 4", "boxes_a")
    expect_shape(boxes_b, "M 4", "boxes_b")
    # One axis at a time: several times faster than arrays of (N, M, 2).
    width, height = (
        np.minimum(boxes_a[:, None, axis + 2], boxes_b[None, :, axis + 2])
        - np.maximum(boxes_a[:, None, axis], boxes_b[None, :, axis])
        for axis in (0, 1)
    )
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area_a, area_b = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (boxes_a, boxes_b))
    union = area_a[:, None] + area_b - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), boxes_a.dtype)


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float, limit: int) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: keep the best box, drop those that overlap it too much, and so on.

    Args:
        boxes: (N, 4) x_min, y_min, x_max, y_max.
        scores: (N,) without NaN; of equal scores the lower index goes first.
        iou: a box whose intersection over union with a kept one is greater than this is dropped; 1 drops none.
        limit: most boxes to keep.

    Returns:
        (M,) int64, indices of the kept boxes, best first.

    Raises:
        ShapeError: if there are more or fewer boxes than scores.
    """
    expect_shape(boxes, "N 4", "boxes")
    expect_same_length("boxes", boxes, "scores", scores)
    if iou >= 1:
        return best_first(scores, limit)
    order = best_first(scores, len(scores))
    kept = np.empty(min(limit, len(order)), np.int64)
    count = 0
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        block = block[(overlaps(boxes[block], boxes[kept[:count]]) <= iou).all(axis=1)]
        apart = overlaps(boxes[block], boxes[block]) <= iou
        alive = np.ones(len(block), bool)
        for i in range(len(block)):
            if count == len(kept):
                return kept
            if alive[i]:
                kept[count] = block[i]
                count += 1
                alive &= apart[i]
    return kept[:count]
