"""Render a small photo collection, index it, search it, write a report.

The photos are rendered on this computer: nothing is downloaded. Run it again and only what is missing is done.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from glocal.cli import exits
from glocal.cli.search import as_text
from glocal.data.scenes import write_demo
from glocal.photo_index import Index
from glocal.pictures.report import write_report
from glocal.progress import BarListener
from glocal.report import report_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("folder", nargs="?", default="glocal-demo", help="where it goes (default: %(default)s)")
    parser.add_argument("--open", action="store_true", help="open the first report in a browser")


def run(options: argparse.Namespace) -> int:
    """Run the demo; returns the exit code."""
    folder = Path(options.folder)
    demo = write_demo(folder, progress=_tell)
    with Index.open_or_create(folder / "photos/.glocal") as index:
        print(f"\n$ glocal index {folder / 'photos'}", file=sys.stderr)
        report = index.add(folder / "photos", listener=BarListener())
        print(f"✓ {report.indexed} pictures searchable.", file=sys.stderr)
        reports = []
        for query in (folder / name for name in demo.queries):
            print(f"\n$ glocal search {query}", flush=True)
            result = index.search(query)
            print(as_text(result, similar=False))
            file = folder / f"report-{query.stem}.html"
            write_report(report_of(result, index, f"glocal search {query}"), file)
            reports.append(file)
    print("\nReports, one for each search; they open from disk:")
    for file in reports:
        print(f"  {exits.printable(str(file))}")
    first = reports[0].resolve().as_uri()
    print(f"\nOpen {first}")
    print("Now with your own photos:  glocal index ~/Photos   and   glocal search PICTURE")
    if options.open:
        import webbrowser  # noqa: PLC0415

        webbrowser.open(first)
    return exits.DONE


def _tell(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    line = f"Rendering demo photos {done}/{total}"
    if sys.stderr.isatty():
        print(f"\r{line}", end=end, file=sys.stderr, flush=True)
    elif done in (1, total) or done % 20 == 0:
        print(line, file=sys.stderr)
