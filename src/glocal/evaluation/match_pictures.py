"""Match lines for the report of a run: the first candidate of the worst and of the best queries."""

from __future__ import annotations

import math
import os
from functools import partial

from glocal.errors import ImageError
from glocal.evaluation.answering import Answers, LocalSource
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.heads import verification_options
from glocal.evaluation.record import RunRecord
from glocal.evaluation.report import LONGEST_PX, answer_of
from glocal.extract.requests import PhotoPool, Request
from glocal.pictures.strips import MatchPicture, StripEntry
from glocal.rerank.geometric import verify_turns
from glocal.search import view_of
from glocal.types import Box, Pixels

AT_EACH_END = 6
"""Queries whose matches are drawn: so many of the worst and of the best."""


def match_pictures(
    benchmark: Benchmark,
    answers: Answers,
    record: RunRecord,
    local: LocalSource,
    boxes: dict[str, Box | None],
    pool: PhotoPool,
) -> dict[str, tuple[MatchPicture, ...]]:
    """Query id -> its first candidate with match lines, by our own verification whatever the method was.

    Args:
        benchmark: the questions.
        answers: the rankings.
        record: their scores.
        local: where local features come from.
        boxes: query id -> the part of it that was described, in whole pixels; None for the whole photo.
        pool: decodes photos.
    """
    setup = record.setups[len(record.setups) // 2]
    counted = [query for query in record.queries if not math.isnan(query.scores[setup].ap)]
    counted.sort(key=lambda query: (query.scores[setup].ap, query.id))
    chosen = {query.id for query in counted[:AT_EACH_END] + counted[AT_EACH_END:][-AT_EACH_END:]}
    options = verification_options((record.card["model"], record.card["weights"]))
    position = {name: photo for photo, name in enumerate(benchmark.gallery)}
    found: dict[str, tuple[MatchPicture, ...]] = {}
    for number, query in enumerate(benchmark.queries):
        if query.id not in chosen:
            continue
        answer = answer_of(benchmark, answers, number, setup, 0.0)
        entry = next((e for e in answer.entries if e.kind != "junk" and e.name in position), None)
        if entry is None:
            continue
        ways, target = local.query(number), local.gallery(position[entry.name])
        verification = verify_turns(ways, target, options)
        if verification.inliers:
            view = view_of(ways, target, verification, None)
            shown = StripEntry(entry.name, entry.kind, entry.place, entry.similarity, verification.inliers)
            found[query.id] = (
                MatchPicture(shown, view, setup, partial(_part, benchmark, query, boxes[query.id], pool)),
            )
    return found


def _part(benchmark: Benchmark, query: BenchmarkQuery, box: Box | None, pool: PhotoPool) -> Pixels | None:
    """The pixels that a query's features lie in."""
    assert benchmark.root is not None
    file = os.fsencode((benchmark.root / query.file).absolute())
    try:
        pixels: Pixels = pool.read(Request(file, want="pixels", box=box, longest=LONGEST_PX)).arrays["pixels"]
    except ImageError:
        return None
    return pixels
