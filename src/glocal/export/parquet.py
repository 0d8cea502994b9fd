"""A collection as one Parquet table: a row per file, with its global descriptor (pyarrow, extra `parquet`)."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from glocal.errors import BackendUnavailable
from glocal.export.drafts import Drafts, explained
from glocal.export.names import Format, choose_names, decodable, write_map
from glocal.export.photos import ExportReport, Tick, in_blocks, listed, no_tick, precision_of, start_report
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow

FILE_NAME = "photos.parquet"
ROW_GROUP = 8192
"""Rows written at a time: 16 MiB of 1024-d float16."""


def is_installed() -> bool:
    """Whether Parquet can be written here."""
    return importlib.util.find_spec("pyarrow") is not None


def export_parquet(
    collection: Collection,
    place: Path,
    precision: str = "float16",
    rename_map: Path | None = None,
    force: bool = False,
    tick: Tick = no_tick,
) -> ExportReport:
    """Write a table with the columns id, path, sha, w, h, label, global; a row for every searchable file.

    `id` is the number of the row, `sha` the content hash that glocal calls a picture by (BLAKE2b-128), `w` and `h` are
    the pixels of the upright photo, `global` is its descriptor, of unit norm before rounding. One row group is in
    memory at a time, and the names.

    Args:
        collection: open for reading.
        place: the file.
        precision: "float16" or "float32".
        rename_map: where a CSV of safe names goes, and consent to them; None refuses names that are not UTF-8.
        force: replace files that are there.
        tick: is told of the progress.

    Raises:
        BackendUnavailable: pyarrow is not installed.
        NothingToDo: the collection is empty, or has names that are not UTF-8.
        ConfigError: a file exists already or cannot be written.
        DiskFull: no space is left.
    """
    kind = precision_of(precision)
    expect_pyarrow("glocal export parquet")
    with collection.snapshot():
        report = start_report(collection)
        names = choose_names((row.path for row in listed(collection)), Format.TABLE, rename_map is not None)
        total = report.copies + collection.counts()["contents"]
        with Drafts(force) as drafts:
            if rename_map is not None:
                rows = ((row.path, names.of(row.path)) for row in listed(collection))
                write_map(drafts.add(rename_map), rows, rename_map)
            columns = {"id": "int64", "path": "string", "sha": "string", "w": "int32", "h": "int32", "label": "string"}
            with TableFile(
                drafts.add(place), place, columns, {"global": (precision, collection.spec.dim)}, about(collection)
            ) as table:
                for rows_of_block, vectors in in_blocks(listed(collection), collection, ROW_GROUP):
                    own = [names.of(row.path) for row in rows_of_block]
                    table.write(
                        {
                            "id": range(report.photos, report.photos + len(own)),
                            "path": own,
                            "sha": [row.content_hash for row in rows_of_block],
                            "w": [row.width for row in rows_of_block],
                            "h": [row.height for row in rows_of_block],
                            "label": [_label(collection, row) for row in rows_of_block],
                            "global": vectors.astype(kind),
                        }
                    )
                    report.photos += len(own)
                    tick("Photos", report.photos, total)
            report.written = drafts.publish()
    return report


def _label(collection: Collection, row: CatalogueRow) -> str | None:
    label = collection.label(os.fsdecode(row.path))
    return None if label is None else decodable(label)


def about(collection: Collection) -> dict[str, str]:
    """What made the descriptors, for the metadata of a file."""
    return {"glocal.extractor": collection.spec.to_json()}


def expect_pyarrow(what: str) -> None:
    """Make sure that Parquet can be written.

    Raises:
        BackendUnavailable: pyarrow is not installed.
    """
    if not is_installed():
        raise BackendUnavailable(f"{what} needs pyarrow → pip install 'glocal[parquet]'")


class TableFile:
    """A Parquet file that is written row group by row group."""

    def __init__(
        self,
        draft: Path,
        place: Path,
        columns: Mapping[str, str],
        vectors: Mapping[str, tuple[str, int]] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Open it.

        Args:
            draft: the file that is written.
            place: where it will be, for error messages.
            columns: name -> "int64", "int32" or "string".
            vectors: name -> precision and length of columns of vectors, after the others.
            metadata: texts about the whole.
        """
        import pyarrow  # noqa: PLC0415 - optional, and slow to import
        import pyarrow.parquet  # noqa: PLC0415 - likewise

        self._arrow, self._place = pyarrow, place
        plain = {"int64": pyarrow.int64(), "int32": pyarrow.int32(), "string": pyarrow.string()}
        numbers = {"float16": pyarrow.float16(), "float32": pyarrow.float32()}
        fields = [pyarrow.field(name, plain[kind]) for name, kind in columns.items()]
        for name, (kind, length) in (vectors or {}).items():
            fields.append(pyarrow.field(name, pyarrow.list_(numbers[kind], length)))
        self._schema = pyarrow.schema(fields, metadata=dict(metadata or {}))
        with explained(place):
            # Dictionaries help where values repeat; among descriptors none does.
            self._writer: Any = pyarrow.parquet.ParquetWriter(draft, self._schema, use_dictionary=["label"])

    def write(self, columns: Mapping[str, Any]) -> None:
        """Write one row group: as many values in each column, (B, D) arrays in those of vectors.

        Raises:
            DiskFull: no space is left.
            ConfigError: the file cannot be written.
        """
        arrays = []
        for field in self._schema:
            values = columns[field.name]
            if isinstance(values, np.ndarray) and values.ndim == 2:
                flat = self._arrow.array(np.ascontiguousarray(values).reshape(-1))
                arrays.append(self._arrow.FixedSizeListArray.from_arrays(flat, values.shape[1]))
            else:
                arrays.append(self._arrow.array(values, field.type))
        table = self._arrow.Table.from_arrays(arrays, schema=self._schema)
        with explained(self._place):
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with explained(self._place):
                self._writer.close()
        else:
            with contextlib.suppress(OSError, RuntimeError):  # what went wrong is told already
                self._writer.close()
