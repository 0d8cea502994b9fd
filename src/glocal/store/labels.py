"""Labels that a list gave to photos, by name: a table that is there only once it is needed.

It is no part of the tables that every collection has, so the format is the same with and without it: an older glocal
searches such a collection and shows no labels.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping

LISTED = "listed"
"""Value of meta `labels` where this table holds them."""
FOLDER = "folder"
"""Value of meta `labels` where the name of a photo's folder is its label."""

_NUM_LABELLED = {
    LISTED: "SELECT COUNT(*) FROM photos p JOIN labels l ON l.path = p.path WHERE status = 'indexed'",
    FOLDER: "SELECT COUNT(*) FROM photos WHERE INSTR(path, X'2F') > 1 AND status = 'indexed'",
}


def replace_labels(connection: sqlite3.Connection, label_of: Mapping[bytes, str]) -> None:
    """Forget what the table holds and write it anew; the caller holds the transaction."""
    connection.execute("CREATE TABLE IF NOT EXISTS labels (path BLOB PRIMARY KEY, label TEXT NOT NULL) WITHOUT ROWID")
    connection.execute("DELETE FROM labels")
    connection.executemany("INSERT INTO labels VALUES (?, ?)", label_of.items())


def listed_label(connection: sqlite3.Connection, path: bytes) -> str | None:
    """The label of a photo; None if the list did not name it."""
    row = connection.execute("SELECT label FROM labels WHERE path = ?", (path,)).fetchone()
    return None if row is None else str(row[0])


def listed_labels(connection: sqlite3.Connection) -> dict[bytes, str]:
    """The labels of all photos that the list named, by path."""
    return {bytes(path): str(label) for path, label in connection.execute("SELECT path, label FROM labels")}


def folder_label(path: bytes) -> str | None:
    """The label of a photo where the name of its folder is that."""
    return os.fsdecode(os.path.basename(os.path.dirname(path))) or None


def move_label(connection: sqlite3.Connection, old: bytes, new: bytes) -> None:
    """A photo was moved or renamed: its label goes with it, unless the new name has one."""
    connection.execute("UPDATE OR IGNORE labels SET path = ? WHERE path = ?", (new, old))


def num_labelled(connection: sqlite3.Connection, source: str | None) -> int:
    """How many searchable photos have a label."""
    query = _NUM_LABELLED.get(source or "")
    return int(connection.execute(query).fetchone()[0]) if query else 0
