"""The street around a building: pavement, kerb, road, and plain neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glocal.data.rendering.buildings import BRICK, CLAY, GRANITE, SLATE, Facade, box, swatch
from glocal.data.rendering.materials import masonry, plaster
from glocal.data.rendering.raster import Quad, quad
from glocal.data.rendering.textures import Colour, Rng, Surface, muted, noise, ramp

WASHES = (
    (0.86, 0.80, 0.66),
    (0.82, 0.68, 0.54),
    (0.80, 0.74, 0.68),
    (0.74, 0.76, 0.72),
    (0.87, 0.83, 0.76),
    (0.78, 0.62, 0.52),
)


def strips(item: Quad, across: int, down: int) -> list[Quad]:
    """Cut a large quad into smaller ones, so that each picks the minification that suits its distance."""
    u0, v0, u1, v1 = item.region
    out = []
    for j in range(down):
        for i in range(across):
            region = (
                u0 + (u1 - u0) * i / across,
                v0 + (v1 - v0) * j / down,
                u0 + (u1 - u0) * (i + 1) / across,
                v0 + (v1 - v0) * (j + 1) / down,
            )
            out.append(
                Quad(
                    item.origin + item.right * (i / across) + item.down * (j / down),
                    item.right / across,
                    item.down / down,
                    item.texture,
                    region,
                    item.parts,
                    item.two_sided,
                    item.casts,
                )
            )
    return out


def street(rng: Rng, *, paving: Sequence[Colour] = GRANITE, road: str = "setts", pavement_m: float = 3.2) -> list[Quad]:
    """Pavement along z = 0, a kerb, and a road in front of it."""
    half = 13.0
    quads: list[Quad] = []
    walk = Surface(2 * half, pavement_m, 72)
    masonry(
        walk,
        rng,
        paving,
        course_m=0.42,
        unit_m=0.62,
        joint_m=0.012,
        jitter=0.2,
        variation=0.05,
        mortar=(0.33, 0.32, 0.30),
        depth=1.5,
    )
    walk.weather(rng, streaks=0, blotches=0.09, grime=0)
    spots = ramp(noise(walk.shape, 9, rng, 2), 2.1, 2.6)
    walk.rgb *= (1 - 0.3 * spots)[..., None]
    quads += strips(quad((-half, 0, 0), (2 * half, 0, 0), (0, 0, pavement_m), walk.texture(), casts=False), 4, 1)
    kerb = swatch(rng, (0.60, 0.59, 0.57))
    for i in range(14):
        x = -half + i * 2 * half / 14
        box(quads, (x, 0.012, pavement_m), (2 * half / 14 - 0.012, 0.14, 0.2), kerb)
    lane = Surface(2 * half, 8.0, 60)
    if road == "setts":
        masonry(
            lane,
            rng,
            [[0.8 * c for c in p] for p in GRANITE],
            course_m=0.13,
            unit_m=0.15,
            joint_m=0.018,
            jitter=0.16,
            variation=0.11,
            mortar=(0.27, 0.26, 0.23),
            depth=2.0,
        )
    else:
        lane.rgb[:] = 0.30 + 0.035 * noise(lane.shape, 3, rng, 2)[..., None]
        lane.height[:] = 0.7 * noise(lane.shape, 3, rng, 2)
        cracks = ramp(-np.abs(noise(lane.shape, 160, rng, 6)), -0.018, -0.004)
        lane.rgb *= (1 - 0.45 * cracks)[..., None]
    lane.weather(rng, streaks=0, blotches=0.11, grime=0)
    quads += strips(quad((-half, -0.13, pavement_m), (2 * half, 0, 0), (0, 0, 8.0), lane.texture(), casts=False), 4, 3)
    plain = swatch(rng, (0.37, 0.36, 0.35), side_m=10, px_per_m=40)
    quads += strips(quad((-60, -0.2, -20), (120, 0, 0), (0, 0, 60), plain.texture, casts=False), 4, 4)
    return quads


def townhouse(rng: Rng, left: float, width: float, height: float, z: float) -> list[Quad]:
    """A plain neighbour: plaster or brick, a grid of windows, a door, a cornice."""
    house = Facade(left, height, width, height, rng, z=z, px_per_m=62, recess=0.18)
    if rng.random() < 0.35:
        masonry(house.front, rng, BRICK, course_m=0.085, unit_m=0.24)
    else:
        plaster(house.front, rng, WASHES[int(rng.integers(len(WASHES)))])
    storeys = max(2, int(height / 2.9))
    columns = max(2, int(width / 2.0))
    pitch, rise = width / columns, (height - 0.5) / storeys
    curtain = muted(rng, 0.75, 0.95, 0.2)
    shutter = muted(rng, 0.25, 0.6, 0.6)
    shuttered = rng.random() < 0.6
    for j in range(storeys):
        for i in range(columns):
            wx = i * pitch + pitch / 2 - 0.48 + 0.03 * rng.standard_normal()
            wy = 0.75 + j * rise
            if j == storeys - 1 and i == columns // 2:
                house.door(wx, height - 2.3, 1.0, 2.3, shutter)
                continue
            if shuttered:
                for sx in (wx - 0.52, wx + 0.98):
                    house.front.rectangle(sx, wy, 0.48, 1.5, shutter, raised=4, mottle=0.05, rng=rng)
                    for k in range(13):
                        house.front.rectangle(sx + 0.06, wy + 0.08 + k * 0.105, 0.36, 0.03, [0.6 * c for c in shutter])
            house.window(
                wx,
                wy,
                0.96,
                1.5,
                curtain=curtain if rng.random() < 0.7 else None,
                surround=None if shuttered else (0.80, 0.78, 0.72),
            )
    house.front.weather(rng)
    quads = house.finish()
    box(quads, (left - 0.1, height + 0.05, z - 0.1), (width + 0.2, 0.3, 0.45), house.stone)
    roof = swatch(rng, CLAY[0] if rng.random() < 0.5 else SLATE[0], side_m=4)
    quads.append(quad((left, height + 1.9, z - 2.6), (width, 0, 0), (0, -1.85, 2.75), roof.texture))
    side = Surface(5.2, height + 1.9, 45)
    plaster(side, rng, (0.66, 0.61, 0.54))
    side.weather(rng)
    side.alpha *= side.polygon_mask([(0, 1.9), (2.6, 0), (5.2, 1.9), (5.2, height + 2), (0, height + 2)])
    gable = side.texture()
    quads.append(quad((left + width, height + 1.9, z), (0, 0, -5.2), (0, -height - 1.9, 0), gable))
    quads.append(quad((left, height + 1.9, z - 5.2), (0, 0, 5.2), (0, -height - 1.9, 0), gable))
    return quads
