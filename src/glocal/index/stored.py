"""Rows of a collection by their content number, for an index that is kept beside it.

`contents.id` is SQLite's row number: a new picture gets the highest one plus 1, so that of a deleted picture can come
back only if it was the highest. `voucher.py` keeps a watermark below which none ever does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.store.codec import decode_vectors
from glocal.store.collection import DESCRIPTOR_BLOCK, Collection
from glocal.types import Descriptors

Numbers = NDArray[np.int64]
Vectors = NDArray[np.float32]

PAGE_CACHE_BYTES = 16 << 20
"""Enough for the inner pages of a few million rows; with SQLite's own 2 MB every row costs a second page."""

_VISIBLE = "EXISTS (SELECT 1 FROM photos p WHERE p.content = d.content AND p.status = 'indexed')"
_ASKED_AT_ONCE = 8192  # numbers in one statement; SQLite takes four times as many


def hold_pages(collection: Collection) -> None:
    """Let SQLite keep `PAGE_CACHE_BYTES` of pages for this connection."""
    collection.database.execute(f"PRAGMA cache_size = -{PAGE_CACHE_BYTES >> 10}")


def state(collection: Collection) -> tuple[int, int]:
    """Differs after every commit, by this connection or another."""
    return collection.version(), collection.database.total_changes


def num_stored(collection: Collection) -> int:
    """Different pictures that are stored, hidden ones too."""
    return int(collection.database.execute("SELECT COUNT(*) FROM contents").fetchone()[0])


def num_after(collection: Collection, last: int) -> int:
    """Of these, those with a number above `last`."""
    query = "SELECT COUNT(*) FROM contents WHERE id > ?"
    return int(collection.database.execute(query, (last,)).fetchone()[0])


def num_visible_after(collection: Collection, last: int) -> int:
    """Searchable pictures with a number above `last`."""
    query = f"SELECT COUNT(*) FROM descriptors d WHERE d.content > ? AND {_VISIBLE}"
    return int(collection.database.execute(query, (last,)).fetchone()[0])


def all_numbers(collection: Collection) -> Numbers:
    """The numbers of all stored pictures, ascending: 8 bytes each."""
    rows = collection.database.execute("SELECT id FROM contents ORDER BY id")
    return np.fromiter((row[0] for row in rows), np.int64)


def stored_blocks(collection: Collection, block: int = DESCRIPTOR_BLOCK) -> Iterator[tuple[Numbers, Descriptors]]:
    """All stored descriptors by ascending number, hidden ones too, in blocks; ids are the numbers."""
    rows = collection.database.execute("SELECT content, vector FROM descriptors ORDER BY content")
    while batch := rows.fetchmany(block):
        vectors = decode_vectors([row[1] for row in batch], collection.spec.dim)
        yield (
            np.fromiter((row[0] for row in batch), np.int64, len(batch)),
            Descriptors(tuple(str(row[0]) for row in batch), vectors),
        )


def visible_after(collection: Collection, last: int, block: int = DESCRIPTOR_BLOCK) -> Iterator[Descriptors]:
    """The searchable descriptors with a number above `last`; ids are content hashes."""
    rows = collection.database.execute(
        "SELECT hash, vector FROM descriptors d JOIN contents c ON c.id = d.content"
        f" WHERE d.content > ? AND {_VISIBLE}",
        (last,),
    )
    while batch := rows.fetchmany(block):
        vectors = decode_vectors([row[1] for row in batch], collection.spec.dim)
        yield Descriptors(tuple(row[0].hex() for row in batch), vectors)


def vectors_of(collection: Collection, numbers: Sequence[int]) -> tuple[Numbers, Vectors]:
    """The descriptors with some numbers, those that are gone left out.

    A join with their content hashes would take half as long again; `hashes_of` is for the few that need them.

    Returns:
        The numbers found (N,), ascending, and their descriptors (N, D), of unit norm.

    Raises:
        StoreError: a row is damaged.
        ShapeError: a descriptor is not finite or not of unit norm.
    """
    rows = _asked(collection, "SELECT content, vector FROM descriptors WHERE content IN", numbers)
    vectors = decode_vectors([row[1] for row in rows], collection.spec.dim)
    checked = Descriptors(tuple(str(row[0]) for row in rows), vectors)  # for its checks
    return np.fromiter((row[0] for row in rows), np.int64, len(rows)), checked.vectors


def hashes_of(collection: Collection, numbers: Sequence[int]) -> dict[int, str]:
    """Number -> content hash, those that are gone left out."""
    rows = _asked(collection, "SELECT id, hash FROM contents WHERE id IN", numbers)
    return {number: digest.hex() for number, digest in rows}


def visible_of(collection: Collection, numbers: Sequence[int]) -> list[int]:
    """Of some numbers, ascending, those of searchable pictures."""
    query = "SELECT DISTINCT content FROM photos WHERE status = 'indexed' AND content IN"
    return sorted(row[0] for row in _asked(collection, query, numbers))


def _asked(collection: Collection, query: str, numbers: Sequence[int]) -> list[Any]:
    rows: list[Any] = []
    ordered = sorted(numbers)  # SQLite then reads its pages from the first to the last
    for start in range(0, len(ordered), _ASKED_AT_ONCE):
        asked = ordered[start : start + _ASKED_AT_ONCE]
        rows += collection.database.execute(f"{query} ({','.join('?' * len(asked))})", asked)
    return rows
