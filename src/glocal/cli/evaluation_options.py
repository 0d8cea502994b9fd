"""Options that measuring one system and measuring several have in common, and the bar that they show."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.cli.index import DEVICE_HELP
from glocal.cli.signals import Interruption
from glocal.evaluation.features import Watcher
from glocal.evaluation.methods import METHODS, Plan, parse_plan
from glocal.progress import BarListener

if TYPE_CHECKING:
    from glocal.evaluation.benchmark import Benchmark
    from glocal.evaluation.evaluate import EvaluationTask

DATA_VARIABLE = "GLOCAL_DATA"


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """Describe where benchmarks lie."""
    root = os.environ.get(DATA_VARIABLE)
    parser.add_argument(
        "--data",
        metavar="DIR",
        default=root,
        help=f"the folder of the benchmarks (default: ${DATA_VARIABLE}{f', now {root}' if root else ''})",
    )


def add_method_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe how it is measured."""
    add = parser.add_argument
    add("--distractors", metavar="NAME", help="photos that are added to the gallery: revisitop1m, or a folder")
    add(
        "--rerank",
        nargs="+",
        default=["none"],
        metavar="METHOD",
        help="one or more of: " + "; ".join(f"{name} ({text})" for name, text in METHODS.items()).replace("%", "%%"),
    )
    add(
        "--rerank-depth",
        type=int,
        metavar="K",
        help="candidates that are re-ranked (default: the published number, 100 or 400)",
    )
    add(
        "--keep-junk",
        action="store_true",
        help="let junk take places among them (default: the method's published rule)",
    )
    add(
        "--no-crop",
        action="store_true",
        help="describe whole queries instead of their boxes: another protocol, and marked so",
    )
    add(
        "--crop-rounding",
        default="round",
        metavar="RULE",
        help="corners of boxes in pixels: round (DELG), pil (cirtorch, Token) or trunc (DOLG)",
    )
    add(
        "--upright", action="store_true", help="describe queries only as they are, also where a model wants them turned"
    )
    add("--seed", type=int, default=0, metavar="N", help="of what is drawn at random (default: %(default)s)")
    add(
        "--allow-incomplete",
        action="store_true",
        help="go on where photos are missing or damaged; the result is marked",
    )
    add("--features", metavar="DIR", default="runs/features", help="where features are kept (default: %(default)s)")
    add("--device", default="auto", metavar="D", help=DEVICE_HELP)
    add("--batch-size", default="auto", metavar="N", help="photos of one size that go through a network together")
    add("-q", "--quiet", action="store_true", help="say nothing but results and errors")


def plan_of(options: argparse.Namespace) -> Plan:
    """The re-ranking that the options ask for."""
    return parse_plan(options.rerank, options.rerank_depth, False if options.keep_junk else None, options.seed)


def distractors_of(options: argparse.Namespace) -> tuple[str, tuple[str, ...]] | None:
    """Name and files of what is added to the gallery; None for nothing.

    Raises:
        ConfigError: it is not there.
    """
    from glocal.evaluation.datasets.revisited import distractor_files  # noqa: PLC0415 - help must be instant

    if not options.distractors:
        return None
    return distractor_files(options.distractors, None if options.data is None else Path(options.data))


def task_of(
    benchmark: Benchmark, model: str, options: argparse.Namespace, out: Path | None = None, report: bool = True
) -> EvaluationTask:
    """What the options ask for.

    Raises:
        ConfigError: an option makes no sense.
    """
    from glocal.evaluation.evaluate import EvaluationTask  # noqa: PLC0415 - help must be instant

    batch = options.batch_size
    return EvaluationTask(
        benchmark,
        model,
        plan_of(options),
        distractors_of(options),
        crop=not options.no_crop,
        crop_rounding=options.crop_rounding,
        upright=options.upright,
        device=options.device,
        batch_size=int(batch) if batch.isdecimal() else batch,
        allow_incomplete=options.allow_incomplete,
        features=Path(options.features),
        out=out,
        report=report,
        command=options.typed,
    )


class BarWatcher(Watcher):
    """A bar on stderr for each long step, and the first signal to stop after it is saved."""

    def __init__(self, interruption: Interruption, quiet: bool = False) -> None:
        self._interruption = interruption
        self._quiet = quiet
        self._bar: BarListener | None = None

    def begin(self, title: str, total: int, before: int) -> None:
        """Start a bar."""
        if not self._quiet:
            self._bar = BarListener(title=title)
            self._bar.begin(total, before)

    def advanced(self, done: int, total: int, skipped: int) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.advanced(done, total, skipped)

    def end(self) -> None:
        """Take the bar down."""
        if self._bar:
            self._bar.finish()
            self._bar = None

    def say(self, text: str) -> None:
        """Print a line on stderr."""
        if not self._quiet:
            print(text, file=sys.stderr)

    def should_stop(self) -> bool:
        """Whether a signal came."""
        return self._interruption.received is not None
