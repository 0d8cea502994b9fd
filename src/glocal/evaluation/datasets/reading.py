"""What all readers check: names stay inside their folder, indices inside the gallery, boxes are boxes."""

from __future__ import annotations

import json
import math
import os
import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.formats import is_picture_name
from glocal.data.input_file import read_whole, shown
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Corners, Indices

MAX_JSON = 256 << 20  # bytes
MAX_NAME = 1000  # characters
MAX_PHOTOS = 20_000_000


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ConfigError: no such file, too large, or no JSON.
    """
    try:
        return json.loads(read_whole(path, MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no JSON: {str(error)[:200]} → check the path") from error


def as_names(value: Any, where: str) -> tuple[str, ...]:
    """A list of names.

    Raises:
        ConfigError: it is no list of texts.
    """
    if not isinstance(value, list | tuple) or len(value) > MAX_PHOTOS:
        raise ConfigError(f"{where} must be a list of names, not {shown(value)}")
    for name in value:
        if not isinstance(name, str) or not name or len(name) > MAX_NAME:
            raise ConfigError(f"{where}: {shown(name)} is no name")
    return tuple(value)


def inside(name: str, where: str) -> str:
    """A name as a path below a folder, with "/" between its parts.

    Raises:
        ConfigError: it would leave the folder.
    """
    path = posixpath.normpath(name)
    if not name or "\0" in name or path.startswith(("/", "../")) or path in (".", ".."):
        raise ConfigError(f'{where}: "{name[:200]}" is not inside the folder of the data → write a path relative to it')
    return path


def as_indices(value: Any, count: int, where: str, first: int = 0) -> Indices:
    """Photos of a gallery, ascending, each once, counted from 0.

    Args:
        value: a list or array of whole numbers, which MATLAB writes as floats.
        count: photos in the gallery.
        where: what a message names.
        first: the number of the first photo; 1 in MATLAB.

    Raises:
        ConfigError: it is no list of numbers, or one of them is no photo.
    """
    if isinstance(value, np.ndarray):
        value = value.reshape(-1).tolist()
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where} must be a list of numbers, not {shown(value)}")
    for number in value:
        whole = isinstance(number, int | float) and not isinstance(number, bool) and number == number // 1
        if not whole or not first <= number < count + first:
            raise ConfigError(
                f"{where}: {shown(number)} is none of the photos {first} to {count - 1 + first:,}"
                " → is the list of photos another one?"
            )
    return np.unique(np.asarray(value, np.int64) - first) if len(value) else np.empty(0, np.int64)


def as_numbers(value: Any, count: int, where: str) -> tuple[float, ...]:
    """So many finite numbers, of a list or an array of any shape.

    Raises:
        ConfigError: they are not.
    """
    if isinstance(value, np.ndarray):
        value = value.reshape(-1).tolist()
    numbers = value if isinstance(value, list | tuple) else ()
    fits = len(numbers) == count and all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    if not fits or not all(math.isfinite(n) and abs(n) < 2**31 for n in numbers):
        raise ConfigError(f"{where} must be {count} numbers, not {shown(value)}")
    return tuple(float(number) for number in numbers)


def as_corners(value: Any, where: str) -> Corners:
    """A box of x1, y1, x2, y2.

    Raises:
        ConfigError: they are not four numbers, or the box is empty.
    """
    x1, y1, x2, y2 = as_numbers(value, 4, where)
    if x2 <= x1 or y2 <= y1:
        raise ConfigError(f"{where}: {x1:g},{y1:g},{x2:g},{y2:g} is no box → write x1,y1,x2,y2, not x,y,width,height")
    return x1, y1, x2, y2


def corners_of(x: float, y: float, width: float, height: float) -> Corners:
    """x, y, width, height as x1, y1, x2, y2."""
    return x, y, x + width, y + height


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names with "#2", "#3" … after those that were before: one photo may be asked about twice."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(made)


def position_of(names: Sequence[str]) -> dict[str, int]:
    """Name -> its index; of a name that is there twice, the first."""
    return {name: i for i, name in reversed(list(enumerate(names)))}


def pictures_in(folder: Path) -> list[str]:
    """Names of the picture files in a folder, sorted.

    Raises:
        ConfigError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if is_picture_name(os.fsencode(entry.name)))
    except OSError as error:
        raise ConfigError(f"cannot read {folder}: {error.strerror} → check the path") from error


def find_photos_named(pattern: re.Pattern[str], folders: Sequence[Path], example: str) -> tuple[Path, tuple[str, ...]]:
    """The first of some folders that has photos whose names match, and those names, sorted.

    Args:
        pattern: of a whole name.
        folders: where to look; the last is the one that the user named.
        example: of a name, for the message.

    Raises:
        ConfigError: none has.
    """
    for folder in folders:
        files = tuple(name for name in pictures_in(folder) if pattern.fullmatch(name)) if folder.is_dir() else ()
        if files:
            return folder, files
    raise ConfigError(f"No photos such as {example} in {folders[0]} or {folders[-1]} → --data DIR")
