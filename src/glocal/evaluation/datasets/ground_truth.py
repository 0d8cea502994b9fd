"""Files of the form imlist, qimlist, gnd: .pkl, .mat or .json -> checked lists.

Radenović's and Iscen's benchmarks share the form; each entry of `gnd` has a box and sets of indices into `imlist`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glocal.data.matlab import read_matlab
from glocal.data.plain_objects import read_plain_objects
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery, Corners, Indices
from glocal.evaluation.datasets.published import notes_on_size
from glocal.evaluation.datasets.reading import (
    as_corners,
    as_indices,
    as_names,
    as_numbers,
    distinct,
    inside,
    position_of,
    read_json,
)
from glocal.evaluation.protocol import Protocol

SUFFIXES = (".pkl", ".mat", ".json")


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """What such a file says.

    Attributes:
        path: the file.
        gallery: names of the photos searched.
        queries: names of the photos asked about; one may be there twice.
        entries: what is known of each query.
        first: the number of the first photo in the file's lists: 0, and 1 in .mat.
    """

    path: Path
    gallery: tuple[str, ...]
    queries: tuple[str, ...]
    entries: tuple[Mapping[str, Any], ...]
    first: int

    def indices(self, i: int, key: str) -> Indices:
        """A set of query i, from 0.

        Raises:
            ConfigError: there is none of that name, or it names a photo that is not in the gallery.
        """
        return as_indices(self._entry(i, key), len(self.gallery), self._where(i, key), self.first)

    def corners(self, i: int) -> Corners:
        """The box of query i.

        Raises:
            ConfigError: it is no x1, y1, x2, y2.
        """
        return as_corners(self._entry(i, "bbx"), self._where(i, "bbx"))

    def numbers(self, i: int) -> tuple[float, ...]:
        """The four numbers of the box of query i, whatever they mean.

        Raises:
            ConfigError: they are not four numbers.
        """
        return as_numbers(self._entry(i, "bbx"), 4, self._where(i, "bbx"))

    def has(self, key: str) -> bool:
        """Whether every query has an entry of that name."""
        return all(key in entry for entry in self.entries)

    def _entry(self, i: int, key: str) -> Any:
        if key not in self.entries[i]:
            known = ", ".join(sorted(map(str, self.entries[i])))[:100]
            raise ConfigError(f"{self._where(i, key)} is not there, only {known} → is this another benchmark's file?")
        return self.entries[i][key]

    def _where(self, i: int, key: str) -> str:
        return f"{self.path}: query {i} ({self.queries[i]}), {key}"


def find_ground_truth(folders: tuple[Path, ...], name: str) -> Path:
    """gnd_NAME.pkl, .mat or .json in the first of the folders that has one; a file among them is taken as it is.

    Raises:
        ConfigError: none has.
    """
    for folder in folders:
        if folder.is_file():
            return folder
        for suffix in SUFFIXES:
            if (folder / f"gnd_{name}{suffix}").is_file():
                return folder / f"gnd_{name}{suffix}"
    places = " or ".join(dict.fromkeys(map(str, folders)))
    raise ConfigError(f"No gnd_{name}.pkl, .mat or .json in {places} → --data DIR, where DIR/{name} is")


def read_ground_truth(path: Path) -> GroundTruth:
    """Read such a file, whichever of the three kinds it is.

    Raises:
        ConfigError: it is none, or its lists do not fit together.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: ground truth is read from {', '.join(SUFFIXES)} → convert it to JSON")
    found: Any
    if path.suffix == ".mat":
        found = read_matlab(path, instead=f"write the same keys as JSON, {path.stem}.json")
    else:
        found = read_plain_objects(path) if path.suffix == ".pkl" else read_json(path)
    if not isinstance(found, dict) or not {"imlist", "qimlist", "gnd"} <= set(found):
        raise ConfigError(f"{path}: imlist, qimlist and gnd were expected → is it another file?")
    gallery = as_names(found["imlist"], f"{path}: imlist")
    queries = as_names(found["qimlist"], f"{path}: qimlist")
    entries = found["gnd"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}: gnd must be a list of dictionaries → is it another file?")
    if len(entries) != len(queries):
        raise ConfigError(f"{path}: {len(queries)} queries, but gnd has {len(entries)} entries → is the file whole?")
    for name in (*gallery, *queries):
        inside(name, str(path))
    return GroundTruth(path, gallery, queries, tuple(entries), 1 if path.suffix == ".mat" else 0)


def find_photos(truth: GroundTruth, suffix: str, folders: tuple[str, ...]) -> tuple[Path | None, str]:
    """Where the photos lie: the folder of the ground truth, and which of some folders below it holds them.

    Args:
        truth: the ground truth.
        suffix: what its names lack, e.g. ".jpg".
        folders: below its folder; "" for that folder itself.

    Returns:
        (root, prefix of every file), where the prefix ends in "/" or is empty; the root is None without any photo.
    """
    root = truth.path.parent
    # Not all photos need to be there: the first hundred say enough of where they lie.
    some = (*truth.gallery[:100], *truth.queries[:100])
    for folder in folders:
        prefix = f"{folder}/" if folder else ""
        if any((root / f"{prefix}{name}{suffix}").is_file() for name in some):
            return root, prefix
    first = folders[0]
    if first and (root / first).is_dir():
        return root, f"{first}/"
    return None, f"{first}/" if first else ""


def benchmark_of(
    path: Path, name: str, protocol: Protocol, sets: tuple[str, ...], folders: tuple[str, ...]
) -> Benchmark:
    """A benchmark whose ground truth names JPEG files without their suffix; without photos its `root` is None.

    Boxes are as written, x1, y1, x2, y2, in .mat too: of MATLAB's numbers only the indices count from 1.

    Args:
        path: of the ground truth.
        name: of the benchmark.
        protocol: how it is scored.
        sets: what each query has a list of photos for.
        folders: where the photos may lie, below the folder of the ground truth; "" for that folder itself.

    Raises:
        ConfigError: the ground truth is malformed.
    """
    truth = read_ground_truth(path)
    photos, prefix = find_photos(truth, ".jpg", folders)
    index = position_of(truth.gallery)
    queries = tuple(
        BenchmarkQuery(
            unique,
            f"{prefix}{query}.jpg",
            truth.corners(i),
            {key: truth.indices(i, key) for key in sets},
            index.get(query),
        )
        for i, (unique, query) in enumerate(zip(distinct(truth.queries), truth.queries, strict=True))
    )
    files = tuple(f"{prefix}{photo}.jpg" for photo in truth.gallery)
    notes = notes_on_size(name, len(files), len(queries))
    return Benchmark(name, protocol, photos, truth.gallery, files, queries, notes)
