"""`ranks.npz`: the whole order of a gallery for every query, or its beginning, as numbers.

Arrays: `ranks` (N or K, Q), whole numbers from 0: column q lists photos, best first; -1, no photo, fills a column up at
its end. Numbers from the size of the gallery on are distractors. Optional: `gallery` and `queries`, the names of the
photos that are numbered, with or without those of the distractors, and of the columns; without them both are in the
order of the benchmark. Other arrays do not count: what `glocal eval` writes has `ranks_SETUP` too, after re-ranking.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.data.input_file import shown
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.results.arrays import Archive, Header
from glocal.evaluation.results.names import DISTRACTORS_HINT, OTHER_DISTRACTORS_HINT, NameTable
from glocal.evaluation.results.types import RankedLists
from glocal.progress import thousands

RANKS, GALLERY, QUERIES = "ranks", "gallery", "queries"
_NAMES_HINT = f'add the names of the photos to the file, as array "{GALLERY}"'


def read_ranks(path: Path, benchmark: Benchmark, num_distractors: int = 0) -> RankedLists:
    """The lists of a `ranks.npz`.

    Args:
        path: the file.
        benchmark: what was asked.
        num_distractors: photos that were searched beyond its gallery.

    Raises:
        ConfigError: no such file, or a damaged one; a photo twice in a column, or a number outside the gallery.
        SpecMismatch: it is about other photos or queries than the benchmark.
    """
    gallery, queries = NameTable.of_gallery(benchmark, num_distractors), NameTable.of_queries(benchmark)
    with Archive(path) as archive:
        if RANKS not in archive:
            raise ConfigError(f'{path}: no array "{RANKS}" in it, only {shown(", ".join(archive.arrays))} → name it so')
        header = archive.header(RANKS)
        photos, columns = archive.names(GALLERY, _most(gallery)), archive.names(QUERIES, _most(queries))
        order = None
        if photos is not None:
            order = gallery.align(photos, path, f'"{GALLERY}", name', "rows", DISTRACTORS_HINT)
            order = np.concatenate([order, np.arange(len(order), gallery.size)])  # distractors without a name
        asked = range(len(queries))
        if columns is not None:
            asked = queries.align(columns, path, f'"{QUERIES}", name', "columns").tolist()
        _expect_shape(header, gallery, queries, path, named=order is not None)
        ranks = archive.array(RANKS)
    _expect_inside(ranks, gallery, path)
    lists: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(queries)
    for column, query in enumerate(asked):
        photos_of = ranks[:, column].astype(np.int64)
        filled = np.flatnonzero(photos_of < 0)
        if len(filled):
            if len(filled) != len(photos_of) - filled[0]:
                raise ConfigError(
                    f"{path}: ranks[{filled[0]}, {column}] is -1, but a photo follows → -1 only at the end"
                )
            photos_of = photos_of[: filled[0]]
        _expect_once(photos_of, gallery, column, path)
        lists[query] = photos_of
    if order is not None and not np.array_equal(order, np.arange(len(order))):
        lists = [order[photos_of] for photos_of in lists]
    _expect_same_gallery(lists, gallery, len(ranks), path, named=order is not None)
    return RankedLists(tuple(queries.names), tuple(lists))


def _most(table: NameTable) -> int:
    """How many names are read, to say which are too many or missing."""
    return 2 * table.size + 1000


def _expect_shape(header: Header, gallery: NameTable, queries: NameTable, path: Path, named: bool) -> None:
    if header.dtype.kind not in "iu" or len(header.shape) != 2:
        raise ConfigError(
            f"{header.where}: whole numbers (images, queries) were expected, not {header.shape} {header.dtype} "
            "→ numpy.argsort(-similarities, axis=0)"
        )
    rows, columns = header.shape
    if columns != len(queries):
        if rows == len(queries):
            raise ConfigError(
                f"{header.where}: {rows} rows and {thousands(columns)} columns, but a column is a query "
                f"and there are {len(queries)} → save ranks.T"
            )
        raise queries.disagreement(
            path, f"{thousands(columns)} columns", hint=f'add their ids to the file, as array "{QUERIES}"'
        )
    if rows > gallery.size:
        hint = DISTRACTORS_HINT if named else f"{DISTRACTORS_HINT}; otherwise {_NAMES_HINT}"
        hint = OTHER_DISTRACTORS_HINT if gallery.num_distractors else hint
        raise gallery.disagreement(path, f"{thousands(rows)} rows", hint=hint)


def _expect_inside(ranks: NDArray[Any], gallery: NameTable, path: Path) -> None:
    size = gallery.size
    if ranks.size and (ranks.max() >= size or ranks.min() < -1):
        row, column = np.argwhere((ranks >= size) | (ranks < -1))[0]
        hint = "write the file again"
        if ranks.max() == size and ranks.min() == 1:
            hint = "subtract 1 from all"
        elif ranks[row, column] >= size:
            hint = f"{OTHER_DISTRACTORS_HINT if gallery.num_distractors else DISTRACTORS_HINT}; otherwise {hint}"
        more = f" and {thousands(gallery.num_distractors)} distractors" if gallery.num_distractors else ""
        raise ConfigError(
            f"{path}: ranks[{row}, {column}] is {ranks[row, column]}, but the {thousands(len(gallery))} photos{more} "
            f"are numbered from 0 to {size - 1} → {hint}"
        )


def _expect_once(photos: NDArray[np.int64], gallery: NameTable, column: int, path: Path) -> None:
    seen = np.zeros(gallery.size, np.bool_)
    seen[photos] = True
    if np.count_nonzero(seen) != len(photos):
        order = np.argsort(photos, kind="stable")
        again = order[1:][photos[order][1:] == photos[order][:-1]].min()
        raise ConfigError(
            f"{path}: ranks[{again}, {column}] is {photos[again]}, which is in that column already; a column is a "
            "query, best photo first → is the array turned?"
        )


def _expect_same_gallery(
    lists: list[NDArray[np.int64]], gallery: NameTable, rows: int, path: Path, named: bool
) -> None:
    """Refuse the whole order of a smaller gallery: its rows mean other photos, or it is without the distractors."""
    least = len(gallery) if named else len(gallery) // 2 + 1
    if least <= rows < gallery.size and all(len(photos) == rows and photos.max(initial=-1) < rows for photos in lists):
        hint = OTHER_DISTRACTORS_HINT if gallery.num_distractors else _NAMES_HINT
        raise gallery.disagreement(path, f"{thousands(rows)} rows, all of a gallery", hint=hint)
