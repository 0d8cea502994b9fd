"""TREC runs: "query Q0 photo rank score tag", one photo a line, in any order."""

from __future__ import annotations

import re
from pathlib import Path

from glocal.data.input_file import numbered_lines, shown
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.results.scored import ScoredLists
from glocal.evaluation.results.types import RankedLists

FIELDS = 6
_RANK = re.compile(r"-?[0-9]{1,18}")


def read_trec(path: Path, benchmark: Benchmark) -> RankedLists:
    """The lists of a run: by score, the highest first, then by rank.

    Raises:
        ConfigError: no such file, with the line; a photo is there twice for a query, or a score is not finite.
        SpecMismatch: an unknown query or photo, or a query is missing.
    """
    lists = ScoredLists(path, benchmark)
    for number, line in numbered_lines(path):
        words = line.split()
        if not words:
            continue
        score = _number(words[4]) if len(words) == FIELDS and _RANK.fullmatch(words[3]) else None
        if score is None:
            raise ConfigError(f'{path}, line {number}: not {shown(line)} → write "query Q0 photo rank score tag"')
        lists.add(lists.query(words[0], number), words[2], score, int(words[3]), number)
    return lists.ranked()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
