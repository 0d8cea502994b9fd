"""The photos of a collection that an export holds, in the order of their paths (NumPy)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, NothingToDo
from glocal.store.contract import PhotoCollection
from glocal.store.rows import CatalogueRow

PRECISIONS: dict[str, type[np.floating[Any]]] = {"float16": np.float16, "float32": np.float32}
"""How descriptors may be written."""

Tick = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is, and how much there is; ends the export by raising an exception."""


def no_tick(what: str, done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(slots=True)
class ExportReport:
    """What an export did.

    Attributes:
        written: the files, in the order in which they appeared.
        photos: entries written; in hloc's files that includes the queries from outside.
        copies: files whose content another file has too.
        queries: photos that pairs were written for.
        pairs: lines of the pairs file.
        verified: pairs in the matches file that have matches.
        rejected: files of the index that glocal could not read when it was made.
        missing: files of the index that are hidden because they are gone.
        tiffs: TIFF files among them: the index does not know their orientation.
        failed: queries that cannot be read, with the reason.
    """

    written: list[Path] = field(default_factory=list)
    photos: int = 0
    copies: int = 0
    queries: int = 0
    pairs: int = 0
    verified: int = 0
    rejected: int = 0
    missing: int = 0
    tiffs: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def start_report(collection: PhotoCollection) -> ExportReport:
    """What is known before the work.

    Raises:
        NothingToDo: the collection is empty.
    """
    counts = collection.counts()
    if not counts["contents"]:
        raise NothingToDo(f"The index in {collection.directory} is empty. → glocal index PHOTOS")
    return ExportReport(
        copies=counts["indexed"] - counts["contents"], rejected=counts["rejected"], missing=counts["missing"]
    )


def precision_of(name: str) -> type[np.floating[Any]]:
    """The NumPy type of a precision.

    Raises:
        ConfigError: there is no such precision.
    """
    if name not in PRECISIONS:
        raise ConfigError(f'unknown precision "{name}" → {" or ".join(PRECISIONS)}')
    return PRECISIONS[name]


def listed(collection: PhotoCollection, copies: bool = True) -> Iterator[CatalogueRow]:
    """The searchable files, ordered by path.

    Args:
        collection: read inside a snapshot.
        copies: False leaves out files whose content an earlier one has.
    """
    seen: set[str] = set()
    for row in collection.catalogue("indexed"):
        if not copies:
            if content_of(row) in seen:
                continue
            seen.add(content_of(row))
        yield row


def content_of(row: CatalogueRow) -> str:
    """The content hash of a searchable file."""
    assert row.content_hash is not None  # the database says so of every indexed row
    return row.content_hash


def in_blocks(
    rows: Iterator[CatalogueRow], collection: PhotoCollection, block: int
) -> Iterator[tuple[list[CatalogueRow], NDArray[np.float32]]]:
    """At most `block` files at a time, with their global descriptors (B, D)."""
    while batch := list(itertools.islice(rows, block)):
        yield batch, collection.vectors([content_of(row) for row in batch])
