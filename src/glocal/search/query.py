"""What is asked: a photo, and what a search needs of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.types import Box, Descriptors, LocalFeatures

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Query:
    """The photo that was asked about.

    Attributes:
        path: its file, or the name of one that is none.
        size: (W, H) of the upright photo in pixels.
        box: the searched part, x, y, width, height in pixels, or None.
        num_features: its local features.
    """

    path: Path
    size: tuple[int, int]
    box: Box | None
    num_features: int


@dataclass(frozen=True, slots=True)
class PictureBytes:
    """A picture that is no file of this computer: it is described and searched, and never written down.

    Attributes:
        data: its bytes, as a file would hold them.
        name: what messages call it.
    """

    data: bytes = field(repr=False)
    name: str = "the picture"


PhotoSource = str | os.PathLike[str] | PictureBytes
"""Where a query comes from."""


@dataclass(frozen=True, slots=True)
class Described:
    """A query with its features: all that a search needs of it, as often as it is asked.

    Attributes:
        query: what was asked.
        asked: the box as it was asked for, before it was clipped.
        content_hash: BLAKE2b-128 of the picture's bytes.
        vectors: (T, D) descriptors of unit norm, one for each way in which it was turned.
        local: as many sets of local features, in pixels of the whole upright picture.
        decode_s: seconds for reading and decoding.
        seconds: for everything.
    """

    query: Query
    asked: Box | None
    content_hash: str
    vectors: Vectors = field(repr=False)
    local: tuple[LocalFeatures, ...] = field(repr=False)
    decode_s: float
    seconds: float


def ways_of(vectors: Vectors) -> Descriptors:
    """A query's (T, D) descriptors, each under a name of its own."""
    return Descriptors(tuple(f"query {turn}" for turn in range(len(vectors))), vectors)
