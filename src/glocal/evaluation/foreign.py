"""The result file of any other system, scored by the same protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from glocal.errors import ConfigError
from glocal.evaluation.answering import Answers, answer
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.card import UNKNOWN_CROP
from glocal.evaluation.evaluate import answers_from_lists, benchmark_card, machine_card, record_of
from glocal.evaluation.features import Watcher
from glocal.evaluation.methods import LOCAL_METHODS, SEARCH, Plan
from glocal.evaluation.record import RunRecord
from glocal.evaluation.report import FILE as REPORT
from glocal.evaluation.report import BenchmarkPhotos, answered_queries, build_report
from glocal.evaluation.results.reader import read_results
from glocal.evaluation.results.types import Features
from glocal.evaluation.run_folder import write_run
from glocal.extract.pool import WorkerPool
from glocal.extract.requests import PIXELS_ONLY


def score_file(
    benchmark: Benchmark,
    file: Path,
    names: Path | None,
    plan: Plan,
    folder: Path,
    command: str = "",
    ignored: Collection[str] = (),
    distractors: tuple[str, int] | None = None,
    report: bool = True,
) -> tuple[RunRecord, Path]:
    """Score a result file and save the run.

    Args:
        benchmark: the questions; its photos need not be there.
        file: ranked lists, or features.
        names: names of the rows of a .npy file.
        plan: re-ranking of features by methods that need no photos.
        folder: of the run.
        command: what was typed.
        ignored: queries that the file may have and that are not scored, as a submission to Kaggle has them.
        distractors: name and number of photos that were added to the gallery after its own; None for none.
        report: whether to write report.html, if the photos are there.

    Raises:
        ConfigError: the file is malformed, or its ids are not those of the benchmark.
    """
    if wanting := (LOCAL_METHODS | {SEARCH}) & set(plan.names):
        raise ConfigError(
            f"--rerank {min(wanting)} needs photos; {file.name} has none → dba, aqe, diffusion or superglobal"
        )
    found = read_results(file, benchmark, names, ignored, distractors[1] if distractors else 0)
    answers: Answers | None
    if isinstance(found, Features):
        answers = answer(benchmark, found.gallery, found.queries[:, None], plan, Watcher())
    elif plan.names:
        raise ConfigError(f"{file.name} holds ranked lists: --rerank {plan.title} needs features → a .npy or .mat file")
    else:
        answers = answers_from_lists(benchmark, found.lists, {}, distractors[1] if distractors else 0)
        if found.scores is not None:
            answers = replace(answers, listed=tuple(zip(found.lists, found.scores, strict=True)))
    assert answers is not None  # nobody stops it
    card = {
        **benchmark_card(benchmark),
        "distractors": f"{distractors[0]}, {distractors[1]:,}" if distractors else "none",
        "incomplete": 0,
        "crop": UNKNOWN_CROP,
        "model": f"(result file) {file.name}",
        "results": f"{file.name}, SHA-256 {_digest(file)}",
        **plan.about(),
        **machine_card("cpu", command),
    }
    record = record_of(benchmark, answers, card, {})
    if report and benchmark.root is not None and (benchmark.root / benchmark.files[0]).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with WorkerPool(PIXELS_ONLY) as pool:
            photos = BenchmarkPhotos(benchmark, pool)
            build_report(
                record, answered_queries(benchmark, answers, record, photos.asked), folder / REPORT, photos.finder()
            )
    write_run(folder, record, benchmark, answers)
    return record, folder


def _digest(path: Path) -> str:
    """SHA-256 of a file; of a folder that of its files' digests, by name."""
    if path.is_dir():
        parts = "".join(_digest(part) for part in sorted(path.iterdir()) if part.is_file())
        return hashlib.sha256(parts.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
