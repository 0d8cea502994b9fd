"""Submissions to the Landmark challenges: CSV, a line per query.

Retrieval is `id,images`, ids separated by blanks and best first; recognition is `id,landmarks`, "label score". A query
that is absent, or has nothing after the comma, was not answered. A photo that is listed again takes a place, as the
challenge's program has it; on other benchmarks it is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from glocal.data.input_file import numbered_lines, shown
from glocal.errors import ConfigError, SpecMismatch
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.protocol import LANDMARKS
from glocal.evaluation.results.names import NameTable
from glocal.evaluation.results.types import RankedLists

RETRIEVAL, RECOGNITION = "id,images", "id,landmarks"
_LABEL = re.compile(r"-?[0-9]{1,18}")  # 64 bits hold it
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


def read_kaggle_lists(path: Path, benchmark: Benchmark, ignored: Collection[str] = ()) -> RankedLists:
    """The lists of a retrieval submission for the queries of a benchmark.

    Args:
        path: the CSV file.
        benchmark: what was asked.
        ignored: other ids that a submission may have; their lines do not count.

    Raises:
        ConfigError: no such file, with the line; a query is there twice, or a photo outside of GLDv2.
        SpecMismatch: an id is neither in the benchmark nor ignored.
    """
    gallery, queries = NameTable.of_gallery(benchmark), NameTable.of_queries(benchmark)
    lists = [np.empty(0, np.int64)] * len(queries)
    seen: dict[int, int] = {}
    for number, query_id, text in _rows(path, RETRIEVAL):
        if query_id in ignored:
            continue
        query = queries.index(query_id, path, "line", number)
        if seen.setdefault(query, number) != number:
            raise ConfigError(f"{path}, line {number}: {shown(query_id)} is in line {seen[query]} already → keep one")
        photos = [gallery.index(name, path, "line", number) for name in text.split()]
        if benchmark.protocol != LANDMARKS and len(set(photos)) < len(photos):
            again = next(photo for i, photo in enumerate(photos) if photo in photos[:i])
            raise ConfigError(f"{path}, line {number}: {shown(gallery.names[again])} is there twice → keep one")
        lists[query] = np.array(photos, np.int64)
    return RankedLists(tuple(queries.names), tuple(lists))


def read_retrieval_predictions(
    path: Path, known: Collection[str], ignored: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Query -> ids of photos, best first, of a retrieval submission; without queries that were not answered.

    Args:
        path: the CSV file.
        known: the queries that are scored.
        ignored: other ids that it may have; their lines do not count.

    Raises:
        ConfigError: no such file, with the line; a query is there twice.
        SpecMismatch: a query is neither known nor ignored.
    """
    rows = _known_rows(path, RETRIEVAL, known, ignored)
    return {query: tuple(text.split()) for _, query, text in rows if text.strip()}


def read_recognition_predictions(
    path: Path, known: Collection[str], ignored: Collection[str] = ()
) -> dict[str, tuple[int, float]]:
    """Query -> landmark and score, of a recognition submission; without queries that were not answered.

    Args:
        path: the CSV file.
        known: the queries that are scored.
        ignored: other ids that it may have; their lines do not count.

    Raises:
        ConfigError: no such file, with the line; a query is there twice, or a score is no finite number.
        SpecMismatch: a query is neither known nor ignored.
    """
    answers = {}
    for number, query, text in _known_rows(path, RECOGNITION, known, ignored):
        words = text.split()
        if not words:
            continue
        if len(words) != 2 or not _LABEL.fullmatch(words[0]) or not _NUMBER.fullmatch(words[1]):
            raise ConfigError(
                f'{path}, line {number}: "label score" was expected for {query}, not {shown(text)} → or nothing'
            )
        score = float(words[1])
        if not math.isfinite(score):
            raise ConfigError(
                f"{path}, line {number}: the score of {query} is not finite: {shown(words[1])} → or nothing"
            )
        answers[query] = int(words[0]), score
    return answers


def _known_rows(
    path: Path, header: str, known: Collection[str], ignored: Collection[str]
) -> Iterator[tuple[int, str, str]]:
    """Line number, query and the rest of each line that counts."""
    seen: dict[str, int] = {}
    for number, query, text in _rows(path, header):
        if seen.setdefault(query, number) != number:
            raise ConfigError(f"{path}, line {number}: {shown(query)} is in line {seen[query]} already → keep one")
        if query in ignored:
            continue
        if query not in known:
            raise SpecMismatch(
                f"{path}, line {number}: {shown(query)} is not in the solution → score the file with its own solution"
            )
        yield number, query, text


def _rows(path: Path, header: str) -> Iterator[tuple[int, str, str]]:
    number = 0
    for number, line in numbered_lines(path):
        if number == 1:
            if line.strip() != header:
                raise ConfigError(f'{path}, line 1: "{header}" was expected, not {shown(line)} → is it another file?')
            continue
        query, comma, text = line.partition(",")
        if not line.strip():
            continue
        if not comma or not query or "," in text or '"' in line:
            raise ConfigError(f'{path}, line {number}: not {shown(line)} → write "{header}", without quotes')
        yield number, query, text
    if not number:
        raise ConfigError(f'{path} is empty → "{header}" in line 1')
