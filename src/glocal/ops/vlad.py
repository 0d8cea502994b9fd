"""RootSIFT and the vector of locally aggregated descriptors (NumPy).

Arandjelović and Zisserman, "Three things everyone should know", CVPR 2012 (RootSIFT); Jégou et al.,
"Aggregating local descriptors into a compact image representation", CVPR 2010 (VLAD); Arandjelović and
Zisserman, "All about VLAD", CVPR 2013, section 3.1 (intra-normalisation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glocal.ops.shapes import expect_shape


def root_sift(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square root of L1-normalised SIFT: Euclidean distance becomes the Hellinger distance.

    Args:
        descriptors: (N, 128) float32, non-negative.

    Returns:
        (N, 128) float32, rows of unit L2 norm.
    """
    expect_shape(descriptors, "N 128", "descriptors")
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12)
    return np.asarray(np.sqrt(descriptors / total), np.float32)


def nearest_centres(descriptors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """Index of the nearest centre (Euclidean) of each descriptor: (N, d), (K, d) -> (N,) int64."""
    _, length = expect_shape(descriptors, "N d", "descriptors")
    expect_shape(centres, "K d", "centres", d=length)
    half_squares = (centres * centres).sum(axis=1) / 2
    return np.asarray((descriptors @ centres.T - half_squares).argmax(axis=1), np.int64)


def vlad(descriptors: NDArray[np.float32], centres: NDArray[np.float32], power: float = 1.0) -> NDArray[np.float32]:
    """Sum of residuals to the nearest centre, each block of unit norm.

    Args:
        descriptors: (N, d) float32; N may be 0.
        centres: (K, d) float32.
        power: exponent of the signed power law applied to the result; 1 switches it off.

    Returns:
        (K * d,) float32 of unit L2 norm; all zeros if there are no descriptors.
    """
    assigned = nearest_centres(descriptors, centres)
    num_centres, length = centres.shape
    residuals = np.zeros((num_centres, length), np.float32)
    # One product per used centre is several times faster than np.add.at.
    for centre in np.unique(assigned):
        members = descriptors[assigned == centre]
        residuals[centre] = members.sum(axis=0) - len(members) * centres[centre]
    norms = np.linalg.norm(residuals, axis=1, keepdims=True)
    flat = (residuals / np.maximum(norms, 1e-12)).ravel()
    if power != 1:
        flat = np.sign(flat) * np.abs(flat) ** np.float32(power)
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-12), np.float32)
