"""A folder -> what has changed since it was last indexed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from glocal.data.formats import is_picture_name

INDEX_DIRECTORY = b".glocal"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that counts as a picture by its name.

    Attributes:
        path: relative to the folder, as the file system spells it.
        size: bytes.
        mtime_ns: modification time in nanoseconds.
        refusal: reason code if it is not a regular file, else None.
    """

    path: bytes
    size: int
    mtime_ns: int
    refusal: str | None = None


@dataclass(slots=True)
class FolderScan:
    """All that one walk through a folder saw.

    Attributes:
        pictures: files that count as pictures, ordered by path.
        num_ignored: other files.
        unlisted: directories that could not be listed, with the reason.
    """

    pictures: list[FoundFile] = field(default_factory=list)
    num_ignored: int = 0
    unlisted: list[tuple[bytes, str]] = field(default_factory=list)


class KnownFile(Protocol):
    """What the catalogue remembers of a file."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def mtime_ns(self) -> int:
        """Modification time in nanoseconds."""

    @property
    def status(self) -> str:
        """`indexed`, `rejected` or `missing`."""

    @property
    def reason(self) -> str | None:
        """Code of a rejection."""


@dataclass(slots=True)
class Changes:
    """How a folder differs from the catalogue.

    Attributes:
        new: files under a name that is not known.
        changed: known files of another size or time, or to be tried again.
        returned: hidden files that are there again, unchanged.
        known: number of unchanged files.
        gone: known names that are not there any more.
    """

    new: list[FoundFile] = field(default_factory=list)
    changed: list[FoundFile] = field(default_factory=list)
    returned: list[FoundFile] = field(default_factory=list)
    known: int = 0
    gone: list[bytes] = field(default_factory=list)


def scan_folder(root: bytes) -> FolderScan:
    """Walk a folder; links are never followed, hidden directories not entered.

    Args:
        root: absolute path of the folder.
    """
    scan = FolderScan()
    for entry in walk(root, b"", scan):
        path = os.path.relpath(entry.path, root)
        if not is_picture_name(entry.name):
            scan.num_ignored += 1
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it vanished between listing and looking
        scan.pictures.append(FoundFile(path, status.st_size, status.st_mtime_ns, _refusal(entry, status, root)))
    scan.pictures.sort(key=lambda found: found.path)
    return scan


def walk(root: bytes, relative: bytes, scan: FolderScan) -> Iterator[os.DirEntry[bytes]]:
    """All entries below a folder that are no folders; those folders that cannot be listed are noted in `scan`.

    Args:
        root: absolute path.
        relative: where to begin, within it.
        scan: takes the notes.
    """
    pending = [relative]  # a list, not recursion: folders can be nested deeper than Python's stack
    while pending:
        directory = pending.pop()
        try:
            with os.scandir(os.path.join(root, directory)) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            scan.unlisted.append((directory, (error.strerror or "cannot be listed").lower()))
            continue
        for entry in listed:
            if not entry.is_dir(follow_symlinks=False):
                yield entry
            elif not entry.name.startswith(b"."):
                pending.append(os.path.join(directory, entry.name))


def _refusal(entry: os.DirEntry[bytes], status: os.stat_result, root: bytes) -> str | None:
    if stat.S_ISREG(status.st_mode):
        return None
    if stat.S_ISLNK(status.st_mode):
        target = os.path.realpath(entry.path)
        inside = target.startswith(os.path.join(os.path.realpath(root), b""))
        return "not_regular_file" if inside else "outside_root"
    return "not_regular_file"


def compare(scan: FolderScan, known: Mapping[bytes, KnownFile], retry_rejected: bool = False) -> Changes:
    """Sort what was found into new, changed, returned, unchanged and gone.

    Args:
        scan: the folder as it is.
        known: path -> what the catalogue remembers.
        retry_rejected: treat files that were refused before as changed.
    """
    changes = Changes()
    present = set()
    for found in scan.pictures:
        present.add(found.path)
        before = known.get(found.path)
        if before is None:
            changes.new.append(found)
        elif (before.size, before.mtime_ns) != (found.size, found.mtime_ns):
            changes.changed.append(found)
        elif before.status == "rejected" and (retry_rejected or before.reason == "unreadable"):
            changes.changed.append(found)  # permissions change without a trace in the modification time
        elif before.status == "missing":
            changes.returned.append(found)
        else:
            changes.known += 1
    unlisted = [os.path.join(directory, b"") if directory else b"" for directory, _ in scan.unlisted]
    changes.gone = [
        path
        for path, before in known.items()
        if path not in present and before.status != "missing" and not any(path.startswith(d) for d in unlisted)
    ]
    return changes
