"""All or nothing, and SQLite's errors in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glocal.errors import DiskFull, StoreError


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end of the block; roll everything back if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """SQLite's errors of a full or failing disk in words."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if any(words in str(error) for words in ("is full", "disk I/O error")):
            raise DiskFull(
                f"Cannot write to {directory}: {error}. The index is intact up to the last saved batch. "
                "→ free some space and run the same command to continue"
            ) from error
        raise StoreError(f"cannot write the index in {directory}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"the index in {directory} is damaged: {error} → move it away and index again") from error
