"""The colours of all pictures: what each one means, and the ramp from exact to inexact (NumPy, OpenCV)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

QUERY_BLUE: Colour = (92, 164, 255)
SAME_GREEN: Colour = (72, 214, 130)
POSSIBLY_AMBER: Colour = (255, 190, 60)
OUTLIER_GREY: Colour = (150, 156, 164)
GROUND: Colour = (20, 23, 28)
INK: Colour = (238, 240, 243)
MUTED: Colour = (165, 172, 181)


def ramp(shares: NDArray[np.float64]) -> list[Colour]:
    """Viridis from yellow (0, exact) to blue (1); its darkest quarter is left out, it cannot be seen on photos."""
    if not len(shares):
        return []  # OpenCV cannot colour an empty array
    kept = np.clip(np.nan_to_num(shares, nan=1.0, posinf=1.0), 0, 1)
    levels = (255 - kept * 185).round().astype(np.uint8)
    table = cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_VIRIDIS).reshape(-1, 3)
    return [(int(red), int(green), int(blue)) for blue, green, red in table]
