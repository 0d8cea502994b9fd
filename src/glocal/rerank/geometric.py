"""Geometric verification: matches of local features that agree with one homography (NumPy, OpenCV)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from glocal.ops.homography import (
    MIN_MATCHES,
    fit_affine,
    hull_area,
    is_plausible,
    refine_homography,
    transfer,
)
from glocal.ops.matching import match_mutual
from glocal.types import Hit, LocalFeatures, Shortlist, Verification


@dataclass(frozen=True, slots=True)
class VerificationOptions:
    """How two photos are compared.

    Attributes:
        max_ratio: ratio test of the matches, 1 switches it off.
        tolerance: largest transfer error of an inlier, as a share of the target's longest side.
        least: fewer inliers than this may be chance: such candidates come after the others, by similarity.
        inlier_weight: what log(1 + inliers) adds to the similarity of those.
        depth: how many candidates of a shortlist are verified.
        threads: pairs that are verified at the same time; the answer does not depend on it.
        max_features: only so many of the best features of each photo are compared; None for all. Half of them take a
            third of the time.
    """

    max_ratio: float = 0.8
    tolerance: float = 0.012
    least: int = 0
    inlier_weight: float = 0.0
    depth: int = 100
    threads: int = 2
    max_features: int | None = None


DEFAULTS = VerificationOptions()
_VOTERS = 500
"""Features of each photo that say how the query has to be turned."""
Matches = NDArray[np.int64]


class Placed(Protocol):
    """Local features of one photo, however they are described."""

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) of the upright photo in pixels."""

    @property
    def keypoints(self) -> NDArray[np.float32]:
        """(N, 2), (x, y) in pixels of the upright photo."""


Features = TypeVar("Features", bound=Placed)
Match = Callable[[Features, Features, float, int | None], Matches]
"""(query, target, largest ratio, so many of the best features or None for all) -> (M, 2) tentative matches."""


def match_descriptors(query: LocalFeatures, target: LocalFeatures, max_ratio: float, most: int | None) -> Matches:
    """Tentative matches (M, 2) of the best features of two photos: mutual nearest neighbours with ratio test."""
    return match_mutual(query.descriptors[:most], target.descriptors[:most], max_ratio)


def verify_pair(query: LocalFeatures, target: LocalFeatures, options: VerificationOptions = DEFAULTS) -> Verification:
    """Compare two photos by their local features; the same answer on every run.

    Mutual nearest neighbours with ratio test, affine RANSAC, homography refinement.

    Returns:
        Verification with query -> target homography; 0 inliers where no plausible model was found.
    """
    return verify_matches(
        query, target, match_descriptors(query, target, options.max_ratio, options.max_features), options
    )


def verify_matches(
    query: Placed, target: Placed, matches: Matches, options: VerificationOptions = DEFAULTS
) -> Verification:
    """Compare two photos by tentative matches, however these were found; their descriptors are not looked at.

    Args:
        query: the local features of one photo.
        target: those of the other.
        matches: (M, 2) int64, keypoint indices (query, target).
        options: how they are compared; the ratio test is not done here.

    Returns:
        As `verify_pair`; of matches between the same two places one is left.
    """
    matches = _distinct_places(matches, query.keypoints, target.keypoints)
    nothing = Verification(0, None, matches, np.zeros(len(matches), np.bool_))
    if len(matches) < MIN_MATCHES:
        return nothing
    source, goal = query.keypoints[matches[:, 0]], target.keypoints[matches[:, 1]]
    threshold = options.tolerance * max(target.size)
    affine = fit_affine(source, goal, threshold)
    if affine is None:
        return nothing
    homography, mask = refine_homography(source, goal, affine, threshold)
    if mask.sum() < MIN_MATCHES:
        return nothing
    if not is_plausible(homography, _bounding_rectangle(source[mask])):
        return nothing
    return verification_of(query, target, matches, mask, homography)


def verification_of(
    query: Placed,
    target: Placed,
    matches: Matches,
    mask: NDArray[np.bool_],
    homography: NDArray[np.float64],
) -> Verification:
    """What a model says about two photos: inliers, covered areas, the matched rectangle.

    Args:
        query: the local features of one photo.
        target: those of the other.
        matches: (M, 2) int64, keypoint indices (query, target).
        mask: (M,) bool, the inliers among them, at least one.
        homography: (3, 3) float64, query -> target, of any scale.
    """
    source, goal = query.keypoints[matches[mask, 0]], target.keypoints[matches[mask, 1]]
    rectangle = _bounding_rectangle(source)
    return Verification(
        inliers=int(mask.sum()),
        homography=homography / homography[2, 2],
        matches=matches,
        mask=mask,
        query_overlap=min(1.0, hull_area(source) / (query.size[0] * query.size[1])),
        target_overlap=min(1.0, hull_area(goal) / (target.size[0] * target.size[1])),
        query_quad=rectangle,
        target_quad=transfer(homography, rectangle),
    )


def verify_turns(
    query: Sequence[LocalFeatures], target: LocalFeatures, options: VerificationOptions = DEFAULTS
) -> Verification:
    """Compare a photo with another, the way that the first has to be turned for it.

    That is the way with most tentative matches among the best features of both: on training photos as many pairs are
    verified as by comparing every way in full, in less than half of the time, and fewer inliers come by chance.

    Args:
        query: its local features, one set for each quarter turn from 0 on, all in the coordinates of the upright one.
        target: those of the other photo.
        options: how they are compared.
    """
    return verify_best_turn(query, target, options, match_descriptors)


def verify_best_turn(
    query: Sequence[Features], target: Features, options: VerificationOptions, match: Match[Features]
) -> Verification:
    """What `verify_turns` does, for features that are matched in some way."""
    turn = 0
    if len(query) > 1:
        votes = [len(match(features, target, options.max_ratio, _VOTERS)) for features in query]
        turn = votes.index(max(votes))
    matches = match(query[turn], target, options.max_ratio, options.max_features)
    return replace(verify_matches(query[turn], target, matches, options), turn=turn)


def _distinct_places(matches: Matches, query: NDArray[np.float32], target: NDArray[np.float32]) -> Matches:
    """Drop repeated matches between the same two places: SIFT gives one place several orientations."""
    if not len(matches):
        return matches
    places = np.concatenate([query[matches[:, 0]], target[matches[:, 1]]], axis=1)
    _, first = np.unique(np.round(places), axis=0, return_index=True)
    return matches[np.sort(first)]


def _bounding_rectangle(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Corners (4, 2), clockwise on the screen from top left, of the smallest upright rectangle around points."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


class InlierReranker(ABC):
    """`Reranker` that orders by inliers, ties and what may be chance by similarity."""

    def __init__(self, options: VerificationOptions = DEFAULTS) -> None:
        self._options = options

    @abstractmethod
    def verify(self, query: Sequence[LocalFeatures], names: Sequence[str]) -> dict[str, Verification]:
        """Compare the query with each of some candidates, the way that it has to be turned for it."""

    def rerank(self, query: Sequence[LocalFeatures], shortlist: Shortlist) -> list[Hit]:
        """Verify the first `depth` candidates; the rest follows in the order of the shortlist."""
        return self.order(shortlist, self.verify(query, shortlist.ids[: self._options.depth]))

    def order(self, shortlist: Shortlist, verified: Mapping[str, Verification]) -> list[Hit]:
        """The verified candidates by inliers, ties in the order of the shortlist; then the others by similarity."""
        places = range(len(shortlist.ids))
        similarities = shortlist.similarities.tolist()
        inliers = [verified[name].inliers if name in verified else -1 for name in shortlist.ids]
        first = [i for i in places if inliers[i] >= self._options.least]
        first.sort(key=lambda i: -inliers[i])
        rest = [i for i in places if inliers[i] < self._options.least]
        # max: candidates that were not verified are worth no less than those without any inlier.
        rest.sort(key=lambda i: -similarities[i] - self._options.inlier_weight * math.log1p(max(0, inliers[i])))
        return [
            Hit(shortlist.ids[i], rank, similarities[i], verified.get(shortlist.ids[i]))
            for rank, i in enumerate(first + rest, 1)
        ]


class GeometricReranker(InlierReranker):
    """`InlierReranker` by local descriptors as they are."""

    def __init__(self, features_of: Callable[[str], LocalFeatures], options: VerificationOptions = DEFAULTS) -> None:
        super().__init__(options)
        self._features_of = features_of

    def verify(self, query: Sequence[LocalFeatures], names: Sequence[str]) -> dict[str, Verification]:
        """Compare the query with each of some candidates, the way that it has to be turned for it."""
        targets = [self._features_of(name) for name in names]
        compare = partial(verify_turns, query, options=self._options)
        return dict(zip(names, in_threads(compare, targets, self._options.threads), strict=True))


def in_threads(
    compare: Callable[[Features], Verification], targets: Sequence[Features], threads: int
) -> list[Verification]:
    """Each target compared, so many at the same time; order kept."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(1, threads)) as pool:
        return list(pool.map(compare, targets))
