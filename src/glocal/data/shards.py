"""Tar shards (webdataset): which bytes of the file are which member. Nothing is ever extracted.

Every shard is hostile: headers are read one by one with a bound on each, links and devices are refused, and a member
must lie inside the file. Compressed archives are not read: a photo could not be found by its offset.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from glocal.data.image import LIMITS, DecodeLimits
from glocal.data.input_file import open_input
from glocal.errors import ConfigError, ImageError

MAX_MEMBERS = 20_000_000
_BLOCK = tarfile.BLOCKSIZE
_MAX_EXTENSION = 1 << 16  # bytes of a pax header or long name; real ones have some hundred
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_DIGITS = 19  # of the largest file size


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a tar.

    Attributes:
        name: with its folders, as the tar has it.
        offset: of its first byte in the tar.
        size: in bytes.
    """

    name: str
    offset: int
    size: int


def index_shard(path: str | Path) -> Iterator[Member]:
    """The regular files of a tar, in its order; only headers are read.

    Raises:
        ConfigError: no tar, a damaged header, a link or device, or a member that leaves the file.
    """
    with open_input(path, hint="data.path") as file:
        end = os.fstat(file.fileno()).st_size
        position, count = 0, 0
        extension: dict[str, str] = {}  # what a pax header or long name says of the next member
        while header := _header(file, path, position):
            start = position + _BLOCK
            size = _size(extension.get("size"), header.size, path, position)
            if start + size > end:
                raise _damaged(path, position, f"a member of {size:,} bytes leaves the file, which ends at {end:,}")
            if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
                if size > _MAX_EXTENSION:
                    raise _damaged(path, position, f"an extended header of {size:,} bytes")
                said = _extension(header.type, file.read(size), path, position)
                if header.type == tarfile.XGLTYPE and said:
                    raise _damaged(path, position, "a header names or sizes all members at once")
                extension |= said
            else:
                name = extension.get("path", header.name)
                if header.type in _PLAIN:
                    yield Member(name, start, size)
                elif header.type != tarfile.DIRTYPE:
                    raise _damaged(path, position, f'"{name[:200]}" is a link, device or sparse file')
                extension = {}
            count += 1
            if count > MAX_MEMBERS:
                raise _damaged(path, position, f"more than {MAX_MEMBERS:,} members")
            position = start + -(-size // _BLOCK) * _BLOCK


def read_member(path: str, offset: int, size: int, limits: DecodeLimits = LIMITS) -> bytes:
    """The bytes of a member of a shard.

    Raises:
        ImageError: `empty`, `too_large_file`, `unreadable`, or `truncated` where the shard has become shorter.
    """
    if not size:
        raise ImageError("empty")
    if size > limits.max_bytes:
        raise ImageError("too_large_file", f"{size / 2**20:,.0f} MiB; the limit is {limits.max_bytes / 2**20:,.0f} MiB")
    try:
        with open_input(path, hint="data.path") as file:
            data = os.pread(file.fileno(), size, offset)
    except (ConfigError, OSError) as error:
        raise ImageError("unreadable", str(error)) from error
    if len(data) < size:
        raise ImageError("truncated", "the shard has become shorter since it was opened")
    return data


def _header(file: BinaryIO, path: str | Path, position: int) -> tarfile.TarInfo | None:
    """The header at a position; None at the end."""
    file.seek(position)
    try:
        return tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        # A block of zeros ends a tar, and so does, for lenient writers, the end of the file.
        kind = type(error).__name__
        if kind == "EOFHeaderError" or (kind == "EmptyHeaderError" and position):
            return None
        raise _damaged(path, position, f"no tar header ({error})") from error


def _size(said: str | None, size: int, path: str | Path, position: int) -> int:
    if said is not None:
        size = int(said) if said.isascii() and said.isdecimal() and len(said) <= _DIGITS else -1
    if size < 0:
        raise _damaged(path, position, "a size that is no number")
    return size


def _extension(kind: bytes, data: bytes, path: str | Path, position: int) -> dict[str, str]:
    """What an extended header says of name and size; times, owners and the like do not matter here."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": _text(data.split(b"\0")[0])}
    said = {}
    while data.strip(b"\0"):
        # A record is "LENGTH KEY=VALUE\n", and LENGTH counts all of it.
        digits, space, _ = data[: _DIGITS + 1].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record, data = data[:length], data[length:]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or len(record) < length or record[-1:] != b"\n":
            raise _damaged(path, position, "an extended header that makes no sense")
        if key.startswith(b"GNU.sparse"):
            raise _damaged(path, position, "a sparse file")
        if key in (b"path", b"size"):
            said[key.decode()] = _text(value)
    return said


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _damaged(path: str | Path, position: int, what: str) -> ConfigError:
    return ConfigError(f"{path} is not a shard that glocal reads: at byte {position:,}: {what} → make it again")
