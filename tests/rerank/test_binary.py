import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ShapeError
from glocal.ops.homography import transfer
from glocal.ops.matching import match_mutual
from glocal.protocols import Reranker
from glocal.rerank.binary import SignReranker, hamming_distances, match_signs, pack_signs, signs_of, verify_signs
from glocal.rerank.geometric import GeometricReranker, VerificationOptions, verify_matches, verify_pair
from glocal.store.rows import SignFeatures
from glocal.types import LocalFeatures, Shortlist

SEEDS = st.integers(0, 2**31)
FEW = st.integers(1, 40)


def random_bits(seed, count, num_bytes):
    return np.random.default_rng(seed).integers(0, 256, (count, num_bytes), np.uint8)


def clustered_bits(seed, count, num_bytes):
    """Rows a few flips away from few centres: near neighbours, and many equally near ones."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).integers(0, 256, (5, num_bytes), np.uint8)
    flips = np.packbits(rng.random((count, 8 * num_bytes)) < 0.1, axis=1)
    return centres[rng.integers(0, 5, count)] ^ flips


def signs(bits):
    """The same rows as floats, +1 and -1."""
    return np.where(np.unpackbits(bits, axis=1), 1, -1).astype(np.float32)


def plus_minus(local):
    """Descriptors of ±1 / sqrt(d)."""
    return signs(pack_signs(local.descriptors)) / np.float32(np.sqrt(local.descriptors.shape[1]))


def naive_hamming(a, b):
    distances = np.zeros((len(a), len(b)), int)
    for i, left in enumerate(a.tolist()):
        for j, right in enumerate(b.tolist()):
            for x, y in zip(left, right, strict=True):
                for bit in range(8):
                    distances[i, j] += (x >> bit & 1) != (y >> bit & 1)
    return distances


def test_a_bit_says_whether_the_value_is_above_zero_and_the_first_channel_is_the_highest():
    row = np.array([[0.5, -0.5, 0.0, 1e-9, -1e-9, 2, -2, 3, 1, -1, -1, -1, -1, -1, -1, -1]], np.float32)
    assert pack_signs(row).tolist() == [[0b10010101, 0b10000000]]


def test_a_descriptor_of_128_numbers_takes_16_bytes():
    packed = pack_signs(np.random.default_rng(0).normal(size=(3, 128)).astype(np.float32))
    assert (packed.shape, packed.nbytes) == ((3, 16), 48)


def test_descriptors_that_fill_no_whole_byte_are_refused():
    with pytest.raises(ShapeError, match="multiple of 8, found 12"):
        pack_signs(np.ones((2, 12), np.float32))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, num_a=st.integers(0, 6), num_b=st.integers(0, 6), num_bytes=st.integers(1, 20))
def test_the_hamming_distance_equals_a_loop_over_bits(seed, num_a, num_b, num_bytes):
    a, b = random_bits(seed, num_a, num_bytes), random_bits(seed + 1, num_b, num_bytes)
    found = hamming_distances(a, b)
    assert found.shape == (num_a, num_b)
    assert (found == naive_hamming(a, b)).all()


@pytest.mark.parametrize(("num_a", "num_b", "num_bytes"), [(3, 40_000, 8), (200, 333, 16), (1, 1, 40), (5, 7, 64)])
def test_the_distances_do_not_depend_on_how_rows_are_cut_into_blocks(num_a, num_b, num_bytes):
    a, b = random_bits(1, num_a, num_bytes), random_bits(2, num_b, num_bytes)
    wanted = np.stack([np.unpackbits(row ^ b, axis=1).sum(axis=1) for row in a])
    assert (hamming_distances(a, b) == wanted).all()


def test_opposite_bits_of_a_long_descriptor_do_not_overflow():
    assert hamming_distances(np.zeros((1, 32), np.uint8), np.full((1, 32), 255, np.uint8))[0, 0] == 256
    assert hamming_distances(np.zeros((1, 128), np.uint8), np.full((1, 128), 255, np.uint8))[0, 0] == 1024


def test_bits_of_different_length_or_type_are_refused():
    with pytest.raises(ShapeError, match="B=16"):
        hamming_distances(random_bits(0, 2, 16), random_bits(0, 2, 8))
    with pytest.raises(ShapeError, match="must be uint8, found int8"):
        hamming_distances(random_bits(0, 2, 16).view(np.int8), random_bits(0, 2, 16))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, num_queries=FEW, num_targets=FEW, num_bytes=st.sampled_from([1, 2, 16]))
def test_neighbours_come_in_the_order_of_the_distances_of_plus_and_minus_one(seed, num_queries, num_targets, num_bytes):
    query, target = clustered_bits(seed, num_queries, num_bytes), clustered_bits(seed + 1, num_targets, num_bytes)
    squared = ((signs(query)[:, None] - signs(target)) ** 2).sum(axis=2)  # whole numbers: exact
    distances = hamming_distances(query, target)
    assert (squared == 4 * distances.astype(int)).all()
    assert (distances.argsort(axis=1, kind="stable") == squared.argsort(axis=1, kind="stable")).all()


# Rows of ±1 / sqrt(d) are exact floats where d is a power of four: then both give the same to the last tie.
@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    num_queries=FEW,
    num_targets=FEW,
    num_bytes=st.sampled_from([2, 8, 32]),
    max_ratio=st.sampled_from([0.5, 0.8, 0.9, 0.95, 1.0]),
)
def test_matches_are_those_of_the_float_version_on_plus_and_minus_one(
    seed, num_queries, num_targets, num_bytes, max_ratio
):
    query, target = clustered_bits(seed, num_queries, num_bytes), clustered_bits(seed + 1, num_targets, num_bytes)
    scale = np.float32(1 / np.sqrt(8 * num_bytes))
    wanted = match_mutual(signs(query) * scale, signs(target) * scale, max_ratio)
    found = match_signs(query, target, max_ratio)
    assert found.dtype == wanted.dtype == np.int64
    assert np.array_equal(found, wanted)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, num_queries=FEW, num_targets=FEW, max_distance=st.sampled_from([0.3, 0.6, 0.99, 1.7]))
def test_a_bound_keeps_the_matches_that_are_nearer_on_plus_and_minus_one(seed, num_queries, num_targets, max_distance):
    query, target = clustered_bits(seed, num_queries, 16), clustered_bits(seed + 1, num_targets, 16)
    a, b = (signs(bits).astype(float) / np.sqrt(128) for bits in (query, target))
    every = match_signs(query, target)
    near = np.linalg.norm(a[every[:, 0]] - b[every[:, 1]], axis=1) < max_distance
    assert np.array_equal(match_signs(query, target, max_distance=max_distance), every[near])


def test_the_bound_is_strict():
    zeros, two_set = np.zeros((1, 1), np.uint8), np.array([[0b11]], np.uint8)  # distance sqrt(4 * 2 / 8) = 1
    assert len(match_signs(zeros, two_set, max_distance=1.0)) == 0
    assert len(match_signs(zeros, two_set, max_distance=1.001)) == 1


def test_no_descriptors_give_no_matches():
    nothing = np.empty((0, 16), np.uint8)
    assert match_signs(nothing, random_bits(0, 3, 16)).shape == (0, 2)
    assert match_signs(random_bits(0, 3, 16), nothing, 0.9, 1.0).shape == (0, 2)


VIEW = np.array([[0.8, 0.1, 40.0], [-0.1, 0.9, 60.0], [2e-4, 1e-4, 1.0]])


def features(seed, count=300, name="x", size=(640, 480)):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = np.sort(rng.random(count).astype(np.float32))[::-1].copy()
    keypoints = (rng.random((count, 2)) * size).astype(np.float32)
    return LocalFeatures(name, size, keypoints, rows, scores, np.ones(count, np.float32))


def seen_from_aside(original, seed, true_matches=120):
    """Another photo; some descriptors are the original's, a little disturbed, at their places under a homography."""
    own = features(seed, len(original), "y")
    rng = np.random.default_rng(seed)
    keypoints, rows = own.keypoints.copy(), own.descriptors.copy()
    chosen = rng.permutation(len(original))[:true_matches]
    keypoints[chosen] = transfer(VIEW, original.keypoints[chosen]).astype(np.float32)
    rows[chosen] = original.descriptors[chosen] + rng.normal(size=(true_matches, 128)).astype(np.float32) * 0.03
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return LocalFeatures("y", own.size, keypoints, rows, own.scores, own.scales)


def test_the_signs_alone_verify_the_same_object():
    query = features(1)
    target = seen_from_aside(query, 2)
    found = verify_signs(query, target)
    assert 110 <= found.inliers <= 130
    where = query.keypoints[:50]
    assert np.abs(transfer(found.homography, where) - transfer(VIEW, where)).max() < 6
    assert verify_signs(query, features(3)).inliers < 10


def test_only_the_signs_of_the_descriptors_count():
    query = features(1)
    target = seen_from_aside(query, 2)
    flat = np.where(target.descriptors > 0, 1, -1).astype(np.float32) / np.float32(np.sqrt(128))
    coarse = LocalFeatures("y", target.size, target.keypoints, flat, target.scores, target.scales)
    a, b = verify_signs(query, target), verify_signs(query, coarse)
    assert a.inliers == b.inliers > 100
    assert np.array_equal(a.matches, b.matches)


def test_verifying_given_matches_is_what_the_fast_mode_does_with_its_own():
    query = features(1)
    target = seen_from_aside(query, 2)
    options = VerificationOptions(max_ratio=0.9, tolerance=0.02)
    whole = verify_pair(query, target, options)
    parts = verify_matches(query, target, match_mutual(query.descriptors, target.descriptors, 0.9), options)
    assert whole.inliers == parts.inliers > 100
    assert np.array_equal(whole.mask, parts.mask)
    assert np.array_equal(whole.homography, parts.homography)


def test_packed_signs_verify_as_the_descriptors_they_came_from():
    query = features(1)
    target = seen_from_aside(query, 2)
    wanted = verify_signs(query, target)
    for one, other in ((signs_of(query), target), (query, signs_of(target)), (signs_of(query), signs_of(target))):
        found = verify_signs(one, other)
        assert np.array_equal(found.matches, wanted.matches)
        assert np.array_equal(found.mask, wanted.mask)
        assert found.inliers > 100
    assert signs_of(signs_of(query)).bits.tobytes() == pack_signs(query.descriptors).tobytes()


def test_only_the_best_features_are_compared_if_so_asked():
    query = features(1)
    target = seen_from_aside(query, 2)
    found = verify_signs(query, target, VerificationOptions(max_features=60))
    assert found.matches.max() < 60
    assert 0 < found.inliers < verify_signs(query, target).inliers


def test_places_and_bits_of_different_number_are_refused():
    with pytest.raises(ShapeError, match=r"instead of .N, 2., uint8"):
        SignFeatures("x", (5, 5), np.zeros((3, 2), np.float32), random_bits(0, 4, 2))
    with pytest.raises(ShapeError, match="bits int8"):
        SignFeatures("x", (5, 5), np.zeros((4, 2), np.float32), random_bits(0, 4, 2).view(np.int8))


@pytest.mark.parametrize("packed", [True, False])
def test_the_reranker_orders_by_the_inliers_of_signs_and_turns_the_query(packed):
    query, other = features(1), features(30)
    strong, weak = seen_from_aside(query, 2, 150), seen_from_aside(query, 3, 60)
    targets = {"weak": weak, "none": features(50), "strong": strong, "late": strong}
    kept = {name: signs_of(each) for name, each in targets.items()} if packed else targets
    shortlist = Shortlist("q", tuple(targets), np.array([0.9, 0.8, 0.7, 0.1], np.float32))
    reranker = SignReranker(kept.__getitem__, VerificationOptions(depth=3))
    assert isinstance(reranker, Reranker)
    hits = reranker.rerank([other, query, other], shortlist)
    assert [hit.id for hit in hits] == ["strong", "weak", "none", "late"]
    assert hits[-1].verification is None
    for hit in hits[:2]:
        alone = verify_signs(query, targets[hit.id])
        assert (hit.verification.inliers, hit.verification.turn) == (alone.inliers, 1)
        assert np.array_equal(hit.verification.homography, alone.homography)
    # Signs of floats and ±1 as floats are one and the same thing.
    flat = {name: dataclasses.replace(each, descriptors=plus_minus(each)) for name, each in targets.items()}
    ways = [dataclasses.replace(each, descriptors=plus_minus(each)) for each in (other, query, other)]
    by_floats = GeometricReranker(flat.__getitem__, VerificationOptions(depth=3)).rerank(ways, shortlist)
    assert [hit.id for hit in by_floats] == [hit.id for hit in hits]
    assert abs(by_floats[0].verification.inliers - hits[0].verification.inliers) <= 3
