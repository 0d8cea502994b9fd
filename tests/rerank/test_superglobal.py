import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ConfigError, ShapeError
from glocal.rerank.superglobal import SuperGlobalOptions, refine, rerank_superglobal


def shortlist(seed, count, length=6):
    """A query and unit rows by descending similarity to it."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count + 1, length)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    query, candidates = rows[0], rows[1:]
    return query, candidates[np.argsort(-(candidates @ query), kind="stable")]


def naive(query, candidates, depth, neighbours, beta, variant):
    """Scores of the first candidates, one at a time."""
    first = candidates[:depth].astype(np.float64)
    refined = []
    for i, row in enumerate(first):
        others = sorted((j for j in range(len(first)) if j != i), key=lambda j: -(row @ first[j]))[:neighbours]
        total, weight = row.copy(), 1.0
        for j in others:
            share = beta * max(row @ first[j], 0)
            total += share * first[j]
            weight += share
        refined.append(total / weight)
    by_refined = [query @ row for row in refined]
    if variant == "code":
        best = sorted(range(len(first)), key=lambda i: -by_refined[i])[: neighbours + 1]
        pool = [refined[i] for i in best]
        targets = refined
    else:
        best = sorted(range(len(first)), key=lambda i: -(query @ first[i]))[:neighbours]
        pool = [query.astype(np.float64)] + [first[i] for i in best]
        targets = list(first)
    expanded = [max(row[number] for row in pool) for number in range(len(query))]
    return [(s1 + np.dot(expanded, row)) / 2 for s1, row in zip(by_refined, targets, strict=True)]


@pytest.mark.parametrize("variant", ["code", "paper"])
@pytest.mark.parametrize(
    ("count", "depth", "neighbours"), [(1, 400, 9), (2, 400, 9), (17, 400, 3), (17, 8, 9), (17, 5, 0)]
)
def test_it_equals_a_naive_loop(count, depth, neighbours, variant):
    query, candidates = shortlist(count, count)
    options = SuperGlobalOptions(depth, neighbours, 0.15, variant)
    order, scores = rerank_superglobal(query, candidates, options)
    expected = naive(query, candidates, depth, neighbours, 0.15, variant)
    assert np.allclose(scores[:depth], expected, atol=1e-5)
    assert np.isnan(scores[depth:]).all()
    places = sorted(range(len(expected)), key=lambda i: -expected[i])
    assert order.tolist() == places + list(range(len(expected), count))
    assert order.dtype == np.int64


def test_scores_by_hand():
    # s01 = 0.6; refined 0: (1 + 0.5*0.6*0.6, 0.5*0.6*0.8) / 1.3, refined 1: (0.6 + 0.3, 0.8) / 1.3.
    candidates = np.array([[1, 0], [0.6, 0.8]], np.float32)
    refined = np.array([[1.18, 0.24], [0.9, 0.8]]) / 1.3
    options = SuperGlobalOptions(neighbours=1, beta=0.5)
    assert np.allclose(refine(candidates, options), refined, atol=1e-6)
    query = np.array([1, 0], np.float32)
    _, scores = rerank_superglobal(query, candidates, options)
    expanded = np.array([1.18, 0.8]) / 1.3
    assert np.allclose(scores, (refined[:, 0] + refined @ expanded) / 2, atol=1e-6)
    _, scores = rerank_superglobal(query, candidates, SuperGlobalOptions(neighbours=1, beta=0.5, variant="paper"))
    assert np.allclose(scores, (refined[:, 0] + np.array([1, 0.6])) / 2, atol=1e-6)


def test_the_defaults_are_the_published_constants():
    options = SuperGlobalOptions()
    assert (options.depth, options.neighbours, options.beta, options.variant) == (400, 9, 0.15, "code")


def test_without_neighbours_and_weight_candidates_stay_what_they_are():
    _, candidates = shortlist(0, 9)
    assert np.allclose(refine(candidates, SuperGlobalOptions(neighbours=0)), candidates, atol=1e-6)
    assert np.allclose(refine(candidates, SuperGlobalOptions(beta=0)), candidates, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 25), variant=st.sampled_from(["code", "paper"]))
def test_the_order_holds_every_candidate_once_and_scores_descend(seed, count, variant):
    query, candidates = shortlist(seed, count)
    options = SuperGlobalOptions(depth=12, neighbours=4, variant=variant)
    order, scores = rerank_superglobal(query, candidates, options)
    assert sorted(order.tolist()) == list(range(count))
    assert (np.diff(scores[order[:12]]) <= 0).all()
    assert order[12:].tolist() == list(range(12, count))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(2, 12))
def test_the_order_in_which_candidates_come_changes_no_score(seed, count):
    query, candidates = shortlist(seed, count)
    shuffled = np.random.default_rng(seed).permutation(count)
    options = SuperGlobalOptions(neighbours=3)
    _, scores = rerank_superglobal(query, candidates, options)
    _, others = rerank_superglobal(query, candidates[shuffled], options)
    assert np.allclose(scores[shuffled], others, atol=1e-5)


def test_a_candidate_among_friends_of_the_query_overtakes_a_loner():
    # Both are equally far from the query; one lies with three that are near it.
    query = np.array([1, 0, 0], np.float32)
    near = [[0.98, 0.199, 0], [0.97, 0.243, 0], [0.96, 0.28, 0]]
    rows = np.array([*near, [0.8, 0, 0.6], [0.8, 0.6, 0]], np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order, _ = rerank_superglobal(query, rows, SuperGlobalOptions(neighbours=2))
    assert order.tolist().index(4) < order.tolist().index(3)


def test_an_empty_shortlist_has_an_empty_order():
    order, scores = rerank_superglobal(np.ones(3, np.float32), np.empty((0, 3), np.float32))
    assert len(order) == len(scores) == 0


def test_opposite_candidates_do_not_cancel_to_nan():
    row = np.array([[1, 0], [-1, 0]], np.float32)
    assert np.allclose(refine(row, SuperGlobalOptions(beta=1 / 1)), row)
    assert all(math.isfinite(score) for score in rerank_superglobal(row[0], row)[1])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError):
        rerank_superglobal(np.ones(3, np.float32), np.ones((2, 4), np.float32))
    for wrong in ({"depth": 0}, {"neighbours": -1}, {"beta": float("nan")}, {"variant": "both"}):
        with pytest.raises(ConfigError, match="makes no sense"):
            SuperGlobalOptions(**wrong)
