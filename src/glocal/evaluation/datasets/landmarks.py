"""Google Landmarks v2 (Weyand et al., CVPR 2020): the solution files, and retrieval as a benchmark."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from glocal.data.input_file import numbered_lines
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.datasets.published import notes_on_size
from glocal.evaluation.datasets.reading import MAX_PHOTOS
from glocal.evaluation.protocol import LANDMARKS

NAME = "gldv2"
FOLDERS = (NAME, "google-landmark", "google-landmarks-v2", "landmarks")
RETRIEVAL, RECOGNITION = "retrieval_solution_v2.1.csv", "recognition_solution_v2.1.csv"
IGNORED = "Ignored"
_USAGES = ("Public", "Private", IGNORED)
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_HEX = re.compile(r"[0-9a-f]{16}")
_MAX_DIGITS = 18

Solution = dict[str, tuple[tuple[str, ...], str]]
"""Query id -> ids of the index photos that are right, and Public, Private or Ignored."""
Labels = dict[str, tuple[tuple[int, ...], str]]
"""Query id -> landmarks, none where there is none to recognise, and Public, Private or Ignored."""


def read_retrieval_solution(path: Path, known: Collection[str] | None = None) -> Solution:
    """The solution of the retrieval task; ignored queries have no photos.

    Args:
        path: a CSV file, id,images,Usage, where images are ids with blanks between, or None.
        known: ids of the index, where its photos have to be among them.

    Raises:
        ConfigError: a malformed line, a query or a photo twice, or an unknown photo.
    """
    solution: Solution = {}
    for where, (query, images, usage) in _rows(path, ("id", "images", "Usage")):
        if usage not in _USAGES:
            raise ConfigError(f'{where}: Usage is {", ".join(_USAGES)}, not "{usage[:40]}"')
        ids = () if images == "None" else tuple(images.split())
        if not ids and usage != IGNORED:
            raise ConfigError(f'{where}: query "{query}" has no photos, but is not {IGNORED}')
        if len(set(ids)) < len(ids):
            raise ConfigError(f'{where}: query "{query}" names a photo twice')
        for name in ids:
            if not _ID.fullmatch(name) or (known is not None and name not in known):
                raise ConfigError(f'{where}: "{name[:80]}" is no photo of the index → is index.csv of another version?')
        solution[_new(query, solution, where)] = (() if usage == IGNORED else ids, usage)
    return solution


def read_recognition_solution(path: Path) -> Labels:
    """The solution of the recognition task.

    Args:
        path: a CSV file, id,landmarks,Usage, where landmarks are numbers with blanks between, or nothing.

    Raises:
        ConfigError: a malformed line, or a query twice.
    """
    solution: Labels = {}
    for where, (query, landmarks, usage) in _rows(path, ("id", "landmarks", "Usage")):
        if usage not in _USAGES:
            raise ConfigError(f'{where}: Usage is {", ".join(_USAGES)}, not "{usage[:40]}"')
        words = [] if landmarks == "None" else landmarks.split()
        for word in words:
            if not (word.isascii() and word.isdecimal() and len(word) <= _MAX_DIGITS):
                raise ConfigError(f'{where}: "{word[:80]}" is no landmark, which is a whole number')
        solution[_new(query, solution, where)] = (tuple(map(int, words)), usage)
    return solution


def read_landmarks(root: Path) -> Benchmark:
    """The retrieval task of GLDv2: Public and Private queries, scored apart; without photos `root` is None.

    Args:
        root: the folder that holds index.csv, retrieval_solution_v2.1.csv (and test.csv, if the queries are to be
            looked up in it), index/0/1/2/012….jpg and test/…; or a folder gldv2/, google-landmark/ … that does.

    Raises:
        ConfigError: a file is missing or malformed.
    """
    home = home_of(root, RETRIEVAL)
    gallery = _ids(home / "index.csv")
    position = {name: i for i, name in enumerate(gallery)}
    solution = read_retrieval_solution(home / RETRIEVAL, position)
    asked = {query: found for query, found in solution.items() if found[1] != IGNORED}
    _check_queries(home, asked)
    queries = tuple(
        BenchmarkQuery(
            query,
            photo_file("test", query),
            None,
            {usage.lower(): np.sort(np.array([position[name] for name in ids], np.int64))},
        )
        for query, (ids, usage) in asked.items()
    )
    files = tuple(photo_file("index", name) for name in gallery)
    photos = home if (home / "index").is_dir() and (home / "test").is_dir() else None
    notes = notes_on_size(NAME, len(gallery), len(queries))
    return Benchmark(NAME, LANDMARKS, photos, gallery, files, queries, notes)


def home_of(root: Path, file: str) -> Path:
    """The folder of GLDv2: the one that holds a file of its, at the root or in a folder of one of its usual names.

    Raises:
        ConfigError: none does.
    """
    homes = (root, *(root / name for name in FOLDERS))
    home = next((home for home in homes if (home / file).is_file()), None)
    if home is None:
        raise ConfigError(f"No {file} in {root} or {root / NAME} → --data DIR")
    return home


def unscored_ids(root: Path) -> frozenset[str]:
    """Test photos of the retrieval task that are not scored; a submission names them too.

    Raises:
        ConfigError: a file is missing or malformed.
    """
    home = home_of(root, RETRIEVAL)
    solution = read_retrieval_solution(home / RETRIEVAL)
    tests = set(_ids(home / "test.csv")) if (home / "test.csv").is_file() else set()
    return frozenset((tests | solution.keys()) - {query for query, (_, usage) in solution.items() if usage != IGNORED})


def _check_queries(home: Path, asked: Collection[str]) -> None:
    strange = next((query for query in asked if not _HEX.fullmatch(query)), None)
    if strange is not None:
        raise ConfigError(f'{home / RETRIEVAL}: "{strange}" is no image id (16 hexadecimal digits)')
    if (home / "test.csv").is_file():
        known = set(_ids(home / "test.csv"))
        unknown = next((query for query in asked if query not in known), None)
        if unknown is not None:
            raise ConfigError(f'{home / RETRIEVAL}: "{unknown}" is not in test.csv → is it of another version?')


def photo_file(folder: str, name: str) -> str:
    """Where a photo lies below GLDv2's folder."""
    return f"{folder}/{name[0]}/{name[1]}/{name[2]}/{name}.jpg"


def _ids(path: Path) -> tuple[str, ...]:
    """The ids of a list, one per line after the header "id"; other columns do not matter."""
    found: dict[str, None] = {}
    for number, line in numbered_lines(path):
        name = line.split(",", 1)[0]
        if number == 1:
            if name != "id":
                raise ConfigError(f'{path}, line 1: "id" was expected, not "{line[:100]}"')
            continue
        if not _HEX.fullmatch(name):
            raise ConfigError(f'{path}, line {number}: "{name[:80]}" is no image id (16 hexadecimal digits)')
        if name in found or len(found) >= MAX_PHOTOS:
            raise ConfigError(f'{path}, line {number}: "{name}" is listed twice, or there are too many')
        found[name] = None
    return tuple(found)


def _rows(path: Path, header: tuple[str, str, str]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Where each row is, for messages, and its three fields; no field of these files has a comma or quotes."""
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        first, *rest = line.split(",", 3)
        if len(rest) != 2 or '"' in line:
            raise ConfigError(f'{where}: "{",".join(header)}" was expected, not "{line[:100]}"')
        if number == 1:
            if (first, *rest) != header:
                raise ConfigError(f'{where}: "{",".join(header)}" was expected, not "{line[:100]}"')
            continue
        if not _ID.fullmatch(first):
            raise ConfigError(f'{where}: "{first[:80]}" is no image id')
        yield where, (first, rest[0], rest[1])


def _new(query: str, before: Collection[str], where: str) -> str:
    if query in before:
        raise ConfigError(f'{where}: query "{query}" is there twice')
    return query
