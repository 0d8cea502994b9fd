import numpy as np
import pytest

from glocal.ops.homography import transfer
from glocal.protocols import Reranker
from glocal.rerank.geometric import GeometricReranker, VerificationOptions, verify_pair, verify_turns
from glocal.types import LocalFeatures, Shortlist, Verification

VIEW = np.array([[0.8, 0.1, 40.0], [-0.1, 0.9, 60.0], [2e-4, 1e-4, 1.0]])


def features(seed, count=300, name="x", size=(640, 480)):
    rng = np.random.default_rng(seed)
    rows = np.abs(rng.normal(size=(count, 32))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    keypoints = (rng.random((count, 2)) * size).astype(np.float32)
    scores = np.sort(rng.random(count).astype(np.float32))[::-1].copy()
    return LocalFeatures(name, size, keypoints, rows, scores, np.ones(count, np.float32))


def seen_from_aside(original, seed, true_matches=120, homography=VIEW, name="y"):
    """Another photo: some keypoints are the original's under a homography, the others are its own."""
    own = features(seed, len(original), name)
    keypoints, rows = own.keypoints.copy(), own.descriptors.copy()
    chosen = np.random.default_rng(seed).permutation(len(original))[:true_matches]
    keypoints[chosen] = transfer(homography, original.keypoints[chosen]).astype(np.float32)
    rows[chosen] = original.descriptors[chosen]
    return LocalFeatures(name, own.size, keypoints, rows, own.scores, own.scales)


def test_it_fits_the_protocol():
    assert isinstance(GeometricReranker({}.__getitem__), Reranker)


def test_the_true_matches_and_only_they_are_inliers():
    query = features(1)
    found = verify_pair(query, seen_from_aside(query, 2))
    assert 110 <= found.inliers <= 130
    where = query.keypoints[:50]
    assert np.abs(transfer(found.homography, where) - transfer(VIEW, where)).max() < 6
    assert found.homography[2, 2] == 1


def test_unrelated_photos_have_hardly_any_inliers():
    counts = [verify_pair(features(i), features(i + 100)).inliers for i in range(10)]
    assert max(counts) < 10


def test_the_inliers_are_the_same_on_every_run_and_with_any_number_of_threads():
    query = features(1)
    targets = {f"{i}": seen_from_aside(query, i, 20 + i, name=f"{i}") for i in range(12)}
    shortlist = Shortlist("q", tuple(targets), np.linspace(0.9, 0.5, 12).astype(np.float32))
    answers = []
    for threads in (1, 2, 4, 1):
        hits = GeometricReranker(targets.__getitem__, VerificationOptions(threads=threads)).rerank([query], shortlist)
        answers.append([(hit.id, hit.verification.mask.tobytes()) for hit in hits])
    assert all(answer == answers[0] for answer in answers)


def test_of_several_ways_to_turn_the_query_the_one_with_most_inliers_counts():
    query = features(1)
    other = features(3)
    target = seen_from_aside(query, 2)
    found = verify_turns([other, other, query, other], target)
    assert found.turn == 2
    assert found.inliers == verify_pair(query, target).inliers > 100
    assert verify_turns([query, query], target).turn == 0


def test_hits_are_ordered_by_inliers_and_ties_by_similarity():
    query = features(1)
    strong, weak = seen_from_aside(query, 2, 150), seen_from_aside(query, 3, 60)
    targets = {"weak": weak, "none": features(50), "strong": strong, "strong too": strong, "late": strong}
    shortlist = Shortlist("q", tuple(targets), np.array([0.9, 0.8, 0.6, 0.7, 0.1], np.float32)[[0, 1, 3, 2, 4]])
    hits = GeometricReranker(targets.__getitem__, VerificationOptions(depth=4)).rerank([query], shortlist)
    assert [hit.id for hit in hits] == ["strong", "strong too", "weak", "none", "late"]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert hits[-1].verification is None


def test_candidates_with_inliers_by_chance_come_behind_the_others_by_similarity():
    verified = {
        name: Verification(count, None, np.zeros((count, 2), np.int64), np.ones(count, np.bool_))
        for name, count in {"a": 5, "b": 9, "c": 7, "d": 30}.items()
    }
    shortlist = Shortlist("query", ("a", "b", "u", "c", "d"), np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32))
    for least, weight, order in (
        (0, 0, "dbcau"),
        (8, 0, "dbauc"),
        (31, 0, "abucd"),
        (31, 0.2, "badcu"),
        (10, 0.1, "dabcu"),
    ):
        options = VerificationOptions(least=least, inlier_weight=weight)
        hits = GeometricReranker(lambda _: None, options).order(shortlist, verified)
        assert "".join(hit.id for hit in hits) == order


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_features_give_no_model(count):
    found = verify_pair(features(1, count), features(2))
    assert (found.inliers, found.homography, found.target_quad) == (0, None, None)


def test_all_keypoints_in_one_place_give_no_model():
    query = features(1)
    piled = LocalFeatures(
        "p", query.size, np.full_like(query.keypoints, 7), query.descriptors, query.scores, query.scales
    )
    assert verify_pair(query, piled).inliers == 0
    assert verify_pair(piled, query).inliers == 0


def test_a_mirrored_photo_is_not_the_same():
    query = features(1)
    mirror = np.array([[-1.0, 0, 639], [0, 1, 0], [0, 0, 1]])
    assert verify_pair(query, seen_from_aside(query, 2, 200, mirror)).inliers == 0


def test_repeated_matches_between_two_places_count_once():
    query = features(1, 100)
    target = seen_from_aside(query, 2, 60)
    double = LocalFeatures(
        "d",
        query.size,
        np.concatenate([query.keypoints] * 2),
        np.concatenate([query.descriptors] * 2),
        np.sort(np.concatenate([query.scores] * 2))[::-1].copy(),
        np.concatenate([query.scales] * 2),
    )
    options = VerificationOptions(max_ratio=1.0)
    assert verify_pair(double, target, options).inliers <= verify_pair(query, target, options).inliers + 2


def test_overlaps_and_quad_describe_the_matched_area():
    query = features(1)
    target = seen_from_aside(query, 2, 150)
    found = verify_pair(query, target)
    points = query.keypoints[found.matches[found.mask, 0]]
    assert np.allclose(found.query_quad[0], points.min(axis=0))
    assert np.allclose(found.query_quad[2], points.max(axis=0))
    assert np.allclose(found.target_quad, transfer(found.homography, found.query_quad), atol=1e-6)
    assert 0.6 < found.query_overlap <= 1
