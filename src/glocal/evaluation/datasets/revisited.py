"""Revisited Oxford and Paris, and the million distractors (Radenović et al., CVPR 2018)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from glocal.data.input_file import numbered_lines
from glocal.data.lists import folder_rows
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.datasets.ground_truth import benchmark_of, find_ground_truth
from glocal.evaluation.datasets.reading import MAX_NAME, MAX_PHOTOS, inside
from glocal.evaluation.protocol import REVISITED

DISTRACTORS = "revisitop1m"
_SETS = ("easy", "hard", "junk")


@dataclass(frozen=True, slots=True)
class Distractors:
    """Photos that are right for no query.

    Attributes:
        name: as it is printed.
        root: the folder of the photos.
        files: paths below it, in the order of the list.
    """

    name: str
    root: Path
    files: tuple[str, ...]


def read_revisited(root: Path, name: str) -> Benchmark:
    """roxford5k or rparis6k; without photos its `root` is None, which is enough to score a result file.

    Args:
        root: the folder that holds NAME/gnd_NAME.pkl (or .mat, .json) and NAME/jpg/, or these themselves; DELG's
            folders (oxford5k_images, paris6k_images) and photos beside the ground truth are found too.
        name: of the benchmark.

    Raises:
        ConfigError: there is no ground truth, or it is malformed.
    """
    classic = name.removeprefix("r")
    truth = find_ground_truth((root / name, root, root / classic), name)
    return benchmark_of(truth, name, REVISITED, _SETS, ("jpg", f"{classic}_images", ""))


def distractors(root: Path) -> Distractors:
    """The million distractors that revisitop1m.txt names, whether or not they are there.

    Args:
        root: the folder that holds revisitop1m/revisitop1m.txt and revisitop1m/jpg/, or these themselves.

    Raises:
        ConfigError: there is no list, or it names something outside the folder, or a photo twice.
    """
    home = next((home for home in (root / DISTRACTORS, root) if (home / f"{DISTRACTORS}.txt").is_file()), None)
    if home is None:
        raise ConfigError(f"No {DISTRACTORS}.txt in {root / DISTRACTORS} or {root} → --data DIR")
    path = home / f"{DISTRACTORS}.txt"
    files: dict[str, None] = {}
    for number, line in numbered_lines(path):
        name = line.strip()
        if not name:
            continue
        where = f"{path}, line {number}"
        if len(name) > MAX_NAME or len(files) >= MAX_PHOTOS:
            raise ConfigError(f"{where}: a longer name, or more names, than a list of photos has → is it another file?")
        file = f"jpg/{inside(name, where)}"
        if file in files:
            raise ConfigError(f'{where}: "{name}" is listed twice → download the list again')
        files[file] = None
    if not files:
        raise ConfigError(f"{path} names no photo → download the list again")
    return Distractors(DISTRACTORS, home, tuple(files))


def distractor_files(name_or_folder: str, data_root: Path | None) -> tuple[str, tuple[str, ...]]:
    """Name of what is added to a gallery, and the paths of its photos.

    Args:
        name_or_folder: revisitop1m, of which every photo that the list names is meant; or any folder, of which every
            picture below it is.
        data_root: the folder that holds revisitop1m; None where none was given.

    Raises:
        ConfigError: there is no such list or folder, or no picture in it.
    """
    folder = Path(name_or_folder)
    if (name_or_folder == DISTRACTORS and data_root is not None) or (folder / f"{DISTRACTORS}.txt").is_file():
        found = distractors(folder if data_root is None or name_or_folder != DISTRACTORS else data_root)
        return found.name, tuple(os.path.join(found.root, file) for file in found.files)
    if name_or_folder == DISTRACTORS and not folder.is_dir():
        raise ConfigError(f"Where is {DISTRACTORS}? → --data DIR or GLOCAL_DATA, where DIR/{DISTRACTORS} is")
    if not folder.is_dir():
        raise ConfigError(f"No such folder: {name_or_folder[:200]} → {DISTRACTORS}, or a folder of pictures")
    files = tuple(row.source for row in folder_rows(folder))
    if not files:
        raise ConfigError(f"{folder} has no pictures to add to the gallery → {DISTRACTORS}, or a folder of pictures")
    return folder.resolve().name, files
