"""The methods that order the first candidates of a ranking, behind one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Indices
from glocal.evaluation.methods import Plan
from glocal.rerank.asmk import AsmkReranker, load_codebook
from glocal.rerank.bands import Calibration
from glocal.rerank.binary import verify_signs
from glocal.rerank.geometric import DEFAULTS, GeometricReranker, VerificationOptions
from glocal.rerank.official import OfficialOptions, order_tensorflow, order_torch, verify_tensorflow, verify_torch
from glocal.rerank.superglobal import SuperGlobalOptions, rerank_superglobal
from glocal.types import LocalFeatures, Shortlist, Verification

if TYPE_CHECKING:
    from glocal.evaluation.answering import LocalSource

Vectors = NDArray[np.float32]
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, eq=False)
class HeadOrder:
    """Candidates in a new order.

    Attributes:
        order: (K,) int64, positions among the candidates, best first.
        inliers: (K,) int64, of each candidate in the order in which they were given; None where nothing was verified.
    """

    order: Indices
    inliers: Indices | None = None


Order = Callable[[int, Indices, Vectors], HeadOrder]
"""(number of the query, (K,) candidates, (K,) similarities) -> their new order."""


def head_method(
    plan: Plan, vectors: Vectors, queries: Vectors, local: LocalSource | None, model: tuple[str, str]
) -> Order:
    """The method of a plan that orders candidates.

    Args:
        plan: names it.
        vectors: (N, D) descriptors of the gallery.
        queries: (Q, D) descriptors of the queries as they are.
        local: where local features come from.
        model: name and weights of what made the features.

    Raises:
        ConfigError: it needs what is not there.
    """
    if plan.head == "superglobal":
        return _superglobal(plan, vectors, queries)
    if local is None:
        raise ConfigError(f"--rerank {plan.head} needs local features, and there are none → --rerank none")
    if plan.head == "geometric":
        return _geometric(plan, local, verification_options(model))
    if plan.head == "delg":
        options = OfficialOptions("tensorflow", seed=plan.seed)
        return _by_inliers(local, lambda a, b: verify_tensorflow(a, b, options), order_tensorflow)
    if plan.head == "delg-torch":
        loose = OfficialOptions("torch", seed=plan.seed)
        return _by_inliers(local, lambda a, b: verify_torch(a, b, loose), lambda inliers, _: order_torch(inliers))
    if plan.head == "delg-star":
        fast = verification_options(model)
        return _by_inliers(local, lambda a, b: verify_signs(a, b, fast), order_tensorflow)
    return _asmk(plan, local, model)


def verification_options(model: tuple[str, str]) -> VerificationOptions:
    """How pairs are compared: as the model's calibration was measured."""
    calibration = Calibration.load(*model)
    return calibration.verification if calibration else DEFAULTS


def _superglobal(plan: Plan, vectors: Vectors, queries: Vectors) -> Order:
    options = SuperGlobalOptions(depth=plan.head_depth)

    def order(query: int, candidates: Indices, similarities: Vectors) -> HeadOrder:
        found, _ = rerank_superglobal(queries[query], np.asarray(vectors[candidates], np.float32), options)
        return HeadOrder(found)

    return order


def _geometric(plan: Plan, local: LocalSource, options: VerificationOptions) -> Order:
    reranker = GeometricReranker(lambda name: local.gallery(int(name)), replace(options, depth=plan.head_depth))
    verified = _PerQuery[Verification]()

    def order(query: int, candidates: Indices, similarities: Vectors) -> HeadOrder:
        names = {str(photo): photo for photo in candidates.tolist()}

        def verify(photos: list[int]) -> list[Verification]:
            found = reranker.verify(local.query(query), [str(photo) for photo in photos])
            return [found[str(photo)] for photo in photos]

        found = verified.of(query, candidates.tolist(), verify)
        shortlist = Shortlist(str(query), tuple(names), similarities)
        hits = reranker.order(shortlist, {name: found[photo] for name, photo in names.items()})
        place = {name: i for i, name in enumerate(names)}
        inliers = np.array([found[photo].inliers for photo in names.values()], np.int64)
        return HeadOrder(np.array([place[hit.id] for hit in hits], np.int64), inliers)

    return order


def _by_inliers(
    local: LocalSource,
    verify: Callable[[LocalFeatures, LocalFeatures], Verification],
    rule: Callable[[Indices, Vectors], Indices],
) -> Order:
    """Candidates verified one after the other, and ordered by a rule on inliers and similarities."""
    verified = _PerQuery[int]()

    def order(query: int, candidates: Indices, similarities: Vectors) -> HeadOrder:
        features = local.query(query)[0]

        def count(photos: list[int]) -> list[int]:
            return [verify(features, local.gallery(photo)).inliers for photo in photos]

        found = verified.of(query, candidates.tolist(), count)
        inliers = np.array([found[photo] for photo in candidates.tolist()], np.int64)
        return HeadOrder(rule(inliers, similarities), inliers)

    return order


def _asmk(plan: Plan, local: LocalSource, model: tuple[str, str]) -> Order:
    codebook = load_codebook(*model)
    if codebook is None:
        raise ConfigError(
            f"--rerank asmk needs a codebook, and there is none for these weights of {model[0] or 'this model'} "
            "→ scripts/learn_codebook.py learns one, or --rerank geometric"
        )
    reranker = AsmkReranker(local.gallery, codebook.words)

    def order(query: int, candidates: Indices, similarities: Vectors) -> HeadOrder:
        return HeadOrder(reranker.rerank(local.query(query), candidates.tolist())[0])

    return order


class _PerQuery(Generic[Found]):
    """What was found out about the candidates of one query: the next setup asks for most of them again."""

    def __init__(self) -> None:
        self._query: int | None = None
        self._found: dict[int, Found] = {}

    def of(self, query: int, photos: list[int], find: Callable[[list[int]], Sequence[Found]]) -> dict[int, Found]:
        """What was found about each photo; what is not known yet is found now."""
        if query != self._query:
            self._query, self._found = query, {}
        fresh = [photo for photo in photos if photo not in self._found]
        self._found.update(zip(fresh, find(fresh), strict=True))
        return self._found
