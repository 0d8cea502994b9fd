"""Average precision and its kin: hand-made values, naive loops, and the laws that any of them must keep."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import ConfigError, ShapeError
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.metrics import (
    ilias_average_precision,
    mean_of,
    precision_at,
    rectangle_precision,
    score_places,
    trapezoid_precision,
    without_junk,
)
from glocal.evaluation.protocol import CLASSIC, ILIAS, LANDMARKS, REVISITED, Protocol
from glocal.ops.ranking import average_precision

NOTHING = np.empty(0, np.int64)
places_lists = st.lists(st.integers(0, 60), unique=True, max_size=12).map(sorted)


def places(*values):
    return np.array(values, np.int64)


@st.composite
def cases(draw):
    """A ranking of a part of a gallery, what is right and what is junk, both in any order."""
    size = draw(st.integers(1, 30))
    order = draw(st.permutations(range(size)))
    labels = draw(st.lists(st.sampled_from("rj-"), min_size=size, max_size=size))
    shown = order[: draw(st.integers(0, size))]
    return shown, {i for i in range(size) if labels[i] == "r"}, {i for i in range(size) if labels[i] == "j"}


def places_in(ranking, photos):
    return np.array([place for place, photo in enumerate(ranking) if photo in photos], np.int64)


def naive_trapezoid(ranking, right, junk):
    """Sum of trapezoids below the curve of precision over recall, point by point."""
    ranking = [photo for photo in ranking if photo not in junk]
    area, recall, precision = 0.0, 0.0, 1.0
    hits = 0
    for seen, photo in enumerate(ranking, 1):
        if photo in right:
            # Before the hit recall stays and precision falls: the curve drops straight down to here.
            precision = hits / (seen - 1) if seen > 1 else 1.0
            hits += 1
            area += (hits / len(right) - recall) * (precision + hits / seen) / 2
            recall = hits / len(right)
    return area


def naive_rectangle(ranking, right, depth):
    hits, total = 0, 0.0
    for seen, photo in enumerate(ranking[:depth], 1):
        if photo in right:
            hits += 1
            total += hits / seen
    return total / min(len(right), depth)


def naive_precision(ranking, right, junk, k):
    ranking = [photo for photo in ranking if photo not in junk]
    last = max((i for i, photo in enumerate(ranking, 1) if photo in right), default=k)
    cut = min(last, k)
    return sum(photo in right for photo in ranking[:cut]) / cut


@pytest.mark.parametrize(
    ("found", "num_right", "wanted"),
    [((0, 2, 5), 4, 0.5083333333333333), ((0,), 1, 1.0), ((1,), 1, 0.25), ((0, 1, 2), 3, 1.0), ((), 3, 0.0)],
)
def test_the_trapezoid_gives_values_computed_by_hand(found, num_right, wanted):
    assert trapezoid_precision(places(*found), num_right) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("found", "num_right", "depth", "wanted"),
    [
        ((1, 3), 2, None, (1 / 2 + 2 / 4) / 2),
        ((0, 100), 3, 100, 1 / 3),
        ((0, 1), 5, 2, 1.0),
        ((), 5, 2, 0.0),
    ],
)
def test_the_rectangle_gives_values_computed_by_hand(found, num_right, depth, wanted):
    assert rectangle_precision(places(*found), num_right, depth) == pytest.approx(wanted, abs=1e-12)


def test_junk_lowers_the_places_after_it():
    assert without_junk(places(0, 2, 5), places(4, 1)).tolist() == [0, 1, 3]


def test_precision_at_k_is_cut_at_the_last_place_of_what_is_right():
    assert precision_at(places(0, 1), 10) == 1.0
    assert precision_at(places(0, 3), 10) == 0.5
    assert precision_at(places(0, 3), 2) == 0.5
    assert precision_at(places(9), 5) == 0.0


def test_a_list_without_any_hit_has_precision_zero_and_counts():
    empty = score_places(NOTHING, places(0, 3), 4, REVISITED)
    assert (empty.ap, empty.precision, empty.recall, empty.first) == (0.0, (0.0,) * 3, (0.0,) * 3, None)
    full = score_places(places(0), NOTHING, 1, REVISITED)
    assert mean_of([empty.precision[0], full.precision[0]]) == 0.5


def test_a_query_with_nothing_to_find_does_not_count():
    score = score_places(NOTHING, places(1), 0, REVISITED)
    assert math.isnan(score.ap)
    assert all(math.isnan(value) for value in score.precision + score.recall)
    assert mean_of([score.ap, 0.25]) == 0.25
    assert math.isnan(mean_of([score.ap]))


def test_recall_first_and_first_four_are_counted_without_junk():
    score = score_places(places(5, 2, 12), places(0, 1, 3), 4, REVISITED)  # without junk: 0, 2, 9
    assert score.recall == (1 / 4, 2 / 4, 3 / 4)
    assert score.first == 1
    assert score.first_four == 2


def test_precision_of_the_rectangle_is_over_k():
    assert score_places(places(0, 2), NOTHING, 2, LANDMARKS).precision == (1.0, 2 / 5, 2 / 10, 2 / 100)


@given(cases())
def test_scores_are_those_of_naive_loops(case):
    ranking, right, junk = case
    if not right:
        return
    found, ignored = places_in(ranking, right), places_in(ranking, junk)
    score = score_places(found[::-1], ignored[::-1], len(right), REVISITED)
    assert score.ap == pytest.approx(naive_trapezoid(ranking, right, junk), abs=1e-12)
    assert score.ap == pytest.approx(average_precision(ranking, right, junk), abs=1e-12)
    wanted = [naive_precision(ranking, right, junk, k) for k in REVISITED.cutoffs]
    assert score.precision == pytest.approx(wanted, abs=1e-12)
    for depth in (1, 3, 100):
        protocol = Protocol("some", {}, LANDMARKS.measure, depth)
        ap = score_places(found, NOTHING, len(right), protocol).ap
        assert ap == pytest.approx(naive_rectangle(ranking, right, depth), abs=1e-12)


@given(st.integers(1, 40), st.integers(0, 5))
def test_a_perfect_ranking_has_average_precision_one(num_right, num_junk):
    found = np.arange(num_right) + num_junk
    for protocol in (REVISITED, CLASSIC, LANDMARKS, ILIAS):
        score = score_places(found, np.arange(num_junk), num_right, protocol)
        assert score.ap == pytest.approx(1.0, abs=1e-12)
        assert score.precision[0] == 1.0


@given(cases(), st.lists(st.integers(0, 30), max_size=6))
def test_junk_anywhere_changes_nothing(case, insertions):
    ranking, right, _ = case
    with_junk = list(ranking)
    for i, at in enumerate(insertions):
        with_junk.insert(at, -1 - i)
    junk = set(range(-len(insertions), 0))
    plain = score_places(places_in(ranking, right), NOTHING, len(right), REVISITED)
    mixed = score_places(places_in(with_junk, right), places_in(with_junk, junk), len(right), REVISITED)
    assert repr(plain) == repr(mixed)  # NaN equals NaN in words


@given(cases(), st.integers(0, 30))
def test_a_truncated_list_never_gains(case, length):
    ranking, right, _ = case
    if not right:
        return
    full, short = places_in(ranking, right), places_in(ranking[:length], right)
    assert trapezoid_precision(short, len(right)) <= trapezoid_precision(full, len(right)) + 1e-12
    assert rectangle_precision(short, len(right)) <= rectangle_precision(full, len(right)) + 1e-12


@given(places_lists, st.integers(0, 20))
def test_an_earlier_hit_never_lowers_the_average_precision(found, num_missed):
    num_right = len(found) + num_missed
    taken = set(found)
    for i, place in enumerate(found):
        if place and place - 1 not in taken:
            better = np.array([*found[:i], place - 1, *found[i + 1 :]], np.int64)
            before = np.array(found, np.int64)
            assert trapezoid_precision(better, num_right) >= trapezoid_precision(before, num_right)
            assert rectangle_precision(better, num_right, 30) >= rectangle_precision(before, num_right, 30)


def naive_ilias(scores, right, num_right, depth):
    """scikit-learn's definition, threshold by threshold, on the best `depth`; then rescaled."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[:depth]
    hits = sum(right[i] for i in order)
    if not hits:
        return 0.0
    ap, recall_before = 0.0, 0.0
    for threshold in sorted({scores[i] for i in order}, reverse=True):
        above = [i for i in order if scores[i] >= threshold]
        correct = sum(right[i] for i in above)
        recall, precision = correct / hits, correct / len(above)
        ap += (recall - recall_before) * precision
        recall_before = recall
    return ap * hits / min(depth, num_right)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=30),
    st.integers(0, 4),
    st.sampled_from([1, 2, 5, 1000]),
)
def test_the_measure_of_ilias_is_that_of_a_naive_loop_over_thresholds(ranked, num_missed, depth):
    scores = np.array([score / 4 for score, _ in ranked])
    right = np.array([hit for _, hit in ranked], np.bool_)
    num_right = int(right.sum()) + num_missed
    found = ilias_average_precision(scores, right, num_right, depth)
    if not num_right:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(naive_ilias(scores.tolist(), right.tolist(), num_right, depth), abs=1e-12)


def test_equal_scores_share_the_precision_of_the_last_of_them():
    # Two groups: {hit, miss} at 1.0 gives 1/2, then {hit, hit} at 0.5 gives 3/4 for each.
    found = ilias_average_precision(np.array([1.0, 1.0, 0.5, 0.5]), np.array([True, False, True, True]), 4)
    assert found == pytest.approx((1 / 2 + 2 * 3 / 4) / 4, abs=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 3), st.sampled_from([1, 4, 1000]))
def test_without_equal_scores_the_measure_of_ilias_is_the_rectangle(hits, num_missed, depth):
    right = np.array(hits, np.bool_)
    num_right = int(right.sum()) + num_missed
    if num_right:
        found = ilias_average_precision(-np.arange(len(hits), dtype=np.float64), right, num_right, depth)
        assert found == pytest.approx(rectangle_precision(np.flatnonzero(right), num_right, depth), abs=1e-12)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused(score):
    with pytest.raises(ShapeError, match="finite"):
        ilias_average_precision(np.array([1.0, score]), np.array([True, False]), 1)


def test_the_title_of_a_depth_says_it_exactly():
    titles = [Protocol("some", {}, depth=depth).title for depth in (None, 100, 1000, 1500, 2000)]
    assert titles == ["mAP", "mAP@100", "mAP@1k", "mAP@1500", "mAP@2k"]


@pytest.mark.parametrize("photo", [-1, 2])
def test_a_photo_outside_the_gallery_is_refused_by_its_number(photo):
    sets = {"ok": places(0)}
    queries = (BenchmarkQuery("q", "q.jpg", None, {"ok": places(0, photo)}),)
    with pytest.raises(ConfigError, match=f"'q', ok: photo {photo} of 2"):
        Benchmark("some", CLASSIC, None, ("a", "b"), ("a", "b"), queries)
    with pytest.raises(ConfigError, match=f"own photo: photo {photo} of 2"):
        Benchmark("some", CLASSIC, None, ("a", "b"), ("a", "b"), (BenchmarkQuery("q", "q.jpg", None, sets, photo),))
