"""What a photo shows, by the labels of its nearest neighbours: a vote with evidence that may end in "unknown" (NumPy).

Weyand et al., "Google Landmarks Dataset v2", CVPR 2020 (recognition from retrieval); scores as in DELG (Cao, Araujo and
Sim, "Unifying Deep Local and Global Features for Image Search", ECCV 2020): an image is worth min(inliers, 70) / 70 +
0.25 * similarity, a class the sum over its images among the first k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from glocal.errors import ConfigError, ShapeError
from glocal.rerank.bands import Band

L = TypeVar("L", int, str)
_ORDER = (Band.SAME, Band.POSSIBLY, Band.LOOK_ALIKE, None)


@dataclass(frozen=True, slots=True)
class VotingOptions:
    """How hits vote.

    Attributes:
        k: so many hits with a label vote. Of 1 to 20, five named as many photos right as any other number, or more, on
            three of four pairs of model and collection that were tried; on the fourth, two did.
        inlier_cap: more inliers than this count as this many.
        alpha: weight of the similarity beside the inliers' share of the cap.
        least: a class with a lower score is unknown; see `fit_threshold`. By default no score is too low.
    """

    k: int = 5
    inlier_cap: int = 70
    alpha: float = 0.25
    least: float = -math.inf

    def __post_init__(self) -> None:
        if self.k < 1 or self.inlier_cap < 1:
            raise ConfigError(f"k and inlier_cap must be 1 or more, not {self.k} and {self.inlier_cap}")
        if not 0 <= self.alpha < math.inf:
            raise ConfigError(f"alpha must be a number of 0 or more, not {self.alpha}")
        if math.isnan(self.least):
            raise ConfigError("least must be a number")


DEFAULTS = VotingOptions()


class Verdict(StrEnum):
    """How sure a recognition is."""

    SAME = "same"
    POSSIBLY = "possibly"
    NOT_JUDGED = "not_judged"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Voter(Generic[L]):
    """One hit as the vote sees it.

    Attributes:
        label: the name of its object; None where nobody has given one.
        similarity: inner product of the global descriptors.
        inliers: matches that agree; None where it was not verified.
        band: how sure the hit is; None where the model has no calibration.
    """

    label: L | None
    similarity: float
    inliers: int | None = None
    band: Band | None = None


@dataclass(frozen=True, slots=True)
class ClassVote(Generic[L]):
    """What one label got.

    Attributes:
        label: the name of the object.
        score: sum over the hits that voted for it.
        band: the best of their bands; None where the model has no calibration.
        evidence: which hits those are: places in the sequence that voted, ascending.
    """

    label: L
    score: float
    band: Band | None
    evidence: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recognition(Generic[L]):
    """What was recognised.

    Attributes:
        label: the name of the object; None if it is unknown.
        verdict: how sure that is; `unknown` if there is no label.
        score: of the first class, also of one that was rejected, so that a threshold can be fitted; 0 without votes.
        votes: the classes, best first.
        reason: why it is unknown, in words; empty otherwise.
    """

    label: L | None
    verdict: Verdict
    score: float
    votes: tuple[ClassVote[L], ...]
    reason: str = ""

    @property
    def rejected(self) -> bool:
        """Whether it is unknown."""
        return self.verdict == Verdict.UNKNOWN


def image_score(similarity: float, inliers: int | None, options: VotingOptions = DEFAULTS) -> float:
    """What one photo adds to its class: min(inliers, cap) / cap + alpha * similarity; not verified, the similarity."""
    if inliers is None:
        return similarity
    return min(inliers, options.inlier_cap) / options.inlier_cap + options.alpha * similarity


def vote(voters: Sequence[Voter[L]], options: VotingOptions = DEFAULTS) -> Recognition[L]:
    """Recognise an object by the labels of its hits.

    The first k hits with a label vote; one without a label takes no seat, for nobody has said that it shows another
    object. If any hit was verified, one that was not counts as having 0 inliers: its bare similarity would outweigh
    the verified ones. Where bands are known, a class with a hit of a better band comes first, whatever the sums: look-
    alikes that are many are no proof. It is `same` or `possibly` as its best hit is, and unknown below that. Without
    bands the highest sum wins, and nothing but `least` rejects it. Equal classes are ordered by label.

    Args:
        voters: the hits, best first.
        options: how they vote.
    """
    seats = [place for place, voter in enumerate(voters) if voter.label is not None][: options.k]
    verified = any(voter.inliers is not None for voter in voters)
    members: dict[L, list[int]] = {}
    for place in seats:
        label = voters[place].label
        if label is not None:
            members.setdefault(label, []).append(place)
    votes = [_class_vote(label, places, voters, verified, options) for label, places in members.items()]
    votes.sort(key=lambda each: (_ORDER.index(each.band), -each.score, each.label))
    if not votes:
        return Recognition(None, Verdict.UNKNOWN, 0.0, (), "no photo with a label was found")
    best, ranking = votes[0], tuple(votes)
    if best.band == Band.LOOK_ALIKE:
        return Recognition(None, Verdict.UNKNOWN, best.score, ranking, "no labelled photo shows this object")
    if best.score < options.least:
        reason = f"the score {best.score:.3f} is below the threshold {options.least:g}"
        return Recognition(None, Verdict.UNKNOWN, best.score, ranking, reason)
    verdict = Verdict.NOT_JUDGED if best.band is None else Verdict(str(best.band))
    return Recognition(best.label, verdict, best.score, ranking)


def _class_vote(
    label: L, places: list[int], voters: Sequence[Voter[L]], verified: bool, options: VotingOptions
) -> ClassVote[L]:
    scores = [
        image_score(voters[place].similarity, (voters[place].inliers or 0) if verified else None, options)
        for place in places
    ]
    band = min((voters[place].band for place in places), key=_ORDER.index)
    return ClassVote(label, math.fsum(scores), band, tuple(places))


def fit_threshold(scores: ArrayLike, is_right: ArrayLike, precision: float = 0.95) -> float:
    """The lowest score from which on a share `precision` of some samples is right, for `VotingOptions.least`.

    Args:
        scores: (N,) scores of recognitions.
        is_right: (N,) whether each was right; where the object was unknown, it was not.
        precision: the share that has to be right, more than 0 and at most 1.

    Returns:
        One of the scores: of all samples with this score or more, at least `precision` is right.

    Raises:
        ShapeError: the arrays differ in length, are empty, or a score is no number.
        ConfigError: `precision` is out of range, or no threshold reaches it.
    """
    values, right = np.asarray(scores, np.float64), np.asarray(is_right, np.bool_)
    if values.ndim != 1 or values.shape != right.shape or not len(values) or not np.isfinite(values).all():
        raise ShapeError(f"scores and is_right must be (N,), finite and not empty; found {values.shape}, {right.shape}")
    if not 0 < precision <= 1:
        raise ConfigError(f"precision must be more than 0 and at most 1, not {precision}")
    order = np.argsort(-values, kind="stable")
    values, right = values[order], right[order]
    reached = np.cumsum(right) / np.arange(1, len(right) + 1) >= precision
    last_of_equals = np.append(values[1:] < values[:-1], True)  # a threshold cannot part equal scores
    places = np.flatnonzero(reached & last_of_equals)
    if not len(places):
        raise ConfigError(
            f"no threshold makes {precision:.0%} of these {len(values)} recognitions right: even among the highest "
            "scores there are too many wrong ones → a lower precision, or a better model"
        )
    return float(values[places[-1]])
