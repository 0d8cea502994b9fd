"""PCA whitening of descriptors: fit and apply (NumPy).

Jégou and Chum, "Negative evidences and co-occurrences in image retrieval", ECCV 2012, section 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glocal.ops.shapes import expect_shape


def fit_whitening(
    vectors: NDArray[np.float32], dim: int, power: float = 0.5
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Learn a PCA projection that equalises the variance of its outputs.

    Args:
        vectors: (N, D) float32, N > dim.
        dim: number of components to keep.
        power: outputs are divided by variance ** power; 0.5 whitens fully, 0 is plain PCA.

    Returns:
        mean (D,) and projection (D, dim), both float32.
    """
    count, _ = expect_shape(vectors, "N D", "vectors")
    mean = vectors.mean(axis=0)
    centred = (vectors - mean).astype(np.float64)
    if count < vectors.shape[1]:  # the small Gram matrix has the same non-zero spectrum
        values, left = np.linalg.eigh(centred @ centred.T / count)
        order = np.argsort(values)[::-1][:dim]
        axes = centred.T @ left[:, order]
        axes /= np.linalg.norm(axes, axis=0)
    else:
        values, axes = np.linalg.eigh(centred.T @ centred / count)
        order = np.argsort(values)[::-1][:dim]
        axes = axes[:, order]
    scale = np.maximum(values[order], 1e-12) ** -power
    return mean.astype(np.float32), (axes * scale).astype(np.float32)


def whiten(
    vectors: NDArray[np.float32], mean: NDArray[np.float32], projection: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Project, whiten and normalise descriptors.

    Args:
        vectors: (N, D) float32.
        mean: (D,) float32.
        projection: (D, dim) float32.

    Returns:
        (N, dim) float32, rows of unit L2 norm.
    """
    _, length = expect_shape(vectors, "N D", "vectors")
    expect_shape(projection, "D dim", "projection", D=length)
    projected = (vectors - mean) @ projection
    norms = np.linalg.norm(projected, axis=1, keepdims=True)
    return np.asarray(projected / np.maximum(norms, 1e-12), np.float32)
