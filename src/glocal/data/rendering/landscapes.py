"""Pictures without a partner: a meadow, the sea, mountains, a street, fruit, a bookshelf."""

from __future__ import annotations

import numpy as np

from glocal.data.rendering.buildings import Model, box, swatch
from glocal.data.rendering.interiors import fruit_skin, sphere
from glocal.data.rendering.materials import planks, plaster
from glocal.data.rendering.props import backdrop, tree
from glocal.data.rendering.raster import quad
from glocal.data.rendering.street import street, strips, townhouse
from glocal.data.rendering.textures import Rng, Surface, muted, noise, ramp


def meadow(rng: Rng) -> Model:
    """Grass with flowers, a few trees, a wood behind."""
    model = Model(target=(0, 2.2, 0), distance_m=9.0, radius_m=12.0)
    grass = Surface(40, 30, 45)
    blades = noise(grass.shape, 5, rng, 3, (0.6, 2.2))
    grass.rgb[:] = (
        np.asarray((0.34, 0.42, 0.17), np.float32)
        * (1 + 0.22 * blades + 0.18 * noise(grass.shape, 190, rng, 5))[..., None]
    )
    for threshold, colour in ((2.9, (0.93, 0.90, 0.80)), (3.1, (0.88, 0.74, 0.22)), (3.2, (0.66, 0.30, 0.52))):
        dots = ramp(noise(grass.shape, 6, rng, 2) + 0.5 * noise(grass.shape, 160, rng, 2), threshold, threshold + 0.3)[
            ..., None
        ]
        grass.rgb += dots * (np.asarray(colour, np.float32) - grass.rgb)
    grass.height[:] = 2.5 * blades
    model.quads += strips(quad((-20, 0, -20), (40, 0, 0), (0, 0, 30), grass.texture(), casts=False), 4, 8)
    for x, z, h in ((-4.5, -3.0, 4.2), (5.4, -6.0, 4.6), (1.2, -10.0, 4.4)):
        model.quads += tree(rng, x, z, h, h * 0.85, rng.uniform((0.22, 0.32, 0.12), (0.40, 0.42, 0.18)).tolist())
    model.quads += backdrop(rng, -19.5, 7.0, (0.19, 0.26, 0.14)) + backdrop(rng, -18, 4.4, (0.24, 0.30, 0.15))
    return model


def sea(rng: Rng) -> Model:
    """A pebble beach, waves to the horizon."""
    model = Model(target=(0, 1.5, -6), distance_m=14.0, radius_m=10.0)
    water = Surface(160, 120, 11, (0.12, 0.22, 0.27))
    water.height[:] = 3.2 * noise(water.shape, 26, rng, 5, (3.0, 1.0)) + 1.2 * noise(water.shape, 5, rng, 2, (2, 1))
    foam = ramp(noise(water.shape, 60, rng, 6, (5, 1)), 1.5, 2.2)[..., None]
    water.rgb += foam * (0.85 - water.rgb)
    water.gloss[:] = 1 - 0.9 * foam[..., 0]
    model.quads += strips(quad((-80, 0, -120), (160, 0, 0), (0, 0, 120), water.texture(0.6), casts=False), 4, 8)
    beach = Surface(24, 9, 100)
    cells = noise(beach.shape, 6, rng, 3) + 0.6 * noise(beach.shape, 14, rng, 1)
    beach.rgb[:] = (
        np.asarray((0.58, 0.53, 0.46), np.float32)
        * (1 + 0.25 * cells + 0.1 * noise(beach.shape, 80, rng, 4))[..., None]
    )
    beach.height[:] = 4 * cells
    edge = (1.2 + 0.5 * noise((1, beach.shape[1]), 400, rng, 4)[0]) * beach.px_per_m
    beach.alpha[:] = np.clip((np.arange(beach.shape[0])[:, None] - edge[None, :]) / 4, 0, 1)
    model.quads += strips(quad((-12, 0.02, -1), (24, 0, 0), (0, 0, 9), beach.texture(), casts=False), 4, 4)
    island = Surface(40, 3, 20, (0.30, 0.33, 0.38))
    crest = (
        0.55
        - 0.28 * noise((1, island.shape[1]), 260, rng, 6)[0]
        + np.abs(np.linspace(-1.2, 1.2, island.shape[1])) ** 3 * 0.5
    )
    island.alpha[:] = np.clip(np.arange(island.shape[0])[:, None] - crest * island.shape[0], 0, 1)
    model.quads.append(quad((-34, 5, -100), (44, 0, 0), (0, -5, 0), island.texture(), casts=False))
    return model


def ridges(rng: Rng) -> Model:
    """Mountain ranges one behind the other in the haze."""
    model = Model(target=(0, 3, 0), distance_m=20.0, radius_m=10.0)
    for k in range(7):
        z = -260.0 + 38 * k
        wide, tall = 420.0 - 38 * k, 62.0 - 6.5 * k
        s = Surface(wide, tall, 1500 / wide)
        crest = 0.42 - 0.22 * noise((1, s.shape[1]), 420 - 20 * k, rng, 8)[0]
        s.alpha[:] = np.clip(np.arange(s.shape[0])[:, None] - crest[None, :] * s.shape[0], 0, 1)
        rock = noise(s.shape, 70, rng, 7)
        s.rgb[:] = np.asarray(((0.42, 0.42, 0.45), (0.24, 0.30, 0.18))[k > 2], np.float32) * (1 + 0.3 * rock)[..., None]
        depth = np.arange(s.shape[0])[:, None] - crest[None, :] * s.shape[0]
        snow = ramp(-depth + 14 * noise(s.shape, 26, rng, 5), -34, -6)[..., None] * (k < 3)
        s.rgb += snow * (0.93 - s.rgb)
        s.height[:] = 5 * rock
        model.quads.append(
            quad((-wide / 2, tall * 0.66 - 2 * k, z), (wide, 0, 0), (0, -tall, 0), s.texture(), casts=False)
        )
    grass = swatch(rng, (0.25, 0.30, 0.17), side_m=20, px_per_m=40, roughness=3)
    model.quads += strips(quad((-60, -8, -40), (120, 0, 0), (0, 0, 60), grass.texture, casts=False), 4, 4)
    return model


def alley(rng: Rng) -> Model:
    """A row of plain houses."""
    model = Model(target=(0, 3.2, 0), distance_m=10.0, radius_m=9.0)
    x = -9.5
    while x < 9:
        width = float(rng.uniform(4.6, 6.6))
        model.quads += townhouse(rng, x, width, float(rng.uniform(6.2, 9.4)), float(rng.uniform(-0.4, 0.1)))
        x += width + 0.03
    model.quads += street(rng, road="asphalt") + tree(rng, 5.2, 2.4, 4.0, 2.8)
    return model


def fruit(rng: Rng) -> Model:
    """Fruit on a dark table."""
    model = Model(target=(0, 0.06, 0), distance_m=0.62, radius_m=0.8)
    top = Surface(1.8, 1.4, 480)
    planks(
        top, rng, [(0.42, 0.31, 0.22), (0.47, 0.36, 0.27), (0.37, 0.27, 0.19)], board_m=0.13, length_m=1.5, varnish=0.25
    )
    model.quads += strips(quad((-0.9, 0, -0.6), (1.8, 0, 0), (0, 0, 1.4), top.texture()), 3, 3)
    wall = Surface(3, 1.5, 200)
    plaster(wall, rng, (0.33, 0.36, 0.38))
    model.quads.append(quad((-1.5, 1.3, -0.6), (3, 0, 0), (0, -1.5, 0), wall.texture()))
    placed: list[tuple[float, float, float]] = []
    for _ in range(90):
        r = float(rng.uniform(0.032, 0.052))
        x, z = float(rng.normal(0, 0.19)), float(rng.normal(-0.05, 0.12))
        if len(placed) >= 9 or any(np.hypot(x - a, z - b) < r + c for a, b, c in placed):
            continue
        placed.append((x, z, r))
        colour = ((0.86, 0.46, 0.12), (0.70, 0.14, 0.12), (0.60, 0.66, 0.22), (0.90, 0.78, 0.25), (0.42, 0.12, 0.26))[
            int(rng.integers(5))
        ]
        sphere(model.quads, (x, r * 0.94, z), r, fruit_skin(rng, colour), 0.94)
    return model


def bookshelf(rng: Rng) -> Model:
    """Shelves of books."""
    model = Model(target=(0, 1.3, 0), distance_m=1.5, radius_m=1.6)
    wood = swatch(rng, (0.34, 0.22, 0.14), side_m=2, px_per_m=300, gloss=0.1)
    back = swatch(rng, (0.22, 0.15, 0.10), side_m=2.6)
    model.quads.append(quad((-1.3, 2.6, -0.28), (2.6, 0, 0), (0, -2.6, 0), back.texture))
    boards = [swatch(rng, muted(rng, 0.2, 0.6, 0.6), side_m=0.3, px_per_m=60) for _ in range(6)]
    for j in range(8):
        y = 0.1 + 0.36 * j
        box(model.quads, (-1.3, y, -0.28), (2.6, 0.03, 0.3), wood)
        x = -1.28
        while x < 1.2:
            w, h, d = float(rng.uniform(0.018, 0.055)), float(rng.uniform(0.20, 0.30)), float(rng.uniform(0.17, 0.24))
            if rng.random() < 0.06:
                x += float(rng.uniform(0.05, 0.15))
                continue
            spine = Surface(h, w, 420, muted(rng, 0.18, 0.72, 0.7))
            band = muted(rng, 0.55, 0.95, 0.5)
            for place in rng.uniform(0.05, 0.95, 3):
                spine.rectangle(float(place) * h, 0, 0.008, w, band)
            name = "".join(rng.choice(list("ABCDEGHILMNORSTU "), int(rng.integers(6, 14))))
            spine.text(name, (h / 2, w / 2), w * 0.55, band, bold=0.03, max_width_m=h * 0.8)
            spine.rgb *= (1 + 0.1 * noise(spine.shape, 20, rng, 3))[..., None]
            texture = spine.texture()
            # The title runs down the spine: the texture's x axis points down.
            model.quads.append(quad((x + w, y + h, d - 0.26), (0, -h, 0), (-w, 0, 0), texture))
            box(model.quads, (x, y + h, -0.26), (w, h, d - 0.002), boards[int(rng.integers(len(boards)))])
            x += w + 0.001
    return model
