"""The measures against what the published programs printed: revisited Oxford, and Google Landmarks v2."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from glocal.errors import ConfigError, SpecMismatch
from glocal.evaluation import landmarks_metrics as landmarks
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.datasets.landmarks import read_recognition_solution, read_retrieval_solution
from glocal.evaluation.metrics import mean_of, score_places
from glocal.evaluation.protocol import REVISITED
from glocal.evaluation.results.kaggle import read_recognition_predictions, read_retrieval_predictions
from glocal.evaluation.results.reader import read_results
from glocal.evaluation.results.types import RankedLists

HERE = Path(__file__).parent / "evaluation"
ABOUT = json.loads((HERE / "roxford5k.json").read_text("utf-8"))
TRUTH = json.loads((HERE / "gnd_roxford5k.json").read_text("utf-8"))["gnd"]
ARRAYS = np.load(HERE / "roxford5k.npz")
GLDV2 = json.loads((HERE / "gldv2.json").read_text("utf-8"))
TOLERANCE = 1e-12


def scores_of(ranks, setup):
    rules = REVISITED.setups[setup]
    found = []
    for column, truth in zip(ranks.T, TRUTH, strict=True):
        right = {photo for name in rules.right for photo in truth[name]}
        junk = {photo for name in rules.ignored for photo in truth[name]}
        places = [np.flatnonzero(np.isin(column, list(photos))) for photos in (right, junk)]
        found.append(score_places(*places, len(right), REVISITED))
    return found


@pytest.mark.parametrize("setup", list(REVISITED.setups))
@pytest.mark.parametrize("name", ["a", "b"])
def test_the_average_precision_of_every_query_is_that_of_the_revisited_program(name, setup):
    found = scores_of(ARRAYS[f"ranks/{name}"], setup)
    ap = np.array([score.ap for score in found])
    wanted = ARRAYS[f"{name}/{setup}/ap"]
    without = [i for i, score in enumerate(found) if math.isnan(score.ap)]
    assert without == ABOUT["results"][name][setup].get("queries_without_positives", [])
    counted = ~np.isnan(ap)
    assert np.abs(ap[counted] - wanted[counted]).max() <= TOLERANCE
    assert mean_of(ap) == pytest.approx(ABOUT["results"][name][setup]["map"], abs=TOLERANCE)


@pytest.mark.parametrize("setup", list(REVISITED.setups))
def test_the_precision_at_k_of_every_query_is_that_of_the_revisited_program(setup):
    found = np.array([score.precision for score in scores_of(ARRAYS["ranks/a"], setup)])
    wanted = ARRAYS[f"a/{setup}/p"]
    counted = ~np.isnan(found[:, 0])
    assert list(REVISITED.cutoffs) == ABOUT["kappas"]
    assert np.abs(found[counted] - wanted[counted]).max() <= TOLERANCE
    assert np.abs(found[counted].mean(axis=0) - ABOUT["results"]["a"][setup]["mp"]).max() <= TOLERANCE


def test_truncated_lists_without_any_hit_count_as_zero_where_the_program_stops():
    found = scores_of(ARRAYS["ranks/b"], "hard")
    assert any(score.first is None for score in found)
    assert all(score.precision == (0.0,) * 3 for score in found if score.first is None)


@pytest.mark.parametrize("name", ["a", "b"])
def test_ranks_come_back_from_a_file_as_they_are(tmp_path, name):
    truth = json.loads((HERE / "gnd_roxford5k.json").read_text("utf-8"))
    queries = tuple(BenchmarkQuery(query, f"{query}.jpg", None, {}) for query in truth["qimlist"])
    photos = tuple(truth["imlist"])
    benchmark = Benchmark("roxford5k", REVISITED, None, photos, tuple(f"{photo}.jpg" for photo in photos), queries)
    ranks = ARRAYS[f"ranks/{name}"]
    np.savez_compressed(tmp_path / "ranks.npz", ranks=ranks)
    found = read_results(tmp_path / "ranks.npz", benchmark)
    assert isinstance(found, RankedLists)
    np.testing.assert_array_equal(np.stack(found.lists, axis=1), ranks)
    np.savez_compressed(tmp_path / "ranks.npz", ranks=np.sort(ranks[:4992], axis=0), gallery=np.delete(photos, 146))
    with pytest.raises(SpecMismatch, match=f"has 4.992 rows, roxford5k has 4.993 images; missing: {photos[146]}. →"):
        read_results(tmp_path / "ranks.npz", benchmark)


def test_junk_shift_and_cut_of_the_specification():
    column = np.array([7, 3, 1, 0, 2, 5, 4, 6, 8, 9])
    right, junk = (np.flatnonzero(np.isin(column, list(photos))) for photos in ({1, 2, 9}, {3, 5}))
    score = score_places(right, junk, 3, REVISITED)
    assert score.ap == pytest.approx(0.33234126984126984, abs=TOLERANCE)
    assert score.precision == pytest.approx((0.0, 0.4, 0.375), abs=TOLERANCE)
    nothing = score_places(right[:0], junk, 0, REVISITED)
    assert mean_of([score.ap, nothing.ap]) == score.ap


def part(solution, usage):
    return {query: right for query, (right, its) in solution.items() if its == usage.capitalize()}


def ignored(solution):
    return {query for query, (_, usage) in solution.items() if usage == "Ignored"}


@pytest.mark.parametrize("usage", ["public", "private"])
def test_retrieval_is_scored_as_by_the_landmarks_program(usage):
    solution = read_retrieval_solution(HERE / "gldv2_retrieval_solution.csv")
    known = part(solution, "public") | part(solution, "private")
    everything = read_retrieval_predictions(HERE / "gldv2_retrieval_predictions.csv", known, ignored(solution))
    right, wanted = part(solution, usage), GLDV2["retrieval"][usage]
    predictions = {query: photos for query, photos in everything.items() if query in right}
    assert len(ignored(solution)) == GLDV2["retrieval"]["ignored"]
    assert (len(right), len(predictions)) == (wanted["queries"], wanted["predicted"])
    for depth in (10, 100):
        found = landmarks.mean_average_precision_at(predictions, right, depth)
        assert found == pytest.approx(wanted[f"map_at_{depth}"], abs=TOLERANCE)
    precision = landmarks.mean_precision_at(predictions, right)
    assert len(precision) == 100
    for k, value in wanted["mean_precision"].items():
        assert precision[int(k) - 1] == pytest.approx(value, abs=TOLERANCE)
    first = landmarks.first_positions(predictions, right)
    assert np.mean(first) == pytest.approx(wanted["mean_position"], abs=TOLERANCE)
    assert np.median(first) == wanted["median_position"]


@pytest.mark.parametrize("usage", ["public", "private"])
def test_recognition_is_scored_as_by_the_landmarks_program(usage):
    solution = read_recognition_solution(HERE / "gldv2_recognition_solution.csv")
    known = part(solution, "public") | part(solution, "private")
    everything = read_recognition_predictions(HERE / "gldv2_recognition_predictions.csv", known, ignored(solution))
    right, wanted = part(solution, usage), GLDV2["recognition"][usage]
    predictions = {query: answer for query, answer in everything.items() if query in right}
    assert len(ignored(solution)) == GLDV2["recognition"]["ignored"]
    counts = len(right), sum(map(bool, right.values())), len(predictions)
    assert counts == (wanted["images"], wanted["with_landmark"], wanted["predicted"])
    gap = landmarks.micro_average_precision(predictions, right)
    assert gap == pytest.approx(wanted["gap"], abs=TOLERANCE)
    gap = landmarks.micro_average_precision(predictions, right, ignore_non_landmarks=True)
    assert gap == pytest.approx(wanted["gap_ignoring_images_without_landmark"], abs=TOLERANCE)
    assert landmarks.top1_accuracy(predictions, right) == pytest.approx(wanted["top1_accuracy"], abs=TOLERANCE)


def measured(case):
    predictions, solution, options = case["predictions"], case["solution"], case["options"]
    if case["metric"] in ("gap", "top1"):
        answers = {query: (answer["class"], answer["score"]) for query, answer in predictions.items()}
        if case["metric"] == "top1":
            return landmarks.top1_accuracy(answers, solution)
        ignore = options.get("ignore_non_gt_test_images", False)
        return landmarks.micro_average_precision(answers, solution, ignore)
    depth = options.get("max_predictions", 100)
    if case["metric"] == "map":
        return landmarks.mean_average_precision_at(predictions, solution, depth)
    if case["metric"] == "mp":
        return landmarks.mean_precision_at(predictions, solution, depth).tolist()
    assert case["metric"] == "pos"
    first = landmarks.first_positions(predictions, solution, depth)
    return [first.mean(), np.median(first)]


@pytest.mark.parametrize("case", GLDV2["cases"], ids=lambda case: case["metric"])
def test_edge_cases_are_answered_as_by_the_landmarks_program(case):
    if isinstance(case["expected"], dict):
        with pytest.raises(ConfigError):
            measured(case)
    else:
        assert measured(case) == pytest.approx(case["expected"], abs=TOLERANCE)
