"""What inverted lists find of what exact search finds, measured on some of the collection's own descriptors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from glocal.index.choice import Layout, Setting
from glocal.index.faiss_lists import InvertedLists

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]

TUNED_FOR = 100
"""How far to look is fitted to a query that asks for so many."""
SPARE = 10
"""Candidates on top of `Setting.widen`, which is little for a query that asks for few."""
TARGET = 0.98
"""Share of the 100 most similar that must be found, by `MARGIN` standard errors over the probes."""
MARGIN = 2
"""The probes are a few of many, and lists were fitted to them: on queries from outside 0.002 to 0.004 less is found."""
LOOK = 100
"""To look at a candidate again takes as long as reading the codes of so many pictures in their lists."""
FINENESS = 16
"""The number of lists to read is found to a sixteenth: the probes tell no finer."""


def num_candidates(k: int, setting: Setting) -> int:
    """How many candidates are compared for a query that asks for k."""
    return math.ceil(k * setting.widen) + SPARE


class Probes:
    """Some of a collection's descriptors, and the most similar others of each, found by comparing all."""

    def __init__(self, numbers: Numbers, vectors: Vectors) -> None:
        """Nothing is compared yet.

        Args:
            numbers: P, of the descriptors; above 0.
            vectors: (P, D) float32 of unit norm.
        """
        self.numbers, self.vectors = numbers, vectors
        self._similarities = np.empty((len(numbers), 0), np.float32)
        self._nearest = np.empty((len(numbers), 0), np.int64)

    def compare(self, numbers: Numbers, vectors: Vectors) -> None:
        """Take a block of the collection into account: N numbers above 0, (N, D) vectors."""
        similarities = self.vectors @ vectors.T
        similarities[self.numbers[:, None] == numbers] = -np.inf  # a probe does not look for itself
        similarities = np.concatenate([self._similarities, similarities], axis=1)
        nearest = np.concatenate([self._nearest, np.broadcast_to(numbers, (len(self.numbers), len(numbers)))], axis=1)
        best = np.argpartition(-similarities, min(TUNED_FOR, similarities.shape[1]) - 1, axis=1)[:, :TUNED_FOR]
        order = np.take_along_axis(best, np.argsort(-np.take_along_axis(similarities, best, 1), axis=1), 1)
        self._similarities = np.take_along_axis(similarities, order, 1)
        self._nearest = np.take_along_axis(nearest, order, 1)

    def recall(self, found: Numbers, count: int) -> NDArray[np.float64]:
        """For each probe the share of its `count` most similar that is among its candidates `found` (P, C).

        The same share is in the answer: all candidates are compared exactly, so what belongs in front comes in front.
        """
        wanted = self._nearest[:, :count]
        there = np.isfinite(self._similarities[:, :count])
        hits = np.stack([np.isin(row, candidates) for row, candidates in zip(wanted, found, strict=True)]) & there
        return np.asarray(hits.sum(axis=1) / np.maximum(1, there.sum(axis=1)), np.float64)


@dataclass(frozen=True, slots=True)
class Tuned:
    """How far a search must look, and what it then finds.

    Attributes:
        setting: one of the layout's.
        nprobe: lists to read for a query that asks for `TUNED_FOR`.
        recall_10: share of the 10 most similar that it finds, mean over the probes.
        recall_100: likewise of the 100.
    """

    setting: Setting
    nprobe: int
    recall_10: float
    recall_100: float


def tune(lists: InvertedLists, probes: Probes, layout: Layout, pause: Callable[[], None]) -> Tuned:
    """Find how a search reaches `TARGET` with the least work: fewer lists, or fewer candidates looked at again.

    Args:
        lists: full.
        probes: compared with everything that is in the lists.
        layout: of the lists; if none of its settings can reach the target, the last is taken, reading all lists.
        pause: called now and then; what it raises ends the work.
    """

    def found(setting: Setting, nprobe: int) -> Numbers:
        pause()
        # One more, which is the probe itself.
        return lists.candidates(probes.vectors, num_candidates(TUNED_FOR, setting) + 1, nprobe, setting.refine)

    def reaches(setting: Setting, nprobe: int) -> bool:
        shares = probes.recall(found(setting, nprobe), TUNED_FOR)
        return bool(shares.mean() - MARGIN * shares.std() / math.sqrt(len(shares)) >= TARGET)

    def work(tried: tuple[Setting, int]) -> float:
        setting, nprobe = tried
        return len(lists) * nprobe / layout.num_lists + LOOK * num_candidates(TUNED_FOR, setting) * setting.refine

    enough = [(option, _fewest(partial(reaches, option), layout.num_lists)) for option in layout.settings]
    possible = [(option, nprobe) for option, nprobe in enough if nprobe is not None]
    setting, nprobe = min(possible, key=work, default=(layout.settings[-1], layout.num_lists))
    candidates = found(setting, nprobe)
    at_10, at_100 = (float(probes.recall(candidates, count).mean()) for count in (10, TUNED_FOR))
    return Tuned(setting, nprobe, at_10, at_100)


def _fewest(reaches: Callable[[int], bool], most: int) -> int | None:
    """About the lowest number up to `most` from which on something holds; None if it does not hold for `most`."""
    high = 1
    while not reaches(high):
        if high == most:
            return None
        high = min(2 * high, most)
    low = high // 2
    while high - low > max(1, high // FINENESS):
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
