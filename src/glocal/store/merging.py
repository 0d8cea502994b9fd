"""Several collections -> one, and one -> several. Sources are only read; results appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from glocal.errors import ConfigError, NothingToDo
from glocal.store.copying import NameOf, Taken, new_collection
from glocal.store.drafts import draft_beside, expect_free, move_into_place
from glocal.store.sources import Source, expect_same_extractor, open_source

PartOf = Callable[[bytes], int | None]
"""A photo's name -> the number of the part that it goes to; None for none."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What `merge` did.

    Attributes:
        counts: of the new collection, as `Collection.counts`.
        root: the folder of its photos; None where a source did not know its own.
        prefixes: what stands before the names of each source's photos, source by source; "" for nothing.
        taken: what each of them brought.
    """

    counts: dict[str, int]
    root: Path | None
    prefixes: tuple[str, ...]
    taken: tuple[Taken, ...]


def merge(sources: Sequence[Path], into: Path) -> Merged:
    """Make one collection of several.

    Its folder is the deepest one that holds the folders of all; names get the way from there as a prefix. Where a
    source does not know its folder, its own name is the prefix, and the new collection knows none. Equal pictures are
    stored once. Of two files of one name the one that was found, then the newer one is kept.

    Args:
        sources: directories of collections of the same extractor, at least one.
        into: where the new one goes; free.

    Raises:
        SpecMismatch: they were made by different extractors; the difference is named.
        StoreError: one of them is missing or damaged, or there is something at `into`.
        DiskFull: no space is left; nothing half-written stays.
    """
    expect_free(into)
    with ExitStack() as stack:
        opened = [stack.enter_context(open_source(directory)) for directory in sources]
        expect_same_extractor(opened)
        root, prefixes = _common_folder(opened)
        draft = stack.enter_context(draft_beside(into))
        new = stack.enter_context(new_collection(draft, opened[0]))
        taken = tuple(new.take(each, _under(prefix)) for each, prefix in zip(opened, prefixes, strict=True))
        counts = new.finish(root)
        move_into_place(draft, into)
    return Merged(counts, root, tuple(map(os.fsdecode, prefixes)), taken)


def _common_folder(sources: Sequence[Source]) -> tuple[Path | None, list[bytes]]:
    roots = [source.collection.root for source in sources]
    known = [os.fsencode(root) for root in roots if root is not None]
    if len(known) < len(roots):
        return None, _distinct([_name_of(source.place) for source in sources])
    common = os.path.commonpath(known)
    ways = [os.path.relpath(root, common) for root in known]
    return Path(os.fsdecode(common)), [b"" if way == b"." else way for way in ways]


def _name_of(directory: Path) -> bytes:
    """The name of an index; one in `.glocal` has that of its folder."""
    place = directory.resolve()
    return os.fsencode(place.parent.name if place.name.startswith(".") else place.name) or b"index"


def _distinct(names: Sequence[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for name in names:
        number, free = 2, name
        while free in found:
            number, free = number + 1, b"%s-%d" % (name, number)
        found.append(free)
    return found


def _under(prefix: bytes) -> NameOf:
    return lambda path: os.path.join(prefix, path)


def split(source: Path, into: Sequence[Path], part_of: PartOf, folder: bytes = b"") -> list[dict[str, int]]:
    """Make several collections of one.

    Each appears whole or not at all; all are written before the first appears.

    Args:
        source: directory of the collection.
        into: where the parts go; free.
        part_of: which photo goes to which of them; what goes to none is left out.
        folder: where all photos of the first part lie, if they do; it becomes that part's folder.

    Returns:
        The counts of each, as `Collection.counts`.

    Raises:
        StoreError: there is no such collection, it is damaged, or there is something at one of the places.
        NothingToDo: a part would be empty.
        DiskFull: no space is left; nothing half-written stays.
    """
    if len({place.absolute() for place in into}) < len(into):
        raise ConfigError("two parts have the same place → give each its own")
    counts = []
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source))
        root = opened.collection.root
        drafts = [stack.enter_context(draft_beside(place)) for place in into]
        for number, (place, draft) in enumerate(zip(into, drafts, strict=True)):
            top = folder if number == 0 else b""
            with new_collection(draft, opened) as new:
                if not new.take(opened, _part(part_of, number, top)).photos:
                    raise NothingToDo(
                        f"No photo of {source} goes to {place}: nothing was written. → glocal info {source}"
                    )
                counts.append(new.finish(root / os.fsdecode(top) if root else None))
        for draft, place in zip(drafts, into, strict=True):
            move_into_place(draft, place)
    return counts


def _part(part_of: PartOf, number: int, top: bytes) -> NameOf:
    skipped = len(top) + 1 if top else 0
    return lambda path: path[skipped:] if part_of(path) == number else None


def by_folder(folder: str) -> tuple[PartOf, bytes]:
    """Photos below a folder are the first part, all others the second; gives the folder's clean name too.

    Raises:
        ConfigError: it leads out of the photos' folder.
    """
    clean = os.path.normpath(os.fsencode(folder))
    if os.path.isabs(clean) or clean in (b".", b"..") or clean.startswith(b"../"):
        raise ConfigError(f'"{folder}" is no folder inside that of the photos → a name as in glocal info --json')
    return lambda path: 0 if path.startswith(clean + b"/") else 1, clean


def by_names(source: Path, names: Sequence[str]) -> PartOf:
    """Photos of a list are the first part, all others the second.

    Raises:
        StoreError: there is no such collection.
        ConfigError: a name is not in it.
    """
    wanted = {os.path.normpath(os.fsencode(name)) for name in names}
    missing = wanted - set(_paths(source))
    if missing:
        raise ConfigError(
            f"{len(missing):,} of {len(wanted):,} names are not in the index in {source}, "
            f'first "{os.fsdecode(min(missing))}" → names are relative to the folder, see glocal info --json'
        )
    return lambda path: 0 if path in wanted else 1


def evenly(source: Path, num_parts: int) -> PartOf:
    """About as many photos for each part, in the order of their names: folders stay together as far as they can.

    Raises:
        StoreError: there is no such collection.
    """
    paths = _paths(source)
    bounds = [paths[len(paths) * part // num_parts] for part in range(1, num_parts)] if len(paths) >= num_parts else []
    return lambda path: sum(path >= bound for bound in bounds)


def _paths(source: Path) -> list[bytes]:
    with open_source(source) as opened:
        paths: list[bytes] = [row.path for row in opened.collection.catalogue()]
    return paths
