"""Query expansion and its mirror image for the gallery: descriptors that borrow from their neighbours (NumPy).

Chum et al., "Total Recall: automatic query expansion with a generative feature model for object
retrieval", ICCV 2007, section 3.2 (average query expansion, restricted to spatially verified results);
Radenović et al., "Fine-tuning CNN image retrieval with no human annotation", TPAMI 2019 (αQE: a neighbour counts
similarity^α); Gordo et al., "End-to-end learning of deep visual representations for image retrieval", IJCV 2017
(database augmentation with weights by rank).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ShapeError
from glocal.ops.shapes import expect_shape

BLOCK = 2048
"""Rows that are compared with as many others at a time: 16 MiB of similarities."""


def expand(query: NDArray[np.float32], verified: NDArray[np.float32]) -> NDArray[np.float32]:
    """The normalised sum of a query's descriptor and those of its verified hits.

    Args:
        query: (D,) float32 of unit norm.
        verified: (M, D) float32, unit rows; M may be 0.

    Returns:
        (D,) float32 of unit norm; the query itself if M is 0.

    Raises:
        ShapeError: if the lengths differ.
    """
    (length,) = expect_shape(query, "D", "query")
    expect_shape(verified, "M D", "verified", D=length)
    total = query + verified.sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), np.float32)


def alpha_expansion(
    queries: NDArray[np.float32],
    gallery_vectors_of_top: NDArray[np.float32],
    similarities: NDArray[np.float32],
    alpha: float = 3.0,
) -> NDArray[np.float32]:
    """The normalised sum of each query and its nearest gallery descriptors, weighted by similarity^alpha (αQE).

    The query itself counts 1, the similarity to itself; a neighbour of negative similarity counts nothing. With
    `alpha` 0 that is average query expansion over the neighbours of positive similarity.

    Args:
        queries: (Q, D) float32, unit rows.
        gallery_vectors_of_top: (Q, k, D) float32, unit rows; k may be 0.
        similarities: (Q, k) float32 of those to the query.
        alpha: exponent, at least 0; the paper's is 3.

    Returns:
        (Q, D) float32, unit rows.

    Raises:
        ShapeError: if the shapes do not fit together, or alpha is negative.
    """
    count, length = expect_shape(queries, "Q D", "queries")
    _, k, _ = expect_shape(gallery_vectors_of_top, "Q k D", "gallery_vectors_of_top", Q=count, D=length)
    expect_shape(similarities, "Q k", "similarities", Q=count, k=k)
    weights = _powers(similarities, alpha)
    return _unit(queries + np.einsum("qk,qkd->qd", weights, gallery_vectors_of_top))


def augment_database(
    gallery: NDArray[np.float32],
    k: int = 10,
    alpha: float = 3.0,
    *,
    weights: Literal["similarity", "linear"] = "similarity",
    block: int = BLOCK,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Every gallery descriptor with its nearest neighbours added, normalised (DBA).

    All pairs are compared, block by block: N² products of D numbers, and memory for one block of rows beside the
    result.

    Args:
        gallery: (N, D) float32, unit rows; may be a memory map.
        k: neighbours of each, without itself; fewer where the gallery is smaller.
        alpha: exponent of the similarity, at least 0.
        weights: what a neighbour counts beside the 1 of the descriptor itself: "similarity" is similarity^alpha,
            negative ones nothing; "linear" is (k - rank) / k of Gordo et al. with rank 1 for the nearest, so that
            the last of the k counts nothing.
        block: rows that are compared at a time.
        out: (N, D) float32 array or memory map for the result; not `gallery`, which is read to the end.

    Returns:
        (N, D) float32, unit rows; `out` where given.

    Raises:
        ShapeError: no matrix, or an option that makes no sense.
    """
    count, length = expect_shape(gallery, "N D", "gallery")
    if weights not in ("similarity", "linear"):
        raise ShapeError(f'weights must be "similarity" or "linear", not {weights!r}')
    if out is None:
        out = np.empty((count, length), np.float32)
    expect_shape(out, "N D", "out", N=count, D=length)
    if np.may_share_memory(out, gallery):
        raise ShapeError("out must be another array than gallery, which is read to the end")
    for start, neighbours, similarities in nearest_others(gallery, k, block):
        if weights == "linear":
            ranks = np.arange(1, neighbours.shape[1] + 1)
            shares = np.broadcast_to(((k - ranks) / k).astype(np.float32), neighbours.shape)
        else:
            shares = _powers(similarities, alpha)
        rows = np.array(gallery[start : start + len(neighbours)], np.float32)
        # One neighbour of every row at a time: (rows, k, D) at once would be k times the block.
        for place in range(neighbours.shape[1]):
            rows += shares[:, place, None] * gallery[neighbours[:, place]]
        out[start : start + len(rows)] = _unit(rows)
    return out


def nearest_others(
    vectors: NDArray[np.float32], k: int, block: int = BLOCK
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float32]]]:
    """The k most similar other rows of every row, a block of rows at a time; exact.

    Args:
        vectors: (N, D) float32; may be a memory map.
        k: how many; fewer where there are fewer others.
        block: rows that are compared with as many others at a time.

    Yields:
        The first row of the block, positions (B, k) int64 of its rows' neighbours, most similar first and equal
        ones by position, and their inner products (B, k) float32.

    Raises:
        ShapeError: no matrix, or k or block is not positive.
    """
    count, _ = expect_shape(vectors, "N D", "vectors")
    if k < 1 or block < 1:
        raise ShapeError(f"k and block must be at least 1, not {k} and {block}")
    k = min(k, max(0, count - 1))
    for start in range(0, count, block):
        rows = vectors[start : start + block]
        places = np.empty((len(rows), 0), np.int64)
        best = np.empty((len(rows), 0), np.float32)
        for first in range(0, count, block):
            similarities = np.asarray(rows @ vectors[first : first + block].T, np.float32)
            width = similarities.shape[1]
            if first == start:
                np.fill_diagonal(similarities, -np.inf)
            places = np.concatenate(
                [places, np.broadcast_to(np.arange(first, first + width), similarities.shape)], axis=1
            )
            best = np.concatenate([best, similarities], axis=1)
            if best.shape[1] > k:
                kept = np.argpartition(-best, k, axis=1)[:, :k]
                places, best = np.take_along_axis(places, kept, 1), np.take_along_axis(best, kept, 1)
        order = np.lexsort((places, -best))
        yield start, np.take_along_axis(places, order, 1), np.take_along_axis(best, order, 1)


def _powers(similarities: NDArray[np.float32], alpha: float) -> NDArray[np.float32]:
    if not alpha >= 0:
        raise ShapeError(f"alpha must be at least 0, not {alpha}")
    powers = np.maximum(similarities, 0) ** np.float32(alpha)
    return np.asarray(np.where(similarities > 0, powers, 0), np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), np.float32)
