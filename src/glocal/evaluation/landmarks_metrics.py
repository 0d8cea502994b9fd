"""The measures of Google Landmarks v2: recognition (GAP, top-1) and retrieval (mAP@100, precision, first hit).

Weyand et al., "Google Landmarks Dataset v2", CVPR 2020, sections 4.1 and 4.2. GAP is also known as micro average
precision (µAP). Public and private queries are scored apart: pass the answers and the solution of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.evaluation.metrics import rectangle_precision

Answers = Mapping[str, tuple[int, float]]
"""Query -> the landmark that it is said to show, and how sure that is."""
Landmarks = Mapping[str, Sequence[int]]
"""Query -> the landmarks that it shows; none for a photo without any."""
Lists = Mapping[str, Sequence[str]]
"""Query -> photos."""


def micro_average_precision(predictions: Answers, solution: Landmarks, ignore_non_landmarks: bool = False) -> float:
    """Global average precision: one ranking of all answers by score, equal ones by query, then by landmark.

    Args:
        predictions: at most one answer per query; a query that is absent was not answered.
        solution: every query; what is right.
        ignore_non_landmarks: leave out the answers for queries that show no landmark, instead of counting them wrong.

    Returns:
        Sum of the precision at the right answers, over the number of queries that show a landmark; 0 to 1.

    Raises:
        ConfigError: no query shows a landmark, an answer is for an unknown query, or a score is not finite.
    """
    _expect_known(predictions, solution)
    num_right = sum(1 for landmarks in solution.values() if landmarks)
    if not num_right:
        raise ConfigError("GAP: no query shows a landmark → check the solution file")
    ranked = []
    for query, (landmark, score) in predictions.items():
        if not math.isfinite(score):
            raise ConfigError(f"GAP: the score of query '{query}' is {score} → every answer needs a finite score")
        if solution[query] or not ignore_non_landmarks:
            ranked.append((-score, query, landmark))
    ranked.sort()
    right = np.array([landmark in solution[query] for _, query, landmark in ranked], np.bool_)
    # The average precision of one list over all queries.
    return rectangle_precision(np.flatnonzero(right), num_right)


def top1_accuracy(predictions: Answers, solution: Landmarks) -> float:
    """Share of the queries that show a landmark for which one of theirs was answered, whatever the score.

    Raises:
        ConfigError: no query shows a landmark, or an answer is for an unknown query.
    """
    _expect_known(predictions, solution)
    asked = [query for query, landmarks in solution.items() if landmarks]
    if not asked:
        raise ConfigError("top-1 accuracy: no query shows a landmark → check the solution file")
    right = sum(1 for query in asked if query in predictions and predictions[query][0] in solution[query])
    return right / len(asked)


def mean_average_precision_at(predictions: Lists, solution: Lists, depth: int = 100) -> float:
    """Mean over the queries of the average precision of their first `depth` photos (section 4.2: mAP@100).

    A photo that is listed again is not counted again, but takes its place. A query without a list counts 0.

    Args:
        predictions: photos, best first.
        solution: every query; the photos that are right, at least one.
        depth: places that count; the sum of the precision at the hits is divided by min(right photos, depth).

    Raises:
        ConfigError: there is no query, one without right photos, or a list for an unknown query.
    """
    _expect_answers(predictions, solution)
    places = _places(predictions, solution, depth)
    scores = [rectangle_precision(places[query], len(set(photos)), depth) for query, photos in solution.items()]
    return math.fsum(scores) / len(scores)


def mean_precision_at(predictions: Lists, solution: Lists, depth: int = 100) -> NDArray[np.float64]:
    """Mean over the queries of the precision at k, for k = 1 to `depth`; what a list lacks counts as wrong.

    Returns:
        (depth,) float64; entry k - 1 is the mean precision at k.

    Raises:
        ConfigError: as `mean_average_precision_at`.
    """
    _expect_answers(predictions, solution)
    right = np.zeros(depth)
    for places in _places(predictions, solution, depth).values():
        right[places] += 1
    return np.cumsum(right) / np.arange(1, depth + 1) / len(solution)


def first_positions(predictions: Lists, solution: Lists, depth: int = 100) -> NDArray[np.int64]:
    """Place, from 1, of the first right photo of each query; depth + 1 where it is not among the first `depth`.

    The mean and the median of these are what the challenge's program prints.

    Returns:
        (Q,) int64, in the order of the solution.

    Raises:
        ConfigError: as `mean_average_precision_at`.
    """
    _expect_answers(predictions, solution)
    places = _places(predictions, solution, depth)
    return np.array([int(places[query][0]) + 1 if len(places[query]) else depth + 1 for query in solution], np.int64)


def _places(predictions: Lists, solution: Lists, depth: int) -> dict[str, NDArray[np.int64]]:
    """Places, from 0, of the right photos among the first `depth` of each list; of a repeated photo only the first."""
    places = {}
    for query, photos in solution.items():
        left = set(photos)
        found = []
        for place, photo in enumerate(predictions.get(query, ())[:depth]):
            if photo in left:
                left.remove(photo)
                found.append(place)
        places[query] = np.array(found, np.int64)
    return places


def _expect_answers(predictions: Lists, solution: Lists) -> None:
    _expect_known(predictions, solution)
    if not solution:
        raise ConfigError("retrieval: there is no query → check the solution file")
    empty = next((query for query, photos in solution.items() if not photos), None)
    if empty is not None:
        raise ConfigError(f"retrieval: query '{empty}' has no right photo → leave it out of the solution")


def _expect_known(predictions: Collection[str], solution: Collection[str]) -> None:
    unknown = next((query for query in predictions if query not in solution), None)
    if unknown is not None:
        raise ConfigError(f"there is an answer for '{unknown}', which is not in the solution → score it with its own")
