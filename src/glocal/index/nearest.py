"""The most similar pictures of a collection: exactly, or for large ones by the inverted lists beside it.

Whatever finds the candidates, similarities are those of the collection's own descriptors, pictures added a moment ago
are compared, and pictures that are gone are not shown. Lists that are lost or damaged are not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import BackendUnavailable, ShapeError, StoreError
from glocal.index.beside import open_lists
from glocal.index.exact import ExactIndex, search_blocks
from glocal.index.faiss_lists import InvertedLists
from glocal.index.probes import TUNED_FOR, num_candidates
from glocal.index.stored import (
    Numbers,
    Vectors,
    hashes_of,
    hold_pages,
    num_stored,
    num_visible_after,
    state,
    vectors_of,
    visible_after,
    visible_of,
)
from glocal.index.voucher import Voucher, read_voucher
from glocal.ops.ranking import top_k
from glocal.store.collection import Collection
from glocal.types import Descriptors, Shortlist

GROWTH = (1, 4, 16)
"""How much further a search looks, one after the other, if most of what it saw is gone; then it compares everything."""

SLACK = 1.5
"""What a search looks further than the share of gone pictures asks for."""


@dataclass(frozen=True, slots=True)
class _Lists:
    """Lists that were checked, and what they say.

    Attributes:
        voucher: about them.
        lists: themselves.
        covers: highest content number that they are asked about.
        live: searchable pictures among those.
        has_hidden: whether any stored picture is not searchable.
    """

    voucher: Voucher
    lists: InvertedLists
    covers: int
    live: int
    has_hidden: bool


class Nearest:
    """Searches one collection, as it was committed last.

    Attributes:
        warning: what the user should know since the last `refresh`, or None.
    """

    def __init__(self, collection: Collection) -> None:
        """Nothing is read yet."""
        self._collection = collection
        self._counted: tuple[tuple[int, int], int] | None = None
        self._state: tuple[int, int] | None = None
        self._checked: tuple[Voucher, InvertedLists] | None = None
        self._lists: _Lists | None = None
        self._held: ExactIndex | None = None  # what is compared one by one, where that is small
        self.warning: str | None = None

    def count(self) -> int:
        """Number of searchable pictures; counted once for every committed version."""
        now = state(self._collection)
        if self._counted is None or self._counted[0] != now:
            self._counted = now, self._collection.counts()["contents"]
        return self._counted[1]

    @property
    def uses_lists(self) -> bool:
        """Whether a search goes by inverted lists."""
        return self._lists is not None

    def refresh(self, max_held_bytes: int) -> None:
        """Follow what was committed; inside the snapshot that is searched next.

        Args:
            max_held_bytes: descriptors to compare one by one stay in memory up to this size, and are read for each
                search above.
        """
        now = state(self._collection)
        if now == self._state:
            return
        self._state = None
        self._lists = self._open()
        compared = self.count() - (self._lists.live if self._lists else 0)
        self._held = ExactIndex(self._blocks()) if compared * self._collection.spec.dim * 4 <= max_held_bytes else None
        self._state = now

    def search(self, queries: Descriptors, k: int) -> list[Shortlist]:
        """The k most similar searchable pictures of each query; fewer if there are fewer. After `refresh`.

        Similarities are inner products of float32 descriptors, ids content hashes; equal similarities are ordered by
        id. With lists a share of the most similar is missed, see `Voucher.recall_100`.
        """
        compared = self._compared(queries, k)
        if self._lists is None or not self._lists.live or not queries.ids:
            return compared
        found = self._candidates(self._lists, queries, k)
        if found is None:
            return search_blocks(self._collection.descriptors(), queries, k)
        numbers, vectors = found
        similarities = queries.vectors @ vectors.T
        places = [_best(own, k) for own in similarities]
        asked = places[0] if len(places) == 1 else np.unique(np.concatenate(places))
        names = hashes_of(self._collection, numbers[asked].tolist())
        merged = []
        for own, best, newer in zip(similarities, places, compared, strict=True):
            ids = tuple(names[number] for number in numbers[best].tolist()) + newer.ids
            pool = np.concatenate([own[best], newer.similarities])
            order = top_k(pool, ids, k)
            merged.append(Shortlist(newer.query_id, tuple(ids[i] for i in order), pool[order]))
        return merged

    def _compared(self, queries: Descriptors, k: int) -> list[Shortlist]:
        if self._held is None:
            return search_blocks(self._blocks(), queries, k)
        if not len(self._held):  # lists cover all: not even the threads of NumPy need to be set
            return [Shortlist(query, (), np.empty(0, np.float32)) for query in queries.ids]
        return self._held.search(queries, k)

    def _blocks(self) -> Iterable[Descriptors]:
        """What is compared one by one: all pictures, or those that the lists do not cover."""
        return visible_after(self._collection, self._lists.covers) if self._lists else self._collection.descriptors()

    def _open(self) -> _Lists | None:
        self.warning = None
        before, self._checked = self._checked, None
        try:
            said = read_voucher(self._collection)
            if said is None:
                return None
            voucher, covers = said
            if before is not None and before[0] == voucher:
                self._checked = before
            else:
                lists = open_lists(self._collection.directory, voucher, self._collection.spec.dim)
                self._checked = voucher, lists
        except BackendUnavailable:
            return None  # `glocal info` tells what to install
        except StoreError as error:
            self.warning = (
                f"the nearest-neighbour file of this index is not used ({error}): every picture is compared, which is "
                "slow. → glocal index PHOTOS makes it anew"
            )
            return None
        hold_pages(self._collection)
        live = self.count() - num_visible_after(self._collection, covers)
        return _Lists(voucher, self._checked[1], covers, live, num_stored(self._collection) > self.count())

    def _candidates(self, opened: _Lists, queries: Descriptors, k: int) -> tuple[Numbers, Vectors] | None:
        """Searchable pictures that hold each query's most similar ones; None if too much of what was seen is gone."""
        dim = self._collection.spec.dim
        if queries.vectors.shape[1] != dim:
            raise ShapeError(f"queries of {queries.vectors.shape[1]} numbers against descriptors of {dim}")
        voucher, lists = opened.voucher, opened.lists
        wanted = num_candidates(k, voucher.setting)
        enough = min(wanted, opened.live)
        # Pictures that are gone are still in the lists, and are not spread evenly.
        thinned = SLACK * voucher.num / opened.live if opened.live < voucher.num else 1.0
        for growth in GROWTH:
            further = growth * thinned
            nprobe = math.ceil(voucher.nprobe * max(1.0, k / TUNED_FOR) * further)
            with lists.one_thread():
                labels = lists.candidates(queries.vectors, math.ceil(wanted * further), nprobe, voucher.refine)
            # Sets and lists: of a hundred numbers NumPy's own ways of this take longer than reading the lists.
            seen = labels.tolist()
            known = sorted({number for row in seen for number in row if 0 < number <= opened.covers})
            if opened.has_hidden:
                known = visible_of(self._collection, known)
            numbers, vectors = vectors_of(self._collection, known)
            there = set(numbers.tolist())
            if min(sum(number in there for number in row) for row in seen) >= enough:
                return numbers, vectors
        return None


def _best(similarities: NDArray[np.float32], k: int) -> Numbers:
    """Places of the k highest similarities, and of all that equal the last of them: ids decide among those."""
    if len(similarities) <= k:
        return np.arange(len(similarities))
    last = len(similarities) - k
    return np.flatnonzero(similarities >= np.partition(similarities, last)[last])
