"""Landmark recognition as Google Landmarks v2 measures it: the labels of the nearest training photos vote.

Weyand et al., "Google Landmarks Dataset v2", CVPR 2020, section 4.1; Cao et al. (DELG), ECCV 2020, section 4.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.labelled import open_photos
from glocal.errors import ConfigError
from glocal.evaluation import card as cards
from glocal.evaluation.answering import Answers
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery, Indices
from glocal.evaluation.datasets.landmarks import (
    IGNORED,
    RECOGNITION,
    Labels,
    home_of,
    photo_file,
    read_recognition_solution,
)
from glocal.evaluation.evaluate import EvaluationTask, machine_card, measuring
from glocal.evaluation.features import Watcher
from glocal.evaluation.landmarks_metrics import micro_average_precision, top1_accuracy
from glocal.evaluation.methods import SEARCH
from glocal.evaluation.protocol import Protocol, Setup
from glocal.evaluation.recognition import Candidates, predict, write_predictions
from glocal.evaluation.results.kaggle import read_recognition_predictions
from glocal.pictures.files import write_atomically
from glocal.rerank.voting import VotingOptions

NAME = "gldv2-recognition"
PROTOCOL = Protocol("landmark recognition", {"all": Setup(())})
SUBSETS = ("Public", "Private")
DEPTH = 100


@dataclass(frozen=True, slots=True, eq=False)
class RecognitionBenchmark:
    """Training photos with landmarks, test photos, and what those show.

    Attributes:
        photos: gallery and queries; nothing in it is right or wrong.
        labels: (N,) int64, the landmark of each photo of the gallery.
        solution: query -> its landmarks and Public, Private or Ignored.
    """

    photos: Benchmark
    labels: Indices
    solution: Labels


@dataclass(frozen=True, slots=True)
class RecognitionScores:
    """How well one subset of the queries was recognised.

    Attributes:
        queries: how many there are.
        with_landmark: how many of them show a landmark.
        gap: micro average precision; an answer for a photo without a landmark counts wrong.
        gap_ignoring: the same without the answers for those photos.
        top1: share of the photos with a landmark for which the right one was answered.
    """

    queries: int
    with_landmark: int
    gap: float
    gap_ignoring: float
    top1: float


def read_recognition(root: Path, clean: bool = True) -> RecognitionBenchmark:
    """The recognition task of GLDv2: train_clean.csv (or train.csv) against the test photos that are not ignored.

    Raises:
        ConfigError: a file is missing or malformed, or a landmark is no whole number.
    """
    home = home_of(root, RECOGNITION)
    solution = read_recognition_solution(home / RECOGNITION)
    train = open_photos("gldv2", str(home), clean=clean)
    prefix = train.root.rstrip("/") + "/"
    files = tuple(source.removeprefix(prefix) for source in train.sources)
    labels = np.array([int(name) for name in train.names], np.int64)[train.labels]
    queries = tuple(
        BenchmarkQuery(query, photo_file("test", query), None, {})
        for query, (_, usage) in solution.items()
        if usage != IGNORED
    )
    names = tuple(Path(file).stem for file in files)
    return RecognitionBenchmark(Benchmark(NAME, PROTOCOL, home, names, files, queries), labels, solution)


def recognise_all(
    benchmark: RecognitionBenchmark, task: EvaluationTask, options: VotingOptions, watcher: Watcher
) -> tuple[dict[str, RecognitionScores], Path] | None:
    """Recognise every query and save the run: metrics.json, predictions.csv (as Kaggle reads it), card.md.

    Args:
        benchmark: the task.
        task: how it is done; its benchmark is that of `benchmark`.
        options: how labels vote.
        watcher: is told how it goes.

    Returns:
        Scores by subset and the run's folder; None if the watcher stopped it.

    Raises:
        ConfigError: the plan is one that does not give candidates.
    """
    if task.plan.order == SEARCH:
        raise ConfigError("--rerank search is for one's own photos: for landmarks none, geometric, delg or delg-star")
    task = replace(task, benchmark=benchmark.photos)
    with measuring(task, watcher, DEPTH) as found:
        if found is None:
            return None
    queries = benchmark.photos.queries
    predictions = predict(
        ((query.id, _candidates(benchmark, found.answers, number)) for number, query in enumerate(queries)), options
    )
    scores = score(predictions, benchmark.solution)
    card = found.card | {"vote": f"k {options.k}, inlier cap {options.inlier_cap}, alpha {options.alpha:g}"}
    folder = task.folder(found.spec)
    _write(folder, scores, card, found.cost, predictions, benchmark.solution)
    return scores, folder


def score_predictions(solution_file: Path, file: Path, folder: Path, command: str = "") -> dict[str, RecognitionScores]:
    """Score anybody's predictions, a CSV of "id,landmarks" lines, and save the run.

    Raises:
        ConfigError: a file is malformed.
        SpecMismatch: an id is not in the solution.
    """
    solution = read_recognition_solution(solution_file)
    ignored = {query for query, (_, usage) in solution.items() if usage == IGNORED}
    predictions = read_recognition_predictions(file, solution.keys() - ignored, ignored)
    scores = score(predictions, solution)
    card = {"benchmark": NAME, "protocol": PROTOCOL.name, "results": file.name, **machine_card("cpu", command)}
    _write(folder, scores, card, {}, predictions, solution)
    return scores


def score(predictions: Mapping[str, tuple[int, float]], solution: Labels) -> dict[str, RecognitionScores]:
    """Scores by subset, Public and Private; a subset without landmarks is left out."""
    scores = {}
    for subset in SUBSETS:
        landmarks = {query: labels for query, (labels, usage) in solution.items() if usage == subset}
        mine = {query: answer for query, answer in predictions.items() if query in landmarks}
        with_landmark = sum(bool(labels) for labels in landmarks.values())
        if with_landmark:
            scores[subset] = RecognitionScores(
                len(landmarks),
                with_landmark,
                micro_average_precision(mine, landmarks),
                micro_average_precision(mine, landmarks, ignore_non_landmarks=True),
                top1_accuracy(mine, landmarks),
            )
    if not scores:
        raise ConfigError(f"{NAME}: no query shows a landmark → check {RECOGNITION}")
    return scores


def lines_of(scores: Mapping[str, RecognitionScores]) -> list[str]:
    """The scores in lines of text, both ways to count photos without a landmark."""
    lines = []
    for subset, found in scores.items():
        lines.append(
            f">> {NAME}: {subset} µAP (GAP): {100 * found.gap:.2f}, without photos that show no landmark: "
            f"{100 * found.gap_ignoring:.2f}, top-1: {100 * found.top1:.2f} "
            f"({found.queries:,} queries, {found.with_landmark:,} with a landmark)"
        )
    return lines


def _candidates(benchmark: RecognitionBenchmark, answers: Answers, number: int) -> Candidates:
    """The nearest photos of one query, in the order of the re-ranking if there was one."""
    order, values = answers.ranking.top[number][:DEPTH], answers.ranking.similarities[number][:DEPTH]
    if "all" not in answers.heads:
        return Candidates(benchmark.labels[order], values)
    head = answers.heads["all"][number]
    similarity = dict(zip(order.tolist(), values.tolist(), strict=True))
    similarities = np.array([similarity[photo] for photo in head.photos.tolist()], np.float32)
    return Candidates(benchmark.labels[head.photos], similarities, head.inliers)


def _write(
    folder: Path,
    scores: Mapping[str, RecognitionScores],
    card: Mapping[str, Any],
    cost: Mapping[str, float],
    predictions: Mapping[str, tuple[int, float]],
    solution: Labels,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    queries = [query for query, (_, usage) in solution.items() if usage != IGNORED]
    write_predictions(folder / "predictions.csv", predictions, queries)
    page = cards.to_markdown(card, "```\n" + "\n".join(lines_of(scores)) + "\n```")
    write_atomically(page.encode("utf-8", "backslashreplace"), folder / "card.md")
    metrics = {
        subset: {
            "GAP": found.gap,
            "GAP_ignoring_non_landmarks": found.gap_ignoring,
            "top1": found.top1,
            "queries": found.queries,
            "with_landmark": found.with_landmark,
        }
        for subset, found in scores.items()
    }
    finite = {name: value for name, value in cost.items() if math.isfinite(value)}
    whole = {"benchmark": NAME, "metrics": metrics, "cost": finite, "card": dict(card)}
    write_atomically(json.dumps(whole, indent=1, allow_nan=False).encode("ascii"), folder / "metrics.json")
