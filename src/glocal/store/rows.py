"""What a collection is written from and read into, row by row."""

from __future__ import annotations

from dataclasses import dataclass

from glocal.types import Extraction


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One file of the collection.

    Attributes:
        path: relative to the folder, as the file system spells it.
        size: bytes.
        mtime_ns: modification time in nanoseconds.
        status: `indexed`, `rejected`, or `missing` (hidden: the file is gone, its features are kept).
        reason: code of `glocal.errors.REASONS` for a rejected file, else None.
        detail: one line for people on a rejected file, else None.
        content_hash: 32 hexadecimal digits; None for a rejected file.
        width: pixels of the upright picture; 0 for a rejected file.
        height: likewise.
        orientation: EXIF orientation that was applied, 1 to 8; 0 for a rejected file.
    """

    path: bytes
    size: int
    mtime_ns: int
    status: str
    reason: str | None = None
    detail: str | None = None
    content_hash: str | None = None
    width: int = 0
    height: int = 0
    orientation: int = 0


@dataclass(frozen=True, slots=True)
class NewContent:
    """The features of one picture, ready to be stored.

    Attributes:
        content_hash: 32 hexadecimal digits.
        num_bytes: size of the file.
        size: (W, H) of the upright picture.
        orientation: EXIF orientation, 1 to 8.
        extraction: its features.
    """

    content_hash: str
    num_bytes: int
    size: tuple[int, int]
    orientation: int
    extraction: Extraction


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What one run of the indexer saw: seen = indexed + skipped + ignored."""

    seen: int
    indexed: int
    skipped: int
    ignored: int
