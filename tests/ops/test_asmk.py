import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ShapeError
from glocal.ops.asmk import (
    Aggregated,
    aggregate,
    inverse_document_frequency,
    nearest_words,
    selectivity,
    similarity,
)


def unit_rows(rng, count, length):
    rows = rng.normal(size=(count, length)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def naive_aggregate(descriptors, codebook, assignments):
    """word -> sum of residuals, one descriptor and one word at a time."""
    sums = {}
    for row in descriptors.astype(np.float64):
        by_distance = sorted(range(len(codebook)), key=lambda w: np.linalg.norm(row - codebook[w]))
        for word in by_distance[:assignments]:
            sums[word] = sums.get(word, np.zeros(len(row))) + row - codebook[word]
    return sums


def naive_similarity(a, b, alpha, tau, idf, binary):
    def vector(residual):
        return (
            np.where(residual > 0, 1, -1) / math.sqrt(len(residual)) if binary else residual / np.linalg.norm(residual)
        )

    def kernel(x, y):
        total = 0.0
        for word in set(x) & set(y):
            u = float(vector(x[word]) @ vector(y[word]))
            if u > tau:
                total += idf[word] ** 2 * math.copysign(abs(u) ** alpha, u)
        return total

    return kernel(a, b) / math.sqrt(kernel(a, a) * kernel(b, b))


@pytest.mark.parametrize("assignments", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 3, 8, 17])
def test_it_aggregates_as_a_naive_loop_does(assignments, length):
    rng = np.random.default_rng(length)
    descriptors = rng.normal(size=(23, length)).astype(np.float32)
    codebook = rng.normal(size=(7, length)).astype(np.float32)
    expected = naive_aggregate(descriptors, codebook, assignments)
    plain = aggregate(descriptors, codebook, assignments, binary=False)
    signs = aggregate(descriptors, codebook, assignments)
    assert plain.words.tolist() == signs.words.tolist() == sorted(expected)
    assert not plain.is_binary
    assert signs.is_binary
    unpacked = np.unpackbits(signs.vectors, axis=1, count=length)
    for place, word in enumerate(sorted(expected)):
        residual = expected[word]
        assert np.allclose(plain.vectors[place], residual / np.linalg.norm(residual), atol=1e-4)
        assert (unpacked[place] == (residual > 0)).all()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("alpha", "tau"), [(3.0, 0.0), (1.0, -1.5), (2.0, 0.3)])
def test_the_similarity_is_that_of_a_naive_loop(binary, alpha, tau):
    rng = np.random.default_rng(5)
    codebook = unit_rows(rng, 6, 12)
    idf = rng.uniform(0.1, 2, 6).astype(np.float32)
    left, right = unit_rows(rng, 14, 12), unit_rows(rng, 9, 12)
    a, b = aggregate(left, codebook, 2, binary), aggregate(right, codebook, 1, binary)
    sums = naive_aggregate(left, codebook, 2), naive_aggregate(right, codebook, 1)
    assert similarity(a, b, alpha, tau, idf) == pytest.approx(
        naive_similarity(*sums, alpha, tau, idf, binary), abs=1e-5
    )
    assert similarity(a, b, alpha, tau) == pytest.approx(
        naive_similarity(*sums, alpha, tau, np.ones(6), binary), abs=1e-5
    )


def test_a_similarity_by_hand():
    # Of 8 signs 2 differ on word 1: u = 1 - 2 * 2/8 = 0.5, cubed 0.125. a has 2 words, b 3: 0.125 / sqrt(6).
    a = Aggregated(np.array([1, 4], np.int32), np.array([[0b11110000], [0]], np.uint8), 8)
    b = Aggregated(np.array([0, 1, 5], np.int32), np.array([[0], [0b11000000], [7]], np.uint8), 8)
    assert similarity(a, b) == pytest.approx(0.125 / math.sqrt(6), abs=1e-7)
    assert similarity(a, b, tau=0.5) == 0
    # With weights: 2^2 * 0.125 / sqrt((2^2 + 3^2) (1 + 2^2 + 1)).
    idf = np.array([1, 2, 1, 1, 3, 1], np.float32)
    assert similarity(a, b, idf=idf) == pytest.approx(0.5 / math.sqrt(13 * 6), abs=1e-7)


def test_bits_that_fill_the_last_byte_do_not_count():
    a = Aggregated(np.array([0], np.int32), np.array([[0b11100000]], np.uint8), 3)
    b = Aggregated(np.array([0], np.int32), np.array([[0b11000000]], np.uint8), 3)
    assert similarity(a, b, alpha=1) == pytest.approx(1 / 3, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    counts=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    binary=st.booleans(),
    assignments=st.integers(1, 3),
)
def test_it_is_symmetric_one_with_itself_and_never_more(seed, counts, binary, assignments):
    rng = np.random.default_rng(seed)
    codebook = unit_rows(rng, 5, 9)
    a = aggregate(unit_rows(rng, counts[0], 9), codebook, assignments, binary)
    b = aggregate(unit_rows(rng, counts[1], 9), codebook, 1, binary)
    same = Aggregated(a.words.copy(), a.vectors.copy(), a.dim)
    assert similarity(a, b) == pytest.approx(similarity(b, a), abs=1e-6)
    assert similarity(a, a) == pytest.approx(1, abs=1e-5)
    assert similarity(a, same) == pytest.approx(1, abs=1e-5)
    assert -1e-6 <= similarity(a, b) <= 1 + 1e-5
    assert similarity(a, b, tau=-2) >= -1 - 1e-5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 30))
def test_the_order_of_descriptors_does_not_matter(seed, count):
    rng = np.random.default_rng(seed)
    descriptors, codebook = unit_rows(rng, count, 6), unit_rows(rng, 4, 6)
    a = aggregate(descriptors, codebook, 2, binary=False)
    b = aggregate(rng.permutation(descriptors), codebook, 2, binary=False)
    assert a.words.tolist() == b.words.tolist()
    assert np.allclose(a.vectors, b.vectors, atol=1e-3)


@given(values=st.lists(st.floats(-1, 1, width=32), max_size=20), alpha=st.sampled_from([1.0, 2.0, 3.0]))
def test_the_selectivity_is_the_power_with_its_sign_above_the_threshold(values, alpha):
    found = selectivity(np.array(values, np.float32), alpha, 0.25)
    assert np.allclose(found, [v**alpha if v > 0.25 else 0 for v in values], atol=1e-6)
    odd = selectivity(np.array(values, np.float32), alpha, -2)
    assert np.allclose(odd, [math.copysign(abs(v) ** alpha, v) for v in values], atol=1e-6)


def test_a_photo_without_features_is_like_none():
    codebook = unit_rows(np.random.default_rng(0), 3, 4)
    nothing = aggregate(np.empty((0, 4), np.float32), codebook)
    something = aggregate(codebook + 0.1, codebook)
    assert len(nothing) == 0
    assert similarity(nothing, something) == 0
    assert similarity(nothing, nothing) == 0


def test_a_descriptor_that_is_a_word_does_not_become_nan():
    codebook = np.eye(3, dtype=np.float32)
    exact = aggregate(codebook[:1], codebook, binary=False)
    assert (exact.vectors == 0).all()
    assert similarity(exact, exact) == 0


def test_more_assignments_than_words_give_every_word():
    codebook = unit_rows(np.random.default_rng(0), 3, 4)
    assert sorted(nearest_words(codebook[:1], codebook, 5)[0]) == [0, 1, 2]


def test_the_weights_of_words_are_the_logarithm_of_their_rarity():
    photos = [
        Aggregated(np.array(words, np.int32), np.zeros((len(words), 1), np.uint8), 8) for words in ([0, 1], [1], [1, 3])
    ]
    expected = [math.log(3), 0, math.log(3), math.log(3)]
    assert np.allclose(inverse_document_frequency(photos, 4), expected, atol=1e-6)
    with pytest.raises(ShapeError, match="0 to 2"):
        inverse_document_frequency(photos, 3)


def test_photos_that_were_aggregated_otherwise_are_refused():
    rng = np.random.default_rng(0)
    descriptors, codebook = unit_rows(rng, 4, 8), unit_rows(rng, 3, 8)
    signs = aggregate(descriptors, codebook)
    with pytest.raises(ShapeError, match="8 signs and 8 numbers"):
        similarity(signs, aggregate(descriptors, codebook, binary=False))
    with pytest.raises(ShapeError, match="8 signs and 7 signs"):
        similarity(signs, aggregate(descriptors[:, :7], codebook[:, :7]))
    with pytest.raises(ShapeError, match="no weight"):
        similarity(signs, signs, idf=np.ones(1, np.float32))


def test_arrays_that_do_not_fit_are_refused():
    words = np.array([0, 2], np.int32)
    with pytest.raises(ShapeError, match="ascending"):
        Aggregated(words[::-1].copy(), np.zeros((2, 1), np.uint8), 8)
    with pytest.raises(ShapeError, match="W=2"):
        Aggregated(words, np.zeros((3, 1), np.uint8), 8)
    with pytest.raises(ShapeError, match="d=2"):
        Aggregated(words, np.zeros((2, 1), np.uint8), 9)
    with pytest.raises(ShapeError, match="int64"):
        Aggregated(words.astype(np.int64), np.zeros((2, 1), np.uint8), 8)
    with pytest.raises(ShapeError, match="d=5"):
        aggregate(np.zeros((2, 4), np.float32), np.zeros((3, 5), np.float32))
    with pytest.raises(ShapeError, match="at least"):
        aggregate(np.zeros((2, 4), np.float32), np.zeros((0, 4), np.float32))
