"""The SQLite file of a collection: its tables, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from glocal.errors import StoreError

DATABASE_NAME = "glocal.db"
FORMAT = 2
"""2: meta `local` names the form of local descriptors, and `geometry` is packed (see `store.codec`).

1: int8 descriptors, float32 geometry. A collection keeps the format in which it was made.
"""
_APPLICATION_ID = 0x676C6F63  # "gloc"

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- One row per different picture: exact copies share it.
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,          -- BLAKE2b-128 of the file's bytes
    bytes INTEGER NOT NULL,
    width INTEGER NOT NULL,             -- upright
    height INTEGER NOT NULL,
    orientation INTEGER NOT NULL        -- EXIF 1 to 8, already applied
);
CREATE INDEX contents_bytes ON contents (bytes);

-- One row per file name.
CREATE TABLE photos (
    path BLOB PRIMARY KEY,              -- relative to the folder, as the file system spells it
    content INTEGER REFERENCES contents (id),
    bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('indexed', 'rejected', 'missing')),
    reason TEXT,
    detail TEXT,
    CHECK ((status = 'rejected') = (reason IS NOT NULL)),
    CHECK ((status = 'rejected') = (content IS NULL))
) WITHOUT ROWID;
CREATE INDEX photos_content ON photos (content, status);

CREATE TABLE descriptors (
    content INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
    vector BLOB NOT NULL
);
CREATE TABLE local_features (
    content INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
    count INTEGER NOT NULL,
    step REAL NOT NULL,                 -- value of one int8 level
    checksum INTEGER NOT NULL,          -- CRC-32 of descriptors and geometry
    geometry BLOB NOT NULL,
    descriptors BLOB NOT NULL
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    started REAL NOT NULL,              -- seconds since 1970
    finished REAL,
    seen INTEGER, indexed INTEGER, skipped INTEGER, ignored INTEGER
);
"""


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_database(directory: Path) -> sqlite3.Connection:
    """Make an empty database; the caller holds the writer lock.

    The tables appear in one transaction, so that a kill leaves either none or all of them.
    """
    path = directory / DATABASE_NAME
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    connection = _connect(f"{path.resolve().as_uri()}?mode=rw")
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _set_durable(connection)
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
    )
    sync_directory(directory)
    return connection


def is_complete(directory: Path) -> bool:
    """Whether a directory holds a database with tables (not one whose making was interrupted)."""
    path = directory / DATABASE_NAME
    if not path.is_file() or path.stat().st_size == 0:
        return False
    connection = _connect_reader(directory)
    try:
        return bool(connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone())
    except sqlite3.Error:
        return True  # not empty and not readable: for `open_database` to explain
    finally:
        connection.close()


def open_database(directory: Path, writable: bool) -> sqlite3.Connection:
    """Open an existing database and check its format.

    Raises:
        StoreError: there is none, it is damaged, or a newer glocal wrote it.
    """
    path = directory / DATABASE_NAME
    if not path.is_file():
        raise StoreError(f"There is no index in {directory}. → glocal index PHOTOS")
    connection = _connect(f"{path.resolve().as_uri()}?mode=rw") if writable else _connect_reader(directory)
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application != _APPLICATION_ID:
            raise StoreError(f"{path} is not a glocal index. → name another folder with --index")
        if version > FORMAT:
            raise StoreError(
                f"{path} has format {version}, written by a newer glocal; this one reads up to {FORMAT}. "
                "→ pip install --upgrade glocal (the index was left as it is)"
            )
        if writable:
            _set_durable(connection)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"{path} is damaged ({error}). → move it away and index the folder again") from error
    except StoreError:
        connection.close()
        raise
    return connection


def _connect_reader(directory: Path) -> sqlite3.Connection:
    path = directory / DATABASE_NAME
    uri = path.resolve().as_uri()
    if os.access(directory, os.W_OK) and os.access(path, os.W_OK):
        # Reading a WAL database needs its -wal and -shm files. A connection that may write takes them away
        # again when it is the last to close; one opened with mode=ro would leave them behind.
        connection = _connect(f"{uri}?mode=rw")
        connection.execute("PRAGMA query_only = ON")
        return connection
    # In a read-only folder without a pending log the file itself is the whole truth.
    frozen = not (directory / f"{DATABASE_NAME}-wal").exists()
    return _connect(f"{uri}?mode=ro" + ("&immutable=1" if frozen else ""))


def _connect(uri: str) -> sqlite3.Connection:
    # Transactions are opened by hand ("BEGIN"): isolation_level=None keeps Python out of it.
    connection = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _set_durable(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
