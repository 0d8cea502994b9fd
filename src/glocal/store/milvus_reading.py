"""What is read from a collection in Milvus: neighbours, features, the catalogue."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, ShapeError, StoreError
from glocal.ops.ranking import top_k
from glocal.store.codec import EncodedLocal, decode_local, decode_signs
from glocal.store.labels import FOLDER, LISTED, folder_label
from glocal.store.milvus_link import Freshness, MilvusLink, Row, expect_plain
from glocal.store.milvus_rows import PHOTO_FIELDS, catalogue_row, join_local, key_path, part_keys, path_key
from glocal.store.milvus_schema import Tables, index_type_of, search_parameters
from glocal.store.milvus_view import IS_INDEXED, IS_SEARCHABLE, LABEL, View, vectors_of
from glocal.store.rows import CatalogueRow, LocalForm, RunSummary, SignFeatures
from glocal.types import Descriptors, ExtractorSpec, LocalFeatures, Shortlist

FORMAT = 1
MOST_NEIGHBOURS = 16384
"""Milvus gives no more."""

_ANSWER_BYTES = 16 << 20  # that we ask for at a time; Milvus sends 64 MiB
_BLOCK = 8192
_ROWS_AT_A_TIME = 1024
_OVERFETCH = {"IVF_SQ8": 3}
"""Candidates per hit: similarities of eight-bit vectors are off, and the exact ones decide."""
_SPARE = 16
"""Candidates on top: pictures that no file shows any more, and ties at the end."""
Found = TypeVar("Found")


class MilvusReader:
    """The reading half of `glocal.store.milvus.MilvusCollection`."""

    def __init__(self, link: MilvusLink, tables: Tables) -> None:
        self.directory = link.place
        self._link, self._tables = link, tables
        self._view: View | None = None
        meta = self._look().meta()
        try:
            if int(meta["format"]) > FORMAT:
                raise StoreError(
                    f"The index in {self.directory} has format {meta['format']}, written by a newer glocal; this one "
                    f"reads up to {FORMAT}. → pip install --upgrade glocal (the index was left as it is)"
                )
            self.spec = ExtractorSpec.from_json(meta["spec"])
            self.local_form = LocalForm(meta["local"])
        except (KeyError, ValueError, TypeError) as error:
            raise StoreError(
                f"the index in {self.directory} is damaged: it does not say which model made it"
            ) from error
        self._index_type = index_type_of(link, tables)

    # ------------------------------------------------------------------ freshness
    def _freshness(self) -> Freshness:
        if self.directory.consistency == "strong":
            return self._link.fresh()
        return {"consistency_level": self.directory.consistency.capitalize()}

    def _look(self) -> View:
        """The view of the snapshot that is open, or one for a single call."""
        return self._view or View(self._link, self._tables, self._freshness())

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see what was committed before it began, and may see some of what was committed since."""
        outer, self._view = self._view, View(self._link, self._tables, self._freshness())
        try:
            yield
        finally:
            self._view = outer

    def version(self) -> int:
        """A number that changes when a process has written (for caches)."""
        return int(self._look().meta().get("written", "0"))

    # ------------------------------------------------------------------ meta
    def label(self, name: str) -> str | None:
        """The label of a photo, by its name relative to the folder."""
        source = self._look().meta().get("labels")
        if source == LISTED:
            key = LABEL + path_key(os.fsencode(name))
            rows = self._link.get(self._tables.meta, [key], ["value"], self._look().freshness)
            return rows[0]["value"] if rows else None
        return folder_label(os.fsencode(name)) if source == FOLDER else None

    def listed_labels(self) -> dict[bytes, str]:
        """The labels that `set_labels` gave, by path."""
        if self._look().meta().get("labels") != LISTED:
            return {}
        rows = self._link.scan(self._tables.meta, f'key like "{LABEL}%"', ["key", "value"])
        return {key_path(row["key"].removeprefix(LABEL)): row["value"] for row in rows}

    def num_labelled(self) -> int:
        """How many searchable files have a label."""
        source = self._look().meta().get("labels")
        if source is None:
            return 0
        keys = (row["path"] for row in self._link.scan(self._tables.photos, IS_INDEXED, ["path"]))
        if source == FOLDER:
            return sum(key.find("/") > 0 for key in keys)
        labelled = {
            row["key"].removeprefix(LABEL)
            for row in self._link.scan(self._tables.meta, f'key like "{LABEL}%"', ["key"])
        }
        return sum(key in labelled for key in keys)

    def last_run(self) -> tuple[bool, RunSummary] | None:
        """Whether the newest run came to its end, and what it saw; None before the first."""
        value = self._look().meta().get("run")
        if value is None:
            return None
        run = json.loads(value)
        return bool(run["finished"]), RunSummary(
            *(int(run[name]) for name in ("seen", "indexed", "skipped", "ignored"))
        )

    def last_update(self) -> float | None:
        """When the newest run ended, in seconds since 1970; of one that did not, when it began; None if unknown."""
        value = self._look().meta().get("run")
        told = None if value is None else json.loads(value).get("time")  # those of earlier versions do not say it
        return None if told is None else float(told)

    # ------------------------------------------------------------------ search
    def nearest(self, queries: Descriptors, k: int) -> list[Shortlist]:
        """The k most similar searchable pictures of each query, as far as the index finds them.

        Similarities are exact: inner products with the stored vectors, whatever the index keeps.

        Raises:
            ShapeError: the descriptors have another length.
            ConfigError: Milvus does not give so many.
        """
        if queries.vectors.shape[1] != self.spec.dim:
            raise ShapeError(f"queries of {queries.vectors.shape[1]} numbers against descriptors of {self.spec.dim}")
        if k > MOST_NEIGHBOURS:
            raise ConfigError(f"Milvus finds at most {MOST_NEIGHBOURS:,} neighbours, not {k:,}")
        view = self._look()
        limit = min(k * _OVERFETCH.get(self._index_type, 1) + _SPARE, MOST_NEIGHBOURS)
        while True:
            how = search_parameters(self._index_type, limit)
            found = self._link.search(
                self._tables.contents, queries.vectors, limit, IS_SEARCHABLE, ["hash"], how, view.freshness
            )
            names = [[row["hash"] for row in rows] for rows in found]
            # Less than asked for is all that there are.
            wanting = limit < MOST_NEIGHBOURS and any(len(row) == limit for row in names)
            paths = view.paths({name for row in names for name in row})
            ranked = [
                self._ranked(query, vector, [name for name in row if paths[name]], view)
                for query, vector, row in zip(queries.ids, queries.vectors, names, strict=True)
            ]
            if not wanting or all(_is_settled(shortlist, k) for shortlist in ranked):
                return [Shortlist(each.query_id, each.ids[:k], each.similarities[:k]) for each in ranked]
            limit = min(2 * limit, MOST_NEIGHBOURS)

    def _ranked(self, query_id: str, vector: NDArray[np.float32], names: Sequence[str], view: View) -> Shortlist:
        rows = list(view.contents(names).values())  # one that was deleted meanwhile is left out
        # BLAS would sum equal rows in different orders, and part ties.
        similarities = np.einsum("nd,d->n", vectors_of(rows, self.spec.dim), vector)
        ids = [row["hash"] for row in rows]
        order = top_k(similarities, ids, len(ids))
        return Shortlist(query_id, tuple(ids[i] for i in order), similarities[order])

    # ------------------------------------------------------------------ pictures
    def _contents(self, names: Sequence[str], missing: str, view: View) -> list[Row]:
        """The rows of some pictures, order kept."""
        found = view.contents(map(expect_plain, names))
        for name in names:
            if name not in found:
                raise StoreError(f"{missing} '{name}' in {self.directory}")
        return [found[name] for name in names]

    def vectors(self, content_hashes: Sequence[str]) -> NDArray[np.float32]:
        """The global descriptors (N, D) of some pictures, order kept.

        Raises:
            StoreError: one of them is not stored.
        """
        rows = self._contents(content_hashes, "no descriptor of picture", self._look())
        return vectors_of(rows, self.spec.dim)

    def descriptors(self, block: int = _BLOCK) -> Iterator[Descriptors]:
        """The searchable global descriptors in blocks of at most `block` rows; ids are content hashes."""
        view = self._look()
        page = max(1, min(block, _BLOCK, _ANSWER_BYTES // (4 * self.spec.dim)))
        rows = self._link.scan(self._tables.contents, IS_SEARCHABLE, ["hash", "vector"], page)
        for batch in _batches(rows, page):
            paths = view.paths(row["hash"] for row in batch)
            there = [row for row in batch if paths[row["hash"]]]
            if there:
                yield Descriptors(tuple(row["hash"] for row in there), vectors_of(there, self.spec.dim))

    def local_features(self, content_hash: str) -> LocalFeatures:
        """The local features of one picture; its id is the content hash.

        Raises:
            StoreError: there is no such picture, or its rows are damaged.
        """
        return self.local_features_many([content_hash])[0]

    def local_features_many(self, content_hashes: Sequence[str]) -> list[LocalFeatures]:
        """The local features of some pictures, order kept; signs come as ±1 / sqrt(d).

        Raises:
            StoreError: one of them is not stored, or its rows are damaged.
        """
        return self._each_local(
            content_hashes, lambda row, name, size: decode_local(row, name, size, self.spec.local_dim, self.local_form)
        )

    def sign_features_many(self, content_hashes: Sequence[str]) -> list[SignFeatures]:
        """The local features of some pictures of a binary collection as they are stored, order kept.

        Raises:
            StoreError: one of them is not stored, its rows are damaged, or the collection is not binary.
        """
        if self.local_form != LocalForm.BINARY:
            raise StoreError(f"the index in {self.directory} keeps local features as {self.local_form}, not as binary")
        return self._each_local(
            content_hashes, lambda row, name, size: decode_signs(row, name, size, self.spec.local_dim)
        )

    def _each_local(
        self, content_hashes: Sequence[str], decode: Callable[[EncodedLocal, str, tuple[int, int]], Found]
    ) -> list[Found]:
        view = self._look()
        contents = self._contents(content_hashes, "no local features of picture", view)
        found: dict[str, Found] = {}
        waiting: list[Row] = []
        size = 0
        for number, content in enumerate(contents):
            waiting.append(content)
            size += content["local_bytes"]
            if size > _ANSWER_BYTES or number == len(contents) - 1:
                keys = [key for row in waiting for key in part_keys(row)]
                parts = self._link.get(self._tables.local, keys, ["part", "payload"], view.freshness)
                payloads = {part["part"]: part["payload"] for part in parts}
                for row in waiting:
                    found[row["hash"]] = decode(join_local(row, payloads), row["hash"], (row["width"], row["height"]))
                waiting, size = [], 0
        return [found[name] for name in content_hashes]

    def paths(self, content_hash: str) -> list[bytes]:
        """Every file with this content that is there, ordered by path: the first, then its exact copies."""
        return self._look().paths([expect_plain(content_hash)])[content_hash]

    def file_of(self, content_hash: str) -> CatalogueRow | None:
        """The first file with this content that is there, by path; None if there is none."""
        view = self._look()
        names = [expect_plain(content_hash)]
        rows = self._link.find(self._tables.photos, "content", names, IS_INDEXED, PHOTO_FIELDS, view.freshness)
        about = view.contents(names).get(content_hash)
        if not rows or about is None:
            return None
        first = min(map(catalogue_row, rows), key=lambda row: row.path)
        width, height, orientation = (int(about[name]) for name in ("width", "height", "orientation"))
        return replace(first, width=width, height=height, orientation=orientation)

    def picture_size(self, content_hash: str) -> tuple[int, int]:
        """(W, H) of an upright picture in pixels."""
        (row,) = self._contents([content_hash], "there is no picture", self._look())
        return int(row["width"]), int(row["height"])

    def knows(self, content_hash: str) -> bool:
        """Whether the features of this content are stored, for a file that is in the catalogue."""
        rows = self._link.find(
            self._tables.photos, "content", [content_hash], 'status != "rejected"', ["content"], self._look().freshness
        )
        return bool(rows)

    # ------------------------------------------------------------------ catalogue
    def catalogue(self, status: str | None = None) -> Iterator[CatalogueRow]:
        """All files, ordered by path; or those of one status."""
        freshness = self._look().freshness
        condition = 'path != ""' if status is None else f'status == "{expect_plain(status)}"'
        rows = [catalogue_row(row) for row in self._link.scan(self._tables.photos, condition, PHOTO_FIELDS)]
        rows.sort(key=lambda row: row.path)
        fields = ("hash", "width", "height", "orientation")
        for batch in _batches(iter(rows), _ROWS_AT_A_TIME):
            names = [row.content_hash for row in batch if row.content_hash]
            about = {row["hash"]: row for row in self._link.get(self._tables.contents, names, fields, freshness)}
            for row in batch:
                content = about.get(row.content_hash or "")
                if content is not None:
                    width, height, orientation = (int(content[name]) for name in fields[1:])
                    row = replace(row, width=width, height=height, orientation=orientation)
                yield row

    def counts(self) -> dict[str, int]:
        """Number of files by status, plus `contents` (different pictures that are searchable)."""
        freshness = self._look().freshness
        counted = {
            status: self._link.count(self._tables.photos, f'status == "{status}"', freshness)
            for status in ("indexed", "rejected", "missing")
        }
        return counted | {"contents": self._link.count(self._tables.contents, IS_SEARCHABLE, freshness)}

    def rejected_by_reason(self) -> dict[str, int]:
        """Number of rejected files by reason code, most frequent first."""
        rows = self._link.scan(self._tables.photos, 'status == "rejected"', ["reason"])
        return dict(sorted(Counter(row["reason"] for row in rows).items(), key=lambda item: (-item[1], item[0])))

    def stored_bytes(self) -> dict[str, int]:
        """Bytes of global descriptors, of local features, and of both as they are sent to Milvus (`file`)."""
        sizes = [
            int(row["local_bytes"]) for row in self._link.scan(self._tables.contents, 'hash != ""', ["local_bytes"])
        ]
        vectors = 4 * self.spec.dim * len(sizes)
        return {"global": vectors, "local": sum(sizes), "file": vectors + sum(-(-size // 3) * 4 for size in sizes)}

    def byte_sizes(self) -> set[int]:
        """Byte sizes of all known pictures: only a file of such a size can be a copy of one."""
        rows = self._link.scan(self._tables.contents, 'hash != ""', ["bytes"])
        return {int(row["bytes"]) for row in rows}


def _batches(rows: Iterator[Found], size: int) -> Iterator[list[Found]]:
    while batch := list(islice(rows, size)):
        yield batch


def _is_settled(candidates: Shortlist, k: int) -> bool:
    """Whether the best k are known: there are more, and the last of them is better than some, so that no tie is cut."""
    values = candidates.similarities
    return len(values) > k and bool(values[k - 1] > values[-1])
