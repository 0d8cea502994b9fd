"""ILIAS (Kordopatis-Zilos et al., CVPR 2025): the photos that its authors collected, without the distractors."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from glocal.data.input_file import numbered_lines
from glocal.data.lists import folder_rows
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery, Corners
from glocal.evaluation.datasets.published import notes_on_size
from glocal.evaluation.datasets.reading import as_numbers, corners_of
from glocal.evaluation.protocol import ILIAS

NAME = "ilias"
_CORE = "ilias_core"
_MAX_BOXES = 1000
NOTE = "the core of ILIAS, without its 100 million distractors: compare with no published number of the whole"


def read_ilias(root: Path, boxes: bool = False) -> Benchmark:
    """ILIAS' image queries and positives; names are those of its own result files, "object/pos/P000_00.jpg".

    Args:
        root: the folder that holds ilias_core/ or ilias/ilias_core/, or ilias_core itself.
        boxes: ask with the part that the query's _bbox.txt names instead of the whole photo, which is what ILIAS' own
            extraction does unless told otherwise; several boxes count as the one around them.

    Raises:
        ConfigError: no such folder, a photo that is in neither query/ nor pos/, or a malformed box.
    """
    core = next((each for each in (root / _CORE, root / NAME / _CORE, root) if each.is_dir()), root)
    core = Path(os.path.abspath(core))
    gallery: list[str] = []
    asked: list[tuple[str, str]] = []
    members: dict[str, list[int]] = {}
    for row in folder_rows(core):
        name = Path(row.source).relative_to(core).as_posix()
        thing, _, rest = name.partition("/")
        if rest.startswith("pos/"):
            members.setdefault(thing, []).append(len(gallery))
            gallery.append(name)
        elif rest.startswith("query/"):
            asked.append((thing, name))
        else:
            raise ConfigError(f"{core}: {name[:200]} is neither in OBJECT/query nor in OBJECT/pos → is this ILIAS?")
    if not gallery or not asked:
        raise ConfigError(f"{core}: no photos in OBJECT/query and OBJECT/pos → --data DIR, where DIR/{_CORE} is")
    queries = tuple(
        BenchmarkQuery(
            name,
            name,
            _corners(core / f"{os.path.splitext(name)[0]}_bbox.txt") if boxes else None,
            {"ok": np.array(members.get(thing, []), np.int64)},
        )
        for thing, name in asked
    )
    notes = (NOTE, *notes_on_size(NAME, len(gallery), len(queries)))
    return Benchmark(NAME, ILIAS, core, tuple(gallery), tuple(gallery), queries, notes)


def _corners(path: Path) -> Corners:
    """What is around all boxes of a file, one "x y width height" in each line."""
    found: list[Corners] = []
    for number, line in numbered_lines(path):
        words = line.split()
        if not words:
            continue
        where = f"{path}, line {number}"
        try:
            x, y, width, height = as_numbers([float(word) for word in words], 4, where)
        except ValueError as error:
            raise ConfigError(f'{where}: "x y width height" was expected, not "{line[:100]}"') from error
        if width <= 0 or height <= 0 or len(found) >= _MAX_BOXES:
            raise ConfigError(f'{where}: "{line[:100]}" is an empty box, or one too many')
        found.append(corners_of(x, y, width, height))
    if not found:
        raise ConfigError(f"{path} names no box → read ILIAS without boxes")
    x1, y1, x2, y2 = zip(*found, strict=True)
    # Some boxes begin a little outside the photo.
    return max(min(x1), 0.0), max(min(y1), 0.0), max(x2), max(y2)
