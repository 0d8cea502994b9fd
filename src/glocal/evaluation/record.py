"""What one evaluation says: `metrics.json`, and what it was made with, its protocol card."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glocal.errors import ConfigError
from glocal.evaluation.metrics import QueryScore, mean_of
from glocal.pictures.files import write_atomically

FORMAT = 1
FILE = "metrics.json"
MAX_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """One query.

    Attributes:
        id: its name.
        scores: setup -> how well it was answered.
        top: names of the first photos of the ranking, by setup; equal lists where re-ranking did not ask for the setup.
    """

    id: str
    scores: Mapping[str, QueryScore]
    top: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One evaluation of one system on one benchmark.

    Attributes:
        benchmark: its name, e.g. "roxford5k".
        title: what the mean is called, "mAP" or "mAP@100".
        setups: names, in the order in which they are printed.
        cutoffs: the k of precision and recall.
        card: what the numbers were made with: plain values, see `glocal.evaluation.card`.
        cost: bytes, milliseconds and memory: plain numbers by name.
        queries: all that were asked.
        groups: kinds of queries that are scored apart too: name -> ids.
        data: where the benchmark was, see `glocal.evaluation.benchmark.Benchmark.place`; empty where it is not known.
    """

    benchmark: str
    title: str
    setups: tuple[str, ...]
    cutoffs: tuple[int, ...]
    card: Mapping[str, Any]
    cost: Mapping[str, float]
    queries: tuple[QueryRecord, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)

    def mean_ap(self, setup: str, group: str | None = None) -> float:
        """Mean average precision, 0 to 1, over the queries that count; of a group of queries if one is named."""
        return mean_of([query.scores[setup].ap for query in self._members(group)])

    def mean_precision(self, setup: str) -> tuple[float, ...]:
        """Mean precision at each cutoff."""
        rows = [query.scores[setup].precision for query in self.queries]
        return tuple(mean_of([row[i] for row in rows]) for i in range(len(self.cutoffs)))

    def mean_recall(self, setup: str) -> tuple[float, ...]:
        """Mean share of what is right among the first places, at each cutoff."""
        rows = [query.scores[setup].recall for query in self.queries]
        return tuple(mean_of([row[i] for row in rows]) for i in range(len(self.cutoffs)))

    def first_four(self) -> float:
        """UKBench's score: how many of the first four places are right, 0 to 4."""
        return mean_of([query.scores[self.setups[0]].first_four for query in self.queries])

    def _members(self, group: str | None) -> list[QueryRecord]:
        if group is None:
            return list(self.queries)
        ids = set(self.groups[group])
        return [query for query in self.queries if query.id in ids]

    def _checked(self) -> RunRecord:
        """The record itself, if every query has a score of every setup at every cutoff.

        Raises:
            ValueError: one has not.
        """
        for query in self.queries:
            if set(query.scores) != set(self.setups):
                raise ValueError(f"query '{query.id}' has scores of {sorted(query.scores)}, not of {self.setups}")
            for score in query.scores.values():
                if not len(score.precision) == len(score.recall) == len(self.cutoffs):
                    raise ValueError(f"query '{query.id}' has not {len(self.cutoffs)} values of precision and recall")
        return self

    def to_json(self) -> str:
        """The record as JSON; what does not count is null."""
        summary = {
            setup: {
                self.title: self.mean_ap(setup),
                "queries": sum(not math.isnan(query.scores[setup].ap) for query in self.queries),
                **{f"mP@{k}": value for k, value in zip(self.cutoffs, self.mean_precision(setup), strict=True)},
                **{f"mR@{k}": value for k, value in zip(self.cutoffs, self.mean_recall(setup), strict=True)},
            }
            for setup in self.setups
        }
        groups = {
            name: {"ids": list(ids), **{setup: self.mean_ap(setup, name) for setup in self.setups}}
            for name, ids in self.groups.items()
        }
        queries = [
            {
                "id": query.id,
                "scores": {setup: dataclasses.asdict(score) for setup, score in query.scores.items()},
                "top": query.top,
            }
            for query in self.queries
        ]
        whole = {
            "format": FORMAT,
            "benchmark": self.benchmark,
            "title": self.title,
            "setups": self.setups,
            "cutoffs": self.cutoffs,
            "metrics": summary,
            "groups": groups,
            "cost": self.cost,
            "card": self.card,
            "data": self.data,
            "queries": queries,
        }
        return json.dumps(_without_nan(whole), indent=1, allow_nan=False, ensure_ascii=True)

    def write(self, folder: Path) -> Path:
        """Write `metrics.json` into a folder; a half-written file never appears."""
        file = folder / FILE
        write_atomically(self.to_json().encode("ascii"), file)
        return file

    @classmethod
    def read(cls, place: Path) -> RunRecord:
        """Read a run's folder, or its `metrics.json`.

        Raises:
            ConfigError: there is none, or it is none of ours.
        """
        file = place / FILE if place.is_dir() else place
        try:
            if file.stat().st_size > MAX_BYTES:
                raise ConfigError(f"{file} is larger than {MAX_BYTES >> 20} MiB: it is no {FILE} of glocal")
            whole = json.loads(file.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(
                f"No run in {place}: {error.strerror} ({file}) → name the folder that glocal eval saved"
            ) from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{file} is no {FILE} of glocal: {error}") from error
        try:
            if whole["format"] != FORMAT:
                raise ConfigError(f"{file} has format {whole['format']!r}; this glocal reads {FORMAT}")
            return cls(
                benchmark=str(whole["benchmark"]),
                title=str(whole["title"]),
                setups=tuple(str(setup) for setup in whole["setups"]),
                cutoffs=tuple(int(cutoff) for cutoff in whole["cutoffs"]),
                card=dict(whole["card"]),
                cost={name: float("nan") if value is None else float(value) for name, value in whole["cost"].items()},
                queries=tuple(_query(each) for each in whole["queries"]),
                groups={name: tuple(str(each) for each in about["ids"]) for name, about in whole["groups"].items()},
                data={str(name): str(value) for name, value in whole.get("data", {}).items()},
            )._checked()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{file} is damaged: {type(error).__name__}: {error} → run glocal eval again") from error


def _query(fields: dict[str, Any]) -> QueryRecord:
    scores = {
        setup: QueryScore(
            ap=_number(score["ap"]),
            precision=tuple(_number(value) for value in score["precision"]),
            recall=tuple(_number(value) for value in score["recall"]),
            first=score["first"],
            first_four=int(score["first_four"]),
        )
        for setup, score in fields["scores"].items()
    }
    return QueryRecord(str(fields["id"]), scores, {setup: tuple(names) for setup, names in fields["top"].items()})


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _without_nan(value: Any) -> Any:
    """The same with null for NaN: JSON has no such number."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return value
