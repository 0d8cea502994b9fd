"""Exact search in bounded memory: the reference that every other index is measured against (NumPy)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np
from threadpoolctl import ThreadpoolController

from glocal.errors import ShapeError
from glocal.ops.ranking import top_k
from glocal.types import Descriptors, Shortlist


def search_blocks(blocks: Iterable[Descriptors], queries: Descriptors, k: int) -> list[Shortlist]:
    """The k most similar descriptors of each query over a stream of blocks.

    Only one block and the best k so far are held. The answer does not depend on how the blocks are cut,
    apart from the rounding of sums.

    Args:
        blocks: descriptors with ids that are unique over all blocks.
        queries: what to look for.
        k: length of the shortlists; they are shorter if there are fewer descriptors.

    Raises:
        ShapeError: if the lengths of the descriptors differ.
    """
    best_ids: list[tuple[str, ...]] = [() for _ in queries.ids]
    best = [np.empty(0, np.float32) for _ in queries.ids]
    # These products are bound by memory: a second BLAS thread makes them slower.
    with _blas().limit(limits=1):
        for block in blocks:
            if block.vectors.shape[1] != queries.vectors.shape[1]:
                raise ShapeError(
                    f"queries of {queries.vectors.shape[1]} numbers against descriptors of {block.vectors.shape[1]}"
                )
            similarities = queries.vectors @ block.vectors.T
            for row, values in enumerate(similarities):
                few = top_k(values, block.ids, k)
                ids = best_ids[row] + tuple(block.ids[i] for i in few)
                pool = np.concatenate([best[row], values[few]])
                order = top_k(pool, ids, k)
                best_ids[row], best[row] = tuple(ids[i] for i in order), pool[order]
    return [Shortlist(query, ids, values) for query, ids, values in zip(queries.ids, best_ids, best, strict=True)]


@functools.cache
def _blas() -> ThreadpoolController:
    """NumPy's threads. Looking for them takes as long as a small search, so it is done once."""
    return ThreadpoolController().select(user_api="blas")


def best_of(shortlists: Sequence[Shortlist], k: int, penalty: float = 0.0) -> Shortlist:
    """The k most similar of several shortlists of one query, described in several ways; the best way counts.

    Exact if each holds the k most similar of its own, or all that there are.

    Args:
        shortlists: of the query as it is, and in other ways.
        k: most to return.
        penalty: what the similarity in other ways counts less.
    """
    if len(shortlists) == 1:
        return shortlists[0]
    best: dict[str, float] = {}
    for way, shortlist in enumerate(shortlists):
        for name, similarity in zip(shortlist.ids, shortlist.similarities.tolist(), strict=True):
            best[name] = max(similarity - (penalty if way else 0.0), best.get(name, -np.inf))
    ids, values = tuple(best), np.fromiter(best.values(), np.float32, len(best))
    order = top_k(values, ids, k)
    return Shortlist(shortlists[0].query_id, tuple(ids[i] for i in order), values[order])


class ExactIndex:
    """`Index` over descriptors in memory."""

    def __init__(self, blocks: Iterable[Descriptors] = ()) -> None:
        self._blocks: list[Descriptors] = []
        self._ids: set[str] = set()
        for block in blocks:
            self.add(block)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, descriptors: Descriptors) -> None:
        """Make descriptors searchable.

        Raises:
            ShapeError: an id is there already, or the descriptors have another length.
        """
        twice = self._ids.intersection(descriptors.ids)
        if twice:
            raise ShapeError(f"'{min(twice)}' is in the index already")
        if self._blocks and self._blocks[0].vectors.shape[1] != descriptors.vectors.shape[1]:
            raise ShapeError(
                f"the index holds descriptors of {self._blocks[0].vectors.shape[1]} numbers, "
                f"not {descriptors.vectors.shape[1]}"
            )
        self._ids.update(descriptors.ids)
        self._blocks.append(descriptors)

    def search(self, queries: Descriptors, k: int) -> list[Shortlist]:
        """The k most similar descriptors of each query."""
        return search_blocks(self._blocks, queries, k)
