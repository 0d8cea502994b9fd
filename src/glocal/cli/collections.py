"""What `glocal index` does to whole indexes instead of folders: merge, split, export, import, relocate.

  glocal index merge OUT A B ...                   one index of several, of one model; equal pictures are kept once
  glocal index split INDEX OUT1 OUT2 ...           several of one: equal parts, or --list FILE, or --folder F
  glocal index export INDEX FILE                   one file to carry elsewhere, while others use the index
  glocal index import FILE DIR                     an index of such a file
  glocal index relocate OLD NEW                    the photos have moved from one folder to another

Sources are only read. A result appears whole, or not at all. A folder of photos that is called "merge" is "./merge".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from glocal.cli import exits, relocate
from glocal.cli.index import human_bytes
from glocal.cli.places import find_index
from glocal.data.input_file import numbered_lines
from glocal.errors import ConfigError
from glocal.progress import thousands
from glocal.store.bundle import export_bundle, import_bundle
from glocal.store.merging import by_folder, by_names, evenly, merge, split

_INDEX = "the index, or its folder of photos"
_NEW = "a folder that is not there yet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    actions = parser.add_subparsers(dest="action", metavar="merge|split|export|import|relocate", required=True)
    merging = _action(actions, "merge", "Make one index of several that one model made. Equal pictures are kept once.")
    merging.add_argument("out", metavar="OUT", help=f"the new index: {_NEW}")
    merging.add_argument("indexes", nargs="+", metavar="INDEX", help=f"{_INDEX}; two or more")
    splitting = _action(actions, "split", "Make several indexes of one: equal parts, or what a list or a folder says.")
    splitting.add_argument("index", metavar="INDEX", help=_INDEX)
    splitting.add_argument("out", nargs="+", metavar="OUT", help=f"the parts: each {_NEW}")
    chosen = splitting.add_mutually_exclusive_group()
    for option, metavar, which in (("--list", "FILE", "that a list names"), ("--folder", "F", "below a folder")):
        chosen.add_argument(option, metavar=metavar, help=f"the first part has the photos {which}, the second others")
    exporting = _action(actions, "export", "Write an index into one file to carry elsewhere, while others use it.")
    exporting.add_argument("index", metavar="INDEX", help=_INDEX)
    exporting.add_argument("file", metavar="FILE", help="a file that is not there yet")
    importing = _action(actions, "import", "Make an index of a file that `glocal index export` wrote, and check it.")
    importing.add_argument("file", metavar="FILE", help="the file")
    importing.add_argument("out", metavar="DIR", help=f"the new index: {_NEW}")
    importing.add_argument("--photos", metavar="DIR", help="the folder of its photos, if it is here")
    relocate.add_arguments(_action(actions, "relocate", "Link an index to the folder where its photos are now."))


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what, description=what, allow_abbrev=False)
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", help="say nothing but errors")
    add("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
    return parser


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    lines = _ACTIONS[options.action](options)
    for line in [] if options.quiet else lines:
        print(exits.printable(line), file=sys.stderr)
    return exits.DONE


def _merge(options: argparse.Namespace) -> list[str]:
    if len(options.indexes) < 2:
        raise ConfigError("one index is merged with another → glocal index merge OUT A B ...")
    sources = [find_index(each) for each in options.indexes]
    merged = merge(sources, Path(options.out))
    lines = [
        f"  {source}: {thousands(taken.pictures)} pictures copied, {thousands(taken.copies)} were there already"
        + (f'; names begin with "{prefix}/"' if prefix else "")
        for source, prefix, taken in zip(sources, merged.prefixes, merged.taken, strict=True)
    ]
    conflicts = sum(taken.conflicts for taken in merged.taken)
    if conflicts:
        lines.append(f"  {thousands(conflicts)} names were in two of them: the newer file was kept")
    where = f"photos in {merged.root}" if merged.root else "one of them does not know where its photos are"
    return [*lines, f"✓ {_counted(merged.counts)}, {where}.", _try(options.out)]


def _split(options: argparse.Namespace) -> list[str]:
    source = find_index(options.index)
    places = [Path(out) for out in options.out]
    folder = b""
    if options.list or options.folder:
        if len(places) > 2:
            raise ConfigError(f"a list or a folder makes one or two parts, not {len(places)} → OUT, or OUT and OTHERS")
        if options.folder:
            part_of, folder = by_folder(options.folder)
        else:
            lines = (line for _, line in numbered_lines(Path(options.list), hint="--list FILE"))
            part_of = by_names(source, [line for line in lines if line.strip()])
    else:
        if len(places) < 2:
            raise ConfigError("one part is the whole → name two or more, or --list FILE, or --folder F")
        part_of = evenly(source, len(places))
    counts = split(source, places, part_of, folder)
    return [f"✓ {place}: {_counted(count)}." for place, count in zip(places, counts, strict=True)]


def _export(options: argparse.Namespace) -> list[str]:
    file = Path(options.file)
    report = export_bundle(find_index(options.index), file)
    return [
        f"✓ {file}: {_counted(report.counts)}, {human_bytes(report.num_bytes)}, SHA-256 of its rows {report.sha256}",
        f"It holds no photos; where it is searched, {report.model} must be.   There:  "
        f"glocal index import {file.name} DIR",
    ]


def _import(options: argparse.Namespace) -> list[str]:
    out = Path(options.out)
    report = import_bundle(Path(options.file), out, Path(options.photos) if options.photos else None)
    lines = [f"✓ {_counted(report.counts)}, made with {report.model}; all rows are those that were written."]
    if report.root is None:
        lines.append(f"Its photos are not at hand: it can be searched, not shown. → glocal index PHOTOS --index {out}")
    else:
        lines.append(f"Photos: {report.root}")
    return [*lines, _try(options.out)]


_ACTIONS = {"merge": _merge, "split": _split, "export": _export, "import": _import, "relocate": relocate.relink}


def _counted(counts: dict[str, int]) -> str:
    return f"{thousands(counts['indexed'])} pictures searchable ({thousands(counts['contents'])} different)"


def _try(out: str) -> str:
    return f"Try:  glocal search PICTURE --index {out}"
