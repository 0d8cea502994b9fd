"""Measure a model on a benchmark, score a result file of any system, or compare two runs.

DATA is roxford5k, rparis6k, oxford5k, paris6k, gldv2, gldv2-recognition, instre, holidays, ukbench or ilias below
--data; or a folder of one's own (with groundtruth.json, or one folder per object), or a .csv of paths and labels. Each
run is saved in a folder: metrics.json, ranks.npz, card.md, report.html. The same command goes on after any
interruption.

  glocal eval roxford5k rparis6k --data ~/data --model dolg-r101
  glocal eval my-photos/ --rerank geometric
  glocal eval roxford5k --data ~/data --results theirs.npz
  glocal eval compare runs/A runs/B
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.cli import exits
from glocal.cli.evaluation_options import (
    BarWatcher,
    add_data_root,
    add_method_arguments,
    distractors_of,
    plan_of,
    task_of,
)
from glocal.cli.signals import Interruption
from glocal.errors import ConfigError
from glocal.models.catalogue import default_model

if TYPE_CHECKING:
    from glocal.evaluation.benchmark import Benchmark
    from glocal.evaluation.record import RunRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("what", nargs="+", metavar="DATA", help='benchmarks; or "compare" and two runs')
    add_data_root(parser)
    parser.add_argument("--model", metavar="NAME|DIR", help=f"what is measured (default: {default_model()})")
    add_method_arguments(parser)
    add = parser.add_argument
    add(
        "--results",
        metavar="FILE",
        help="score a result file instead: ranks.npz, Kaggle .csv, ILIAS .json, TREC run, .npy, .mat",
    )
    add("--names", metavar="FILE", help="names of the rows of a .npy, one per line")
    add("--out", metavar="DIR", help="the run's folder, or that of several (default: runs/ and what was measured)")
    add("--votes", type=int, default=5, metavar="K", help="gldv2-recognition: photos that vote (default: %(default)s)")
    add(
        "--inlier-cap",
        type=int,
        default=70,
        metavar="N",
        help="gldv2-recognition: more inliers count as so many (default: %(default)s)",
    )
    add(
        "--alpha",
        type=float,
        default=0.25,
        metavar="A",
        help="gldv2-recognition: weight of the similarity (default: %(default)s)",
    )
    add("--all-train", action="store_true", help="gldv2-recognition: search train.csv instead of train_clean.csv")
    add("--no-report", action="store_true", help="write no report.html")
    add("--json", action="store_true", help="one JSON object per benchmark on stdout")


def run(options: argparse.Namespace) -> int:
    """Evaluate; returns the exit code."""
    if options.what[0] == "compare":
        from glocal.cli.eval_compare import run_compare  # noqa: PLC0415 - help must be instant

        return run_compare(options.what[1:], options.json)
    from glocal.evaluation.datasets.catalogue import open_benchmark  # noqa: PLC0415 - help must be instant
    from glocal.evaluation.recognition_run import NAME as RECOGNITION  # noqa: PLC0415

    root = None if options.data is None else Path(options.data)
    if options.results and len(options.what) > 1:
        raise ConfigError(f"--results scores one file on one benchmark, not on {len(options.what)}")
    with Interruption() as interruption:
        for name in options.what:
            if name == RECOGNITION:
                if not _recognise(root, options, interruption):
                    return interruption.exit_code
                continue
            benchmark = open_benchmark(name, root)
            outcome = _score_file(benchmark, options) if options.results else _measure(benchmark, options, interruption)
            if outcome is None:
                print("Stopped; what was described is saved. Run the same command to continue.", file=sys.stderr)
                return interruption.exit_code
            _tell(*outcome, options)
    return exits.DONE


def _recognise(root: Path | None, options: argparse.Namespace, interruption: Interruption) -> bool:
    """Measure recognition, or score a file of predictions; returns False if it was stopped."""
    from glocal.evaluation import recognition_run as recognition  # noqa: PLC0415 - help must be instant
    from glocal.evaluation.datasets.landmarks import RECOGNITION, home_of  # noqa: PLC0415
    from glocal.rerank.voting import VotingOptions  # noqa: PLC0415

    if root is None:
        raise ConfigError(f"Where is {recognition.NAME}? → --data DIR or GLOCAL_DATA, the folder of gldv2")
    if options.results:
        file = Path(options.results)
        folder = Path(options.out) if options.out else Path("runs") / f"{recognition.NAME}-{file.stem}"
        scores = recognition.score_predictions(home_of(root, RECOGNITION) / RECOGNITION, file, folder, options.typed)
    else:
        benchmark = recognition.read_recognition(root, not options.all_train)
        out = Path(options.out) if options.out else None
        task = task_of(benchmark.photos, options.model or default_model(), options, out)
        votes = VotingOptions(options.votes, options.inlier_cap, options.alpha)
        found = recognition.recognise_all(benchmark, task, votes, BarWatcher(interruption, options.quiet))
        if found is None:
            print("Stopped; what was described is saved. Run the same command to continue.", file=sys.stderr)
            return False
        scores, folder = found
    for line in recognition.lines_of(scores):
        print(line)
    print(f"saved {exits.printable(str(folder))}/  (metrics.json, predictions.csv, card.md)", file=sys.stderr)
    return True


def _measure(
    benchmark: Benchmark, options: argparse.Namespace, interruption: Interruption
) -> tuple[RunRecord, Path] | None:
    from glocal.evaluation.evaluate import evaluate  # noqa: PLC0415 - help must be instant

    out = None if options.out is None else Path(options.out) / (benchmark.name if len(options.what) > 1 else "")
    task = task_of(benchmark, options.model or default_model(), options, out, not options.no_report)
    return evaluate(task, BarWatcher(interruption, options.quiet))


def _score_file(benchmark: Benchmark, options: argparse.Namespace) -> tuple[RunRecord, Path]:
    from glocal.evaluation.datasets.landmarks import unscored_ids  # noqa: PLC0415 - help must be instant
    from glocal.evaluation.foreign import score_file  # noqa: PLC0415
    from glocal.evaluation.protocol import LANDMARKS  # noqa: PLC0415

    file = Path(options.results)
    names = None if options.names is None else Path(options.names)
    out = Path(options.out) if options.out else Path("runs") / f"{benchmark.name}-{file.stem}"
    ignored = unscored_ids(Path(options.data)) if benchmark.protocol == LANDMARKS and options.data else ()
    extra = distractors_of(options)
    added = None if extra is None else (extra[0], len(extra[1]))
    return score_file(
        benchmark, file, names, plan_of(options), out, options.typed, ignored, added, not options.no_report
    )


def _tell(record: RunRecord, folder: Path, options: argparse.Namespace) -> None:
    """Print the reference's lines, groups, cost, and where the run is."""
    from glocal.evaluation.printing import cost_line, group_lines, published_line, reference_lines  # noqa: PLC0415 - help must be instant

    if options.json:
        print(json.dumps({"folder": str(folder), **json.loads(record.to_json())}))
        return
    if not options.quiet:
        for note in record.card.get("notes", []):
            print(f"note: {exits.printable(note)}", file=sys.stderr)
    for line in (*reference_lines(record), published_line(record), *group_lines(record), cost_line(record)):
        if line and line.strip():
            print(exits.printable(line))
    report = ", report.html" if (folder / "report.html").is_file() else ""
    print(f"saved {exits.printable(str(folder))}/  (metrics.json, ranks.npz, card.md{report})", file=sys.stderr)
