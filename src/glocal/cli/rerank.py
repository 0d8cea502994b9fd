"""Verify candidates that another system has found for a photo, and put them in order.

LIST has one path per line, or is a CSV file with a column "path"; "-" reads it from stdin. Paths are relative to the
list's folder. With --index they are photos of an index, relative to its folder, and nothing but the query is read.

  glocal rerank fountain.jpg candidates.txt
  my-search fountain.jpg | glocal rerank fountain.jpg - --index ~/Photos --json
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from glocal.candidates import DEPTH, MAX_CANDIDATES, Candidates, RerankResult
from glocal.cli import exits
from glocal.cli.index import DEVICE_HELP
from glocal.cli.places import STORE_HELP, find_index, server_place
from glocal.cli.search import as_json, as_text, parse_box
from glocal.data.input_file import MAX_LINE, numbered_lines
from glocal.errors import ConfigError
from glocal.models.catalogue import default_model
from glocal.progress import thousands
from glocal.store.open import Place

_SHOWN = 100
"""Skipped candidates that are listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("query", metavar="QUERY", help="a picture of the object")
    add("list", metavar="LIST", help='a text file with one path per line, a .csv with a column "path", or - for stdin')
    add("--index", metavar="DIR", help="candidates are photos of this index (or of the one in this folder of photos)")
    add("--store", metavar="URL", help=STORE_HELP)
    add("--model", metavar="NAME|DIR", help=f"what describes the photos (default: {default_model()}, or the index's)")
    add("--features", metavar="DIR", help="a folder that keeps the candidates' features for the next time")
    add("--device", default="auto", metavar="D", help=DEVICE_HELP)
    add("--topk", type=int, metavar="K", help="most hits to show (default: all)")
    add("--depth", type=int, default=DEPTH, metavar="N", help="most candidates to verify (default: %(default)s)")
    add(
        "--box",
        metavar="X,Y,W,H",
        help="where the object is, in pixels of the upright picture, or with %% of its sides",
    )
    add("--upright", action="store_true", help="do not look for the object on its side or head (networks; faster)")
    add("--strict", action="store_true", help="exit with 6 if any candidate was skipped")
    add("--json", action="store_true", help="one JSON object on stdout, with geometry")


def run(options: argparse.Namespace) -> int:
    """Re-rank; returns the exit code."""
    query = Path(options.query)
    names = read_candidates(options.list)
    place: Place | None = None
    if options.store:
        place = server_place(options.store, options.index)
    elif options.index:
        place = find_index(options.index)
    folder = Path() if options.list == "-" else Path(options.list).parent
    with Candidates(names, options.model, place, options.features, options.device, folder) as candidates:
        box = parse_box(options.box, query, candidates.index)
        result = candidates.rerank(query, box, options.topk, options.upright, options.depth)
        for warning in result.warnings:
            print(exits.printable(warning), file=sys.stderr)
        if options.json:
            skipped = [{"path": name, "reason": reason} for name, reason in result.skipped]
            print(json.dumps(as_json(result, candidates.index) | {"skipped": skipped}, ensure_ascii=True))
        else:
            print(as_text(result, similar=True))
    _tell_skipped(result)
    return exits.PARTIAL if options.strict and result.skipped else exits.DONE


def _tell_skipped(result: RerankResult) -> None:
    for name, reason in result.skipped[:_SHOWN]:
        print(f"skipped  {exits.printable(name)} — {exits.printable(reason)}", file=sys.stderr)
    more = len(result.skipped) - _SHOWN
    if more > 0:
        print(f"         … and {thousands(more)} more; --json lists all", file=sys.stderr)
    if result.skipped:
        print(f"{thousands(len(result.skipped))} candidates skipped.", file=sys.stderr)


def read_candidates(source: str) -> list[str]:
    """The paths that a list names, in its order.

    Args:
        source: a file, or "-" for stdin.

    Raises:
        ConfigError: there is no such file, or it is no such list; the message names the line.
    """
    lines = _stdin_lines() if source == "-" else numbered_lines(Path(source), hint="LIST is a file, or - for stdin")
    name = "stdin" if source == "-" else source
    found: list[str] = []
    for path in _paths(lines, name):
        found.append(path)
        if len(found) > MAX_CANDIDATES:
            raise ConfigError(f"{name}: more than {MAX_CANDIDATES:,} candidates → the best ones first")
    return found


def _paths(lines: Iterable[tuple[int, str]], name: str) -> Iterator[str]:
    numbered = iter(lines)
    for number, line in numbered:
        if number == 1 and "path" in line.split(","):
            yield from _column(line, numbered, name)
        elif "\0" in line:
            raise ConfigError(f"{name}, line {number}: a path cannot hold a zero byte → is it another file?")
        elif line:
            yield line


def _column(header: str, lines: Iterable[tuple[int, str]], name: str) -> Iterator[str]:
    """The column "path" of a CSV table."""
    place = header.split(",").index("path")
    reader = csv.reader((f"{line}\n" for _, line in lines), strict=True)
    try:
        for row in reader:
            if row and (len(row) <= place or not row[place] or "\0" in row[place]):
                raise ConfigError(
                    f'{name}, line {reader.line_num + 1}: no path in column {place + 1} → "path" names it'
                )
            if row:
                yield row[place]
    except csv.Error as error:
        raise ConfigError(f"{name}, line {reader.line_num + 1}: {error} → quote commas") from error


def _stdin_lines() -> Iterator[tuple[int, str]]:
    number = 0
    while line := sys.stdin.buffer.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise ConfigError(f"stdin, line {number}: longer than {MAX_LINE >> 20} MiB → one path per line")
        yield number, os.fsdecode(line).rstrip("\r\n")
