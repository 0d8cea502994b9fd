"""`glocal VERB ...`: finds the verb's module, runs it, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import shlex
import sys
import tempfile
import traceback
import uuid
from collections.abc import Sequence
from pathlib import Path

from glocal import __version__
from glocal.cli import exits
from glocal.errors import RetrievalError

# Verb -> what its help says first. A verb's module is imported only when it is used: help must be instant.
VERBS = {
    "index": "make a folder of photos searchable, or bring its index up to date",
    "search": "find the photos that show what a photo shows",
    "serve": "search in the browser and over HTTP",
    "explain": "compare two photos: matches, verdict, picture of the match lines",
    "recognize": "say what a photo shows, by the labels of the photos that show the same",
    "rerank": "verify and order somebody else's candidates for a photo",
    "plan": "what indexing a folder would take: disk, memory, hours, and what is cheaper",
    "info": "what an index holds: counts, model, bytes, skipped files",
    "demo": "render a small photo collection, index it, search it, write a report",
    "train": "train a network from photos with labels, as a recipe says",
    "finetune": "adapt a network to a folder of photos, with labels or without",
    "eval": "measure a model on a benchmark, score a result file, compare two runs",
    "bench": "measure several models on several benchmarks, in one table",
    "data": "verify a benchmark's files: names each one that is missing or changed",
    "export": "write an index for hloc, FAISS or parquet readers",
    "convert": "turn a released checkpoint into a model for --model",
    "models": "the models that can describe photos",
    "doctor": "check that this installation works",
}

# Verb -> words that, before another one, make it something else than a folder: these go to another module.
_ACTIONS = {"index": ({"merge", "split", "export", "import", "relocate"}, "collections")}

_USAGE = """\
usage: glocal VERB ...

glocal finds the same thing (a building, a painting, a product) in any collection of photos, and shows the proof.

{verbs}

  glocal index ~/Photos        then        glocal search fountain.jpg
  glocal VERB --help           explains a verb and its options
  glocal --version

Nothing leaves this computer. Exit codes: 0 done, 1 unexpected, 2 usage, 3 nothing to do or bad input,
4 mismatch or busy, 5 out of space or memory, 6 some files were skipped (with --strict), 130 interrupted.
"""


def usage() -> str:
    """The text of `glocal --help`."""
    return _USAGE.format(verbs="\n".join(f"  {verb:<9} {text}" for verb, text in VERBS.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code; see `glocal.cli.exits`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode must not end the run
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return exits.DONE if words else exits.USAGE
    if words[0] in ("-V", "--version"):
        print(f"glocal {__version__}")
        return exits.DONE
    if words[0] not in VERBS:
        return _complain(f'Unknown verb "{words[0]}".{exits.near(words[0], VERBS)} → glocal --help', exits.USAGE)
    verb = importlib.import_module(f"glocal.cli.{_module_of(words)}")
    parser = argparse.ArgumentParser(
        prog=f"glocal {words[0]}",
        description=verb.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verb.add_arguments(parser)
    try:
        options = parser.parse_args(words[1:])
        options.typed = shlex.join(["glocal", *words])
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return int(verb.run(options))
    except RetrievalError as error:
        if options.debug:
            traceback.print_exc()
        return _complain(str(error), exits.code_of(error))
    except KeyboardInterrupt:
        return _complain("Stopped.", exits.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (say, `head`) has gone: not an error, but Python must not flush into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.DONE
    except Exception as error:
        if options.debug:
            raise
        return _crash(error)


def _module_of(words: Sequence[str]) -> str:
    actions, module = _ACTIONS.get(words[0], ((), ""))
    follows = len(words) > 2 and (words[2] in ("-h", "--help") or not words[2].startswith("-"))
    return module if follows and words[1] in actions else words[0]


def _complain(message: str, code: int) -> int:
    print(exits.printable(message), file=sys.stderr)
    return code


def _crash(error: Exception) -> int:
    """A bug: keep the traceback in a private file, tell its name."""
    crash_id = uuid.uuid4().hex[:8]
    descriptor, name = tempfile.mkstemp(prefix=f"glocal-crash-{crash_id}-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as log:
        traceback.print_exception(error, file=log)
    kind = type(error).__name__
    return _complain(
        f"Unexpected {kind}: {error}. This is a bug in glocal (crash {crash_id}). The details are in {Path(name)}; "
        "your index is intact. → run it again with --debug to see the traceback",
        exits.UNEXPECTED,
    )
