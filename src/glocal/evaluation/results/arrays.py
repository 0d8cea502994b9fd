"""Arrays in .npy files and .npz archives of strangers: the header is judged before anything is allocated.

Only plain numbers and texts are read: an array of Python objects can run code when it is loaded, and is refused.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from glocal.data.input_file import open_input, size_of
from glocal.errors import ConfigError
from glocal.evaluation.results.names import MAX_NAME
from glocal.progress import thousands

MAX_FILE = 32 << 30
"""Bytes of a .npy: a million descriptors of 2048 float64 are half of this."""
MAX_ARCHIVE = (1 << 31) - 1
"""Bytes of a .npz: the ranks of a million photos for 70 queries are a quarter of this."""
MAX_NAMES = 1 << 30
"""Bytes of an array of names."""
_MAX_HEADER = 4096
_MAX_DIRECTORY = 1 << 16
_CHUNK = 1 << 22
_END = 22  # bytes of the record at the end of a zip
# What the reader of headers and the one of archives raise on damaged bytes.
_DAMAGED = (
    ValueError, TypeError, KeyError, SyntaxError, EOFError, OverflowError, RecursionError, MemoryError, OSError,
    NotImplementedError, RuntimeError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What the head of a .npy says.

    Attributes:
        where: file and array, for messages.
        shape: as many numbers as dimensions.
        dtype: of its entries.
        columns_first: whether the first index runs fastest (Fortran order).
        num_bytes: of the data.
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    columns_first: bool
    num_bytes: int


def read_header(file: IO[bytes], where: str, size: int) -> Header:
    """Read the head of a .npy, up to its data.

    Args:
        file: at its start.
        where: file and array, for messages.
        size: bytes that there are, the head included.

    Raises:
        ConfigError: no .npy, Python objects or records, or another size than the head promises.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns_first, dtype = read(file, max_header_size=_MAX_HEADER)
    except _DAMAGED as error:
        raise ConfigError(f"{where}: no .npy array, or a damaged one ({error}) → write it again") from error
    if dtype.hasobject or dtype.names is not None or dtype.kind not in "biufcSU" or not dtype.itemsize:
        raise ConfigError(
            f"{where}: its entries are {dtype}, only numbers and texts are read: loading objects can run code "
            "→ numpy.save(…, allow_pickle=False) of numbers, or of numpy.array(names, str)"
        )
    num_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or num_bytes != size - file.tell():
        raise ConfigError(
            f"{where}: {shape} {dtype} needs {thousands(num_bytes)} bytes, there are {thousands(size - file.tell())} "
            "→ copy or write it again"
        )
    return Header(where, shape, dtype, columns_first, num_bytes)


def read_data(file: IO[bytes], header: Header) -> NDArray[Any]:
    """The array itself; the caller has found its header acceptable.

    Raises:
        ConfigError: the file ends early or is damaged.
    """
    try:
        data: NDArray[Any] = np.empty(header.num_bytes, np.uint8)
        for start in range(0, header.num_bytes, _CHUNK):
            part = file.read(min(_CHUNK, header.num_bytes - start))
            data[start : start + len(part)] = np.frombuffer(part, np.uint8)
            if len(part) < min(_CHUNK, header.num_bytes - start):
                raise EOFError("it ends early")
        file.read(1)  # an archive compares its checksum at the end
    except _DAMAGED as error:
        raise ConfigError(f"{header.where}: damaged ({error}) → copy or write it again") from error
    values = data.view(header.dtype)
    return values.reshape(header.shape[::-1]).T if header.columns_first else values.reshape(header.shape)


class Archive:
    """The arrays of a .npz, one at a time.

    Raises:
        ConfigError: no .npz, or an odd one: many members, a member twice, encrypted, or packed in an unusual way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_input(path, MAX_ARCHIVE)
        try:
            self._expect_small_directory()
            self._zip = zipfile.ZipFile(self._file)
        except _DAMAGED as error:
            self._file.close()
            raise ConfigError(f"{path}: no .npz archive, or a damaged one ({error}) → write it again") from error
        except ConfigError:
            self._file.close()
            raise
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            name = member.filename.removesuffix(".npy")
            if name in self._members:
                self._file.close()
                raise ConfigError(f'{path}: array "{name[:100]}" is there twice → write it again')
            self._members[name] = member

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def arrays(self) -> list[str]:
        """Their names."""
        return list(self._members)

    def header(self, name: str) -> Header:
        """What the head of an array says."""
        with self._open(name) as file:
            return read_header(file, self._where(name), self._members[name].file_size)

    def array(self, name: str) -> NDArray[Any]:
        """An array whose header the caller has found acceptable."""
        with self._open(name) as file:
            return read_data(file, read_header(file, self._where(name), self._members[name].file_size))

    def names(self, name: str, most: int) -> list[str] | None:
        """The entries of a list of texts; None where there is no such array.

        Args:
            name: of the array.
            most: entries that make sense.

        Raises:
            ConfigError: it is no such list, a text is no UTF-8, or there are too many.
        """
        if name not in self:
            return None
        header = self.header(name)
        longest = header.dtype.itemsize // (4 if header.dtype.kind == "U" else 1)
        if header.dtype.kind not in "US" or len(header.shape) != 1:
            raise ConfigError(
                f"{header.where}: a list of names was expected, not {header.shape} {header.dtype} "
                "→ numpy.array(names, str)"
            )
        if longest > MAX_NAME or header.shape[0] > most or header.num_bytes > MAX_NAMES:
            raise ConfigError(
                f"{header.where}: {thousands(header.shape[0])} names of up to {longest} characters are too many "
                "→ is it the file of another benchmark?"
            )
        try:
            texts = self.array(name).tolist()
            return [text.decode() if isinstance(text, bytes) else text for text in texts]
        except ValueError as error:
            raise ConfigError(f"{header.where}: a name is no text ({error}) → numpy.array(names, str)") from error

    def _where(self, name: str) -> str:
        return f'{self.path}, array "{name[:100]}"'

    def _open(self, name: str) -> IO[bytes]:
        member = self._members[name]
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ConfigError(f"{self._where(name)}: encrypted, or packed in an unusual way → numpy.savez_compressed")
        try:
            return self._zip.open(member)
        except _DAMAGED as error:
            raise ConfigError(f"{self._where(name)}: damaged ({error}) → write it again") from error

    def _expect_small_directory(self) -> None:
        """Refuse a zip whose list of members is long, or not where NumPy writes it, before the list is read."""
        size = size_of(self._file)
        self._file.seek(max(0, size - _END - 20))
        end = self._file.read()
        record, locator = end[-_END:], end[:-_END]
        if len(record) < _END or record[:4] != b"PK\5\6" or record[-2:] != b"\0\0":
            raise ValueError("it does not end as NumPy ends one")
        if locator[:4] == b"PK\6\7" or int.from_bytes(record[12:16], "little") > _MAX_DIRECTORY:
            raise ConfigError(f"{self.path}: a .npz of too many arrays or too many bytes → numpy.savez_compressed")
