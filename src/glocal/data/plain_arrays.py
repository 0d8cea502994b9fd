"""How a Python object dump describes NumPy's arrays: its words, recognised, and the arrays made from their bytes.

Nothing that a file names is imported or called. What is made here is what NumPy 1 and 2 write in protocols 0 to 5 for
arrays of numbers and for its scalars; all else is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_COPIED = 256 << 20  # bytes of arrays: a few bytes of a file can ask for the same large one again and again
_MAX_SIDE = 1 << 30
_MAX_DIMENSIONS = 16

_NDARRAY, _DTYPE = "numpy ndarray", "numpy dtype"
_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
_SCALAR = ("numpy.core.multiarray scalar", "numpy._core.multiarray scalar")
_FROM_BUFFER = ("numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer")
_ENCODE = "_codecs encode"  # how dumps for Python 2 write bytes
_BYTES = ("__builtin__ bytes", "builtins bytes")
NAMES = frozenset((_NDARRAY, _DTYPE, _ENCODE, *_RECONSTRUCT, *_SCALAR, *_FROM_BUFFER, *_BYTES))
"""The names that a file may say, "module name"."""
_NUMBERS = frozenset(("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))


class Refused(Exception):
    """What the file may not do; becomes a ConfigError that names file and position."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the file may say, as a word."""

    text: str


@dataclass(slots=True)
class NumberType:
    """A data type that is being described; `dtype` is None until its byte order is known."""

    code: str
    dtype: np.dtype[Any] | None = None


@dataclass(slots=True, eq=False)
class Unfinished:
    """An array whose shape and bytes are still to come; `kept` is where it has been memorised."""

    kept: list[int] = field(default_factory=list)


class ArrayMaker:
    """Makes the arrays of one file, up to a number of bytes."""

    def __init__(self) -> None:
        self._copied = 0

    def call(self, name: Name, given: Any) -> Any:
        """What the file means by calling a name.

        Raises:
            Refused: NumPy does not call it so for an array of numbers.
        """
        text = name.text
        kinds = tuple(map(type, given)) if type(given) is tuple else (None,)
        if text in _BYTES and not kinds:
            return b""
        if text == _ENCODE and kinds == (str, str) and given[1] == "latin1":
            return self._latin(given[0])
        if text == _DTYPE and kinds[:1] == (str,) and given[0] in _NUMBERS:
            return NumberType(given[0])
        if text in _RECONSTRUCT and kinds[:1] == (Name,) and given[0].text == _NDARRAY:
            return Unfinished()
        if text in _SCALAR and kinds in ((NumberType, bytes), (NumberType, str)):
            content = self._latin(given[1]) if kinds[1] is str else given[1]
            return self._array((), given[0], False, content).item()
        if text in _FROM_BUFFER and kinds == (bytes, NumberType, tuple, str) and given[3] in ("C", "F"):
            return self._array(given[2], given[1], given[3] == "F", given[0])
        if text in _FROM_BUFFER and kinds == (bytes, NumberType, tuple, str, tuple) and given[3] == "K":
            array = self._array(given[2], given[1], False, given[0])
            if all(type(axis) is int for axis in given[4]) and sorted(given[4]) == list(range(array.ndim)):
                return array.transpose(given[4])
        raise Refused(f"it calls `{dotted(text)}` in a way that is not expected")

    def finish(self, state: Any) -> NDArray[Any]:
        """An array from what NumPy writes of it: version, shape, type, whether in Fortran's order, bytes.

        Raises:
            Refused: it is something else, or its bytes do not fit its shape.
        """
        kinds = tuple(map(type, state)) if type(state) is tuple else ()
        if kinds[:3] != (int, tuple, NumberType) or kinds[3:4] not in ((bool,), (int,)) or len(kinds) != 5:
            raise Refused("an array that is described in a way that is not expected")
        content = self._latin(state[4]) if kinds[4] is str else state[4]
        if type(content) is not bytes:
            raise Refused("an array of objects")
        return self._array(state[1], state[2], bool(state[3]), content)

    def _array(self, shape: Any, number_type: NumberType, fortran: bool, content: bytes) -> NDArray[Any]:
        dtype = number_type.dtype
        if dtype is None:
            raise Refused("an array whose byte order is not said")
        if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS or not all(type(side) is int for side in shape):
            raise Refused("an array whose shape is no tuple of numbers")
        if not all(0 <= side <= _MAX_SIDE for side in shape) or math.prod(shape) * dtype.itemsize != len(content):
            raise Refused(f"an array of shape {shape} and {dtype} in {len(content):,} bytes")
        self._copy(len(content))
        flat = np.frombuffer(content, dtype) if content else np.empty(0, dtype)
        # A copy in native order: writable, and nothing keeps the file's bytes.
        return flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), order="K")

    def _latin(self, text: str) -> bytes:
        """Bytes that were written as a text, one character for each."""
        self._copy(len(text))
        if text and max(text) > "\xff":
            raise Refused("bytes with a character beyond 255")
        return text.encode("latin-1")

    def _copy(self, size: int) -> None:
        self._copied += size
        if self._copied > MAX_COPIED:
            raise Refused(f"more than {MAX_COPIED >> 20} MiB of arrays")


def byte_order(code: str, state: Any) -> np.dtype[Any]:
    """A data type, from what NumPy writes of its byte order.

    Raises:
        Refused: it has fields or parts, or no byte order.
    """
    plain = type(state) is tuple and all(type(item) in (int, str, type(None)) for item in state)
    if not plain or state[:1] + state[2:] != (3, None, None, None, -1, -1, 0) or state[1] not in ("<", ">", "|"):
        raise Refused("an array of objects, fields or parts")
    dtype = np.dtype(code if state[1] == "|" else state[1] + code)
    if state[1] == "|" and dtype.itemsize > 1:
        raise Refused("an array whose byte order is not said")
    return dtype


def kind_of(value: Any) -> str:
    """A value of a file as a message names it."""
    if isinstance(value, Name):
        return f"`{dotted(value.text)}`"
    if isinstance(value, NumberType | Unfinished):
        return "half of an array"
    name = type(value).__name__
    return f"{'an' if name == 'int' else 'a'} {name}"


def dotted(name: Any) -> str:
    """A name of a file as it can be printed."""
    text = str(name).replace(" ", ".", 1)[:100]
    return "".join(letter if letter.isprintable() else "?" for letter in text)
