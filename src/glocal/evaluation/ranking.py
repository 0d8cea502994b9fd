"""Exact places of the labelled photos in a gallery of any size, in bounded memory (NumPy).

A full sort of a million similarities per query is not needed to score it: the place of a photo is the number of photos
that are more similar. They are counted by a histogram of the similarities, which is exact but inside the few bins that
hold a labelled photo or the best ones; those are sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ShapeError
from glocal.evaluation.benchmark import Indices
from glocal.ops.shapes import expect_shape

Vectors = NDArray[np.float32]
SCORES_BYTES = 512 << 20
"""Similarities that are held at a time; more queries than fit are ranked in several passes over the gallery."""
BLOCK = 16_384
"""Descriptors that are multiplied at a time."""
_BINS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The order of a gallery for each of Q queries: more similar first, equal ones by index.

    Attributes:
        size: N, photos in the gallery.
        top: (Q, K) int64, the first K of each order.
        similarities: (Q, K) float32, theirs.
        labelled: for each query the photos that were asked about, ascending.
        places: for each query the places of those, from 0, int64.
    """

    size: int
    top: NDArray[np.int64]
    similarities: Vectors
    labelled: tuple[Indices, ...]
    places: tuple[Indices, ...]

    def places_of(self, query: int, photos: Indices) -> Indices:
        """The places of some labelled photos of a query."""
        return self.places[query][np.searchsorted(self.labelled[query], photos)]


def rank_exact(
    blocks: Callable[[], Iterable[Vectors]],
    size: int,
    queries: Vectors,
    labelled: Sequence[Indices],
    depth: int,
    penalty: float = 0.0,
    threads: int = 2,
) -> Ranking:
    """Rank a gallery for each query by inner product.

    Args:
        blocks: gives the gallery's descriptors, (n, D) float32 each, in order; is called once per pass.
        size: N, photos in the gallery.
        queries: (Q, D) float32; or (Q, T, D), each query turned in T ways, the most similar of which counts.
        labelled: for each query the photos whose places are wanted, ascending indices.
        depth: K, how many of each order are wanted; N for the whole order.
        penalty: what the similarity of a turned query (T > 0) counts less.
        threads: rows that are counted at a time; the answer does not depend on it.

    Raises:
        ShapeError: the blocks do not hold N descriptors of D numbers, or a similarity is not finite.
    """
    ways = queries[:, None] if queries.ndim == 2 else queries
    num_queries, _, dim = expect_shape(ways, "Q T D", "queries")
    depth = min(depth, size)
    per_pass = max(1, SCORES_BYTES // (4 * max(1, size)))
    found: list[tuple[Indices, Vectors, Indices]] = []
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for first in range(0, num_queries, per_pass):
            scores = _similarities(blocks(), size, ways[first : first + per_pass], dim, penalty)
            wanted = labelled[first : first + per_pass]
            found += pool.map(lambda row, photos: order_row(row, photos, depth), scores, wanted)
    top = np.stack([row[0] for row in found]) if found else np.empty((0, depth), np.int64)
    similarities = np.stack([row[1] for row in found]) if found else np.empty((0, depth), np.float32)
    return Ranking(size, top, similarities, tuple(labelled), tuple(row[2] for row in found))


def blocks_of(vectors: Vectors, block: int = BLOCK) -> Callable[[], Iterable[Vectors]]:
    """The rows of an array, or of a memory-mapped file, in blocks: what `rank_exact` reads."""
    return lambda: (vectors[start : start + block] for start in range(0, len(vectors), block))


def _similarities(blocks: Iterable[Vectors], size: int, ways: Vectors, dim: int, penalty: float) -> Vectors:
    upright, *turned = (np.ascontiguousarray(ways[:, turn]) for turn in range(ways.shape[1]))
    scores = np.empty((len(ways), size), np.float32)
    done = 0
    for block in blocks:
        count, _ = expect_shape(block, "n D", "descriptors", D=dim)
        if done + count > size:
            raise ShapeError(f"{size} descriptors were announced, but there are more")
        part = upright @ block.T
        for queries in turned:
            np.maximum(part, queries @ block.T - np.float32(penalty), out=part)
        scores[:, done : done + count] = part
        done += count
    if done != size:
        raise ShapeError(f"{size} descriptors were announced, but there are {done}")
    return scores


def order_row(scores: Vectors, photos: Indices, depth: int) -> tuple[Indices, Vectors, Indices]:
    """The best photos of one query, their similarities, and the places of some photos.

    Args:
        scores: (N,) float32.
        photos: indices whose places are wanted.
        depth: how many of the best are wanted, at most N.

    Raises:
        ShapeError: a score is not finite.
    """
    low, high = float(scores.min()), float(scores.max())
    if not np.isfinite([low, high]).all():
        bad = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ShapeError(f"the similarity of photo {bad} is not finite: its descriptor or the query's is damaged")
    # Rounding never turns an order around, so of two scores the higher one is never in the lower bin.
    scale = np.float32((_BINS - 1) / max(high - low, 1e-30))
    bins = np.subtract(scores, np.float32(low))
    bins *= scale
    numbers = np.minimum(bins, np.float32(_BINS - 1)).astype(np.uint16)
    counts = np.bincount(numbers, minlength=_BINS)
    from_here_up = np.cumsum(counts[::-1])[::-1]
    needed = np.zeros(_BINS, np.bool_)
    needed[numbers[photos]] = True
    if depth:
        lowest = np.count_nonzero(from_here_up >= depth) - 1
        needed[lowest:] = True
    chosen = np.flatnonzero(needed[numbers])
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    in_bins = numbers[chosen]
    starts = np.flatnonzero(np.diff(in_bins, prepend=np.int64(-1)))
    within = np.arange(len(chosen)) - np.repeat(starts, np.diff(starts, append=len(chosen)))
    places = from_here_up[in_bins] - counts[in_bins] + within
    by_index = np.argsort(chosen)
    wanted = places[by_index[np.searchsorted(chosen[by_index], photos)]]
    best = chosen[:depth]
    return best.astype(np.int64), scores[best], wanted.astype(np.int64)
