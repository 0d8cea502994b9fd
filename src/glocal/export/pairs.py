"""Which photos of a collection look like a photo: the pairs that a matcher is given (NumPy)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glocal.index.exact import ExactIndex, search_blocks
from glocal.store.contract import PhotoCollection
from glocal.types import Descriptors, LocalFeatures, Verification

MAX_HELD_BYTES = 256 << 20
"""Up to this size the descriptors of a collection stay in memory; larger ones are read for each block of queries."""
MAX_SHORT = 2**15 - 1


class Neighbours:
    """Finds the most similar pictures of a collection, block by block."""

    def __init__(self, collection: PhotoCollection) -> None:
        """Read the descriptors, if they are few.

        Args:
            collection: read inside a snapshot.
        """
        self._collection = collection
        size = collection.counts()["contents"] * collection.spec.dim * 4
        self._held = ExactIndex(collection.descriptors()) if size <= MAX_HELD_BYTES else None

    def of(self, vectors: NDArray[np.float32], own: Sequence[str], k: int) -> list[list[str]]:
        """Content hashes of the k most similar pictures of each query, best first, itself and its copies left out.

        Args:
            vectors: (B, D) float32 of unit norm.
            own: B content hashes of the queries.
            k: how many; fewer where there are fewer.
        """
        queries = Descriptors(tuple(map(str, range(len(vectors)))), vectors)
        if self._held is not None:
            shortlists = self._held.search(queries, k + 1)
        else:
            shortlists = search_blocks(self._collection.descriptors(), queries, k + 1)
        return [
            [name for name in found.ids if name != content][:k] for found, content in zip(shortlists, own, strict=True)
        ]


def matches_of(query: LocalFeatures, target: LocalFeatures, found: Verification) -> dict[str, NDArray[np.generic]]:
    """The inliers of a verified pair in hloc's two arrays.

    Returns:
        `matches0` (N,) int16, for each keypoint of the query that of the target, or -1; int32 where the target has more
        keypoints than int16 counts. `matching_scores0` (N,) float16, (1 + cosine of the descriptors) / 2, or 0.
    """
    inliers = found.matches[found.mask]
    matches = np.full(len(query), -1, np.int16 if len(target) <= MAX_SHORT else np.int32)
    scores = np.zeros(len(query), np.float16)
    matches[inliers[:, 0]] = inliers[:, 1]
    cosines = np.einsum("nd,nd->n", query.descriptors[inliers[:, 0]], target.descriptors[inliers[:, 1]])
    scores[inliers[:, 0]] = np.clip((1 + cosines) / 2, 0, 1)
    return {"matches0": matches, "matching_scores0": scores}
