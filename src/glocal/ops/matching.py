"""Tentative matches between two sets of local descriptors (NumPy)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glocal.ops.shapes import expect_shape


def match_mutual(query: NDArray[np.float32], target: NDArray[np.float32], max_ratio: float = 1.0) -> NDArray[np.int64]:
    """Mutual nearest neighbours that pass the ratio test.

    Lowe (IJCV 2004, section 7.1): a match is kept if its distance is below `max_ratio` times the
    distance to the second nearest target descriptor.

    Args:
        query: (N, d) float32, unit rows.
        target: (M, d) float32, unit rows.
        max_ratio: largest distance ratio of nearest to second nearest; 1 switches the test off.

    Returns:
        (K, 2) int64 row indices (query, target), ascending by query row.

    Raises:
        ShapeError: if the lengths of the descriptors differ.
    """
    num_queries, length = expect_shape(query, "N d", "query")
    num_targets, _ = expect_shape(target, "M d", "target", d=length)
    if not num_queries or not num_targets:
        return np.empty((0, 2), np.int64)
    similarity = query @ target.T
    nearest = similarity.argmax(axis=1)
    rows = np.arange(num_queries)
    # A maximum over columns is many times faster than where it lies, which matters only where several rows have it.
    peaks = similarity.max(axis=0)
    mutual = similarity[rows, nearest] == peaks[nearest]
    if np.count_nonzero(similarity == peaks) > num_targets:
        mutual = similarity.argmax(axis=0)[nearest] == rows
    rows, nearest = rows[mutual], nearest[mutual]
    best = similarity[rows, nearest]
    if max_ratio < 1 and num_targets > 1:
        rivals = similarity[rows]
        rivals[np.arange(len(rows)), nearest] = -np.inf
        # |a - b|^2 = 2 - 2ab for unit vectors, so the ratio of distances needs no second matrix.
        keep = (1 - best) < max_ratio**2 * (1 - rivals.max(axis=1))
        rows, nearest = rows[keep], nearest[keep]
    return np.stack([rows, nearest], axis=1).astype(np.int64)
