"""A photo as a building in a rendered scene: a facade with depth, seen from elsewhere, in another light (OpenCV).

One photo of a thing says nothing of how it looks from the side, at dusk or behind a tree. Here the photo becomes the
texture of a relief in space: a plane with a camera before it (perspective), and a depth of its own (parallax). What
stands in front of it, falls on it and lies between it and the camera is drawn. All chance comes from one generator.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.data.crops import Crop
from glocal.types import Pixels

Field = NDArray[np.float32]

_YAW, _PITCH, _ROLL = (math.radians(angle) for angle in (55.0, 20.0, 12.0))
_DISTANCE = (1.2, 4.0)  # of the camera, in sides of the facade: nearer is more perspective
_FILL = (0.75, 1.7)  # side of the facade in the picture over the side of the picture
_BASELINE = 0.045  # largest shift of the relief's highest part, as a share of the crop
_MOST_OCCLUDERS = 3


class Staged(NamedTuple):
    """A rendered view.

    Attributes:
        pixels: (S, S, 3) uint8, C-contiguous.
        where: (S, S, 2) float32, the place in the photo, x and y in its pixels, that a pixel shows.
        visible: (S, S) bool, where that is so: not beside the facade, nor behind an occluder.
    """

    pixels: Pixels
    where: Field
    visible: NDArray[np.bool_]


def stage(pixels: Pixels, crop: Crop, size: int, rng: np.random.Generator) -> Staged:
    """A view of a scene in which a part of a photo is the facade.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        crop: the part that is the facade.
        size: side S of the square picture.
        rng: the only source of chance.
    """
    x, y, w, h = crop
    facade = np.ascontiguousarray(pixels[y : y + h, x : x + w])
    there = _seen_from(w, h, size, rng)
    there += _relief(facade, rng)(there) * _direction(rng) * (_BASELINE * max(w, h))
    picture = cv2.remap(facade, there[..., 0], there[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    inside = (there[..., 0] > -0.5) & (there[..., 0] < w - 0.5) & (there[..., 1] > -0.5) & (there[..., 1] < h - 0.5)
    if not inside.all() and rng.random() < 0.7:
        # What surrounds the facade is another place in 70 % of the scenes, and the facade's mirror image in the rest.
        picture[~inside] = _surroundings(size, rng)[~inside]
    scene = _light(picture.astype(np.float32), rng)
    for _ in range(int(rng.integers(0, _MOST_OCCLUDERS + 1))):
        inside &= ~_occlude(scene, rng)
    return Staged(_photograph(_weather(scene, rng), rng), there + np.array([x, y], np.float32), inside)


def _seen_from(width: int, height: int, size: int, rng: np.random.Generator) -> Field:
    """Where each pixel of the picture lies on the facade: (S, S, 2) float32 pixels of the facade."""
    yaw, pitch, roll = (rng.uniform(-1, 1) * limit for limit in (_YAW, _PITCH, _ROLL))
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    turn = (
        np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    )
    side = max(width, height)
    units = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / side / 2, height / side / 2)
    corners = units @ turn[:, :2].T  # (4, 3) in sides of the facade
    seen = corners[:, :2] / (corners[:, 2:] + rng.uniform(*_DISTANCE))
    low, high = seen.min(axis=0), seen.max(axis=0)
    # The shorter extent decides: a narrow view of a long facade still fills the picture.
    zoom = math.exp(rng.uniform(*np.log(_FILL))) * size / float(np.sqrt(np.prod(high - low)))
    slack = np.abs(zoom * (high - low) - size) / 2
    here = (seen - (low + high) / 2) * zoom + size / 2 + rng.uniform(-1, 1, 2) * slack
    there = (units - units[0]) * side - 0.5
    back = cv2.getPerspectiveTransform((here - 0.5).astype(np.float32), there.astype(np.float32))
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).astype(np.float32)
    return np.asarray(cv2.perspectiveTransform(grid.reshape(-1, 1, 2), back).reshape(size, size, 2), np.float32)


class _relief:  # noqa: N801 - reads as a function of the facade
    """Depth of the facade, about -1 to 1: large forms at random, and dark parts (windows, doors) set back."""

    def __init__(self, facade: Pixels, rng: np.random.Generator) -> None:
        grey = cv2.cvtColor(facade, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
        spread = float(small.std()) + 1.0
        forms = cv2.resize(rng.standard_normal((4, 4), np.float32), (24, 24), interpolation=cv2.INTER_CUBIC)
        self._depth = np.tanh(0.5 * forms + 0.5 * (small - float(small.mean())) / spread)
        self._scale = np.array([24 / facade.shape[1], 24 / facade.shape[0]], np.float32)

    def __call__(self, where: Field) -> Field:
        """(S, S, 2) pixels of the facade -> (S, S, 1)."""
        there = ((where + 0.5) * self._scale - 0.5).astype(np.float32)
        depth = cv2.remap(self._depth, there[..., 0], there[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(depth[..., None], np.float32)


def _direction(rng: np.random.Generator) -> Field:
    angle, length = rng.uniform(0, 2 * math.pi), rng.random()
    return np.array([math.cos(angle) * length, math.sin(angle) * length], np.float32)


def _noise(size: int, cells: int, rng: np.random.Generator) -> Field:
    """A smooth random field of about unit deviation: (S, S) float32."""
    coarse = rng.standard_normal((cells, cells), np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def _step(values: Field) -> Field:
    """From 0 to 1 around 0, softly."""
    return np.asarray(0.5 + 0.5 * np.tanh(values / 2), np.float32)


def _surroundings(size: int, rng: np.random.Generator) -> Pixels:
    """Sky above, ground below, and blotches in both."""
    sky, ground = rng.uniform(130, 250) + rng.normal(0, 18, 3), rng.uniform(30, 180) + rng.normal(0, 18, 3)
    horizon = rng.uniform(0.3, 0.9) * size
    rows = _step((np.arange(size, dtype=np.float32) - horizon) / rng.uniform(1, 0.2 * size))
    colours = (sky + rows[:, None, None] * (ground - sky)).astype(np.float32)
    blotches = 25 * _noise(size, 6, rng) + 20 * _noise(size, max(size // 8, 8), rng)
    return np.asarray(np.clip(colours + blotches[..., None], 0, 255), np.uint8)


def _light(scene: Field, rng: np.random.Generator) -> Field:
    """Uneven light, its colour, and in a third of the scenes the shadow of something with a straight edge."""
    size = len(scene)
    gain = np.exp(0.25 * _noise(size, 3, rng) + rng.uniform(-0.45, 0.25))
    if rng.random() < 0.35:
        angle, cut = rng.uniform(0, 2 * math.pi), rng.uniform(-0.35, 0.35) * size
        across = np.arange(size, dtype=np.float32) - size / 2
        far = math.cos(angle) * across[None, :] + math.sin(angle) * across[:, None] - cut
        gain *= 1 - rng.uniform(0.3, 0.7) * _step(far.astype(np.float32) / rng.uniform(0.5, 4))
    tint = np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
    return np.asarray(scene * gain[..., None] * tint, np.float32)


def _occlude(scene: Field, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Put a trunk, a pole, foliage, a passer-by or a car in front, in place; (S, S), where it is."""
    size = len(scene)
    colour = rng.uniform(10, 200) + rng.normal(0, 25, 3)
    texture = (colour + 30 * _noise(size, max(size // 6, 4), rng)[..., None]).astype(np.float32)
    cover = np.zeros((size, size), np.uint8)
    x, y = (int(value) for value in rng.uniform(0, size, 2))
    kind = rng.integers(3)
    if kind == 0:  # trunk or pole
        lean = int(rng.normal(0, 0.04) * size)
        cv2.line(cover, (x, -1), (x + lean, size), 1, max(int(rng.uniform(0.01, 0.06) * size), 1))
    elif kind == 1:  # foliage: holes in it
        axes = tuple(int(value) for value in rng.uniform(0.08, 0.3, 2) * size)
        cv2.ellipse(cover, (x, y), axes, 0, 0, 360, 1, -1)
        cover &= (_noise(size, max(size // 10, 4), rng) > -0.4).astype(np.uint8)
        texture[..., 1] += 20
    else:  # passer-by or car, standing on the ground
        w, h = (rng.uniform(0.03, 0.3, 2) * size).astype(int) + 1
        cv2.ellipse(cover, (x, size - h // 2), (int(w) // 2 + 1, int(h)), 0, 0, 360, 1, -1)
    mask = cover.astype(bool)
    scene[mask] = texture[mask]
    return mask


def _weather(scene: Field, rng: np.random.Generator) -> Field:
    """Haze, rain or snow, in a fifth of the scenes each at most."""
    size, what = len(scene), rng.random()
    if what < 0.15:  # haze, denser to one side
        density = np.clip(rng.uniform(0.1, 0.6) + 0.15 * _noise(size, 3, rng), 0, 0.85)[..., None]
        scene = scene * (1 - density) + density * rng.uniform(150, 245)
    elif what < 0.25:  # rain and snow: bright flakes, drawn out
        flakes = (rng.random((size, size), np.float32) < 0.01).astype(np.float32)
        length = int(rng.integers(1, 10))
        streaks = cv2.filter2D(flakes, -1, np.ones((length, 1), np.float32))
        scene = scene + 90 * np.clip(streaks, 0, 1)[..., None]
    return np.asarray(scene, np.float32)


def _photograph(scene: Field, rng: np.random.Generator) -> Pixels:
    """Exposure curve, blur, few pixels, noise, JPEG."""
    picture: Field = np.asarray(255 * np.clip(scene / 255, 0, 1) ** math.exp(rng.normal(0, 0.2)), np.float32)
    size = len(picture)
    blur = rng.random()
    if blur < 0.15:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.4)), np.float32)
    elif blur < 0.3:
        small = int(size * rng.uniform(0.4, 0.9))
        few = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.resize(few, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    if rng.random() < 0.3:
        grain = rng.standard_normal((size, size, 1), np.float32)
        picture = picture + np.float32(rng.uniform(1, 10)) * grain
    photo = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        _, data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 80))])
        photo = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(photo)
