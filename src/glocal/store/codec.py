"""Arrays <-> the bytes of a database row: fixed little-endian layout, every length checked before use (NumPy)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import StoreError
from glocal.types import LocalFeatures

_LEVELS = 127  # int8, symmetric


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
    """Local features as they are stored: int8 descriptors with one step per photo, the rest float32.

    Attributes:
        count: number of keypoints.
        step: value of one int8 level.
        descriptors: count * d bytes.
        geometry: keypoints (x, y), scales and scores, count * 16 bytes.
        checksum: CRC-32 of both.
    """

    count: int
    step: float
    descriptors: bytes
    geometry: bytes
    checksum: int


def encode_local(local: LocalFeatures) -> EncodedLocal:
    """Quantise the descriptors to int8; keypoints, scales and scores are kept exactly."""
    peak = float(np.abs(local.descriptors).max(initial=0.0))
    step = peak / _LEVELS if peak > 0 else 1.0
    levels = np.rint(local.descriptors / step).astype(np.int8)
    table = np.concatenate([local.keypoints, local.scales[:, None], local.scores[:, None]], axis=1)
    descriptors, geometry = levels.tobytes(), table.astype("<f4").tobytes()
    return EncodedLocal(len(local), step, descriptors, geometry, zlib.crc32(geometry, zlib.crc32(descriptors)))


def decode_local(encoded: EncodedLocal, name: str, size: tuple[int, int], dim: int) -> LocalFeatures:
    """The inverse of `encode_local`; descriptors are normalised again.

    Raises:
        StoreError: if lengths or the checksum do not fit (a damaged collection).
    """
    count = encoded.count
    whole = zlib.crc32(encoded.geometry, zlib.crc32(encoded.descriptors)) == encoded.checksum
    if not whole or len(encoded.descriptors) != count * dim or len(encoded.geometry) != count * 16:
        raise StoreError(f"the collection is damaged: local features of '{name}' → index the folder again")
    descriptors = np.frombuffer(encoded.descriptors, np.int8).reshape(count, dim).astype(np.float32)
    norms = np.linalg.norm(descriptors, axis=1, keepdims=True)
    table = np.frombuffer(encoded.geometry, "<f4").reshape(count, 4).astype(np.float32)
    return LocalFeatures(
        id=name,
        size=size,
        keypoints=np.ascontiguousarray(table[:, :2]),
        descriptors=descriptors / np.maximum(norms, 1e-12),
        scores=table[:, 3].copy(),
        scales=table[:, 2].copy(),
    )
