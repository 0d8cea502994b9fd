"""ASMK: local descriptors aggregated per visual word, compared by a selective match kernel (NumPy).

Tolias, Avrithis and Jégou, "Image search with selective match kernels: aggregation across images", IJCV 2016
(ASMK, and ASMK* with signs alone); Tolias, Jenicek and Chum, "Learning and aggregating deep local descriptors for
instance-level recognition", ECCV 2020 (HOW: α = 3, τ = 0, 1 word for a gallery descriptor and 5 for a query's,
no idf).

    descriptors (N, d) ─ nearest words ─ sum of residuals per word ─ unit norm | signs ─▶ Aggregated
    K(a, b) = γ(a) γ(b) Σ over common words of idf² σ(a_w · b_w),   σ(u) = sign(u) |u|^α if u > τ, else 0

γ makes K(a, a) = 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ShapeError
from glocal.ops.shapes import expect_shape

ALPHA = 3.0
TAU = 0.0
_BLOCK = 4096
"""Descriptors that are compared with the words at a time: 64 MiB for 4096 words."""


@dataclass(frozen=True, slots=True)
class Aggregated:
    """One vector for each visual word that a photo has.

    Attributes:
        words: (W,) int32, strictly ascending.
        vectors: (W, dim) float32, rows of unit norm or zero (ASMK); or (W, ceil(dim / 8)) uint8, signs packed as
            `numpy.packbits` does, 1 for positive (ASMK*).
        dim: length of a local descriptor.
    """

    words: NDArray[np.int32]
    vectors: NDArray[np.uint8] | NDArray[np.float32]
    dim: int

    def __post_init__(self) -> None:
        width = -(-self.dim // 8) if self.is_binary else self.dim
        expect_shape(self.vectors, "W d", "vectors", W=len(self.words), d=width)
        if self.words.dtype != np.int32 or self.vectors.dtype not in (np.uint8, np.float32):
            raise ShapeError(
                f"words must be int32 and vectors uint8 or float32, found {self.words.dtype}, {self.vectors.dtype}"
            )
        if (np.diff(self.words) <= 0).any():
            raise ShapeError("words must be strictly ascending")

    def __len__(self) -> int:
        return len(self.words)

    @property
    def is_binary(self) -> bool:
        """Whether the vectors are signs (ASMK*)."""
        return self.vectors.dtype == np.uint8

    @property
    def num_bytes(self) -> int:
        """Memory of both arrays."""
        return self.words.nbytes + self.vectors.nbytes


def nearest_words(
    descriptors: NDArray[np.float32], codebook: NDArray[np.float32], assignments: int = 1
) -> NDArray[np.int64]:
    """The nearest words (Euclidean) of each descriptor, in no particular order.

    Args:
        descriptors: (N, d) float32.
        codebook: (K, d) float32, K at least 1.
        assignments: how many; all K where that is fewer.

    Returns:
        (N, assignments) int64.

    Raises:
        ShapeError: the lengths differ, or there is no word.
    """
    num_words, length = expect_shape(codebook, "K d", "codebook")
    count, _ = expect_shape(descriptors, "N d", "descriptors", d=length)
    if num_words < 1 or assignments < 1:
        raise ShapeError(f"a word and an assignment at least are needed, not {num_words} and {assignments}")
    kept = min(assignments, num_words)
    half_squares = (codebook * codebook).sum(axis=1) / 2
    nearest = np.empty((count, kept), np.int64)
    for start in range(0, count, _BLOCK):
        far = half_squares - descriptors[start : start + _BLOCK] @ codebook.T
        chosen = far.argmin(axis=1)[:, None] if kept == 1 else np.argpartition(far, kept - 1, axis=1)[:, :kept]
        nearest[start : start + len(far)] = chosen
    return nearest


def aggregate(
    descriptors: NDArray[np.float32], codebook: NDArray[np.float32], assignments: int = 1, binary: bool = True
) -> Aggregated:
    """Residuals of a photo's local descriptors, summed per visual word.

    Args:
        descriptors: (N, d) float32; N may be 0.
        codebook: (K, d) float32.
        assignments: words that each descriptor counts for; 1 for a gallery photo, 5 for a query in HOW.
        binary: signs alone (ASMK*), else unit norm (ASMK).

    Raises:
        ShapeError: the lengths differ, or there is no word.
    """
    nearest = nearest_words(descriptors, codebook, assignments)
    length = codebook.shape[1]
    words = nearest.ravel()
    order = np.argsort(words, kind="stable")
    words, starts = np.unique(words[order], return_index=True)
    sums = np.empty((0, length), np.float32)
    if len(words):
        members = descriptors[order // nearest.shape[1]]
        counts = np.diff(starts, append=len(order))
        sums = np.add.reduceat(members, starts, axis=0) - counts[:, None].astype(np.float32) * codebook[words]
    vectors: NDArray[np.uint8] | NDArray[np.float32]
    if binary:
        vectors = np.packbits(sums > 0, axis=1)
    else:
        vectors = np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)
    return Aggregated(words.astype(np.int32), vectors, length)


def similarity(
    a: Aggregated,
    b: Aggregated,
    alpha: float = ALPHA,
    tau: float = TAU,
    idf: NDArray[np.float32] | None = None,
) -> float:
    """The selective match kernel of two photos, divided by the root of each one's with itself.

    Args:
        a: one photo.
        b: the other, aggregated in the same way; the number of assignments may differ.
        alpha: exponent of the selectivity; 3 in HOW.
        tau: vectors of a common word count if their similarity is above; below 1.
        idf: (K,) float32 weight of each word, as of `inverse_document_frequency`; None counts all alike.

    Returns:
        -1 to 1, not negative where tau is not; 0 without common words.

    Raises:
        ShapeError: the vectors are of another kind or length, or a word has no weight.
    """
    if a.dim != b.dim or a.is_binary != b.is_binary:
        kinds = [f"{x.dim} {'signs' if x.is_binary else 'numbers'}" for x in (a, b)]
        raise ShapeError(f"both photos must be aggregated alike, found {kinds[0]} and {kinds[1]}")
    own = _kernel(a, a, alpha, tau, idf) * _kernel(b, b, alpha, tau, idf)
    return _kernel(a, b, alpha, tau, idf) / math.sqrt(own) if own > 0 else 0.0


def selectivity(values: NDArray[np.float32], alpha: float = ALPHA, tau: float = TAU) -> NDArray[np.float32]:
    """sign(u) |u|^alpha where u is above tau, 0 elsewhere; same shape."""
    return np.asarray(np.where(values > tau, np.sign(values) * np.abs(values) ** np.float32(alpha), 0), np.float32)


def inverse_document_frequency(photos: Iterable[Aggregated], num_words: int) -> NDArray[np.float32]:
    """log(photos / photos with the word) of every word: (num_words,) float32.

    A word that no photo has counts as if one had.

    Raises:
        ShapeError: a photo has a word beyond `num_words`.
    """
    counts = np.zeros(num_words, np.int64)
    total = 0
    for photo in photos:
        if len(photo) and not 0 <= int(photo.words[0]) <= int(photo.words[-1]) < num_words:
            raise ShapeError(f"words must be 0 to {num_words - 1}, found {photo.words[0]} to {photo.words[-1]}")
        counts[photo.words] += 1
        total += 1
    return np.asarray(np.log(max(total, 1) / np.maximum(counts, 1)), np.float32)


def _kernel(a: Aggregated, b: Aggregated, alpha: float, tau: float, idf: NDArray[np.float32] | None) -> float:
    """The kernel before it is divided."""
    words, mine, theirs = a.words, a.vectors, b.vectors
    if a is not b:
        words, left, right = np.intersect1d(a.words, b.words, assume_unique=True, return_indices=True)
        mine, theirs = a.vectors[left], b.vectors[right]
    if not a.is_binary:
        values = np.einsum("wd,wd->w", mine, theirs)
    elif a is b:
        values = np.ones(len(words), np.float32)
    else:
        # d numbers of which h differ in sign: ((d - h) - h) / d. The bits that fill the last byte never differ.
        different = np.bitwise_count(np.bitwise_xor(mine, theirs)).sum(axis=1, dtype=np.int64)
        values = np.asarray(1 - 2 * different / a.dim, np.float32)
    selected = selectivity(values, alpha, tau).astype(np.float64)
    if idf is not None:
        if len(words) and words[-1] >= len(idf):
            raise ShapeError(f"word {words[-1]} has no weight: there are {len(idf)}")
        selected *= np.square(idf[words].astype(np.float64))
    return float(selected.sum())
