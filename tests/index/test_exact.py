import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ShapeError
from glocal.index.exact import ExactIndex, best_of, search_blocks
from glocal.protocols import Index
from glocal.types import Descriptors


def descriptors(seed, count, length=6, prefix="p"):
    rows = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Descriptors(tuple(f"{prefix}{i:04}" for i in range(count)), rows)


def test_it_fits_the_protocol():
    assert isinstance(ExactIndex(), Index)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 60), k=st.integers(1, 70), block=st.integers(1, 60))
def test_blocks_of_any_size_give_the_answer_of_a_full_sort(seed, count, k, block):
    gallery, queries = descriptors(seed, count), descriptors(seed + 1, 3, prefix="q")
    blocks = [Descriptors(gallery.ids[i : i + block], gallery.vectors[i : i + block]) for i in range(0, count, block)]
    for query, shortlist in zip(queries.vectors, search_blocks(blocks, queries, k), strict=True):
        similarities = gallery.vectors.astype(np.float64) @ query
        expected = np.sort(similarities)[::-1][:k]
        assert np.allclose(shortlist.similarities, expected, atol=1e-5)
        assert len(set(shortlist.ids)) == min(k, count)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 60),
    k=st.integers(1, 70),
    ways=st.integers(1, 4),
    penalty=st.sampled_from([0.0, 0.3]),
)
def test_of_several_ways_to_describe_a_query_the_best_counts(seed, count, k, ways, penalty):
    gallery, queries = descriptors(seed, count), descriptors(seed + 1, ways, prefix="q")
    found = best_of(ExactIndex([gallery]).search(queries, k), k, penalty)
    less = np.array([0.0, penalty, penalty, penalty])[:ways, None]
    expected = (queries.vectors @ gallery.vectors.T - less).max(axis=0)
    assert np.allclose(found.similarities, np.sort(expected)[::-1][:k], atol=1e-6)
    assert [expected[gallery.ids.index(name)] for name in found.ids] == pytest.approx(found.similarities, abs=1e-6)


def test_equal_similarities_are_ordered_by_id_across_blocks():
    one = descriptors(0, 1).vectors
    blocks = [Descriptors((name,), one) for name in ("c", "a", "d", "b")]
    (shortlist,) = search_blocks(blocks, Descriptors(("q",), one), 3)
    assert shortlist.ids == ("a", "b", "c")


def test_an_empty_index_gives_an_empty_shortlist():
    (shortlist,) = ExactIndex().search(descriptors(0, 1), 5)
    assert shortlist.ids == ()


def test_an_id_twice_or_another_length_is_refused():
    index = ExactIndex([descriptors(0, 3)])
    with pytest.raises(ShapeError, match="p0000"):
        index.add(descriptors(1, 1))
    with pytest.raises(ShapeError, match="6 numbers, not 7"):
        index.add(descriptors(1, 1, 7, "x"))
    with pytest.raises(ShapeError):
        index.search(descriptors(1, 1, 7), 2)
    assert len(index) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_vectors_that_are_not_finite_and_of_unit_norm_never_get_in(bad):
    rows = descriptors(0, 2).vectors.copy()
    rows[1] = bad
    with pytest.raises(ShapeError, match="unit norm"):
        Descriptors(("a", "b"), rows)
