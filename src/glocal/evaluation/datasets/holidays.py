"""INRIA Holidays (Jégou et al., ECCV 2008): the file names say which photos belong together."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.datasets.published import notes_on_size
from glocal.evaluation.datasets.reading import find_photos_named
from glocal.evaluation.protocol import HOLIDAYS

NAME = "holidays"
_PHOTO = re.compile(r"1[0-9]{5}\.jpg", re.IGNORECASE)


def read_holidays(root: Path) -> Benchmark:
    """Holidays: 100000.jpg asks for 100001.jpg, 100002.jpg …; the query's own photo is junk.

    Args:
        root: the folder that holds holidays/jpg/*.jpg or holidays/*.jpg, or jpg/*.jpg or the photos themselves.

    Raises:
        ConfigError: there is no such photo.
    """
    folders = (root / NAME / "jpg", root / NAME, root / "jpg", root)
    folder, files = find_photos_named(_PHOTO, folders, "100000.jpg")
    members: dict[str, list[int]] = {}
    for i, name in enumerate(files):
        members.setdefault(name[:4], []).append(i)
    queries = tuple(
        BenchmarkQuery(
            name,
            name,
            None,
            {"ok": np.array([j for j in members[name[:4]] if j != i], np.int64), "junk": np.array([i], np.int64)},
            i,
        )
        for i, name in enumerate(files)
        if name[4:6] == "00"
    )
    notes = notes_on_size(NAME, len(files), len(queries))
    return Benchmark(NAME, HOLIDAYS, folder, files, files, queries, notes)
