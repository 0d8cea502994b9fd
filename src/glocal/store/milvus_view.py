"""One moment of a collection in Milvus: how fresh its rows must be, and those that were read already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from glocal.errors import StoreError
from glocal.store.milvus_link import Freshness, MilvusLink, Row
from glocal.store.milvus_rows import CONTENT_FIELDS, key_path
from glocal.store.milvus_schema import Tables
from glocal.types import Descriptors

META, LABEL = "meta:", "label:"
"""What the keys of the meta collection begin with."""
IS_INDEXED, IS_MISSING, IS_SEARCHABLE = 'status == "indexed"', 'status == "missing"', "searchable == true"


class View:
    """Reads that belong together. One question brings what the following ones would ask for."""

    def __init__(self, link: MilvusLink, tables: Tables, freshness: Freshness) -> None:
        self.freshness = freshness
        self._link, self._tables = link, tables
        self._meta: dict[str, str] | None = None
        self._contents: dict[str, Row] = {}
        self._paths: dict[str, list[bytes]] = {}

    def meta(self) -> dict[str, str]:
        """What the index says of itself."""
        if self._meta is None:
            condition = f'key like "{META}%"'
            rows = self._link.query(self._tables.meta, condition, ["key", "value"], self.freshness)
            self._meta = {row["key"].removeprefix(META): row["value"] for row in rows}
        return self._meta

    def paths(self, content_hashes: Iterable[str]) -> dict[str, list[bytes]]:
        """The indexed files of some pictures, ordered by path; none for a picture that no file shows."""
        names = list(content_hashes)
        wanted = [name for name in names if name not in self._paths]
        found = defaultdict(list)
        fields = ["path", "content"]
        for row in self._link.find(self._tables.photos, "content", wanted, IS_INDEXED, fields, self.freshness):
            found[row["content"]].append(key_path(row["path"]))
        self._paths |= {name: sorted(found[name]) for name in wanted}
        return {name: self._paths[name] for name in names}

    def contents(self, content_hashes: Iterable[str]) -> dict[str, Row]:
        """The rows of some pictures, descriptors included, as far as they are stored."""
        names = list(content_hashes)
        wanted = [name for name in names if name not in self._contents]
        for row in self._link.get(self._tables.contents, wanted, (*CONTENT_FIELDS, "vector"), self.freshness):
            self._contents[row["hash"]] = row
        return {name: self._contents[name] for name in names if name in self._contents}


def vectors_of(rows: Sequence[Row], dim: int) -> NDArray[np.float32]:
    """The descriptors (N, D) of some rows.

    Raises:
        StoreError: one has another length (a damaged index).
        ShapeError: one is not of unit norm.
    """
    if any(len(row["vector"]) != dim for row in rows):
        raise StoreError(f"the index is damaged: a descriptor does not have {dim} numbers → index the folder again")
    vectors = np.array([row["vector"] for row in rows], np.float32).reshape(len(rows), dim)
    return Descriptors(tuple(map(str, range(len(rows)))), vectors).vectors  # checks them
