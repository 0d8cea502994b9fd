"""What takes long to write is written beside its place and moved there in one step: it appears whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glocal.errors import DiskFull, StoreBusy, StoreError
from glocal.store.schema import sync_directory


@contextmanager
def draft_beside(place: Path) -> Iterator[Path]:
    """An empty directory `.NAME.partial` beside a place, for this process alone; gone at the end unless it was moved.

    A process that is killed leaves it behind, and the next one that writes to the same place clears it.

    Args:
        place: where the result will be: free, or an empty directory.

    Raises:
        StoreError: something is there already, or nothing can be made beside it.
        StoreBusy: another process is writing to this place.
        DiskFull: no space was left for what the block wrote.
    """
    expect_free(place)
    draft = place.absolute().parent / f".{place.name}.partial"
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir(mode=0o700, exist_ok=True)
        held = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(f"cannot write to {place}: {error.strerror} → choose another place") from error
    try:
        _hold(held, draft, place)
        _clear(draft)
        yield draft
    except DiskFull as error:
        raise DiskFull(
            f"Disk full: {place} could not be written, and nothing half-written is left. "
            "→ free some space, or choose another place"
        ) from error
    finally:
        if _is_same(held, draft):
            shutil.rmtree(draft, ignore_errors=True)
        os.close(held)  # frees the lock


def move_into_place(draft: Path, place: Path) -> None:
    """Give what was written its name; durable when this returns.

    Args:
        draft: a durable file or directory, beside `place` or in the directory of `draft_beside`.
        place: free, or an empty directory.

    Raises:
        StoreError: something has come to be there meanwhile.
    """
    expect_free(place)
    try:
        if place.is_dir() and not draft.is_dir():
            place.rmdir()
        os.rename(draft, place)
        sync_directory(place.absolute().parent)
    except OSError as error:
        raise StoreError(f"cannot write to {place}: {error.strerror} → choose another place") from error


def expect_free(place: Path) -> None:
    """Make sure that there is nothing at a place, or an empty directory.

    Raises:
        StoreError: there is.
    """
    if not os.path.lexists(place):
        if not place.name:
            raise StoreError(f'"{place}" is no name for something new → name a new place')
        return
    if place.is_symlink() or not place.is_dir() or any(place.iterdir()):
        raise StoreError(f"There is something in {place} already → name a new place, or move that away")


def _hold(held: int, draft: Path, place: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StoreBusy(f"{place} is being written by another process. → wait until it is done") from error
    if not _is_same(held, draft):  # whoever held it has finished between our two steps
        raise StoreBusy(f"{place} was being written by another process until now. → look what is there")


def _is_same(held: int, draft: Path) -> bool:
    """Whether the name still stands for the directory that is held."""
    try:
        return os.path.samestat(os.fstat(held), os.lstat(draft))
    except OSError:
        return False


def _clear(draft: Path) -> None:
    """Remove what a process that was killed has left."""
    for entry in list(os.scandir(draft)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
