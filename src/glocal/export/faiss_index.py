"""A collection's global descriptors as a FAISS index, and which row is which photo (faiss-cpu, extra `faiss`)."""

from __future__ import annotations

import csv
import importlib.util
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from glocal.errors import BackendUnavailable
from glocal.export.drafts import Drafts, explained, open_text
from glocal.export.names import Format, as_cell, choose_names, write_map
from glocal.export.parquet import TableFile, about, is_installed
from glocal.export.photos import ExportReport, Tick, content_of, in_blocks, listed, no_tick, start_report
from glocal.store.collection import Collection

INDEX_NAME = "index.faiss"
BLOCK = 8192
"""Rows added at a time."""


def export_faiss(
    collection: Collection,
    folder: Path,
    rename_map: Path | None = None,
    force: bool = False,
    tick: Tick = no_tick,
) -> ExportReport:
    """Write index.faiss and ids.parquet (ids.csv without pyarrow): a row for every different picture.

    The index is a plain IndexFlatIP of float32, exact, by inner product: the type that old readers know. Its label i is
    row i of the table, with the columns id (that number), path (the first of the files with this content) and sha (the
    content hash). All descriptors are in memory while the index is built: 4 D bytes each.

    Args:
        collection: open for reading.
        folder: where the files go; made if need be.
        rename_map: where a CSV of safe names goes, and consent to them; None refuses names that are not UTF-8.
        force: replace files that are there.
        tick: is told of the progress.

    Raises:
        BackendUnavailable: faiss is not installed.
        NothingToDo: the collection is empty, or has names that are not UTF-8.
        ConfigError: a file exists already or cannot be written.
        DiskFull: no space is left.
    """
    if importlib.util.find_spec("faiss") is None:
        raise BackendUnavailable("glocal export faiss needs faiss → pip install 'glocal[faiss]'")
    import faiss  # noqa: PLC0415 - optional, and it brings its own OpenMP

    with collection.snapshot():
        report = start_report(collection)
        names = choose_names(
            (row.path for row in listed(collection, copies=False)), Format.TABLE, rename_map is not None
        )
        total = collection.counts()["contents"]
        index = faiss.IndexFlatIP(collection.spec.dim)
        with Drafts(force) as drafts:
            if rename_map is not None:
                rows = ((row.path, names.of(row.path)) for row in listed(collection, copies=False))
                write_map(drafts.add(rename_map), rows, rename_map)
            ids_place = folder / ("ids.parquet" if is_installed() else "ids.csv")
            ids_draft = drafts.add(ids_place)
            place = folder / INDEX_NAME
            draft = drafts.add(place)  # the last to appear: where it is, the ids are
            with _ids(ids_draft, ids_place, collection) as write_ids:
                for batch, vectors in in_blocks(listed(collection, copies=False), collection, BLOCK):
                    index.add(vectors)
                    write_ids(report.photos, [names.of(row.path) for row in batch], [content_of(row) for row in batch])
                    report.photos += len(batch)
                    tick("Photos", report.photos, total)
            with explained(place):
                faiss.write_index(index, str(draft))
            report.written = drafts.publish()
    return report


@contextmanager
def _ids(draft: Path, place: Path, collection: Collection) -> Iterator[Callable[[int, list[str], list[str]], None]]:
    """Open the table that says which row is which photo; gives what adds rows to it: first number, names, contents."""
    columns = {"id": "int64", "path": "string", "sha": "string"}
    if place.suffix == ".parquet":
        with TableFile(draft, place, columns, None, about(collection)) as table:
            yield lambda first, names, contents: table.write(
                {"id": range(first, first + len(names)), "path": names, "sha": contents}
            )
        return
    with open_text(draft, place) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)

        def write(first: int, names: list[str], contents: list[str]) -> None:
            with explained(place):
                writer.writerows(zip(itertools.count(first), (as_cell(name.encode()) for name in names), contents))

        yield write
