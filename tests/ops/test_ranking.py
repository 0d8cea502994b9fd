import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.ops.ranking import average_precision, top_k


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.integers(0, 5), max_size=40), k=st.integers(0, 50))
def test_top_k_equals_a_full_stable_sort(values, k):
    similarities = np.array(values, np.float32)
    ids = [f"{(i * 7) % 40:02}" for i in range(len(values))]
    expected = sorted(range(len(values)), key=lambda i: (-values[i], ids[i]))[:k]
    assert top_k(similarities, ids, k) == expected


# The values of the revisited protocol's reference implementation.
@pytest.mark.parametrize(
    ("positions", "count", "expected"),
    [([0, 2, 5], 4, 0.5083333333), ([0], 1, 1.0), ([1], 1, 0.25), ([0, 1, 2], 3, 1.0)],
)
def test_average_precision_has_the_reference_values(positions, count, expected):
    ranked = [str(i) for i in range(10)]
    positives = [str(i) for i in positions] + [f"unranked {i}" for i in range(count - len(positions))]
    assert average_precision(ranked, positives) == pytest.approx(expected, abs=1e-9)


def test_junk_is_taken_out_before_positions_count():
    ranked = ["7", "3", "1", "0", "2", "5", "4", "6", "8", "9"]
    assert average_precision(ranked, ["1", "2", "9"], ["3", "5"]) == pytest.approx(0.3323412698, abs=1e-9)


def test_without_positives_it_is_not_defined():
    assert math.isnan(average_precision(["a"], []))
