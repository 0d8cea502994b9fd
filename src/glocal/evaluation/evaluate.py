"""One system on one benchmark: photos -> features -> ranking -> scores -> the folder of the run."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.errors import ConfigError, NothingToDo
from glocal.evaluation import card as cards
from glocal.evaluation.answering import TOP, Answers, LocalSource, answer
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery, Corners, Indices
from glocal.evaluation.datasets.verification import files_of
from glocal.evaluation.features import Item, StoredPhotos, Watcher, describe, map_vectors, open_features
from glocal.evaluation.match_pictures import match_pictures
from glocal.evaluation.methods import SEARCH, Plan
from glocal.evaluation.ranking import Ranking
from glocal.evaluation.record import QueryRecord, RunRecord
from glocal.evaluation.report import FILE as REPORT
from glocal.evaluation.report import BenchmarkPhotos, answered_queries, build_report
from glocal.evaluation.run_folder import write_run
from glocal.extract.batching import ModelSource
from glocal.extract.pool import WorkerPool
from glocal.extract.requests import PIXELS_ONLY
from glocal.models.catalogue import default_model
from glocal.pictures.files import write_atomically
from glocal.search import Searcher
from glocal.store.collection import Collection
from glocal.types import Box, ExtractorSpec, LocalFeatures

ROUNDINGS = ("round", "pil", "trunc")
"""How the corners of a query's box become whole pixels: Python's round (the TensorFlow DELG), Pillow's own (cirtorch,
Token; the same numbers), or cut (DOLG)."""
SHOWN = 10


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """What is evaluated, and how.

    Attributes:
        benchmark: the questions and answers.
        model: name or place of the model.
        plan: re-ranking.
        distractors: name and paths of photos that are added to the gallery and are right for nobody; None for none.
        crop: describe only the box of a query, as the protocol wants it; False describes the whole photo.
        crop_rounding: one of `ROUNDINGS`.
        upright: describe queries only as they are, also where the model wants them turned.
        device: where a network runs.
        batch_size: photos that go through a network together.
        workers: processes that read photos.
        allow_incomplete: go on where photos are missing or damaged; the result is marked.
        features: where features are kept.
        out: the folder of the run.
        report: whether to write report.html.
        command: what was typed.
    """

    benchmark: Benchmark
    model: str = field(default_factory=default_model)
    plan: Plan = field(default_factory=Plan)
    distractors: tuple[str, tuple[str, ...]] | None = None
    crop: bool = True
    crop_rounding: str = "round"
    upright: bool = False
    device: str = "auto"
    batch_size: int | str = "auto"
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    allow_incomplete: bool = False
    features: Path = Path("runs/features")
    out: Path | None = None
    report: bool = True
    command: str = ""

    def __post_init__(self) -> None:
        if self.crop_rounding not in ROUNDINGS:
            raise ConfigError(f'crop_rounding is one of {", ".join(ROUNDINGS)}, not "{self.crop_rounding}"')
        if self.plan.order == SEARCH and self.distractors:
            raise ConfigError("--rerank search ranks a whole collection: not with distractors → --rerank geometric")

    def box_of(self, query: BenchmarkQuery) -> Box | None:
        """The part of a query that is described, in whole pixels; None for the whole photo."""
        return whole_box(query.corners, self.crop_rounding) if self.crop and query.corners is not None else None

    def folder(self, spec: ExtractorSpec) -> Path:
        """Where the run is saved."""
        if self.out is not None:
            return self.out
        model = spec.model if self.model == spec.model else f"{spec.model}-{spec.weights[:8]}"
        parts = [self.benchmark.name, model, self.plan.title.replace(" + ", "+")]
        parts += [self.distractors[0]] if self.distractors else []
        parts += ["whole-queries"] if not self.crop else []
        parts += ["upright"] if self.upright else []
        return self.features.parent / "-".join(
            "".join(c if c.isalnum() or c in "._+-" else "_" for c in p) for p in parts
        )


class _Local:
    """Local features of a benchmark's photos, as stored."""

    def __init__(self, gallery: StoredPhotos, distractors: StoredPhotos | None, queries: StoredPhotos, turns: int):
        self._gallery, self._distractors, self._queries, self._turns = gallery, distractors, queries, turns

    def gallery(self, photo: int) -> LocalFeatures:
        """Those of a photo of the gallery, or of a distractor."""
        if photo >= len(self._gallery) and self._distractors is not None:
            return self._distractors.local(photo - len(self._gallery))
        return self._gallery.local(photo)

    def query(self, query: int) -> Sequence[LocalFeatures]:
        """Those of a query, one set for each way it is turned."""
        return [self._queries.local(query * self._turns + turn) for turn in range(self._turns)]


@dataclass(slots=True)
class _Features:
    """The features of one task, and what their making showed."""

    gallery: StoredPhotos
    distractors: StoredPhotos | None
    queries: StoredPhotos
    collections: list[Collection]
    turns: int
    damaged: list[tuple[str, str]]
    cost: dict[str, float]


def evaluate(task: EvaluationTask, watcher: Watcher | None = None) -> tuple[RunRecord, Path] | None:
    """Evaluate one system on one benchmark and save the run.

    Features are kept below `task.features`, so that the same command goes on after any interruption, and other
    re-rankings of the same model take no second pass over the photos.

    Returns:
        The record and its folder; None if the watcher stopped it.

    Raises:
        NothingToDo: photos are missing or damaged, and that was not allowed.
        ConfigError: the model lacks what the plan needs.
    """
    with measuring(task, watcher or Watcher()) as found:
        if found is None:
            return None
        record = record_of(task.benchmark, found.answers, found.card, found.cost)
        folder = task.folder(found.spec)
        if task.report:
            folder.mkdir(parents=True, exist_ok=True)
            _write_report(task, record, found, folder / REPORT)
        write_run(folder, record, task.benchmark, found.answers)
        return record, folder


def _write_report(task: EvaluationTask, record: RunRecord, found: Measured, file: Path) -> None:
    with WorkerPool(PIXELS_ONLY) as pool:
        photos = BenchmarkPhotos(task.benchmark, pool, task.distractors[1] if task.distractors else ())
        matches = None
        if found.local is not None and task.plan.needs_local and not found.answers.listed:
            boxes = {query.id: task.box_of(query) for query in task.benchmark.queries}
            matches = match_pictures(task.benchmark, found.answers, record, found.local, boxes, pool)
        queries = answered_queries(task.benchmark, found.answers, record, photos.asked, matches)
        build_report(record, queries, file, photos.finder())


@dataclass(frozen=True, slots=True)
class Measured:
    """The answers of a task, before anything is scored.

    Attributes:
        answers: the rankings.
        card: what they were made with.
        cost: what they cost.
        spec: of the model.
        local: where its local features come from; None where it has none.
    """

    answers: Answers
    card: dict[str, Any]
    cost: dict[str, float]
    spec: ExtractorSpec
    local: LocalSource | None


@contextmanager
def measuring(task: EvaluationTask, watcher: Watcher, top: int = TOP) -> Iterator[Measured | None]:
    """Describe what has to be described, and rank; gives None if the watcher stopped it.

    The features can be read as long as it is entered.

    Raises:
        NothingToDo: photos are missing or damaged, and that was not allowed.
        ConfigError: the model lacks what the plan needs.
    """
    benchmark = task.benchmark
    if benchmark.root is None:
        raise ConfigError(
            f"{benchmark.name}: only the ground truth is there, no photos. → put them beside it, or score a result "
            "file with --results"
        )
    incomplete = _check_files(task)
    source = ModelSource(task.model, task.device, task.batch_size)
    spec = source.spec
    if task.plan.needs_local and not spec.local_dim:
        raise ConfigError(f"{spec.model} has no local features: --rerank {task.plan.title} needs them. → --rerank none")
    found = _describe_all(task, source, spec, watcher)
    if found is None:
        yield None
        return
    try:
        _expect_all(task, found, watcher)
        local = _Local(found.gallery, found.distractors, found.queries, found.turns) if spec.local_dim else None
        started = time.perf_counter()
        if task.plan.order == SEARCH:
            answers = _search(task, source, found, watcher)
        else:
            parts = [found.gallery] + ([found.distractors] if found.distractors else [])
            vectors = map_vectors(_place(task, spec), parts, spec.dim)
            queries = found.queries.vectors().reshape(len(benchmark.queries), found.turns, spec.dim)
            answers = answer(benchmark, vectors, queries, task.plan, watcher, local, (spec.model, spec.weights), top)
        if answers is None:
            yield None
            return
        cost = found.cost | _cost_of(
            task.plan, spec, found, answers, len(benchmark.queries), time.perf_counter() - started
        )
        yield Measured(answers, _card(task, source, spec, found, incomplete), cost, spec, local)
    finally:
        for collection in found.collections:
            collection.close()


def record_of(benchmark: Benchmark, answers: Answers, card: dict[str, Any], cost: dict[str, float]) -> RunRecord:
    """Score the answers."""
    protocol = benchmark.protocol
    names = benchmark.gallery
    queries = []
    for number, (query, scores) in enumerate(zip(benchmark.queries, answers.scores(benchmark), strict=True)):
        top = {
            setup: tuple(
                names[photo] if photo < len(names) else f"distractor {photo - len(names)}"
                for photo in answers.first(benchmark, number, setup, SHOWN).tolist()
            )
            for setup in protocol.setups
        }
        queries.append(QueryRecord(query.id, scores, top))
    groups = {name: tuple(sorted(ids)) for name, ids in benchmark.groups.items()}
    return RunRecord(
        benchmark.name,
        protocol.title,
        tuple(protocol.setups),
        protocol.cutoffs,
        card,
        cost,
        tuple(queries),
        groups,
        benchmark.place,
    )


def whole_box(corners: Corners, rounding: str) -> Box:
    """x, y, width, height in whole pixels of a box given by its corners."""
    x1, y1, x2, y2 = (int(value) if rounding == "trunc" else round(value) for value in corners)
    return (x1, y1, x2 - x1, y2 - y1)


def _query_items(task: EvaluationTask, root: Path, query: BenchmarkQuery, turns: int) -> list[Item]:
    return [Item(query.id, os.path.join(root, query.file), task.box_of(query), turn) for turn in range(turns)]


def _check_files(task: EvaluationTask) -> int:
    """How many photos are not there.

    Raises:
        NothingToDo: some are not, and that was not allowed.
    """
    benchmark = task.benchmark
    assert benchmark.root is not None
    lists = [(benchmark.name, [os.path.join(benchmark.root, file) for file in files_of(benchmark)])]
    if task.distractors:
        lists.append((task.distractors[0], list(task.distractors[1])))
    absent = 0
    for name, files in lists:
        missing = [file for file in files if not os.path.isfile(file)]
        absent += len(missing)
        if missing and not task.allow_incomplete:
            raise NothingToDo(
                f"{name}: {len(files):,} names listed, {len(files) - len(missing):,} pictures found; {len(missing):,} "
                f"missing (first: {missing[0]}). Evaluating on the present ones would not be {name}. "
                f"→ glocal data verify {name}, or --allow-incomplete (marked in the result)"
            )
    return absent


def _place(task: EvaluationTask, spec: ExtractorSpec) -> Path:
    """Where the features of a benchmark's photos by a model are kept."""
    assert task.benchmark.root is not None
    root = hashlib.sha256(os.fsencode(task.benchmark.root.resolve())).hexdigest()[:8]
    recipe = hashlib.sha256(spec.to_json().encode()).hexdigest()[:12]
    return task.features / f"{task.benchmark.name}-{root}" / f"{spec.model}-{recipe}"


def _describe_all(task: EvaluationTask, source: ModelSource, spec: ExtractorSpec, watcher: Watcher) -> _Features | None:
    benchmark, place = task.benchmark, _place(task, spec)
    root = benchmark.root
    assert root is not None
    turns = 1 if task.upright or task.plan.is_published else source.query_turns
    gallery = [
        Item(name, os.path.join(root, file)) for name, file in zip(benchmark.gallery, benchmark.files, strict=True)
    ]
    queries = [item for query in benchmark.queries for item in _query_items(task, root, query, turns)]
    work: list[tuple[str, Path, ExtractorSpec, list[Item], str]] = [
        ("gallery", place / "gallery", spec, gallery, f"Describing {benchmark.name}"),
        ("queries", place / "queries", spec, queries, "Describing queries"),
    ]
    if task.distractors:
        name, files = task.distractors
        items = [Item(f"{i:07}/{os.path.basename(file)}", file) for i, file in enumerate(files)]
        kept = spec if task.plan.needs_local else replace(spec, local_dim=0, max_features=0)
        folder = task.features / name / f"{place.name}{'' if kept == spec else '-global'}"
        work.append((name, folder, kept, items, f"Describing {name}"))
    stored: dict[str, StoredPhotos] = {}
    collections: list[Collection] = []
    damaged: list[tuple[str, str]] = []
    cost = _Costs(place / "cost.json")
    for name, folder, kept, items, title in work:
        collection = open_features(folder, kept, source.source)
        collections.append(collection)
        report = describe(collection, items, lambda: source.pool(task.workers), title, watcher)
        if report.stopped:
            for each in collections:
                each.close()
            return None
        damaged += report.damaged
        if name == "gallery" and report.done >= 100:
            cost.note("photos_per_s", report.done / report.seconds)
        if name == "queries" and report.extract_s:
            cost.note(f"ms_describe_query, {turns} turns", 1000 * turns * statistics.median(report.extract_s))
        stored[name] = StoredPhotos(collection, items)
    distractors = stored[task.distractors[0]] if task.distractors else None
    return _Features(stored["gallery"], distractors, stored["queries"], collections, turns, damaged, cost.of(turns))


class _Costs:
    """What describing cost when it was done: kept beside the features, for the runs that find them there."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            found = json.loads(file.read_bytes())
            self._values = {str(name): float(value) for name, value in found.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            self._values = {}

    def note(self, name: str, value: float) -> None:
        """Remember a figure."""
        self._values[name] = value
        write_atomically(json.dumps(self._values).encode(), self._file)

    def of(self, turns: int) -> dict[str, float]:
        """The figures of a run that describes queries in so many turns."""
        known = {
            "photos_per_s": self._values.get("photos_per_s"),
            "ms_describe_query": self._values.get(f"ms_describe_query, {turns} turns"),
        }
        return {name: value for name, value in known.items() if value is not None}


def _expect_all(task: EvaluationTask, found: _Features, watcher: Watcher) -> None:
    """Photos that could not be read: of the benchmark refused, of distractors counted (they become zero vectors)."""
    lacking = len(found.gallery.missing) + len(found.queries.missing)
    if lacking and not task.allow_incomplete:
        key, why = found.damaged[0] if found.damaged else ("?", "not described")
        raise NothingToDo(
            f"{task.benchmark.name}: {lacking:,} pictures cannot be read (first: {key} — {why}). Scores without "
            f"them would not be those of {task.benchmark.name}. "
            "→ repair them, or --allow-incomplete (marked in the result)"
        )
    if found.queries.missing:
        raise NothingToDo(f"{task.benchmark.name}: query {found.queries.missing[0] // found.turns} cannot be read")
    if found.distractors and found.distractors.missing:
        watcher.say(
            f"{len(found.distractors.missing):,} distractors cannot be read: each keeps its place as a zero vector"
        )


def _search(task: EvaluationTask, source: ModelSource, found: _Features, watcher: Watcher) -> Answers | None:
    """What `glocal search` answers: the ranking of the whole gallery by the product's own pipeline."""
    benchmark = task.benchmark
    collection = found.collections[0]
    number_of = {name: i for i, name in enumerate(benchmark.gallery)}
    started = time.perf_counter()
    orders: list[Indices] = []
    watcher.begin("Searching", len(benchmark.queries), 0)
    try:
        with Searcher(collection, model=source) as searcher:
            for done, query in enumerate(benchmark.queries, 1):
                assert benchmark.root is not None
                result = searcher.search(
                    benchmark.root / query.file, len(number_of), box=task.box_of(query), upright=task.upright
                )
                names = (name for hit in result for name in (hit.name, *hit.copies))
                orders.append(np.array([number_of[name] for name in names], np.int64))
                watcher.advanced(done, len(benchmark.queries), 0)
                if watcher.should_stop():
                    return None
    finally:
        watcher.end()
    seconds = time.perf_counter() - started
    return answers_from_lists(benchmark, orders, {"search": seconds})


def answers_from_lists(
    benchmark: Benchmark, orders: Sequence[Indices], seconds: dict[str, float], num_distractors: int = 0
) -> Answers:
    """Answers where each query has a list of gallery indices, best first; what is not listed has place -1."""
    longest = max((len(order) for order in orders), default=0)
    top = np.full((len(orders), longest), -1, np.int64)
    labelled = tuple(query.labelled() for query in benchmark.queries)
    size = len(benchmark.gallery) + num_distractors
    places = []
    for row, order, photos in zip(top, orders, labelled, strict=True):
        row[: len(order)] = order
        place_of = np.full(size, -1, np.int64)
        place_of[order[::-1]] = np.arange(len(order))[::-1]
        places.append(place_of[photos])
    similarities = np.full(top.shape, np.nan, np.float32)
    ranking = Ranking(size, top, similarities, labelled, tuple(places))
    return Answers(ranking, {}, seconds)


def _cost_of(
    plan: Plan, spec: ExtractorSpec, found: _Features, answers: Answers, num_queries: int, seconds: float
) -> dict[str, float]:
    photos = len(found.gallery) - len(found.gallery.missing)
    cost = {"bytes_global": 4.0 * spec.dim}
    if spec.local_dim:
        cost["bytes_local"] = found.gallery.local_bytes() / max(1, photos)
    cost |= {f"ms_{stage}": 1000 * spent / num_queries for stage, spent in answers.seconds.items()}
    describing = 0.0 if plan.order == SEARCH else found.cost.get("ms_describe_query", 0.0)  # search describes itself
    cost["ms_per_query"] = 1000 * seconds / num_queries + describing
    cost["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return cost


def _card(
    task: EvaluationTask, source: ModelSource, spec: ExtractorSpec, found: _Features, incomplete: int
) -> dict[str, Any]:
    benchmark = task.benchmark
    about: dict[str, Any] = {
        **benchmark_card(benchmark),
        "distractors": "none" if task.distractors is None else f"{task.distractors[0]}, {len(task.distractors[1]):,}",
        "images": found.gallery.digest(),
        "incomplete": incomplete + len(found.damaged),
        "crop": f"on, corners by {task.crop_rounding}" if task.crop else "off",
        "query_turns": found.turns,
        "exif": spec.exif,
        "colour": spec.colour,
        "resize": spec.resize,
        "image_size": spec.image_size,
        "scales": list(spec.scales),
        "model": spec.model,
        "weights": spec.weights,
        "dim": spec.dim,
        "local_dim": spec.local_dim,
        "max_features": spec.max_features,
    }
    device = "cpu"
    if source.is_network:
        how = source.network().preprocessing
        device = source.network().device
        about["local_scales"] = list(how.local_scales)
        about["query_scale"] = "as a whole photo" if how.resize == "area" else "as it would have in its reduced photo"
    return about | task.plan.about() | machine_card(device, task.command)


def benchmark_card(benchmark: Benchmark) -> dict[str, Any]:
    """What was asked."""
    return {
        "benchmark": benchmark.name,
        "protocol": benchmark.protocol.name,
        "ground_truth": benchmark.digest(),
        "gallery": len(benchmark.gallery),
        "queries": len(benchmark.queries),
        "notes": list(benchmark.notes),
    }


def machine_card(device: str, command: str) -> dict[str, Any]:
    """By what, where and when it was computed."""
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "versions": cards.versions(),
        "machine": cards.machine(device),
    }
