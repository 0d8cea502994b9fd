"""Diffusion: similarity that travels along the gallery's neighbours, from photo to photo (NumPy, SciPy).

Iscen, Tolias, Avrithis, Furon and Chum, "Efficient diffusion on region manifolds: recovering small objects with
compact CNN representations", CVPR 2017, for global descriptors: the mutual neighbour graph, S = D^-1/2 A D^-1/2,
queries from outside the gallery, (I - αS) f = y by conjugate gradients, and truncation.

    vectors (N, D) ─ neighbour_graph ─▶ A (N, N) sparse, once for a gallery
    nearest gallery descriptors of each query ─ diffuse ─▶ f (Q, N)

| | paper and released code | here |
|---|---|---|
| k = 50 | neighbours of a descriptor; the code counts the descriptor itself as one of them | others alone |
| kq = 10, γ = 3, α = 0.99, 20 iterations, tolerance 1e-6 | global descriptors | the same |
| no convergence in 20 iterations | MATLAB's `pcg` returns its best iterate | SciPy's `cg` its last |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import BackendUnavailable, ShapeError
from glocal.ops.shapes import expect_shape
from glocal.rerank.expansion import BLOCK, nearest_others

SparseMatrix = Any
"""`scipy.sparse.csr_array`; SciPy has no types, and is an extra."""


def neighbour_graph(vectors: NDArray[np.float32], k: int = 50, gamma: float = 3.0, block: int = BLOCK) -> SparseMatrix:
    """The affinities of a gallery: similarity^gamma between those that are among each other's k nearest.

    Args:
        vectors: (N, D) float32, unit rows; may be a memory map. All pairs are compared, block by block.
        k: neighbours of each, without itself.
        gamma: exponent of the similarity; negative similarities count nothing.
        block: rows that are compared at a time.

    Returns:
        (N, N) `scipy.sparse.csr_array` of float64: symmetric, not negative, zero on the diagonal.

    Raises:
        ShapeError: no matrix, or an option that makes no sense.
        BackendUnavailable: SciPy is not installed.
    """
    sparse = _scipy_sparse()
    count, _ = expect_shape(vectors, "N D", "vectors")
    if not gamma > 0:
        raise ShapeError(f"gamma must be positive, not {gamma}")
    rows, columns, values = [], [], []
    for start, neighbours, similarities in nearest_others(vectors, k, block):
        positive = similarities > 0
        rows.append(start + np.nonzero(positive)[0])
        columns.append(neighbours[positive])
        values.append(similarities[positive].astype(np.float64) ** gamma)
    if not count:
        return sparse.csr_array((0, 0), dtype=np.float64)
    places = (np.concatenate(rows), np.concatenate(columns))
    nearest = sparse.csr_array((np.concatenate(values), places), shape=(count, count))
    # The smaller of both directions: nothing unless both are there, and symmetric to the last bit.
    return sparse.csr_array(nearest.minimum(nearest.T))


def diffuse(
    graph: SparseMatrix,
    similarities_top: tuple[NDArray[np.int64], NDArray[np.float32]],
    alpha: float = 0.99,
    *,
    gamma: float = 3.0,
    num_start: int = 10,
    iterations: int = 20,
    tolerance: float = 1e-6,
    truncate: int | None = None,
) -> NDArray[np.float32]:
    """What reaches each gallery photo when every query pours similarity^gamma into its nearest ones.

    Solves (I - alpha S) f = y by conjugate gradients. The exact f is not negative, and zero where no path leads; an
    f of few iterations is close to that.

    Args:
        graph: (N, N), as of `neighbour_graph`.
        similarities_top: positions (Q, K) int64 of each query's most similar gallery descriptors, best first and
            distinct, and their inner products (Q, K); K at least `truncate`, or else `num_start` (or N).
        alpha: what is passed on at each step, 0 to below 1.
        gamma: exponent of the similarity to the query.
        num_start: the first so many pour (k_q of the paper).
        iterations: most steps of the solver.
        tolerance: it stops where the residual is this share of y.
        truncate: solve each query on the graph of its first so many alone; all others get 0. N changes nothing.

    Returns:
        (Q, N) float32 scores, higher is better.

    Raises:
        ShapeError: the shapes do not fit together, or an option makes no sense.
        BackendUnavailable: SciPy is not installed.
    """
    sparse = _scipy_sparse()
    places, similarities = similarities_top
    count, _ = expect_shape(graph, "N M", "graph", M=graph.shape[0])
    num_queries, found = expect_shape(places, "Q K", "the positions")
    expect_shape(similarities, "Q K", "the similarities", Q=num_queries, K=found)
    if places.size and not 0 <= int(places.min()) <= int(places.max()) < count:
        raise ShapeError(f"positions must be 0 to {count - 1}, found {places.min()} to {places.max()}")
    if not 0 <= alpha < 1 or not gamma > 0 or num_start < 1 or iterations < 1:
        raise ShapeError(f"makes no sense: {alpha=} {gamma=} {num_start=} {iterations=}")
    needed = min(num_start if truncate is None else truncate, count)
    if needed < 1 or found < needed:
        raise ShapeError(f"{needed} positions of every query are needed, found {found}")
    scores = np.zeros((num_queries, count), np.float32)
    whole = _system(sparse, graph, alpha) if truncate is None else None
    for query in range(num_queries):
        pours = np.zeros(count)
        start = places[query, :num_start]
        pours[start] = np.maximum(similarities[query, :num_start], 0).astype(np.float64) ** gamma
        if whole is not None:
            scores[query] = _solve(whole, pours, iterations, tolerance)
            continue
        inside = np.sort(places[query, :truncate])
        part = _system(sparse, graph[inside][:, inside], alpha)
        scores[query, inside] = _solve(part, pours[inside], iterations, tolerance)
    return scores


def _system(sparse: Any, affinities: SparseMatrix, alpha: float) -> SparseMatrix:
    """I - alpha S; a photo without neighbours keeps what is poured into it."""
    degrees = np.asarray(affinities.sum(axis=1), np.float64).ravel()
    roots = np.where(degrees > 0, degrees, np.inf) ** -0.5
    scale = sparse.diags_array(roots)
    return sparse.csr_array(sparse.eye_array(len(degrees)) - alpha * (scale @ affinities @ scale))


def _solve(system: SparseMatrix, pours: NDArray[np.float64], iterations: int, tolerance: float) -> NDArray[np.float64]:
    from scipy.sparse.linalg import cg  # noqa: PLC0415 - SciPy is an extra

    solution, _ = cg(system, pours, rtol=tolerance, maxiter=iterations)
    return np.asarray(solution, np.float64)


def _scipy_sparse() -> Any:
    try:
        from scipy import sparse  # noqa: PLC0415 - SciPy is an extra
    except ImportError as error:
        raise BackendUnavailable("diffusion needs scipy → pip install 'glocal[eval]'") from error
    return sparse
