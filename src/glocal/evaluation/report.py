"""`report.html` of a run: the record and the answers become the data of a page; `pictures` draws it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glocal.errors import ConfigError, ImageError
from glocal.evaluation.answering import Answers
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.card import TITLES
from glocal.evaluation.metrics import without_junk
from glocal.evaluation.places import places_after
from glocal.evaluation.record import RunRecord
from glocal.extract.requests import PhotoPool, Request
from glocal.pictures.evaluation_page import EvaluationPage, SetupScore, write_evaluation
from glocal.pictures.strips import AnsweredQuery, MatchPicture, SetupAnswer, StripEntry
from glocal.pictures.wording import thousands
from glocal.types import Pixels

FILE = "report.html"
SHOWN, MISSED = 10, 4
"""Photos of a strip: the first ones, and the nearest of the right ones further down."""
LONGEST_PX = 640

Photo = tuple[Pixels, tuple[int, int]]

_COST = {
    "bytes_global": "Global descriptor of a photo",
    "bytes_local": "Local features of a photo",
    "ms_per_query": "One query, in all",
    "ms_describe_query": "Describing a query",
    "ms_dba": "Augmenting, a query",
    "ms_search": "Search",
    "ms_rerank": "Re-ranking",
    "photos_per_s": "Describing the gallery",
    "peak_rss_mib": "Most memory",
}


@dataclass(frozen=True, slots=True)
class BenchmarkPhotos:
    """The pixels of a benchmark's photos, decoded one at a time.

    Attributes:
        benchmark: whose photos.
        pool: what decodes them.
        distractors: paths of photos that were added to the gallery.
    """

    benchmark: Benchmark
    pool: PhotoPool
    distractors: Sequence[str] = ()

    def asked(self, query: BenchmarkQuery) -> Photo | None:
        """A whole query photo and its size; None where it cannot be read."""
        return self._read(self._below(query.file))

    def finder(self) -> Callable[[str], Pixels | None]:
        """What gives the pixels of a photo of the gallery by its name, or None where it cannot be read."""
        file_of = dict(zip(self.benchmark.gallery, self.benchmark.files, strict=True))

        def find(name: str) -> Pixels | None:
            number = name.removeprefix(distractor_name(""))
            if name in file_of:
                photo = self._read(self._below(file_of[name]))
            elif number.isdecimal() and int(number) < len(self.distractors):
                photo = self._read(Path(self.distractors[int(number)]))
            else:
                photo = None
            return photo and photo[0]

        return find

    def _below(self, file: str) -> Path | None:
        return None if self.benchmark.root is None else self.benchmark.root / file

    def _read(self, file: Path | None) -> Photo | None:
        if file is None:
            return None
        try:
            answer = self.pool.read(Request(os.fsencode(file.absolute()), want="pixels", longest=LONGEST_PX))
        except ImageError:
            return None
        return answer.arrays["pixels"], answer.size


def build_report(
    record: RunRecord, answered: Sequence[AnsweredQuery], path: Path, thumbnail: Callable[[str], Pixels | None]
) -> None:
    """Write the report of a run; a half-written file never appears.

    Args:
        record: what the run says.
        answered: all queries of the record, with an answer for every setup of it; any order.
        path: the file.
        thumbnail: pixels of a photo of the gallery by name, (h, w, 3) uint8 RGB, reduced or not; None where it
            cannot be read. Few of them are in memory at a time.

    Raises:
        ConfigError: the answers are not those of the record's queries and setups.
    """
    by_id = {query.id: query for query in answered}
    for query in record.queries:
        missing = [setup for setup in record.setups if query.id not in by_id or setup not in by_id[query.id].answers]
        if missing:
            raise ConfigError(f"report: query '{query.id}' has no answer under '{missing[0]}'")
    if len(answered) != len(record.queries):
        raise ConfigError(f"report: {len(answered)} answers for {len(record.queries)} queries")
    ordered = tuple(by_id[query.id] for query in record.queries)
    write_evaluation(page_of(record, ordered), thumbnail, path)


def page_of(record: RunRecord, answered: tuple[AnsweredQuery, ...]) -> EvaluationPage:
    """What the page says, but the pixels."""
    card = record.card
    return EvaluationPage(
        benchmark=record.benchmark,
        title=record.title,
        facts=_facts(card),
        scores=_scores(record),
        cost=cost_facts(record.cost),
        notes=tuple(str(note) for note in card.get("notes") or ()),
        groups=tuple(
            (name, len(ids), tuple(record.mean_ap(setup, name) for setup in record.setups))
            for name, ids in record.groups.items()
        ),
        queries=answered,
        card=tuple((title, _words(card[key])) for key, title in TITLES.items() if _says(key, card)),
        command=str(card.get("command") or ""),
    )


def answered_queries(
    benchmark: Benchmark,
    answers: Answers,
    record: RunRecord,
    photo: Callable[[BenchmarkQuery], Photo | None],
    matches: Mapping[str, tuple[MatchPicture, ...]] | None = None,
) -> tuple[AnsweredQuery, ...]:
    """What the report shows of every query.

    Args:
        benchmark: the questions.
        answers: the rankings.
        record: their scores; the boxes are drawn unless its card says that they were not cropped.
        photo: gives a query's photo, see `BenchmarkPhotos.asked`; it is asked when the page is drawn.
        matches: id of a query -> candidates whose match lines are shown.
    """
    scores = {query.id: query.scores for query in record.queries}
    cropped = not str(record.card.get("crop", "on")).startswith("off")
    return tuple(
        AnsweredQuery(
            query.id,
            {
                setup: answer_of(benchmark, answers, number, setup, scores[query.id][setup].ap)
                for setup in benchmark.protocol.setups
            },
            partial(photo, query),
            _box(query) if cropped else None,
            (matches or {}).get(query.id, ()),
        )
        for number, query in enumerate(benchmark.queries)
    )


def answer_of(benchmark: Benchmark, answers: Answers, number: int, setup: str, ap: float) -> SetupAnswer:
    """One query under one setup: its first photos with what became of them, and what it missed.

    Args:
        benchmark: the questions.
        answers: the rankings.
        number: of the query.
        setup: name of the setup.
        ap: the query's average precision there.
    """
    query, sets = benchmark.queries[number], benchmark.protocol.setups[setup]
    right, junk = query.right(sets), query.ignored(sets)
    head = answers.heads[setup][number] if setup in answers.heads else None
    places, ignored = places_after(answers.ranking, number, right, junk, head)
    ranked, ignored = places >= 0, ignored[ignored >= 0]
    free = np.where(ranked, without_junk(places, ignored), -1)
    inliers: dict[int, int] = {}
    if head is not None and head.inliers is not None:
        inliers = dict(zip(head.photos.tolist(), head.inliers.tolist(), strict=True))

    def entry(photo: int, kind: str, place: int | None) -> StripEntry:
        return StripEntry(_name(benchmark, photo), kind, place, _similarity(answers, number, photo), inliers.get(photo))

    wanted, without_place = set(right.tolist()), set(junk.tolist()) - set(right.tolist())
    entries: list[StripEntry] = []
    place = 0
    first = answers.first(benchmark, number, setup, SHOWN).tolist()
    for photo in first:
        if photo in without_place:
            entries.append(entry(photo, "junk", None))
        else:
            place += 1
            entries.append(entry(photo, "right" if photo in wanted else "wrong", place))
    shown = set(first)
    far = [(int(at), photo) for at, photo in zip(free.tolist(), right.tolist(), strict=True) if photo not in shown]
    far.sort(key=lambda each: (each[0] < 0, each))
    missed = tuple(entry(photo, "right", at + 1 if at >= 0 else None) for at, photo in far[:MISSED])
    return SetupAnswer(ap, tuple(entries), missed, np.sort(free[ranked]), len(right))


def distractor_name(number: int | str) -> str:
    """What a photo is called that is in no list of the benchmark."""
    return f"distractor {number}"


def cost_facts(cost: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    """What a run took, in words: name and value with its unit; what is not known is left out."""
    known = [name for name in _COST if name in cost] + [name for name in cost if name not in _COST]
    return tuple(
        (_COST.get(name, name.replace("_", " ")), _amount(name, cost[name]))
        for name in known
        if math.isfinite(cost[name])
    )


def _amount(name: str, value: float) -> str:
    if name.startswith("bytes_"):
        for unit in ("B", "kB", "MB"):
            if value < 1000:
                return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
            value /= 1000
        return f"{value:.1f} GB"
    if name.startswith("ms_"):
        return f"{value:.1f} ms" if value < 100 else f"{thousands(round(value))} ms"
    if name.endswith("_per_s"):
        return f"{value:.1f} {name.removesuffix('_per_s')}/s"
    if name.endswith("_mib"):
        return f"{thousands(round(value))} MiB"
    return f"{value:g}"


def _scores(record: RunRecord) -> tuple[SetupScore, ...]:
    scores = []
    for setup in record.setups:
        values = zip(record.cutoffs, record.mean_precision(setup), record.mean_recall(setup), strict=True)
        details = [(f"P@{k}", f"{100 * precision:.1f}") for k, precision, _ in values if not math.isnan(precision)]
        if record.card.get("protocol") == "ukbench":
            details.append(("of the first four", f"{record.first_four():.2f}"))
        counted = sum(not math.isnan(query.scores[setup].ap) for query in record.queries)
        scores.append(SetupScore(setup, record.mean_ap(setup), counted, tuple(details)))
    return tuple(scores)


def _facts(card: Mapping[str, Any]) -> tuple[str, ...]:
    facts = []
    if card.get("model"):
        facts.append(f"model {card['model']}")
    if card.get("rerank"):
        facts.append("no re-ranking" if card["rerank"] == "none" else f"re-ranking {_words(card['rerank'])}")
    if isinstance(card.get("gallery"), int):
        facts.append(f"{thousands(card['gallery'])} photos searched")
    if card.get("distractors") not in (None, "none"):
        facts.append(f"distractors {card['distractors']}")
    return tuple(facts)


def _says(key: str, card: Mapping[str, Any]) -> bool:
    # Notes and the command have their own places on the page.
    return key in card and card[key] not in (None, "", [], ()) and key not in ("notes", "command")


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return "; ".join(str(each) for each in value) if isinstance(value, list | tuple) else str(value)


def _box(query: BenchmarkQuery) -> tuple[float, float, float, float] | None:
    if query.corners is None:
        return None
    x1, y1, x2, y2 = query.corners
    return (x1, y1, x2 - x1, y2 - y1)


def _name(benchmark: Benchmark, photo: int) -> str:
    names = benchmark.gallery
    return names[photo] if photo < len(names) else distractor_name(photo - len(names))


def _similarity(answers: Answers, number: int, photo: int) -> float:
    at = np.flatnonzero(answers.ranking.top[number] == photo)
    return float(answers.ranking.similarities[number, at[0]]) if len(at) else math.nan
