import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import BackendUnavailable, ShapeError
from glocal.rerank.diffusion import diffuse, neighbour_graph

pytest.importorskip("scipy")


def unit_rows(seed, count, length=6):
    # Around a common direction, so that most similarities are positive and the graph hangs together.
    rows = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32) + 0.6
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def naive_graph(vectors, k, gamma):
    """Affinities one pair at a time."""
    rows = vectors.astype(np.float64)
    count = len(rows)
    nearest = [
        sorted((j for j in range(count) if j != i), key=lambda j: -(rows[i] @ rows[j]))[:k] for i in range(count)
    ]
    graph = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            if j in nearest[i] and i in nearest[j]:
                graph[i, j] = max(rows[i] @ rows[j], 0) ** gamma
    return graph


def naive_scores(graph, pours, alpha):
    """The dense linear system, solved in full."""
    count = len(graph)
    degrees = graph.sum(axis=1)
    system = np.eye(count)
    for i in range(count):
        for j in range(count):
            if graph[i, j]:
                system[i, j] -= alpha * graph[i, j] / np.sqrt(degrees[i] * degrees[j])
    return np.linalg.solve(system, pours)


def ranked(queries, vectors, depth):
    similarities = queries @ vectors.T
    places = np.argsort(-similarities, axis=1, kind="stable")[:, :depth]
    return places, np.take_along_axis(similarities, places, 1)


def pours_of(places, similarities, count, num_start, gamma):
    pours = np.zeros(count)
    for place, similarity in zip(places[:num_start], similarities[:num_start], strict=True):
        pours[place] = max(float(similarity), 0) ** gamma
    return pours


@pytest.mark.parametrize("block", [4, 100])
@pytest.mark.parametrize("k", [1, 3, 8, 40])
def test_the_graph_is_that_of_a_naive_loop(k, block):
    vectors = unit_rows(k, 25)
    found = neighbour_graph(vectors, k, 3.0, block).toarray()
    assert np.allclose(found, naive_graph(vectors, k, 3.0), atol=1e-5)
    assert (found == found.T).all()
    assert (found.diagonal() == 0).all()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("num_start", [1, 4])
def test_scores_equal_those_of_the_dense_system(alpha, num_start):
    vectors, queries = unit_rows(1, 40), unit_rows(2, 3)
    graph = neighbour_graph(vectors, 6)
    top = ranked(queries, vectors, 10)
    found = diffuse(graph, top, alpha, num_start=num_start, iterations=500, tolerance=1e-10)
    for row, places, similarities in zip(found, *top, strict=True):
        pours = pours_of(places, similarities, 40, num_start, 3.0)
        assert np.allclose(row, naive_scores(naive_graph(vectors, 6, 3.0), pours, alpha), rtol=1e-3, atol=1e-5)
    assert found.dtype == np.float32


def test_a_truncated_system_is_that_of_the_first_photos_alone():
    vectors, queries = unit_rows(3, 30), unit_rows(4, 2)
    graph = neighbour_graph(vectors, 5)
    places, similarities = ranked(queries, vectors, 12)
    found = diffuse(graph, (places, similarities), 0.9, num_start=3, iterations=500, tolerance=1e-10, truncate=12)
    whole = naive_graph(vectors, 5, 3.0)
    for query in range(2):
        inside = places[query]
        pours = pours_of(inside, similarities[query], 30, 3, 3.0)[inside]
        assert np.allclose(found[query, inside], naive_scores(whole[np.ix_(inside, inside)], pours, 0.9), atol=1e-4)
        assert (np.delete(found[query], inside) == 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(2, 30), k=st.integers(1, 8))
def test_truncation_to_all_changes_nothing(seed, count, k):
    vectors, queries = unit_rows(seed, count), unit_rows(seed + 1, 2)
    graph, top = neighbour_graph(vectors, k), ranked(queries, vectors, count)
    whole = diffuse(graph, top, iterations=300, tolerance=1e-8)
    assert np.allclose(diffuse(graph, top, iterations=300, tolerance=1e-8, truncate=count), whole, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.2, 1))
def test_scores_are_not_negative_and_grow_with_what_is_poured(seed, scale):
    vectors, queries = unit_rows(seed, 20), unit_rows(seed + 1, 2)
    graph = neighbour_graph(vectors, 4)
    places, similarities = ranked(queries, vectors, 10)
    options = {"gamma": 1.0, "iterations": 300, "tolerance": 1e-8}
    found = diffuse(graph, (places, similarities), 0.9, **options)
    assert found.min() > -1e-5
    less = diffuse(graph, (places, similarities * np.float32(scale)), 0.9, **options)
    assert np.allclose(less, found * scale, atol=1e-4)


def test_a_chain_carries_a_query_to_what_is_unlike_it():
    # Photos every 20 degrees on a quarter circle, and one that is as far from the query as the chain's end, alone.
    angles = np.radians(np.arange(0, 81, 20))
    chain = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    alone = np.array([[np.cos(angles[-1]), 0, np.sin(angles[-1])]])
    vectors = np.concatenate([chain, alone]).astype(np.float32)
    query = vectors[:1]
    similarities = vectors @ query[0]
    assert similarities[4] == pytest.approx(similarities[5], abs=1e-6)
    scores = diffuse(neighbour_graph(vectors, 2), ranked(query, vectors, 2), num_start=2)[0]
    assert scores[4] > 0.1
    assert scores[5] == 0


def test_fewer_iterations_give_a_rougher_answer():
    vectors, queries = unit_rows(5, 60), unit_rows(6, 1)
    graph, top = neighbour_graph(vectors, 5), ranked(queries, vectors, 10)
    exact = diffuse(graph, top, iterations=1000, tolerance=1e-10)
    errors = [np.abs(diffuse(graph, top, iterations=n, tolerance=1e-10) - exact).max() for n in (1, 5, 20)]
    assert errors[0] > errors[1] > errors[2]


def test_photos_without_neighbours_keep_what_is_poured_into_them():
    vectors = np.eye(3, dtype=np.float32)
    graph = neighbour_graph(vectors, 2)
    assert graph.nnz == 0
    query = np.array([[0.6, 0.8, 0]], np.float32)
    scores = diffuse(graph, ranked(query, vectors, 3), num_start=3)
    assert np.allclose(scores, [[0.6**3, 0.8**3, 0]], atol=1e-6)


def test_a_query_unlike_everything_gives_zeros():
    vectors = np.abs(unit_rows(0, 8))
    scores = diffuse(neighbour_graph(vectors, 3), ranked(-vectors[:1], vectors, 8), num_start=8)
    assert (scores == 0).all()


def test_an_empty_gallery_has_an_empty_graph():
    assert neighbour_graph(np.empty((0, 4), np.float32)).shape == (0, 0)
    assert neighbour_graph(np.ones((1, 1), np.float32)).nnz == 0


def test_what_does_not_fit_is_refused():
    vectors = unit_rows(0, 6)
    graph = neighbour_graph(vectors, 2)
    places, similarities = ranked(vectors[:1], vectors, 3)
    with pytest.raises(ShapeError, match="0 to 5"):
        diffuse(graph, (places + 5, similarities))
    with pytest.raises(ShapeError, match="are needed, found 3"):
        diffuse(graph, (places, similarities))
    with pytest.raises(ShapeError, match="are needed, found 3"):
        diffuse(graph, (places, similarities), truncate=4)
    with pytest.raises(ShapeError, match="K=3"):
        diffuse(graph, (places, similarities[:, :2]), num_start=2)
    for wrong in ({"alpha": 1.0}, {"gamma": 0.0}, {"num_start": 0}, {"iterations": 0}):
        with pytest.raises(ShapeError, match="makes no sense"):
            diffuse(graph, (places, similarities), **({"num_start": 3} | wrong))
    with pytest.raises(ShapeError, match="gamma"):
        neighbour_graph(vectors, 2, gamma=0)


def test_without_scipy_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(BackendUnavailable, match="pip install 'glocal"):
        neighbour_graph(unit_rows(0, 3))
