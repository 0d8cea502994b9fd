"""The legend below the two photos: numbers, and swatches of what the colours mean (Pillow)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

from glocal.pictures.colours import INK, MUTED, OUTLIER_GREY, QUERY_BLUE, SAME_GREEN, Colour, ramp
from glocal.pictures.lines import MAX_OUTLIERS, residual_limit
from glocal.pictures.text import font
from glocal.pictures.view import MatchView

_Swatch = Callable[[ImageDraw.ImageDraw, int, int, int], None]


@dataclass(frozen=True, slots=True)
class _Item:
    """One entry of the legend: a swatch of so many text heights, then words."""

    text: str
    colour: Colour = MUTED
    swatch: _Swatch | None = None
    swatch_width: float = 0.0

    def width(self, size: int) -> float:
        return size * (self.swatch_width + 0.5 * bool(self.swatch) + 1.6) + font(size).getlength(self.text)

    def draw(self, pen: ImageDraw.ImageDraw, x: int, y: int, size: int) -> None:
        if self.swatch is not None:
            self.swatch(pen, x, y, size)
            x += round(size * (self.swatch_width + 0.5))
        pen.text((x, y), self.text, font=font(size), fill=self.colour)


@dataclass(frozen=True, slots=True)
class Legend:
    """Entries in rows.

    Attributes:
        rows: entries from left to right.
        text_size: height of the text in pixels.
    """

    rows: list[list[_Item]]
    text_size: int

    @property
    def row_height(self) -> int:
        """Pixels from one row to the next."""
        return round(self.text_size * 1.9)

    @property
    def height(self) -> int:
        """Of all rows, in pixels."""
        return self.row_height * len(self.rows)

    def draw(self, pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
        """Draw all rows, the upper left corner at the given place."""
        for row, items in enumerate(self.rows):
            x, y = float(left), top + row * self.row_height
            for item in items:
                item.draw(pen, round(x), y, self.text_size)
                x += item.width(self.text_size)


def legend_of(view: MatchView, num_lines: int, outliers: bool, width: float, text_size: int) -> Legend:
    """What a picture of this match needs to be read.

    Args:
        view: where the photos agree.
        num_lines: matches drawn as lines.
        outliers: whether those that disagree are drawn.
        width: of the longest row, in pixels.
        text_size: height of the text in pixels.
    """
    return Legend(_flow(_items(view, num_lines, outliers), width, text_size), text_size)


def _items(view: MatchView, num_lines: int, outliers: bool) -> list[_Item]:
    found, total = view.inliers, len(view.mask)
    items = [_Item(f"{found} of {total} matches agree", INK)]
    if found > num_lines:
        items.append(_Item(f"{num_lines} drawn as lines, the others as dots"))
    if found and view.homography is not None:
        items.append(_Item(f"off by 0 to {residual_limit(view):.0f} px", MUTED, _ramp_swatch, 4.0))
    if view.query_quad is not None or view.target_quad is not None:
        items.append(_Item("matched area", MUTED, _area_swatch, 2.6))
    if view.box is not None:
        items.append(_Item("your box", MUTED, _box_swatch, 1.4))
    if outliers and total > found:
        shown = min(total - found, MAX_OUTLIERS)
        words = "disagree" if shown == total - found else f"disagree, {shown} drawn"
        items.append(_Item(f"{total - found} {words}", MUTED, _outlier_swatch, 1.6))
    return items


def _flow(items: Sequence[_Item], width: float, size: int) -> list[list[_Item]]:
    """Break the entries into rows that fit."""
    rows: list[list[_Item]] = [[]]
    used = 0.0
    for item in items:
        if rows[-1] and used + item.width(size) - 1.6 * size > width:
            rows.append([])
            used = 0.0
        rows[-1].append(item)
        used += item.width(size)
    return rows


def _ramp_swatch(pen: ImageDraw.ImageDraw, x: int, y: int, size: int) -> None:
    steps = size * 4
    for step, colour in enumerate(ramp(np.linspace(0, 1, steps))):
        pen.line((x + step, y + size * 0.35, x + step, y + size * 0.85), fill=colour)


def _area_swatch(pen: ImageDraw.ImageDraw, x: int, y: int, size: int) -> None:
    for offset, colour in ((0.0, QUERY_BLUE), (1.4, SAME_GREEN)):
        left = x + offset * size
        pen.rectangle((left, y + size * 0.2, left + size * 1.1, y + size), outline=colour, width=max(2, size // 9))


def _box_swatch(pen: ImageDraw.ImageDraw, x: int, y: int, size: int) -> None:
    dash = size * 0.36
    for side in (0.25, 1.0):
        for step in range(2):
            left = x + step * dash * 2
            pen.line((left, y + side * size, left + dash, y + side * size), fill=INK, width=max(2, size // 9))


def _outlier_swatch(pen: ImageDraw.ImageDraw, x: int, y: int, size: int) -> None:
    pen.line((x, y + size * 0.6, x + size * 1.6, y + size * 0.6), fill=OUTLIER_GREY, width=max(1, size // 14))
