"""A found photo laid onto the query's frame, for blink and slider (NumPy, OpenCV)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.ops.coordinates import fit_within
from glocal.types import Pixels

Matrix = NDArray[np.float64]


def onto_query(
    target: Pixels,
    target_size: tuple[int, int],
    homography: Matrix,
    query_size: tuple[int, int],
    longest: int,
) -> NDArray[np.uint8] | None:
    """The target as it would lie on the query.

    Args:
        target: (h, w, 3) uint8 RGB, the photo in any size.
        target_size: (W, H) of the upright original.
        homography: (3, 3), pixels of the query -> pixels of the target, both in full size.
        query_size: (W, H) of the upright query.
        longest: longest side of the result; the query's own where that is less.

    Returns:
        (H, W, 4) uint8 RGBA in the size of the query's picture; transparent where the target does not reach, or would
        lie behind the viewer. None where the homography cannot be inverted.
    """
    size = fit_within(query_size, longest)
    here = (target.shape[1], target.shape[0])
    warp = scaling(target_size, here) @ homography @ np.linalg.inv(scaling(query_size, size))
    if not np.isfinite(warp).all() or abs(np.linalg.det(warp)) < 1e-12:
        return None
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpPerspective(target, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpPerspective(np.full(target.shape[:2], 255, np.uint8), warp, size, flags=flags)
    alpha[~in_front(warp, size)] = 0
    return np.dstack([pixels, alpha]).astype(np.uint8)


def scaling(before: tuple[int, int], after: tuple[int, int]) -> Matrix:
    """(3, 3) map of pixel centres when a picture of one size (W, H) is resized to another."""
    x, y = after[0] / before[0], after[1] / before[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]], np.float64)


def in_front(warp: Matrix, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) pixels of a picture of `size` (W, H) that a warp takes to the front of the viewer.

    A homography is known up to its sign; what its third row says of the middle of the picture is taken as the front.
    """
    x, y = np.arange(size[0]), np.arange(size[1])
    depth = warp[2, 0] * x[None, :] + warp[2, 1] * y[:, None] + warp[2, 2]
    middle = depth[size[1] // 2, size[0] // 2]
    return np.asarray(depth > 0 if middle > 0 else depth < 0)
