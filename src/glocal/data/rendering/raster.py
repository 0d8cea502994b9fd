"""Textured planar quads and their projection into a picture: the geometry half of the software renderer.

World frame: metres, x right, y up, z towards the viewer. Camera frame: x right, y down, z forward.
A quad is drawn by one homography, so its depth, texture and ground truth come from the same 3 x 3 matrix.
Lighting is in `shading.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Vector = Sequence[float] | NDArray[Any]

_NEAR_M = 0.05
_SUBPIXEL_BITS = 4
# Ordered thresholds turn partial alpha into coverage that the later downscale averages away.
_BAYER = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) + 0.5) * 8.0 + 64.0


@dataclass(eq=False, slots=True)
class Texture:
    """Colour and surface detail of a quad, with minified copies made on demand.

    Attributes:
        albedo: (h, w, 4) uint8, sRGB colour and alpha.
        detail: (h, w, 4) uint8: bump right, bump down (128 is flat, +-127 is a slope of 1), gloss, glow.
        opaque: True if alpha is 255 everywhere, which saves the alpha test.
    """

    albedo: Bytes
    detail: Bytes
    opaque: bool
    _levels: dict[tuple[int, int], tuple[Bytes, Bytes]] = field(default_factory=dict)

    def level(self, across: int, down: int) -> tuple[Bytes, Bytes]:
        """Albedo and detail, 2**across times narrower and 2**down times lower (an anisotropic mip map)."""
        key = (across, down)
        if key not in self._levels:
            height, width = self.albedo.shape[:2]
            size = (max(1, width >> across), max(1, height >> down))
            pair = [
                np.asarray(cv2.resize(a, size, interpolation=cv2.INTER_AREA), np.uint8)
                for a in (self.albedo, self.detail)
            ]
            self._levels[key] = (pair[0], pair[1])
        return self._levels[key]


@dataclass(frozen=True, slots=True, eq=False)
class Quad:
    """A textured parallelogram: `origin` is its top left corner, `right` and `down` are its edges in metres.

    Attributes:
        region: (u0, v0, u1, v1), the part of the texture that covers the quad.
        parts: bit set of the ground-truth planes that the quad belongs to.
        two_sided: drawn from behind as well.
        casts: takes part in the shadow map.
    """

    origin: Doubles
    right: Doubles
    down: Doubles
    texture: Texture
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    parts: int = 0
    two_sided: bool = False
    casts: bool = True

    @property
    def normal(self) -> Doubles:
        """(3,) unit normal on the visible side."""
        # Written out: np.cross takes longer than drawing a small quad.
        (ax, ay, az), (bx, by, bz) = self.down.tolist(), self.right.tolist()
        n = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
        return np.array(n) / math.hypot(*n)


def quad(
    origin: Vector,
    right: Vector,
    down: Vector,
    texture: Texture,
    *,
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
    parts: int = 0,
    two_sided: bool = False,
    casts: bool = True,
) -> Quad:
    """A Quad from plain sequences of metres."""
    o, r, d = (np.asarray(a, np.float64) for a in (origin, right, down))
    return Quad(o, r, d, texture, region, parts, two_sided, casts)


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A pinhole: `rotation` has the rows right, down, forward; `focal_px` counts pixels of a (W, H) picture."""

    position: Doubles
    rotation: Doubles
    focal_px: float
    size: tuple[int, int]

    @classmethod
    def look_at(cls, position: Vector, target: Vector, roll_deg: float, focal: float, size: tuple[int, int]) -> Camera:
        """Point from `position` to `target`; `focal` is in units of the longer side of the picture."""
        eye = np.asarray(position, np.float64)
        forward = np.asarray(target, np.float64) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 1.0, 0.0))
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        roll = np.deg2rad(roll_deg)
        rows = np.stack(
            [np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward]
        )
        return cls(eye, rows, focal * max(size), size)

    def scaled(self, factor: float) -> Camera:
        """The same camera for a picture `factor` times larger (both sides rounded)."""
        size = (round(self.size[0] * factor), round(self.size[1] * factor))
        return Camera(self.position, self.rotation, self.focal_px * size[0] / self.size[0], size)

    def intrinsics(self) -> Doubles:
        """(3, 3) matrix from the camera frame to pixels, with (0, 0) at the centre of the first pixel."""
        width, height = self.size
        f = self.focal_px
        return np.array([[f, 0.0, (width - 1) / 2], [0.0, f, (height - 1) / 2], [0.0, 0.0, 1.0]])

    def matrix(self, origin: Doubles, right: Doubles, down: Doubles) -> Doubles:
        """(3, 3) homography from plane coordinates (u, v, 1) to pixels; its third row gives the depth in metres."""
        frame = np.stack([right, down, origin - self.position], axis=1)
        return np.asarray(self.intrinsics() @ self.rotation @ frame, np.float64)

    def rays(self) -> Floats:
        """(H, W, 3) float32 directions of depth 1 in the world frame, one for each pixel."""
        width, height = self.size
        inverse = np.linalg.inv(self.intrinsics() @ self.rotation).astype(np.float32)
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        return np.asarray(
            (x[None, :, None] * inverse[:, 0]) + (y[:, None, None] * inverse[:, 1] + inverse[:, 2]), np.float32
        )


@dataclass(slots=True, eq=False)
class Buffers:
    """What a camera sees: for each pixel the nearest quad and its surface (`index` is -1 in the sky)."""

    nearness: Floats  # (H, W) 1 / depth, 0 in the sky
    index: NDArray[np.int32]  # (H, W)
    albedo: Bytes  # (H, W, 4)
    detail: Bytes  # (H, W, 4)


def rasterise(quads: Sequence[Quad], camera: Camera) -> Buffers:
    """Draw every quad with a z-buffer; returns the surfaces seen, not yet lit."""
    width, height = camera.size
    buffers = Buffers(
        np.zeros((height, width), np.float32),
        np.full((height, width), -1, np.int32),
        np.zeros((height, width, 4), np.uint8),
        np.full((height, width, 4), 128, np.uint8),
    )
    # Near quads first: what they hide is then rejected before its texture is sampled.
    near_first = sorted(
        range(len(quads)),
        key=lambda i: float(np.linalg.norm(quads[i].origin + (quads[i].right + quads[i].down) / 2 - camera.position)),
    )
    for i in near_first:
        item = quads[i]
        if not item.two_sided and item.normal @ (camera.position - item.origin) <= 0:
            continue
        matrix = camera.matrix(item.origin, item.right, item.down)
        _draw(item, i, matrix, np.array([0.0, 0.0, 1.0]), buffers.nearness, buffers)
    return buffers


@dataclass(frozen=True, slots=True, eq=False)
class ShadowMap:
    """Depth seen from the sun: an orthographic view of a ball around `centre`."""

    nearness: Floats  # (S, S), minus the metres behind the centre plane
    basis: Doubles  # (3, 3) rows: right, down, away from the sun
    centre: Doubles
    texels_per_m: float


def shadow_map(quads: Sequence[Quad], to_sun: Doubles, centre: Doubles, radius_m: float, side_px: int) -> ShadowMap:
    """Depth of the shadow casters within `radius_m` of `centre`, seen from the direction `to_sun`."""
    away = -to_sun / np.linalg.norm(to_sun)
    right = np.cross(away, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    basis = np.stack([right, np.cross(away, right), away])
    scale = side_px / (2 * radius_m)
    nearness = np.full((side_px, side_px), -1e3, np.float32)
    middle = (side_px - 1) / 2
    for i, item in enumerate(quads):
        if not item.casts:
            continue
        frame = basis @ np.stack([item.right, item.down, item.origin - centre], axis=1)
        matrix = np.vstack([frame[:2] * scale, [0.0, 0.0, 1.0]])
        matrix[:2, 2] += middle
        if abs(np.linalg.det(matrix)) < 1.0:  # edge-on: casts no shadow
            continue
        _draw(item, i, matrix, -frame[2], nearness, None)
    return ShadowMap(nearness, basis, centre, scale)


def _draw(
    item: Quad, index: int, matrix: Doubles, depth_row: Doubles, nearness: Floats, buffers: Buffers | None
) -> None:
    """Draw one quad where it is nearer than what `nearness` holds; `buffers` is None for a shadow map."""
    polygon = _clip(matrix)
    if polygon is None:
        return
    height, width = nearness.shape
    x0, y0 = np.maximum(np.floor(polygon.min(axis=0)), 0).astype(int)
    x1 = int(min(np.ceil(polygon[:, 0].max()) + 1, width))
    y1 = int(min(np.ceil(polygon[:, 1].max()) + 1, height))
    if x0 >= x1 or y0 >= y1:
        return
    try:
        inverse: Doubles = np.asarray(np.linalg.inv(matrix), np.float64)
    except np.linalg.LinAlgError:  # seen exactly edge-on
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    fixed = np.round((polygon - (x0, y0)) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillConvexPoly(mask, fixed, (255,), cv2.LINE_8, _SUBPIXEL_BITS)
    plane = depth_row @ inverse
    xs = np.arange(x0, x1) * plane[0] + plane[2]
    ys = np.arange(y0, y1) * plane[1]
    near = (xs[None, :] + ys[:, None]).astype(np.float32)
    target = nearness[y0:y1, x0:x1]
    mask &= (near > target).view(np.uint8) * np.uint8(255)
    if not mask.any():
        return
    albedo, detail, warp = _sampling(
        item, matrix, inverse, np.asarray(polygon.mean(axis=0), np.float64), (int(x0), int(y0))
    )
    size = (x1 - x0, y1 - y0)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    colour = None
    if buffers is not None or not item.texture.opaque:
        colour = cv2.warpPerspective(albedo, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if colour is not None and not item.texture.opaque:
        threshold = np.tile(_BAYER, (size[1] // 4 + 2, size[0] // 4 + 2))[y0 % 4 :, x0 % 4 :][: size[1], : size[0]]
        mask &= (colour[..., 3] > threshold).view(np.uint8) * np.uint8(255)
    cv2.copyTo(near, mask, target)
    if buffers is not None and colour is not None:
        surface = cv2.warpPerspective(detail, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        cv2.copyTo(colour, mask, buffers.albedo[y0:y1, x0:x1])
        cv2.copyTo(surface, mask, buffers.detail[y0:y1, x0:x1])
        buffers.index[y0:y1, x0:x1][mask > 0] = index


def _sampling(
    item: Quad, matrix: Doubles, inverse: Doubles, middle: Doubles, corner: tuple[int, int]
) -> tuple[Bytes, Bytes, Doubles]:
    """Minified textures for the quad and the matrix from pixels of its bounding box to their texels."""
    u0, v0, u1, v1 = item.region
    height, width = item.texture.albedo.shape[:2]
    spot = inverse @ np.array([middle[0], middle[1], 1.0])
    u, v = spot[:2] / spot[2]
    x, y, w = matrix @ np.array([u, v, 1.0])
    stretch_u = np.hypot(matrix[0, 0] - matrix[2, 0] * x / w, matrix[1, 0] - matrix[2, 0] * y / w) / abs(w)
    stretch_v = np.hypot(matrix[0, 1] - matrix[2, 1] * x / w, matrix[1, 1] - matrix[2, 1] * y / w) / abs(w)
    across = int(np.clip(np.log2(abs(u1 - u0) * width / max(stretch_u, 1e-3)) + 0.35, 0, 8))
    down = int(np.clip(np.log2(abs(v1 - v0) * height / max(stretch_v, 1e-3)) + 0.35, 0, 8))
    albedo, detail = item.texture.level(across, down)
    rows, columns = albedo.shape[:2]
    to_texels = np.array(
        [
            [(u1 - u0) * columns, 0.0, u0 * columns - 0.5],
            [0.0, (v1 - v0) * rows, v0 * rows - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )
    shift = np.array([[1.0, 0.0, corner[0]], [0.0, 1.0, corner[1]], [0.0, 0.0, 1.0]])
    return albedo, detail, to_texels @ inverse @ shift


def _clip(matrix: Doubles) -> Doubles | None:
    """(N, 2) pixels of the unit square's part in front of the camera, or None if it lies behind."""
    corners = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]) @ matrix.T
    depths = corners[:, 2]
    if depths.max() <= _NEAR_M:
        return None
    if depths.min() > _NEAR_M:
        return np.asarray(corners[:, :2] / corners[:, 2:], np.float64)
    kept: list[Doubles] = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if a[2] > _NEAR_M:
            kept.append(a)
        if (a[2] > _NEAR_M) != (b[2] > _NEAR_M):
            kept.append(a + (b - a) * (_NEAR_M - a[2]) / (b[2] - a[2]))
    points = np.stack(kept)
    return np.asarray(points[:, :2] / points[:, 2:], np.float64)
