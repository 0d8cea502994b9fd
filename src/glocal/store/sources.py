"""Collections that rows are copied from: one committed version of each, nothing in it trusted.

An index may come from a stranger. SQLite reads a hostile file safely, but it lets tables be views that never end, and
any value stand in any column; so this is looked at before anything else is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from glocal.errors import RetrievalError, SpecMismatch, StoreError
from glocal.store.collection import Collection
from glocal.store.schema import open_database
from glocal.store.transactions import explained
from glocal.types import ExtractorSpec

KEPT = ("spec", "model_source", "local", "root", "labels")
"""Meta that says what a collection is; all else is about files beside it."""
MAX_VALUE = 256 << 20
"""Bytes of the largest value that is read: a thousand times the local features of a photo."""


class Source:
    """A collection that photos are copied from.

    Attributes:
        place: where it is; for messages.
        connection: for reading its rows, inside one transaction.
        collection: for reading what it says of itself.
        format: of its file; says how features are stored.
    """

    def __init__(self, place: Path, connection: sqlite3.Connection) -> None:
        """Begin reading.

        Raises:
            StoreError: it is damaged, or not what glocal writes.
        """
        self.place, self.connection = place, connection
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        with explained(place):
            connection.execute("BEGIN")
            self._expect_plain_tables()
            self._expect_texts()
        try:
            self.collection = Collection(place, connection, None)
            _expect_sane(self.collection.spec)
            self.labels, self.last_run = self.collection.labels, self.collection.last_run()
        except (RetrievalError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise self.damaged(f"what it says of itself makes no sense ({error})") from error
        self.format = int(connection.execute("PRAGMA user_version").fetchone()[0])

    def _expect_plain_tables(self) -> None:
        """No views, virtual tables or computed columns: these are programs."""
        for name, kind, text in self.connection.execute("SELECT name, type, sql FROM sqlite_master").fetchall():
            if kind == "view" or " ".join(str(text).upper().split()).startswith("CREATE VIRTUAL"):
                raise self.damaged(f"{name!r} is no plain table")
        computed = self.connection.execute(
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_xinfo(m.name) c"
            " WHERE m.type = 'table' AND c.hidden"
        ).fetchone()
        if computed is not None:
            raise self.damaged(f"{computed[0]}.{computed[1]} is no plain column")

    def _expect_texts(self) -> None:
        # bytes(10**12) would be a terabyte of zeros.
        odd = self.connection.execute(
            f"SELECT key FROM meta WHERE key IN ({', '.join('?' * len(KEPT))})"
            " AND (typeof(value) <> 'blob' OR length(value) > 65536)",
            KEPT,
        ).fetchone()
        if odd is not None:
            raise self.damaged(f"meta {odd[0]!r} is no short text")

    def damaged(self, why: str) -> StoreError:
        """What is raised where a row makes no sense."""
        return StoreError(
            f"{self.place} is damaged, or no index that glocal has written: {why} → index its photos again"
        )


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """SQLite's errors about what a stranger wrote in words.

    Raises:
        StoreError: it is damaged.
    """
    with explained(place):
        try:
            yield
        except sqlite3.OperationalError as error:
            if "decode" in str(error):  # a text that is none
                raise StoreError(f"{place} is damaged: {error} → index its photos again") from error
            raise


@contextmanager
def open_source(directory: Path) -> Iterator[Source]:
    """Open a collection for copying; others may read and write it meanwhile.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    connection = open_database(directory, writable=False)
    try:
        with reading(directory):
            yield Source(directory, connection)
    finally:
        connection.close()


def expect_same_extractor(sources: Sequence[Source]) -> None:
    """Make sure that descriptors of some collections can be compared, and their rows mixed.

    Raises:
        SpecMismatch: they cannot; both values are named.
    """
    first = sources[0]
    for other in sources[1:]:
        differences = first.collection.spec.differences(other.collection.spec)
        if differences:
            raise SpecMismatch(
                f"The indexes in {first.place} and {other.place} were made by different extractors "
                f"({_values(differences)}). Their descriptors cannot be compared. → index the photos of one of them "
                "again with the model of the other"
            )
        here, there = _storage(first), _storage(other)
        differences = [(name, here[name], there[name]) for name in here if here[name] != there[name]]
        if differences:
            raise SpecMismatch(
                f"The indexes in {first.place} and {other.place} keep their local features in different ways "
                f"({_values(differences)}). → index the photos of one of them again as the other was"
            )


def _expect_sane(spec: ExtractorSpec) -> None:
    for name in ("dim", "local_dim", "max_features", "image_size"):
        value = getattr(spec, name)
        if type(value) is not int or not (name == "dim") <= value <= 1 << 20:
            raise ValueError(f"{name} is {value!r}")
    for name in ("model", "weights", "resize", "exif", "colour", "whitening", "metric"):
        if not isinstance(getattr(spec, name), str):
            raise ValueError(f"{name} is no text")
    if not all(type(scale) in (int, float) for scale in spec.scales):
        raise ValueError(f"scales are {spec.scales!r}")


def _storage(source: Source) -> dict[str, object]:
    return {"format": source.format, "local features": str(source.collection.local_form)}


def _values(differences: Sequence[tuple[str, object, object]]) -> str:
    return "; ".join(f"{name}: {_short(here)!r} and {_short(there)!r}" for name, here, there in differences)


def _short(value: object) -> object:
    return value[:12] if isinstance(value, str) else value
