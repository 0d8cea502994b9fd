"""One collection: an SQLite file with catalogue, global descriptors, local features and the extractor's spec.

The file is the source of truth; whatever lies beside it may be deleted. One process writes (see
`store.lock`), any number read while it does. What `commit` has returned from survives kill -9 and
power cuts (WAL, synchronous=FULL).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, RetrievalError, StoreError
from glocal.store.codec import (
    EncodedLocal,
    LocalRow,
    decode_many,
    decode_signs,
    decode_vectors,
    encode_local,
    encode_vector,
)
from glocal.store.labels import (
    FOLDER,
    LISTED,
    folder_label,
    listed_label,
    listed_labels,
    move_label,
    num_labelled,
    replace_labels,
)
from glocal.store.lock import LOCK_NAME, WriterLock
from glocal.store.rows import CatalogueRow, LocalForm, NewContent, RunSummary, SignFeatures
from glocal.store.schema import DATABASE_NAME, create_database, is_complete, open_database, sync_directory
from glocal.store.transactions import explained, transaction
from glocal.types import Descriptors, ExtractorSpec, LocalFeatures

DESCRIPTOR_BLOCK = 8192
"""Rows read at a time: 8 MiB of 256-d float32."""
_NAMES_AT_A_TIME = 500
"""Pictures that one statement names."""


class Collection:
    """An open collection. Use `create` or `open`."""

    def __init__(self, directory: Path, connection: sqlite3.Connection, lock: WriterLock | None) -> None:
        self.directory = directory
        self._db = connection
        self._lock = lock
        try:
            spec = self._meta("spec")
            if spec is None:
                raise StoreError(f"the index in {directory} is damaged: it does not say which model made it")
            self.spec = ExtractorSpec.from_json(spec.decode())
            self._dim, self._local_dim = self.spec.dim, self.spec.local_dim
            self._exact = self._db.execute("PRAGMA user_version").fetchone()[0] < 2
            self.local_form = self._read_local_form()
        except RetrievalError:
            self.close()
            raise

    # ------------------------------------------------------------------ life
    @classmethod
    def create(
        cls,
        directory: Path,
        spec: ExtractorSpec,
        model_source: str | None = None,
        local_form: LocalForm = LocalForm.INT8,
    ) -> Collection:
        """Make an empty collection and open it for writing.

        Args:
            directory: where the database goes; made with mode 0700.
            spec: the extractor whose features it will hold.
            model_source: where that extractor comes from; None for the catalogue.
            local_form: how its local descriptors are kept.

        Raises:
            ConfigError: the signs of its local descriptors do not fill whole bytes.
            StoreError: there is one already, or the directory cannot be made.
            StoreBusy: another process is making one here.
        """
        if local_form == LocalForm.BINARY and spec.local_dim % 8:
            raise ConfigError(
                f"{spec.model} has local features of {spec.local_dim} numbers: their signs do not fill whole bytes "
                "→ int8 or float16"
            )
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(directory.parent)
        except OSError as error:
            raise StoreError(
                f"cannot make {directory}: {error.strerror} → choose another place with --index"
            ) from error
        lock = WriterLock(directory)
        lock.acquire()
        try:
            if is_complete(directory):
                raise StoreError(f"There is an index in {directory} already.")
            with explained(directory):
                connection = create_database(directory)
                with transaction(connection):
                    meta = {
                        "spec": spec.to_json().encode(),
                        "model_source": os.fsencode(model_source or spec.model),
                        "local": local_form.encode(),
                    }
                    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        except BaseException:
            lock.release()
            raise
        return cls(directory, connection, lock)

    @classmethod
    def open(cls, directory: Path, writable: bool = False) -> Collection:
        """Open an existing collection.

        Raises:
            StoreError: there is none, it is damaged or of a newer format.
            StoreBusy: `writable`, and another process is writing.
        """
        lock = None
        if writable and directory.is_dir():
            lock = WriterLock(directory)
            lock.acquire()
        try:
            return cls(directory, open_database(directory, writable), lock)
        except BaseException:
            if lock:
                lock.release()
            raise

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether there is a collection in a directory."""
        return is_complete(directory)

    @staticmethod
    def was_begun(directory: Path) -> bool:
        """Whether the making of a collection was interrupted here before it held anything."""
        return (directory / LOCK_NAME).exists() and not is_complete(directory)

    def close(self) -> None:
        """Close the file; frees the writer lock."""
        self._db.close()
        if self._lock:
            self._lock.release()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ meta
    def _meta(self, key: str) -> bytes | None:
        try:
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise StoreError(f"the index in {self.directory} is damaged: {error}") from error
        return None if row is None else bytes(row[0])

    def _read_local_form(self) -> LocalForm:
        if self._exact:
            return LocalForm.INT8
        value = (self._meta("local") or b"").decode("utf-8", "replace")
        if value not in list(LocalForm) or (value == LocalForm.BINARY and self._local_dim % 8):
            raise StoreError(
                f"the index in {self.directory} is damaged: it keeps local features of {self._local_dim} numbers as "
                f'"{value}" → move it away and index again'
            )
        return LocalForm(value)

    def _set_meta(self, key: str, value: bytes) -> None:
        with self.writing():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @property
    def root(self) -> Path | None:
        """The folder of photos, absolute; None before the first run, and where it has a `url`.

        It is kept relative to the collection, so that both can move together.
        """
        relative = self._meta("root")
        if relative is None:
            return None
        return Path(os.fsdecode(os.path.normpath(os.path.join(os.fsencode(self.directory.resolve()), relative))))

    @root.setter
    def root(self, folder: Path) -> None:
        here = os.fsencode(self.directory.resolve())
        self._set_meta("root", os.path.relpath(os.fsencode(folder.resolve()), here))

    @property
    def url(self) -> str | None:
        """The folder of photos where that lies in an object store; then `root` is None."""
        value = self._meta("url")
        return None if value is None else value.decode()

    @url.setter
    def url(self, folder: str) -> None:
        self._set_meta("url", folder.encode())

    @property
    def model_source(self) -> str:
        """Where the extractor comes from: a catalogue name, or the absolute path of its weights."""
        value = self._meta("model_source")
        return self.spec.model if value is None else os.fsdecode(value)

    @model_source.setter
    def model_source(self, source: str) -> None:
        self._set_meta("model_source", os.fsencode(source))

    @property
    def labels(self) -> str | None:
        """Where labels come from: "folder" (the name of a photo's folder), "listed" (`set_labels`), or None."""
        value = self._meta("labels")
        return None if value is None else value.decode()

    @labels.setter
    def labels(self, source: str) -> None:
        self._set_meta("labels", source.encode())

    def label(self, name: str) -> str | None:
        """The label of a photo, by its name relative to the folder."""
        source = self.labels
        if source == LISTED:
            return listed_label(self._db, os.fsencode(name))
        return folder_label(os.fsencode(name)) if source == FOLDER else None

    def listed_labels(self) -> dict[bytes, str]:
        """The labels that `set_labels` gave, by path."""
        return listed_labels(self._db) if self.labels == LISTED else {}

    def set_labels(self, label_of: Mapping[bytes, str]) -> None:
        """Give photos their labels, by path relative to the folder; all other labels are forgotten."""
        with self.writing():
            replace_labels(self._db, label_of)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('labels', ?)", (LISTED.encode(),))

    def num_labelled(self) -> int:
        """How many searchable files have a label."""
        return num_labelled(self._db, self.labels)

    @property
    def database(self) -> sqlite3.Connection:
        """The connection beneath: for what `glocal.index` keeps beside the collection, and nobody else."""
        return self._db

    def version(self) -> int:
        """A number that changes when another process has committed (for caches)."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    # ------------------------------------------------------------------ reading
    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see one committed version.

        Raises:
            StoreError: the file turns out to be damaged.
        """
        with explained(self.directory):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("ROLLBACK")

    def catalogue(self, status: str | None = None) -> Iterator[CatalogueRow]:
        """All files, ordered by path; or those of one status."""
        rows = self._db.execute(
            "SELECT path, p.bytes, mtime_ns, status, reason, detail, hash, width, height, orientation"
            " FROM photos p LEFT JOIN contents c ON c.id = p.content"
            " WHERE ?1 IS NULL OR status = ?1 ORDER BY path",
            (status,),
        )
        for path, size, mtime_ns, state, reason, detail, content, width, height, orientation in rows:
            digest = content.hex() if content else None
            yield CatalogueRow(
                bytes(path), size, mtime_ns, state, reason, detail, digest, width or 0, height or 0, orientation or 0
            )

    def counts(self) -> dict[str, int]:
        """Number of files by status, plus `contents` (different pictures that are searchable)."""
        found = dict(self._db.execute("SELECT status, COUNT(*) FROM photos GROUP BY status").fetchall())
        contents = self._db.execute("SELECT COUNT(DISTINCT content) FROM photos WHERE status = 'indexed'").fetchone()[0]
        return {status: found.get(status, 0) for status in ("indexed", "rejected", "missing")} | {"contents": contents}

    def rejected_by_reason(self) -> dict[str, int]:
        """Number of rejected files by reason code, most frequent first."""
        query = (
            "SELECT reason, COUNT(*) AS n FROM photos WHERE status = 'rejected' GROUP BY reason ORDER BY n DESC, reason"
        )
        return dict(self._db.execute(query).fetchall())

    def stored_bytes(self) -> dict[str, int]:
        """Bytes of `global` descriptors, of `local` features, of the whole `file`, and of `caches` beside it."""
        queries = {
            "global": "SELECT COALESCE(SUM(LENGTH(vector)), 0) FROM descriptors",
            "local": "SELECT COALESCE(SUM(LENGTH(geometry) + LENGTH(descriptors)), 0) FROM local_features",
            "file": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        }
        sizes = {name: int(self._db.execute(query).fetchone()[0]) for name, query in queries.items()}
        return sizes | {"caches": _bytes_beside(self.directory)}

    def descriptors(self, block: int = DESCRIPTOR_BLOCK) -> Iterator[Descriptors]:
        """The searchable global descriptors in blocks of at most `block` rows; ids are content hashes."""
        rows = self._db.execute(
            "SELECT hash, vector FROM descriptors d JOIN contents c ON c.id = d.content"
            " WHERE EXISTS (SELECT 1 FROM photos p WHERE p.content = d.content AND status = 'indexed')"
        )
        while batch := rows.fetchmany(block):
            ids = tuple(row[0].hex() for row in batch)
            yield Descriptors(ids, decode_vectors([row[1] for row in batch], self._dim))

    def vectors(self, content_hashes: Sequence[str]) -> NDArray[np.float32]:
        """The global descriptors (N, D) of some pictures, order kept.

        Raises:
            StoreError: one of them is not stored.
        """
        query = "SELECT vector FROM descriptors d JOIN contents c ON c.id = d.content WHERE hash = ?"
        rows = [self._db.execute(query, (bytes.fromhex(name),)).fetchone() for name in content_hashes]
        if None in rows:
            raise StoreError(f"no descriptor of picture '{content_hashes[rows.index(None)]}' in {self.directory}")
        return decode_vectors([row[0] for row in rows], self._dim)

    def local_features(self, content_hash: str) -> LocalFeatures:
        """The local features of one picture; its id is the content hash.

        Raises:
            StoreError: there is no such picture, or its row is damaged.
        """
        return self.local_features_many([content_hash])[0]

    def local_features_many(self, content_hashes: Sequence[str]) -> list[LocalFeatures]:
        """The local features of some pictures, order kept; signs come as ±1 / sqrt(d).

        Raises:
            StoreError: one of them is not stored, or its row is damaged.
        """
        return decode_many(self._local_rows(content_hashes), self._local_dim, self.local_form, self._exact)

    def sign_features_many(self, content_hashes: Sequence[str]) -> list[SignFeatures]:
        """The local features of some pictures of a binary collection as they are stored, order kept.

        Raises:
            StoreError: one of them is not stored, its row is damaged, or the collection is not binary.
        """
        if self.local_form != LocalForm.BINARY:
            raise StoreError(f"the index in {self.directory} keeps local features as {self.local_form}, not as binary")
        rows = self._local_rows(content_hashes)
        return [decode_signs(row.encoded, row.name, row.size, self._local_dim) for row in rows]

    def _local_rows(self, content_hashes: Sequence[str]) -> list[LocalRow]:
        """Rows of some pictures, order kept; read in the order of the file, a few hundred by one statement."""
        found: dict[str, LocalRow] = {}
        for start in range(0, len(content_hashes), _NAMES_AT_A_TIME):
            names = [bytes.fromhex(name) for name in content_hashes[start : start + _NAMES_AT_A_TIME]]
            # Two steps: a join that sorts by row would sort the blobs with it.
            query = f"SELECT id, hash, width, height FROM contents WHERE hash IN ({_marks(names)})"
            about = {row[0]: row[1:] for row in self._db.execute(query, names)}
            # SQLite looks up the row ids of an IN list in ascending order.
            rows = self._db.execute(
                "SELECT content, count, step, descriptors, geometry, checksum"
                f" FROM local_features WHERE content IN ({_marks(about)})",
                list(about),
            )
            for content, *encoded in rows:
                digest, width, height = about[content]
                found[digest.hex()] = LocalRow(digest.hex(), (width, height), EncodedLocal(*encoded))
        for name in content_hashes:
            if name not in found:
                raise StoreError(f"no local features of picture '{name}' in {self.directory}")
        return [found[name] for name in content_hashes]

    def paths(self, content_hash: str) -> list[bytes]:
        """Every file with this content that is there, ordered by path: the first, then its exact copies."""
        query = (
            "SELECT path FROM photos p JOIN contents c ON c.id = p.content"
            " WHERE hash = ? AND status = 'indexed' ORDER BY path"
        )
        return [bytes(row[0]) for row in self._db.execute(query, (bytes.fromhex(content_hash),))]

    def file_of(self, content_hash: str) -> CatalogueRow | None:
        """The first file with this content that is there, by path; None if there is none."""
        row = self._db.execute(
            "SELECT path, p.bytes, mtime_ns, width, height, orientation"
            " FROM photos p JOIN contents c ON c.id = p.content"
            " WHERE hash = ? AND status = 'indexed' ORDER BY path LIMIT 1",
            (bytes.fromhex(content_hash),),
        ).fetchone()
        if row is None:
            return None
        path, size, mtime_ns, width, height, orientation = row
        return CatalogueRow(
            bytes(path), size, mtime_ns, "indexed", None, None, content_hash, width, height, orientation
        )

    def picture_size(self, content_hash: str) -> tuple[int, int]:
        """(W, H) of an upright picture in pixels."""
        query = "SELECT width, height FROM contents WHERE hash = ?"
        row = self._db.execute(query, (bytes.fromhex(content_hash),)).fetchone()
        if row is None:
            raise StoreError(f"there is no picture '{content_hash}' in {self.directory}")
        return row[0], row[1]

    def byte_sizes(self) -> set[int]:
        """Byte sizes of all known pictures: only a file of such a size can be a copy of one."""
        return {row[0] for row in self._db.execute("SELECT DISTINCT bytes FROM contents")}

    def knows(self, content_hash: str) -> bool:
        """Whether the features of this content are stored."""
        query = "SELECT 1 FROM contents WHERE hash = ?"
        return self._db.execute(query, (bytes.fromhex(content_hash),)).fetchone() is not None

    # ------------------------------------------------------------------ writing
    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all that is written inside is durable when it ends, or nothing is.

        Raises:
            StoreError: the collection was opened for reading only, or is damaged.
            DiskFull: no space is left.
        """
        if self._lock is None:
            raise StoreError(f"the index in {self.directory} was opened for reading only")
        with explained(self.directory), transaction(self._db):
            yield

    def commit(self, contents: Sequence[NewContent], rows: Sequence[CatalogueRow]) -> int:
        """Store features and catalogue rows in one transaction; durable when this returns.

        Args:
            contents: features of pictures that are not stored yet.
            rows: one row per file, replacing what was known under its path. The content of an
                indexed row must be stored, or among `contents`.

        Returns:
            How many of the rows took over the content of a file that had gone (moved or renamed).
        """
        with self.writing():
            for new in contents:
                self._insert_content(new)
            return sum(self._insert_row(row) for row in rows)

    def _insert_content(self, new: NewContent) -> None:
        cursor = self._db.execute(
            "INSERT INTO contents (hash, bytes, width, height, orientation) VALUES (?, ?, ?, ?, ?)",
            (bytes.fromhex(new.content_hash), new.num_bytes, *new.size, new.orientation),
        )
        vector = encode_vector(new.extraction.descriptor)
        self._db.execute("INSERT INTO descriptors VALUES (?, ?)", (cursor.lastrowid, vector))
        local = encode_local(new.extraction.local, self.local_form, self._exact)
        self._db.execute(
            "INSERT INTO local_features VALUES (?, ?, ?, ?, ?, ?)",
            (cursor.lastrowid, local.count, local.step, local.checksum, local.geometry, local.descriptors),
        )

    def _insert_row(self, row: CatalogueRow) -> bool:
        content = None
        moved = False
        if row.content_hash is not None:
            content = self._db.execute(
                "SELECT id FROM contents WHERE hash = ?", (bytes.fromhex(row.content_hash),)
            ).fetchone()[0]
            gone = self._db.execute(
                "SELECT path FROM photos WHERE content = ? AND status = 'missing' AND path <> ? ORDER BY path LIMIT 1",
                (content, row.path),
            ).fetchone()
            if gone:
                self._db.execute("DELETE FROM photos WHERE path = ?", gone)
                if self.labels == LISTED:
                    move_label(self._db, gone[0], row.path)
                moved = True
        self._db.execute(
            "INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.path, content, row.size, row.mtime_ns, row.status, row.reason, row.detail),
        )
        return moved

    def hide(self, paths: Sequence[bytes]) -> None:
        """Take files that are gone out of the search; their features stay until `prune`."""
        with self.writing():
            self._db.executemany("DELETE FROM photos WHERE path = ? AND status = 'rejected'", [(p,) for p in paths])
            self._db.executemany("UPDATE photos SET status = 'missing' WHERE path = ?", [(p,) for p in paths])

    def show(self, paths: Sequence[bytes]) -> None:
        """Undo `hide` for files that are there again, unchanged."""
        with self.writing():
            self._db.executemany("UPDATE photos SET status = 'indexed' WHERE path = ?", [(p,) for p in paths])

    def drop_unused(self, missing_too: bool = False) -> int:
        """Forget features that no file has any more, and the space they took.

        Args:
            missing_too: forget hidden files as well.

        Returns:
            Number of hidden files forgotten.
        """
        with self.writing():
            forgotten = 0
            if missing_too:
                forgotten = self._db.execute("DELETE FROM photos WHERE status = 'missing'").rowcount
            dropped = self._db.execute(
                "DELETE FROM contents WHERE NOT EXISTS (SELECT 1 FROM photos p WHERE p.content = contents.id)"
            ).rowcount
        if dropped:
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
        return forgotten

    def start_run(self) -> int:
        """Note that an indexing run begins; returns its number."""
        with self.writing():
            cursor = self._db.execute("INSERT INTO runs (started) VALUES (?)", (time.time(),))
        return int(cursor.lastrowid or 0)

    def finish_run(self, run: int, summary: RunSummary) -> None:
        """Note that an indexing run came to its end."""
        with self.writing():
            self._db.execute(
                "UPDATE runs SET finished = ?, seen = ?, indexed = ?, skipped = ?, ignored = ? WHERE id = ?",
                (time.time(), summary.seen, summary.indexed, summary.skipped, summary.ignored, run),
            )

    def last_run(self) -> tuple[bool, RunSummary] | None:
        """Whether the newest run came to its end, and what it saw; None before the first."""
        row = self._db.execute(
            "SELECT finished, seen, indexed, skipped, ignored FROM runs ORDER BY id DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        finished, *numbers = row
        return finished is not None, RunSummary(*(number or 0 for number in numbers))

    def last_update(self) -> float | None:
        """When the newest run ended, in seconds since 1970; of one that did not, when it began; None if unknown."""
        row = self._db.execute("SELECT COALESCE(finished, started) FROM runs ORDER BY id DESC LIMIT 1").fetchone()
        return None if row is None else float(row[0])


def _bytes_beside(directory: Path) -> int:
    """Bytes of all files in a collection's directory that are not the collection itself: they may be deleted."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            if name == LOCK_NAME or name.startswith(DATABASE_NAME):
                continue
            with contextlib.suppress(OSError):  # another process may delete them while we look
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _marks(values: Sized) -> str:
    """Places for values in a statement."""
    return ",".join("?" * len(values))
