"""Evaluation runs for the Lab: found below the folders of `glocal serve --runs`, checked, opened, a few of them kept.

A run's folder may come from anybody. What it holds is bounded before it is read, checked before it is shown, and names
no file: a run is known by an id, its photos by their numbers.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import RetrievalError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.record import FILE, RunRecord
from glocal.evaluation.run_folder import RANKS
from glocal.web.lab_benchmark import benchmark_of
from glocal.web.lab_reading import DAMAGED, Ranks, RunDamaged, read_ranks, read_record, without_paths

MAX_DEPTH = 4
"""Folders below a folder of runs that are looked into."""
MAX_FOLDERS, MAX_RUNS = 5_000, 500
KEPT_QUERIES = 50_000
"""Queries of all scores together that are kept."""
LOOKED_S = 2.0
"""A list of runs is good for so long when one is looked up by its id."""
KEPT = 3
"""Open runs that are kept: two to compare, and the next one."""

_Stamp = tuple[tuple[int, int, int] | None, ...]


class RunNotFound(RetrievalError):
    """There is no run of this id, or no such query or photo in it."""


@dataclass(frozen=True, slots=True)
class Run:
    """A folder that may be a run.

    Attributes:
        id: what an address may say: letters and digits.
        name: its path below the folder of runs, for people.
        folder: where it is.
    """

    id: str
    name: str
    folder: Path


@dataclass(frozen=True, slots=True, eq=False)
class OpenRun:
    """What a run's folder holds, checked.

    Attributes:
        run: which one.
        record: its scores.
        ranks: setup -> (K, Q) whole numbers, indices of the gallery, best first; empty where they cannot be read.
        gallery: names of the photos that those number.
        benchmark: the questions and answers, where the data is still what was measured.
        trouble: why there are no rankings, no answers or no photos; "" if all are there.
        kept: what was computed from all of it, by name.
    """

    run: Run
    record: RunRecord
    ranks: Mapping[str, Ranks]
    gallery: tuple[str, ...]
    benchmark: Benchmark | None
    trouble: str
    kept: dict[str, Any] = field(default_factory=dict)

    def order(self, query: int, setup: str) -> NDArray[np.int64]:
        """A query's ranking under a setup: indices, best first, each once."""
        if setup not in self.ranks:
            return np.empty(0, np.int64)
        column = np.asarray(self.ranks[setup][:, query], np.int64)
        column = column[column >= 0]
        first = _first_places(column, 2 * len(self.gallery))
        return column if first is None else column[first]

    def expect_query(self, query: int) -> int:
        """The number of a query.

        Raises:
            RunNotFound: there is none.
        """
        if not 0 <= query < len(self.record.queries):
            raise RunNotFound(f"This run has no query {query}: it has {len(self.record.queries):,}")
        return query

    def expect_setup(self, setup: str | None) -> str:
        """The name of a setup; the middle one where none is asked for.

        Raises:
            RunNotFound: there is none.
        """
        setups = self.record.setups
        if setup is None:
            return setups[(len(setups) - 1) // 2]
        if setup not in setups:
            raise RunNotFound(f"This run has no such setup. → {', '.join(setups)}")
        return setup


class Lab:
    """The runs below some folders. Safe to use from several threads.

    Args:
        folders: of runs.
        data_root: where the data sets are that have a name; None where it is not known.
    """

    def __init__(self, folders: Sequence[Path], data_root: Path | None = None) -> None:
        self._folders = tuple(Path(os.path.abspath(folder)) for folder in folders)
        self._data_root = data_root
        self._records: OrderedDict[Path, tuple[_Stamp, RunRecord | str]] = OrderedDict()
        self._open: OrderedDict[str, tuple[_Stamp, OpenRun]] = OrderedDict()
        self._looked: tuple[float, dict[str, Run]] = (-math.inf, {})
        self._lock = threading.Lock()
        self._opening = threading.Lock()

    def runs(self) -> list[Run]:
        """What looks like a run, by name; at most `MAX_RUNS`."""
        found: dict[str, Run] = {}
        several = len(self._folders) > 1
        for top in self._folders:
            for folder in _folders_with(top, FILE):
                below = folder.relative_to(top).as_posix()
                name = f"{top.name}/{below}" if several and below != "." else top.name if below == "." else below
                number = hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()
                found.setdefault(f"r{number}", Run(f"r{number}", name, folder))
                if len(found) >= MAX_RUNS:
                    break
        self._looked = time.monotonic(), found
        return sorted(found.values(), key=lambda run: (run.name, run.id))

    def find(self, run_id: str) -> Run:
        """A run by its id.

        Raises:
            RunNotFound: there is none.
        """
        if time.monotonic() - self._looked[0] > LOOKED_S or run_id not in self._looked[1]:
            self.runs()
        run = self._looked[1].get(run_id)
        if run is not None:
            return run
        raise RunNotFound("There is no such run below the folders of glocal serve --runs")

    def record(self, run: Run) -> RunRecord:
        """A run's scores.

        Raises:
            RunDamaged: they cannot be read.
        """
        stamp = _stamp(run.folder, FILE)
        with self._lock:
            kept = self._records.get(run.folder)
        if kept is None or kept[0] != stamp:
            with self._opening:
                try:
                    found: RunRecord | str = read_record(run.folder)
                except RunDamaged as error:
                    found = str(error)
            kept = stamp, found
            with self._lock:
                self._records[run.folder] = kept
                while len(self._records) > MAX_RUNS or _queries(self._records.values()) > KEPT_QUERIES:
                    if len(self._records) == 1:
                        break
                    self._records.popitem(last=False)
        if isinstance(kept[1], str):
            raise RunDamaged(kept[1])
        return kept[1]

    def open(self, run_id: str) -> OpenRun:
        """A run with its rankings, and its questions and answers where they are still there.

        Raises:
            RunNotFound: there is none of this id.
            RunDamaged: its scores cannot be read.
        """
        run = self.find(run_id)
        stamp = _stamp(run.folder, FILE, RANKS)
        with self._lock:
            kept = self._open.get(run_id)
            if kept is not None and kept[0] == stamp:
                self._open.move_to_end(run_id)
                return kept[1]
        record = self.record(run)
        with self._opening:
            opened = self._opened(run, record)
        with self._lock:
            self._open[run_id] = stamp, opened
            self._open.move_to_end(run_id)
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        return opened

    def _opened(self, run: Run, record: RunRecord) -> OpenRun:
        ranks: dict[str, Ranks] = {}
        gallery: tuple[str, ...] = ()
        trouble = ""
        try:
            ranks, gallery = read_ranks(run.folder / RANKS, record)
        except (RetrievalError, *DAMAGED) as error:
            trouble = f"The rankings of this run cannot be shown: {without_paths(error, run.folder)}"
        benchmark, why = benchmark_of(record, run.folder, self._data_root)
        if benchmark is not None and gallery and benchmark.gallery != gallery:
            benchmark, why = None, "Its rankings are of other photos than its data."
        return OpenRun(run, record, ranks, gallery, benchmark, trouble or why)


def _first_places(values: NDArray[np.int64], usual: int) -> NDArray[np.int64] | None:
    """Where each value is met first, ascending; None where all differ.

    Args:
        values: 0 and above.
        usual: values below are counted without sorting.
    """
    if values.max(initial=0) < usual and np.bincount(values, minlength=1).max() <= 1:
        return None
    _, first = np.unique(values, return_index=True)
    return np.sort(first)


def _folders_with(top: Path, name: str) -> Iterator[Path]:
    """Folders that hold a regular file of this name; links are not followed."""
    level, left = [top], MAX_FOLDERS
    for _ in range(MAX_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            left -= 1
            if left < 0:
                return
            try:
                with os.scandir(folder) as entries:
                    # Whoever has a million entries in a folder has no folder of runs.
                    inside = sorted((entry for entry, _ in zip(entries, range(50_000), strict=False)), key=_name_of)
            except OSError:
                continue
            if any(entry.name == name and entry.is_file(follow_symlinks=False) for entry in inside):
                yield folder
                continue
            below += [folder / entry.name for entry in inside if entry.is_dir(follow_symlinks=False)]
        level = below


def _name_of(entry: os.DirEntry[str]) -> str:
    return entry.name


def _stamp(folder: Path, *names: str) -> _Stamp:
    """What changes when a file is written again."""
    stamps: list[tuple[int, int, int] | None] = []
    for name in names:
        try:
            about = os.stat(folder / name, follow_symlinks=False)
            stamps.append((about.st_ino, about.st_mtime_ns, about.st_size))
        except OSError:
            stamps.append(None)
    return tuple(stamps)


def _queries(kept: Iterable[tuple[_Stamp, RunRecord | str]]) -> int:
    return sum(len(record.queries) for _, record in kept if isinstance(record, RunRecord))
