"""Landmark recognition by nearest neighbours: candidate lists -> predictions -> the file that Kaggle reads (NumPy).

Weyand et al., "Google Landmarks Dataset v2", CVPR 2020: the gallery is the training set with its labels, a prediction
is a label and how sure it is. The vote is that of `glocal.rerank.voting`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, ShapeError
from glocal.pictures.files import write_atomically
from glocal.rerank.voting import DEFAULTS, Voter, VotingOptions, vote

Predictions = Mapping[str, tuple[int, float]]
"""Query id -> label and score; queries without a prediction are absent."""

HEADER = "id,landmarks"
_UNFIT_ID = re.compile(r'[\s,"]|^$')


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The nearest photos of one query, best first: by similarity, or as they were re-ranked.

    Attributes:
        labels: (K,) integers.
        similarities: (K,) inner products of the global descriptors.
        inliers: (K,) matches that agree, 0 where none do; None where nothing was verified.
    """

    labels: NDArray[np.int64]
    similarities: NDArray[np.float32]
    inliers: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        shapes = [self.labels.shape, self.similarities.shape]
        if self.inliers is not None:
            shapes.append(self.inliers.shape)
        if self.labels.ndim != 1 or len(set(shapes)) > 1:
            raise ShapeError(f"labels, similarities and inliers of a query must be (K,), found {shapes}")
        if self.labels.dtype.kind not in "iu" or not np.isfinite(self.similarities).all():
            raise ShapeError(f"labels must be integers and similarities finite, found {self.labels.dtype} labels")
        if self.inliers is not None and (self.inliers.dtype.kind not in "iu" or (self.inliers < 0).any()):
            raise ShapeError(f"inliers must be integers of 0 or more, found {self.inliers.dtype}")


def predict(
    candidates: Iterable[tuple[str, Candidates]], options: VotingOptions = DEFAULTS
) -> dict[str, tuple[int, float]]:
    """Query id -> label and score, by the vote of the first k candidates.

    Args:
        candidates: (query id, its candidates); each id once.
        options: how they vote; a query whose best label scores less than `least` gets no prediction, nor does one
            without candidates.

    Raises:
        ConfigError: a query is there twice.
    """
    predictions: dict[str, tuple[int, float]] = {}
    seen: set[str] = set()
    for query, found in candidates:
        if query in seen:
            raise ConfigError(f"query '{query}' has two lists of candidates")
        seen.add(query)
        recognition = vote(_voters(found, options.k), options)
        if recognition.label is not None:
            predictions[query] = (recognition.label, recognition.score)
    return predictions


def _voters(found: Candidates, k: int) -> list[Voter[int]]:
    labels, similarities = found.labels[:k].tolist(), found.similarities[:k].tolist()
    inliers = [None] * len(labels) if found.inliers is None else found.inliers[:k].tolist()
    return [Voter(*each) for each in zip(labels, similarities, inliers, strict=True)]


def write_predictions(path: Path, predictions: Predictions, queries: Iterable[str] = ()) -> None:
    """Write "id,landmarks" lines, landmarks being "label score"; a half-written file never appears.

    Args:
        path: the CSV file.
        predictions: query id -> label and score, in the order of the lines. Scores keep all their digits: what is a
            tie in the file is one in the numbers.
        queries: ids that get a line too, without landmarks, if they have no prediction; Kaggle wants all of the test
            set.

    Raises:
        ConfigError: an id that cannot stand in such a file, or a score that is not finite.
    """
    lines = [HEADER]
    for query, (label, score) in predictions.items():
        if not math.isfinite(score):
            raise ConfigError(f"query '{query}' has the score {score}")
        lines.append(f"{_checked(query)},{int(label)} {float(score)!r}")
    lines += [f"{_checked(query)}," for query in dict.fromkeys(queries) if query not in predictions]
    write_atomically(("\n".join(lines) + "\n").encode(), path)


def _checked(query: str) -> str:
    if _UNFIT_ID.search(query):
        raise ConfigError(f"query id {query[:200]!r} is empty, or has a comma, quote or space in it")
    return query
