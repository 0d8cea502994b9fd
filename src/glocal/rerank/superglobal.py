"""SuperGlobal's re-ranking: a shortlist refined by global descriptors alone (NumPy).

Shao et al., "Global features are all you need for image retrieval and reranking", ICCV 2023. Candidates borrow from
the candidates that are like them, the query from the best of those; no training, no local features.

M = 400, K = 9 besides oneself and β = 0.15 are the defaults of the released code. With s the inner products:

    g_dr = (g_d + β Σ s_i g_i) / (1 + β Σ s_i), over the K nearest of each candidate among the M; not unit norm again
    S1   = g_q · g_dr
    S2   = g_qe · g_dr, g_qe the maximum, number by number, over the g_dr of the K + 1 best by S1    `variant="code"`
    S2   = g_qe · g_d,  g_qe the maximum over g_q and the g_d of its K nearest                       `variant="paper"`
    final score (S1 + S2) / 2; candidates after the first M stay where they are

The published numbers came from the code, which is the default; in it the query itself takes no part in g_qe. That
paper and code differ in S2 is said in issue 8 of the authors' repository; the set under the paper's maximum is from
memory and unchecked. One difference from both: a candidate of negative similarity counts nothing here, so that the
weights cannot cancel; among the 9 nearest of 400 there is hardly ever one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.ops.shapes import expect_shape


@dataclass(frozen=True, slots=True)
class SuperGlobalOptions:
    """How a shortlist is refined.

    Attributes:
        depth: M, the candidates that are refined and ordered anew; those after them stay where they are.
        neighbours: K, what a candidate borrows from, and how many expand the query, besides oneself.
        beta: what a neighbour's similarity counts beside the 1 of the candidate itself.
        variant: "code" or "paper", where they differ.
    """

    depth: int = 400
    neighbours: int = 9
    beta: float = 0.15
    variant: Literal["code", "paper"] = "code"

    def __post_init__(self) -> None:
        if self.depth < 1 or self.neighbours < 0 or not self.beta >= 0 or self.variant not in ("code", "paper"):
            raise ConfigError(
                f"{self} makes no sense → depth of at least 1, neighbours and beta of at least 0, "
                'variant "code" or "paper"'
            )


DEFAULTS = SuperGlobalOptions()


def rerank_superglobal(
    query: NDArray[np.float32], candidates: NDArray[np.float32], options: SuperGlobalOptions = DEFAULTS
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The order of a shortlist after refinement, and the scores behind it.

    Args:
        query: (D,) float32 of unit norm.
        candidates: (M, D) float32, unit rows, by descending similarity to the query; M may be more than `depth`.
        options: the constants.

    Returns:
        Positions (M,) int64, best first: the first `depth` by score, equal ones as they came, then the others as they
        came. And the scores (M,) float32 of the candidates as they came: NaN beyond `depth`. They order one
        shortlist and are no similarities: neither part is of unit norm.

    Raises:
        ShapeError: if the lengths differ.
    """
    (length,) = expect_shape(query, "D", "query")
    count, _ = expect_shape(candidates, "M D", "candidates", D=length)
    first = candidates[: options.depth]
    scores = np.full(count, np.nan, np.float32)
    if len(first):
        refined = refine(first, options)
        by_refined = refined @ query
        if options.variant == "code":
            best = np.argsort(-by_refined, kind="stable")[: options.neighbours + 1]
            by_expanded = refined @ refined[best].max(axis=0)
        else:
            best = np.argsort(-(first @ query), kind="stable")[: options.neighbours]
            by_expanded = first @ np.concatenate([query[None], first[best]]).max(axis=0)
        scores[: len(first)] = (by_refined + by_expanded) / 2
    order = np.argsort(-scores[: len(first)], kind="stable")
    return np.concatenate([order, np.arange(len(first), count)]).astype(np.int64), scores


def refine(candidates: NDArray[np.float32], options: SuperGlobalOptions = DEFAULTS) -> NDArray[np.float32]:
    """Every candidate's weighted mean with the K others that are most like it.

    Args:
        candidates: (M, D) float32, unit rows.
        options: `neighbours` and `beta` count.

    Returns:
        (M, D) float32; shorter than unit norm unless the neighbours are equal.
    """
    count, _ = expect_shape(candidates, "M D", "candidates")
    similarities = candidates @ candidates.T
    # Itself is no neighbour; its weight of 1 comes at the end.
    np.fill_diagonal(similarities, -np.inf)
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, : min(options.neighbours, count - 1)]
    weights = np.zeros_like(similarities)
    shares = np.float32(options.beta) * np.maximum(np.take_along_axis(similarities, nearest, axis=1), 0)
    np.put_along_axis(weights, nearest, shares, axis=1)
    np.fill_diagonal(weights, 1)
    return np.asarray(weights @ candidates / weights.sum(axis=1, keepdims=True), np.float32)
