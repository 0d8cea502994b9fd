"""Query expansion: what was verified to show the object helps to find more of it (NumPy).

Chum et al., "Total Recall: automatic query expansion with a generative feature model for object
retrieval", ICCV 2007, section 3.2 (average query expansion, restricted to spatially verified results).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glocal.ops.shapes import expect_shape


def expand(query: NDArray[np.float32], verified: NDArray[np.float32]) -> NDArray[np.float32]:
    """The normalised sum of a query's descriptor and those of its verified hits.

    Args:
        query: (D,) float32 of unit norm.
        verified: (M, D) float32, unit rows; M may be 0.

    Returns:
        (D,) float32 of unit norm; the query itself if M is 0.

    Raises:
        ShapeError: if the lengths differ.
    """
    (length,) = expect_shape(query, "D", "query")
    expect_shape(verified, "M D", "verified", D=length)
    total = query + verified.sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), np.float32)
