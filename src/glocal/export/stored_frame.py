"""From the upright photo to the pixels as they lie in the file: the EXIF orientation undone (NumPy)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glocal.ops.shapes import expect_shape


def stored_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(W, H) of the picture in the file, from that of the upright photo."""
    return (size[1], size[0]) if orientation >= 5 else size


def stored_points(points: NDArray[np.floating], size: tuple[int, int], orientation: int) -> NDArray[np.float32]:
    """Map points of an upright photo to the same places of the picture in the file.

    Args:
        points: (N, 2) float, (x, y) in pixels of the upright photo, (0, 0) is the centre of its top-left pixel.
        size: (W, H) of the upright photo.
        orientation: EXIF orientation, 1 to 8, that was applied to make it upright; anything else counts as 1.

    Returns:
        (N, 2) float32, C-contiguous, (0, 0) is the centre of the top-left pixel of the file.
    """
    expect_shape(points, "N 2", "points")
    right, bottom = size[0] - 1, size[1] - 1
    x, y = np.asarray(points, np.float32).T
    places = {
        2: (right - x, y),
        3: (right - x, bottom - y),
        4: (x, bottom - y),
        5: (y, x),
        6: (y, right - x),
        7: (bottom - y, right - x),
        8: (bottom - y, x),
    }
    return np.stack(places.get(orientation, (x, y)), axis=1)
