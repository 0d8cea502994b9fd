"""Photo -> the name of what it shows, with the photos that say so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from glocal.rerank.voting import DEFAULTS, ClassVote, Recognition, Verdict, Voter, VotingOptions, vote
from glocal.search import Match, Searcher, SearchResult
from glocal.types import Box

SEARCHED = 100
"""Hits that a recognition looks at: photos without a label take no seat in the vote."""


@dataclass(frozen=True, slots=True)
class RecognitionResult:
    """The answer to one recognition.

    Attributes:
        recognition: what was recognised.
        search: the search whose hits voted.
    """

    recognition: Recognition[str]
    search: SearchResult

    @property
    def label(self) -> str | None:
        """The name of the object; None if it is unknown."""
        return self.recognition.label

    @property
    def verdict(self) -> Verdict:
        """How sure that is."""
        return self.recognition.verdict

    @property
    def score(self) -> float:
        """Of the first class, also of one that was rejected."""
        return self.recognition.score

    @property
    def votes(self) -> tuple[ClassVote[str], ...]:
        """The classes, best first."""
        return self.recognition.votes

    def photos(self, vote: ClassVote[str]) -> tuple[Match, ...]:
        """The hits that voted for a class, best first."""
        return tuple(self.search[place] for place in vote.evidence)


def recognize(
    searcher: Searcher,
    photo: str | os.PathLike[str],
    box: Box | None = None,
    options: VotingOptions | None = None,
    upright: bool = False,
) -> RecognitionResult:
    """Name what a photo shows, by the labels of the photos that show the same.

    Args:
        searcher: of a collection whose photos have labels.
        photo: the query's file.
        box: x, y, width, height of the object in pixels of the upright query.
        options: how the hits vote; None for the defaults.
        upright: describe the query only as it is, see `Searcher.search`.

    Raises:
        ImageError: the query cannot be read.
        NothingToDo: the collection is empty.
    """
    return recognition_of(searcher.search(photo, SEARCHED, box=box, upright=upright), options)


def recognition_of(result: SearchResult, options: VotingOptions | None = None) -> RecognitionResult:
    """Name what a photo shows, by a search of `SEARCHED` hits that was done."""
    return RecognitionResult(_vote(result.hits, result.judged, options or DEFAULTS), result)


def own_samples(
    searcher: Searcher, photos: Iterable[str | os.PathLike[str]], options: VotingOptions | None = None
) -> tuple[list[float], list[bool]]:
    """Scores of recognitions of a collection's own photos, and whether they were right: what `fit_threshold` takes.

    Every photo is asked for twice: once as if it were not in the collection, once as if no photo of its object were,
    when every answer is wrong. Answers of "unknown" are no samples.

    Args:
        searcher: of a collection whose photos have labels.
        photos: files of that collection; those without a label are passed over.
        options: how the hits vote; `least` does not count.
    """
    options = options or DEFAULTS
    options = VotingOptions(options.k, options.inlier_cap, options.alpha)
    scores, is_right = [], []
    for photo in photos:
        result = searcher.search(photo, SEARCHED)
        own = next((hit for hit in result if _shows(hit, photo)), None)
        if own is None or own.label is None:
            continue
        others = [hit for hit in result if hit is not own]
        strangers = [hit for hit in others if hit.label != own.label]
        for hits in (others, strangers):
            found = _vote(hits, result.judged, options)
            if found.label is not None:
                scores.append(found.score)
                is_right.append(found.label == own.label)
    return scores, is_right


def _shows(hit: Match, photo: str | os.PathLike[str]) -> bool:
    """Whether a hit is this very file, or the one that an exact copy is listed under."""
    root = hit.path.parents[len(Path(hit.name).parts) - 1]
    return any((root / name).exists() and (root / name).samefile(photo) for name in (hit.name, *hit.copies))


def _vote(hits: Sequence[Match], judged: bool, options: VotingOptions) -> Recognition[str]:
    return vote(
        [
            Voter(
                hit.label,
                hit.similarity,
                None if hit.verification is None else hit.verification.inliers,
                hit.band if judged else None,
            )
            for hit in hits
        ],
        options,
    )
