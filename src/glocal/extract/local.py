"""Attention maps of a pyramid -> local features: threshold, suppression, best ones, key points (NumPy).

Cao, Araujo, Sim, "Unifying deep local and global features for image search" (DELG), ECCV 2020, section 3.3,
and the two published programs; `LocalSelection` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, ShapeError
from glocal.models.preprocessing import LocalSelection
from glocal.ops.receptive_field import box_centres, level_size, receptive_boxes
from glocal.ops.shapes import expect_shape
from glocal.ops.suppression import best_first, suppress
from glocal.types import LocalFeatures

HALVING_ENOUGH = 1000
HALVING_FLOOR = 0.1
"""The PyTorch DELG halves a level's threshold until 1000 cells pass or it would fall below 0.1."""
_LEAST_NORM = 1e-12


@dataclass(frozen=True, slots=True)
class LevelMaps:
    """What the local head says of one pyramid level of one picture.

    Attributes:
        scale: factor of the level.
        attention: (h, w) float32.
        descriptors: (d, h, w) float32, of any norm.
    """

    scale: float
    attention: NDArray[np.float32]
    descriptors: NDArray[np.float32]

    def __post_init__(self) -> None:
        height, width = expect_shape(self.attention, "h w", "attention")
        expect_shape(self.descriptors, "d h w", "local descriptors", h=height, w=width)
        if not 0 < self.scale < np.inf:
            raise ConfigError(f"the scale of a pyramid level must be positive, not {self.scale}")


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The cells that passed the threshold, level by level and row by row.

    Attributes:
        levels: (N,) index of the level.
        cells: (N, 2) column and row in the level's maps.
        boxes: (N, 4) float32 in pixels of the resized picture.
        scores: (N,) float32.
    """

    levels: NDArray[np.int64]
    cells: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


def select_local(
    levels: Sequence[LevelMaps],
    selection: LocalSelection,
    name: str,
    resized: tuple[int, int],
    size: tuple[int, int],
    level_rule: str = "size",
) -> LocalFeatures:
    """Choose the local features of one photo.

    Cells whose attention is not finite, or whose descriptor is zero or not finite, are never chosen.
    With `bug_compat` the copies stand at the place of their score, and not at the end.

    Args:
        levels: the maps of every level, in the order of the pyramid; at least one.
        selection: how features are chosen.
        name: id of the photo.
        resized: (W, H) in pixels of the picture from which the pyramid was made.
        size: (W, H) in pixels of the original.
        level_rule: how the sides of a level were found; needed with `half_pixel` alone.

    Returns:
        LocalFeatures, at most `selection.max_features`; none if no cell passes the threshold. Key points are
        receptive-field centres and scales are receptive-field sides, both in pixels of the original.

    Raises:
        ShapeError: if there is no level, or descriptors of two levels differ in length.
        ConfigError: if the scale of a level or the rule makes no sense.
    """
    if not levels:
        raise ShapeError(f"'{name}': the pyramid has no level to select local features from")
    dim = levels[0].descriptors.shape[0]
    for level in levels[1:]:
        expect_shape(level.descriptors, "d h w", "local descriptors", d=dim)
    candidates = _candidates(levels, selection)
    chosen = _choose(candidates, selection)
    rows = _descriptors_at(levels, candidates.levels[chosen], candidates.cells[chosen])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    sound = (np.isfinite(norms) & (norms > _LEAST_NORM))[:, 0]
    chosen, rows, norms = chosen[sound], rows[sound], norms[sound]

    at = candidates.levels[chosen]
    shrink = np.asarray(resized, np.float64) / np.asarray(size, np.float64)  # (x, y): the published scale factors
    if selection.half_pixel:
        exact = np.array([_sides_ratio(level.scale, resized, level_rule) for level in levels])[at]
        in_level = box_centres(_boxes(candidates.cells[chosen], selection, 1.0))
        keypoints = (in_level + 0.5) / (exact * shrink) - 0.5
    else:
        keypoints = box_centres(candidates.boxes[chosen]) / shrink
    factors = np.array([level.scale for level in levels])[at] * np.sqrt(shrink.prod())
    return LocalFeatures(
        name,
        size,
        keypoints=keypoints.astype(np.float32),
        descriptors=(rows / norms).astype(np.float32),
        scores=candidates.scores[chosen],
        scales=(selection.receptive_field / factors).astype(np.float32),
    )


def _sides_ratio(scale: float, resized: tuple[int, int], rule: str) -> tuple[float, float]:
    """By how much a level is really smaller than its picture, in x and in y."""
    width, height = level_size(resized, scale, rule)
    return (width / resized[0], height / resized[1]) if rule == "size" else (scale, scale)


def _boxes(cells: NDArray[np.int64], selection: LocalSelection, scale: float) -> NDArray[np.float32]:
    return receptive_boxes(cells, selection.stride, selection.receptive_field, selection.padding, scale)


def _passing(scores: NDArray[np.float32], selection: LocalSelection) -> NDArray[np.bool_]:
    """Which cells of a level have enough attention; NaN and infinity never do."""
    finite = np.isfinite(scores)
    if selection.threshold_rule == "fixed":
        return finite & (scores >= np.float32(selection.threshold))
    threshold = selection.threshold
    passing = finite & (scores > np.float32(threshold))
    while passing.sum() < HALVING_ENOUGH and threshold / 2 >= HALVING_FLOOR:
        threshold /= 2
        passing = finite & (scores > np.float32(threshold))
    return passing


def _candidates(levels: Sequence[LevelMaps], selection: LocalSelection) -> _Candidates:
    indices, cells, boxes, scores = [], [], [], []
    for index, level in enumerate(levels):
        attention = np.asarray(level.attention, np.float32)
        row, column = np.nonzero(_passing(attention, selection))
        indices.append(np.full(len(row), index))
        cells.append(np.stack([column, row], axis=1))
        boxes.append(_boxes(cells[-1], selection, level.scale))
        scores.append(attention[row, column])
    return _Candidates(*map(np.concatenate, (indices, cells, boxes, scores)))


def _choose(candidates: _Candidates, selection: LocalSelection) -> NDArray[np.int64]:
    """Indices of the chosen candidates, best first."""
    limit = selection.max_features
    if selection.threshold_rule == "fixed":
        return suppress(candidates.boxes, candidates.scores, selection.iou, limit)
    # The PyTorch DELG suppresses among the best ones only, so that fewer than `limit` may be left.
    best = best_first(candidates.scores, limit)
    kept = best[suppress(candidates.boxes[best], candidates.scores[best], selection.iou, limit)]
    if selection.bug_compat and len(kept):
        # Its list of indices begins as zeros and is cut to `limit` instead of to the number that was kept.
        kept = np.concatenate([kept, np.zeros(len(best) - len(kept), np.int64)])
        kept = kept[best_first(candidates.scores[kept], len(kept))]
    return kept


def _descriptors_at(
    levels: Sequence[LevelMaps], indices: NDArray[np.int64], cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The descriptors (N, d) of cells; float64, so that no norm overflows."""
    rows = np.empty((len(indices), levels[0].descriptors.shape[0]))
    for index, level in enumerate(levels):
        here = indices == index
        column, row = cells[here].T
        rows[here] = level.descriptors[:, row, column].T
    return rows
