import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from glocal.errors import ShapeError
from glocal.ops.suppression import best_first, overlaps, suppress


def random_boxes(seed, count):
    """Boxes on a coarse grid and scores with many ties."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 20, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 12, (count, 2))], axis=1).astype(np.float32)
    return boxes, rng.integers(0, 8, count).astype(np.float32)


def overlap_of(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def suppress_plainly(boxes, scores, iou, limit):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if len(kept) < limit and all(overlap_of(boxes[i], boxes[j]) <= np.float32(iou) for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("iou", [0.0, 0.2, 0.45, 0.98, 1.0])
@pytest.mark.parametrize("limit", [1, 3, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 17, 600])
def test_suppression_agrees_with_the_plain_loop(count, limit, iou):
    boxes, scores = random_boxes(count, count)
    assert suppress(boxes, scores, iou, limit).tolist() == suppress_plainly(boxes, scores, iou, limit)


@given(seed=integers(0, 2**31), count=integers(0, 40), iou=floats(0, 0.99))
def test_what_is_kept_overlaps_little_and_what_is_dropped_overlaps_something_better(seed, count, iou):
    boxes, scores = random_boxes(seed, count)
    kept = suppress(boxes, scores, iou, count + 1)
    assert (np.diff(scores[kept]) <= 0).all()
    between = overlaps(boxes, boxes[kept])
    among_kept = between[kept].copy()
    np.fill_diagonal(among_kept, 0)
    assert (among_kept <= iou).all()
    dropped = np.setdiff1d(np.arange(count), kept)
    better = scores[kept] >= scores[dropped, None]
    assert ((between[dropped] > iou) & better).any(axis=1).all()


def test_of_equal_boxes_and_scores_the_first_survives():
    boxes = np.tile(np.array([[0, 0, 4, 4]], np.float32), (5, 1))
    assert suppress(boxes, np.ones(5, np.float32), 0.5, 10).tolist() == [0]


def test_an_overlap_of_one_drops_nothing_even_of_equal_boxes():
    boxes = np.tile(np.array([[0, 0, 4, 4]], np.float32), (3, 1))
    assert suppress(boxes, np.array([1, 3, 3], np.float32), 1.0, 10).tolist() == [1, 2, 0]


def test_an_overlap_of_exactly_the_limit_is_kept():
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 2]], np.float32)
    assert overlaps(boxes, boxes)[0, 1] == 0.5
    assert len(suppress(boxes, np.ones(2, np.float32), 0.5, 10)) == 2
    assert len(suppress(boxes, np.ones(2, np.float32), 0.49, 10)) == 1


def test_boxes_without_area_overlap_nothing():
    boxes = np.zeros((2, 4), np.float32)
    assert overlaps(boxes, boxes).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("limit", [1, 5, 30, 100, 1000])
def test_the_best_are_sorted_stably_whatever_the_limit(limit):
    scores = np.random.default_rng(limit).integers(0, 9, 500).astype(np.float32)
    assert best_first(scores, limit).tolist() == np.argsort(-scores, kind="stable")[:limit].tolist()


def test_boxes_and_scores_must_be_equally_many():
    with pytest.raises(ShapeError, match="boxes has 2 rows but scores has 3"):
        suppress(np.zeros((2, 4), np.float32), np.zeros(3, np.float32), 0.5, 10)
    with pytest.raises(ShapeError):
        suppress(np.zeros((2, 5), np.float32), np.zeros(2, np.float32), 0.5, 10)
