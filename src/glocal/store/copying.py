"""Photos of some collections, copied row by row into a new one: features byte for byte, equal pictures once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glocal.store.collection import Collection
from glocal.store.labels import FOLDER, LISTED
from glocal.store.rows import RunSummary
from glocal.store.schema import open_database
from glocal.store.sources import Source
from glocal.store.transactions import explained, transaction

NameOf = Callable[[bytes], bytes | None]
"""A photo's name in a source -> its name in the new collection; None leaves it out."""

_BATCH = 256
_TYPES: dict[str, tuple[type, ...]] = {"INTEGER": (int,), "BLOB": (bytes,), "TEXT": (str,), "REAL": (float, int)}
_RANKS = {"indexed": 2, "missing": 1, "rejected": 0}
_Columns = dict[str, tuple[str, bool]]
"""Columns of a table: name -> (declared type, whether it may be NULL)."""


@dataclass(slots=True)
class Taken:
    """What was copied from one source.

    Attributes:
        photos: rows of the catalogue.
        pictures: different pictures whose features were copied.
        copies: different pictures that another source had brought already.
        conflicts: names that another source had too; the found or newer one was kept.
    """

    photos: int = 0
    pictures: int = 0
    copies: int = 0
    conflicts: int = 0


class NewCollection:
    """A collection in the making. Use `new_collection`."""

    def __init__(self, directory: Path, like: Source) -> None:
        self._directory = directory
        of = like.collection
        Collection.create(directory, of.spec, of.model_source, of.local_form).close()
        self._db = open_database(directory, writable=True)
        self._db.execute(f"PRAGMA user_version = {like.format}")  # rows are copied as they are
        self._columns = {table: _columns(self._db, table) for table in _tables(self._db)}
        self._features = [name for name, columns in self._columns.items() if "content" in columns and name != "photos"]
        self._label_of: dict[bytes, str] = {}
        self._is_labelled = False
        self._folders_are_labels = True
        self._is_finished = True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with explained(self._directory), transaction(self._db):
            yield

    def take(self, source: Source, name_of: NameOf) -> Taken:
        """Copy photos.

        Args:
            source: of the same extractor as the others.
            name_of: which ones, and under which names.

        Raises:
            StoreError: a row makes no sense.
            DiskFull: no space is left.
        """
        taken = Taken()
        self._expect_columns(source)
        wanted: set[int] = set()
        for path, content in source.connection.execute("SELECT path, content FROM photos"):
            _expect_inside(path, source)
            if content is not None and name_of(path) is not None:
                wanted.add(content)
        ids = self._take_contents(source, sorted(wanted), taken)
        self._take_rows(source, name_of, ids, taken)
        self._take_labels(source, name_of)
        self._is_finished = self._is_finished and source.last_run is not None and source.last_run[0]
        return taken

    def _expect_columns(self, source: Source) -> None:
        for table, columns in self._columns.items():
            missing = set(columns) - set(_columns(source.connection, table))
            if missing:
                raise source.damaged(f"{table}.{min(missing)} is missing")

    def _take_contents(self, source: Source, wanted: list[int], taken: Taken) -> dict[int, int]:
        """Copy pictures with their features; their numbers there -> their numbers here."""
        columns = [name for name in self._columns["contents"] if name != "id"]
        insert = f"INSERT INTO contents ({', '.join(columns)}) VALUES ({_marks(columns)})"
        ids: dict[int, int] = {}
        for start in range(0, len(wanted), _BATCH):
            with self._writing():
                for content in wanted[start : start + _BATCH]:
                    row = self._read(source, "contents", columns, "id", content)
                    digest = row[columns.index("hash")]
                    known = self._db.execute("SELECT id FROM contents WHERE hash = ?", (digest,)).fetchone()
                    if known is not None:
                        ids[content] = known[0]
                        taken.copies += 1
                        continue
                    ids[content] = int(self._db.execute(insert, row).lastrowid or 0)
                    self._take_features(source, content, ids[content])
                    taken.pictures += 1
        return ids

    def _take_features(self, source: Source, content: int, number: int) -> None:
        for table in self._features:
            columns = [name for name in self._columns[table] if name != "content"]
            row = self._read(source, table, columns, "content", content)
            names = ", ".join(["content", *columns])
            self._db.execute(f"INSERT INTO {table} ({names}) VALUES (?, {_marks(columns)})", (number, *row))

    def _read(self, source: Source, table: str, columns: list[str], key: str, content: int) -> tuple[object, ...]:
        """One row of a source, with values of the declared types."""
        select = f"SELECT {', '.join(columns)} FROM {table} WHERE {key} = ?"
        row: tuple[object, ...] | None = source.connection.execute(select, (content,)).fetchone()
        if row is None:
            raise source.damaged(f"picture {content} is not in {table}")
        self._check(source, table, columns, row)
        return row

    def _check(self, source: Source, table: str, columns: list[str], row: tuple[object, ...]) -> None:
        declared = self._columns[table]
        for name, value in zip(columns, row, strict=True):
            kind, optional = declared[name]
            if not isinstance(value, _TYPES[kind]) and not (optional and value is None):
                raise source.damaged(f"{table}.{name} holds {type(value).__name__}, not {kind}")

    def _take_rows(self, source: Source, name_of: NameOf, ids: dict[int, int], taken: Taken) -> None:
        columns = list(self._columns["photos"])
        insert = f"INSERT OR REPLACE INTO photos ({', '.join(columns)}) VALUES ({_marks(columns)})"
        rows = source.connection.execute(f"SELECT {', '.join(columns)} FROM photos ORDER BY path")
        while batch := rows.fetchmany(_BATCH):
            with self._writing():
                for row in batch:
                    self._check(source, "photos", columns, row)
                    values = dict(zip(columns, row, strict=True))
                    name = name_of(values["path"])
                    if name is None or not self._is_better(name, values["status"], values["mtime_ns"], taken):
                        continue
                    content = values["content"]
                    values |= {"path": name, "content": None if content is None else ids[content]}
                    try:
                        self._db.execute(insert, tuple(values.values()))
                    except sqlite3.IntegrityError as error:
                        raise source.damaged(f"the row of {os.fsdecode(name)!r} makes no sense ({error})") from error
                    taken.photos += 1

    def _is_better(self, name: bytes, status: str, mtime_ns: int, taken: Taken) -> bool:
        """Whether a row goes before what another source says of a file of this name: found, then newer."""
        query = "SELECT status, mtime_ns FROM photos WHERE path = ?"
        known = self._db.execute(query, (name,)).fetchone()
        if known is None:
            return True
        taken.conflicts += 1
        return (_RANKS.get(status, -1), mtime_ns) > (_RANKS[known[0]], known[1])

    def _take_labels(self, source: Source, name_of: NameOf) -> None:
        """Remember the labels of what was taken; a folder's name stays one as long as no photo changes its folder."""
        if source.labels == LISTED and "labels" in _tables(source.connection):
            for path, label in source.connection.execute("SELECT path, label FROM labels"):
                _expect_inside(path, source)
                if not isinstance(label, str):
                    raise source.damaged(f"the label of {os.fsdecode(path)!r} is no text")
                name = name_of(path)
                if name is not None:
                    self._label_of.setdefault(name, label)
        elif source.labels == FOLDER:
            for (path,) in source.connection.execute("SELECT path FROM photos"):
                name = name_of(path)
                if name is None:
                    continue
                before, after = (os.path.basename(os.path.dirname(each)) for each in (path, name))
                self._folders_are_labels = self._folders_are_labels and before == after
                if before:
                    self._label_of.setdefault(name, before.decode("utf-8", "backslashreplace"))
        self._is_labelled = self._is_labelled or source.labels is not None
        self._folders_are_labels = self._folders_are_labels and source.labels == FOLDER

    def finish(self, root: Path | None) -> dict[str, int]:
        """Write what the new collection says of itself, and close it.

        Args:
            root: the folder of its photos; None where nobody knows.

        Returns:
            As `Collection.counts`.
        """
        self._db.close()
        with Collection.open(self._directory, writable=True) as collection:
            if self._is_labelled and self._folders_are_labels:
                collection.labels = FOLDER
            elif self._is_labelled:
                collection.set_labels(self._label_of)
            if root is not None:
                collection.root = root
            collection.drop_unused()
            counts = collection.counts()
            run = collection.start_run()
            if self._is_finished:
                indexed, skipped = counts["indexed"], counts["rejected"]
                collection.finish_run(run, RunSummary(indexed + skipped, indexed, skipped, 0))
        return counts

    def close(self) -> None:
        """Close the file; harmless after `finish`."""
        self._db.close()


@contextmanager
def new_collection(directory: Path, like: Source) -> Iterator[NewCollection]:
    """An empty collection in a directory of `glocal.store.drafts.draft_beside`, closed at the end.

    Args:
        directory: empty.
        like: one of the sources: the new one has its extractor and its way of storing features.
    """
    made = NewCollection(directory, like)
    try:
        yield made
    finally:
        made.close()


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
    return [name for (name,) in rows if not name.startswith("sqlite_")]


def _columns(connection: sqlite3.Connection, table: str) -> _Columns:
    about = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return {row[1]: (row[2], not row[3] and not row[5]) for row in about}


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" * len(columns))


def _expect_inside(path: object, source: Source) -> None:
    """A name leads into the folder and not out of it."""
    parts = path.split(b"/") if isinstance(path, bytes) else [b""]
    if any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
        shown = os.fsdecode(path)[:200] if isinstance(path, bytes) else path
        raise source.damaged(f"{shown!r} is no name of a photo inside a folder")
