"""What a result file says, in the order of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ShapeError
from glocal.evaluation.benchmark import Indices


@dataclass(frozen=True, slots=True, eq=False)
class RankedLists:
    """The order in which a system puts the gallery for each query, or the beginning of it.

    Attributes:
        queries: ids, those of the benchmark in its order.
        lists: for each query indices into the benchmark's gallery, best first, int64; those from its size on are
            distractors, in an order of their own. Only Kaggle's format may list a photo again: only its first place
            counts, but it takes the others too.
        scores: for each query the scores of its list, float64, descending; None where the file has none.
    """

    queries: tuple[str, ...]
    lists: tuple[Indices, ...]
    scores: tuple[NDArray[np.float64], ...] | None = None

    def __post_init__(self) -> None:
        if len(self.queries) != len(self.lists):
            raise ShapeError(f"{len(self.queries)} queries, {len(self.lists)} lists")
        if self.scores is not None and [len(s) for s in self.scores] != [len(photos) for photos in self.lists]:
            raise ShapeError("every photo of every list needs a score")


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Descriptors as a file has them: finite, not necessarily of unit norm. Their inner product ranks the gallery.

    Attributes:
        gallery: (N, D) float32, in the order of the benchmark's gallery; after those of its photos the rows of
            distractors, if any, in the order of the file.
        queries: (Q, D) float32, in the order of its queries.
    """

    gallery: NDArray[np.float32]
    queries: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.gallery.ndim != 2 or self.queries.ndim != 2 or self.gallery.shape[1] != self.queries.shape[1]:
            raise ShapeError(f"(N, D) and (Q, D) were expected, not {self.gallery.shape} and {self.queries.shape}")
