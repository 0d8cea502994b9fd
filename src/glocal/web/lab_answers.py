"""What the Lab says of a run, of one query, and of two runs: plain values for JSON.

Every text is cut and made readable, every number is finite or null: a run's folder may come from anybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.card import TITLES
from glocal.evaluation.comparison import Moved, SetupComparison, compare
from glocal.evaluation.metrics import without_junk
from glocal.evaluation.record import QueryRecord, RunRecord
from glocal.evaluation.report import cost_facts, distractor_name
from glocal.evaluation.tables import table_of, to_latex
from glocal.pictures.curves_svg import mean_curve
from glocal.pictures.wording import readable
from glocal.web.lab import OpenRun, Run
from glocal.web.lab_words import command_of, finite, listed, name_of, number_of, plain, text, title_of, words

MAX_QUERIES, MAX_TOP, MAX_MISSED, MAX_MOVED = 20_000, 200, 60, 1_000
_QUICK = 5_000
"""With more queries two runs are compared by fewer resamples."""
_JUNK, _RIGHT = 1, 2

Json = dict[str, Any]
Places = NDArray[np.int64]


def summary(run: Run, record: RunRecord) -> Json:
    """One line of the list of runs."""
    card = record.card
    return {
        "run": run.id,
        "name": name_of(run.name),
        "benchmark": name_of(record.benchmark),
        "title": name_of(record.title),
        "model": words(card.get("model")),
        "rerank": words(card.get("rerank")),
        "distractors": words(card.get("distractors")),
        "date": words(card.get("date")),
        "num_queries": len(record.queries),
        "setups": [name_of(setup) for setup in record.setups],
        "means": {name_of(setup): number_of(record.mean_ap(setup)) for setup in record.setups},
    }


def unreadable(run: Run, why: str) -> Json:
    """One line of the list of what is no run."""
    return {"run": run.id, "name": name_of(run.name), "detail": text(why)}


def details(opened: OpenRun) -> Json:
    """All of a run but its rankings."""
    record, card = opened.record, opened.record.card
    metrics = [
        {
            "setup": name_of(setup),
            "mean": number_of(record.mean_ap(setup)),
            "counted": sum(not math.isnan(query.scores[setup].ap) for query in record.queries),
            "precision": [number_of(value) for value in record.mean_precision(setup)],
            "recall": [number_of(value) for value in record.mean_recall(setup)],
        }
        for setup in record.setups
    ]
    groups = [
        {
            "name": name_of(name),
            "queries": len(ids),
            "means": {name_of(setup): number_of(record.mean_ap(setup, name)) for setup in record.setups},
        }
        for name, ids in list(record.groups.items())[:100]
    ]
    return {
        **summary(opened.run, record),
        "cutoffs": list(record.cutoffs),
        "metrics": metrics,
        "first_four": number_of(record.first_four()) if card.get("protocol") == "ukbench" else None,
        "groups": groups,
        "cost": [{"name": name, "value": value} for name, value in cost_facts(finite(record.cost))],
        "card": [
            {"key": key, "title": title, "value": words(card[key])}
            for key, title in TITLES.items()
            if key in card and card[key] not in (None, "", [], ()) and key not in ("notes", "command")
        ],
        "notes": [text(note) for note in listed(card.get("notes"))[:50]],
        "command": command_of(card.get("command")),
        "latex": _latex(record),
        "has_rankings": bool(opened.ranks),
        "has_answers": opened.benchmark is not None,
        "trouble": text(opened.trouble),
        "queries": [_query(opened, number, query) for number, query in enumerate(record.queries[:MAX_QUERIES])],
    }


def curves(opened: OpenRun) -> Json:
    """Precision over recall, the mean of all queries, at recall 0, 0.01 … 1, for each setup."""
    if "curves" not in opened.kept:
        opened.kept["curves"] = {name_of(setup): _curve(opened, setup) for setup in opened.record.setups}
    return {"run": opened.run.id, "curves": opened.kept["curves"]}


def _curve(opened: OpenRun, setup: str) -> list[float] | None:
    told = [_places(opened, number, setup) for number in range(len(opened.record.queries))]
    mean = mean_curve([(places, num_right) for places, num_right in told if num_right])
    return None if mean is None else [round(float(value), 5) for value in mean]


def answer(opened: OpenRun, number: int, setup: str | None, top: int) -> Json:
    """One query under one setup: its first photos, what became of them, and what it missed.

    Args:
        opened: the run.
        number: of the query.
        setup: name; None for the middle one.
        top: photos of the ranking.

    Raises:
        RunNotFound: there is no such query or setup.
    """
    setup = opened.expect_setup(setup)
    query = opened.record.queries[opened.expect_query(number)]
    score = query.scores[setup]
    results, missed, num_missed, curve, num_right = _ranked(opened, number, setup, top)
    return {
        "run": opened.run.id,
        "query": _query(opened, number, query),
        "setup": name_of(setup),
        "ap": number_of(score.ap),
        "first": score.first,
        "precision": [number_of(value) for value in score.precision],
        "recall": [number_of(value) for value in score.recall],
        "num_right": num_right,
        "num_ranked": len(opened.order(number, setup)),
        "results": results,
        "missed": missed,
        "num_missed": num_missed,
        "curve": curve,
    }


def comparison(a: OpenRun, b: OpenRun) -> Json:
    """Two runs against each other; a difference is what the second has more.

    Raises:
        SpecMismatch: they were not asked the same.
        ConfigError: a record is damaged.
    """
    few = max(len(a.record.queries), 1) > _QUICK
    found = compare(a.record, b.record, draws=1_000 if few else 10_000)
    numbers = [{query.id: number for number, query in enumerate(run.record.queries)} for run in (a, b)]
    differs = [
        {"key": name_of(each.key), "title": title_of(each.key), "a": plain(each.a), "b": plain(each.b)}
        for each in found.differs
        if each.key not in ("command", "date")
    ]
    return {
        "a": summary(a.run, a.record),
        "b": summary(b.run, b.record),
        "setups": [_compared(a, each, *numbers) for each in found.setups],
        "differs": differs[:100],
    }


def _compared(a: OpenRun, found: SetupComparison, first: Mapping[str, int], second: Mapping[str, int]) -> Json:
    def moved(each: Moved) -> Json:
        number = first[each.id]
        return {
            "a_query": number,
            "b_query": second[each.id],
            "name": name_of(each.id),
            "a": number_of(each.a),
            "b": number_of(each.b),
            "difference": number_of(each.b - each.a),
            "thumb_url": _query_thumb(a, number),
        }

    by_loss = sorted(found.moved, key=lambda each: (each.b - each.a, each.id))
    # Where more moved than are sent, the ends are what one wants to see.
    cut = by_loss if len(by_loss) <= MAX_MOVED else by_loss[: MAX_MOVED // 2] + by_loss[-MAX_MOVED // 2 :]
    return {
        "setup": name_of(found.setup),
        "num_queries": found.num_queries,
        "a": number_of(found.a),
        "b": number_of(found.b),
        "difference": number_of(found.difference),
        "low": number_of(found.low),
        "high": number_of(found.high),
        "p": number_of(found.p),
        "better": found.better,
        "worse": found.worse,
        "equal": found.equal,
        "distinguishable": found.distinguishable,
        "num_moved": len(by_loss),
        "moved": [moved(each) for each in cut],
    }


def _ranked(
    opened: OpenRun, number: int, setup: str, top: int
) -> tuple[list[Json], list[Json], int | None, list[float] | None, int | None]:
    """Results, what was missed, how many in all, the curve, and how many are right; None where nobody knows."""
    order = opened.order(number, setup)
    if not len(order):
        names = opened.record.queries[number].top.get(setup, ())[:top]
        told = [{"position": i, "place": None, "photo": None, "name": name_of(name), "relation": "unknown",
                 "thumb_url": None} for i, name in enumerate(names, 1)]  # fmt: skip
        return told, [], None, None, None
    if opened.benchmark is None:
        shown = [_entry(opened, i, None, photo, "unknown") for i, photo in enumerate(order[:top].tolist(), 1)]
        return shown, [], None, None, None
    query, sets = opened.benchmark.queries[number], opened.benchmark.protocol.setups[setup]
    right, ignored = query.right(sets), np.setdiff1d(query.ignored(sets), query.right(sets))
    is_right, is_ignored = np.isin(order, right), np.isin(order, ignored)
    place_of = np.cumsum(~is_ignored)  # from 1, junk taken out
    results = [
        _entry(opened, i + 1, None if is_ignored[i] else int(place_of[i]), photo,
               "right" if is_right[i] else "ignored" if is_ignored[i] else "wrong")
        for i, photo in enumerate(order[:top].tolist())
    ]  # fmt: skip
    far = [(i + 1, int(place_of[i]), int(order[i])) for i in np.flatnonzero(is_right).tolist() if i >= top]
    lost = np.setdiff1d(right, order).tolist()
    missed = [_entry(opened, position, place, photo, "missed") for position, place, photo in far[:MAX_MISSED]]
    missed += [_entry(opened, None, None, photo, "missed") for photo in lost[: MAX_MISSED - len(missed)]]
    places = np.asarray(place_of[is_right] - 1, np.int64)
    curve = mean_curve([(places, len(right))])
    values = None if curve is None else [round(float(value), 5) for value in curve]
    return results, missed, len(far) + len(lost), values, len(right)


def _places(opened: OpenRun, number: int, setup: str) -> tuple[Places, int]:
    """Ascending places, from 0, of what is right and ranked, junk taken out; and how many there are to be found."""
    if opened.benchmark is None or not opened.ranks:
        return np.empty(0, np.int64), 0
    query, sets = opened.benchmark.queries[number], opened.benchmark.protocol.setups[setup]
    right, junk = query.right(sets), query.ignored(sets)
    kinds = np.zeros(len(opened.gallery), np.int8)
    kinds[junk] = _JUNK
    kinds[right] = _RIGHT
    order = opened.order(number, setup)
    found = kinds[order] if order.max(initial=0) < len(kinds) else np.append(kinds, 0)[np.minimum(order, len(kinds))]
    return without_junk(np.flatnonzero(found == _RIGHT), np.flatnonzero(found == _JUNK)), len(right)


def _entry(opened: OpenRun, position: int | None, place: int | None, photo: int, relation: str) -> Json:
    known = photo < len(opened.gallery)
    name = opened.gallery[photo] if known else distractor_name(photo - len(opened.gallery))
    shown = known and opened.benchmark is not None and opened.benchmark.root is not None
    return {
        "position": position,
        "place": place,
        "photo": photo,
        "name": name_of(name),
        "relation": relation,
        "thumb_url": f"/v1/lab/runs/{opened.run.id}/photos/{photo}/thumb" if shown else None,
    }


def _query(opened: OpenRun, number: int, query: QueryRecord) -> Json:
    return {
        "id": number,
        "name": name_of(query.id),
        "ap": {name_of(setup): number_of(score.ap) for setup, score in query.scores.items()},
        "thumb_url": _query_thumb(opened, number),
    }


def _query_thumb(opened: OpenRun, number: int) -> str | None:
    if opened.benchmark is None or opened.benchmark.root is None:
        return None
    return f"/v1/lab/runs/{opened.run.id}/queries/{number}/thumb"


def _latex(record: RunRecord) -> Json:
    """Header and row of `glocal bench`'s table of this run."""
    cut = RunRecord(
        name_of(record.benchmark), name_of(record.title), record.setups, record.cutoffs,
        {key: words(value) for key, value in record.card.items() if key in ("model", "rerank", "distractors")},
        finite(record.cost), record.queries,
    )  # fmt: skip
    lines = to_latex(table_of([cut])).splitlines()
    return {"header": readable(lines[2]), "row": readable(lines[4])}
