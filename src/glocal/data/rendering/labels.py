"""Printed things: labels of packages, a book cover, a poster."""

from __future__ import annotations

import numpy as np

from glocal.data.rendering.artworks import disc
from glocal.data.rendering.textures import Rng, Surface, noise, ramp


def oats_box(rng: Rng) -> tuple[Surface, Surface]:
    """Front (0.19 x 0.28 m) and side of a box of rolled oats; drawn in units of 0.1 m."""
    front, side = Surface(1.9, 2.8, 270, (0.86, 0.28, 0.15)), Surface(0.7, 2.8, 270, (0.80, 0.24, 0.13))
    for i in range(26):
        a = i * 2 * np.pi / 26
        front.paint(
            [
                (0.95, 1.45),
                (0.95 + 3 * np.cos(a), 1.45 + 3 * np.sin(a)),
                (0.95 + 3 * np.cos(a + 0.11), 1.45 + 3 * np.sin(a + 0.11)),
            ],
            (0.93, 0.52, 0.20),
        )
    front.paint(disc(0.95, 1.85, 0.78, 0.62), (0.96, 0.92, 0.82))
    front.paint(disc(0.95, 1.88, 0.66, 0.5), (0.85, 0.76, 0.58))
    for _ in range(420):
        a, r = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        x, y = 0.95 + 0.6 * r * np.cos(a), 1.86 + 0.29 * r * np.sin(a)
        front.paint(
            disc(x, y, rng.uniform(0.03, 0.055), rng.uniform(0.5, 0.9), 9),
            (np.array((0.90, 0.79, 0.58)) * rng.uniform(0.72, 1.1)).tolist(),
        )
    for _ in range(16):
        a, r = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        x, y = 0.95 + 0.5 * r * np.cos(a), 1.84 + 0.24 * r * np.sin(a)
        front.paint(disc(x, y, 0.055), (0.20, 0.20, 0.46))
        front.paint(disc(x - 0.015, y - 0.015, 0.02), (0.55, 0.56, 0.76))
    front.paint([(0.1, 0.28), (1.8, 0.16), (1.8, 1.02), (0.1, 1.10)], (0.14, 0.26, 0.42))
    front.text("HARVEST", (0.95, 0.46), 0.34, (0.98, 0.94, 0.82), bold=0.05, max_width_m=1.55)
    front.text("rolled oats", (0.95, 0.84), 0.25, (0.98, 0.78, 0.30), bold=0.03)
    front.text("with blueberries  -  500 g", (0.95, 2.62), 0.12, (1.0, 0.95, 0.85))
    front.paint(disc(1.6, 2.35, 0.2), (0.20, 0.46, 0.24))
    front.text("100%\nwhole\ngrain", (1.6, 2.35), 0.09, (1, 1, 0.9), bold=0.02)
    side.rectangle(0.06, 0.3, 0.58, 1.2, (0.96, 0.93, 0.86))
    side.text("per 100 g\nenergy 372\nfat 6.9\nfibre 10\nprotein 13\nsalt 0.02", (0.35, 0.85), 0.09, (0.1, 0.1, 0.1))
    for i in range(34):
        side.rectangle(
            0.14 + 0.0125 * i,
            2.1,
            0.0125 * float(rng.integers(1, 3)) / 2,
            0.35,
            (0.05, 0.05, 0.05) if rng.random() < 0.6 else (0.95, 0.93, 0.9),
        )
    for s in (front, side):
        s.gloss[:] = 0.22
        s.rgb *= (1 + 0.02 * noise(s.shape, 60, rng, 6))[..., None]
        s.height[:] = 1.2 * noise(s.shape, 160, rng, 2)
    return front, side


def can_label(rng: Rng) -> Surface:
    """Label of a can of tomatoes, 0.27 x 0.115 m around; drawn in units of 0.1 m."""
    s = Surface(2.7, 1.15, 380, (0.93, 0.89, 0.76))
    s.rectangle(0, 0, 2.7, 0.2, (0.12, 0.36, 0.20))
    s.rectangle(0, 0.97, 2.7, 0.18, (0.12, 0.36, 0.20))
    for y in (0.215, 0.945):
        s.rectangle(0, y, 2.7, 0.012, (0.78, 0.60, 0.24))
    for base in (0.0, 0.9, 1.8):
        for _ in range(5):
            x, y, r = base + rng.uniform(0.12, 0.78), rng.uniform(0.72, 0.86), rng.uniform(0.09, 0.13)
            for k in range(9):
                f = 1 - k / 10
                s.paint(
                    disc(x - 0.25 * r * (1 - f), y - 0.3 * r * (1 - f), r * f, 0.92),
                    np.clip(np.array((0.72, 0.10, 0.06)) * (0.7 + 0.09 * k), 0, 1).tolist(),
                )
            for k in range(5):
                a = k * 1.26 + rng.uniform(0, 1)
                s.paint(
                    [
                        (x, y - 0.6 * r),
                        (x + 0.55 * r * np.cos(a), y - 0.6 * r + 0.3 * r * np.sin(a)),
                        (x + 0.1 * r, y - 0.5 * r),
                    ],
                    (0.20, 0.42, 0.14),
                )
        s.text("POMODORI", (base + 0.45, 0.36), 0.17, (0.70, 0.10, 0.08), bold=0.04, max_width_m=0.76)
        s.text("di collina", (base + 0.45, 0.53), 0.12, (0.15, 0.32, 0.18), bold=0.02)
        s.text(
            ("PELATI  400 g", "sole e terra", "dal 1931")[round(base / 0.9)],
            (base + 0.45, 1.06),
            0.09,
            (0.95, 0.90, 0.70),
        )
        s.text(
            ("CASA VERDI", "raccolti a mano", "CASA VERDI")[round(base / 0.9)],
            (base + 0.45, 0.10),
            0.10,
            (0.95, 0.86, 0.55),
        )
    s.gloss[:] = 0.4
    s.rgb *= (1 + 0.02 * noise(s.shape, 60, rng, 6))[..., None]
    return s


def book_cover(rng: Rng) -> Surface:
    """Front of an atlas, 0.22 x 0.28 m, with an invented island; drawn in units of 0.1 m."""
    s = Surface(2.2, 2.8, 270, (0.16, 0.30, 0.36))
    relief = noise(s.shape, 190, rng, 7)
    y, x = np.indices(s.shape, dtype=np.float32)
    relief += 1.5 - 2.6 * np.hypot((x / s.px_per_m - 1.11) / 1.11, (y / s.px_per_m - 1.63) / 1.26)
    sea, land, peak = (np.array(c, np.float32) for c in ((0.42, 0.62, 0.66), (0.78, 0.72, 0.50), (0.52, 0.36, 0.24)))
    tone = ramp(relief, 0.0, 1.6)[..., None]
    shore = ramp(relief, -0.02, 0.02)[..., None]
    chart = (
        sea * (0.92 + 0.12 * ramp(np.sin(relief * 16), 0.6, 1.0))[..., None] * (1 - shore)
        + (land + tone * (peak - land)) * shore
    )
    contour = ramp(np.abs(np.sin(relief * 11)), 0.0, 0.16)[..., None]
    chart *= 1 - 0.45 * (1 - contour) * shore
    rows, columns = s.box(0.15, 0.75, 1.9, 1.85)
    s.rgb[rows, columns] = chart[rows, columns]
    for k in range(1, 6):
        s.rectangle(0.15 + k * 0.32, 0.75, 0.006, 1.85, (0.25, 0.38, 0.42))
        s.rectangle(0.15, 0.75 + k * 0.31, 1.9, 0.006, (0.25, 0.38, 0.42))
    for _ in range(26):
        px, py = rng.uniform(0.3, 1.8), rng.uniform(0.95, 2.4)
        s.paint(disc(px, py, 0.016), (0.55, 0.10, 0.10))
        name = "".join(rng.choice(list("aeiou") if i % 2 else list("brklmnst")) for i in range(int(rng.integers(4, 8))))
        s.text(name.capitalize(), (px + 0.13, py), 0.06, (0.15, 0.12, 0.10))
    s.text("THE SMALL ATLAS", (1.1, 0.30), 0.22, (0.92, 0.82, 0.55), bold=0.02, max_width_m=1.9)
    s.text("of islands nobody has found", (1.1, 0.56), 0.115, (0.90, 0.88, 0.80))
    s.rectangle(0.0, 0.0, 0.09, 2.8, (0.10, 0.20, 0.25), raised=-2)
    s.gloss[:] = 0.16
    s.rgb *= (1 + 0.03 * noise(s.shape, 60, rng, 6))[..., None]
    return s


def tea_tin(rng: Rng) -> tuple[Surface, Surface]:
    """Front and side of a tin of tea, 0.13 x 0.17 m; drawn in units of 0.1 m."""
    out = []
    for words in ("JADE\nMOUNTAIN", "green tea\nno. 7"):
        s = Surface(1.3, 1.7, 330, (0.10, 0.22, 0.20))
        for _ in range(70):
            x, y, r = rng.uniform(0, 1.3), rng.uniform(0, 1.7), rng.uniform(0.05, 0.14)
            colour = np.array(
                ((0.83, 0.62, 0.60), (0.90, 0.80, 0.62), (0.30, 0.48, 0.38))[int(rng.integers(3))]
            ) * rng.uniform(0.8, 1.1)
            for k in range(5):
                a = k * 1.257 + x
                s.paint(
                    disc(x + 0.5 * r * np.cos(a), y + 0.5 * r * np.sin(a), 0.5 * r, 0.8, 14),
                    np.clip(colour * (0.85 + 0.05 * k), 0, 1).tolist(),
                )
            s.paint(disc(x, y, 0.2 * r, 1, 10), (0.75, 0.55, 0.2))
        s.rectangle(0.2, 0.5, 0.9, 0.7, (0.93, 0.90, 0.80))
        s.rectangle(0.23, 0.53, 0.84, 0.64, (0.10, 0.22, 0.20))
        s.text(words, (0.65, 0.85), 0.17, (0.92, 0.82, 0.52), bold=0.03, max_width_m=0.78)
        s.gloss[:] = 0.45
        out.append(s)
    return out[0], out[1]


def concert_poster(rng: Rng) -> Surface:
    """A poster of 1.0 x 1.4 m."""
    s = Surface(1.0, 1.4, 520, (0.93, 0.80, 0.45))
    for i in range(40, 0, -1):
        r = i * 0.021
        wob = [
            (
                0.5 + (r + 0.02 * np.sin(5 * t + i * 0.35)) * np.cos(t),
                0.58 + (r + 0.02 * np.sin(5 * t + i * 0.35)) * np.sin(t),
            )
            for t in np.linspace(0, 2 * np.pi, 70)
        ]
        s.paint(wob, ((0.83, 0.25, 0.20), (0.93, 0.80, 0.45), (0.12, 0.26, 0.40))[i % 3])
    for i in range(9):
        x = 0.30 + i * 0.05
        s.paint([(x, 0.42 + 0.01 * i), (x + 0.02, 0.42 + 0.01 * i), (x + 0.02, 0.78), (x, 0.78)], (0.08, 0.08, 0.10))
    s.paint(disc(0.5, 0.80, 0.22, 0.35), (0.08, 0.08, 0.10))
    s.rectangle(0, 1.05, 1.0, 0.35, (0.10, 0.10, 0.13))
    s.text("JAZZ BY THE RIVER", (0.5, 1.14), 0.10, (0.95, 0.85, 0.55), bold=0.03, max_width_m=0.92)
    s.text("The Copper Owls  /  Ada Lune Trio", (0.5, 1.235), 0.052, (0.92, 0.90, 0.85))
    s.text("14 June  -  Old Boathouse  -  doors 19h", (0.5, 1.32), 0.043, (0.83, 0.45, 0.32), bold=0.01)
    s.weather(rng, streaks=0.03, blotches=0.04, grime=0.0)
    s.height[:] = 1.5 * noise(s.shape, 60, rng, 3)
    return s
