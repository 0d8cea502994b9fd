"""Descriptors that another system made: .npy with rows, or .mat with columns.

One .npy holds the rows of the gallery and then those of the queries, or in any order if a list of names is given. A
folder holds them apart, as `gallery.npy` and `queries.npy`. A .mat holds X (D, N) and Q (D, queries), as the authors of
the revisited benchmarks share theirs. A list of names is a text of one name per line, the gallery's rows first.

Rows of distractors come after those of the gallery's photos. A list of names may leave them out; where it has them,
they are those whose names the benchmark does not know, wherever they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.data.input_file import numbered_lines, open_input, shown, size_of
from glocal.data.matlab import Variable, read_matlab
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.results.arrays import MAX_FILE, Header, read_data, read_header
from glocal.evaluation.results.names import DISTRACTORS_HINT, OTHER_DISTRACTORS_HINT, NameTable
from glocal.evaluation.results.types import Features
from glocal.progress import thousands

GALLERY, QUERIES = "gallery.npy", "queries.npy"
X, Q = "X", "Q"
MAX_DIM = 1 << 16
MAX_MATLAB = 8 << 30
"""Bytes of a .mat, packed or not: two matrices, each as large as the format allows."""
_BLOCK = 1 << 14
_HINT = "give the name of each, one per line, with the file of names"
Rows = NDArray[np.float32]


def read_npy_features(
    path: Path, benchmark: Benchmark, names: Path | None = None, num_distractors: int = 0
) -> Features:
    """The descriptors of one .npy: gallery, distractors and queries.

    A query that is a whole photo of the gallery needs no row of its own.

    Args:
        path: the file, (rows, D) floats.
        benchmark: what was asked.
        names: the list of the names of the rows; None where they are in the order of the benchmark.
        num_distractors: rows beyond those of photos and queries.

    Raises:
        ConfigError: no such file, a number that is not finite, or a row that could be a photo or a query.
        SpecMismatch: a name is unknown, or the row of one is missing.
    """
    gallery, queries = NameTable.of_gallery(benchmark, num_distractors), NameTable.of_queries(benchmark)
    with open_input(path, MAX_FILE) as file:
        header = read_header(file, str(path), size_of(file))
        count = _expect_rows(header)
        if names is None:
            if count not in (gallery.size, gallery.size + len(queries)):
                has = f"{thousands(count)} rows, {thousands(len(queries))} of which should be queries"
                raise gallery.disagreement(path, has, hint=_hint(gallery, count, len(queries)))
            of_gallery = list(range(gallery.size))
            of_query = dict(enumerate(range(gallery.size, count)))
        else:
            listed = _read_names(names, count, path, gallery)
            of_gallery, of_query = _assign(listed, names, benchmark, gallery, queries)
        for i, query in enumerate(benchmark.queries):
            if i not in of_query and query.own is not None and query.corners is None:
                of_query[i] = of_gallery[query.own]
        if len(of_query) < len(queries):
            missing = [name for i, name in enumerate(queries.names) if i not in of_query]
            raise queries.disagreement(path, f"rows for {thousands(len(of_query))} queries", missing)
        rows = _finite(read_data(file, header), path, f"{path.name}, row")
    return Features(_take(rows, of_gallery), _take(rows, [of_query[i] for i in range(len(queries))]))


def read_folder_features(
    path: Path, benchmark: Benchmark, names: Path | None = None, num_distractors: int = 0
) -> Features:
    """The descriptors of a folder: `gallery.npy` and `queries.npy`.

    Args:
        path: the folder.
        benchmark: what was asked.
        names: the list of the names of the gallery's rows and then of the queries'; None as for `read_npy_features`.
        num_distractors: rows of the gallery beyond those of its photos.

    Raises:
        ConfigError: no such files, or a number that is not finite.
        SpecMismatch: a name is unknown, or the row of one is missing.
    """
    files = path / GALLERY, path / QUERIES
    with open_input(files[0], MAX_FILE) as gallery, open_input(files[1], MAX_FILE) as queries:
        headers = [
            read_header(file, str(each), size_of(file)) for file, each in zip((gallery, queries), files, strict=True)
        ]
        counts = _expect_rows(headers[0]), _expect_rows(headers[1])
        orders = _orders(files, counts, "rows", benchmark, names, num_distractors)
        _expect_equal_dims(headers[0].shape[1], headers[1].shape[1], path)
        arrays = read_data(gallery, headers[0]), read_data(queries, headers[1])
    rows = [_finite(array, file, f"{file.name}, row") for array, file in zip(arrays, files, strict=True)]
    return Features(_put(rows[0], orders[0]), _put(rows[1], orders[1]))


def read_mat_features(
    path: Path, benchmark: Benchmark, names: Path | None = None, num_distractors: int = 0
) -> Features:
    """The descriptors of a .mat file: the columns of X are the gallery, those of Q the queries.

    Args:
        path: the file.
        benchmark: what was asked.
        names: the list of the names of X's columns and then of Q's; None as for `read_npy_features`.
        num_distractors: columns of X beyond those of the gallery's photos.

    Raises:
        ConfigError: no such file, or a number that is not finite.
        SpecMismatch: a name is unknown, or the column of one is missing.
    """
    there = _matrices_of(path)
    (dim, num_images), (query_dim, num_queries) = there[X].shape, there[Q].shape
    sizes = len(benchmark.gallery), len(benchmark.gallery) + num_distractors
    if dim in sizes and query_dim == len(benchmark.queries):
        shapes = f"{X} is {there[X].shape} and {Q} {there[Q].shape}"
        raise ConfigError(f"{path}: {shapes}, but columns are images → save X' and Q'")
    orders = _orders((path, path), (num_images, num_queries), "columns", benchmark, names, num_distractors)
    _expect_equal_dims(dim, query_dim, path)
    matrices = _read_mat(path, lambda variable: there.get(variable.name) == variable)
    # One after the other, so that no more than one of them is there in two types.
    rows = [_finite(matrices.pop(name).T, path, f"{path.name}, column of {name}") for name in (X, Q)]
    return Features(_put(rows[0], orders[0]), _put(rows[1], orders[1]))


def _matrices_of(path: Path) -> dict[str, Variable]:
    """X and Q of a .mat file, unread."""
    there: dict[str, Variable] = {}

    def note(variable: Variable) -> bool:
        if variable.name in (X, Q) and variable.dtype is not None:
            there[variable.name] = variable
        return False

    _read_mat(path, note)
    for variable in there.values():
        if variable.dtype is None or variable.dtype.kind != "f":
            raise ConfigError(f"{path}: variable {shown(variable.name)} is no matrix of real numbers → single(…)")
    if set(there) != {X, Q} or any(len(variable.shape) != 2 for variable in there.values()):
        found = ", ".join(f"{name} {variable.shape}" for name, variable in there.items()) or "neither"
        raise ConfigError(
            f"{path}: matrices {X} (D, images) and {Q} (D, queries) were expected, found {found} → name them so"
        )
    return there


def _read_mat(path: Path, wanted: Callable[[Variable], bool]) -> dict[str, Any]:
    return read_matlab(path, wanted, MAX_MATLAB, MAX_MATLAB, f"write {GALLERY} and {QUERIES}")


def _hint(gallery: NameTable, count: int, num_queries: int = 0) -> str:
    """What to do where a file has no row for each photo, or others."""
    if gallery.num_distractors:
        return OTHER_DISTRACTORS_HINT
    more = count > len(gallery) + num_queries
    return f"{DISTRACTORS_HINT}; otherwise {_HINT}" if more else _HINT


def _expect_rows(header: Header) -> int:
    if header.dtype.kind != "f" or header.dtype.itemsize > 8 or len(header.shape) != 2:
        raise ConfigError(
            f"{header.where}: descriptors (rows, D) of float32 were expected, not {header.shape} {header.dtype} → "
            + ("ranks belong in a .npz" if header.dtype.kind in "iu" else "write one row for each photo and query")
        )
    if not 0 < header.shape[1] <= MAX_DIM:
        raise ConfigError(
            f"{header.where}: {header.shape}: a row of 1 to {MAX_DIM} numbers was expected → transpose it"
        )
    return header.shape[0]


def _expect_equal_dims(gallery: int, queries: int, path: Path) -> None:
    if gallery != queries or not 0 < gallery <= MAX_DIM:
        raise ConfigError(
            f"{path}: descriptors of {gallery} numbers for the gallery and of {queries} for the queries; equal ones "
            f"of 1 to {MAX_DIM} were expected → describe both with one system"
        )


def _read_names(names: Path, count: int, path: Path, gallery: NameTable) -> list[str | None]:
    """The name of each descriptor; None for distractors that the list leaves out."""
    found: list[str | None] = [line.strip() for _, line in numbered_lines(names)]
    while found and not found[-1]:
        found.pop()
    if "" in found:
        raise ConfigError(f"{names}, line {found.index('') + 1} is empty → one name per line")
    if len(found) == count - gallery.num_distractors:
        found[len(gallery) : len(gallery)] = [None] * gallery.num_distractors
    if len(found) != count:
        raise ConfigError(
            f"{names} has {thousands(len(found))} names, {path.name} has {thousands(count)} descriptors → one name for "
            "each, in their order"
        )
    return found


def _assign(
    names: list[str | None], path: Path, benchmark: Benchmark, gallery: NameTable, queries: NameTable
) -> tuple[list[int], dict[int, int]]:
    """The row of each photo of the gallery and then of each distractor, and those of queries."""
    of_gallery: dict[int, int] = {}
    of_query: dict[int, int] = {}
    others: list[int] = []
    hint = DISTRACTORS_HINT if len(names) > len(gallery) + len(queries) else ""
    lines = list(accumulate(int(name is not None) for name in names))
    for row, name in enumerate(names):
        photo, query = (None, None) if name is None else (gallery.find(name), queries.find(name))
        if name is None or (photo is None and query is None and gallery.num_distractors):
            others.append(row)
            continue
        if photo is not None and query is not None:
            exact = photo >= 0 and gallery.names[photo] == name, query >= 0 and queries.names[query] == name
            asked = benchmark.queries[query]
            if exact[0] != exact[1]:
                photo, query = (photo, None) if exact[0] else (None, query)
            elif photo >= 0 and query >= 0 and asked.own == photo and asked.corners is None:
                query = None
            else:
                raise ConfigError(
                    f"{path}, line {lines[row]}: {shown(name)} is a photo of the gallery and a query → write {GALLERY} "
                    f"and {QUERIES}, and give their folder"
                )
        table, rows = (gallery, of_gallery) if query is None else (queries, of_query)
        position = table.index(name, path, "line", lines[row], hint)
        if rows.setdefault(position, row) != row:
            again, first = lines[row], lines[rows[position]]
            raise ConfigError(f"{path}, line {again}: {shown(name)} is there twice, as line {first} → keep one")
    if len(of_gallery) < len(gallery):
        missing = [name for i, name in enumerate(gallery.names) if i not in of_gallery]
        raise gallery.disagreement(path, f"{thousands(len(of_gallery))} of its names", missing)
    if len(others) != gallery.num_distractors:
        has = f"{thousands(len(others))} names that are of no photo and no query"
        raise gallery.disagreement(path, has, hint=OTHER_DISTRACTORS_HINT)
    return [*(of_gallery[i] for i in range(len(gallery))), *others], of_query


def _orders(
    paths: tuple[Path, Path],
    counts: tuple[int, int],
    rows: str,
    benchmark: Benchmark,
    names: Path | None,
    num_distractors: int,
) -> list[NDArray[np.int64] | None]:
    """For gallery and queries the position of each row, distractors last; None where they are in that order."""
    tables = NameTable.of_gallery(benchmark, num_distractors), NameTable.of_queries(benchmark)
    orders: list[NDArray[np.int64] | None] = [None, None]
    listed = None if names is None else _read_names(names, sum(counts), paths[0], tables[0])
    for i, (path, count, table) in enumerate(zip(paths, counts, tables, strict=True)):
        if listed is not None and names is not None:
            part = listed[:count] if i == 0 else listed[counts[0] :]
            order = table.align(part, names, "name", rows, DISTRACTORS_HINT if i == 0 else "")
            if not np.array_equal(order, np.arange(count)):
                orders[i] = order
        if count != table.size:
            hint = _hint(table, count) if i == 0 else _HINT
            raise table.disagreement(path, f"{thousands(count)} {rows}", hint=hint)
    return orders


def _finite(rows: NDArray[Any], path: Path, what: str) -> Rows:
    """Descriptors as float32, each of them finite."""
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(rows, np.float32)
    for start in range(0, len(found), _BLOCK):
        fine = np.isfinite(found[start : start + _BLOCK]).all(axis=1)
        if not fine.all():
            number = start + int(np.argmin(fine))
            raise ConfigError(
                f"{path.parent / what} {number} (from 0) has a number that is not finite → describe that one again"
            )
    return found


def _take(rows: Rows, order: list[int]) -> Rows:
    start = order[0]
    if order == list(range(start, start + len(order))):
        return rows[start : start + len(order)]
    return rows[order]


def _put(rows: Rows, order: NDArray[np.int64] | None) -> Rows:
    if order is None:
        return rows
    placed = np.empty_like(rows)
    placed[order] = rows
    return placed
