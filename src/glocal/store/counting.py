"""How many pictures a folder has, and some of them at random: one walk that holds nothing else and may end early."""

from __future__ import annotations

import os
import random
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from glocal.data.formats import is_picture_name
from glocal.store.scan import FolderScan, walk

MAX_PICTURES = 20_000_000
MAX_SECONDS = 60.0
_LOOK_EVERY = 1000


@dataclass(slots=True)
class FolderCount:
    """What a walk through a folder has counted.

    Attributes:
        pictures: regular files that count as pictures by their name.
        num_bytes: their size.
        some: full paths of some of them, each picture with the same chance.
        unlisted: folders that could not be listed.
        is_complete: False if the walk was ended by a limit: there are more.
    """

    pictures: int = 0
    num_bytes: int = 0
    some: list[bytes] = field(default_factory=list)
    unlisted: int = 0
    is_complete: bool = True


def count_pictures(
    root: Path,
    num_some: int = 0,
    seed: int = 0,
    max_pictures: int = MAX_PICTURES,
    max_seconds: float = MAX_SECONDS,
) -> FolderCount:
    """Count the pictures of a folder as `glocal.store.scan.scan_folder` finds them; links do not count.

    Args:
        root: the folder.
        num_some: how many to draw (reservoir sampling).
        seed: of the draw; the same folder gives the same photos.
        max_pictures: where to stop.
        max_seconds: likewise.
    """
    rng = random.Random(seed)
    count, scan = FolderCount(), FolderScan()
    deadline = time.monotonic() + max_seconds
    for number, entry in enumerate(walk(os.fsencode(root.resolve()), b"", scan)):
        if count.pictures >= max_pictures or (number % _LOOK_EVERY == 0 and time.monotonic() > deadline):
            count.is_complete = False
            break
        if not is_picture_name(entry.name):
            continue
        try:
            about = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it vanished between listing and looking
        if not stat.S_ISREG(about.st_mode):
            continue
        count.pictures += 1
        count.num_bytes += about.st_size
        if len(count.some) < num_some:
            count.some.append(entry.path)
        elif num_some and (place := rng.randrange(count.pictures)) < num_some:
            count.some[place] = entry.path
    count.unlisted = len(scan.unlisted)
    return count
