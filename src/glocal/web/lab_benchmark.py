"""The questions and answers of a run, from the data that it was measured on.

A run's folder holds no ground truth. Its record says where the data was (that of an older run only in the command that
made it), and the SHA-256 of questions and answers; only data of that digest is taken. So whoever writes a record can
show no folder that he does not know already, name by name.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from glocal.errors import RetrievalError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.datasets.catalogue import READERS, open_benchmark
from glocal.evaluation.record import RunRecord

_MAX_COMMAND, _MAX_WORDS = 20_000, 200
_GONE = "Its data is not where it was measured, or has changed since: right and wrong photos cannot be told."
_UNKNOWN = "This run does not say on which data it was measured: right and wrong photos cannot be told."
_UP = 3
"""Folders above a run from which `glocal eval` may have been started: runs/NAME is below it."""


def benchmark_of(record: RunRecord, folder: Path, data_root: Path | None) -> tuple[Benchmark | None, str]:
    """What a run was asked, and "", or None, and why it cannot be told.

    Args:
        record: of the run.
        folder: of the run.
        data_root: where the data sets are that have a name, if the run does not say it.
    """
    digest = record.card.get("ground_truth")
    words = _words(record.card.get("command"))
    if not isinstance(digest, str) or not (words or record.data):
        return None, _UNKNOWN
    for name, root in chain(_recorded(record), _places(words, record.benchmark, folder, data_root)):
        try:
            if Path(name).is_dir() and not _is_small(name, record):
                continue
            benchmark = open_benchmark(name, root)
            if benchmark.digest() == digest and [q.id for q in benchmark.queries] == [q.id for q in record.queries]:
                return benchmark, ""
        except (RetrievalError, OSError, ValueError, RecursionError, MemoryError):
            continue
    return None, _GONE


def _recorded(record: RunRecord) -> Iterator[tuple[str, Path | None]]:
    """What the run says that `open_benchmark` was asked for."""
    name, root = record.data.get("name", ""), record.data.get("root")
    if "\0" in f"{name}{root}":
        return
    if root is not None and name in READERS and os.path.isabs(root):
        yield name, Path(root)
    elif root is None and os.path.isabs(name):
        yield name, None


def _words(command: object) -> list[str]:
    if not isinstance(command, str) or len(command) > _MAX_COMMAND or "\0" in command:
        return []
    try:
        return shlex.split(command)[:_MAX_WORDS]
    except ValueError:
        return []


def _places(
    words: list[str], benchmark: str, folder: Path, data_root: Path | None
) -> Iterator[tuple[str, Path | None]]:
    """What `open_benchmark` may be asked for: a known data set and its root, or a path."""
    bases = [Path.cwd(), *folder.parents[:_UP]]
    roots = [value for i, word in enumerate(words) for value in _root_of(word, words[i + 1 : i + 2])]
    if benchmark in READERS:
        for root in [base / root for root in roots for base in bases] + ([data_root] if data_root else []):
            if root.is_dir():
                yield benchmark, root
    seen = set()
    for word in words:
        for base in bases if not os.path.isabs(word) and not word.startswith("-") else [Path("/")]:
            path = base / word
            named = path.resolve() if word in (".", "./", "..") else path
            if benchmark and benchmark in (named.name, named.stem, named.stem.removeprefix("gnd_")) and path.exists():
                whole = str(path.absolute())
                if whole not in seen:
                    seen.add(whole)
                    yield whole, data_root


def _root_of(word: str, following: list[str]) -> list[str]:
    """The folder that an option names: --data DIR of `glocal eval`, --root DIR of `glocal bench`."""
    name, _, value = word.partition("=")
    if name not in ("--data", "--root"):
        return []
    return [value] if value else following


def _is_small(folder: str, record: RunRecord) -> bool:
    """Whether a folder has not many more entries than the run has photos: a reader would walk through all of them."""
    photos = record.card.get("gallery")
    left = 20_000 + (4 * photos if type(photos) is int and 0 < photos < 5_000_000 else 0)
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    return False
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return True
