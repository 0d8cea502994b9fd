import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.extract.messages import MessageError, pack, unpack


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (1, 2, 3)])
def test_a_message_survives_the_round_trip(dtype, shape):
    array = np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
    buffer = bytearray(pack({"name": "\udcff.jpg"}, {"a": array, "b": array}) + b"rest")
    header, arrays = unpack(buffer)
    assert header == {"name": "\udcff.jpg"}
    assert np.array_equal(arrays["a"], array)
    assert arrays["b"].dtype == array.dtype
    assert buffer == b"rest"


def test_an_incomplete_message_waits_for_the_rest():
    whole = pack({"x": 1}, {"a": np.ones(3, np.float32)})
    for end in range(len(whole)):
        assert unpack(bytearray(whole[:end])) is None


def framed(head: bytes, body: bytes = b"") -> bytearray:
    return bytearray(struct.pack("<II", len(head), len(body)) + head + body)


@pytest.mark.parametrize(
    "buffer",
    [
        bytearray(b"\xff" * 16),
        framed(b"not json"),
        framed(b"[]"),
        framed(b"{}"),
        framed(json.dumps({"arrays": [["a", "object", [1]]]}).encode(), b"x" * 8),
        framed(json.dumps({"arrays": [["a", "float32", [-1]]]}).encode(), b"x" * 8),
        framed(json.dumps({"arrays": [["a", "float32", [2**40]]]}).encode(), b"x" * 8),
        framed(json.dumps({"arrays": [["a", "float32", [1]]]}).encode(), b"x" * 8),
    ],
)
def test_what_is_no_message_is_refused_before_anything_is_allocated(buffer):
    with pytest.raises(MessageError):
        unpack(buffer)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_crash(data):
    with contextlib.suppress(MessageError):
        unpack(bytearray(data))
