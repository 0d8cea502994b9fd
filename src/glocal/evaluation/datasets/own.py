"""One's own benchmark with graded answers: a folder of photos and groundtruth.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery, Indices, first_repeated
from glocal.evaluation.datasets.published import SIZES
from glocal.evaluation.datasets.reading import as_corners, as_names, distinct, inside, position_of, read_json
from glocal.evaluation.protocol import REVISITED

FILE = "groundtruth.json"
_SETS = ("easy", "hard", "junk")
_GROUPS = "groups"  # the origin of queries whose answers are the photos of the same thing
_MAX_NOTES = 20


def read_own(folder: Path) -> Benchmark:
    """The benchmark that groundtruth.json describes, scored as the revisited ones are.

    The file holds `gallery`, a list of paths, and `queries`, each with `query` (a path), `easy`, `hard`, `junk` (lists
    of gallery paths), and, where wanted, `box` (x1, y1, x2, y2 in pixels of the photo) and `origin`, by which queries
    are scored apart too. `notes`, a text or several, is what a reader of the numbers must know. A query that is in
    the gallery is junk for itself.

    Args:
        folder: where groundtruth.json is, and what its paths are relative to.

    Raises:
        ConfigError: there is no such file, or it is malformed, with the query.
    """
    path = folder / FILE
    truth = read_json(path)
    if not isinstance(truth, dict) or not isinstance(truth.get("queries"), list) or "gallery" not in truth:
        raise ConfigError(f"{path}: gallery and queries, two lists, were expected → see the documentation of own data")
    gallery = tuple(inside(name, str(path)) for name in as_names(truth["gallery"], f"{path}: gallery"))
    twice = first_repeated(gallery)
    if twice is not None:
        raise ConfigError(f"{path}: '{twice}' is in the gallery twice → list every photo once")
    entries = truth["queries"]
    files = tuple(_query_file(entry, i, path) for i, entry in enumerate(entries))
    index = position_of(gallery)
    names = distinct(files)
    queries = tuple(
        _query(name, file, entry, index, f"{path}: query {i} ({file})")
        for i, (name, file, entry) in enumerate(zip(names, files, entries, strict=True))
    )
    origins = tuple(_origin(entry, f"{path}: query {i}") for i, entry in enumerate(entries))
    groups: dict[str, set[str]] = {}
    for name, file, origin in zip(names, files, origins, strict=True):
        if origin is not None:
            groups.setdefault(_source(origin, file), set()).add(name)
    notes = _notes(truth.get("notes"), path) or (
        f"own data: {len(gallery):,} photos, {len(queries):,} queries; compare with no published number",
    )
    return Benchmark(
        folder.resolve().name,
        REVISITED,
        folder,
        gallery,
        gallery,
        queries,
        (*notes, *_notes_on_origins(origins, files, gallery)),
        {name: frozenset(members) for name, members in groups.items()},
    )


def _query_file(entry: Any, i: int, path: Path) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("query"), str):
        raise ConfigError(f'{path}: query {i} must be a dictionary with "query", a path')
    return inside(entry["query"], f"{path}: query {i}")


def _query(name: str, file: str, entry: Mapping[str, Any], index: Mapping[str, int], where: str) -> BenchmarkQuery:
    sets: dict[str, Indices] = {}
    seen: dict[int, str] = {}
    for key in _SETS:
        members = set()
        for photo in as_names(entry.get(key, []), f"{where}, {key}"):
            i = index.get(inside(photo, f"{where}, {key}"))
            if i is None:
                raise ConfigError(f"{where}, {key}: '{photo[:200]}' is not in the gallery → add it there, or drop it")
            if seen.setdefault(i, key) != key:
                raise ConfigError(f"{where}: '{photo[:200]}' is both {seen[i]} and {key} → it can only be one of them")
            members.add(i)
        sets[key] = np.array(sorted(members), np.int64)
    own = index.get(file)
    if own is not None and own not in seen:
        sets["junk"] = np.union1d(sets["junk"], [own]).astype(np.int64)
    box = entry.get("box")
    return BenchmarkQuery(name, file, None if box is None else as_corners(box, f"{where}, box"), sets, own)


def _origin(entry: Mapping[str, Any], where: str) -> str | None:
    origin = entry.get("origin")
    return None if origin is None else as_names([origin], f"{where}, origin")[0]


def _source(origin: str, file: str) -> str:
    """The line of a table that a query belongs to: its origin, or the folder of its source."""
    parts = PurePosixPath(file).parts
    return parts[1] if origin == _GROUPS and len(parts) > 2 else origin


def _notes(value: Any, path: Path) -> tuple[str, ...]:
    if value is None:
        return ()
    notes = as_names([value] if isinstance(value, str) else value, f"{path}: notes")
    if len(notes) > _MAX_NOTES:
        raise ConfigError(f"{path}: {len(notes):,} notes; the limit is {_MAX_NOTES}")
    return notes


def _notes_on_origins(
    origins: tuple[str | None, ...], files: tuple[str, ...], gallery: tuple[str, ...]
) -> tuple[str, ...]:
    """How many queries come from where, and that what comes from a published benchmark is not that benchmark."""
    counts = Counter(origin for origin in origins if origin is not None)
    if not counts:
        return ()
    notes = ["queries by origin: " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))]
    for name in sorted(set(counts) & set(SIZES)):
        folders = {file.rpartition("/")[0] for file, origin in zip(files, origins, strict=True) if origin == name}
        beside = sum(photo.rpartition("/")[0] in folders for photo in gallery)
        size = SIZES[name]
        asked = "" if size.queries is None else f"{size.queries:,} "
        notes.append(
            f"this is not {name}: {counts[name]:,} of its {asked}queries, and {beside:,} gallery photos in their folder"
            f" where it has {size.photos:,}; compare with no published {name} number"
        )
    return tuple(notes)
