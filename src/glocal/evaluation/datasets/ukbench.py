"""UKBench (Nistér and Stewénius, CVPR 2006): four photos of each of 2,550 things, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.datasets.published import notes_on_size
from glocal.evaluation.datasets.reading import find_photos_named
from glocal.evaluation.protocol import UKBENCH

NAME = "ukbench"
_PHOTO = re.compile(r"ukbench([0-9]{5})\.jpg", re.IGNORECASE)


def read_ukbench(root: Path) -> Benchmark:
    """UKBench: every photo asks for the four of its thing, itself among them.

    Args:
        root: the folder that holds ukbench/full/ukbench00000.jpg … or ukbench/*.jpg, or full/ or the photos themselves.

    Raises:
        ConfigError: there is no such photo.
    """
    folders = (root / NAME / "full", root / NAME, root / "full", root)
    folder, files = find_photos_named(_PHOTO, folders, "ukbench00000.jpg")
    things = [int(name[7:12]) // 4 for name in files]
    members: dict[int, list[int]] = {}
    for i, thing in enumerate(things):
        members.setdefault(thing, []).append(i)
    queries = tuple(
        BenchmarkQuery(name, name, None, {"ok": np.array(members[thing], np.int64)}, i)
        for i, (name, thing) in enumerate(zip(files, things, strict=True))
    )
    notes = notes_on_size(NAME, len(files), len(queries))
    return Benchmark(NAME, UKBENCH, folder, files, files, queries, notes)
