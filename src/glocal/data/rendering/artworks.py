"""Procedural paintings, each of a style of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from glocal.data.rendering.raster import Floats
from glocal.data.rendering.textures import Rng, Surface, blurred, fineness, noise, ramp

Painter = Callable[[Rng, tuple[int, int]], Floats]


def disc(x: float, y: float, radius: float, squash: float = 1.0, corners: int = 48) -> list[tuple[float, float]]:
    """Outline of an ellipse."""
    return [
        (x + radius * float(np.cos(t)), y + squash * radius * float(np.sin(t)))
        for t in np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ]


def _varnish(image: Floats, rng: Rng, strength: float = 1.0) -> Floats:
    """Brush marks, canvas weave and uneven pigment on a picture."""
    shape = image.shape[:2]
    strokes = 0.022 * noise(shape, 7, rng, 3, (3, 1)) + 0.03 * noise(shape, 70, rng, 5)
    y, x = np.indices(shape, dtype=np.float32)
    weave = 0.02 * np.sin(x * 1.9) * np.sin(y * 1.9)
    return np.asarray(np.clip(image * (1 + strength * (strokes + weave))[..., None], 0, 1), np.float32)


def composition(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Geometric abstraction: bars, discs and triangles that overlap like coloured glass."""
    height, width = shape
    s = Surface(width / height, 1.0, height / fineness(), (0.89, 0.85, 0.74))
    aspect = width / height
    colours = np.array(
        [
            (0.78, 0.20, 0.14),
            (0.11, 0.24, 0.46),
            (0.90, 0.67, 0.16),
            (0.09, 0.09, 0.10),
            (0.22, 0.48, 0.44),
            (0.85, 0.51, 0.36),
            (0.55, 0.62, 0.70),
        ]
    )
    for i in range(34):
        before = s.rgb.copy()
        colour = np.clip(colours[rng.integers(len(colours))] + rng.normal(0, 0.03, 3), 0, 1).tolist()
        cx, cy = rng.uniform(0, aspect), rng.uniform(0, 1)
        kind = i % 4
        angle = rng.choice([0.0, 0.6, -0.5, 1.1])
        along = np.array((np.cos(angle), np.sin(angle)))
        across = np.array((-along[1], along[0]))
        if kind == 0:
            s.paint(disc(cx, cy, rng.uniform(0.04, 0.24)), colour)
        elif kind == 1:
            length, wide = rng.uniform(0.2, 0.8), rng.uniform(0.01, 0.09)
            middle = np.array((cx, cy))
            s.paint(
                [
                    (middle + a * along * length / 2 + b * across * wide / 2).tolist()
                    for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
                ],
                colour,
            )
        elif kind == 2:
            s.paint((np.array((cx, cy)) + rng.normal(0, 0.16, (3, 2))).tolist(), colour)
        else:
            for k in range(int(rng.integers(4, 9))):
                middle = np.array((cx, cy)) + across * 0.03 * k
                s.paint(
                    [
                        (middle + a * along * 0.13 + b * across * 0.006).tolist()
                        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
                    ],
                    colour,
                )
        s.rgb = np.asarray(before + rng.uniform(0.72, 1.0) * (s.rgb - before), np.float32)
    return _varnish(s.rgb, rng)


def hills(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A landscape: a low sun, ranges of hills one behind the other, fields and trees in front."""
    height, width = shape
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    image = np.asarray((0.93, 0.72, 0.50), np.float32) * y[..., None] + np.asarray((0.36, 0.50, 0.66), np.float32) * (
        1 - y[..., None]
    )
    image = np.broadcast_to(image, (height, width, 3)).copy()
    cloud = ramp(noise(shape, height / 5, rng, 6, (3, 1)), 0.2, 1.6)[..., None] * (1 - y[..., None] * 1.4).clip(0)
    image += 0.8 * cloud * (np.array((0.95, 0.84, 0.76), np.float32) - image)
    sun = np.hypot((x - 0.68) * width / height, y - 0.30)
    image += ramp(-sun, -0.072, -0.065)[..., None] * (np.array((0.99, 0.90, 0.66), np.float32) - image)
    far, near = np.array((0.55, 0.56, 0.66), np.float32), np.array((0.15, 0.24, 0.14), np.float32)
    for k in range(8):
        t = k / 7
        line = 0.34 + 0.075 * k + (0.07 - 0.004 * k) * noise((1, width), width * (0.30 - 0.02 * k), rng, 7)[0] * 0.8
        inside = ramp(y - line[None, :], 0, 0.004)[..., None]
        body = (far + t * (near - far)) * (1 + (0.07 + 0.16 * t) * noise(shape, 30 + 8 * k, rng, 6, (1.6, 1)))[
            ..., None
        ]
        if k in (4, 6):
            furrow = ramp(np.sin((y * (70 - 4 * k) + 6 * x) * 3 + 2 * noise(shape, 150, rng, 2)), -0.2, 0.6)[..., None]
            body = body + furrow * (np.array((0.66, 0.55, 0.22), np.float32) - body) * 0.7
        image += inside * (body - image)
    for _ in range(60):
        px, py = rng.uniform(0, width), rng.uniform(0.72, 0.98) * height
        tall = height * rng.uniform(0.03, 0.11)
        tone = rng.uniform((0.07, 0.12, 0.06), (0.28, 0.36, 0.15))
        for _ in range(26):
            ox, oy = rng.normal(0, tall * 0.16), -rng.random() * tall
            cv2.ellipse(
                image,
                (int(px + ox), int(py + oy)),
                (int(tall * 0.09) + 1, int(tall * 0.06) + 1),
                float(rng.uniform(0, 180)),
                0,
                360,
                [float(c) for c in tone * rng.uniform(0.6, 1.5)],
                -1,
                cv2.LINE_AA,
            )
    return _varnish(np.asarray(image, np.float32), rng, 1.3)


def portrait(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A head and shoulders laid in mosaic stones."""
    height, width = shape
    s = Surface(width / height, 1.0, height / fineness(), (0.20, 0.33, 0.42))
    c = width / height / 2
    for k in range(7):
        r = 0.46 - 0.035 * k
        s.paint(disc(c, 0.40, r), (0.80, 0.62, 0.22) if k % 2 == 0 else (0.58, 0.30, 0.14))
    s.paint(
        [(c - 0.42, 1.02), (c - 0.34, 0.80), (c - 0.1, 0.70), (c + 0.1, 0.70), (c + 0.34, 0.80), (c + 0.42, 1.02)],
        (0.50, 0.13, 0.17),
    )
    s.paint([(c - 0.13, 0.71), (c, 0.92), (c + 0.13, 0.71)], (0.86, 0.80, 0.66))
    s.paint(disc(c, 0.36, 0.235, 1.25), (0.22, 0.12, 0.08))
    s.paint([(c - 0.08, 0.55), (c - 0.085, 0.74), (c + 0.085, 0.74), (c + 0.08, 0.55)], (0.66, 0.46, 0.34))
    for k in range(5):
        s.paint(
            disc(c + 0.012 * k, 0.40 - 0.004 * k, 0.175 - 0.018 * k, 1.3),
            (0.72 + 0.045 * k, 0.52 + 0.045 * k, 0.39 + 0.04 * k),
        )
    for side in (-1, 1):
        x = c + side * 0.072
        s.paint(disc(x, 0.375, 0.042, 0.55), (0.94, 0.91, 0.84))
        s.paint(disc(x + 0.006, 0.375, 0.021), (0.12, 0.26, 0.24))
        s.paint([(x - 0.05, 0.335), (x, 0.315), (x + 0.05, 0.33), (x, 0.326)], (0.18, 0.09, 0.06))
        s.paint(disc(c + side * 0.235, 0.52, 0.03, 1.3), (0.86, 0.74, 0.36))
    s.paint([(c - 0.01, 0.38), (c + 0.028, 0.475), (c - 0.02, 0.48)], (0.60, 0.38, 0.28))
    s.paint(disc(c + 0.005, 0.535, 0.05, 0.32), (0.68, 0.20, 0.18))
    s.paint(
        [(c - 0.22, 0.20), (c, 0.08), (c + 0.22, 0.20), (c + 0.19, 0.29), (c, 0.20), (c - 0.19, 0.29)],
        (0.15, 0.08, 0.06),
    )
    # Stones: jittered grid points, each pixel takes the colour under the nearest one.
    cell = height / 74
    gy, gx = np.mgrid[0 : height + cell : cell, 0 : width + cell : cell]
    points = np.stack([gy, gx], axis=-1) + rng.uniform(-0.33, 0.33, (*gy.shape, 2)) * cell
    yy, xx = np.indices(shape, dtype=np.float32)
    iy, ix = (yy / cell + 0.5).astype(int), (xx / cell + 0.5).astype(int)
    best, second = np.full(shape, 1e9, np.float32), np.full(shape, 1e9, np.float32)
    owner = np.zeros(shape, np.int64)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            cy, cx = np.clip(iy + dy, 0, gy.shape[0] - 1), np.clip(ix + dx, 0, gy.shape[1] - 1)
            p = points[cy, cx]
            d = ((p[..., 0] - yy) ** 2 + (p[..., 1] - xx) ** 2).astype(np.float32)
            closer = d < best
            second = np.where(closer, best, np.minimum(second, d))
            owner = np.where(closer, cy * gy.shape[1] + cx, owner)
            best = np.where(closer, d, best)
    flat = points.reshape(-1, 2)
    sample = s.rgb[np.clip(flat[:, 0], 0, height - 1).astype(int), np.clip(flat[:, 1], 0, width - 1).astype(int)]
    sample = sample * rng.uniform(0.72, 1.22, (len(flat), 1)) + rng.normal(0, 0.02, (len(flat), 3))
    grout = ramp(np.sqrt(second) - np.sqrt(best), 0.6, 2.2)[..., None]
    return np.asarray(np.clip(sample[owner] * grout + 0.30 * (1 - grout), 0, 1), np.float32)


def currents(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Thousands of brush strokes along a flow."""
    height, width = shape
    image = np.empty((*shape, 3), np.float32)
    image[:] = (0.07, 0.11, 0.24)
    turn = 2.4 * blurred(noise(shape, height / 2.2, rng, 3), 6)
    palette = np.array(
        [
            (0.10, 0.20, 0.48),
            (0.16, 0.42, 0.62),
            (0.62, 0.74, 0.72),
            (0.93, 0.79, 0.38),
            (0.86, 0.45, 0.18),
            (0.90, 0.88, 0.78),
        ]
    )
    where = noise(shape, height / 2.5, rng, 3)
    count = 3400
    start = rng.uniform((0, 0), (width - 1, height - 1), (count, 2))
    tone = where[start[:, 1].astype(int), start[:, 0].astype(int)]
    tone = np.clip((tone + 2.2) / 4.4 + rng.normal(0, 0.10, count), 0, 0.999)
    colours = palette[(tone * len(palette)).astype(int)] * rng.uniform(0.75, 1.2, (count, 1))
    lengths = rng.integers(5, 11, count)
    track = [start]
    for _ in range(9):
        x, y = np.clip(track[-1], 0, (width - 1, height - 1)).astype(int).T
        angle = turn[y, x]
        track.append(track[-1] + np.stack([np.cos(angle), np.sin(angle)], axis=1) * height * 0.012)
    lines = np.round(np.stack(track, axis=1) * 16).astype(np.int32)
    for i in range(count):
        thick = int(height * (0.012 if i < count // 2 else 0.006)) + 1
        cv2.polylines(image, [lines[i, : lengths[i], None]], False, colours[i].tolist(), thick, cv2.LINE_AA, 4)
    return _varnish(image, rng, 0.9)


def still_life(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A jug, a bowl and fruit on a cloth, modelled in light and shade."""
    height, width = shape
    s = Surface(width / height, 1.0, height / fineness(), (0.30, 0.22, 0.18))
    aspect = width / height
    s.rgb *= (1 + 0.16 * noise(shape, 120, rng, 5))[..., None]
    s.paint([(0, 0.66), (aspect, 0.60), (aspect, 1), (0, 1)], (0.62, 0.56, 0.48), mottle=0.08, rng=rng)
    for _ in range(16):
        x = rng.uniform(0, aspect)
        s.paint(
            [(x, 0.66), (x + 0.015, 0.66), (x + rng.normal(0, 0.15), 1.0)],
            (np.array((0.62, 0.56, 0.48)) * rng.uniform(0.7, 1.2)).tolist(),
        )

    def body(outline: Sequence[Sequence[float]], colour: Sequence[float]) -> None:
        points = np.asarray(outline)
        middle = points.mean(axis=0)
        shadow = middle + (points - middle) * (1.05, 0.25) + (0.08, np.ptp(points[:, 1]) * 0.45)
        s.paint(shadow.tolist(), (0.16, 0.11, 0.09))
        for k in range(12):
            f = 1 - k / 13
            shift = np.array((-0.22, -0.22)) * (1 - f) * np.ptp(points, axis=0) * 0.5
            tone = 0.42 + 0.75 * k / 11
            s.paint(
                (middle + (points - middle) * f + shift).tolist(), np.clip(np.asarray(colour) * tone, 0, 1).tolist()
            )

    c = aspect / 2
    jug = [
        (c - 0.30, 0.20),
        (c - 0.12, 0.20),
        (c - 0.15, 0.30),
        (c - 0.05, 0.45),
        (c - 0.07, 0.64),
        (c - 0.33, 0.64),
        (c - 0.36, 0.46),
        (c - 0.26, 0.30),
    ]
    body(jug, (0.36, 0.48, 0.62))
    bowl = [(c + 0.02, 0.56), (c + 0.46, 0.56), (c + 0.38, 0.72), (c + 0.10, 0.72)]
    for _ in range(9):
        body(
            disc(c + rng.uniform(0.10, 0.40), rng.uniform(0.46, 0.56), rng.uniform(0.05, 0.075)),
            ((0.84, 0.30, 0.16), (0.90, 0.62, 0.16), (0.55, 0.62, 0.20))[int(rng.integers(3))],
        )
    body(bowl, (0.80, 0.74, 0.62))
    for _ in range(14):
        body(
            disc(rng.uniform(0.1, aspect - 0.1), rng.uniform(0.76, 0.92), rng.uniform(0.035, 0.065)),
            ((0.46, 0.10, 0.20), (0.86, 0.42, 0.20), (0.90, 0.74, 0.30), (0.38, 0.45, 0.18))[int(rng.integers(4))],
        )
    return _varnish(s.rgb, rng, 1.5)


PAINTERS: dict[str, Painter] = {
    "composition": composition,
    "hills": hills,
    "portrait": portrait,
    "currents": currents,
    "still-life": still_life,
}
