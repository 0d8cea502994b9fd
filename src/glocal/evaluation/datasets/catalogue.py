"""The benchmarks by name, and one's own by path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.datasets import ground_truth, landmarks, objects, own
from glocal.evaluation.datasets.classic import read_classic
from glocal.evaluation.datasets.holidays import read_holidays
from glocal.evaluation.datasets.ilias import read_ilias
from glocal.evaluation.datasets.instre import read_instre
from glocal.evaluation.datasets.revisited import read_revisited
from glocal.evaluation.datasets.ukbench import read_ukbench

READERS: dict[str, Callable[[Path], Benchmark]] = {
    "roxford5k": partial(read_revisited, name="roxford5k"),
    "rparis6k": partial(read_revisited, name="rparis6k"),
    "oxford5k": partial(read_classic, name="oxford5k"),
    "paris6k": partial(read_classic, name="paris6k"),
    "gldv2": landmarks.read_landmarks,
    "ilias": read_ilias,
    "instre": read_instre,
    "holidays": read_holidays,
    "ukbench": read_ukbench,
}
"""Name -> what reads it below the folder of all data sets, or in its own folder."""


def open_benchmark(name_or_path: str, data_root: Path | None) -> Benchmark:
    """A benchmark, whatever it is; its photos are listed, not opened.

    Args:
        name_or_path: one of `READERS`; or a folder with groundtruth.json, with labels.csv, with a folder per object, or
            of a benchmark; or a CSV file; or a ground truth, gnd_NAME.pkl, .mat or .json.
        data_root: the folder that holds the data sets that have a name; None where none was given.

    Raises:
        ConfigError: there is no such benchmark or folder, or its ground truth is malformed.
    """
    path = Path(name_or_path)
    if name_or_path in READERS and (data_root is not None or not path.exists()):
        if data_root is None:
            raise ConfigError(f"Where is {name_or_path}? → --data DIR or GLOCAL_DATA, where DIR/{name_or_path} is")
        if not data_root.is_dir():
            raise ConfigError(f"No such folder: {data_root} → --data DIR or GLOCAL_DATA")
        place = {"name": name_or_path, "root": os.path.abspath(data_root)}
        return replace(READERS[name_or_path](data_root), place=place)
    if path.is_dir():
        return replace(_open_folder(path), place={"name": os.path.abspath(path)})
    if path.is_file():
        return replace(_open_file(path), place={"name": os.path.abspath(path)})
    near = difflib.get_close_matches(name_or_path.lower().replace("_", "").replace("-", ""), READERS, n=2, cutoff=0.5)
    meant = f" Did you mean {', '.join(near)}?" if near else ""
    raise ConfigError(
        f'Unknown benchmark "{name_or_path[:200]}", and no such folder or CSV file.{meant} → {", ".join(READERS)},'
        " or a folder of your own"
    )


def _open_folder(folder: Path) -> Benchmark:
    if (folder / own.FILE).is_file():
        return own.read_own(folder)
    if (folder / objects.FILE).is_file():
        return objects.read_table(folder / objects.FILE)
    if folder.resolve().name in READERS:
        return READERS[folder.resolve().name](folder)
    for name, reader in READERS.items():
        if any((folder / f"gnd_{name}{suffix}").is_file() for suffix in ground_truth.SUFFIXES):
            return reader(folder)
    if (folder / landmarks.RETRIEVAL).is_file():
        return landmarks.read_landmarks(folder)
    if folder.resolve().name == "ilias_core" or (folder / "ilias_core").is_dir():
        return read_ilias(folder)
    return objects.read_folders(folder)


def _open_file(path: Path) -> Benchmark:
    name = path.stem.removeprefix("gnd_")
    if path.suffix in ground_truth.SUFFIXES and path.name.startswith("gnd_") and name in READERS:
        return READERS[name](path)
    if path.name == own.FILE:
        return own.read_own(path.parent)
    if path.suffix.lower() == ".csv":
        return objects.read_table(path)
    raise ConfigError(
        f"{path} is no benchmark → a folder of photos, a CSV file with path and label, or gnd_NAME.pkl, .mat or .json"
    )
