"""What a collection is written from and read into, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, ShapeError
from glocal.types import Extraction


class LocalForm(StrEnum):
    """How a collection keeps the numbers of its local descriptors; fixed when it is made.

    `INT8` takes d bytes for d numbers, `FLOAT16` 2 * d, `BINARY` d / 8: their signs alone (DELG*, see
    `glocal.rerank.binary`).
    """

    INT8 = "int8"
    FLOAT16 = "float16"
    BINARY = "binary"

    @classmethod
    def named(cls, name: str) -> LocalForm:
        """The form of a name.

        Raises:
            ConfigError: there is none.
        """
        if name not in list(cls):
            raise ConfigError(f'local features are kept as {", ".join(cls)}, not as "{name}"')
        return cls(name)

    def descriptor_bytes(self, dim: int) -> int:
        """What one descriptor of `dim` numbers takes."""
        return {LocalForm.INT8: dim, LocalForm.FLOAT16: 2 * dim, LocalForm.BINARY: -(-dim // 8)}[self]


@dataclass(frozen=True, slots=True)
class SignFeatures:
    """Local features of one photo as a binary collection keeps them: what verification needs, nothing unpacked.

    Attributes:
        id: name of the photo.
        size: (W, H) of the upright photo in pixels.
        keypoints: (N, 2) float32, (x, y) in pixels of the upright photo, best first.
        bits: (N, d / 8) uint8, the signs of the descriptors, see `glocal.rerank.binary.pack_signs`.
    """

    id: str
    size: tuple[int, int]
    keypoints: NDArray[np.float32]
    bits: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.keypoints.shape != (len(self.bits), 2) or self.bits.ndim != 2 or self.bits.dtype != np.uint8:
            raise ShapeError(
                f"'{self.id}': keypoints {self.keypoints.shape}, bits {self.bits.dtype} {self.bits.shape} instead of "
                "(N, 2), uint8 (N, d / 8)"
            )

    def __len__(self) -> int:
        return len(self.bits)


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """One file of the collection.

    Attributes:
        path: relative to the folder, as the file system spells it.
        size: bytes.
        mtime_ns: modification time in nanoseconds.
        status: `indexed`, `rejected`, or `missing` (hidden: the file is gone, its features are kept).
        reason: code of `glocal.errors.REASONS` for a rejected file, else None.
        detail: one line for people on a rejected file, else None.
        content_hash: 32 hexadecimal digits; None for a rejected file.
        width: pixels of the upright picture; 0 for a rejected file.
        height: likewise.
        orientation: EXIF orientation that was applied, 1 to 8; 0 for a rejected file.
    """

    path: bytes
    size: int
    mtime_ns: int
    status: str
    reason: str | None = None
    detail: str | None = None
    content_hash: str | None = None
    width: int = 0
    height: int = 0
    orientation: int = 0


@dataclass(frozen=True, slots=True)
class NewContent:
    """The features of one picture, ready to be stored.

    Attributes:
        content_hash: 32 hexadecimal digits.
        num_bytes: size of the file.
        size: (W, H) of the upright picture.
        orientation: EXIF orientation, 1 to 8.
        extraction: its features.
    """

    content_hash: str
    num_bytes: int
    size: tuple[int, int]
    orientation: int
    extraction: Extraction


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What one run of the indexer saw: seen = indexed + skipped + ignored."""

    seen: int
    indexed: int
    skipped: int
    ignored: int
