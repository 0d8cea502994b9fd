"""Random changes of a photo for training: uint8 RGB in, a uint8 square out, all chance from one generator (OpenCV)."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.data.crops import Crop, middle, random_crop
from glocal.data.staging import Staged, stage
from glocal.errors import ConfigError, ShapeError
from glocal.types import Pixels

# Principal axes of the colours of ImageNet: rows are R, G, B, columns the axes (DOLG's released code; AlexNet's).
_AXES = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
_SPREADS = np.array([0.2175, 0.0188, 0.0045])
_LEVELS = np.arange(256, dtype=np.float64)[:, None]
_ERASED = (0.02, 0.2)  # share of the square
_ERASED_ASPECT = (0.3, 3.3)


def augment(
    pixels: Pixels,
    size: int,
    rng: np.random.Generator,
    *,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (0.75, 1.3333333),
    flip: float = 0.5,
    lighting: float = 0.0,
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    jitter_probability: float = 0.8,
    perspective: float = 0.0,
    rotation: float = 0.0,
    erase: float = 0.0,
    scene: float = 0.0,
) -> Pixels:
    """A random square view of a photo: crop, mirror image, colours, lighting, covered part, in this order.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        size: side S of the square.
        rng: the only source of chance.
        area: share of the photo's area that the crop has, least and most.
        aspect: width over height of the crop, least and most.
        flip: probability of a mirror image.
        lighting: standard deviation of the shift along the colours' principal axes; 0 for none.
        jitter: largest change of brightness, contrast, saturation and hue, in a random order; hue in turns of the
            circle, at most 0.5.
        jitter_probability: how often colours are changed at all.
        perspective: largest move of a corner of the crop, as a share of its side; less than 0.5.
        rotation: largest angle in degrees. What is beyond the photo's border is its mirror image.
        erase: probability that a rectangle of 2 to 20 % is covered with one colour.
        scene: probability that the crop becomes a facade in a rendered scene (`glocal.data.staging`), instead of
            being warped.

    Returns:
        (S, S, 3) uint8, C-contiguous.

    Raises:
        ShapeError: pixels are not (H, W, 3) uint8.
        ConfigError: size, perspective or hue is out of range.
    """
    _expect(pixels, size)
    if not (0 <= perspective < 0.5 and 0 <= jitter[3] <= 0.5):
        raise ConfigError(
            f"augment.perspective must lie in [0, 0.5) and the hue of augment.jitter in [0, 0.5], "
            f"not {perspective} and {jitter[3]}"
        )
    crop = random_crop(pixels.shape[1], pixels.shape[0], rng, area, aspect)
    if scene and rng.random() < scene:
        square = stage(pixels, crop, size, rng).pixels
    elif perspective or rotation:
        square = _warp(pixels, crop, size, rng, perspective, rotation)
    else:
        square = _cut(pixels, crop, size, cv2.INTER_LINEAR)
    if rng.random() < flip:
        square = square[:, ::-1]
    square = _recolour(square, rng, lighting, jitter, jitter_probability)
    if erase and rng.random() < erase:
        square = _erase(square, rng)
    return square


def staged_view(
    pixels: Pixels,
    size: int,
    rng: np.random.Generator,
    *,
    area: tuple[float, float] = (0.3, 1.0),
    aspect: tuple[float, float] = (0.75, 1.3333333),
    lighting: float = 0.0,
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    jitter_probability: float = 0.8,
) -> Staged:
    """A rendered view of a random crop, whose places in the photo are known; arguments as for `augment`."""
    _expect(pixels, size)
    view = stage(pixels, random_crop(pixels.shape[1], pixels.shape[0], rng, area, aspect), size, rng)
    return view._replace(pixels=_recolour(view.pixels, rng, lighting, jitter, jitter_probability))


def _recolour(
    square: Pixels,
    rng: np.random.Generator,
    lighting: float,
    jitter: tuple[float, float, float, float],
    jitter_probability: float,
) -> Pixels:
    """Other colours, then another light; C-contiguous."""
    if any(jitter) and rng.random() < jitter_probability:
        square = _jitter(square, rng, jitter)
    if lighting:
        # Published in [0, 1] and without bounds; rounded and clipped to bytes here.
        square = _look_up(square, _LEVELS + 255 * (_AXES @ (rng.normal(0, lighting, 3) * _SPREADS)))
    return np.ascontiguousarray(square)


def centre_crop(pixels: Pixels, size: int) -> Pixels:
    """The largest square in the middle of a photo, resized: what validation sees.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        size: side S of the square.

    Returns:
        (S, S, 3) uint8, C-contiguous.

    Raises:
        ShapeError: pixels are not (H, W, 3) uint8.
        ConfigError: size is not positive.
    """
    _expect(pixels, size)
    crop = middle(pixels.shape[1], pixels.shape[0])
    return _cut(pixels, crop, size, cv2.INTER_AREA if crop[2] > size else cv2.INTER_LINEAR)


def _expect(pixels: Pixels, size: int) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ShapeError(f"pixels must be uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
    if size < 1:
        raise ConfigError(f"data.image_size must be positive, not {size}")


def _cut(pixels: Pixels, crop: Crop, size: int, interpolation: int) -> Pixels:
    x, y, w, h = crop
    part = np.ascontiguousarray(pixels[y : y + h, x : x + w])
    return np.asarray(cv2.resize(part, (size, size), interpolation=interpolation), np.uint8)


def _warp(
    pixels: Pixels, crop: Crop, size: int, rng: np.random.Generator, perspective: float, rotation: float
) -> Pixels:
    """The crop, turned about its middle and with every corner moved, as a square."""
    x, y, w, h = crop
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    moved = (corners + rng.uniform(-perspective, perspective, (4, 2))) * (w, h)
    angle = math.radians(rng.uniform(-rotation, rotation))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    # Borders of pixels lie at halves, since (0, 0) is the centre of the first.
    there = moved @ turn.T + (x + w / 2 - 0.5, y + h / 2 - 0.5)
    here = (corners + 0.5) * size - 0.5
    matrix = cv2.getPerspectiveTransform(there.astype(np.float32), here.astype(np.float32))
    warped = cv2.warpPerspective(
        pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(warped, np.uint8)


def _look_up(pixels: Pixels, table: NDArray[np.float64]) -> Pixels:
    """Replace every value: a table of (256, 1), or of (256, 3) for each channel."""
    table = np.broadcast_to(np.clip(np.rint(table), 0, 255), (256, 3)).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(pixels), table[None]), np.uint8)


def _jitter(pixels: Pixels, rng: np.random.Generator, jitter: tuple[float, float, float, float]) -> Pixels:
    """Brightness, contrast, saturation and hue, in a random order."""
    pixels = np.ascontiguousarray(pixels)
    for kind in rng.permutation(4):
        change = jitter[kind]
        if not change:
            continue
        if kind == 3:
            pixels = _shift_hue(pixels, rng.uniform(-change, change))
            continue
        factor = rng.uniform(max(0.0, 1 - change), 1 + change)
        if kind == 0:
            pixels = _look_up(pixels, _LEVELS * factor)
            continue
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        if kind == 1:
            pixels = _look_up(pixels, _LEVELS * factor + (1 - factor) * round(float(grey.mean())))
        else:
            grey = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
            pixels = np.asarray(cv2.addWeighted(pixels, factor, grey, 1 - factor, 0), np.uint8)
    return pixels


def _shift_hue(pixels: Pixels, turns: float) -> Pixels:
    table = np.repeat(_LEVELS, 3, axis=1)
    table[:, 0] = (table[:, 0] + round(turns * 256)) % 256
    shifted = _look_up(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL), np.uint8), table)
    return np.asarray(cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def _erase(square: Pixels, rng: np.random.Generator) -> Pixels:
    side = len(square)
    target = rng.uniform(*_ERASED) * side * side
    least, most = (math.log(value) for value in _ERASED_ASPECT)
    ratio = math.exp(rng.uniform(least, most))
    w, h = (min(max(round(math.sqrt(value)), 1), side) for value in (target * ratio, target / ratio))
    x, y = rng.integers(0, side - w + 1), rng.integers(0, side - h + 1)
    square = square.copy()
    square[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return square
