"""Pictures of one match: lines, matched area, registered pair (NumPy, OpenCV, Pillow).

Points, quads, boxes and homographies are in pixels of the upright originals; the pixel arrays may be
reduced versions of them and are never changed.
"""

from __future__ import annotations

import io
import os
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from glocal.errors import ConfigError, ShapeError
from glocal.ops.coordinates import fit_within, rescale
from glocal.ops.homography import transfer, transfer_error
from glocal.types import Box, Pixels

Colour = tuple[int, int, int]

QUERY_BLUE: Colour = (92, 164, 255)
SAME_GREEN: Colour = (72, 214, 130)
POSSIBLY_AMBER: Colour = (255, 190, 60)
OUTLIER_GREY: Colour = (150, 156, 164)
GROUND: Colour = (20, 23, 28)
INK: Colour = (238, 240, 243)
MUTED: Colour = (165, 172, 181)

MAX_LINES = 48
LINE_SPACING = 0.02
"""More or closer lines (share of the picture's width) hide the photos; the other inliers are drawn as dots."""
MAX_OUTLIERS = 80
REGISTERED_SIDE = 900
BLINK_SIDE = 640
BLINK_MS = 400
"""Each picture of a blink stays this long: 1.25 Hz, well below the 3 Hz that may trigger seizures."""
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True, slots=True)
class MatchView:
    """Where two photos agree, in pixels of the upright originals.

    Attributes:
        query_size: (W, H) of the query.
        target_size: (W, H) of the target.
        query_points: (M, 2) float32, all tentative matches in the query.
        target_points: (M, 2) float32, their partners in the target.
        mask: (M,) bool, the inliers.
        homography: (3, 3) float64, query -> target; None if no model was found.
        query_quad: (4, 2) float64, the matched rectangle in the query.
        target_quad: (4, 2) float64, where it lies in the target.
        box: x, y, width, height that the user drew on the query.
    """

    query_size: tuple[int, int]
    target_size: tuple[int, int]
    query_points: NDArray[np.float32]
    target_points: NDArray[np.float32]
    mask: NDArray[np.bool_]
    homography: NDArray[np.float64] | None
    query_quad: NDArray[np.float64] | None
    target_quad: NDArray[np.float64] | None
    box: Box | None = None

    def __post_init__(self) -> None:
        shape = (len(self.mask), 2)
        if self.query_points.shape != shape or self.target_points.shape != shape:
            raise ShapeError(
                f"match points must be {shape} as the mask, found query {self.query_points.shape}, "
                f"target {self.target_points.shape}"
            )

    @property
    def inliers(self) -> int:
        """Number of matches that agree with the homography."""
        return int(self.mask.sum())

    def residuals(self) -> NDArray[np.float64]:
        """(M,) float64, transfer error of every match in target pixels; zeros without a homography."""
        if self.homography is None:
            return np.zeros(len(self.mask))
        return transfer_error(self.homography, self.query_points, self.target_points)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a photo lies on the canvas."""

    left: int
    top: int
    width: int
    height: int

    def place(self, points: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
        """Points of an original photo of `size` -> points of the canvas."""
        placed = rescale(points, size, (self.width, self.height)).astype(np.float64)
        placed += (self.left, self.top)
        return placed


def draw_matches(
    query: Pixels, target: Pixels, view: MatchView, *, width: int = 1600, outliers: bool = False, title: str = ""
) -> Pixels:
    """The two photos side by side with a line per match that agrees.

    Args:
        query: (h, w, 3) uint8, RGB.
        target: (h, w, 3) uint8, RGB.
        view: where they agree.
        width: of the result, in pixels, at least 320.
        outliers: also draw the matches that disagree, as thin grey lines.
        title: line above the photos; letters outside ASCII lose their accents or become "?".

    Returns:
        (H, width, 3) uint8, RGB. Colour says how exact a match is; the legend is part of the picture.
    """
    width = max(width, 320)
    unit = width / 1600
    margin, small, large = round(24 * unit), max(12, round(24 * unit)), max(14, round(30 * unit))
    head = margin + (round(large * 1.6) if title else 0)
    photos_top = head + round(small * 1.8)
    left, right = _frames(view.query_size, view.target_size, width, margin, photos_top)
    bottom = max(left.top + left.height, right.top + right.height)
    lines = _choose_lines(view, left, right, LINE_SPACING * width)
    rows = _flow(_legend(view, len(lines), outliers), width - 2 * margin, small)
    row_height = round(small * 1.9)
    canvas = np.full((bottom + margin // 2 + row_height * len(rows) + margin // 2, width, 3), GROUND, np.uint8)

    _paste(canvas, left, query)
    _paste(canvas, right, target)
    _outline(_crop(canvas, left), view.query_quad, view.query_size, QUERY_BLUE, max(2.0, 3 * unit))
    _outline(_crop(canvas, right), view.target_quad, view.target_size, SAME_GREEN, max(2.0, 3 * unit))
    if view.box is not None:
        _dashed_box(_crop(canvas, left), view.box, view.query_size, max(2.0, 3 * unit))
    _draw_lines(canvas, left, right, view, lines, outliers, unit)

    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    if title:
        pen.text((margin, margin // 2), _shorten(title, width - 2 * margin, large), font=_font(large), fill=INK)
    _captions(pen, view, (left, right), head, width - margin, small)
    for row, items in enumerate(rows):
        x, y = float(margin), bottom + margin // 2 + row * row_height
        for item in items:
            item.draw(pen, round(x), y, small)
            x += item.width(small)
    if not view.inliers:
        _say_nothing_agrees(image, small, left.left + left.width + margin // 2, (left.top + bottom) // 2)
    return np.asarray(image).copy()


def _frames(
    query: tuple[int, int], target: tuple[int, int], width: int, margin: int, top: int
) -> tuple[_Frame, _Frame]:
    """Equal heights, unless that would leave one photo less than a quarter of the width."""
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
        _Frame(x, tops[0], *sides[0]),
        _Frame(x + sides[0][0] + margin, tops[1], *sides[1]),
    )


def _choose_lines(view: MatchView, left: _Frame, right: _Frame, spacing: float) -> list[int]:
    """The inliers that get a line: the most exact one, then those far from all chosen before."""
    start, _, drawable = _ends(view, left, right)
    inliers = np.flatnonzero(view.mask & drawable)
    order = inliers[np.argsort(view.residuals()[inliers], kind="stable")]
    return _spread(start[order], order, MAX_LINES, spacing)


def _ends(
    view: MatchView, left: _Frame, right: _Frame
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Both ends of every match on the canvas, and whether they can be drawn."""
    start, end = left.place(view.query_points, view.query_size), right.place(view.target_points, view.target_size)
    drawable = np.asarray(np.isfinite(np.hstack([start, end])).all(axis=1))
    return start, end, drawable


def _draw_lines(
    canvas: Pixels, left: _Frame, right: _Frame, view: MatchView, lines: list[int], outliers: bool, unit: float
) -> None:
    start, end, drawable = _ends(view, left, right)
    thin, thick = max(1, round(unit)), max(1, round(2 * unit))
    if outliers:
        layer = canvas.copy()
        others = np.flatnonzero(~view.mask & drawable)
        for i in _spread(start[others], others, MAX_OUTLIERS, 0):
            _line(layer, start[i], end[i], OUTLIER_GREY, thin)
        cv2.addWeighted(layer, 0.6, canvas, 0.4, 0, dst=canvas)
    residuals = view.residuals()
    colours = _ramp(residuals / _residual_limit(view))
    inliers = np.flatnonzero(view.mask & drawable)
    order = inliers[np.argsort(-residuals[inliers], kind="stable")].tolist()  # the most exact ones end up on top
    chosen = set(lines)
    shadow = canvas.copy()
    for i in lines:
        _line(shadow, start[i], end[i], (0, 0, 0), thick + 2 * thin)
    cv2.addWeighted(shadow, 0.35, canvas, 0.65, 0, dst=canvas)
    layer = canvas.copy()
    for i in reversed(lines):
        _line(layer, start[i], end[i], colours[i], thick)
    cv2.addWeighted(layer, 0.85, canvas, 0.15, 0, dst=canvas)
    for i in sorted(order, key=lambda i: i in chosen):
        radius = max(2.0, 4.5 * unit) if i in chosen else max(1.0, 2.0 * unit)
        for point in (start[i], end[i]):
            _dot(canvas, point, radius, max(0.6, 1.4 * unit), colours[i])


def _spread(places: NDArray[np.float64], names: NDArray[np.int64], count: int, spacing: float) -> list[int]:
    """At most `count` names, the first one and then always the one whose place is farthest from those chosen."""
    if not len(names):
        return []
    chosen = [0]
    distance = np.linalg.norm(places - places[0], axis=1)
    while len(chosen) < min(count, len(names)) and distance.max() > spacing:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return [int(name) for name in names[chosen]]


def _residual_limit(view: MatchView) -> float:
    """Target pixels at the far end of the colour ramp; 1 at least, or copies would show their rounding errors."""
    residuals = view.residuals()[view.mask]
    finite = residuals[np.isfinite(residuals)]
    return max(1.0, float(np.ceil(finite.max()))) if len(finite) else 1.0


def _ramp(shares: NDArray[np.float64]) -> list[Colour]:
    """Viridis from yellow (0, exact) to blue (1); its darkest quarter is left out, it cannot be seen on photos."""
    if not len(shares):
        return []  # OpenCV cannot colour an empty array
    kept = np.clip(np.nan_to_num(shares, nan=1.0, posinf=1.0), 0, 1)
    levels = (255 - kept * 185).round().astype(np.uint8)
    table = cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_VIRIDIS).reshape(-1, 3)
    return [(int(red), int(green), int(blue)) for blue, green, red in table]


def _say_nothing_agrees(image: Image.Image, size: int, centre: float, middle: float) -> None:
    text, pad = "no geometric agreement", size
    wide = _font(size).getlength(text)
    centre = min(max(centre, wide / 2 + 2 * pad), image.width - wide / 2 - 2 * pad)
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle(
        (centre - wide / 2 - pad, middle - pad * 1.2, centre + wide / 2 + pad, middle + pad * 1.2), pad, GROUND, INK
    )
    pen.text((centre, middle), text, font=_font(size), fill=INK, anchor="mm")


Swatch = Callable[[ImageDraw.ImageDraw, int, int, int], None]


@dataclass(frozen=True, slots=True)
class _Item:
    """One entry of the legend: a swatch of so many text heights, then words."""

    text: str
    colour: Colour = MUTED
    swatch: Swatch | None = None
    swatch_width: float = 0.0

    def width(self, size: int) -> float:
        return size * (self.swatch_width + 0.5 * bool(self.swatch) + 1.6) + _font(size).getlength(self.text)

    def draw(self, pen: ImageDraw.ImageDraw, x: int, y: int, size: int) -> None:
        if self.swatch is not None:
            self.swatch(pen, x, y, size)
            x += round(size * (self.swatch_width + 0.5))
        pen.text((x, y), self.text, font=_font(size), fill=self.colour)


def _legend(view: MatchView, num_lines: int, outliers: bool) -> list[_Item]:
    found, total = view.inliers, len(view.mask)
    items = [_Item(f"{found} of {total} matches agree", INK)]
    if found > num_lines:
        items.append(_Item(f"{num_lines} drawn as lines, the others as dots"))
    if found and view.homography is not None:
        items.append(_Item(f"off by 0 to {_residual_limit(view):.0f} px", MUTED, _ramp_swatch, 4.0))
    if view.query_quad is not None or view.target_quad is not None:
        items.append(_Item("matched area", MUTED, _area_swatch, 2.6))
    if view.box is not None:
        items.append(_Item("your box", MUTED, _box_swatch, 1.4))
    if outliers and total > found:
        shown = min(total - found, MAX_OUTLIERS)
        words = "disagree" if shown == total - found else f"disagree, {shown} drawn"
        items.append(_Item(f"{total - found} {words}", MUTED, _outlier_swatch, 1.6))
    return items


def _ramp_swatch(pen: ImageDraw.ImageDraw, x: int, y: int, size: int) -> None:
    steps = size * 4
    for step, colour in enumerate(_ramp(np.linspace(0, 1, steps))):
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


def _flow(items: Sequence[_Item], width: float, size: int) -> list[list[_Item]]:
    """Break the legend into rows that fit."""
    rows: list[list[_Item]] = [[]]
    used = 0.0
    for item in items:
        if rows[-1] and used + item.width(size) - 1.6 * size > width:
            rows.append([])
            used = 0.0
        rows[-1].append(item)
        used += item.width(size)
    return rows


def _captions(
    pen: ImageDraw.ImageDraw, view: MatchView, frames: tuple[_Frame, _Frame], top: int, end: int, size: int
) -> None:
    """Name and size above each photo; beside a narrow photo the words give way to the left."""
    words = [f"query · {_dimensions(view.query_size)}", f"candidate · {_dimensions(view.target_size)}"]
    radius, gap = size * 0.3, float(size)
    for frame, text, colour in zip(reversed(frames), reversed(words), (SAME_GREEN, QUERY_BLUE), strict=True):
        fitting = _shorten(text, max(end - 3 * radius, 0), size)
        start = max(0.0, min(float(frame.left), end - 3 * radius - _font(size).getlength(fitting)))
        pen.ellipse((start, top + gap * 0.6 - radius, start + 2 * radius, top + gap * 0.6 + radius), fill=colour)
        pen.text((start + 3 * radius, top), fitting, font=_font(size), fill=INK)
        end = int(start - gap)


def _dimensions(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow built without FreeType has only a bitmap font
        raise ConfigError("this build of Pillow cannot draw text (no FreeType) → pip install --upgrade pillow")
    return font


def _plain(text: str) -> str:
    """The built-in font has ASCII only, and names may hold anything."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" or c in "·…" else "?" for c in bare)


def _shorten(text: str, width: float, size: int) -> str:
    font, words = _font(size), _plain(text)[:400]
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(words + "…") > width:
        words = words[:-1]
    return words + "…"


_SHIFT = 4  # cv2 draws with 1/16 pixel


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    # A quad seen at a grazing angle may reach far outside; OpenCV's integers must not overflow.
    x, y = np.clip(point, -1e5, 1e5) * (1 << _SHIFT)
    return round(float(x)), round(float(y))


def _line(canvas: Pixels, start: NDArray[np.float64], end: NDArray[np.float64], colour: Colour, width: int) -> None:
    cv2.line(canvas, _fixed(start), _fixed(end), colour, width, cv2.LINE_AA, _SHIFT)


def _dot(canvas: Pixels, point: NDArray[np.float64], radius: float, rim: float, colour: Colour) -> None:
    place = _fixed(point)
    cv2.circle(canvas, place, round((radius + rim) * (1 << _SHIFT)), (0, 0, 0), -1, cv2.LINE_AA, _SHIFT)
    cv2.circle(canvas, place, round(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)


def _size(pixels: Pixels) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[0]


def _crop(canvas: Pixels, frame: _Frame) -> Pixels:
    return canvas[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]


def _paste(canvas: Pixels, frame: _Frame, pixels: Pixels) -> None:
    _crop(canvas, frame)[:] = _resize(pixels, (frame.width, frame.height))


def _resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if _size(pixels) == size:
        return pixels.copy()
    smaller = size[0] < pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC).astype(np.uint8)


def _outline(
    picture: Pixels, quad: NDArray[np.float64] | None, size: tuple[int, int], colour: Colour, width: float
) -> None:
    """Draw a quad of the original into its picture, with a dark halo that shows on any ground."""
    if quad is None or not np.isfinite(quad).all():
        return
    layer = np.ascontiguousarray(picture)
    corners = rescale(quad, size, _size(picture)).astype(np.float64)
    shape = np.array([_fixed(corner) for corner in corners], np.int32)
    core = max(1, round(width))
    cv2.polylines(layer, [shape], True, (0, 0, 0), core + 2 * max(1, round(width * 0.6)), cv2.LINE_AA, _SHIFT)
    cv2.polylines(layer, [shape], True, colour, core, cv2.LINE_AA, _SHIFT)
    picture[:] = layer


def _dashed_box(picture: Pixels, box: Box, size: tuple[int, int], width: float) -> None:
    x, y, w, h = box
    corners = rescale(np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]) - 0.5, size, _size(picture))
    layer = np.ascontiguousarray(picture)
    core = max(1, round(width))
    # Drawn along the frame at least half a line inside, or a box of the whole photo could not be seen.
    limit = np.array(_size(picture)) - 1 - core
    corners = np.clip(corners.astype(np.float64), core, np.maximum(limit, core))
    for stroke, colour in ((core + 2 * max(1, round(width * 0.6)), (0, 0, 0)), (core, (255, 255, 255))):
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            dashes = max(1, round(float(np.linalg.norm(end - start)) / (width * 7)))
            for dash in range(dashes):
                step = (end - start) / dashes
                _line(layer, start + step * (dash + 0.2), start + step * (dash + 0.8), colour, stroke)
    picture[:] = layer


def draw_quad(target: Pixels, view: MatchView, *, colour: Colour = SAME_GREEN) -> Pixels:
    """The target with the matched area outlined and the rest a little darker; unchanged without a quad."""
    picture = target.copy()
    quad = view.target_quad
    if quad is None or not np.isfinite(quad).all():
        return picture
    corners = rescale(quad, view.target_size, _size(target)).astype(np.float64)
    inside = np.zeros(target.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.array([_fixed(corner) for corner in corners], np.int32)], 255, cv2.LINE_AA, _SHIFT)
    light = 0.68 + 0.32 * (inside.astype(np.float32) / 255)
    picture = (picture * light[..., None]).round().astype(np.uint8)
    _outline(picture, quad, view.target_size, colour, max(2.0, max(target.shape[:2]) / 130))
    return picture


def draw_box(query: Pixels, box: Box, size: tuple[int, int]) -> Pixels:
    """The query with the user's box dashed and the rest a little darker.

    Args:
        query: (h, w, 3) uint8, RGB.
        box: x, y, width, height in pixels of the original.
        size: (W, H) of the original.
    """
    picture = (query * np.float32(0.68)).round().astype(np.uint8)
    ends = rescale(np.array([box[:2], (box[0] + box[2], box[1] + box[3])]) - 0.5, size, _size(query))
    (left, top), (right, bottom) = np.maximum(np.round(ends + 0.5), 0).astype(int).tolist()
    picture[top:bottom, left:right] = query[top:bottom, left:right]
    _dashed_box(picture, box, size, max(2.0, max(query.shape[:2]) / 130))
    return picture


def register(query: Pixels, target: Pixels, view: MatchView) -> tuple[Pixels, Pixels] | None:
    """The query seen from the target's viewpoint, and the target: for overlay and blink.

    Both are cropped to the matched area with a margin. Outside the query's picture the first one shows
    the target itself.

    Returns:
        Two (h, w, 3) uint8 of equal size, or None where nothing is matched inside the target.
    """
    if view.homography is None or not np.isfinite(view.homography).all():
        return None
    quad = view.target_quad
    if quad is None:
        quad = transfer(view.homography, _corners(view.query_size))
    window = _window(rescale(quad, view.target_size, _size(target)), _size(target))
    if window is None:
        return None
    left, top, right, bottom = window
    zoom = min(2.0, REGISTERED_SIDE / max(right - left, bottom - top))
    size = max(1, round((right - left) * zoom)), max(1, round((bottom - top) * zoom))
    shown = _resize(target[top:bottom, left:right], size)
    crop = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    into = _scaling((right - left, bottom - top), size) @ crop @ _scaling(view.target_size, _size(target))
    outward = into @ view.homography  # original query -> result
    source = _fit_detail(query, view, outward)
    warp = outward @ np.linalg.inv(_scaling(view.query_size, _size(source)))
    if abs(np.linalg.det(warp)) < 1e-12:
        return None
    warped = cv2.warpPerspective(source, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpPerspective(np.full(source.shape[:2], 255, np.uint8), warp, size, flags=cv2.INTER_LINEAR)
    cover[~_in_front(warp, size)] = 0
    share = cover[..., None].astype(np.float32) / 255
    mixed = warped.astype(np.float32) * share + shown.astype(np.float32) * (1 - share)
    return mixed.round().astype(np.uint8), shown


def _corners(size: tuple[int, int]) -> NDArray[np.float64]:
    right, bottom = size[0] - 1, size[1] - 1
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float64)


def _scaling(before: tuple[int, int], after: tuple[int, int]) -> NDArray[np.float64]:
    """(3, 3) map of pixel centres under resizing, as `rescale`."""
    x, y = after[0] / before[0], after[1] / before[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]], np.float64)


def _window(quad: NDArray[np.floating], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom around the part of a quad inside a picture, with a margin; None if there is none."""
    if not np.isfinite(quad).all():
        return None
    low, high = np.maximum(quad.min(axis=0), 0), np.minimum(quad.max(axis=0), np.array(size) - 1)
    if (high - low < 4).any():
        return None
    margin = 0.15 * float((high - low).max())
    left, top = np.maximum(np.floor(low - margin), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(high + margin) + 1, size).astype(int).tolist()
    return left, top, right, bottom


def _fit_detail(query: Pixels, view: MatchView, outward: NDArray[np.float64]) -> Pixels:
    """Reduce a query that is shown much smaller, or thin lines would break up in the warp."""
    rectangle = _corners(view.query_size) if view.query_quad is None else view.query_quad
    mapped = transfer(outward, rectangle)
    here = cv2.contourArea(rescale(rectangle, view.query_size, _size(query)))
    if not np.isfinite(mapped).all() or here <= 0:
        return query
    factor = float(np.sqrt(cv2.contourArea(mapped.astype(np.float32)) / here))
    if factor > 0.7:
        return query
    width, height = _size(query)
    return _resize(query, (max(2, round(width * factor)), max(2, round(height * factor))))


def _in_front(warp: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w) bool: pixels of the result that are not behind the viewer, where the warp would show a ghost."""
    back = np.linalg.inv(warp)
    x, y = np.arange(size[0]), np.arange(size[1])
    mask: NDArray[np.bool_] = back[2, 0] * x[None, :] + back[2, 1] * y[:, None] + back[2, 2] > 0
    return mask


def blink_gif(pair: tuple[Pixels, Pixels]) -> bytes:
    """An endless animated GIF that alternates between the two pictures, 1.25 times a second."""
    size = fit_within(_size(pair[0]), BLINK_SIDE)
    frames = [Image.fromarray(_resize(pixels, size)).quantize(128) for pixels in pair]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=BLINK_MS, loop=0)
    return buffer.getvalue()


def encode_jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    """JPEG bytes of (h, w, 3) uint8 RGB, without any metadata."""
    return _encode(pixels, "JPEG", quality)


def save_picture(pixels: Pixels, path: Path) -> None:
    """Write a picture in the format that the suffix names; a half-written file never appears.

    Raises:
        ConfigError: another suffix than .png, .jpg, .jpeg or .webp.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"cannot write '{path.name}': a picture ends in {', '.join(FORMATS)} → choose one of them")
    write_atomically(_encode(pixels, kind, 90), path)


def _encode(pixels: Pixels, kind: str, quality: int) -> bytes:
    # From the bare array: nothing that the photo's file knew (place, owner, thumbnail) can come along.
    buffer = io.BytesIO()
    if kind == "PNG":
        Image.fromarray(pixels).save(buffer, kind, optimize=True)
    else:
        Image.fromarray(pixels).save(buffer, kind, quality=quality, optimize=True)
    return buffer.getvalue()


def write_atomically(data: bytes, path: Path) -> None:
    """Write a file beside its place and move it there: either the old or the new content is seen."""
    draft = path.parent / f".glocal-{secrets.token_hex(8)}.tmp"
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
