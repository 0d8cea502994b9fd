"""A benchmark: a gallery, queries, and which photos of the gallery are right for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.evaluation.protocol import Protocol, Setup

Indices = NDArray[np.int64]
Corners = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the full photo: how benchmarks write boxes."""

_NONE = np.empty(0, np.int64)
_NONE.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class BenchmarkQuery:
    """One question.

    Attributes:
        id: its name, unique among the queries.
        file: path below the benchmark's root.
        corners: the part that is asked for; None for the whole photo.
        sets: name of a set -> its photos, ascending indices into the gallery. A setup counts a query only where one
            of the sets that are right is there and not empty.
        own: index of the query's own photo in the gallery; None where it is not in it.
    """

    id: str
    file: str
    corners: Corners | None
    sets: Mapping[str, Indices]
    own: int | None = None

    def members(self, names: tuple[str, ...]) -> Indices:
        """The photos of some sets, ascending, each once."""
        parts = [self.sets[name] for name in names if name in self.sets]
        return np.unique(np.concatenate(parts)) if parts else _NONE

    def right(self, setup: Setup) -> Indices:
        """What a setup wants to be found."""
        return self.members(setup.right)

    def ignored(self, setup: Setup) -> Indices:
        """What a setup takes out of the ranking."""
        return self.members(setup.ignored)

    def labelled(self) -> Indices:
        """The photos of all sets."""
        return self.members(tuple(self.sets))


@dataclass(frozen=True, slots=True, eq=False)
class Benchmark:
    """What is asked, and what is right.

    Attributes:
        name: as it is printed, e.g. "roxford5k".
        protocol: how it is scored.
        root: the folder of the photos; None where only a result file is scored.
        gallery: names of the photos searched, unique; the order that indices mean.
        files: their paths below the root, as many as names.
        queries: the questions, ids unique.
        notes: what a reader of the numbers must know, e.g. that this is a part of a benchmark.
        groups: kinds of queries that are scored apart too: name -> ids.
        place: what `open_benchmark` was asked for, so that it can be opened again: `name`, and `root` where that is
            below a folder of data sets; absolute. Empty where it was made otherwise.
    """

    name: str
    protocol: Protocol
    root: Path | None
    gallery: tuple[str, ...]
    files: tuple[str, ...]
    queries: tuple[BenchmarkQuery, ...]
    notes: tuple[str, ...] = ()
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    place: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.files) != len(self.gallery):
            raise ConfigError(f"{self.name}: {len(self.gallery)} photos, but {len(self.files)} files")
        for what, names in (("photo", self.gallery), ("query", tuple(query.id for query in self.queries))):
            twice = first_repeated(names)
            if twice is not None:
                raise ConfigError(f"{self.name}: {what} '{twice}' is listed twice")
        if not self.gallery or not self.queries:
            raise ConfigError(f"{self.name}: there is nothing to search, or nothing to ask")
        size = len(self.gallery)
        for query in self.queries:
            own = {} if query.own is None else {"own photo": np.array([query.own], np.int64)}
            for name, members in {**query.sets, **own}.items():
                outside = members[(members < 0) | (members >= size)]
                if len(outside):
                    raise ConfigError(f"{self.name}: query '{query.id}', {name}: photo {int(outside[0])} of {size}")

    def digest(self) -> str:
        """SHA-256 of names, boxes and sets: equal for equal questions and answers, wherever the photos lie."""
        about = {
            "protocol": self.protocol.name,
            "gallery": self.gallery,
            "queries": [
                [q.id, q.corners, {name: members.tolist() for name, members in sorted(q.sets.items())}]
                for q in self.queries
            ],
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def first_repeated(names: tuple[str, ...]) -> str | None:
    """The first name that is there a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
