"""The photos of a collection have moved to another folder: looked at, not read, and linked again."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from glocal.errors import ConfigError, StoreError
from glocal.store.collection import Collection

SAMPLED = 500
"""Photos that are looked for, spread over the names: more take longer on a network drive than they are worth."""
_LEAST_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Presence:
    """How many photos of a collection are in a folder.

    Attributes:
        sampled: how many were looked for.
        found: of these, regular files of the same name and size.
        unchanged: of these, files of the same modification time too.
        first_missing: the first name that was not found; None if all were.
    """

    sampled: int
    found: int
    unchanged: int
    first_missing: str | None

    @property
    def is_enough(self) -> bool:
        """Whether this is the folder: a few photos may have been deleted since."""
        return self.found > 0 and self.found >= _LEAST_SHARE * self.sampled


def look_for(collection: Collection, folder: Path, most: int = SAMPLED) -> Presence:
    """Look for photos of a collection in a folder; their content is not read.

    Args:
        collection: knows names, sizes and times.
        folder: where they may be.
        most: how many are looked for.
    """
    counts = collection.counts()
    step = -(-(counts["indexed"] + counts["missing"]) // most) or 1
    top = os.fsencode(folder)
    known = (row for row in collection.catalogue() if row.status != "rejected")
    sampled = found = unchanged = 0
    first_missing = None
    for place, row in enumerate(known):
        if place % step:
            continue
        sampled += 1
        try:
            about = os.lstat(os.path.join(top, row.path))
        except (OSError, ValueError):
            about = None
        if about is None or not stat.S_ISREG(about.st_mode) or about.st_size != row.size:
            first_missing = first_missing or os.fsdecode(row.path)
            continue
        found += 1
        unchanged += about.st_mtime_ns == row.mtime_ns
    return Presence(sampled, found, unchanged, first_missing)


def relocate(directory: Path, old: Path, new: Path) -> Presence:
    """Link a collection to the folder where its photos are now.

    Args:
        directory: the collection.
        old: the folder that it belongs to.
        new: where that has moved, or was copied.

    Raises:
        ConfigError: the collection belongs to another folder, or `new` does not hold the photos.
        StoreError: there is no such collection.
        StoreBusy: another process is writing it.
    """
    if not new.is_dir():
        raise ConfigError(f"No such folder: {new} → name the place where the photos are now")
    with Collection.open(directory, writable=True) as collection:
        if not is_root(collection, old):
            known = collection.url or collection.root
            belongs = f"belongs to {known}" if known else "has no folder yet"
            raise ConfigError(
                f"The index in {directory} {belongs}, not to {old} → name that folder, or another index with --index"
            )
        presence = look_for(collection, new)
        if not presence.sampled:
            raise StoreError(f"The index in {directory} is empty: there is nothing to link → glocal index {new}")
        if not presence.is_enough:
            raise ConfigError(
                f"{new} has {presence.found:,} of {presence.sampled:,} pictures that were looked for, first missing "
                f'"{presence.first_missing}"; the index still belongs to {old} → name the folder that holds them'
            )
        collection.root = new
    return presence


def is_root(collection: Collection, folder: Path) -> bool:
    """Whether a collection belongs to a folder, which may be gone."""
    return collection.root in (folder.resolve(), Path(os.path.abspath(folder)))
