"""The index file beside the database: handed to FAISS only if the database vouches for every byte of it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from glocal.errors import StoreError
from glocal.index.faiss_lists import InvertedLists, checksum, installed_version
from glocal.index.voucher import NAME, Voucher
from glocal.store.schema import sync_directory

DRAFT_NAME = "nearest.part"


def open_lists(directory: Path, voucher: Voucher, dim: int) -> InvertedLists:
    """Check a file and map it into memory; reading it once for the checksum is most of the time.

    Args:
        directory: of the collection.
        voucher: what the collection says about the file.
        dim: D of the collection.

    Raises:
        BackendUnavailable: FAISS is not installed.
        StoreError: the file is missing, damaged, another one, or of a newer FAISS.
    """
    installed = installed_version()
    if _release(installed) < _release(voucher.faiss):
        raise StoreError(f"FAISS {voucher.faiss} wrote it, and {installed} is installed")
    descriptor = _open(directory / voucher.file, voucher.num_bytes)
    try:
        if checksum(descriptor) != voucher.crc32:
            raise StoreError("it is damaged: its checksum differs")
        return InvertedLists.read(descriptor, voucher.num, dim, voucher.num_lists, voucher.setting)
    except OSError as error:
        raise StoreError(f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def check_size(directory: Path, voucher: Voucher) -> None:
    """See at a glance whether the file can be the one.

    Raises:
        StoreError: it is missing or of another size.
    """
    os.close(_open(directory / voucher.file, voucher.num_bytes))


def _open(file: Path, size: int) -> int:
    try:
        # Without O_NONBLOCK a pipe of this name would have us wait for a writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise StoreError("it is missing") from error
    except OSError as error:
        raise StoreError(f"it cannot be read: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size != size:
        os.close(descriptor)
        raise StoreError(f"it is damaged: {found.st_size:,} bytes instead of {size:,}")
    return descriptor


def write_lists(directory: Path, lists: InvertedLists) -> tuple[str, int, int]:
    """Write a file that appears whole or not at all, under a name of its own; durable when this returns.

    Until the database vouches for it, it means nothing.

    Returns:
        Its name, bytes and CRC-32.

    Raises:
        OSError: the system refuses; no draft is left.
    """
    draft = directory / DRAFT_NAME
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(draft, flags, 0o600)
    try:
        try:
            num_bytes, crc32 = lists.write(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        name = f"nearest.{crc32:08x}.faiss"
        os.replace(draft, directory / name)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(directory)
    return name, num_bytes, crc32


def clear_away(directory: Path, keep: str | None) -> None:
    """Remove drafts and files that the database does not vouch for; the caller holds the writer lock.

    A process that has one of them mapped goes on with it.
    """
    for entry in os.scandir(directory):
        if entry.name != keep and (entry.name == DRAFT_NAME or NAME.fullmatch(entry.name)):
            os.unlink(entry.path)


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version: 1.15.1 -> (1, 15, 1); what is no number ends it."""
    parts = re.match(r"\d{1,6}(\.\d{1,6}){0,5}", version)
    return tuple(map(int, parts[0].split("."))) if parts else ()
