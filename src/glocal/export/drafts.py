"""Files that appear at the end of a run, each whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from glocal.errors import ConfigError, DiskFull

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """What a library says when it cannot write, in words.

    Raises:
        DiskFull: no space is left.
        ConfigError: anything else that the system refuses.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # HDF5 and FAISS raise RuntimeError, some without an errno
        text = str(error)
        if getattr(error, "errno", None) in _FULL or any(os.strerror(code) in text for code in _FULL):
            raise DiskFull(
                f"Disk full: {place} could not be written, and nothing half-written is left. "
                "→ free some space, or --out /bigdisk/x"
            ) from error
        reason = getattr(error, "strerror", None) or text.partition("\n")[0] or type(error).__name__
        raise ConfigError(f"cannot write {place}: {reason} → choose another place with --out") from error


@contextmanager
def open_text(draft: Path, place: Path) -> Iterator[TextIO]:
    """A file for UTF-8 text that will be at `place`; what is written to it goes inside `explained`.

    Raises:
        DiskFull: no space is left for what was not written yet.
        ConfigError: it cannot be written.
    """
    file = draft.open("w", encoding="utf-8", newline="")
    try:
        yield file
        with explained(place):
            file.flush()
    finally:
        with suppress(OSError):  # a failed flush fails again; it has been told
            file.close()


class Drafts:
    """Some files under temporary names beside their places; `publish` moves them there.

    What is not published is removed at the end of the `with` block. A process that is killed leaves files named
    `.glocal-….tmp`, and nothing under the names that count.
    """

    def __init__(self, force: bool = False) -> None:
        """Nothing is made yet.

        Args:
            force: replace files that are there already.
        """
        self._force = force
        self._drafts: dict[Path, Path] = {}

    def __enter__(self) -> Drafts:
        return self

    def __exit__(self, *_: object) -> None:
        for draft in self._drafts.values():
            draft.unlink(missing_ok=True)

    def add(self, place: Path) -> Path:
        """The temporary name, an empty file, of one that shall be at `place`; folders are made.

        Raises:
            ConfigError: there is a file already, two of the files have one place, or it cannot be written.
            DiskFull: no space is left.
        """
        if place in self._drafts:
            raise ConfigError(f"two different files are to be written to {place} → give them different names")
        self._refuse_existing(place)
        draft = place.parent / f".glocal-{secrets.token_hex(8)}.tmp"
        with explained(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        self._drafts[place] = draft
        return draft

    def publish(self) -> list[Path]:
        """Make all files durable and move them to their places, in the order in which they were added.

        Each one is seen whole or not at all. A kill between two of these moves leaves the first without the second.

        Returns:
            The places.

        Raises:
            ConfigError: a file has come to be at one of them meanwhile.
            DiskFull: no space is left.
        """
        for place, draft in self._drafts.items():
            self._refuse_existing(place)
            with explained(place):
                _sync(draft, os.O_RDWR)
        places = list(self._drafts)
        for place in places:
            with explained(place):
                self._drafts[place].replace(place)
            del self._drafts[place]
        for folder in {place.parent for place in places}:
            with explained(folder):
                _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
        return places

    def _refuse_existing(self, place: Path) -> None:
        if place.is_dir():
            raise ConfigError(f"{place} is a folder → choose another place with --out")
        if place.parent.is_file():
            raise ConfigError(f"{place.parent} is a file → --out takes a folder")
        if not self._force and os.path.lexists(place):
            raise ConfigError(f"{place} exists already → --force replaces it, or choose another place with --out")


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
