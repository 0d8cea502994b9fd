"""Lists that a file gives as scores of photos, in any order: put together, checked and sorted."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.data.input_file import shown
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.results.names import NameTable
from glocal.evaluation.results.types import RankedLists
from glocal.progress import thousands


class ScoredLists:
    """Collects what a file says line by line; 32 bytes for each.

    Args:
        path: the file, for messages.
        benchmark: what was asked.
    """

    def __init__(self, path: Path, benchmark: Benchmark) -> None:
        self._path = path
        self._gallery, self._queries = NameTable.of_gallery(benchmark), NameTable.of_queries(benchmark)
        self._rows: dict[int, tuple[array[int], array[float], array[int], array[int]]] = {}
        self._last: tuple[str, int] | None = None

    def query(self, query_id: str, line: int) -> int:
        """Position of a query, from now on one that the file has.

        Raises:
            SpecMismatch: it is unknown.
        """
        if self._last is None or self._last[0] != query_id:
            query = self._queries.index(query_id, self._path, "line", line)
            self._rows.setdefault(query, (array("q"), array("d"), array("q"), array("q")))
            self._last = query_id, query
        return self._last[1]

    def has(self, query_id: str) -> bool:
        """Whether the file has had a query."""
        return self._queries.find(query_id) in self._rows

    def add(self, query: int, photo: str, score: float, rank: int, line: int) -> None:
        """One photo of a query's list.

        Raises:
            ConfigError: the score is not finite.
            SpecMismatch: the photo is unknown.
        """
        index = self._gallery.index(photo, self._path, "line", line)
        if not math.isfinite(score):
            raise ConfigError(
                f"{self._path}, line {line}: the score of {shown(photo)} is {score} → write finite scores"
            )
        photos, scores, ranks, lines = self._rows[query]
        photos.append(index)
        scores.append(score)
        ranks.append(rank)
        lines.append(line)

    def ranked(self) -> RankedLists:
        """The lists by score, the highest first; equal scores by rank, then by position in the gallery.

        Raises:
            ConfigError: a photo is there twice for one query.
            SpecMismatch: a query of the benchmark is missing.
        """
        missing = [name for i, name in enumerate(self._queries.names) if i not in self._rows]
        if missing:
            raise self._queries.disagreement(self._path, f"{thousands(len(self._rows))} queries", missing)
        lists, scores = [], []
        for query, name in enumerate(self._queries.names):
            photos, values = self._sorted(name, *map(np.array, self._rows[query]))
            lists.append(photos)
            scores.append(values)
        return RankedLists(tuple(self._queries.names), tuple(lists), tuple(scores))

    def _sorted(
        self,
        query: str,
        photos: NDArray[np.int64],
        scores: NDArray[np.float64],
        ranks: NDArray[np.int64],
        lines: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        _, first = np.unique(photos, return_index=True)
        if len(first) < len(photos):
            again = int(np.setdiff1d(np.arange(len(photos)), first)[0])
            raise ConfigError(
                f"{self._path}, line {lines[again]}: {shown(self._gallery.names[photos[again]])} is there twice for "
                f"query {shown(query)} → keep one"
            )
        order = np.lexsort((photos, ranks, -scores))
        return photos[order], scores[order]
