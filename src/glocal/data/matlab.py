"""MATLAB files (.mat, version 5 to 7): numbers, texts, cells and structures, each bounded before it is read (NumPy).

The format is that of MathWorks' "MAT-File Format", level 5. SciPy reads it too, but nests as deep as a file says,
allocates what it claims, and unpacks what nobody asked for.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glocal.data.file_part import FilePart
from glocal.data.input_file import open_input, shown, size_of
from glocal.errors import ConfigError

MAX_BYTES = 64 << 20
MAX_UNPACKED = 256 << 20
MAX_VARIABLES = 10_000
MAX_DEPTH = 16
MAX_VALUES = 4_000_000
_HEADER = 128  # bytes before the first variable
_AHEAD = 1 << 12  # bytes of a variable in which its kind, shape and name are
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_COMPLEX, _LOGICAL = 0x08, 0x02
_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a file, not yet read.

    Attributes:
        name: of the variable.
        shape: rows, columns and so on.
        dtype: of its numbers, complex128 for all complex ones; None for texts, cells and structures.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None


def read_matlab(
    path: Path,
    wanted: Callable[[Variable], bool] | None = None,
    max_bytes: int = MAX_BYTES,
    max_unpacked: int = MAX_UNPACKED,
    instead: str = "",
) -> dict[str, Any]:
    """The variables of a .mat file by name.

    Numeric arrays become ndarrays of their shape, in Fortran's order, texts str, cells lists and structures lists of
    dicts (both in MATLAB's order, flat). A numeric variable is read straight into its array.

    Args:
        path: the file.
        wanted: says whether a variable is read; is asked once for each that could be, in the order of the file. Of the
            others no more than 4 KiB are unpacked. None for all variables, each of which then has to be read.
        max_bytes: what the file has at most.
        max_unpacked: bytes of what is read, unpacked and in the types of the variables, at most.
        instead: what else than saving the file again can be done where it cannot be read.

    Raises:
        ConfigError: no such file, damaged, of version 4 or 7.3, a variable twice, what is read has objects, functions,
            sparse or complex numbers, or larger than the limits.
    """
    with open_input(path, max_bytes) as file:
        try:
            return _Reader(file, max_unpacked).variables(wanted)
        except (_Unreadable, ValueError, OSError, MemoryError, struct.error, zlib.error) as error:
            raise ConfigError(
                f"{path} cannot be read as a .mat file: {str(error)[:200]} → save('{path.name}', …, '-v7') in MATLAB"
                + (f", or {instead}" if instead else "")
            ) from error


class _Unreadable(Exception):
    """What is wrong with the file."""


class _OtherKind(_Unreadable):
    """A kind of variable that is not read."""


class _Head(NamedTuple):
    """What a variable, cell or field is, and where in its bytes its value begins."""

    kind: int
    variable: Variable
    position: int


class _Reader:
    """Reads elements, each a tag of type and size and its bytes."""

    def __init__(self, file: BufferedReader, max_unpacked: int) -> None:
        head = file.read(_HEADER)
        if head[:8] == b"\x89HDF\r\n\x1a\n" or head[:10] == b"MATLAB 7.3":
            raise _Unreadable("it is of version 7.3 (HDF5)")
        if head[124:128] not in _ORDERS:
            raise _Unreadable("it has no header of version 5 to 7")
        self._file = file
        self._order = _ORDERS[head[124:128]]
        self._limit = self._left = max_unpacked
        self._values = 0

    def variables(self, wanted: Callable[[Variable], bool] | None) -> dict[str, Any]:
        """The variables that are wanted; unnamed ones are what MATLAB keeps for itself."""
        found: dict[str, Any] = {}
        seen: set[str] = set()
        for source, size in self._sources():
            ahead = memoryview(source.read(min(size, _AHEAD)))
            try:
                head = self._head(ahead) if size else None
            except _OtherKind:
                if wanted is None:
                    raise
                head = None
            if head is None or not head.variable.name:
                continue
            name = head.variable.name
            if name in seen:
                raise _Unreadable(f"variable {shown(name)} is there twice")
            seen.add(name)
            if wanted is None or wanted(head.variable):
                found[name] = self._read(head, ahead, source, size)
                source.read(_AHEAD)  # what fills up the value
                if not source.ended:
                    raise _Unreadable(f"variable {shown(name)} does not end where its value does")
        return found

    def _sources(self) -> Iterator[tuple[FilePart, int]]:
        """Each variable, before its head, and its size unpacked."""
        position, end = _HEADER, size_of(self._file)
        for number in itertools.count():
            if position >= end:
                return
            if number == MAX_VARIABLES:
                raise _Unreadable(f"more than {MAX_VARIABLES:,} variables")
            self._file.seek(position)
            kind, size, start, after = self._tag(memoryview(self._file.read(8)), 0)
            if kind not in (_MATRIX, _COMPRESSED):
                raise _Unreadable(f"an element of type {kind} where a variable was expected")
            if position + start + size > end:
                raise _Unreadable(f"it ends early: {size:,} bytes are said to follow byte {position + start:,}")
            source = FilePart(self._file, size, kind == _COMPRESSED)
            position += start + size if kind == _COMPRESSED else after
            if kind == _COMPRESSED:
                kind, size, _, _ = self._tag(memoryview(source.read(8)), 0)
                if kind != _MATRIX:
                    raise _Unreadable(f"an element of type {kind} where a variable was expected")
            yield source, size

    def _read(self, head: _Head, ahead: memoryview, source: FilePart, size: int) -> Any:
        """The value of a variable whose first bytes were read."""
        if head.variable.dtype is None:
            self._spend(size)
            content = memoryview(bytearray(size))
            _fill(content, ahead, source)
            return self._value(head, content, 0)
        kind, num_bytes, start, _ = self._tag(ahead, head.position)
        stored = self._expect_numbers(head.variable, kind, num_bytes)
        if start + num_bytes > size:
            raise _Unreadable(f"it ends early: {num_bytes:,} bytes are said to follow in a variable of {size:,}")
        flat = np.empty(num_bytes, np.uint8)
        _fill(flat.data, ahead[start : start + num_bytes], source)
        return _shaped(flat.view(stored), head.variable)

    def _tag(self, data: memoryview, position: int) -> tuple[int, int, int, int]:
        """Type and size of the element at a position, where its bytes start, and where the next one does."""
        if position + 8 > len(data):
            raise _Unreadable("it ends early: an element has no type and size")
        kind, size = struct.unpack_from(f"{self._order}II", data, position)
        if kind >> 16:  # up to four bytes are packed into the tag
            if kind >> 16 > 4:
                raise _Unreadable(f"a small element of {kind >> 16} bytes")
            return kind & 0xFFFF, kind >> 16, position + 4, position + 8
        return kind, size, position + 8, position + 8 + size + -size % 8

    def _element(self, data: memoryview, position: int) -> tuple[int, memoryview, int]:
        """Type and bytes of the element at a position, and where the next one starts."""
        kind, size, start, end = self._tag(data, position)
        if start + size > len(data):
            raise _Unreadable(f"it ends early: {size:,} bytes are said to follow")
        return kind, data[start : start + size], end

    def _head(self, data: memoryview) -> _Head:
        """What a variable, cell or field is."""
        _, flags, position = self._element(data, 0)
        (word,) = struct.unpack_from(f"{self._order}I", flags)
        kind, bits = word & 0xFF, word >> 8 & 0xFF
        if kind not in (_CELL, _STRUCT, _CHAR) and kind not in _CLASS:
            raise _OtherKind(f"an object, function or sparse array (class {kind})")
        _, sides, position = self._element(data, position)
        shape = tuple(np.frombuffer(sides[: len(sides) // 4 * 4], f"{self._order}i4").tolist())
        if not 1 <= len(shape) <= 8 or min(shape) < 0:
            raise _Unreadable(f"an array of shape {shape[:9]}")
        _, letters, position = self._element(data, position)
        name = bytes(letters).decode("latin-1").rstrip("\0")
        dtype = None
        if kind in _CLASS:
            dtype = np.dtype("c16" if bits & _COMPLEX else np.bool_ if bits & _LOGICAL else _CLASS[kind])
        return _Head(kind, Variable(name, shape, dtype), position)

    def _value(self, head: _Head, data: memoryview, depth: int) -> Any:
        """The value of a variable, cell or field whose bytes are all there."""
        variable, position = head.variable, head.position
        count: int = math.prod(variable.shape)
        if head.kind == _CELL:
            return self._children(data, position, count, depth)
        if head.kind == _STRUCT:
            return self._structures(data, position, count, depth)
        kind, content, _ = self._element(data, position)
        if head.kind == _CHAR:
            return self._text(kind, content, variable.shape)
        stored = self._expect_numbers(variable, kind, len(content))
        flat = np.frombuffer(content, stored) if count else np.empty(0, stored)
        return _shaped(flat, variable).copy("F")  # nothing keeps the bytes of its neighbours

    def _expect_numbers(self, variable: Variable, kind: int, num_bytes: int) -> np.dtype[Any]:
        """The type in which numbers are stored, which may be smaller than that of the variable."""
        assert variable.dtype is not None
        if variable.dtype.kind == "c":
            raise _Unreadable("complex numbers")
        count: int = math.prod(variable.shape)
        stored = np.dtype(self._order + _STORED[kind]) if kind in _STORED else None
        if stored is None or num_bytes != count * stored.itemsize:
            raise _Unreadable(f"an array of shape {variable.shape} in {num_bytes:,} bytes")
        self._spend(count * variable.dtype.itemsize)
        return stored

    def _spend(self, num_bytes: int) -> None:
        self._left -= num_bytes
        if self._left < 0:
            raise _Unreadable(f"more than {self._limit >> 20:,} MiB unpacked")

    def _children(self, data: memoryview, position: int, count: int, depth: int) -> list[Any]:
        """So many values one after the other."""
        if count * 8 > len(data) - position:  # each has a tag
            raise _Unreadable(f"{count:,} values in {len(data) - position:,} bytes")
        values = []
        for _ in range(count):
            kind, content, position = self._element(data, position)
            if kind != _MATRIX:
                raise _Unreadable(f"an element of type {kind} where a value was expected")
            self._values += 1
            if depth >= MAX_DEPTH or self._values > MAX_VALUES:
                raise _Unreadable(f"nested deeper than {MAX_DEPTH}, or more than {MAX_VALUES:,} values")
            values.append(self._value(self._head(content), content, depth + 1) if len(content) else np.empty((0, 0)))
        return values

    def _structures(self, data: memoryview, position: int, count: int, depth: int) -> list[dict[str, Any]]:
        _, width, position = self._element(data, position)
        (length,) = struct.unpack_from(f"{self._order}i", width)
        _, letters, position = self._element(data, position)
        if not 0 < length <= 64 or len(letters) % length:
            raise _Unreadable(f"field names of {length} letters in {len(letters):,} bytes")
        names = [
            bytes(letters[start : start + length]).split(b"\0")[0].decode("latin-1")
            for start in range(0, len(letters), length)
        ]
        if not names and count > MAX_VALUES:
            raise _Unreadable(f"{count:,} structures without fields")
        values = self._children(data, position, count * len(names), depth)
        wide = len(names)
        return [dict(zip(names, values[row * wide : (row + 1) * wide], strict=True)) for row in range(count)]

    def _text(self, stored: int, content: memoryview, shape: tuple[int, ...]) -> str:
        count: int = math.prod(shape)
        if stored not in _TEXT or (count and count != max(shape)):
            raise _Unreadable(f"a text of shape {shape} and type {stored}")
        coding = _TEXT[stored]
        if coding in ("utf-16", "utf-32"):
            coding += "-le" if self._order == "<" else "-be"
        return bytes(content).decode(coding)


def _fill(target: memoryview, known: memoryview, source: FilePart) -> None:
    """Put the bytes that were read and those that follow into a target."""
    target[: len(known)] = known
    if len(known) + source.fill(target[len(known) :]) < len(target):
        raise _Unreadable("it ends early: a variable is not whole")


def _shaped(flat: NDArray[Any], variable: Variable) -> NDArray[Any]:
    """Numbers in the type and shape of their variable; a copy only where they are stored in another type."""
    with np.errstate(all="ignore"):  # a hostile file may store what the type cannot hold
        return flat.astype(variable.dtype, copy=False).reshape(variable.shape, order="F")
