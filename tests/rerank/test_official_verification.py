import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import BackendUnavailable, ConfigError, ShapeError
from glocal.ops.homography import transfer
from glocal.protocols import Reranker
from glocal.rerank.geometric import verify_pair
from glocal.rerank.official import (
    TENSORFLOW,
    TORCH,
    OfficialOptions,
    OfficialReranker,
    candidates_to_verify,
    nearest_matches,
    order_tensorflow,
    order_torch,
    verify_tensorflow,
    verify_torch,
)
from glocal.types import LocalFeatures, Shortlist, Verification

QUICK = OfficialOptions(max_trials=200)
AFFINE = np.array([[0.9, 0.3, 20.0], [-0.2, 0.7, 90.0], [0, 0, 1]])
VIEW = np.array([[0.8, 0.1, 40.0], [-0.1, 0.9, 60.0], [2e-4, 1e-4, 1.0]])


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def local(keypoints, descriptors, name="x", size=(640, 480)):
    count = len(keypoints)
    falling = np.linspace(1, 0, count, dtype=np.float32)
    return LocalFeatures(name, size, np.asarray(keypoints, np.float32), descriptors, falling, np.ones_like(falling))


def features(seed, count=60, length=32):
    rng = np.random.default_rng(seed)
    return local(rng.random((count, 2)) * (640, 480), unit(rng.normal(size=(count, length))))


def seen_from_aside(original, seed, true_matches, homography):
    """Another photo: the first keypoints are the original's under a homography, the others are its own."""
    own = features(seed, len(original), original.descriptors.shape[1])
    keypoints, rows = own.keypoints.copy(), own.descriptors.copy()
    keypoints[:true_matches] = transfer(homography, original.keypoints[:true_matches])
    rows[:true_matches] = original.descriptors[:true_matches]
    return local(keypoints, rows, "y")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num_queries=st.integers(1, 20),
    num_targets=st.integers(1, 20),
    threshold=st.sampled_from([0.5, 0.9, 1.2, 3.0]),
    max_ratio=st.sampled_from([None, 0.7, 0.95]),
)
def test_putative_matches_equal_a_naive_loop(seed, num_queries, num_targets, threshold, max_ratio):
    query, target = features(seed, num_queries, 4), features(seed + 1, num_targets, 4)
    options = OfficialOptions(distance_threshold=threshold, max_ratio=max_ratio)
    wanted = []
    for i, row in enumerate(query.descriptors.astype(float)):
        distances = [float(np.sqrt(((row - other) ** 2).sum())) for other in target.descriptors.astype(float)]
        near = sorted(range(num_targets), key=distances.__getitem__)
        bound = threshold
        if max_ratio is not None:
            bound = max_ratio * distances[near[1]] if num_targets > 1 else np.inf
        if distances[near[0]] < bound:
            wanted.append([i, near[0]])
    assert nearest_matches(query, target, options).tolist() == wanted


def test_the_distance_has_to_be_below_the_bound():
    query, target = local([[0, 0]], np.array([[1, 0]], np.float32)), local([[0, 0]], np.array([[-1, 0]], np.float32))
    assert len(nearest_matches(query, target, OfficialOptions(distance_threshold=2.0))) == 0
    assert len(nearest_matches(query, target, OfficialOptions(distance_threshold=2.001))) == 1


def test_several_query_descriptors_may_share_one_target():
    query = local(np.zeros((3, 2)), unit(np.array([[1.0, 0], [1, 0.1], [0, 1]])))
    target = local(np.zeros((2, 2)), np.array([[1, 0], [-1, 0]], np.float32))
    assert nearest_matches(query, target, OfficialOptions(distance_threshold=1.0)).tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(("verify", "most_too_few"), [(verify_tensorflow, 3), (verify_torch, 4)])
def test_up_to_so_many_putative_matches_count_as_none(verify, most_too_few):
    for count in range(1, 8):
        query = features(1, count)
        target = local(query.keypoints + 5, query.descriptors)
        found = verify(query, target)
        assert len(found.matches) == count
        assert found.inliers == (0 if count <= most_too_few else count)


def test_the_tensorflow_model_maps_query_to_target_in_x_and_y():
    query = features(1)
    found = verify_tensorflow(query, seen_from_aside(query, 2, 45, AFFINE), QUICK)
    assert 45 <= found.inliers <= 48
    assert found.mask[found.matches[:, 0] < 45].all()
    assert np.abs(transfer(found.homography, query.keypoints) - transfer(AFFINE, query.keypoints)).max() < 3
    assert np.allclose(found.homography[2], [0, 0, 1])
    assert np.allclose(found.target_quad, transfer(found.homography, found.query_quad))


def test_the_torch_homography_maps_query_to_target():
    query = features(1)
    found = verify_torch(query, seen_from_aside(query, 2, 45, VIEW))
    assert 45 <= found.inliers <= 50
    assert np.abs(transfer(found.homography, query.keypoints) - transfer(VIEW, query.keypoints)).max() < 6


def test_the_residual_of_an_inlier_is_below_the_threshold():
    query = features(1)
    moved = query.keypoints.copy()
    moved[0] += (30, 40)  # 50 pixels away
    target = local(moved, query.descriptors)
    for threshold, inliers in ((45.0, 59), (60.0, 60)):
        options = OfficialOptions(residual_threshold=threshold, max_trials=300)
        assert verify_tensorflow(query, target, options).inliers == inliers


def test_the_official_models_accept_a_mirrored_photo_which_the_fast_mode_refuses():
    query = features(1)
    target = seen_from_aside(query, 2, 45, np.array([[-1.0, 0, 639], [0, 1, 0], [0, 0, 1]]))
    assert verify_pair(query, target).inliers == 0
    assert verify_tensorflow(query, target, QUICK).inliers >= 45
    assert verify_torch(query, target).inliers >= 45


def test_inliers_of_a_model_without_inverse_come_without_a_homography():
    target = features(1)
    on_a_line = local(target.keypoints * (1, 0) + (0, 7), target.descriptors)
    found = verify_tensorflow(on_a_line, target, QUICK)
    assert (found.inliers, found.homography, found.target_quad) == (60, None, None)


def test_a_rectangle_that_reaches_behind_the_camera_is_not_given():
    bends = np.array([[1.0, 0, 0], [0, 1, 0], [-2e-3, -2e-3, 1]])  # points with x + y = 500 have no image
    corner = np.random.default_rng(1).dirichlet((1, 1, 1), 60)[:, :2] * 430  # x + y < 430
    query = local(corner, features(1).descriptors)
    found = verify_torch(query, local(transfer(bends, query.keypoints), query.descriptors))
    assert found.inliers == 60
    assert found.query_quad is None
    assert found.target_quad is None
    assert np.abs(transfer(found.homography, query.keypoints) - transfer(bends, query.keypoints)).max() < 1


@pytest.mark.parametrize("verify", [verify_tensorflow, verify_torch])
def test_keypoints_all_in_one_place_do_no_harm(verify):
    query = features(1)
    piled = local(np.full_like(query.keypoints, 7), query.descriptors)
    for pair in ((query, piled), (piled, query), (piled, piled)):
        found = verify(*pair)
        assert found.homography is None or np.isfinite(found.homography).all()
        assert found.target_quad is None or np.isfinite(found.target_quad).all()


@pytest.mark.parametrize("verify", [verify_tensorflow, verify_torch])
def test_without_features_nothing_is_verified(verify):
    nothing = local(np.empty((0, 2)), np.empty((0, 32), np.float32))
    for pair in ((nothing, features(1)), (features(1), nothing), (nothing, nothing)):
        found = verify(*pair)
        assert (found.inliers, found.homography, found.matches.shape) == (0, None, (0, 2))


@pytest.mark.parametrize("verify", [verify_tensorflow, verify_torch])
def test_descriptors_of_different_length_are_refused(verify):
    with pytest.raises(ShapeError, match="d=32"):
        verify(features(1), features(1, length=16))


def test_the_answer_is_the_same_on_every_run_and_the_seed_draws_other_samples():
    query, target = features(1), features(2)
    loose = {"distance_threshold": 3.0, "max_trials": 30}
    answers = [
        verify_tensorflow(query, target, OfficialOptions(seed=seed, **loose)).mask.tobytes() for seed in (0, 0, 1, 2, 3)
    ]
    assert answers[0] == answers[1]
    assert len(set(answers)) > 1


TIED = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.5, -1.0])), max_size=30)


@given(TIED)
def test_the_tensorflow_order_is_that_of_sorted_pairs(pairs):
    inliers = np.array([pair[0] for pair in pairs], np.int64)
    similarities = np.array([pair[1] for pair in pairs], np.float32)
    wanted = sorted(range(len(pairs)), key=lambda i: pairs[i], reverse=True)  # reversed sorting is stable too
    assert order_tensorflow(inliers, similarities).tolist() == wanted


@given(st.lists(st.integers(0, 3), max_size=30))
def test_the_torch_order_is_by_inliers_and_ties_stay(counts):
    wanted = sorted(range(len(counts)), key=lambda i: -counts[i])
    assert order_torch(np.array(counts, np.int64)).tolist() == wanted
    assert order_torch(np.array(counts, np.uint8)).tolist() == wanted


def test_an_order_of_unequal_lengths_is_refused():
    with pytest.raises(ShapeError, match="similarities"):
        order_tensorflow(np.zeros(3, np.int64), np.zeros(2, np.float32))


def test_junk_takes_no_place_among_the_candidates():
    similarities = np.array([0.1, 0.9, 0.5, 0.9, 0.7], np.float32)
    assert candidates_to_verify(similarities, 3).tolist() == [1, 3, 4]
    assert candidates_to_verify(similarities, 3, {1, 4}).tolist() == [3, 2, 0]
    assert candidates_to_verify(similarities, 9, [2]).tolist() == [1, 3, 4, 0]


def test_of_equally_similar_photos_the_first_are_candidates():
    similarities = np.random.default_rng(0).choice(np.array([0.1, 0.5, 0.9], np.float32), 1000)
    wanted = sorted(range(50, 1000), key=lambda i: -similarities[i])[:500]
    assert candidates_to_verify(similarities, 500, range(50)).tolist() == wanted


def test_the_reranker_orders_as_its_program_does():
    query = features(1)
    targets = {
        "few": seen_from_aside(query, 3, 20, AFFINE),
        "none": local(query.keypoints[:3], query.descriptors[:3]),
        "many": seen_from_aside(query, 2, 50, AFFINE),
        "late": seen_from_aside(query, 2, 60, AFFINE),
    }
    shortlist = Shortlist("q", tuple(targets), np.array([0.9, 0.8, 0.7, 0.6], np.float32))
    for options in (OfficialOptions(depth=3, max_trials=200), OfficialOptions("torch", 0.99, depth=3)):
        reranker = OfficialReranker(targets.__getitem__, options)
        assert isinstance(reranker, Reranker)
        hits = reranker.rerank([query, features(9)], shortlist)
        assert [hit.id for hit in hits] == ["many", "few", "none", "late"]
        assert [hit.rank for hit in hits] == [1, 2, 3, 4]
        assert [hit.verification is None for hit in hits] == [False, False, False, True]
        assert hits[0].similarity == pytest.approx(0.7)


def test_behind_its_window_the_torch_program_changes_nothing():
    counts = {"a": 1, "b": 2, "c": 9}
    verified = {
        name: Verification(count, None, np.zeros((count, 2), np.int64), np.ones(count, np.bool_))
        for name, count in counts.items()
    }
    shortlist = Shortlist("q", ("a", "b", "c", "d"), np.array([0.9, 0.8, 0.7, 0.6], np.float32))
    for program, order in (("torch", "bacd"), ("tensorflow", "cbad")):
        hits = OfficialReranker({}.__getitem__, OfficialOptions(program, depth=2)).order(shortlist, verified)
        assert "".join(hit.id for hit in hits) == order


def test_the_defaults_are_the_published_settings():
    assert (TENSORFLOW.program, TENSORFLOW.distance_threshold, TENSORFLOW.max_ratio) == ("tensorflow", 1.0, None)
    assert (TORCH.program, TORCH.distance_threshold, TORCH.max_ratio) == ("torch", 0.99, None)
    for options in (TENSORFLOW, TORCH):
        assert (options.residual_threshold, options.max_trials, options.depth, options.seed) == (20.0, 1000, 100, 0)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"program": "jax"}, 'no program "jax" → tensorflow or torch'),
        ({"distance_threshold": 0.0}, "distance_threshold must be above 0, not 0.0"),
        ({"max_ratio": float("nan")}, "max_ratio must be above 0, not nan"),
        ({"residual_threshold": float("inf")}, "residual_threshold"),
        ({"max_trials": 0}, "max_trials"),
        ({"depth": -1}, "depth"),
        ({"seed": -1}, "seed must be 0 or above"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(fields, complaint):
    with pytest.raises(ConfigError, match=complaint):
        OfficialOptions(**fields)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(BackendUnavailable, match=r"needs scipy → pip install 'glocal\[eval\]'"):
        verify_torch(features(1), features(2))
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(BackendUnavailable, match=r"needs scikit-image → pip install 'glocal\[eval\]'"):
        verify_tensorflow(features(1), features(2))
