"""Which pictures of a collection may be found: by label, folder and time, as its catalogue has them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from glocal.errors import ConfigError
from glocal.store.contract import PhotoCollection
from glocal.store.labels import LISTED, folder_label


@dataclass(frozen=True, slots=True)
class Selection:
    """Which pictures may be found: those of which one file meets all of this.

    Attributes:
        labels: it has one of these; None where that does not count.
        not_labels: it has none of these.
        folders: its name, relative to the folder of the collection, begins with one of these, on the border of a
            folder: "2019/Roma" is no beginning of "2019/Roma2/x.jpg". Empty for any.
        modified_from_ns: it was modified then or later, nanoseconds since 1970.
        modified_before_ns: it was modified earlier.
    """

    labels: frozenset[str] | None = None
    not_labels: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()
    modified_from_ns: int | None = None
    modified_before_ns: int | None = None

    def __post_init__(self) -> None:
        """Bring folders into the form of names.

        Raises:
            ConfigError: one of them is no folder within a collection, or a text stands for several.
        """
        for name in ("labels", "not_labels", "folders"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(f'{name} are several texts, not one: ["{getattr(self, name)}"]')
        if self.labels is not None:
            object.__setattr__(self, "labels", frozenset(self.labels))
        object.__setattr__(self, "not_labels", frozenset(self.not_labels))
        object.__setattr__(self, "folders", tuple(map(_inner_folder, self.folders)))

    @property
    def asks_labels(self) -> bool:
        """Whether labels count."""
        return self.labels is not None or bool(self.not_labels)

    def ids(self, collection: PhotoCollection) -> list[str]:
        """Content hashes of the searchable pictures of which at least one file fits, sorted.

        Raises:
            ConfigError: labels are asked of a collection that has none.
        """
        source = collection.labels
        if self.asks_labels and source is None:
            raise ConfigError(
                f"The photos of the index in {collection.directory} have no labels. "
                "→ glocal index PHOTOS --labels folder   or  --labels FILE.csv"
            )
        listed = collection.listed_labels() if self.asks_labels and source == LISTED else None
        beginnings = _beginnings(self.folders)
        earliest = self.modified_from_ns
        latest = self.modified_before_ns
        found = set()
        for row in collection.catalogue("indexed"):
            if row.content_hash is None or row.content_hash in found:
                continue
            if beginnings and not (row.path + b"/").startswith(beginnings):
                continue
            if (earliest is not None and row.mtime_ns < earliest) or (latest is not None and row.mtime_ns >= latest):
                continue
            if self.asks_labels:
                label = folder_label(row.path) if listed is None else listed.get(row.path)
                if label in self.not_labels or (self.labels is not None and label not in self.labels):
                    continue
            found.add(row.content_hash)
        return sorted(found)

    def __str__(self) -> str:
        """What is asked, for people."""
        parts = [_words("label", self.labels or ()), _words("no label", self.not_labels)]
        parts.append(_words("folder", self.folders))
        if self.labels is not None and not self.labels:
            parts.append("no label at all")
        if self.modified_from_ns is not None or self.modified_before_ns is not None:
            parts.append("time of modification")
        return "; ".join(part for part in parts if part) or "everything"


def _inner_folder(folder: str) -> str:
    """A folder as names have it, "." for all."""
    inner = posixpath.normpath(folder)
    if inner.startswith("/") or inner.split("/")[0] == "..":
        raise ConfigError(f'"{folder}" is no folder within the collection. → its name relative to that, like 2019/Roma')
    return inner


def _beginnings(folders: Iterable[str]) -> tuple[bytes, ...]:
    """What a name with a "/" at its end begins with; nothing where all names fit."""
    names = set(folders)
    return () if "." in names else tuple(os.fsencode(name) + b"/" for name in sorted(names))


def _words(what: str, names: Iterable[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return f"{what} {', '.join(shown[:3])}{more}" if shown else ""


EVERYTHING = Selection()
"""Nothing is asked, so all pictures may be found."""
