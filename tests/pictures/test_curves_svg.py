"""The curves and bars of a report against a naive reading of their definitions."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.pictures import curves_svg
from glocal.pictures.curves_svg import curve_path, interpolated_precision, lowest_first, mean_curve, waterfall

PLACES = st.sets(st.integers(0, 400), max_size=30).map(sorted)
NAN = math.nan


def naive_curve(places: list[int], num_right: int) -> list[float]:
    values = []
    for percent in range(101):
        reached = [
            (found + 1) / (place + 1)
            for found, place in enumerate(places)
            if Fraction(found + 1, num_right) >= Fraction(percent, 100)
        ]
        values.append(max(reached, default=0.0))
    return values


@given(PLACES, st.integers(0, 20))
def test_interpolated_precision_is_the_highest_at_that_recall_or_above(places, unranked):
    num_right = max(1, len(places) + unranked)
    found = interpolated_precision(np.array(places, np.int64), num_right)
    assert found.shape == (101,)
    assert found.tolist() == pytest.approx(naive_curve(places, num_right))
    assert (np.diff(found) <= 0).all()


def test_two_of_four_found_at_the_first_and_third_place():
    values = interpolated_precision(np.array([0, 2]), 4)
    assert values[:26].tolist() == [1.0] * 26
    assert values[26:51] == pytest.approx(2 / 3)
    assert values[51:].tolist() == [0.0] * 50


def test_seven_hundredths_are_seven_of_a_hundred():
    assert 0.07 * 100 > 7  # in floating point an eighth would be asked for
    values = interpolated_precision(np.arange(7), 100)
    assert values[7] == 1.0
    assert values[8] == 0.0


def test_the_mean_leaves_out_queries_without_anything_to_find():
    none = np.empty(0, np.int64)
    mean = mean_curve([(np.array([0]), 1), (np.array([1]), 1), (none, 0), (none, 3)])
    assert mean is not None
    assert mean.tolist() == pytest.approx([0.5] * 101)  # 1, 1/2 and 0
    assert mean_curve([(none, 0)]) is None
    assert mean_curve([]) is None


def test_a_path_goes_from_left_to_right_and_high_values_are_up():
    assert curve_path(np.array([1.0, 0.5, 0.0])) == "M0 0L50 50L100 100"


def test_bars_rise_and_each_knows_its_query():
    fall = waterfall([0.5, NAN, 0.0, 1.0])
    assert [(bar.query, bar.ap, bar.x, bar.height) for bar in fall.bars] == [
        (2, 0.0, 0, 0.6),
        (0, 0.5, 1, 50.0),
        (3, 1.0, 2, 100.0),
    ]
    assert (fall.mean, fall.counted, fall.uncounted) == (0.5, 3, 1)
    assert fall.slots == curves_svg.MIN_SLOTS


@given(st.lists(st.one_of(st.just(NAN), st.sampled_from([0.0, 0.25, 0.5, 1.0])), max_size=40))
def test_the_order_is_that_of_a_stable_sort_of_what_counts(aps):
    counted = [(ap, i) for i, ap in enumerate(aps) if ap == ap]
    assert lowest_first(aps) == [i for _, i in sorted(counted)]


def test_no_query_that_counts_gives_no_bar_and_no_mean():
    fall = waterfall([NAN, NAN])
    assert (fall.bars, fall.outline, fall.counted, fall.uncounted) == ((), "", 0, 2)
    assert math.isnan(fall.mean)


def test_thousands_of_queries_become_one_outline():
    rng = np.random.default_rng(0)
    aps = rng.uniform(0.1, 1, curves_svg.MAX_BARS + 1).tolist()
    fall = waterfall(aps)
    assert fall.bars == ()
    assert fall.slots == len(aps)
    heights = [100 - float(y) for y in re.findall(r"V([\d.]+)H", fall.outline)]
    assert heights == pytest.approx([100 * ap for ap in sorted(aps)], abs=0.01)
    assert fall.outline.endswith(f"H{len(aps)}V100Z")
