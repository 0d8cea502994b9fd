"""Light on the surfaces of a picture: sun with shadows, sky, lamps, occlusion, reflections, haze, and the lens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.data.rendering.raster import Buffers, Bytes, Camera, Doubles, Floats, Quad, ShadowMap
from glocal.data.rendering.textures import Rng, blurred, noise, ramp, resized

Rgb = tuple[float, float, float]  # linear light, not sRGB

_LINEAR = (np.arange(256, dtype=np.float32) / 255) ** np.float32(2.2)
_SIGNED = (np.arange(256, dtype=np.float32) - 128) / np.float32(127)


@dataclass(frozen=True, slots=True)
class Lamp:
    """A small light at `position`; with `aim`, a spot of `cone_deg` half angle."""

    position: tuple[float, float, float]
    rgb: Rgb
    aim: tuple[float, float, float] | None = None
    cone_deg: float = 40.0


@dataclass(frozen=True, slots=True)
class Light:
    """Everything that shines on a scene, and what the camera makes of it."""

    name: str
    to_sun: tuple[float, float, float] = (0.4, 0.8, 0.5)
    sun: Rgb = (3.6, 3.2, 2.7)
    sky: Rgb = (0.55, 0.68, 0.9)  # ambient light on surfaces that look up
    bounce: Rgb = (0.32, 0.29, 0.25)  # ambient light on surfaces that look down
    zenith: Rgb = (0.17, 0.36, 0.78)
    horizon: Rgb = (0.72, 0.83, 0.95)
    clouds: float = 0.5  # 0 clear ... 1 closed
    cloud_seed: int = 0
    glow: float = 0.0  # how bright lit windows and lamps are
    lamps: tuple[Lamp, ...] = field(default=())
    exposure: float = 1.0
    visibility_m: float = 400.0
    penumbra_m: float = 0.03
    indoors: bool = False


@dataclass(frozen=True, slots=True)
class Lens:
    """What the camera adds: `balance` is its white balance, blurs are in pixels of the picture."""

    balance: Rgb = (1.0, 1.0, 1.0)
    vignette: float = 0.25
    grain: float = 0.006
    blur_px: float = 0.0
    motion_px: float = 0.0
    motion_deg: float = 0.0
    stops: float = 0.0


@lru_cache(maxsize=8)
def _cloud_field(seed: int) -> Floats:
    rng = np.random.default_rng([seed, 77])
    return noise((768, 768), 190, rng, 8)


def sky_colour(directions: Floats, light: Light) -> Floats:
    """(N, 3) linear colour of the sky in (N, 3) unit directions."""
    y = np.maximum(directions[:, 1], 0)
    blend = (1 - np.exp(-3.2 * y))[:, None]
    horizon, zenith = np.asarray(light.horizon, np.float32), np.asarray(light.zenith, np.float32)
    colour = horizon + blend * (zenith - horizon)
    to_sun = np.asarray(light.to_sun, np.float32)
    to_sun = to_sun / np.linalg.norm(to_sun)
    glare = np.maximum(directions @ to_sun, 0)
    if light.clouds > 0:
        # Clouds lie on a flat sheet overhead, so that they shrink towards the horizon as real ones do.
        flat = directions[:, [0, 2]] / (y[:, None] + 0.16) * 105
        cloud = _cloud_field(light.cloud_seed)
        density, shade = (
            _gather(cloud, flat[:, 0] + 384 + s, flat[:, 1] + 384 + s, cv2.BORDER_REFLECT_101)
            for s in (np.float32(0), np.float32(14))
        )
        edge = 1.5 - 2.6 * light.clouds
        cover = ramp(density, edge, edge + 1.5) * ramp(directions[:, 1], -0.02, 0.1)
        white = np.asarray(light.sun, np.float32) * 0.14 + np.asarray(light.sky, np.float32) * 0.62
        lit = np.clip(0.9 + 0.22 * (density - shade) - 0.16 * (density - edge), 0.45, 1.3)
        colour += cover[:, None] * 0.92 * (white * lit[:, None] - colour)
    warm = np.asarray(light.sun, np.float32)
    return np.asarray(colour + warm * (0.16 * _power(glare, 3) + 0.9 * _power(glare, 7))[:, None], np.float32)


@lru_cache(maxsize=16)
def _surroundings(light: Light) -> Floats:
    """(128, 512, 3) panorama that glass and varnish reflect: columns are azimuth, rows elevation +90 to -90 degrees."""
    rows, columns = 128, 512
    rng = np.random.default_rng([light.cloud_seed, 5])
    elevation = np.linspace(np.pi / 2, -np.pi / 2, rows, dtype=np.float32)[:, None]
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False, dtype=np.float32)[None, :]
    directions = np.dstack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.broadcast_to(np.sin(elevation), (rows, columns)),
            np.cos(elevation) * np.cos(azimuth),
        ]
    ).reshape(-1, 3)
    if light.indoors:
        panorama = np.empty((rows, columns, 3), np.float32)
        panorama[:] = np.asarray(light.sky, np.float32) * (0.25 + 0.2 * (elevation > 0.5))[..., None]
        for _ in range(7):
            x, y = int(rng.integers(0, columns - 45)), int(rng.integers(15, 55))
            panorama[y : y + int(rng.integers(4, 22)), x : x + int(rng.integers(7, 40))] += 2.4
        return blurred(panorama, 1.0)
    panorama = sky_colour(np.ascontiguousarray(directions, np.float32), light).reshape(rows, columns, 3)
    x = 0
    ambient = np.asarray(light.sky, np.float32) * 0.5 + np.asarray(light.sun, np.float32) * 0.1
    while x < columns:
        width, top = int(rng.integers(10, 30)), int(rng.integers(40, 58))
        wall = ambient * rng.uniform(0.2, 0.6) * rng.uniform(0.8, 1.1, 3).astype(np.float32)
        panorama[top:, x : x + width] = wall
        for wy in range(top + 2, 62, 5):
            for wx in range(x + 2, x + width - 3, 4):
                panorama[wy : wy + 3, wx : wx + 2] = wall * rng.uniform(0.3, 0.7) + 0.4 * light.glow * (
                    rng.random() < 0.4
                )
        x += width
    panorama[65:] = ambient * 0.35
    return blurred(panorama, 0.5)


def shade(buffers: Buffers, quads: Sequence[Quad], camera: Camera, light: Light, shadows: ShadowMap | None) -> Floats:
    """(H, W, 3) float32 linear light that reaches the camera."""
    height, width = buffers.index.shape
    rays = camera.rays()
    solid = buffers.index >= 0
    depth = 1 / np.maximum(buffers.nearness, np.float32(1e-3))
    frames = _frames(quads, camera)
    index = np.where(solid, buffers.index, len(quads))
    bump_x, bump_y = _SIGNED[buffers.detail[..., 0]], _SIGNED[buffers.detail[..., 1]]
    flat_normals = frames[0][index]
    normals = flat_normals + bump_x[..., None] * frames[1][index] + bump_y[..., None] * frames[2][index]
    normals *= 1 / np.sqrt(np.einsum("hwc,hwc->hw", normals, normals))[..., None]
    normals = np.asarray(normals, np.float32)
    points = np.asarray(rays * depth[..., None], np.float32)  # relative to the camera

    occlusion = _ambient_occlusion(points, flat_normals, camera, solid)
    up = normals[..., 1] * np.float32(0.5) + np.float32(0.5)
    bounce, sky = np.asarray(light.bounce, np.float32), np.asarray(light.sky, np.float32)
    received = (bounce + up[..., None] * (sky - bounce)) * occlusion[..., None]
    sun_seen = None
    if shadows is not None:
        to_sun = np.asarray(light.to_sun, np.float32)
        to_sun = to_sun / np.linalg.norm(to_sun)
        sun_seen = _sun_visibility(points, flat_normals, camera, shadows, light.penumbra_m)
        direct = np.maximum(normals @ to_sun, 0) * sun_seen
        # A little occlusion on direct light too: crevices of the texture are finer than the shadow map.
        received += (direct * (0.55 + 0.45 * occlusion))[..., None] * np.asarray(light.sun, np.float32)
    for lamp in light.lamps:
        _add_lamp(received, lamp, points, normals, camera, occlusion)
    albedo = cv2.LUT(buffers.albedo[..., :3], _LINEAR)
    colour = np.asarray(albedo * received, np.float32)
    if light.glow > 0:
        colour += albedo * (buffers.detail[..., 3:].astype(np.float32) * np.float32(light.glow / 255))
    _reflect(colour, buffers, rays, normals, light, occlusion, sun_seen)

    if not light.indoors:
        veil = np.exp(depth * np.float32(-1 / light.visibility_m))[..., None]
        colour = np.asarray(light.horizon, np.float32) * np.float32(0.8) * (1 - veil) + colour * veil
    if not solid.all():
        away = rays[~solid]
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        colour[~solid] = sky_colour(away, light)
    return np.asarray(colour.reshape(height, width, 3), np.float32)


def _frames(quads: Sequence[Quad], camera: Camera) -> tuple[Floats, Floats, Floats]:
    """Unit normal (towards the camera), right and down of every quad, and a last row for the sky."""
    rows = np.zeros((3, len(quads) + 1, 3), np.float32)
    rows[0, -1] = (0, 1, 0)
    for i, item in enumerate(quads):
        normal = item.normal
        rows[0, i] = normal if normal @ (camera.position - item.origin) > 0 else -normal
        rows[1, i] = item.right / np.linalg.norm(item.right)
        rows[2, i] = item.down / np.linalg.norm(item.down)
    return rows[0], rows[1], rows[2]


def _ambient_occlusion(points: Floats, normals: Floats, camera: Camera, solid: NDArray[np.bool_]) -> Floats:
    """(H, W) float32 in (0, 1]: how much of the sky a point sees past its neighbours, from the depth alone."""
    height, width = solid.shape
    step = max(1, round(width / 420))
    p = np.ascontiguousarray(points[::step, ::step])
    n = np.ascontiguousarray(normals[::step, ::step])
    p[~solid[::step, ::step]] = 1e4
    rows, columns = p.shape[:2]
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    depth = p @ camera.rotation[2].astype(np.float32)
    px_per_m = np.float32(camera.focal_px / step) / depth
    blocked = np.zeros((rows, columns), np.float32)
    taps = [
        (a, r) for r, count in ((0.10, 5), (0.28, 6), (0.7, 6)) for a in np.arange(count) * 2 * np.pi / count + r * 9
    ]
    for angle, radius in taps:
        reach = np.minimum(px_per_m * np.float32(radius), np.float32(90))
        other = (
            np.asarray(
                cv2.remap(
                    p,
                    x + reach * np.float32(np.cos(angle)),
                    y + reach * np.float32(np.sin(angle)),
                    cv2.INTER_NEAREST,
                    borderMode=cv2.BORDER_REPLICATE,
                ),
                np.float32,
            )
            - p
        )
        squared = np.einsum("hwc,hwc->hw", other, other) + np.float32(1e-6)
        rise = np.einsum("hwc,hwc->hw", other, n) / np.sqrt(squared)
        blocked += np.maximum(rise - np.float32(0.12), 0) / (1 + squared / np.float32(2.5 * radius * radius))
    open_ = np.exp(-blocked * np.float32(3.4 / len(taps) * 1.6))
    open_ = blurred(np.asarray(open_, np.float32), 0.9)
    return resized(open_, (width, height), cv2.INTER_LINEAR)


def _sun_visibility(points: Floats, normals: Floats, camera: Camera, shadows: ShadowMap, penumbra_m: float) -> Floats:
    """(H, W) float32 in [0, 1]: share of the sun's disc that is not hidden."""
    height, width = points.shape[:2]
    basis = shadows.basis.astype(np.float32)
    offset = (shadows.basis @ (camera.position - shadows.centre)).astype(np.float32)
    lifted = points + normals * np.float32(0.012)
    place = lifted @ basis.T + offset
    scale, middle = np.float32(shadows.texels_per_m), np.float32((shadows.nearness.shape[0] - 1) / 2)
    x, y = place[..., 0] * scale + middle, place[..., 1] * scale + middle
    near = np.float32(0.02 + 0.6 / shadows.texels_per_m) - place[..., 2]
    # Each pixel of a 2 x 2 block samples other directions; the final downscale averages them into a soft edge.
    turn, tiling = np.array([[0.0, 0.5], [0.75, 0.25]]), (height // 2 + 1, width // 2 + 1)
    seen = np.zeros((height, width), np.float32)
    reach = np.float32(max(1.0, penumbra_m * shadows.texels_per_m))
    for tap, radius in ((0.0, 0.35), (0.33, 0.75), (0.66, 1.0)):
        angle = (turn + tap) * 2 * np.pi
        dx, dy = (
            reach * np.float32(radius) * np.tile(f(angle), tiling)[:height, :width].astype(np.float32)
            for f in (np.cos, np.sin)
        )
        hit = cv2.remap(
            shadows.nearness,
            x + dx,
            y + dy,
            cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(-1e3,),
        )
        seen += near >= hit
    return blurred(seen / np.float32(3), 0.8)


def _add_lamp(received: Floats, lamp: Lamp, points: Floats, normals: Floats, camera: Camera, occlusion: Floats) -> None:
    to_lamp = (np.asarray(lamp.position) - camera.position).astype(np.float32) - points
    squared = np.einsum("hwc,hwc->hw", to_lamp, to_lamp)
    distance = np.sqrt(squared)
    amount = np.maximum(np.einsum("hwc,hwc->hw", to_lamp, normals) / distance, 0) / (squared + np.float32(0.05))
    if lamp.aim is not None:
        axis = np.asarray(lamp.aim, np.float32) - np.asarray(lamp.position, np.float32)
        cosine = -(to_lamp @ (axis / np.linalg.norm(axis))) / distance
        edge = np.cos(np.deg2rad(lamp.cone_deg))
        amount *= ramp(cosine, edge - 0.12, edge + 0.10)
    received += (amount * (0.4 + 0.6 * occlusion))[..., None] * np.asarray(lamp.rgb, np.float32)


def _reflect(
    colour: Floats,
    buffers: Buffers,
    rays: Floats,
    normals: Floats,
    light: Light,
    occlusion: Floats,
    sun_seen: Floats | None,
) -> None:
    """Add what glossy pixels mirror: the panorama and the sun's highlight."""
    glossy = (buffers.detail[..., 2] > 8) & (buffers.index >= 0)
    if not glossy.any():
        return
    gloss = buffers.detail[..., 2][glossy].astype(np.float32) / np.float32(255)
    view = rays[glossy]
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    normal = normals[glossy]
    facing = np.einsum("nc,nc->n", view, normal)
    mirrored = view - 2 * facing[:, None] * normal
    fresnel = gloss * (0.07 + 0.93 * _power(np.clip(1 + facing, 0, 1), 2) * np.clip(1 + facing, 0, 1))
    panorama = _surroundings(light)
    rows, columns = panorama.shape[:2]
    u = (np.arctan2(mirrored[:, 0], mirrored[:, 2]) / (2 * np.pi) + 0.5) * columns - 0.5
    v = (0.5 - np.arcsin(np.clip(mirrored[:, 1], -1, 1)) / np.pi) * rows - 0.5
    seen = _gather(panorama, u, v)
    amount = fresnel * (0.35 + 0.65 * occlusion[glossy])
    base = colour[glossy]
    result = base + amount[:, None] * (seen - base)
    if sun_seen is not None:
        to_sun = np.asarray(light.to_sun, np.float32) / np.linalg.norm(light.to_sun)
        spark = _power(np.maximum(mirrored @ to_sun.astype(np.float32), 0), 6) * sun_seen[glossy] * gloss
        result += (spark * 0.9)[:, None] * np.asarray(light.sun, np.float32)
    colour[glossy] = result


def _power(x: NDArray[Any], doublings: int) -> Floats:
    """`x` to the power 2**doublings; squaring is many times faster than a general power."""
    result = np.asarray(x, np.float32)
    for _ in range(doublings):
        result = result * result
    return result


def _gather(image: Floats, x: NDArray[Any], y: NDArray[Any], border: int = cv2.BORDER_WRAP) -> Floats:
    """(N,) or (N, 3) bilinear samples; remap wants two-dimensional coordinates shorter than 32767."""
    side = 1024
    padded = -(-x.size // side) * side
    grids = [np.resize(a.astype(np.float32), padded).reshape(-1, side) for a in (x, y)]
    out = np.asarray(cv2.remap(image, grids[0], grids[1], cv2.INTER_LINEAR, borderMode=border), np.float32)
    return out.reshape(padded, *image.shape[2:])[: x.size]


def defocus(linear: Floats, buffers: Buffers, focus_m: float) -> Floats:
    """Blur what lies well behind the distance in focus, as a near subject's background is in a photo."""
    depth = 1 / np.maximum(buffers.nearness, np.float32(1e-3))
    far = ramp(depth / np.float32(focus_m), 1.18, 2.0)
    # Blur only far light, or the sharp subject would bleed into the background.
    weighted = np.dstack([linear * (far + np.float32(1e-3))[..., None], far + np.float32(1e-3)])
    small = resized(weighted, (linear.shape[1] // 2, linear.shape[0] // 2), cv2.INTER_AREA)
    soft = resized(blurred(small, linear.shape[1] / 420), (linear.shape[1], linear.shape[0]), cv2.INTER_LINEAR)
    return np.asarray(linear + far[..., None] * (soft[..., :3] / soft[..., 3:] - linear), np.float32)


def develop(linear: Floats, size: tuple[int, int], light: Light, lens: Lens, rng: Rng) -> Bytes:
    """Turn linear light into the photo: downscale, bloom, exposure, tone curve, vignette, blur and noise.

    Args:
        linear: (H', W', 3) float32.
        size: (W, H) of the photo.
        light: gives the exposure.
        lens: the camera's faults.
        rng: for the noise.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    width, height = size
    image = resized(np.minimum(linear, np.float32(12)), size, cv2.INTER_AREA)
    luminance = image[::4, ::4] @ np.array([0.21, 0.72, 0.07], np.float32)
    # Half-way auto exposure: a dark street stays darker than a sunny one.
    typical = float(np.exp(np.mean(np.log(luminance + 0.02))))
    gain = light.exposure * 2**lens.stops * 0.50 * (0.34 / typical) ** 0.7
    image *= np.asarray(lens.balance, np.float32) * np.float32(gain)
    small = resized(image, (max(8, width // 4), max(8, height // 4)), cv2.INTER_AREA)
    halo = blurred(np.maximum(small - np.float32(0.8), 0), width / 140)
    image += np.float32(0.35) * resized(halo, size, cv2.INTER_LINEAR)
    if lens.blur_px > 0:
        image = blurred(image, lens.blur_px)
    if lens.motion_px >= 1:
        image = np.asarray(cv2.filter2D(image, -1, _motion_kernel(lens.motion_px, lens.motion_deg)), np.float32)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(height / width)
    image *= (1 - np.float32(lens.vignette) * ramp(x * x + y * y, 0.15, 1.7))[..., None]
    # Tone curve: linear in the shadows, a soft shoulder in the lights, then display gamma and a little contrast.
    image = np.asarray(1 - cv2.exp(-np.float32(1.55) * np.maximum(image, 0)), np.float32)
    image = np.asarray(cv2.pow(image, 1 / 2.2), np.float32)
    image += np.float32(0.34) * (image * image * (3 - 2 * image) - image)
    grey = image.mean(axis=2, keepdims=True)
    image = grey + np.float32(1.10) * (image - grey)
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    image += (grain * np.float32(0.8) + grain[..., :1] * np.float32(0.6)) * np.float32(lens.grain)
    return np.asarray(np.clip(image * 255 + 0.5, 0, 255), np.uint8)


def _motion_kernel(length_px: float, angle_deg: float) -> Floats:
    side = 2 * int(np.ceil(length_px / 2)) + 3
    kernel = np.zeros((side, side), np.float32)
    middle = np.array([side // 2, side // 2])
    delta: Doubles = np.array([np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))]) * length_px / 2
    a, b = (np.round((middle + s * delta) * 16).astype(int) for s in (-1, 1))
    cv2.line(kernel, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), (1.0,), 1, cv2.LINE_AA, 4)
    return np.asarray(kernel / kernel.sum(), np.float32)
