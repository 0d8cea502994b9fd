"""Procedural materials: noise, masonry, and a surface on which walls, signs and paintings are painted."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from glocal.data.rendering.raster import Floats, Texture, Vector

Rng = np.random.Generator
Colour = Sequence[float] | NDArray[Any]  # sRGB in [0, 1]

_HUE_SHARES = (0.30, 0.22, 0.22, 0.16, 0.10)


def muted(rng: Rng, low: float, high: float, saturation: float = 0.4) -> list[float]:
    """A colour as things have them: of any hue, but never pure."""
    value = float(rng.uniform(low, high))
    # Earth tones first, then blues, then greens: pink and violet are rare in streets and kitchens.
    middle, spread = ((0.07, 0.04), (0.60, 0.04), (0.08, 0.05), (0.38, 0.06), (0.99, 0.02))[
        int(rng.choice(5, p=_HUE_SHARES))
    ]
    hue = float(rng.normal(middle, spread)) % 1.0
    return list(colorsys.hsv_to_rgb(hue, float(rng.uniform(0.25, 1.0)) * saturation, value))


def resized(image: NDArray[Any], size: tuple[int, int], interpolation: int = cv2.INTER_CUBIC) -> Floats:
    """`image` as float32 at `size` = (W, H)."""
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.float32)


def blurred(image: Floats, sigma_px: float) -> Floats:
    """Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)


def ramp(x: NDArray[Any], low: float, high: float) -> Floats:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((np.asarray(x, np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def noise(
    shape: tuple[int, int], cell_px: float, rng: Rng, octaves: int = 4, stretch: tuple[float, float] = (1.0, 1.0)
) -> Floats:
    """(h, w) float32 fractal noise of zero mean and about unit deviation.

    Args:
        shape: (h, w).
        cell_px: size of the largest features.
        rng: source of randomness.
        octaves: each one halves the feature size and the amplitude (times 0.55).
        stretch: factors (x, y) on the feature size, e.g. (8, 1) for wood grain.
    """
    height, width = shape
    cell = np.array([max(1.0, cell_px * stretch[1]), max(1.0, cell_px * stretch[0])])
    rows, columns = np.ceil(np.array(shape) / cell).astype(int) + 3
    total = rng.standard_normal((rows, columns), dtype=np.float32)
    power = amplitude = 1.0
    # From coarse to fine: each octave doubles the picture so far, which costs far less than one full resize each.
    for _ in range(1, octaves):
        if cell.max() < 2:
            break
        finer = np.where(cell >= 2, 2, 1)
        total = resized(total, (total.shape[1] * int(finer[1]), total.shape[0] * int(finer[0])))
        cell = cell / finer
        amplitude *= 0.55
        power += amplitude**2
        total += np.float32(amplitude) * rng.standard_normal(total.shape, dtype=np.float32)
    top, left = ((np.array(total.shape) * cell - shape) / 2).astype(int)
    full = resized(total, (int(total.shape[1] * cell[1]), int(total.shape[0] * cell[0])))
    return full[top : top + height, left : left + width] * np.float32(1 / (0.72 * np.sqrt(power)))


# How fine the textures under construction are: 1 for pictures of common size, less for thumbnails.
_DETAIL: ContextVar[float] = ContextVar("_DETAIL", default=1.0)


@contextmanager
def detail(factor: float) -> Iterator[None]:
    """Within this context, surfaces get `factor` times the pixels per metre that they ask for."""
    token = _DETAIL.set(factor)
    try:
        yield
    finally:
        _DETAIL.reset(token)


def fineness() -> float:
    """The factor set by `detail`, for whatever else should be simpler in thumbnails."""
    return _DETAIL.get()


class Surface:
    """A flat thing being painted, `px_per_m` pixels to the metre; `texture()` freezes it.

    Attributes:
        rgb: (h, w, 3) float32 sRGB in [0, 1].
        height: (h, w) float32 relief in pixels; towards the viewer is positive.
        gloss: (h, w) float32 in [0, 1]: 1 reflects like glass.
        glow: (h, w) float32 in [0, 1]: share of the colour that shines by itself when lamps are lit.
        alpha: (h, w) float32 in [0, 1].
    """

    def __init__(self, width_m: float, height_m: float, px_per_m: float, colour: Colour = (0.5, 0.5, 0.5)) -> None:
        self.px_per_m = px_per_m * _DETAIL.get()
        px_per_m = self.px_per_m
        self.shape = (max(2, round(height_m * px_per_m)), max(2, round(width_m * px_per_m)))
        self.rgb = np.empty((*self.shape, 3), np.float32)
        self.rgb[:] = np.asarray(colour, np.float32)
        self.height, self.gloss, self.glow = (np.zeros(self.shape, np.float32) for _ in range(3))
        self.alpha = np.ones(self.shape, np.float32)

    def texture(self, relief: float = 1.0) -> Texture:
        """The finished texture; `relief` scales the slopes of `height`."""
        bump_x = -cv2.Sobel(self.height, cv2.CV_32F, 1, 0, ksize=3, scale=relief / 8)
        bump_y = -cv2.Sobel(self.height, cv2.CV_32F, 0, 1, ksize=3, scale=relief / 8)
        albedo = np.dstack([self.rgb, self.alpha]) * np.float32(255) + np.float32(0.5)
        bumps = [np.clip(b, -1, 1) * np.float32(127) + np.float32(128.5) for b in (bump_x, bump_y)]
        detail = np.dstack([*bumps, self.gloss * np.float32(255), self.glow * np.float32(255)])
        return Texture(
            np.clip(albedo, 0, 255).astype(np.uint8),
            np.clip(detail, 0, 255).astype(np.uint8),
            bool(self.alpha.min() >= 1),
        )

    def box(self, x: float, y: float, width: float, height: float) -> tuple[slice, slice]:
        """Array slices of a rectangle given in metres from the top left corner."""
        k = self.px_per_m
        x0, x1, y0, y1 = (max(0, round(a * k)) for a in (x, x + width, y, y + height))
        return slice(y0, y1), slice(x0, x1)

    def polygon_mask(self, points: Sequence[Vector]) -> Floats:
        """(h, w) anti-aliased coverage of a polygon of points in metres."""
        mask = np.zeros(self.shape, np.uint8)
        fixed = np.round((np.asarray(points, np.float64) * self.px_per_m - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(mask, [fixed], (255,), cv2.LINE_AA, 4)
        return np.asarray(mask, np.float32) / np.float32(255)

    def paint(
        self,
        points: Sequence[Vector],
        colour: Colour,
        *,
        raised: float | None = None,
        gloss: float | None = None,
        glow: float | None = None,
        mottle: float = 0.0,
        rng: Rng | None = None,
    ) -> None:
        """Fill a polygon (metres); `raised` sets a flat relief in pixels, `mottle` varies the colour by noise."""
        pts = np.asarray(points, np.float64) * self.px_per_m
        x0, y0 = np.maximum(np.floor(pts.min(axis=0)) - 1, 0).astype(int)
        x1, y1 = np.minimum(np.ceil(pts.max(axis=0)) + 2, (self.shape[1], self.shape[0])).astype(int)
        if x0 >= x1 or y0 >= y1:
            return
        window = (slice(y0, y1), slice(x0, x1))
        mask8 = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask8, [np.round((pts - (x0 + 0.5, y0 + 0.5)) * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
        mask = mask8.astype(np.float32) / np.float32(255)
        fill = np.broadcast_to(np.asarray(colour, np.float32), (*mask.shape, 3))
        if mottle and rng is not None:
            fill = fill * (1 + mottle * noise(mask.shape, max(3.0, 0.1 * self.px_per_m), rng, 5))[..., None]
        self.rgb[window] += mask[..., None] * (fill - self.rgb[window])
        if raised is not None:
            self.height[window] += mask * (raised - self.height[window])
        if gloss is not None:
            self.gloss[window] += mask * (gloss - self.gloss[window])
        if glow is not None:
            self.glow[window] += mask * (glow - self.glow[window])

    def rectangle(self, x: float, y: float, width: float, height: float, colour: Colour, **kwargs: Any) -> None:
        """Fill a rectangle (metres) as `paint` does."""
        self.paint([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], colour, **kwargs)

    def text(
        self,
        words: str,
        centre: tuple[float, float],
        size_m: float,
        colour: Colour,
        *,
        raised: float = 0.0,
        glow: float | None = None,
        bold: float = 0.0,
        spacing_m: float = 0.0,
        max_width_m: float | None = None,
    ) -> None:
        """Write `words` (lines split at newlines) centred at a point in metres; `bold` is a stroke in units of size."""
        size_px = max(6.0, size_m * self.px_per_m)
        font = ImageFont.load_default(size=size_px)
        stroke = max(0.0, bold * size_px)
        measure = ImageDraw.Draw(Image.new("L", (1, 1)))
        spread = (" " * max(1, round(spacing_m * self.px_per_m / (0.26 * size_px)))).join if spacing_m else "".join
        label = "\n".join(spread(line) for line in words.split("\n"))
        box = measure.multiline_textbbox((0, 0), label, font=font, stroke_width=stroke, align="center")
        pad = 2
        width, height = int(box[2] - box[0]) + 2 * pad, int(box[3] - box[1]) + 2 * pad
        page = Image.new("L", (width, height))
        ImageDraw.Draw(page).multiline_text(
            (pad - box[0], pad - box[1]), label, font=font, fill=255, stroke_width=stroke, align="center"
        )
        mask = np.asarray(page, np.float32) / np.float32(255)
        if max_width_m is not None and width > max_width_m * self.px_per_m:
            factor = max_width_m * self.px_per_m / width
            mask = resized(mask, (max(1, int(width * factor)), max(1, int(height * factor))), cv2.INTER_AREA)
        self.stamp(mask, centre, colour, raised=raised, glow=glow)

    def stamp(
        self,
        mask: Floats,
        centre: tuple[float, float],
        colour: Colour,
        *,
        raised: float = 0.0,
        glow: float | None = None,
    ) -> None:
        """Colour the pixels under a small coverage mask centred at a point in metres; parts outside are cut off."""
        height, width = mask.shape
        x0 = round(centre[0] * self.px_per_m - width / 2)
        y0 = round(centre[1] * self.px_per_m - height / 2)
        cut = mask[max(0, -y0) : self.shape[0] - y0, max(0, -x0) : self.shape[1] - x0]
        if cut.size == 0:
            return
        y, x = max(0, y0), max(0, x0)
        window = (slice(y, y + cut.shape[0]), slice(x, x + cut.shape[1]))
        self.rgb[window] += cut[..., None] * (np.asarray(colour, np.float32) - self.rgb[window])
        self.height[window] += raised * cut
        if glow is not None:
            self.glow[window] += cut * (glow - self.glow[window])

    def picture(self, image: Floats, x: float, y: float, width: float, height: float, gloss: float = 0.0) -> None:
        """Paste an (h, w, 3) float32 image into a rectangle given in metres."""
        rows, columns = self.box(x, y, width, height)
        target = self.rgb[rows, columns]
        target[:] = np.clip(resized(image, (target.shape[1], target.shape[0]), cv2.INTER_AREA), 0, 1)
        self.gloss[rows, columns] = gloss

    def weather(self, rng: Rng, *, streaks: float = 0.08, blotches: float = 0.06, grime: float = 0.15) -> None:
        """Age the surface: vertical rain streaks, blotches, fine grain, and dirt rising from the foot."""
        k = self.px_per_m
        tone = 1 + blotches * noise(self.shape, 1.2 * k, rng, 4)
        tone -= streaks * ramp(noise(self.shape, 0.12 * k, rng, 3, (1, 14)), 0.4, 2.2)
        tone += 0.025 * rng.standard_normal(self.shape, dtype=np.float32)
        rise = np.linspace(self.shape[0] / k, 0, self.shape[0], dtype=np.float32)[:, None]
        tone -= grime * np.exp(-rise / 0.5) * (1 + 0.6 * noise(self.shape, 0.3 * k, rng, 3))
        self.rgb *= tone[..., None]
        self.rgb[..., 2] *= 1 - 0.04 * ramp(noise(self.shape, 0.8 * k, rng, 2), 0, 2)
