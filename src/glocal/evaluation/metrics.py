"""Average precision, precision at k and their kin, from the places of what is right (NumPy).

Radenović et al., CVPR 2018 (revisited Oxford and Paris): junk is taken out of a ranking before places count. Weyand et
al., "Google Landmarks Dataset v2", CVPR 2020, section 4.2: mAP@100.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ShapeError
from glocal.evaluation.protocol import TRAPEZOID, Protocol

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class QueryScore:
    """How well one query was answered under one setup.

    Attributes:
        ap: average precision, 0 to 1; NaN where nothing is right, and the query does not count.
        precision: precision at each cutoff; NaN likewise.
        recall: share of what is right among the first places, at each cutoff; NaN likewise.
        first: place of the first that is right, from 1; None where none was ranked.
        first_four: how many of the first four places are right.
    """

    ap: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    first: int | None
    first_four: int


def without_junk(right: Places, junk: Places) -> Places:
    """Places, from 0, in the ranking without junk: each place is lowered by the number of junk places before it."""
    return np.asarray(right - np.searchsorted(np.sort(junk), right), np.int64)


def trapezoid_precision(places: Places, num_right: int) -> float:
    """Area under the precision-recall curve, by trapezoids.

    Args:
        places: ascending places, from 0, of what is right and ranked, junk taken out.
        num_right: how many there are to be found: what is not ranked loses its share.
    """
    found = np.arange(len(places))
    with np.errstate(divide="ignore", invalid="ignore"):
        before = np.where(places == 0, 1.0, found / places)
    after = (found + 1) / (places + 1)
    return float(np.sum((before + after) * (1 / num_right) / 2))


def rectangle_precision(places: Places, num_right: int, depth: int | None = None) -> float:
    """Mean of the precision at the hits among the first `depth` places, over min(num_right, depth).

    Args:
        places: ascending places, from 0, of what is right and ranked.
        num_right: how many there are to be found.
        depth: places that count; None for all.
    """
    near = places if depth is None else places[places < depth]
    most = num_right if depth is None else min(num_right, depth)
    return float(np.sum((np.arange(len(near)) + 1) / (near + 1)) / most)


def precision_at(places: Places, cutoff: int) -> float:
    """Precision at k of the revisited protocol: k is cut at the last place of what is right and ranked.

    Args:
        places: ascending places, from 0, of what is right and ranked, junk taken out.
        cutoff: k.
    """
    # The published program stops with an error here. To leave the query out would reward lists without any hit.
    if not len(places):
        return 0.0
    reach = min(int(places[-1]) + 1, cutoff)
    return float(np.count_nonzero(places < reach) / reach)


def ilias_average_precision(
    scores: NDArray[np.floating], right: NDArray[np.bool_], num_right: int, depth: int = 1000
) -> float:
    """Average precision of ILIAS: photos of equal score share the precision at the last of them.

    Kordopatis-Zilos et al., "ILIAS", CVPR 2025: mAP@1k. Without equal scores it is `rectangle_precision`.

    Args:
        scores: (n,) of the photos that were ranked, any order; where equal ones cross the border, the first stay in.
        right: (n,) whether each is right.
        num_right: how many there are to be found.
        depth: best photos that count; the sum is divided by min(num_right, depth).

    Returns:
        0 to 1; NaN where nothing is right.

    Raises:
        ShapeError: unequal lengths, or a score that is not finite.
    """
    if scores.shape != right.shape or scores.ndim != 1 or not np.isfinite(scores).all():
        raise ShapeError(f"scores {scores.shape} and right {right.shape} must be equally long lists, scores finite")
    if not num_right:
        return math.nan
    order = np.argsort(-scores, kind="stable")[:depth]
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], [True] * (len(ranked) > 0)))
    found = np.cumsum(right[order])[last]
    return float(np.sum(np.diff(found, prepend=0) * found / (last + 1)) / min(num_right, depth))


def score_places(places: Places, junk: Places, num_right: int, protocol: Protocol) -> QueryScore:
    """Score one query under one setup.

    Args:
        places: places, from 0, of what is right and ranked; any order.
        junk: places of what is ignored.
        num_right: how many there are to be found.
        protocol: the measure and the cutoffs.
    """
    if not num_right:
        nothing = (math.nan,) * len(protocol.cutoffs)
        return QueryScore(math.nan, nothing, nothing, None, 0)
    places = without_junk(np.sort(places), junk)
    if protocol.measure == TRAPEZOID:
        ap = trapezoid_precision(places, num_right)
        precision = tuple(precision_at(places, k) for k in protocol.cutoffs)
    else:
        ap = rectangle_precision(places, num_right, protocol.depth)
        precision = tuple(float(np.count_nonzero(places < k) / k) for k in protocol.cutoffs)
    recall = tuple(float(np.count_nonzero(places < k) / num_right) for k in protocol.cutoffs)
    first = int(places[0]) + 1 if len(places) else None
    return QueryScore(ap, precision, recall, first, int(np.count_nonzero(places < 4)))


def mean_of(values: Sequence[float]) -> float:
    """Mean of those that count; NaN if none does."""
    counted = [value for value in values if not math.isnan(value)]
    return float(np.mean(counted)) if counted else math.nan
