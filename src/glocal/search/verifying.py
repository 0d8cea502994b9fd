"""The second stage of a search: candidates are verified, as far as the time allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from glocal.rerank.bands import Band, Calibration, judge
from glocal.rerank.binary import SignReranker
from glocal.rerank.expansion import expand
from glocal.rerank.geometric import GeometricReranker, InlierReranker, Placed, VerificationOptions
from glocal.search.query import Described, Vectors
from glocal.store.contract import FeatureStore
from glocal.store.rows import LocalForm, SignFeatures
from glocal.types import Hit, LocalFeatures, Shortlist, Verification

Nearest = Callable[[Vectors, int], Shortlist]
"""(descriptors of one query, k) -> its k most similar pictures."""
CHUNK_PER_THREAD = 2
"""So many candidates are verified by each thread between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates of one view.

    Attributes:
        shortlist: by similarity.
        verified: those that were compared by their local features.
        num_planned: how many were to be.
        was_stopped: whether that took too long.
    """

    shortlist: Shortlist
    verified: Mapping[str, Verification] = field(default_factory=dict)
    num_planned: int = 0
    was_stopped: bool = False


class CandidateVerifier:
    """Compares the candidates of one search with its views; each is read once.

    Attributes:
        features: the local features of the candidates that were read, by id.
    """

    def __init__(self, collection: FeatureStore, options: VerificationOptions, calibration: Calibration | None) -> None:
        self._collection, self._options, self._calibration = collection, options, calibration
        self.features: dict[str, Placed] = {}
        self._is_binary = collection.local_form == LocalForm.BINARY
        self._reranker = self._make_reranker()

    def _make_reranker(self) -> InlierReranker:
        features_of = self.features.__getitem__
        if self._is_binary:
            return SignReranker(cast("Callable[[str], SignFeatures]", features_of), self._options)
        return GeometricReranker(cast("Callable[[str], LocalFeatures]", features_of), self._options)

    def order(self, ranking: Ranking) -> list[Hit]:
        """The candidates, best first; see `InlierReranker.order`."""
        return self._reranker.order(ranking.shortlist, ranking.verified)

    def verify(self, local: Sequence[LocalFeatures], names: Sequence[str]) -> dict[str, Verification]:
        """Compare a view with some candidates."""
        self._read([name for name in names if name not in self.features])
        return self._reranker.verify(local, names)

    def _read(self, names: Sequence[str]) -> None:
        """Local features in the form in which they are compared fastest."""
        read = self._collection.sign_features_many if self._is_binary else self._collection.local_features_many
        self.features.update(zip(names, read(names), strict=True))

    def rerank(
        self, view: Described, shortlist: Shortlist, nearest: Nearest, depth: int, ends: float | None = None
    ) -> Ranking:
        """Verify half of the depth, search again with what was found for sure, verify the other half.

        Args:
            view: the query.
            shortlist: its candidates by similarity.
            nearest: searches again.
            depth: how many are verified at most.
            ends: when to stop, by `time.perf_counter`; the rest stays as it is. None for never.
        """
        planned = min(depth, len(shortlist.ids))
        first = shortlist.ids[: depth // 2]
        verified = self._verify_until(view.local, first, ends)
        if len(verified) == len(first) and not _is_up(ends):
            hits = self._reranker.order(shortlist, verified)
            sure = [hit.id for hit in hits if judge(self._calibration, hit)[1] == Band.SAME]
            if sure:
                wider = nearest(self._expand(view.vectors, sure, verified), len(shortlist.ids))
                shortlist = _with(wider, shortlist, verified)
        fresh = [name for name in shortlist.ids if name not in verified][: depth - len(verified)]
        late = self._verify_until(view.local, fresh, ends)
        return Ranking(shortlist, verified | late, planned, len(late) < len(fresh))

    def _verify_until(
        self, local: Sequence[LocalFeatures], names: Sequence[str], ends: float | None
    ) -> dict[str, Verification]:
        """Verify candidates one after the other until time is up; which does not change what is found."""
        if ends is None:
            return self.verify(local, names)
        verified: dict[str, Verification] = {}
        step = CHUNK_PER_THREAD * max(1, self._options.threads)
        for start in range(0, len(names), step):
            if _is_up(ends):
                break
            verified |= self.verify(local, names[start : start + step])
        return verified

    def _expand(self, vectors: Vectors, sure: Sequence[str], verified: Mapping[str, Verification]) -> Vectors:
        """Each of the query's (T, D) descriptors with those of the hits that it was surely found in, turned so."""
        rows = []
        for turn, vector in enumerate(vectors):
            names = [name for name in sure if verified[name].turn == turn]
            rows.append(expand(vector, self._collection.vectors(names)) if names else vector)
        return np.stack(rows)


def _is_up(ends: float | None) -> bool:
    return ends is not None and time.perf_counter() >= ends


def _with(wider: Shortlist, first: Shortlist, verified: Mapping[str, Verification]) -> Shortlist:
    """A second shortlist, with the verified candidates of the first that it lost at its end."""
    kept = set(wider.ids)
    lost = [i for i, name in enumerate(first.ids) if name in verified and name not in kept]
    similarities = np.concatenate([wider.similarities, np.minimum(first.similarities[lost], wider.similarities[-1])])
    return Shortlist(wider.query_id, wider.ids + tuple(first.ids[i] for i in lost), similarities)
