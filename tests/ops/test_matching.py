import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ShapeError
from glocal.ops.matching import match_mutual


def unit_rows(seed, count, length=8):
    rows = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def naive(query, target, max_ratio):
    distances = np.linalg.norm(query[:, None].astype(np.float64) - target[None], axis=2)
    pairs = []
    for i in range(len(query)):
        order = np.argsort(distances[i])
        j = order[0]
        if np.argmin(distances[:, j]) != i:
            continue
        if len(target) > 1 and max_ratio < 1 and distances[i, j] >= max_ratio * distances[i, order[1]]:
            continue
        pairs.append((i, j))
    return pairs


@pytest.mark.parametrize("num_queries", [1, 2, 3, 17])
@pytest.mark.parametrize("num_targets", [1, 2, 3, 17])
@pytest.mark.parametrize("max_ratio", [0.8, 0.95, 1.0])
def test_it_equals_a_naive_loop(num_queries, num_targets, max_ratio):
    query, target = unit_rows(1, num_queries), unit_rows(2, num_targets)
    assert [tuple(pair) for pair in match_mutual(query, target, max_ratio).tolist()] == naive(query, target, max_ratio)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 30))
def test_every_descriptor_matches_itself_in_a_shuffled_copy(seed, count):
    rows = unit_rows(seed, count, 16)
    shuffle = np.random.default_rng(seed).permutation(count)
    matches = match_mutual(rows, rows[shuffle], 0.9)
    assert (shuffle[matches[:, 1]] == matches[:, 0]).all()
    assert len(matches) == count


def test_no_descriptors_give_no_matches():
    nothing = np.empty((0, 8), np.float32)
    assert match_mutual(nothing, unit_rows(0, 3)).shape == (0, 2)
    assert match_mutual(unit_rows(0, 3), nothing).shape == (0, 2)


def test_descriptors_of_different_length_are_refused():
    with pytest.raises(ShapeError, match="d=8"):
        match_mutual(unit_rows(0, 3, 8), unit_rows(0, 3, 9))
