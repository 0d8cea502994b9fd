"""Where the two photos of a match lie on the canvas (NumPy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.ops.coordinates import rescale
from glocal.pictures.resizing import resize
from glocal.types import Pixels


@dataclass(frozen=True, slots=True)
class Frame:
    """The place of one photo, in pixels of the canvas."""

    left: int
    top: int
    width: int
    height: int

    def place(self, points: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
        """Points of an original photo of `size` -> points of the canvas."""
        placed = rescale(points, size, (self.width, self.height)).astype(np.float64)
        placed += (self.left, self.top)
        return placed

    def crop(self, canvas: Pixels) -> Pixels:
        """The canvas inside the frame; what is drawn there is drawn on the canvas."""
        return canvas[self.top : self.top + self.height, self.left : self.left + self.width]

    def paste(self, canvas: Pixels, pixels: Pixels) -> None:
        """Fill the frame with a photo."""
        self.crop(canvas)[:] = resize(pixels, (self.width, self.height))


def frame_pair(
    query: tuple[int, int], target: tuple[int, int], width: int, margin: int, top: int
) -> tuple[Frame, Frame]:
    """Two photos of the given sizes (W, H) side by side on a canvas of `width`, at `top` or below.

    Their heights are equal, unless that would leave one photo less than a quarter of the width.
    """
    available = width - 3 * margin
    aspects = [size[0] / size[1] for size in (query, target)]
    highest = width * 0.62  # the picture stays landscape, so that it fits a screen without scrolling
    height = min(highest, available / sum(aspects))
    share = min(max(aspects[0] / sum(aspects), 0.25), 0.75)
    cells = [available * share, available * (1 - share)]
    if min(aspects) * height < 0.25 * available and height < highest:
        heights = [min(highest, cell / aspect) for cell, aspect in zip(cells, aspects, strict=True)]
    else:
        heights = [height, height]
    sides = [(max(1, round(a * h)), max(1, round(h))) for a, h in zip(aspects, heights, strict=True)]
    tallest = max(h for _, h in sides)
    x = (width - sides[0][0] - sides[1][0] - margin) // 2
    tops = [top + (tallest - h) // 2 for _, h in sides]
    return (
        Frame(x, tops[0], *sides[0]),
        Frame(x + sides[0][0] + margin, tops[1], *sides[1]),
    )
