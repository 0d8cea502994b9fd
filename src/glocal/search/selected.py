"""The most similar pictures of a selection: every one of them is compared, however few or many they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from glocal.errors import ConfigError
from glocal.index.exact import search_blocks
from glocal.index.stored import state
from glocal.search.selection import Selection
from glocal.store.collection import DESCRIPTOR_BLOCK, Collection
from glocal.store.contract import FeatureStore, PhotoCollection
from glocal.types import Descriptors, Shortlist

SPARSE = 8
"""If a selection leaves one picture of so many, or fewer, its descriptors are read by name; else among all."""
MOST_BY_NAME = 16384
"""Most pictures that are read by name from a server: it sends them once more than it has to, and keeps them."""


class SelectedPictures:
    """Searches those pictures of a collection that one selection leaves; the last one stays at hand."""

    def __init__(self, collection: FeatureStore, max_held_bytes: int) -> None:
        """Nothing is read yet.

        Args:
            collection: what is searched.
            max_held_bytes: up to this size the selected descriptors stay in memory, until the collection changes.
        """
        self._collection = collection
        self._max_held_bytes = max_held_bytes
        self._chosen: tuple[Selection, tuple[int, int]] | None = None
        self._ids: list[str] = []
        self._held: list[Descriptors] | None = None

    def choose(self, selection: Selection) -> int:
        """Find out what a selection leaves, inside the snapshot that is searched next; how many pictures these are.

        Raises:
            ConfigError: labels are asked of a collection that has none, or it has no catalogue.
        """
        # Only a file says for sure whether it is still what was read.
        now = state(self._collection) if isinstance(self._collection, Collection) else None
        if now is None or self._chosen != (selection, now):
            if not hasattr(self._collection, "catalogue"):
                raise ConfigError(f"{self._collection.directory} has no catalogue, so nothing can be selected")
            self._chosen, self._held = None, None
            self._ids = selection.ids(cast("PhotoCollection", self._collection))
            if now is not None:
                self._chosen = selection, now
        return len(self._ids)

    def search(self, queries: Descriptors, k: int) -> list[Shortlist]:
        """The k most similar selected pictures of each query; fewer if there are fewer. After `choose`."""
        if self._held is None and len(self._ids) * self._collection.spec.dim * 4 <= self._max_held_bytes:
            self._held = list(self._blocks())
        return search_blocks(self._blocks() if self._held is None else self._held, queries, k)

    def _blocks(self) -> Iterator[Descriptors]:
        is_file = isinstance(self._collection, Collection)
        is_sparse = len(self._ids) * SPARSE <= self._collection.counts()["contents"]
        if is_sparse and (is_file or len(self._ids) <= MOST_BY_NAME):
            for start in range(0, len(self._ids), DESCRIPTOR_BLOCK):
                names = self._ids[start : start + DESCRIPTOR_BLOCK]
                yield Descriptors(tuple(names), self._collection.vectors(names))
        else:
            wanted = set(self._ids)
            for block in self._collection.descriptors():
                yield _of(block, [place for place, name in enumerate(block.ids) if name in wanted])


def _of(block: Descriptors, places: Sequence[int]) -> Descriptors:
    ids = tuple(block.ids[place] for place in places)
    return Descriptors(ids, block.vectors[np.asarray(places, np.intp)])
