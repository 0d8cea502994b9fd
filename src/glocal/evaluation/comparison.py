"""Two runs against each other: the difference, how sure it is, and which queries moved (NumPy).

The revisited sets have 70 queries: half a point of mAP is often chance. The interval is the percentile bootstrap over
queries (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13); the test is the paired
randomisation test (Smucker et al., "A comparison of statistical significance tests for information retrieval
evaluation", CIKM 2007), with its Monte Carlo p as in Phipson and Smyth, 2010: (b + 1) / (m + 1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, SpecMismatch
from glocal.evaluation.benchmark import first_repeated
from glocal.evaluation.card import UNKNOWN_CROP
from glocal.evaluation.record import RunRecord

ASKED = (
    "benchmark",
    "protocol",
    "ground_truth",
    "queries",
    "gallery",
    "distractors",
    "crop",
    "query_size",
    "incomplete",
)
"""Keys of a card that say what was asked: numbers compare only where all of them agree."""
EXACT = 16
"""Up to so many queries that differ, every way to turn their signs is counted; beyond, a sample of the ways."""
EQUAL = 1e-9
"""Average precisions nearer than this are equal: two orders of one sum differ by less."""
_CELLS = 1 << 22  # numbers that a resampling holds at a time
_SHOWN = 60  # characters of a card's value in a message

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moved:
    """A query that the two runs answer differently: its average precision in each, 0 to 1."""

    id: str
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class SetupComparison:
    """Two runs under one setup, over the queries that count in both.

    Attributes:
        setup: its name.
        num_queries: how many count in both; where there are none, all numbers are NaN.
        a: mean average precision of the first run, 0 to 1.
        b: of the second.
        low: lower end of the 95 % interval of `difference`; NaN where fewer than two queries count.
        high: upper end.
        p: how often chance alone moves the mean as far, in either direction.
        better: queries that the second run answers better.
        worse: queries that it answers worse.
        moved: every query that differs, the most first.
    """

    setup: str
    num_queries: int
    a: float
    b: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    moved: tuple[Moved, ...]

    @property
    def difference(self) -> float:
        """Second run less first."""
        return self.b - self.a

    @property
    def equal(self) -> int:
        """Queries that both answer equally well."""
        return self.num_queries - self.better - self.worse

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Mean average precision of one group of queries under one setup; NaN where none counts."""

    group: str
    setup: str
    num_queries: int
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class Differing:
    """An entry of the cards that differs: both values as JSON, None where a card does not have it."""

    key: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changes from one run to another.

    Attributes:
        benchmark: what both were asked.
        title: what the mean is called.
        setups: one each, in the order of printing.
        groups: one for each setup of each group that both runs have.
        cost: name -> the two values; None where a run does not have it.
        differs: what the systems differ in.
    """

    benchmark: str
    title: str
    setups: tuple[SetupComparison, ...]
    groups: tuple[GroupComparison, ...]
    cost: Mapping[str, tuple[float | None, float | None]]
    differs: tuple[Differing, ...]


def compare(a: RunRecord, b: RunRecord, seed: int = 0, draws: int = 10_000) -> Comparison:
    """Compare two runs that were asked the same, query by query.

    Args:
        a: the first run.
        b: the second; a difference is what it has more.
        seed: of the resampling; a setup's numbers depend on no other setup.
        draws: resamples of the interval, and of the test where it is not exact.

    Raises:
        SpecMismatch: they were not asked the same; all that differs is named.
        ConfigError: a record is damaged.
    """
    differs = _differing(a.card, b.card)
    unlike = _unlike(a, b) + [each for each in differs if _says_unlike(each)]
    if unlike:
        details = "; ".join(f"{each.key}: {_cut(each.a, each.b)} in A, {_cut(each.b, each.a)} in B" for each in unlike)
        raise SpecMismatch(
            f"The two runs were not asked the same, so their numbers do not compare. {details} → run glocal eval for "
            "one of them again with the data and options of the other"
        )
    ids = tuple(query.id for query in a.queries)
    setups, scores = [], {}
    for setup in a.setups:
        scores[setup] = precisions(a, setup, ids), precisions(b, setup, ids)
        setups.append(_compare_setup(setup, ids, *scores[setup], seed, draws))
    groups = []
    for name in a.groups:
        members = set(a.groups[name])
        if members == set(b.groups.get(name, ())):
            inside = np.array([each in members for each in ids], np.bool_)
            groups += [_compare_group(name, setup, inside, *scores[setup]) for setup in a.setups]
    cost = {name: (a.cost.get(name), b.cost.get(name)) for name in dict.fromkeys([*a.cost, *b.cost])}
    asked_alike = tuple(each for each in differs if not _says_unlike(each))
    return Comparison(a.benchmark, a.title, tuple(setups), tuple(groups), cost, asked_alike)


def asked(record: RunRecord) -> tuple[str | None, ...]:
    """What a run was asked, as texts that are equal for runs whose numbers compare."""
    values = (_text(record.card[key]) if key in record.card else None for key in ASKED)
    return record.benchmark, record.title, *values


def precisions(record: RunRecord, setup: str, ids: tuple[str, ...]) -> Floats:
    """(Q,) average precision of each query, in the order of `ids`; NaN where it does not count.

    Raises:
        ConfigError: a score is missing, or no average precision.
    """
    by_id = {query.id: query for query in record.queries}
    values = np.full(len(ids), np.nan)
    for place, name in enumerate(ids):
        score = by_id[name].scores.get(setup)
        # Sums of many terms may pass 1 by a rounding.
        if score is None or not (math.isnan(score.ap) or 0 <= score.ap <= 1 + 1e-6):
            found = "no score" if score is None else f"average precision {score.ap}"
            raise ConfigError(f"Damaged run: query '{name}' has {found} for '{setup}' → run glocal eval again")
        values[place] = score.ap
    return values


def bootstrap_interval(differences: Floats, seed: int = 0, draws: int = 10_000) -> tuple[float, float]:
    """95 % percentile interval of the mean, over resampled queries.

    Args:
        differences: (Q,) per query.
        seed: of the resampling.
        draws: resamples.

    Returns:
        Lower and upper end; NaN for fewer than two queries, of which nothing can be said.
    """
    count = len(differences)
    if count < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // count)
    parts = [
        differences[rng.integers(0, count, (min(rows, draws - first), count))].mean(1)
        for first in range(0, draws, rows)
    ]
    low, high = np.quantile(np.concatenate(parts), [0.025, 0.975])
    return float(low), float(high)


def sign_flip_p(differences: Floats, seed: int = 0, draws: int = 10_000) -> float:
    """Two-sided p of the paired randomisation test: were the runs alike, each difference could have either sign.

    Args:
        differences: (Q,) per query.
        seed: of the sample of signs.
        draws: sampled ways to turn signs, where more than `EXACT` queries differ.
    """
    moving = differences[np.abs(differences) > EQUAL]
    # Equal sums in another order must count as equal.
    reached = abs(moving.sum()) - 1e-12 * np.abs(moving).sum()
    if len(moving) <= EXACT:
        sums = np.zeros(1)
        for value in moving:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= reached))
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // len(moving))
    beyond = 0
    for first in range(0, draws, rows):
        kept = rng.integers(0, 2, (min(rows, draws - first), len(moving)), np.int8).astype(np.float64)
        beyond += int(np.count_nonzero(np.abs(2 * (kept @ moving) - moving.sum()) >= reached))
    return float((beyond + 1) / (draws + 1))


def _compare_setup(setup: str, ids: tuple[str, ...], a: Floats, b: Floats, seed: int, draws: int) -> SetupComparison:
    counts = ~(np.isnan(a) | np.isnan(b))
    difference = np.where(np.abs(b - a) > EQUAL, b - a, 0.0)  # NaN is not above either: it is left out below
    differing = np.flatnonzero(counts & (difference != 0)).tolist()
    order = sorted(differing, key=lambda i: (-round(abs(float(difference[i])), 9), ids[i]))
    counted = difference[counts]
    low, high = bootstrap_interval(counted, seed, draws)
    return SetupComparison(
        setup=setup,
        num_queries=len(counted),
        a=_mean(a[counts]),
        b=_mean(b[counts]),
        low=low,
        high=high,
        p=sign_flip_p(counted, seed, draws) if len(counted) else math.nan,
        better=int(np.count_nonzero(counted > 0)),
        worse=int(np.count_nonzero(counted < 0)),
        moved=tuple(Moved(ids[i], float(a[i]), float(b[i])) for i in order),
    )


def _compare_group(name: str, setup: str, members: NDArray[np.bool_], a: Floats, b: Floats) -> GroupComparison:
    counts = members & ~(np.isnan(a) | np.isnan(b))
    return GroupComparison(name, setup, int(np.count_nonzero(counts)), _mean(a[counts]), _mean(b[counts]))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan


def _says_unlike(each: Differing) -> bool:
    """Whether a key that differs makes two runs unlike; whose crop nobody knows is shown, but not refused."""
    return each.key.partition(".")[0] in ASKED and not (each.key == "crop" and _text(UNKNOWN_CROP) in (each.a, each.b))


def _unlike(a: RunRecord, b: RunRecord) -> list[Differing]:
    """What two records, but for their cards, were asked differently."""
    found = [
        Differing(what, _text(mine), _text(theirs))
        for what, mine, theirs in (
            ("name of the benchmark", a.benchmark, b.benchmark),
            ("name of the mean", a.title, b.title),
            ("setups", a.setups, b.setups),
        )
        if mine != theirs
    ]
    ids = [tuple(query.id for query in run.queries) for run in (a, b)]
    for one in ids:
        twice = first_repeated(one)
        if twice is not None:
            raise ConfigError(f"Damaged run: query '{twice}' is there twice → run glocal eval again")
    sets = [set(one) for one in ids]
    if sets[0] != sets[1]:
        alone = [next((name for name in ids[i] if name not in sets[1 - i]), None) for i in (0, 1)]
        whose = [f"{len(ids[i])}" + ("" if alone[i] is None else f" with '{alone[i]}' alone") for i in (0, 1)]
        found.append(Differing("ids of the queries", *whose))
    return found


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Differing]:
    """Entries of two cards that are not equal, in the cards' order; those of an inner mapping by "outer.inner"."""
    flat = [dict(_flat(card)) for card in (a, b)]
    keys = dict.fromkeys([*flat[0], *flat[1]])
    return [Differing(key, flat[0].get(key), flat[1].get(key)) for key in keys if flat[0].get(key) != flat[1].get(key)]


def _flat(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    entries = []
    for key, value in card.items():
        if isinstance(value, Mapping) and value:
            entries += [(f"{key}.{inner}", _text(each)) for inner, each in value.items()]
        else:
            entries.append((str(key), _text(value)))
    return entries


def _text(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    except RecursionError as error:
        raise ConfigError("Damaged run: its card is nested without end → run glocal eval again") from error


def _cut(text: str | None, other: str | None) -> str:
    """A value for a message, cut to where it differs from another."""
    if text is None:
        return "not told"
    same = 0
    while other is not None and same < min(len(text), len(other)) and text[same] == other[same]:
        same += 1
    start = max(0, same - _SHOWN // 2) if len(text) > _SHOWN else 0
    cut = text[start : start + _SHOWN]
    return f"{'…' if start else ''}{cut}{'…' if start + _SHOWN < len(text) else ''}"
