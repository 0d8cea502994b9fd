"""Evaluate several models on several benchmarks, and put the numbers into one table.

Every model is evaluated on every benchmark with every re-ranking, as glocal eval does it, and every run is saved. A
word after --rerank is a row of its own; commas join methods: --rerank none geometric aqe,geometric. What fails leaves a
row that says why, and the others go on. The same command goes on after any interruption.

  glocal bench --model delg-r50 dolg-r50 --data roxford5k rparis6k --root ~/data -o table.md,table.csv,table.tex
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from glocal.cli import exits
from glocal.cli.evaluation_options import DATA_VARIABLE, BarWatcher, add_method_arguments, plan_of, task_of
from glocal.cli.signals import Interruption
from glocal.errors import ConfigError, RetrievalError
from glocal.evaluation.record import RunRecord
from glocal.evaluation.tables import WRITERS, FailedRun, Table, table_of, to_markdown
from glocal.pictures.files import write_atomically


@dataclass(frozen=True, slots=True)
class Case:
    """One evaluation that is wanted."""

    model: str
    data: str
    rerank: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("--model", nargs="+", required=True, metavar="NAME|DIR", help="models to compare")
    add("--data", nargs="+", required=True, metavar="NAME|DIR", help="benchmarks to compare them on")
    add(
        "--root",
        metavar="DIR",
        default=os.environ.get(DATA_VARIABLE),
        help=f"the folder of the benchmarks (default: ${DATA_VARIABLE})",
    )
    add_method_arguments(parser)
    add(
        "-o",
        "--output",
        metavar="FILE[,FILE]",
        help=f"also write the table, as the suffix says: {', '.join(WRITERS)}; several with commas between",
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate all; returns the exit code."""
    files = _files(options.output)
    axes = (options.model, options.data, options.rerank)
    cases = [Case(*names) for names in itertools.product(*map(dict.fromkeys, axes))]
    for case in cases:
        plan_of(_options_of(case, options))  # a mistyped method is refused before hours of work
    records: list[RunRecord | FailedRun] = []
    with Interruption() as interruption:
        for number, case in enumerate(cases, 1):
            _say(f"[{number}/{len(cases)}] {case.model} · {case.data} · {case.rerank}", options)
            record = _attempt(case, options, interruption)
            if record is None:
                _say("Stopped; what was described is saved. Run the same command to continue.", options)
                return interruption.exit_code
            records.append(record)
    table = table_of(records)
    for line in to_markdown(table).splitlines():
        print(exits.printable(line))
    for file in files:
        _write(table, file)
        _say(f"Table: {file.absolute()}", options)
    failed = sum(isinstance(each, FailedRun) for each in records)
    if failed:
        _say(f"{failed} of {len(cases)} evaluations failed. → the same command tries them again", options)
    return exits.PARTIAL if failed else exits.DONE


def _attempt(case: Case, options: argparse.Namespace, interruption: Interruption) -> RunRecord | FailedRun | None:
    """One evaluation, or why there is none: hours of others must not be lost for it. None if it was stopped."""
    try:
        return _run_one(case, options, interruption)
    except RetrievalError as error:
        if options.debug:
            traceback.print_exc()
        reason = str(error)
    except Exception as error:
        if options.debug:
            raise
        reason = f"unexpected {type(error).__name__}: {error}. This is a bug in glocal → --debug shows the traceback"
    _say(f"  failed: {reason}", options)
    benchmark = f"{case.data} + {options.distractors}" if options.distractors else case.data
    return FailedRun(case.model, benchmark, case.rerank, reason)


def _run_one(case: Case, options: argparse.Namespace, interruption: Interruption) -> RunRecord | None:
    """Evaluate as `glocal eval` does; None if a signal stopped it."""
    from glocal.evaluation.datasets.catalogue import open_benchmark  # noqa: PLC0415 - help must be instant
    from glocal.evaluation.evaluate import evaluate  # noqa: PLC0415

    own = _options_of(case, options)
    benchmark = open_benchmark(case.data, None if own.data is None else Path(own.data))
    outcome = evaluate(task_of(benchmark, case.model, own), BarWatcher(interruption, own.quiet))
    if outcome is None:
        return None
    record, folder = outcome
    _say(f"  saved {folder}", options)
    return record


def _options_of(case: Case, options: argparse.Namespace) -> argparse.Namespace:
    """What `glocal eval` would have been given: there, --data is the folder of the benchmarks."""
    return argparse.Namespace(**vars(options) | {"data": options.root, "rerank": [case.rerank]})


def _files(text: str | None) -> list[Path]:
    """Where the table is wanted, checked before hours of work.

    Raises:
        ConfigError: a suffix is unknown, or a folder is not there.
    """
    files = [Path(name.strip()) for name in text.split(",")] if text is not None else []
    for file in files:
        if file.suffix.lower() not in WRITERS:
            raise ConfigError(f'-o "{file}": a table ends in {", ".join(WRITERS)} → -o table.md,table.csv,table.tex')
        if file.is_dir() or not file.absolute().parent.is_dir():
            raise ConfigError(f'-o "{file}" cannot be written: no such folder, or a folder itself → name another file')
    return files


def _write(table: Table, file: Path) -> None:
    try:
        write_atomically(WRITERS[file.suffix.lower()](table).encode("utf-8"), file)
    except OSError as error:
        raise ConfigError(f'-o "{file}" cannot be written: {error.strerror} → the table is on stdout') from error


def _say(line: str, options: argparse.Namespace) -> None:
    if not options.quiet:
        print(exits.printable(line), file=sys.stderr, flush=True)
