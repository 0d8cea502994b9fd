"""Two runs against each other."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import ConfigError, SpecMismatch
from glocal.evaluation.comparison import ASKED, bootstrap_interval, compare, sign_flip_p
from glocal.evaluation.metrics import QueryScore
from glocal.evaluation.record import QueryRecord, RunRecord

CARD = {
    "benchmark": "roxford5k",
    "protocol": "revisited",
    "ground_truth": "77ac" * 16,
    "queries": 70,
    "gallery": 4993,
    "distractors": None,
    "crop": True,
    "query_size": None,
    "incomplete": [],
    "model": "dolg_resnet101",
    "scales": [0.5, 1.0],
    "versions": {"numpy": "2.1", "python": "3.11"},
}


def run_of(precisions, *, card=CARD, title="mAP", cost=None, groups=None):
    """A run with setup -> one average precision for each of the queries q0, q1 …"""
    count = len(next(iter(precisions.values())))
    queries = tuple(
        QueryRecord(f"q{i}", {setup: QueryScore(aps[i], (0.5,), (0.5,), 1, 1) for setup, aps in precisions.items()})
        for i in range(count)
    )
    return RunRecord("roxford5k", title, tuple(precisions), (10,), card, cost or {}, queries, groups or {})


def brute_force_p(differences):
    """Every sign of every difference, zeros too."""
    target = abs(math.fsum(differences))
    sums = [
        abs(math.fsum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(each >= target - 1e-9 for each in sums) / len(sums)


def test_means_differences_and_counts_are_those_of_the_queries():
    found = compare(run_of({"all": [0.1, 0.5, 0.9, 0.4]}), run_of({"all": [0.4, 0.5, 0.8, 0.5]}))
    (row,) = found.setups
    assert (row.setup, row.num_queries, row.better, row.worse, row.equal) == ("all", 4, 2, 1, 1)
    assert (row.a, row.b, row.difference) == pytest.approx((0.475, 0.55, 0.075))
    assert [(query.id, query.a, query.b) for query in row.moved] == [
        ("q0", 0.1, 0.4),
        ("q2", 0.9, 0.8),
        ("q3", 0.4, 0.5),
    ]


def test_queries_that_move_equally_far_are_ordered_by_id():
    row = compare(run_of({"all": [0.5, 0.5, 0.5]}), run_of({"all": [0.75, 0.25, 0.5]})).setups[0]
    assert [query.id for query in row.moved] == ["q0", "q1"]


def test_a_query_that_counts_in_one_run_only_is_left_out_of_both():
    nan = math.nan
    a, b = run_of({"hard": [0.2, nan, 0.6, nan]}), run_of({"hard": [0.3, 0.9, nan, nan]})
    row = compare(a, b).setups[0]
    assert (row.num_queries, row.a, row.b, row.better) == (1, 0.2, 0.3, 1)
    assert math.isnan(row.low)
    assert math.isnan(row.high)
    assert not row.distinguishable


def test_a_setup_in_which_no_query_counts_has_no_numbers():
    nothing = run_of({"hard": [math.nan, math.nan]})
    row = compare(nothing, nothing).setups[0]
    assert row.num_queries == row.equal == 0
    assert all(math.isnan(value) for value in (row.a, row.b, row.difference, row.low, row.high, row.p))


def test_a_run_against_itself_cannot_be_told_apart():
    run = run_of({"all": [0.3, 0.7, 0.2]})
    row = compare(run, run).setups[0]
    assert (row.difference, row.low, row.high, row.p, row.distinguishable) == (0, 0, 0, 1, False)
    assert row.moved == ()


def test_a_rounding_is_no_difference():
    row = compare(run_of({"all": [0.3, 0.1 + 0.2]}), run_of({"all": [0.1 + 0.2, 0.3]})).setups[0]
    assert (row.better, row.worse, row.equal) == (0, 0, 2)


@given(st.lists(st.sampled_from([-0.5, -0.2, -0.1, 0.0, 0.1, 0.3]), max_size=9))
def test_the_exact_test_counts_every_way_to_turn_the_signs(differences):
    assert sign_flip_p(np.array(differences)) == pytest.approx(brute_force_p(differences), abs=1e-12)


def test_a_gain_of_every_one_of_ten_queries_has_the_least_p():
    assert sign_flip_p(np.full(10, 0.01)) == 2 / 2**10


def test_the_sampled_test_is_near_the_exact_one():
    rng = np.random.default_rng(3)
    differences = rng.normal(0.03, 0.08, 17)
    signs = 1 - 2 * ((np.arange(2**17)[:, None] >> np.arange(17)) & 1)
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    # The sampled p of 20 000 draws has a deviation of at most 0.0036.
    assert sign_flip_p(differences, draws=20_000) == pytest.approx(exact, abs=0.015)


def test_the_sampled_p_is_never_zero():
    assert sign_flip_p(np.full(60, 0.2), draws=999) == 1 / 1000


@pytest.mark.parametrize("count", [12, 30])
def test_p_is_below_a_twentieth_in_a_twentieth_of_the_cases_where_nothing_changed(count):
    rng = np.random.default_rng(count)
    small = [sign_flip_p(rng.laplace(0, 0.1, count), seed, 499) <= 0.05 for seed in range(500)]
    assert 0.02 <= np.mean(small) <= 0.08  # three standard deviations of 500 throws


def test_the_interval_holds_the_truth_in_most_repetitions():
    rng = np.random.default_rng(0)
    held = []
    for seed in range(500):
        low, high = bootstrap_interval(rng.exponential(0.05, 70) - 0.03, seed, 500)
        held.append(low <= 0.02 <= high)
    # The percentile bootstrap of 70 skewed values holds it in 93 to 95 %; a deviation of 500 throws is 1 %.
    assert 0.90 <= np.mean(held) <= 0.98


def test_the_interval_is_as_wide_as_theory_says():
    differences = np.random.default_rng(1).normal(0.0, 0.1, 2000)
    low, high = bootstrap_interval(differences, draws=4000)
    assert (high - low) / 2 == pytest.approx(1.96 * differences.std() / 2000**0.5, rel=0.06)
    assert (high + low) / 2 == pytest.approx(differences.mean(), abs=0.0003)


def test_a_seed_gives_the_same_numbers_again_and_another_gives_others():
    differences = np.random.default_rng(2).normal(0.01, 0.1, 40)
    assert bootstrap_interval(differences, 5) == bootstrap_interval(differences, 5)
    assert bootstrap_interval(differences, 5) != bootstrap_interval(differences, 6)
    assert sign_flip_p(differences, 5) == sign_flip_p(differences, 5)


def test_resampling_in_parts_gives_what_resampling_at_once_gives(monkeypatch):
    differences = np.random.default_rng(2).normal(0.01, 0.1, 40)
    whole = bootstrap_interval(differences, 7, 1000), sign_flip_p(differences, 7, 1001)
    monkeypatch.setattr("glocal.evaluation.comparison._CELLS", 40 * 333)
    parts = bootstrap_interval(differences, 7, 1000), sign_flip_p(differences, 7, 1001)
    assert parts[0] == pytest.approx(whole[0], abs=1e-12)
    assert 0 < parts[1] < 1


def test_the_order_of_the_queries_in_a_file_does_not_matter():
    a, b = run_of({"all": [0.1, 0.5, 0.9]}), run_of({"all": [0.4, 0.5, 0.7]})
    turned = RunRecord(b.benchmark, b.title, b.setups, b.cutoffs, b.card, b.cost, b.queries[::-1])
    assert compare(a, turned) == compare(a, b)


@pytest.mark.parametrize("key", ASKED)
def test_runs_that_were_asked_otherwise_are_refused_with_both_values(key):
    other = CARD | {key: "another"}
    with pytest.raises(SpecMismatch, match=rf'{key}: .* in A, "another" in B.* → ') as refusal:
        compare(run_of({"all": [0.5]}), run_of({"all": [0.5]}, card=other))
    assert not [name for name in ASKED if name != key and f" {name}: " in str(refusal.value)]


@pytest.mark.parametrize("key", ASKED)
def test_a_card_that_does_not_tell_what_the_other_tells_is_refused(key):
    silent = {name: value for name, value in CARD.items() if name != key}
    with pytest.raises(SpecMismatch, match=rf"{key}: not told in A, .* in B"):
        compare(run_of({"all": [0.5]}, card=silent), run_of({"all": [0.5]}))
    assert compare(run_of({"all": [0.5]}, card=silent), run_of({"all": [0.5]}, card=silent)).differs == ()


def test_every_unlike_key_is_named_at_once():
    other = CARD | {"crop": False, "gallery": 1004}
    with pytest.raises(SpecMismatch, match=r"gallery: 4993 in A, 1004 in B; crop: true in A, false in B"):
        compare(run_of({"all": [0.5]}), run_of({"all": [0.5]}, card=other))


def test_long_values_are_cut_to_where_they_differ():
    a, b = CARD | {"ground_truth": "a" * 500 + "x" + "c" * 500}, CARD | {"ground_truth": "a" * 500 + "y" + "c" * 500}
    with pytest.raises(SpecMismatch) as refusal:
        compare(run_of({"all": [0.5]}, card=a), run_of({"all": [0.5]}, card=b))
    assert "ax" + "c" * 20 in str(refusal.value)
    assert "ay" + "c" * 20 in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_another_mean_other_setups_or_other_queries_are_refused():
    base = run_of({"all": [0.5, 0.5]})
    with pytest.raises(SpecMismatch, match='name of the mean: "mAP" in A, "mAP@100" in B'):
        compare(base, run_of({"all": [0.5, 0.5]}, title="mAP@100"))
    with pytest.raises(SpecMismatch, match=r'setups: \["all"\] in A, \["hard"\] in B'):
        compare(base, run_of({"hard": [0.5, 0.5]}))
    with pytest.raises(SpecMismatch, match="ids of the queries: 2 in A, 3 with 'q2' alone in B"):
        compare(base, run_of({"all": [0.5, 0.5, 0.5]}))


def test_systems_may_differ_and_the_differences_are_listed():
    other = CARD | {"model": "delg_resnet50", "versions": {"numpy": "2.2", "python": "3.11"}, "rerank": "geometric"}
    found = compare(run_of({"all": [0.5]}), run_of({"all": [0.5]}, card=other))
    assert [(each.key, each.a, each.b) for each in found.differs] == [
        ("model", '"dolg_resnet101"', '"delg_resnet50"'),
        ("versions.numpy", '"2.1"', '"2.2"'),
        ("rerank", None, '"geometric"'),
    ]


def test_a_list_of_a_card_equals_the_tuple_it_was_written_from():
    assert not compare(run_of({"all": [0.5]}, card=CARD | {"scales": (0.5, 1.0)}), run_of({"all": [0.5]})).differs


def test_costs_of_either_run_are_all_there():
    a, b = run_of({"all": [0.5]}, cost={"ms_per_query": 1.5}), run_of({"all": [0.5]}, cost={"bytes_per_photo": 2048.0})
    assert compare(a, b).cost == {"ms_per_query": (1.5, None), "bytes_per_photo": (None, 2048.0)}


def test_groups_that_both_runs_have_are_compared():
    groups = {"indoor": ("q0", "q2"), "outdoor": ("q1",)}
    a = run_of({"easy": [0.1, 0.2, 0.3], "hard": [0.5, math.nan, 0.7]}, groups=groups)
    b = run_of({"easy": [0.3, 0.3, 0.3], "hard": [0.6, math.nan, 0.6]}, groups=groups | {"outdoor": ("q2",)})
    found = compare(a, b).groups
    assert [(each.group, each.setup, each.num_queries) for each in found] == [
        ("indoor", "easy", 2),
        ("indoor", "hard", 2),
    ]
    assert [(each.a, each.b) for each in found] == [pytest.approx((0.2, 0.3)), pytest.approx((0.6, 0.6))]


@pytest.mark.parametrize("value", [math.inf, -0.1, 1.5])
def test_a_number_that_is_no_average_precision_is_refused_by_query(value):
    with pytest.raises(ConfigError, match=f"query 'q1' has average precision {value} for 'all'"):
        compare(run_of({"all": [0.5, 0.5]}), run_of({"all": [0.5, value]}))


def test_a_missing_score_and_a_repeated_query_are_refused_by_name():
    good = run_of({"all": [0.5, 0.5]})
    queries = (good.queries[0], QueryRecord("q1", {}))
    with pytest.raises(ConfigError, match="query 'q1' has no score for 'all'"):
        compare(good, RunRecord("roxford5k", "mAP", ("all",), (10,), CARD, {}, queries))
    with pytest.raises(ConfigError, match="query 'q0' is there twice"):
        compare(good, RunRecord("roxford5k", "mAP", ("all",), (10,), CARD, {}, (good.queries[0],) * 2))


def test_a_card_without_end_is_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ConfigError, match="nested without end"):
        compare(run_of({"all": [0.5]}, card=CARD | {"notes": deep}), run_of({"all": [0.5]}))


def test_a_result_file_whose_crop_nobody_knows_is_compared_and_that_is_said():
    ours = run_of({"all": [0.5, 0.25]}, card=CARD | {"crop": "on, corners by round"})
    theirs = run_of({"all": [0.75, 0.25]}, card=CARD | {"crop": "as in the result file"})
    assert "crop" in [each.key for each in compare(ours, theirs).differs]
    with pytest.raises(SpecMismatch, match="crop: "):
        compare(ours, run_of({"all": [0.75, 0.25]}, card=CARD | {"crop": "off"}))
