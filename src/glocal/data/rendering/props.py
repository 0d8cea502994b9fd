"""Things that stand in the way or beside: trees, lamp posts, people, a van; and round bodies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from glocal.data.rendering.buildings import box, swatch
from glocal.data.rendering.raster import Quad, Texture, quad
from glocal.data.rendering.textures import Colour, Rng, Surface, blurred, fineness, muted, noise


def lathe(
    quads: list[Quad],
    base: Sequence[float],
    profile: Sequence[tuple[float, float]],
    texture: Texture,
    *,
    turn: float = 0.0,
    segments: int = 40,
    parts: int = 0,
    span: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Add a body of revolution.

    Args:
        quads: list to extend.
        base: centre of its foot.
        profile: (radius, height) from top to foot; the texture runs along it.
        texture: wrapped around once.
        turn: angle in radians of the texture's middle, 0 facing the viewer.
        segments: facets around.
        parts: ground-truth planes that it belongs to.
        span: (v0, v1) part of the texture used.
    """
    segments = max(min(segments, 10), round(segments * fineness()))
    texture = _rounded(texture, profile, segments, span)
    lengths = [float(np.hypot(b[0] - a[0], b[1] - a[1])) for a, b in pairwise(profile)]
    along = np.concatenate([[0.0], np.cumsum(lengths)]) / sum(lengths)
    along = span[0] + along * (span[1] - span[0])
    angles = turn + (np.arange(segments + 1) / segments - 0.5) * 2 * np.pi
    o = np.asarray(base, np.float64)
    for (ra, ya), (rb, yb), v0, v1 in zip(profile, profile[1:], along, along[1:], strict=False):
        for i in range(segments):
            a, b = angles[i], angles[i + 1]
            # A parallelogram of the mean radius stands for a trapezium; with many facets the gap is not seen.
            top = o + np.array([ra * np.sin(a), ya, ra * np.cos(a)])
            right = np.array([np.sin(b) - np.sin(a), 0, np.cos(b) - np.cos(a)]) * (max(ra, rb) * 1.01)
            foot = o + np.array([rb * np.sin(a), yb, rb * np.cos(a)])
            down = foot - top
            region = (i / segments, v0, (i + 1) / segments, v1)
            quads.append(Quad(top, right, down, texture, region, parts, False, True))


def _rounded(
    texture: Texture, profile: Sequence[tuple[float, float]], segments: int, span: tuple[float, float]
) -> Texture:
    """The texture with its bumps tilted across each facet, so that a faceted body is shaded as a smooth one."""
    height, width = texture.detail.shape[:2]
    if segments < 12:  # meant to have edges
        return texture
    detail = texture.detail.astype(np.float32)
    across = (np.arange(width) + 0.5) / width * segments % 1 - 0.5
    detail[..., 0] += 254 * np.tan(np.pi / segments) * across
    points = np.asarray(profile)
    steps = np.diff(points, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    along = span[0] + np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum() * (span[1] - span[0])
    slope = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    bends = np.concatenate([[0.0], np.diff(slope), [0.0]])
    bends[np.abs(bends) > 0.6] = 0.0
    v = (np.arange(height) + 0.5) / height
    for i in range(len(steps)):
        rows = (v >= along[i]) & (v < along[i + 1])
        t = (v[rows] - along[i]) / max(along[i + 1] - along[i], 1e-9)
        tilt = np.where(t < 0.5, bends[i] * (t - 0.5), -bends[i + 1] * (0.5 - t))
        detail[rows, :, 1] -= (127 * np.tan(tilt))[:, None]
    return Texture(texture.albedo, np.clip(detail, 0, 255).astype(np.uint8), texture.opaque)


def foliage(rng: Rng, colour: Colour, side_px: int = 360, leaves: int = 900, cover: float = 0.5) -> Texture:
    """A cloud of leaves with holes, darker inside."""
    s = Surface(1.0, 1.0, side_px, [0.35 * c for c in colour])
    side_px = s.shape[0]
    canvas = np.zeros((side_px, side_px, 4), np.uint8)
    base = np.asarray(colour) * 255
    for i in range(leaves):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * (0.34 + 0.1 * rng.random())
        x, y = 0.5 + reach * np.cos(angle), 0.5 + reach * np.sin(angle) * 0.9
        if np.sin(9 * x + 3) * np.sin(8 * y + 1) < cover - 1.2 and i % 2:
            continue
        tone = (0.45 + 0.55 * i / leaves) * (1.15 - 0.5 * y) * rng.uniform(0.75, 1.25)
        shade = np.clip(base * tone + rng.normal(0, 7, 3), 0, 255)
        axes = (int(side_px * rng.uniform(0.015, 0.027)), int(side_px * rng.uniform(0.008, 0.014)))
        cv2.ellipse(
            canvas,
            (int(x * side_px), int(y * side_px)),
            axes,
            float(rng.uniform(0, 180)),
            0,
            360,
            (float(shade[0]), float(shade[1]), float(shade[2]), 255.0),
            -1,
            cv2.LINE_AA,
        )
    alpha = canvas[..., 3:].astype(np.float32) / 255
    s.rgb[:] = s.rgb * (1 - alpha) + canvas[..., :3].astype(np.float32) / 255 * alpha
    s.alpha[:] = alpha[..., 0]
    s.height = 2 * noise(s.shape, 30, rng, 4)
    return s.texture()


def tree(rng: Rng, x: float, z: float, height: float, crown: float, colour: Colour = (0.30, 0.40, 0.16)) -> list[Quad]:
    """A trunk and a crown of leaf clouds at many depths."""
    quads: list[Quad] = []
    bark = Surface(0.9, height, 60)
    bark.rgb[:] = (
        np.array((0.30, 0.25, 0.20), np.float32) * (1 + 0.25 * noise(bark.shape, 6, rng, 4, (1, 7)))[..., None]
    )
    bark.height = 2 * noise(bark.shape, 6, rng, 3, (1, 7))
    trunk = 0.045 * height
    lathe(
        quads,
        (x, -0.1, z),
        [(trunk * 0.55, height * 0.8), (trunk * 0.8, height * 0.4), (trunk, 0)],
        bark.texture(),
        segments=12,
    )
    clouds = [foliage(rng, colour) for _ in range(3)]
    middle = np.array([x, height, z])
    for _ in range(20):
        direction = rng.standard_normal(3)
        place = middle + direction / np.linalg.norm(direction) * crown * rng.uniform(0.2, 0.62) * (1, 0.8, 1)
        side = crown * rng.uniform(0.75, 1.15)
        yaw = rng.uniform(-0.7, 0.7)
        right = np.array([np.cos(yaw), 0, np.sin(yaw)]) * side
        down = np.array([0.1 * rng.standard_normal(), -1, 0.25]) * side
        leaf = clouds[int(rng.integers(3))]
        quads.append(quad(place - right / 2 - down / 2, right, down, leaf, two_sided=True))
    return quads


def lamp_post(rng: Rng, x: float, z: float, height: float = 4.2) -> list[Quad]:
    """A cast-iron street lamp with a glowing head."""
    quads: list[Quad] = []
    iron = swatch(rng, (0.12, 0.14, 0.13), side_m=1, gloss=0.2)
    lathe(
        quads,
        (x, -0.13, z),
        [(0.045, height), (0.055, 1.2), (0.11, 1.0), (0.12, 0.25), (0.17, 0.2), (0.17, 0)],
        iron.texture,
        segments=14,
    )
    head = Surface(1.0, 0.5, 100, (0.95, 0.88, 0.70))
    head.glow[:] = 1.0
    for i in range(6):
        head.rectangle(i / 6 - 0.012, 0, 0.024, 0.5, (0.1, 0.1, 0.1), glow=0.0)
    lathe(quads, (x, height - 0.1, z), [(0.19, 0.50), (0.11, 0.0)], head.texture(), segments=6)
    lathe(quads, (x, height + 0.4, z), [(0.03, 0.24), (0.22, 0.0)], iron.texture, segments=12)
    return quads


def person(rng: Rng, x: float, z: float, blur: float = 0.012) -> list[Quad]:
    """Somebody walking by, a little out of focus: one upright cut-out facing the viewer."""
    tall = float(rng.uniform(1.6, 1.86))
    s = Surface(1.0, 2.0, 150)
    # One number for all channels: each on its own would give green faces.
    skin = np.array((0.42, 0.28, 0.20)) + rng.random() * np.array((0.44, 0.40, 0.36))
    coat, legs, hair = (np.asarray(muted(rng, 0.08, high, 0.45)) for high in (0.75, 0.4, 0.3))
    cover = Surface(1.0, 2.0, 150, (0, 0, 0))
    k = s.px_per_m

    def limb(points: Sequence[Sequence[float]], colour: Colour, width: float) -> None:
        for layer, paint in ((s, colour), (cover, (1.0, 1.0, 1.0))):
            canvas = layer.rgb
            pts = np.round(np.asarray(points) * k * 16).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(canvas, [pts], False, [float(c) for c in paint], max(1, int(width * k)), cv2.LINE_AA, 4)

    s.rgb[:] = coat
    stride = rng.uniform(0.05, 0.2)
    limb([(0.47, 1.05), (0.45 - stride * 0.4, 1.5), (0.44 - stride, 1.95)], legs * 0.8, 0.13)
    limb([(0.53, 1.05), (0.55 + stride * 0.7, 1.48), (0.55 + stride * 0.8, 1.95)], legs, 0.13)
    limb([(0.44 - stride - 0.03, 1.965), (0.50 - stride, 1.965)], (0.08, 0.07, 0.07), 0.07)
    limb([(0.54 + stride * 0.8, 1.965), (0.62 + stride * 0.8, 1.965)], (0.08, 0.07, 0.07), 0.07)
    limb([(0.5, 0.58), (0.5, 0.95)], coat, 0.34)
    limb([(0.5, 0.9), (0.5, 1.12)], coat * 0.92, 0.36)
    limb([(0.36, 0.56), (0.31 - stride * 0.3, 0.82), (0.34 - stride, 1.08)], coat * 0.85, 0.11)
    limb([(0.64, 0.56), (0.69, 0.82), (0.66 + stride * 0.6, 1.06)], coat * 1.08, 0.11)
    limb([(0.5, 0.36), (0.5, 0.48)], skin * 0.85, 0.12)
    limb([(0.5, 0.24), (0.5, 0.30)], skin, 0.2)
    limb([(0.49, 0.17), (0.49, 0.20)], hair, 0.2)
    light = 1.12 - 0.35 * np.linspace(0, 1, s.shape[1], dtype=np.float32)[None, :]
    s.rgb = np.asarray(s.rgb * (light * (1 + 0.08 * noise(s.shape, 22, rng, 4)))[..., None], np.float32)
    s.alpha = np.clip(blurred(cover.rgb[..., 0], max(0.6, blur * k)), 0, 1)
    s.rgb = blurred(s.rgb, max(0.6, 0.7 * blur * k))
    scale = tall / 1.9
    right = scale if rng.random() < 0.5 else -scale
    return [
        quad(
            (x - right / 2, 2.0 * scale - 0.03 * scale, z),
            (right, 0, 0),
            (0, -2.0 * scale, 0),
            s.texture(),
            two_sided=True,
        )
    ]


def van(rng: Rng, x: float, z: float, words: str = "BLOOM & CO") -> list[Quad]:
    """A parked delivery van seen from its side; z is its far side."""
    length, tall, wide = 4.4, 1.95, 1.8
    colour = muted(rng, 0.35, 0.9, 0.5)
    s = Surface(length, tall, 110, colour)
    s.gloss[:] = 0.35
    s.height = 1.5 * noise(s.shape, 120, rng, 2)
    outline = [(0, 1.62), (0, 0.92), (0.22, 0.84), (0.85, 0.12), (1.1, 0), (4.3, 0), (4.4, 0.15), (4.4, 1.62)]
    mask = s.polygon_mask(outline)
    s.paint([(0.5, 0.84), (0.98, 0.25), (1.72, 0.25), (1.72, 0.84)], (0.05, 0.06, 0.07), gloss=1.0)
    for seam in (1.82, 3.1):
        s.rectangle(seam, 0.1, 0.02, 1.45, [0.4 * c for c in colour], raised=-2)
    s.rectangle(0, 1.38, length, 0.24, (0.10, 0.10, 0.10))
    s.text(words, (3.0, 0.7), 0.34, (0.12, 0.16, 0.2) if sum(colour) > 1.5 else (0.95, 0.93, 0.85), bold=0.02)
    s.text("fresh flowers daily", (3.0, 1.02), 0.16, (0.35, 0.2, 0.2))
    wheels = Surface(length, tall, 110, (0, 0, 0))
    for cx in (0.86, 3.55):
        for radius, tone in ((0.38, 0.03), (0.33, 0.07), (0.2, 0.5), (0.06, 0.2)):
            ring = [(cx + radius * np.cos(t), 1.60 + radius * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 40)]
            s.paint(ring, (tone, tone, tone), gloss=0.05)
            wheels.paint(ring, (1, 1, 1))
    s.alpha = np.maximum(mask, wheels.rgb[..., 0])
    s.weather(rng, streaks=0.02, blotches=0.03, grime=0.2)
    side = s.texture()
    paint = swatch(rng, colour, side_m=2, gloss=0.3, roughness=0.2)
    dark = swatch(rng, (0.05, 0.05, 0.06), side_m=2, gloss=0.9, roughness=0.1)
    y = tall - 0.15
    quads = [quad((x, y, z + wide), (length, 0, 0), (0, -tall, 0), side, two_sided=True)]
    for (ax, ay), (bx, by) in pairwise(outline[1:]):
        material = dark if (ax, ay) == (0.22, 0.84) else paint
        quads.append(
            quad(
                (x + ax, y - ay, z),
                (bx - ax, ay - by, 0),
                (0, 0, wide),
                material.texture,
                region=material.region(1, wide),
                two_sided=True,
            )
        )
    quads.append(
        quad(
            (x, y - 0.9, z), (0, 0, wide), (0, -0.75, 0), paint.texture, region=paint.region(wide, 0.7), two_sided=True
        )
    )
    box(quads, (x + 0.15, 0.4, z + 0.2), (length - 0.3, 0.28, wide - 0.4), dark)
    return quads


def backdrop(rng: Rng, z: float, height: float, colour: Colour) -> list[Quad]:
    """A far line of trees."""
    s = Surface(90, height, 18)
    x = np.arange(s.shape[1])
    crest = sum(
        (noise((1, s.shape[1]), c, rng, 3)[0] * a for c, a in ((320, 0.12), (80, 0.09), (22, 0.07))), np.zeros(len(x))
    )
    top = (0.35 + crest) * s.shape[0]
    s.alpha[:] = np.clip(np.arange(s.shape[0])[:, None] - top[None, :], 0, 1)
    leaf = noise(s.shape, 30, rng, 6)
    s.rgb[:] = np.asarray(colour, np.float32) * (1 + 0.35 * leaf)[..., None]
    s.height = 1.5 * leaf
    return [quad((-45, height - 0.3, z), (90, 0, 0), (0, -height, 0), s.texture(), casts=False)]
