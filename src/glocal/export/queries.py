"""Which photos an export asks for: those of a list or of a folder, told apart by whether the index has them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from glocal.errors import REASONS, ConfigError, NothingToDo
from glocal.export.photos import listed
from glocal.store.contract import PhotoCollection
from glocal.store.scan import scan_folder

MAX_LINE = 1 << 16
"""Bytes of a line in a list of photos."""


@dataclass(slots=True)
class Queries:
    """The photos that are asked for.

    Attributes:
        stored: paths of those that the index has, relative to its folder.
        outside: absolute path -> name, of those that have to be described first.
        refused: names of files in a folder that are no regular files, with the reason.
    """

    stored: set[bytes] = field(default_factory=set)
    outside: dict[bytes, str] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Found:
    """A photo by all that it can be called.

    Attributes:
        file: absolute path.
        name: what it is called if it lies outside of the index's folder.
    """

    file: bytes
    name: str


def read_queries(source: Path, collection: PhotoCollection) -> Queries:
    """The photos of a folder, or those that the lines of a text file name.

    A line is a path: relative to the index's folder, to the list's folder or to the current one, in this order, or
    absolute. Empty lines and those that begin with "#" do not count; what follows a name and a blank (hloc's lists have
    intrinsics there) is left out. A photo below the index's folder is called by its path from there; others by what the
    line says, or by their path in the folder that was given.

    Args:
        source: the folder or the list.
        collection: what is searched.

    Raises:
        ConfigError: no such file, or a line names no photo; the first is named with its line.
        NothingToDo: there is no photo in it.
    """
    root = None if collection.root is None else os.path.realpath(os.fsencode(collection.root))
    queries = Queries()
    inside: dict[bytes, _Found] = {}
    for found in _in_folder(source, queries) if source.is_dir() else _in_list(source, root):
        relative = None if root is None else _below(root, found.file)
        if relative is None:
            queries.outside.setdefault(found.file, found.name)
        else:
            inside.setdefault(relative, found)
    if inside:
        queries.stored = {row.path for row in listed(collection) if row.path in inside}
        for relative, found in inside.items():
            if relative not in queries.stored:
                queries.outside.setdefault(found.file, os.fsdecode(relative))
    if not queries.stored and not queries.outside:
        raise NothingToDo(f"{source} names no photo → --queries takes a folder of photos, or a list of one per line")
    return queries


def _in_folder(folder: Path, queries: Queries) -> Iterator[_Found]:
    top = os.path.realpath(os.fsencode(folder))
    for picture in scan_folder(top).pictures:
        if picture.refusal is None:
            yield _Found(os.path.join(top, picture.path), os.fsdecode(picture.path))
        else:
            queries.refused.append((os.fsdecode(picture.path), REASONS[picture.refusal]))


def _in_list(path: Path, root: bytes | None) -> Iterator[_Found]:
    folders = [folder for folder in (root, os.path.realpath(os.fsencode(path.parent)), os.getcwdb()) if folder]
    for number, line in _lines(path):
        if not line or line.startswith(b"#"):
            continue
        # The whole line first: names may have blanks.
        spellings = dict.fromkeys((line, line.split()[0]))
        hits = (hit for spelling in spellings for folder in folders if (hit := _photo(folder, spelling)))
        found = next(hits, None)
        if found is None:
            text = os.fsdecode(line[:200])
            raise ConfigError(
                f'{path}, line {number}: no such photo: "{text}" → paths are relative to the index\'s folder'
            )
        yield found


def _photo(folder: bytes, spelling: bytes) -> _Found | None:
    if b"\0" in spelling:
        return None
    full = os.path.normpath(os.path.join(folder, spelling))
    if not os.path.isfile(full):
        return None
    # Links in the folders above are resolved, so that one place has one name; a link itself is refused when it is read.
    file = os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))
    relative = os.path.normpath(spelling)
    leaves = os.path.isabs(spelling) or relative.startswith(b"../")
    return _Found(file, os.fsdecode(file.lstrip(b"/") if leaves else relative))


def _below(root: bytes, file: bytes) -> bytes | None:
    """A path from a folder on; None if it is elsewhere."""
    start = os.path.join(root, b"")
    return file[len(start) :] if file.startswith(start) else None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without white space around them, each of bounded length."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read {path}: {reason} → --queries takes a folder or a list") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"cannot read {path}: it is no regular file → --queries takes a folder or a list")
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise ConfigError(f"{path}, line {number}: longer than {MAX_LINE >> 10} KiB → one photo per line")
            yield number, (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()
