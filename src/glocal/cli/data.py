"""Verify the files of a benchmark: names every one that is missing, empty, no picture, or changed.

DATA is as for `glocal eval`, or revisitop1m. With --write-manifest the SHA-256 of every file is written down beside
them (SHA256SUMS, as `sha256sum` does it); from then on a changed file is found too.

  glocal data verify roxford5k rparis6k revisitop1m --data ~/data
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from glocal.cli import exits
from glocal.cli.evaluation_options import add_data_root
from glocal.errors import ConfigError
from glocal.progress import BarListener, thousands

SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("action", choices=("verify",), help="verify")
    add("what", nargs="+", metavar="DATA", help="benchmarks, or folders of one's own")
    add_data_root(parser)
    add("--write-manifest", action="store_true", help="write down the SHA-256 of every file, beside them")
    add("--list", action="store_true", help="print every file that is not right, not only the first")
    add("--json", action="store_true", help="one JSON object per data set on stdout")
    add("-q", "--quiet", action="store_true", help="show no progress")


def run(options: argparse.Namespace) -> int:
    """Verify; returns the exit code: 3 where something is wrong."""
    from glocal.evaluation.datasets.verification import (  # noqa: PLC0415 - help must be instant
        MANIFEST,
        verify_files,
        write_manifest,
    )

    code = exits.DONE
    for what in options.what:
        name, root, files = _files_of(what, None if options.data is None else Path(options.data))
        manifest = root / MANIFEST
        bar = None if options.quiet else BarListener(title=f"Verifying {name}")
        if bar:
            bar.begin(len(files))
        progress = None if bar is None else lambda done, total, bar=bar: bar.advanced(done, total, 0)
        try:
            if options.write_manifest:
                place = write_manifest(root, files, manifest, progress)
                print(f"wrote {exits.printable(str(place))} ({thousands(len(files))} files)", file=sys.stderr)
                continue
            report = verify_files(name, root, files, manifest if manifest.is_file() else None, progress)
        finally:
            if bar:
                bar.finish()
        if options.json:
            fields = {"name": name, "listed": report.num_listed, "found": report.num_found, "bytes": report.num_bytes}
            print(json.dumps({**fields, "complete": report.complete, "problems": report.problems}))
        else:
            print(exits.printable(report.message()))
            _print_files(report.problems, options.list)
        if not report.complete:
            code = exits.NOTHING
    return code


def _print_files(problems: Mapping[str, tuple[str, ...]], everything: bool) -> None:
    for reason, files in problems.items():
        for file in files if everything else files[:SHOWN]:
            print(f"  {reason:<18} {exits.printable(file)}")
        if not everything and len(files) > SHOWN:
            print(f"  … and {thousands(len(files) - SHOWN)} more: --list prints them all")


def _files_of(what: str, root: Path | None) -> tuple[str, Path, Sequence[str]]:
    """Name, folder and files of a data set."""
    from glocal.evaluation.datasets.catalogue import open_benchmark  # noqa: PLC0415 - help must be instant
    from glocal.evaluation.datasets.revisited import DISTRACTORS, distractors  # noqa: PLC0415
    from glocal.evaluation.datasets.verification import files_of  # noqa: PLC0415

    if what == DISTRACTORS:
        if root is None:
            raise ConfigError(f"Where is {DISTRACTORS}? → --data DIR or GLOCAL_DATA, where DIR/{DISTRACTORS} is")
        found = distractors(root)
        return found.name, found.root, found.files
    benchmark = open_benchmark(what, root)
    if benchmark.root is None:
        raise ConfigError(
            f"{benchmark.name}: only the ground truth is there; all {len(files_of(benchmark)):,} pictures are missing. "
            f"→ put them in {os.path.join('DIR', benchmark.name, 'jpg')}"
        )
    return benchmark.name, benchmark.root, files_of(benchmark)
