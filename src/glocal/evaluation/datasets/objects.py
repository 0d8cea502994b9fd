"""One's own photos with a label each: a folder per object, or a CSV file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.lists import Row, csv_rows, folder_rows
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery, Corners, Indices
from glocal.evaluation.datasets.reading import MAX_PHOTOS, as_numbers, corners_of, distinct
from glocal.evaluation.protocol import OBJECTS

FILE = "labels.csv"
MAX_ANSWERS = 100_000_000  # of all queries together; eight bytes each
_YES, _NO = frozenset(("1", "true", "yes")), frozenset(("0", "false", "no", "", "none", "nan"))
_BOX = ("x", "y", "w", "h")
_TRAIN = "train"


@dataclass(frozen=True, slots=True)
class _Object:
    """One line of a list: a photo, or a part of it."""

    file: str
    label: str | None
    corners: Corners | None
    asked: bool
    searched: bool


def read_folders(folder: Path) -> Benchmark:
    """A folder per object: every photo asks for the others of its folder; photos beside the folders are distractors.

    Raises:
        ConfigError: no such folder, or no two photos in one folder.
    """
    top = os.path.abspath(folder)
    if not os.path.isdir(top):
        raise ConfigError(f"No such folder: {folder} → check the path")
    rows = folder_rows(folder)
    objects = (_Object(os.path.relpath(row.source, top), row.label, None, True, True) for row in rows)
    return _benchmark(os.path.basename(top), Path(top), objects, keep_lonely=False)


def read_table(path: Path) -> Benchmark:
    """A CSV file with the columns path and label, and where wanted split, is_query, is_gallery, x, y, w, h.

    Paths are relative to the file. Without is_query every photo with a partner asks for the others of its label, and
    is junk for itself; with it, those lines ask and the others are searched, unless is_gallery says which are. Lines
    whose split is "train" are left out. A box is what the query asks for, in pixels.

    Raises:
        ConfigError: no such file, or a malformed line, with its photo.
    """
    root = os.path.dirname(os.path.abspath(path))
    columns: frozenset[str] = frozenset()
    objects = []
    for row in csv_rows(path, root, "see the documentation of own data"):
        columns = columns or frozenset(row.about)
        if (row.about.get("split") or "").strip().lower() != _TRAIN:
            objects.append(_object(row, columns, root, path))
        if len(objects) > MAX_PHOTOS:
            raise ConfigError(f"{path}: more than {MAX_PHOTOS:,} photos")
    return _benchmark(path.stem, Path(root), objects, keep_lonely="is_query" in columns)


def _object(row: Row, columns: frozenset[str], root: str, path: Path) -> _Object:
    where = f"{path}: {row.about['path'][:200]}"
    asked = searched = True
    if "is_query" in columns:
        asked = _yes(row.about, "is_query", where)
        searched = _yes(row.about, "is_gallery", where) if "is_gallery" in columns else not asked
        if asked and row.label is None:
            raise ConfigError(f"{where} is a query without a label → write what it shows, or is_query 0")
    return _Object(os.path.relpath(row.source, root), row.label, _corners(row.about, columns, where), asked, searched)


def _yes(about: Mapping[str, Any], column: str, where: str) -> bool:
    word = about[column].strip().lower()
    if word not in _YES and word not in _NO:
        raise ConfigError(f'{where}: {column} is 1 or 0, not "{word[:40]}"')
    return word in _YES


def _corners(about: Mapping[str, Any], columns: frozenset[str], where: str) -> Corners | None:
    if not columns & set(_BOX):
        return None
    words = [about.get(column, "").strip() for column in _BOX]
    if not any(words):
        return None
    try:
        x, y, width, height = as_numbers([float(word) for word in words], 4, f"{where}: its box")
    except ValueError as error:
        raise ConfigError(
            f"{where}: x, y, w, h must be four numbers or all empty, not {','.join(words)[:100]}"
        ) from error
    if width <= 0 or height <= 0:
        raise ConfigError(f"{where}: a box of {width:g} × {height:g} pixels → w and h are its size")
    return corners_of(x, y, width, height)


def _benchmark(name: str, root: Path, objects: Iterable[_Object], keep_lonely: bool) -> Benchmark:
    """The benchmark of some objects.

    Args:
        name: what it is called.
        root: of the photos.
        objects: photos with their labels.
        keep_lonely: queries with nothing to find stay in, without counting, instead of not being asked.
    """
    objects = tuple(objects)
    index: dict[str, int] = {}
    members: dict[str, list[int]] = {}
    for each in objects:
        if each.searched:
            i = index.setdefault(each.file, len(index))
            if each.label is not None:
                members.setdefault(each.label, []).append(i)
    of_label = {label: np.unique(np.array(found, np.int64)) for label, found in members.items()}
    asked: list[tuple[_Object, Indices]] = []
    lonely = num_answers = 0
    for each in objects:
        if not each.asked or each.label is None:
            continue
        right = of_label.get(each.label, np.empty(0, np.int64))
        right = right[right != index.get(each.file, -1)]
        lonely += not len(right)
        num_answers += len(right)
        if num_answers > MAX_ANSWERS:
            raise ConfigError(f"{root}: more than {MAX_ANSWERS:,} pairs of photos → ask fewer: is_query in a CSV file")
        if len(right) or keep_lonely:
            asked.append((each, right))
    if not asked:
        raise ConfigError(f"{root}: no label has two photos, so that there is nothing to ask → one folder per object")
    queries = tuple(
        BenchmarkQuery(
            unique,
            each.file,
            each.corners,
            {"ok": right} | ({"junk": np.array([index[each.file]], np.int64)} if each.file in index else {}),
            index.get(each.file),
        )
        for unique, (each, right) in zip(distinct(each.file for each, _ in asked), asked, strict=True)
    )
    notes = [f"own data: {len(index):,} photos, {len(queries):,} queries; compare with no published number"]
    if lonely:
        notes.append(f"{lonely:,} labelled photos have no other of their label to find, and do not count")
    return Benchmark(name, OBJECTS, root, tuple(index), tuple(index), queries, tuple(notes))
