"""Descriptors and a plan -> the ranking of every query, and its head under every setup."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark, Indices
from glocal.evaluation.features import Watcher
from glocal.evaluation.heads import HeadOrder, head_method
from glocal.evaluation.methods import ALPHA, NEIGHBOURS, Plan
from glocal.evaluation.metrics import QueryScore, ilias_average_precision, score_places
from glocal.evaluation.places import Head, candidates_of, places_after
from glocal.evaluation.protocol import ILIAS
from glocal.evaluation.ranking import Ranking, blocks_of, order_row, rank_exact
from glocal.rerank.expansion import alpha_expansion, augment_database
from glocal.search import TURN_PENALTY
from glocal.types import LocalFeatures

Vectors = NDArray[np.float32]
WHOLE = 50_000
"""Galleries up to this size are ordered whole; of larger ones the first `TOP` and the places of the labelled photos."""
TOP = 10_000
_GRAPH_LIMIT = 200_000
"""Photos whose graph of neighbours is made; that compares all pairs."""


class LocalSource(Protocol):
    """Where local features come from."""

    def gallery(self, photo: int) -> LocalFeatures:
        """Those of a photo of the gallery."""

    def query(self, query: int) -> Sequence[LocalFeatures]:
        """Those of a query, one set for each way it is turned."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What came out for every query.

    Attributes:
        ranking: the order of the whole gallery.
        heads: setup -> for each query the first photos in their new order; empty without such a method.
        seconds: by stage, for all queries together.
        listed: for each query its list with scores, where the answers are somebody's file that has them.
    """

    ranking: Ranking
    heads: Mapping[str, tuple[Head, ...]]
    seconds: Mapping[str, float] = field(default_factory=dict)
    listed: tuple[tuple[Indices, NDArray[np.float64]], ...] = ()

    def scores(self, benchmark: Benchmark) -> list[dict[str, QueryScore]]:
        """For each query its score under each setup."""
        found = []
        for number, query in enumerate(benchmark.queries):
            mine = {}
            for name, setup in benchmark.protocol.setups.items():
                right, junk = query.right(setup), query.ignored(setup)
                head = self.heads[name][number] if name in self.heads else None
                places, ignored = places_after(self.ranking, number, right, junk, head)
                scored = score_places(places[places >= 0], ignored[ignored >= 0], len(right), benchmark.protocol)
                if self.listed and benchmark.protocol == ILIAS and len(right):
                    # Its own program groups equal scores, which a list cannot say.
                    order, values = self.listed[number]
                    scored = replace(scored, ap=ilias_average_precision(values, np.isin(order, right), len(right)))
                mine[name] = scored
            found.append(mine)
        return found

    def first(self, benchmark: Benchmark, query: int, setup: str, count: int) -> Indices:
        """The first photos of a query's final order, junk where it stands."""
        order = self.ranking.top[query]
        order = np.asarray(order[order >= 0])
        if setup not in self.heads:
            return order[:count]
        head = self.heads[setup][query]
        inside = np.isin(order, head.photos)
        return (
            np.concatenate([head.photos, order[~inside]])[:count] if count > len(head.photos) else head.photos[:count]
        )


def answer(
    benchmark: Benchmark,
    vectors: Vectors,
    queries: Vectors,
    plan: Plan,
    watcher: Watcher,
    local: LocalSource | None = None,
    model: tuple[str, str] = ("", ""),
    top: int = TOP,
) -> Answers | None:
    """Rank the gallery for every query, as a plan says.

    Args:
        benchmark: the questions.
        vectors: (N, D) float32 descriptors of the gallery, then of distractors; may be memory-mapped.
        queries: (Q, T, D) float32, each query in the T ways it is turned.
        plan: which methods.
        watcher: is told how long work goes, and may stop it.
        local: where local features come from, if a method needs them.
        model: name and weights of what made the features: calibrations and codebooks are its own.
        top: how many of each order are kept where the gallery is too large to keep all.

    Returns:
        The answers; None if it was stopped.
    """
    labelled = tuple(query.labelled() for query in benchmark.queries)
    most_junk = max(len(query.ignored(s)) for query in benchmark.queries for s in benchmark.protocol.setups.values())
    depth = len(vectors) if len(vectors) <= WHOLE else max(top, plan.head_depth + most_junk)
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    if "dba" in plan.names:
        watcher.say("Augmenting the gallery's descriptors (dba) ...")
        vectors = augment_database(vectors, NEIGHBOURS, ALPHA)
        seconds["dba"], started = time.perf_counter() - started, time.perf_counter()

    def ranked(ways: Vectors, length: int) -> Ranking:
        return rank_exact(blocks_of(vectors), len(vectors), ways, labelled, length, TURN_PENALTY)

    if "aqe" in plan.names:
        nearest = ranked(queries, NEIGHBOURS)
        expanded = alpha_expansion(queries[:, 0], _gather(vectors, nearest.top), nearest.similarities, ALPHA)
        queries = expanded[:, None]
    ranking = ranked(queries, depth)
    if plan.order == "diffusion":
        ranking = _diffused(vectors, ranking, labelled, depth, watcher)
    seconds["search"] = time.perf_counter() - started
    if plan.head is None:
        return Answers(ranking, {}, seconds)
    if plan.needs_local and local is None:
        raise ConfigError(f"--rerank {plan.head} needs local features, and there are none → --rerank none")
    started = time.perf_counter()
    order = head_method(plan, vectors, queries[:, 0], local, model)
    heads = _heads(benchmark, ranking, plan, order, watcher)
    if heads is None:
        return None
    seconds["rerank"] = time.perf_counter() - started
    return Answers(ranking, heads, seconds)


def _gather(vectors: Vectors, photos: Indices) -> Vectors:
    return np.asarray(vectors[photos.reshape(-1)], np.float32).reshape(*photos.shape, vectors.shape[1])


def _diffused(
    vectors: Vectors, ranking: Ranking, labelled: tuple[Indices, ...], depth: int, watcher: Watcher
) -> Ranking:
    from glocal.rerank.diffusion import diffuse, neighbour_graph  # noqa: PLC0415 - needs SciPy, an extra

    if len(vectors) > _GRAPH_LIMIT:
        raise ConfigError(
            f"diffusion compares all pairs of photos: {len(vectors):,} are more than {_GRAPH_LIMIT:,} "
            "→ without distractors, or another --rerank"
        )
    watcher.say("Making the graph of nearest neighbours (diffusion) ...")
    scores = diffuse(neighbour_graph(np.asarray(vectors)), (ranking.top, ranking.similarities))
    # What diffusion does not reach is ordered by similarity, after all that it does reach.
    rows = [
        order_row(_with_rest(row, top), photos, depth)
        for row, top, photos in zip(np.asarray(scores, np.float32), ranking.top, labelled, strict=True)
    ]
    top, similarities, places = (list(column) for column in zip(*rows, strict=True))
    return Ranking(ranking.size, np.stack(top), np.stack(similarities), labelled, tuple(places))


def _with_rest(scores: Vectors, order: Indices) -> Vectors:
    """Scores with those of zero and below replaced by negative ones that fall along the first order."""
    unreached = order[scores[order] <= 0]
    filled = np.maximum(scores, 0)
    filled[unreached] = -np.arange(1, len(unreached) + 1, dtype=np.float32) / len(order)
    return filled


def _heads(
    benchmark: Benchmark,
    ranking: Ranking,
    plan: Plan,
    order: Callable[[int, Indices, Vectors], HeadOrder],
    watcher: Watcher,
) -> dict[str, tuple[Head, ...]] | None:
    """The re-ranked head of each query under each setup; setups that ignore the same photos share one."""
    setups = benchmark.protocol.setups
    heads: dict[str, list[Head]] = {name: [] for name in setups}
    watcher.begin(f"Re-ranking ({plan.head})", len(benchmark.queries), 0)
    try:
        for number, query in enumerate(benchmark.queries):
            done: dict[bytes, Head] = {}
            similarity = dict(zip(ranking.top[number].tolist(), ranking.similarities[number].tolist(), strict=True))
            for name, setup in setups.items():
                candidates = candidates_of(
                    ranking, number, query.ignored(setup), plan.head_depth, plan.head_excludes_junk
                )
                key = candidates.tobytes()
                if key not in done:
                    values = np.array([similarity[photo] for photo in candidates.tolist()], np.float32)
                    found = order(number, candidates, values)
                    inliers = None if found.inliers is None else found.inliers[found.order]
                    done[key] = Head(candidates[found.order], inliers, plan.head_excludes_junk)
                heads[name].append(done[key])
            watcher.advanced(number + 1, len(benchmark.queries), 0)
            if watcher.should_stop():
                return None
    finally:
        watcher.end()
    return {name: tuple(mine) for name, mine in heads.items()}
