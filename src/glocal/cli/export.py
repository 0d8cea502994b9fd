"""Write an index in the formats of other programs: hloc (HDF5 and pairs), FAISS, Parquet.

  glocal export hloc INDEX --out DIR      global and local features, pairs of similar photos; --matches verifies them
  glocal export faiss INDEX --out DIR     index.faiss, and ids.parquet or ids.csv that say which row is which photo
  glocal export parquet INDEX --out DIR   photos.parquet: id, path, sha, w, h, label, global

`glocal export hloc --help` and so on explain the options. Files appear whole at the end, or not at all.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from glocal.cli import exits
from glocal.cli.index import DEVICE_HELP
from glocal.cli.places import find_index
from glocal.cli.signals import Interruption
from glocal.export.faiss_index import export_faiss
from glocal.export.hloc import export_hloc
from glocal.export.hloc_files import HlocOptions
from glocal.export.parquet import FILE_NAME, export_parquet
from glocal.export.photos import PRECISIONS, ExportReport
from glocal.export.queries import read_queries
from glocal.extract.compatibility import check_place, check_spec
from glocal.photo_index import Index
from glocal.progress import BarListener, thousands
from glocal.store.collection import Collection

_SHOWN = 10
"""Failed queries that are listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    targets = parser.add_subparsers(dest="target", metavar="hloc|faiss|parquet", required=True)
    hloc = _target(targets, "hloc", "HDF5 files and pairs for hloc and COLMAP", "the folder to write into")
    add = hloc.add_argument
    add("--queries", metavar="FILE|DIR", help="ask for these photos only: a folder, or a list of one path per line")
    add(
        "--topk",
        type=int,
        default=HlocOptions().topk,
        metavar="K",
        help="neighbours of each query (default: %(default)s)",
    )
    add("--matches", action="store_true", help="verify the pairs too, and write their inliers")
    add("--model", metavar="NAME|DIR", help="for --queries: where the weights that made the index are now")
    add("--device", default="auto", metavar="D", help=f"for --queries: {DEVICE_HELP}")
    _target(targets, "faiss", "a FAISS index of the global descriptors", "the folder to write into")
    parquet = _target(
        targets,
        "parquet",
        "one Parquet table of all photos",
        f"the folder for {FILE_NAME}, or a name that ends in .parquet",
    )
    for table in (hloc, parquet):
        table.add_argument(
            "--precision", choices=tuple(PRECISIONS), default="float16", help="of descriptors (default: %(default)s)"
        )


def _target(
    targets: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str, out: str
) -> argparse.ArgumentParser:
    parser = targets.add_parser(name, help=what, description=f"Write {what}.", allow_abbrev=False)
    add = parser.add_argument
    add("index", nargs="?", help="the index, or its folder of photos (default: the nearest .glocal, or the last made)")
    add("--out", required=True, metavar="PATH", help=out)
    add("--rename-map", metavar="FILE", help="give safe names to photos whose own do not fit, and write a CSV of them")
    add("--force", action="store_true", help="replace files that are there already")
    add("-q", "--quiet", action="store_true", help="say nothing but errors")
    add("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
    return parser


def run(options: argparse.Namespace) -> int:
    """Export; returns the exit code."""
    directory = find_index(options.index, Path.cwd())
    with Interruption() as interruption:
        teller = _Teller(interruption, options.quiet)
        try:
            report = _EXPORTS[options.target](directory, options, teller)
        except KeyboardInterrupt:
            print("Stopped. Nothing was written. Run the same command to start again.", file=sys.stderr)
            return interruption.exit_code
        finally:
            teller.finish()
    if not options.quiet:
        _conclude(report, options.index)
    for place in report.written:
        print(exits.printable(str(place)))
    return exits.DONE


class _Teller:
    """Shows how far the export is, and ends it after a signal."""

    def __init__(self, interruption: Interruption, quiet: bool) -> None:
        self._interruption, self._quiet = interruption, quiet
        self._what = ""
        self._bar: BarListener | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._interruption.received is not None:
            raise KeyboardInterrupt
        if self._quiet:
            return
        if what != self._what or self._bar is None:
            self.finish()
            self._what, self._bar = what, BarListener(title=what)
            self._bar.begin(total)
        self._bar.advanced(done, total, 0)

    def finish(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.finish()
            self._bar = None


def _hloc(directory: Path, options: argparse.Namespace, teller: _Teller) -> ExportReport:
    how = HlocOptions(options.topk, options.precision, options.matches, _map(options), options.force)
    out = Path(options.out)
    if options.queries is None:
        with Collection.open(directory) as collection:
            return export_hloc(collection, out, how, tick=teller)
    with Index.open(directory, options.model, options.device) as index:
        queries = read_queries(Path(options.queries), index.collection)
        if not queries.outside:
            return export_hloc(index.collection, out, how, queries, tick=teller)
        check_place(index.collection, index.model)
        check_spec(index.collection, index.model.spec, index.model.source)
        with index.model.pool(len(os.sched_getaffinity(0))) as pool:
            return export_hloc(index.collection, out, how, queries, pool, teller)


def _faiss(directory: Path, options: argparse.Namespace, teller: _Teller) -> ExportReport:
    with Collection.open(directory) as collection:
        return export_faiss(collection, Path(options.out), _map(options), options.force, teller)


def _parquet(directory: Path, options: argparse.Namespace, teller: _Teller) -> ExportReport:
    out = Path(options.out)
    place = out if out.suffix == ".parquet" else out / FILE_NAME
    with Collection.open(directory) as collection:
        return export_parquet(collection, place, options.precision, _map(options), options.force, teller)


_EXPORTS = {"hloc": _hloc, "faiss": _faiss, "parquet": _parquet}


def _map(options: argparse.Namespace) -> Path | None:
    return Path(options.rename_map) if options.rename_map else None


def _conclude(report: ExportReport, index: str | None) -> None:
    left_out = [
        f"{thousands(count)} {why}"
        for count, why in ((report.rejected, "skipped when it was indexed"), (report.missing, "missing"))
        if count
    ]
    if left_out:
        place = f" {exits.printable(index)}" if index else ""
        _say(f"Left out: {', '.join(left_out)}.  List: glocal info{place} --skipped, or --missing")
    for name, reason in report.failed[:_SHOWN]:
        _say(f"skipped  {exits.printable(name)} — {exits.printable(reason)}")
    if len(report.failed) > _SHOWN:
        _say(f"         … and {thousands(len(report.failed) - _SHOWN)} queries more")
    if report.tiffs:
        _say(
            f"{_count(report.tiffs, 'TIFF picture')}: where one has an orientation, which the index does not know, its "
            "keypoints are those of the upright picture."
        )
    done = [_count(report.photos, "photo")]
    if report.pairs:
        done.append(f"{_count(report.pairs, 'pair')} of {_count(report.queries, 'query', 'queries')}")
    if report.verified:
        done.append(f"{_count(report.verified, 'pair')} with matches")
    _say(f"✓ {', '.join(done)}.")


def _count(number: int, noun: str, nouns: str | None = None) -> str:
    return f"{thousands(number)} {noun if number == 1 else nouns or noun + 's'}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
