import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from glocal.evaluation.places import Head, candidates_of, places_after
from glocal.evaluation.ranking import blocks_of, rank_exact


def ranking_of(scores: np.ndarray, labelled: np.ndarray):
    """Of a gallery on a line: the similarity of a photo is its coordinate."""
    return rank_exact(blocks_of(scores[:, None]), len(scores), np.ones((1, 1), np.float32), [labelled], len(scores))


@given(st.integers(0, 2**31), st.integers(0, 12), st.booleans())
def test_places_after_re_ranking_are_those_of_the_list_written_out(seed, depth, excludes):
    rng = np.random.default_rng(seed)
    size = 30
    scores = rng.standard_normal(size).astype(np.float32)
    labelled = np.sort(rng.choice(size, 12, replace=False))
    right, junk = labelled[::2], labelled[1::2]
    ranking = ranking_of(scores, labelled)
    chosen = candidates_of(ranking, 0, junk, depth, excludes)
    head = Head(rng.permutation(chosen), None, excludes)

    order = np.argsort(-scores, kind="stable").tolist()
    if excludes:
        order = [photo for photo in order if photo not in junk]
    assert sorted(order[:depth]) == sorted(chosen.tolist())
    written_out = head.photos.tolist() + order[depth:]

    places, ignored = places_after(ranking, 0, right, junk, head)
    assert places.tolist() == [written_out.index(photo) for photo in right]
    assert ignored.tolist() == ([] if excludes else [written_out.index(photo) for photo in junk])


def test_without_a_head_the_places_are_those_of_the_ranking():
    scores = np.array([0.1, 0.9, 0.5, 0.7], np.float32)
    ranking = ranking_of(scores, np.array([0, 2, 3]))
    places, ignored = places_after(ranking, 0, np.array([0, 2]), np.array([3]), None)
    assert places.tolist() == [3, 2]
    assert ignored.tolist() == [1]
