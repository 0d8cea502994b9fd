"""Where the right photos stand after a re-ranking of the first ones (NumPy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glocal.evaluation.benchmark import Indices
from glocal.evaluation.metrics import without_junk
from glocal.evaluation.ranking import Ranking

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The first photos of one ranking in a new order; the others follow as they were.

    Attributes:
        photos: (K,) int64, a permutation of the first K; without junk if that was taken out before.
        inliers: (K,) int64, how many matches of each agree with one geometry; None where nothing was verified.
        excludes_junk: whether junk was taken out before the first K were chosen.
    """

    photos: Indices
    inliers: Indices | None = None
    excludes_junk: bool = True


def candidates_of(ranking: Ranking, query: int, junk: Indices, depth: int, exclude_junk: bool) -> Indices:
    """The first photos of a ranking, best first, with or without junk.

    Args:
        ranking: must hold at least `depth` photos and as many more as there is junk, or the whole gallery.
        query: number of the query.
        junk: what the setup ignores.
        depth: how many candidates.
        exclude_junk: take junk out first (DELG); else it takes places among the candidates.
    """
    order = ranking.top[query]
    if exclude_junk and len(junk):
        order = order[~np.isin(order, junk)]
    return np.asarray(order[:depth])


def places_after(
    ranking: Ranking, query: int, right: Indices, junk: Indices, head: Head | None
) -> tuple[Indices, Indices]:
    """Places, from 0, of what is right and of what is ignored: what `score_places` takes.

    Where junk was taken out before re-ranking, places are already those without it, and no junk is returned.
    """
    places, ignored = ranking.places_of(query, right), ranking.places_of(query, junk)
    if head is None:
        return places, ignored
    if not head.excludes_junk:
        return _moved(places, right, head.photos), _moved(ignored, junk, head.photos)
    return _moved(without_junk(places, ignored), right, head.photos), _NONE


def _moved(places: Indices, photos: Indices, head: Indices) -> Indices:
    """Places after the first ones, which hold the same photos as before, were put in another order."""
    inside = places < len(head)
    if not inside.any():
        return places
    by_photo = np.argsort(head)
    moved = places.copy()
    moved[inside] = by_photo[np.searchsorted(head[by_photo], photos[inside])]
    return moved
