"""Arrays <-> the bytes of a database row: fixed little-endian layout, every length checked before use (NumPy)."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ShapeError, StoreError
from glocal.store.rows import LocalForm, SignFeatures
from glocal.types import LocalFeatures

_LEVELS = 127  # int8, symmetric
_SIGNS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float32) * 2 - 1
"""(256, 8): the eight signs of a byte."""

EXACT_KEYPOINT_BYTES = 16
"""Of a keypoint, its scale and score in a collection of format 1: four float32."""
MAX_KEYPOINTS = 1 << 16
"""Of one photo: as many as a model may be asked for."""
KEYPOINT_BYTES = 6
"""The most that they take now: 2 for x, 2 for y, 1 for the scale, 1 for the score."""
_HEADER = struct.Struct("<8f2H")
"""Least and greatest x, y, scale and score; how many different x and y there are, 0 where these are not told apart."""
_DEFLATED = 16
"""Deflate makes what it cannot shrink longer by so many bytes, and by a thousandth."""
_PLACES, _STEPS = 65535, 255
_FEW = 256
_RUNGS = np.arange(_STEPS + 1) / _STEPS


def encode_vector(vector: NDArray[np.float32]) -> bytes:
    """(D,) float32 -> 4 * D bytes."""
    return vector.astype("<f4").tobytes()


def decode_vectors(blobs: list[bytes], dim: int) -> NDArray[np.float32]:
    """Rows of 4 * D bytes -> (N, D) float32.

    Raises:
        StoreError: if a row has another length (a damaged collection).
    """
    joined = b"".join(blobs)
    if len(joined) != 4 * dim * len(blobs) or any(len(blob) != 4 * dim for blob in blobs):
        raise StoreError(
            f"the collection is damaged: a descriptor does not have {dim} numbers → index the folder again"
        )
    return np.frombuffer(joined, "<f4").reshape(len(blobs), dim).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class EncodedLocal:
    """Local features as they are stored.

    Attributes:
        count: number of keypoints.
        step: value of one int8 level; 1 in other forms.
        descriptors: their numbers in the collection's form.
        geometry: keypoints (x, y), scales and scores.
        checksum: CRC-32 of both.
    """

    count: int
    step: float
    descriptors: bytes
    geometry: bytes
    checksum: int


def most_bytes(count: int, dim: int, form: LocalForm, exact: bool = False) -> int:
    """The most bytes that `count` local features of `dim` numbers take."""
    descriptors = count * form.descriptor_bytes(dim)
    if exact or not count:
        return descriptors + count * EXACT_KEYPOINT_BYTES
    geometry = _HEADER.size + count * KEYPOINT_BYTES
    return descriptors + geometry + geometry // 1000 + _DEFLATED


def encode_local(local: LocalFeatures, form: LocalForm = LocalForm.INT8, exact: bool = False) -> EncodedLocal:
    """Local features -> bytes.

    Args:
        local: what is stored.
        form: int8 descriptors have one step per photo, binary ones their signs alone.
        exact: keep keypoints, scales and scores as float32, as format 1 did. Otherwise x and y are off by at most
            1 / 131070 of what the keypoints span (0.004 of 512 pixels), scales and scores by 1 / 510 of the logarithm
            of greatest by least; the order of the scores stays.

    Raises:
        ShapeError: a number is not finite, there are too many, or signs do not fill whole bytes.
    """
    if len(local) > MAX_KEYPOINTS:
        raise ShapeError(f"'{local.id}': {len(local)} keypoints, more than {MAX_KEYPOINTS}")
    table = np.concatenate([local.keypoints, local.scales[:, None], local.scores[:, None]], axis=1)
    if not np.isfinite(table).all():
        raise ShapeError(f"'{local.id}': keypoints, scales and scores must be finite")
    step = 1.0
    if form == LocalForm.INT8:
        peak = float(np.abs(local.descriptors).max(initial=0.0))
        step = peak / _LEVELS if peak > 0 else 1.0
        descriptors = np.rint(local.descriptors / step).astype(np.int8).tobytes()
    elif form == LocalForm.FLOAT16:
        descriptors = local.descriptors.astype("<f2").tobytes()
    else:
        if local.descriptors.shape[1] % 8:
            raise ShapeError(f"'{local.id}': {local.descriptors.shape[1]} signs do not fill whole bytes")
        descriptors = np.packbits(local.descriptors > 0, axis=1).tobytes()
    geometry = table.astype("<f4").tobytes() if exact else _encode_geometry(table)
    return EncodedLocal(len(local), step, descriptors, geometry, zlib.crc32(geometry, zlib.crc32(descriptors)))


@dataclass(frozen=True, slots=True)
class LocalRow:
    """A stored row and whose it is.

    Attributes:
        name: id of the picture.
        size: (W, H) of the upright picture in pixels.
        encoded: its local features.
    """

    name: str
    size: tuple[int, int]
    encoded: EncodedLocal


def decode_local(
    encoded: EncodedLocal,
    name: str,
    size: tuple[int, int],
    dim: int,
    form: LocalForm = LocalForm.INT8,
    exact: bool = False,
) -> LocalFeatures:
    """The inverse of `encode_local`; descriptors are normalised again, signs become ±1 / sqrt(d).

    Raises:
        StoreError: a damaged collection.
    """
    return decode_many([LocalRow(name, size, encoded)], dim, form, exact)[0]


def decode_many(
    rows: Sequence[LocalRow], dim: int, form: LocalForm = LocalForm.INT8, exact: bool = False
) -> list[LocalFeatures]:
    """As `decode_local`, for several pictures at once.

    All descriptors lie in one block of memory, which is half of the time for a hundred photos; it is freed with the
    last of them.

    Raises:
        StoreError: a damaged collection.
    """
    for row in rows:
        _expect_lengths(row, dim, form)  # before memory is asked for
    ends = np.cumsum([0, *(row.encoded.count for row in rows)])
    block = np.empty((int(ends[-1]), dim), np.float32)

    def decode(row: LocalRow, start: int, end: int) -> LocalFeatures:
        try:
            _expect_checksum(row.encoded)
            with np.errstate(all="ignore"):
                _decode_descriptors(row.encoded.descriptors, form, block[start:end])
                read = _decode_exact if exact else _decode_geometry
                keypoints, scales, scores = read(row.encoded.geometry, row.encoded.count)
            return LocalFeatures(row.name, row.size, keypoints, block[start:end], scores, scales)
        except (ValueError, IndexError, ShapeError, zlib.error) as error:
            raise _damage(row) from error

    return list(map(decode, rows, ends[:-1].tolist(), ends[1:].tolist()))


def decode_signs(encoded: EncodedLocal, name: str, size: tuple[int, int], dim: int) -> SignFeatures:
    """What verification needs of a binary collection's row: keypoints, and the signs as they are stored.

    Raises:
        StoreError: a damaged collection.
    """
    row = LocalRow(name, size, encoded)
    _expect_lengths(row, dim, LocalForm.BINARY)
    try:
        _expect_checksum(encoded)
        keypoints, _ = _decode_keypoints(_inflated(encoded.geometry, encoded.count), encoded.count)
    except (ValueError, IndexError, zlib.error) as error:
        raise _damage(row) from error
    bits = np.frombuffer(encoded.descriptors, np.uint8).reshape(encoded.count, dim // 8)
    return SignFeatures(name, size, keypoints, bits)


def _damage(row: LocalRow) -> StoreError:
    return StoreError(f"the collection is damaged: local features of '{row.name}' → index the folder again")


def _expect_lengths(row: LocalRow, dim: int, form: LocalForm) -> None:
    """Refuse a row of other types than we write (a column of SQLite holds any), or of other lengths."""
    encoded = row.encoded
    sound = (
        isinstance(encoded.descriptors, bytes)
        and isinstance(encoded.geometry, bytes)
        and isinstance(encoded.count, int)
        and 0 <= encoded.count <= (MAX_KEYPOINTS if dim else 0)
        and all(isinstance(side, int) and side > 0 for side in row.size)
        and len(encoded.descriptors) == encoded.count * form.descriptor_bytes(dim)
    )
    if not sound:
        raise _damage(row)


def _expect_checksum(encoded: EncodedLocal) -> None:
    if zlib.crc32(encoded.geometry, zlib.crc32(encoded.descriptors)) != encoded.checksum:
        raise ValueError("another checksum")


def _decode_descriptors(data: bytes, form: LocalForm, rows: NDArray[np.float32]) -> None:
    """Write what (N, d) descriptors mean into `rows`."""
    if form == LocalForm.BINARY:
        signs = _SIGNS / np.float32(math.sqrt(max(rows.shape[1], 1)))
        signs.take(np.frombuffer(data, np.uint8), axis=0, out=rows.reshape(-1, 8), mode="clip")
        return
    rows[:] = np.frombuffer(data, np.int8 if form == LocalForm.INT8 else "<f2").reshape(rows.shape)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    rows *= (1 / np.maximum(norms, np.float32(1e-12)))[:, None]


Table = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Keypoints (N, 2), scales (N,) and scores (N,)."""


def _decode_exact(geometry: bytes, count: int) -> Table:
    table = np.frombuffer(geometry, "<f4").reshape(count, 4).astype(np.float32)
    if not np.isfinite(table).all():
        raise ValueError("a keypoint, scale or score is not finite")
    return np.ascontiguousarray(table[:, :2]), table[:, 2].copy(), table[:, 3].copy()


def _encode_geometry(table: NDArray[np.float32]) -> bytes:
    """(N, 4) x, y, scale and score, best first -> at most 6 bytes for each and some 50 more.

    Key points of a network stand on few columns and rows of cells: then one byte says on which. Deflate does the rest;
    such photos take 2.6 bytes for each.
    """
    if not len(table):
        return b""
    least, greatest = table.min(axis=0), table.max(axis=0)
    distinct, parts = [], []
    for axis in (0, 1):
        shares = _shares(table[:, axis], least[axis], greatest[axis], logarithmic=False)
        codes = np.rint(shares * _PLACES).astype("<u2")
        places, at = np.unique(codes, return_inverse=True)
        few = len(places) <= min(_FEW, len(table) / 2)  # else naming the places takes more than it saves
        distinct.append(len(places) if few else 0)
        parts += [places, at.astype(np.uint8)] if few else [codes]
    scales, scores = (
        np.rint(_shares(table[:, axis], least[axis], greatest[axis], logarithmic=True) * _STEPS) for axis in (2, 3)
    )
    # Scores fall: their steps are small numbers, which deflate well.
    parts += [scales.astype(np.uint8), -np.diff(scores, prepend=_STEPS).astype(np.int64).astype(np.uint8)]
    ranges = np.stack([least, greatest], axis=1).ravel().tolist()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)  # bare: the row has a checksum
    body = _HEADER.pack(*ranges, *distinct) + b"".join(part.tobytes() for part in parts)
    return deflate.compress(body) + deflate.flush()


def _shares(
    values: NDArray[np.float32], least: np.float32, greatest: np.float32, logarithmic: bool
) -> NDArray[np.float64]:
    """Where values lie between their least, 0, and greatest, 1; by logarithms, where all are positive."""
    numbers, start, end = values.astype(np.float64), float(least), float(greatest)
    if logarithmic and start > 0:
        numbers, start, end = np.log(numbers), math.log(start), math.log(end)
    return np.clip((numbers - start) / (end - start), 0, 1) if end > start else np.zeros(len(values))


def _inflated(geometry: bytes, count: int) -> memoryview:
    """The bytes that were deflated, never more than `count` keypoints can have."""
    if not count:
        if geometry:
            raise ValueError("geometry of no keypoints")
        return memoryview(b"")
    most = _HEADER.size + KEYPOINT_BYTES * count
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflate.decompress(geometry, most + 1)
    if not inflate.eof or inflate.unused_data or len(body) > most or len(body) < _HEADER.size:
        raise ValueError("geometry of another length")
    return memoryview(body)


def _decode_keypoints(body: memoryview, count: int) -> tuple[NDArray[np.float32], int]:
    """Keypoints (N, 2), and where the scales begin."""
    keypoints = np.empty((count, 2), np.float32)
    if not count:
        return keypoints, 0
    *ranges, few_x, few_y = _HEADER.unpack_from(body)
    if not all(map(math.isfinite, ranges)) or any(ranges[i] > ranges[i + 1] for i in (0, 2, 4, 6)):
        raise ValueError("ranges that are none")
    at = _HEADER.size
    for axis, few in enumerate((few_x, few_y)):
        least, greatest = ranges[2 * axis : 2 * axis + 2]
        places = np.frombuffer(body, "<u2", few or count, at)
        at += places.nbytes
        values = (least + places * ((greatest - least) / _PLACES)).astype(np.float32)
        if few:
            which = np.frombuffer(body, np.uint8, count, at)
            at += count
            values = values.take(which)  # an IndexError, if there is no such place
        keypoints[:, axis] = values
    if len(body) != at + 2 * count:
        raise ValueError("geometry of another length")
    return keypoints, at


def _decode_geometry(geometry: bytes, count: int) -> Table:
    body = _inflated(geometry, count)
    keypoints, at = _decode_keypoints(body, count)
    if not count:
        return keypoints, np.empty(0, np.float32), np.empty(0, np.float32)
    ranges = _HEADER.unpack_from(body)
    scales = np.frombuffer(body, np.uint8, count, at)
    fallen = np.frombuffer(body, np.uint8, count, at + count).cumsum(dtype=np.int64)
    if fallen[-1] > _STEPS:
        raise ValueError("scores that fall below their least")
    return keypoints, _ladder(*ranges[4:6])[scales], _ladder(*ranges[6:8])[_STEPS - fallen]


def _ladder(least: float, greatest: float) -> NDArray[np.float32]:
    """The 256 values that a byte means, rising."""
    if least > 0:
        start, end = math.log(least), math.log(greatest)
        values = np.exp(start + _RUNGS * (end - start)).astype(np.float32)
    else:
        values = (least + _RUNGS * (greatest - least)).astype(np.float32)
    return np.maximum.accumulate(values)  # rounding must not turn the order of two scores
