"""The file of a stranger: a regular one of bounded size, opened, whole or by lines; and a piece of it in a message."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO

from glocal.errors import ConfigError

MAX_LINE = 4 << 20  # bytes; the largest landmark of GLDv2 has some ten thousand ids of 17
MAX_TEXT = 1 << 30
"""Bytes of a text. A hundred photos for each of the 118 thousand test photos of GLDv2 are 0.2 GiB."""
_CHECK = "check the path"
_SHOWN = 100


def open_input(path: str | Path, max_bytes: int | None = None, hint: str = _CHECK) -> BufferedReader:
    """Open a regular file, also through a link that the user named, without blocking on a pipe.

    Args:
        path: the file.
        max_bytes: what such a file has at most; None where no size is too large.
        hint: what to do where there is none.

    Raises:
        ConfigError: there is none, or it is larger than the limit.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error} → {hint}") from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise ConfigError(f"cannot read {path}: it is no regular file → {hint}")
    if max_bytes is not None and about.st_size > max_bytes:
        os.close(descriptor)
        raise _too_large(path, about.st_size, max_bytes)
    return os.fdopen(descriptor, "rb")


def size_of(file: IO[bytes]) -> int:
    """Bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def read_whole(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        ConfigError: there is none, it cannot be read, or it has more than `max_bytes`.
    """
    with open_input(path, max_bytes) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:  # it has grown
        raise _too_large(path, len(data), max_bytes)
    return data


def numbered_lines(path: Path, max_bytes: int | None = MAX_TEXT, hint: str = _CHECK) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 text, from 1, without their ends; each is bounded.

    Args:
        path: the file.
        max_bytes: what such a file has at most; None for lists of any length, of which a line at a time is held.
        hint: what to do where there is none.

    Raises:
        ConfigError: no such file, one that is too large, or no such text, with the line.
    """
    with open_input(path, max_bytes, hint) as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise ConfigError(f"{path}, line {number}: longer than {MAX_LINE >> 20} MiB → is it another file?")
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ConfigError(f"{path}, line {number}: not UTF-8 text ({error.reason}) → iconv -t utf-8") from error


def shown(value: object) -> str:
    """A value of a file for a message: a text in quotes, a number as it is, both cut; of all else what it is."""
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= _SHOWN else f'"{value[:_SHOWN]}…"'
    if value is None or isinstance(value, bool | int | float):
        return repr(value)[:_SHOWN]
    return f"a {type(value).__name__}"


def _too_large(path: str | Path, size: int, max_bytes: int) -> ConfigError:
    return ConfigError(f"{path} has {size:,} bytes; the limit for such a file is {max_bytes:,} → is it another one?")
