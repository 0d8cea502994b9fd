import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import ShapeError
from glocal.evaluation import ranking
from glocal.evaluation.ranking import blocks_of, order_row, rank_exact


def naive_order(scores: np.ndarray) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.2500001, 0.5, 1.0]), min_size=1, max_size=60), st.data())
def test_places_are_those_of_a_stable_sort_also_among_equal_scores(values, data):
    scores = np.array(values, np.float32)
    photos = np.array(sorted(data.draw(st.sets(st.integers(0, len(values) - 1)))), np.int64)
    depth = data.draw(st.integers(0, len(values)))
    best, similarities, places = order_row(scores, photos, depth)
    order = naive_order(scores)
    assert best.tolist() == order[:depth]
    assert similarities.tolist() == scores[order[:depth]].tolist()
    assert places.tolist() == [order.index(photo) for photo in photos]


@pytest.mark.parametrize("depth", [0, 1, 100, 20_000])
def test_many_scores_that_share_bins_are_ranked_exactly(depth):
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1e-6, 10_000), rng.normal(0, 1, 10_000)]).astype(np.float32)
    photos = np.sort(rng.choice(20_000, 500, replace=False))
    best, _, places = order_row(scores, photos, depth)
    order = np.lexsort((np.arange(20_000), -scores))
    inverse = np.empty(20_000, np.int64)
    inverse[order] = np.arange(20_000)
    assert np.array_equal(best, order[:depth])
    assert np.array_equal(places, inverse[photos])


def test_passes_and_blocks_do_not_change_the_answer(monkeypatch):
    rng = np.random.default_rng(1)
    gallery, queries = (rng.standard_normal((n, 8)).astype(np.float32) for n in (300, 7))
    labelled = [np.arange(i, 300, 30) for i in range(7)]
    whole = rank_exact(blocks_of(gallery, 300), 300, queries, labelled, 300)
    monkeypatch.setattr(ranking, "SCORES_BYTES", 2 * 4 * 300)
    parts = rank_exact(blocks_of(gallery, 77), 300, queries, labelled, 20, threads=3)
    assert np.array_equal(whole.top[:, :20], parts.top)
    for i in range(7):
        assert np.array_equal(whole.places[i], parts.places[i])
        assert np.array_equal(whole.top[i][whole.places[i]], labelled[i])
        assert np.array_equal(parts.places_of(i, labelled[i][2:4]), whole.places[i][2:4])


def test_a_damaged_descriptor_is_named():
    gallery = np.ones((5, 2), np.float32)
    gallery[3, 0] = np.nan
    with pytest.raises(ShapeError, match="photo 3"):
        rank_exact(blocks_of(gallery), 5, np.ones((1, 2), np.float32), [np.array([0])], 5)


def test_another_number_of_descriptors_than_announced_is_refused():
    gallery = np.ones((5, 2), np.float32)
    for announced in (4, 6):
        with pytest.raises(ShapeError, match=f"{announced} descriptors were announced"):
            rank_exact(blocks_of(gallery), announced, np.ones((1, 2), np.float32), [np.array([0])], 1)


def test_of_a_turned_query_the_most_similar_way_counts_less_the_penalty():
    rng = np.random.default_rng(2)
    gallery = rng.standard_normal((40, 6)).astype(np.float32)
    ways = rng.standard_normal((3, 4, 6)).astype(np.float32)
    found = rank_exact(blocks_of(gallery, 7), 40, ways, [np.array([0])] * 3, 40, penalty=0.5)
    for query in range(3):
        scores = ways[query] @ gallery.T - np.array([[0], [0.5], [0.5], [0.5]], np.float32)
        assert np.array_equal(found.top[query], np.argsort(-scores.max(axis=0), kind="stable"))
