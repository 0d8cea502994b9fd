"""The measures of Google Landmarks v2 against naive loops; golden values are in tests/golden."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import ConfigError
from glocal.evaluation.landmarks_metrics import (
    first_positions,
    mean_average_precision_at,
    mean_precision_at,
    micro_average_precision,
    top1_accuracy,
)

QUERIES = "abcdef"
scores = st.sampled_from([0.1, 0.5, 0.5, 0.9])
answers = st.dictionaries(st.sampled_from(QUERIES), st.tuples(st.integers(0, 3), scores))
landmarks = st.fixed_dictionaries({query: st.lists(st.integers(0, 3), unique=True, max_size=2) for query in QUERIES})
photos = st.lists(st.sampled_from("uvwxyz"), max_size=9)
lists = st.dictionaries(st.sampled_from(QUERIES), photos)
right_photos = st.fixed_dictionaries(
    {query: st.lists(st.sampled_from("uvwxyz"), unique=True, min_size=1, max_size=4) for query in QUERIES}
)


def naive_gap(predictions, solution, ignore):
    """Two stable sorts, as the challenge describes it: by query and class, then by score."""
    ranked = sorted((query, label, score) for query, (label, score) in predictions.items())
    ranked.sort(key=lambda each: each[2], reverse=True)
    total, correct, count = 0.0, 0, 0
    for query, label, _ in ranked:
        if ignore and not solution[query]:
            continue
        count += 1
        if label in solution[query]:
            correct += 1
            total += correct / count
    return total / sum(bool(shown) for shown in solution.values())


@given(answers, landmarks, st.booleans())
def test_gap_is_that_of_a_naive_loop(predictions, solution, ignore):
    if not any(solution.values()):
        with pytest.raises(ConfigError, match="no query shows a landmark"):
            micro_average_precision(predictions, solution, ignore)
        return
    found = micro_average_precision(predictions, solution, ignore)
    assert found == pytest.approx(naive_gap(predictions, solution, ignore), abs=1e-12)


@given(answers, landmarks)
def test_gap_does_not_depend_on_the_order_of_the_file(predictions, solution):
    if any(solution.values()):
        turned = dict(reversed(predictions.items()))
        assert micro_average_precision(turned, solution) == micro_average_precision(predictions, solution)


def test_gap_of_the_specification():
    predictions = {"i1": (5, 0.9), "i2": (7, 0.8), "i3": (9, 0.8), "i4": (1, 0.2)}
    solution = {"i1": [5], "i2": [], "i3": [9, 10], "i4": [2], "i5": [3]}
    assert micro_average_precision(predictions, solution) == pytest.approx(0.41666666666666667, abs=1e-12)
    assert micro_average_precision(predictions, solution, ignore_non_landmarks=True) == pytest.approx(0.5, abs=1e-12)
    assert top1_accuracy(predictions, solution) == 0.5


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused_by_the_name_of_its_query(score):
    with pytest.raises(ConfigError, match="'a'"):
        micro_average_precision({"a": (1, score)}, {"a": [1]})


def test_an_answer_for_an_unknown_query_is_refused_by_name():
    for measure in (micro_average_precision, top1_accuracy):
        with pytest.raises(ConfigError, match="'z'"):
            measure({"z": (1, 0.5)}, {"a": [1]})
    for measure in (mean_average_precision_at, mean_precision_at, first_positions):
        with pytest.raises(ConfigError, match="'z'"):
            measure({"z": ["x"]}, {"a": ["x"]})


@pytest.mark.parametrize("measure", [mean_average_precision_at, mean_precision_at, first_positions])
def test_a_solution_without_queries_or_without_photos_is_refused(measure):
    with pytest.raises(ConfigError, match="no query"):
        measure({}, {})
    with pytest.raises(ConfigError, match="'a' has no right photo"):
        measure({}, {"a": []})


def test_top1_needs_a_query_with_a_landmark():
    with pytest.raises(ConfigError, match="no query shows a landmark"):
        top1_accuracy({}, {"a": []})


def naive_map(predictions, solution, depth):
    total = 0.0
    for query, right in solution.items():
        correct, seen = 0, []
        for k, photo in enumerate(predictions.get(query, [])[:depth], 1):
            if photo in right and photo not in seen:
                correct += 1
                total += correct / k / min(len(right), depth)
            seen.append(photo)
    return total / len(solution)


@given(lists, right_photos, st.sampled_from([1, 2, 5, 100]))
def test_retrieval_measures_are_those_of_naive_loops(predictions, solution, depth):
    assert mean_average_precision_at(predictions, solution, depth) == pytest.approx(
        naive_map(predictions, solution, depth), abs=1e-12
    )
    precision = mean_precision_at(predictions, solution, depth)
    assert precision.shape == (depth,)
    for k in {1, min(3, depth), depth}:
        right = [len(set(predictions.get(query, [])[:k]) & set(solution[query])) for query in solution]
        assert precision[k - 1] == pytest.approx(np.mean(right) / k, abs=1e-12)
    first = [
        next((i for i, p in enumerate(predictions.get(query, [])[:depth], 1) if p in solution[query]), depth + 1)
        for query in solution
    ]
    assert first_positions(predictions, solution, depth).tolist() == first


def test_map_of_the_specification():
    predictions = {"q1": ["a", "x", "b", "a", "c"], "q2": ["y"]}
    solution = {"q1": list("abcd"), "q2": ["z", "w"], "q3": ["v"]}
    # q1: (1 + 2/3 + 3/5) / 4: the repeated photo takes the fourth place.
    assert mean_average_precision_at(predictions, solution) == pytest.approx(0.18888888888888889, abs=1e-12)
