"""What passes between the indexer and its worker processes: a JSON header and raw arrays, never a pickle.

A worker decodes hostile files, so nothing that it sends is trusted: lengths are bounded and types are on
a list before anything is allocated.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import RetrievalError

MAX_HEADER_BYTES = 1 << 20
MAX_PAYLOAD_BYTES = 512 << 20
_LENGTHS = struct.Struct("<II")
_DTYPES = ("float32", "float64", "uint8", "int64")

Arrays = Mapping[str, NDArray[Any]]


class MessageError(RetrievalError):
    """A worker sent something that is no message."""


def pack(header: Mapping[str, Any], arrays: Arrays) -> bytes:
    """A message: two lengths, the JSON header (with the arrays' types and shapes), the arrays' bytes."""
    described = [[name, str(array.dtype), list(array.shape)] for name, array in arrays.items()]
    head = json.dumps({**header, "arrays": described}).encode("ascii")
    # Pixels are megabytes: they are copied once.
    body = [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays.values()]
    return b"".join([_LENGTHS.pack(len(head), sum(part.nbytes for part in body)), head, *body])


def unpack(buffer: bytearray) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Take one message off the front of a buffer; None while it is not complete.

    Raises:
        MessageError: the bytes are no message.
    """
    if len(buffer) < _LENGTHS.size:
        return None
    head_size, body_size = _LENGTHS.unpack_from(buffer)
    if head_size > MAX_HEADER_BYTES or body_size > MAX_PAYLOAD_BYTES:
        raise MessageError(f"a worker announced a message of {head_size} + {body_size} bytes")
    end = _LENGTHS.size + head_size + body_size
    if len(buffer) < end:
        return None
    try:
        with memoryview(buffer) as view:
            header = json.loads(bytes(view[_LENGTHS.size : _LENGTHS.size + head_size]))
            arrays = _arrays(header.pop("arrays"), bytes(view[_LENGTHS.size + head_size : end]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MessageError(f"a worker sent a damaged message: {error}") from error
    del buffer[:end]
    return header, arrays


def _arrays(described: list[tuple[str, str, list[int]]], body: bytes) -> dict[str, NDArray[Any]]:
    arrays = {}
    offset = 0
    for name, dtype, shape in described:
        if dtype not in _DTYPES or any(not isinstance(n, int) or n < 0 for n in shape):
            raise ValueError(f"array '{name}' of type {dtype} {shape}")
        count = int(np.prod(shape, dtype=np.int64)) if shape else 1
        array = np.frombuffer(body, dtype, count, offset)  # raises ValueError past the end
        arrays[name] = array.reshape(shape)
        offset += array.nbytes
    if offset != len(body):
        raise ValueError(f"{len(body) - offset} bytes too many")
    return arrays
