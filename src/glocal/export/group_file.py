"""HDF5 files as hloc reads them: a group of arrays per name (h5py, extra `hloc`)."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from glocal.errors import BackendUnavailable
from glocal.export.drafts import explained


def expect_h5py() -> None:
    """Make sure that HDF5 can be written.

    Raises:
        BackendUnavailable: h5py is not installed.
    """
    if importlib.util.find_spec("h5py") is None:
        raise BackendUnavailable("glocal export hloc needs h5py → pip install 'glocal[hloc]'")


class _Patient(io.FileIO):
    """A file that takes everything, and remembers what went wrong.

    HDF5 must not learn that a write failed: closing its file ends the process then, by a segmentation fault.
    """

    error: BaseException | None = None

    def write(self, data: Any) -> int:
        try:
            rest = memoryview(data)
            while self.error is None and rest:
                rest = rest[super().write(rest) or 0 :]
        except BaseException as error:  # noqa: BLE001 - `GroupFile` raises it, outside of HDF5
            self.error = error
        if self.error is not None:
            self.seek(len(data), os.SEEK_CUR)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.error is None:
                super().truncate(size)
        except BaseException as error:  # noqa: BLE001 - likewise
            self.error = error
        return size or 0

    def flush(self) -> None:
        """Nothing waits here."""


class GroupFile:
    """An HDF5 file that is written group by group; "/" in a name nests groups, as hloc expects."""

    def __init__(self, draft: Path, place: Path, metadata: Mapping[str, str]) -> None:
        """Open it.

        Args:
            draft: the file that is written, empty.
            place: where it will be, for error messages.
            metadata: attributes of the root; hloc takes every array for one of a photo, so the root has none.
        """
        import h5py  # noqa: PLC0415 - optional

        self._place = place
        self._bytes = _Patient(draft, "w+")
        # Groups as of HDF5 1.8: half the bytes of the oldest kind, and every reader of today knows them.
        self._file: Any = h5py.File(self._bytes, "w", libver=("v108", "v110"))
        for name, text in metadata.items():
            self._file.attrs[name] = text

    def write(
        self, name: str, arrays: Mapping[str, NDArray[Any]], uncertainty: tuple[str, float] | None = None
    ) -> None:
        """Add a group.

        Args:
            name: of the group, not there yet.
            arrays: its datasets.
            uncertainty: the name of one of them, and pixels for its attribute of this name.

        Raises:
            DiskFull: no space is left.
            ConfigError: the file cannot be written.
        """
        group = self._file.create_group(name)
        for key, array in arrays.items():
            group.create_dataset(key, data=array)
        if uncertainty is not None:
            group[uncertainty[0]].attrs["uncertainty"] = uncertainty[1]
        self._check()

    def _check(self) -> None:
        if self._bytes.error is not None:
            with explained(self._place):
                raise self._bytes.error

    def __contains__(self, name: str) -> bool:
        return name in self._file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._bytes:
            try:
                self._file.close()
            except (OSError, RuntimeError):
                if self._bytes.error is None and kind is None:
                    raise
            if kind is None:
                self._check()
