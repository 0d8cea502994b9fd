"""A collection in Milvus: descriptors, local features and the catalogue, behind the interface of the one in a file.

Milvus knows no transactions. Rows are written in such an order that one which names another comes after it, each under
a key that follows from what it says: a load that was killed is simply done again, and loses and doubles nothing. A
reader that meets a batch half-way sees pictures that no file has yet; it leaves them out.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from urllib.parse import quote_from_bytes, unquote_to_bytes

from glocal.errors import ConfigError, StoreError
from glocal.store.codec import encode_local
from glocal.store.labels import LISTED
from glocal.store.milvus_lease import WriterLease
from glocal.store.milvus_link import PATIENCE_S, Freshness, MilvusLink, Row
from glocal.store.milvus_place import MilvusPlace
from glocal.store.milvus_reading import FORMAT, MilvusReader
from glocal.store.milvus_rows import (
    CONTENT_FIELDS,
    PHOTO_FIELDS,
    content_row,
    key_path,
    local_rows,
    part_keys,
    path_key,
    photo_row,
)
from glocal.store.milvus_schema import NO_VECTOR, Tables, create_tables, load_tables, tables_exist
from glocal.store.milvus_sweep import find_remains
from glocal.store.milvus_view import IS_INDEXED, IS_MISSING, LABEL, META
from glocal.store.rows import CatalogueRow, LocalForm, NewContent, RunSummary
from glocal.types import ExtractorSpec

_MARKED_AT_A_TIME = 512
FLUSH_S = 60.0
"""How long acknowledged rows may stand in Milvus' log alone before they are flushed to its storage."""


class MilvusCollection(MilvusReader):
    """An open collection. Use `create` or `open`."""

    def __init__(self, link: MilvusLink, tables: Tables, lease: WriterLease | None) -> None:
        self._lease = lease
        self._written: Freshness | None = None  # sees what this writer wrote last; None while nobody asked
        self._unflushed: dict[str, None] = {}
        self._flushed = time.monotonic()
        self._may_hold_unused = False
        super().__init__(link, tables)

    # ------------------------------------------------------------------ life
    @classmethod
    def create(
        cls,
        place: MilvusPlace,
        spec: ExtractorSpec,
        model_source: str | None = None,
        local_form: LocalForm = LocalForm.INT8,
        patience_s: float = PATIENCE_S,
    ) -> MilvusCollection:
        """Make an empty collection and open it for writing.

        Args:
            place: its server, name and type of index.
            spec: the extractor whose features it will hold.
            model_source: where that extractor comes from; None for the catalogue.
            local_form: how its local descriptors are kept.
            patience_s: how long a call is tried again while the server is away.

        Raises:
            ConfigError: the signs of its local descriptors do not fill whole bytes.
            StoreError: there is one already, or the server cannot be reached.
            StoreBusy: another process is making one here.
            BackendUnavailable: pymilvus is not installed.
        """
        if local_form == LocalForm.BINARY and spec.local_dim % 8:
            raise ConfigError(
                f"{spec.model} has local features of {spec.local_dim} numbers: their signs do not fill whole bytes "
                "→ int8 or float16"
            )
        link, tables = MilvusLink(place, patience_s), Tables(place.name)
        lease = WriterLease(link, tables.meta)
        try:
            if _is_complete(link, tables):
                raise StoreError(f"There is an index in {place} already.")
            create_tables(link, tables, spec.dim)
            lease.acquire()
            source = quote_from_bytes(os.fsencode(model_source or spec.model))
            meta = {"format": str(FORMAT), "model_source": source, "local": str(local_form), "spec": spec.to_json()}
            link.upsert(tables.meta, [_meta_row(key, value) for key, value in meta.items()])
            return cls(link, tables, lease)
        except BaseException:
            _let_go(link, lease)
            raise

    @classmethod
    def open(cls, place: MilvusPlace, writable: bool = False, patience_s: float = PATIENCE_S) -> MilvusCollection:
        """Open an existing collection.

        Raises:
            StoreError: there is none, it is damaged or of a newer format, or the server cannot be reached.
            StoreBusy: `writable`, and another process is writing.
            BackendUnavailable: pymilvus is not installed.
        """
        link, tables = MilvusLink(place, patience_s), Tables(place.name)
        lease = WriterLease(link, tables.meta) if writable else None
        try:
            if not _is_complete(link, tables):
                raise StoreError(f"There is no index in {place}. → glocal index PHOTOS --store {place}")
            load_tables(link, tables)
            if lease is not None:
                lease.acquire()
            return cls(link, tables, lease)
        except BaseException:
            _let_go(link, lease)
            raise

    @staticmethod
    def exists(place: MilvusPlace) -> bool:
        """Whether there is a collection in a place.

        Raises:
            StoreError: the server cannot be reached.
        """
        link = MilvusLink(place)
        try:
            return _is_complete(link, Tables(place.name))
        finally:
            link.close()

    def close(self) -> None:
        """Flush what was written since the last run, free the writer's lease, end the connection."""
        try:
            self._flush()
        finally:
            _let_go(self._link, self._lease)

    def __enter__(self) -> MilvusCollection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            _let_go(self._link, self._lease)  # the server may be gone: its log has what it acknowledged

    # ------------------------------------------------------------------ meta
    @property
    def root(self) -> Path | None:
        """The folder of photos, absolute; None before the first run.

        There is nothing that it could be relative to: on another machine it must be in the same place.
        """
        value = self._look().meta().get("root")
        return None if value is None else Path(os.fsdecode(unquote_to_bytes(value)))

    @root.setter
    def root(self, folder: Path) -> None:
        self._set_meta("root", quote_from_bytes(os.fsencode(folder.resolve())))

    @property
    def url(self) -> str | None:
        """The folder of photos where that lies in an object store; then `root` is None."""
        return self._look().meta().get("url")

    @url.setter
    def url(self, folder: str) -> None:
        self._set_meta("url", folder)

    @property
    def model_source(self) -> str:
        """Where the extractor comes from: a catalogue name, or the absolute path of its weights."""
        value = self._look().meta().get("model_source")
        return self.spec.model if value is None else os.fsdecode(unquote_to_bytes(value))

    @model_source.setter
    def model_source(self, source: str) -> None:
        self._set_meta("model_source", quote_from_bytes(os.fsencode(source)))

    @property
    def labels(self) -> str | None:
        """Where labels come from: "folder" (the name of a photo's folder), "listed" (`set_labels`), or None."""
        return self._look().meta().get("labels")

    @labels.setter
    def labels(self, source: str) -> None:
        self._set_meta("labels", source)

    def _set_meta(self, key: str, value: str) -> None:
        with self._writing():
            self._put(self._tables.meta, [_meta_row(key, value)])

    def set_labels(self, label_of: Mapping[bytes, str]) -> None:
        """Give photos their labels, by path relative to the folder; all other labels are forgotten."""
        meta = self._tables.meta
        with self._writing():
            wanted = {LABEL + path_key(path): label for path, label in label_of.items()}
            before = [row["key"] for row in self._link.scan(meta, f'key like "{LABEL}%"', ["key"])]
            self._put(meta, [_key_value(key, label) for key, label in wanted.items()])
            self._put(meta, [_meta_row("labels", LISTED)])
            self._remove(meta, [key for key in before if key not in wanted])

    # ------------------------------------------------------------------ writing
    def _freshness(self) -> Freshness:
        if self._lease is None:
            return super()._freshness()
        if self._written is None:
            self._written = self._link.fresh()
        return self._written

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._lease is None:
            raise StoreError(f"the index in {self.directory} was opened for reading only")
        self._lease.renew()
        yield
        self._put(self._tables.meta, [_meta_row("written", str(time.time_ns()))])
        if time.monotonic() - self._flushed > FLUSH_S:
            self._flush()

    def _put(self, collection: str, rows: Sequence[Row]) -> None:
        if rows:
            self._link.upsert(collection, rows)
            self._note_written(collection)

    def _remove(self, collection: str, keys: Sequence[str]) -> None:
        if keys:
            self._link.delete(collection, keys)
            self._note_written(collection)

    def _note_written(self, collection: str) -> None:
        self._written = None
        self._unflushed[collection] = None

    def _flush(self) -> None:
        if set(self._unflushed) - {self._tables.meta}:  # seconds, which a note that nothing was new is not worth
            self._link.flush(self._unflushed)
            self._unflushed.clear()
        self._flushed = time.monotonic()

    def commit(self, contents: Sequence[NewContent], rows: Sequence[CatalogueRow]) -> int:
        """Store features and files; Milvus has acknowledged all when this returns.

        Args:
            contents: features of pictures that are not stored yet.
            rows: one row per file, replacing what was known under its path. The content of an
                indexed row must be stored, or among `contents`.

        Returns:
            How many of the rows took over the content of a file that had gone (moved or renamed).
        """
        tables = self._tables
        self._may_hold_unused = True
        photos = list({row.path: photo_row(row) for row in rows}.values())  # Milvus keeps both of two equal keys
        named = {row["content"] for row in photos if row["content"]}
        with self._writing():
            freshness = self._freshness()
            before = self._link.get(tables.photos, [row["path"] for row in photos], ["path", "content"], freshness)
            moves = self._moves(photos, freshness)
            encoded = [encode_local(new.extraction.local, self.local_form) for new in contents]
            fresh = [content_row(new, local) for new, local in zip(contents, encoded, strict=True)]
            # Parts, then the picture that counts them, then the files that show it.
            parts = [row for content, local in zip(fresh, encoded, strict=True) for row in local_rows(content, local)]
            self._put(tables.local, parts)
            self._put(tables.contents, fresh)
            self._mark(named - {content["hash"] for content in fresh}, searchable=True)
            self._put(tables.photos, photos)
            self._move_labels(moves)
            self._remove(tables.photos, sorted(set(moves) - {row["path"] for row in photos}))
            replaced = {row["content"] for row in before if row["content"]} - named
            self._mark(self._without_file(replaced), searchable=False)
        return len(moves)

    def _moves(self, photos: Sequence[Row], freshness: Freshness) -> dict[str, str]:
        """Files that had gone and are there again under another name: old key -> new key."""
        named = [row["content"] for row in photos if row["content"]]
        fields = ["path", "content"]
        gone = defaultdict(set)
        for row in self._link.find(self._tables.photos, "content", named, IS_MISSING, fields, freshness):
            gone[row["content"]].add(row["path"])
        moves = {}
        for row in photos:
            for keys in gone.values():
                keys.discard(row["path"])  # from here on it is this row's
            if candidates := gone[row["content"]]:
                first = min(candidates, key=key_path)
                moves[first] = row["path"]
                candidates.discard(first)
        return moves

    def _move_labels(self, moves: Mapping[str, str]) -> None:
        """Labels go with their photos, unless the new name has one."""
        if not moves or self.labels != LISTED:
            return
        keys = [LABEL + key for pair in moves.items() for key in pair]
        rows = self._link.get(self._tables.meta, keys, ["key", "value"], self._freshness())
        label_of = {row["key"].removeprefix(LABEL): row["value"] for row in rows}
        taken = [(old, new) for old, new in moves.items() if old in label_of and new not in label_of]
        self._put(self._tables.meta, [_key_value(LABEL + new, label_of[old]) for old, new in taken])
        self._remove(self._tables.meta, [LABEL + old for old, _ in taken])

    def _mark(self, hashes: Iterable[str], searchable: bool) -> None:
        """Take pictures into the search, or out of it. Milvus changes rows as a whole."""
        names, contents = list(hashes), self._tables.contents
        for start in range(0, len(names), _MARKED_AT_A_TIME):
            part = names[start : start + _MARKED_AT_A_TIME]
            rows = self._link.get(contents, part, (*CONTENT_FIELDS, "vector"), self._freshness())
            if searchable and len(rows) < len(set(part)):
                lost = min(set(part) - {row["hash"] for row in rows})
                raise StoreError(f"there is no picture '{lost}' in {self.directory}")
            self._put(contents, [row | {"searchable": searchable} for row in rows if row["searchable"] != searchable])

    def _without_file(self, hashes: Iterable[str]) -> list[str]:
        """Those pictures that no file shows any more."""
        wanted = set(hashes)
        rows = self._link.find(self._tables.photos, "content", wanted, IS_INDEXED, ["content"], self._freshness())
        return sorted(wanted - {row["content"] for row in rows})

    def hide(self, paths: Sequence[bytes]) -> None:
        """Take files that are gone out of the search; their features stay until `prune`."""
        if not paths:
            return
        photos = self._tables.photos
        with self._writing():
            rows = self._link.get(photos, map(path_key, paths), (*PHOTO_FIELDS, "vector"), self._freshness())
            kept = [row for row in rows if row["status"] != "rejected"]
            self._put(photos, [row | {"status": "missing"} for row in kept])
            self._remove(photos, [row["path"] for row in rows if row["status"] == "rejected"])
            self._mark(self._without_file(row["content"] for row in kept), searchable=False)

    def show(self, paths: Sequence[bytes]) -> None:
        """Undo `hide` for files that are there again, unchanged."""
        if not paths:
            return
        photos = self._tables.photos
        with self._writing():
            rows = self._link.get(photos, map(path_key, paths), (*PHOTO_FIELDS, "vector"), self._freshness())
            hidden = [row for row in rows if row["status"] == "missing"]
            self._mark({row["content"] for row in hidden}, searchable=True)
            self._put(photos, [row | {"status": "indexed"} for row in hidden])

    def drop_unused(self, missing_too: bool = False) -> int:
        """Forget features that no file has any more, and what a killed load left behind.

        Args:
            missing_too: forget hidden files as well.

        Returns:
            Number of hidden files forgotten.
        """
        if not missing_too and not self._may_hold_unused:
            return 0
        tables, forgotten = self._tables, 0
        with self._writing():
            if missing_too:
                keys = [row["path"] for row in self._link.scan(tables.photos, IS_MISSING, ["path"])]
                self._remove(tables.photos, keys)
                forgotten = len(keys)
            remains = find_remains(self._link, tables)
            self._mark(remains.to_show, searchable=True)
            self._mark(remains.to_hide, searchable=False)
            self._remove(tables.contents, [row["hash"] for row in remains.unused])
            self._remove(tables.local, [key for row in remains.unused for key in part_keys(row)])
            self._remove(tables.local, remains.parts)
        self._may_hold_unused = False
        return forgotten

    # ------------------------------------------------------------------ runs
    def start_run(self) -> int:
        """Note that an indexing run begins; returns its number."""
        last = self._look().meta().get("run")
        before = json.loads(last) if last else {"number": 0, "finished": True}
        self._may_hold_unused = self._may_hold_unused or not before["finished"]
        number = int(before["number"]) + 1
        self._note_run(number, False, RunSummary(0, 0, 0, 0))
        return number

    def finish_run(self, run: int, summary: RunSummary) -> None:
        """Note that an indexing run came to its end; what it wrote is in Milvus' storage when this returns."""
        self._note_run(run, True, summary)
        self._flush()

    def _note_run(self, number: int, finished: bool, summary: RunSummary) -> None:
        about = {"number": number, "finished": finished, "time": time.time(), **asdict(summary)}
        self._set_meta("run", json.dumps(about))


def _is_complete(link: MilvusLink, tables: Tables) -> bool:
    """Whether the making of an index came to its end: its spec is written last."""
    if not tables_exist(link, tables):
        return False
    load_tables(link, tables)
    return bool(link.get(tables.meta, [f"{META}spec"], ["key"], link.fresh()))


def _let_go(link: MilvusLink, lease: WriterLease | None) -> None:
    try:
        if lease is not None:
            lease.release()
    finally:
        link.close()


def _meta_row(key: str, value: str) -> Row:
    return _key_value(META + key, value)


def _key_value(key: str, value: str) -> Row:
    return {"key": key, "value": value, "vector": NO_VECTOR}
