"""Rooms: a painting on a museum wall, a poster on a brick wall, a package on a kitchen table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from glocal.data.rendering import artworks, labels
from glocal.data.rendering.buildings import BRICK, Model, Swatch, box, swatch
from glocal.data.rendering.materials import masonry, planks, plaster, tiles
from glocal.data.rendering.props import lathe
from glocal.data.rendering.raster import Doubles, Quad, Texture, quad
from glocal.data.rendering.street import strips
from glocal.data.rendering.textures import Colour, Rng, Surface, muted, noise, ramp

_SIZES_M = {
    "composition": (1.20, 0.95),
    "hills": (1.45, 0.92),
    "portrait": (0.86, 1.10),
    "currents": (1.30, 1.00),
    "still-life": (1.15, 0.86),
}
_GILT, _DARK, _PALE = (0.68, 0.52, 0.25), (0.16, 0.11, 0.08), (0.72, 0.60, 0.44)
_FRAMES: dict[str, Colour] = {
    "composition": (0.10, 0.10, 0.10),
    "hills": _GILT,
    "portrait": _DARK,
    "currents": _PALE,
    "still-life": _GILT,
}
_WALLS = ((0.80, 0.78, 0.73), (0.40, 0.47, 0.45), (0.52, 0.24, 0.22), (0.30, 0.36, 0.46), (0.70, 0.62, 0.48))


@lru_cache(maxsize=12)
def _painting(kind: str, seed: int, height_px: int, fineness: float) -> Texture:
    width_m, height_m = _SIZES_M[kind]
    assert fineness > 0  # a key of the cache: the surrounding context sets the resolution
    rng = np.random.default_rng([seed, 11, *kind.encode()])
    s = Surface(width_m, height_m, height_px / height_m)
    s.rgb[:] = artworks.PAINTERS[kind](rng, s.shape)
    s.height[:] = 1.6 * s.rgb.mean(axis=2) + 0.2 * noise(s.shape, 4, rng, 2)
    s.gloss[:] = 0.28
    return s.texture(0.7)


def _hang(
    model: Model,
    art: Texture,
    middle: Sequence[float],
    size: tuple[float, float],
    frame: Swatch,
    border: float,
    parts: int = 0,
) -> None:
    """A picture with a frame of four mitre-less bars and a mount, on the wall z = 0."""
    (x, y, _), (w, h) = middle, size
    model.quads.append(quad((x - w / 2, y + h / 2, 0.02), (w, 0, 0), (0, -h, 0), art, parts=parts))
    for left, top, wide, tall in (
        (x - w / 2 - border, y + h / 2 + border, w + 2 * border, border),
        (x - w / 2 - border, y - h / 2, w + 2 * border, border),
        (x - w / 2 - border, y + h / 2, border, h),
        (x + w / 2, y + h / 2, border, h),
    ):
        box(model.quads, (left, top, 0.0), (wide, tall, 0.055), frame)
        # A raised fillet makes the profile of the moulding.
        f = 0.28 * border
        box(model.quads, (left + f, top - f, 0.055), (max(wide - 2 * f, 0.01), max(tall - 2 * f, 0.01), 0.018), frame)


def gallery(kind: str, seed: int, view: int, fineness: float) -> Model:
    """A museum room with the painting `kind`; its neighbours change between views."""
    rng = np.random.default_rng([seed, 21, *kind.encode()])
    width, height = _SIZES_M[kind]
    middle = (0.0, 1.55, 0.0)
    model = Model(target=middle, distance_m=2.05, radius_m=3.0)
    bit = model.add_plane("painting", (-width / 2, 1.55 + height / 2, 0.02), (width, 0, 0), (0, -height, 0))
    gilt = swatch(rng, _FRAMES[kind], side_m=1.0, px_per_m=420, gloss=0.16, roughness=0.8)
    _hang(model, _painting(kind, seed, 900, fineness), middle, (width, height), gilt, 0.085, bit)
    wall = Surface(7.0, 3.4, 180)
    plaster(wall, rng, _WALLS[int(rng.integers(len(_WALLS)))], 0.12)
    wall.height += 0.12 * noise(wall.shape, 3, rng, 2)
    wall.rectangle(0, 3.22, 7, 0.18, (0.82, 0.80, 0.76))
    model.quads += strips(quad((-3.5, 3.4, 0), (7, 0, 0), (0, -3.4, 0), wall.texture()), 3, 1)
    skirting = swatch(rng, (0.80, 0.78, 0.74), side_m=3, gloss=0.1)
    box(model.quads, (-3.5, 0.16, 0), (7, 0.16, 0.025), skirting)
    floor = Surface(7.0, 4.5, 130)
    planks(
        floor,
        rng,
        [(0.50, 0.34, 0.21), (0.56, 0.40, 0.26), (0.44, 0.29, 0.18)],
        board_m=0.11,
        length_m=1.1,
        varnish=0.35,
    )
    model.quads += strips(quad((-3.5, 0, 0), (7, 0, 0), (0, 0, 4.5), floor.texture()), 3, 2)
    label = Surface(1.5, 1.0, 130, (0.94, 0.93, 0.90))
    label.text(kind.replace("-", " ").title(), (0.7, 0.25), 0.17, (0.1, 0.1, 0.1), bold=0.02)
    for i in range(5):
        label.rectangle(0.15, 0.45 + 0.09 * i, float(rng.uniform(0.7, 1.2)), 0.025, (0.45, 0.45, 0.45))
    box(
        model.quads,
        (width / 2 + 0.17, 1.42 - height / 2 + 0.2, 0),
        (0.15, 0.10, 0.008),
        skirting,
        front=label.texture(),
    )
    beside = np.random.default_rng([seed, 22, view, *kind.encode()])
    others = [k for k in _SIZES_M if k != kind]
    for side in (-1, 1):
        # Neighbours are painted from other seeds: they must not tie two groups together.
        other = others[int(beside.integers(len(others)))]
        art = _painting(other, 1000 + seed + 2 * view + (side > 0), 300, fineness)
        w, h = (d * float(beside.uniform(0.6, 0.9)) for d in _SIZES_M[other])
        x = side * (width / 2 + w / 2 + float(beside.uniform(0.45, 0.75)))
        frame = swatch(beside, (_GILT, _DARK, _PALE)[int(beside.integers(3))], side_m=1, gloss=0.2)
        _hang(model, art, (x, 1.55 + float(beside.normal(0, 0.05)), 0), (w, h), frame, 0.06)
    if beside.random() < 0.5:
        seat = swatch(beside, (0.18, 0.16, 0.15), side_m=1, gloss=0.15)
        box(model.quads, (float(beside.uniform(-1, 0)), 0.45, 1.25), (1.1, 0.1, 0.42), seat)
        box(model.quads, (float(beside.uniform(-0.9, -0.5)), 0.35, 1.35), (0.9, 0.35, 0.2), seat)
    return model


@lru_cache(maxsize=4)
def _poster(seed: int, fineness: float) -> Texture:
    return labels.concert_poster(np.random.default_rng([seed, 12])).texture()


def poster_wall(seed: int, view: int, fineness: float) -> Model:
    """A concert poster pasted on a brick wall, on another wall in each view."""
    rng = np.random.default_rng([seed, 23, view])
    model = Model(target=(0.0, 1.5, 0.0), distance_m=2.1, radius_m=3.5)
    bit = model.add_plane("poster", (-0.5, 2.2, 0.012), (1.0, 0, 0), (0, -1.4, 0))
    model.quads.append(quad((-0.5, 2.2, 0.012), (1.0, 0, 0), (0, -1.4, 0), _poster(seed, fineness), parts=bit))
    wall = Surface(6.0, 3.6, 190)
    if view % 3 == 1:
        plaster(wall, rng, muted(rng, 0.6, 0.85, 0.25), 1.0)
    else:
        palette = BRICK if view % 3 == 0 else [(0.72, 0.69, 0.63), (0.66, 0.63, 0.58), (0.76, 0.73, 0.68)]
        masonry(wall, rng, palette, course_m=0.083, unit_m=0.235, joint_m=0.012)
    wall.weather(rng, streaks=0.12)
    model.quads += strips(quad((-3, 3.6, 0), (6, 0, 0), (0, -3.6, 0), wall.texture()), 3, 2)
    for _ in range(3):
        s = Surface(0.5, 0.7, 300, muted(rng, 0.5, 0.95, 0.6))
        s.rgb *= (1 + 0.06 * noise(s.shape, 40, rng, 6))[..., None]
        for _ in range(12):
            middle = rng.uniform((0.05, 0.3), (0.45, 0.65))
            s.paint((middle + rng.normal(0, 0.06, (5, 2))).tolist(), muted(rng, 0.1, 0.9, 0.7))
        s.text("".join(rng.choice(list("ABDEKLMNORST"), 5)), (0.25, 0.2), 0.13, muted(rng, 0.05, 0.3), bold=0.05)
        x = float(rng.uniform(0.6, 1.6)) * (-1 if rng.random() < 0.5 else 1) - 0.25
        model.quads.append(quad((x, float(rng.uniform(1.6, 2.3)), 0.008), (0.5, 0.01, 0), (0.01, -0.7, 0), s.texture()))
    ground = Surface(6, 3, 100)
    masonry(ground, rng, [(0.5, 0.5, 0.49), (0.45, 0.45, 0.45)], course_m=0.4, unit_m=0.5)
    model.quads += strips(quad((-3, 0, 0), (6, 0, 0), (0, 0, 3), ground.texture(), casts=False), 2, 1)
    return model


@lru_cache(maxsize=12)
def _package(kind: str, seed: int, fineness: float) -> tuple[Texture, Texture]:
    rng = np.random.default_rng([seed, 13, *kind.encode()])
    if kind == "oats":
        front, side = labels.oats_box(rng)
    elif kind == "tea":
        front, side = labels.tea_tin(rng)
    elif kind == "atlas":
        front, side = labels.book_cover(rng), Surface(0.3, 2.8, 100, (0.12, 0.22, 0.27))
    else:
        front = side = labels.can_label(rng)
    return front.texture(), side.texture()


def _turned(yaw: float) -> Doubles:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def _standing_box(
    model: Model, size: tuple[float, float, float], textures: tuple[Texture, Texture], edge: Swatch, name: str
) -> None:
    w, h, d = size
    corner = np.array([-w / 2, h, -d / 2])
    bit = model.add_plane(name, (-w / 2, h, d / 2), (w, 0, 0), (0, -h, 0))
    box(model.quads, corner, size, edge, front=textures[0], parts=bit)
    # Printed sides just outside the plain ones.
    model.quads.append(quad((w / 2 + 5e-4, h, d / 2), (0, 0, -d), (0, -h, 0), textures[1]))
    model.quads.append(quad((-w / 2 - 5e-4, h, -d / 2), (0, 0, d), (0, -h, 0), textures[1]))


def kitchen(kind: str, seed: int, view: int, fineness: float) -> Model:
    """The package `kind` on a table; table, wall and company change between views."""
    rng = np.random.default_rng([seed, 24, view, *kind.encode()])
    model = Model(target=(0.0, 0.13, 0.0), distance_m=0.52, radius_m=0.7)
    textures = _package(kind, seed, fineness)
    if kind == "oats":
        _standing_box(
            model,
            (0.19, 0.28, 0.07),
            textures,
            swatch(rng, (0.80, 0.24, 0.13), side_m=0.3, px_per_m=800, gloss=0.2),
            "box",
        )
    elif kind == "tea":
        model.target, model.distance_m = (0.0, 0.09, 0.0), 0.38
        _standing_box(
            model,
            (0.13, 0.17, 0.13),
            textures,
            swatch(rng, (0.10, 0.22, 0.20), side_m=0.3, px_per_m=800, gloss=0.4),
            "tin",
        )
    elif kind == "atlas":
        _standing_book(model, textures[0], rng)
    else:
        _can(model, textures[0], rng)
    _table(model, rng, view)
    _company(model, rng)
    return model


def _standing_book(model: Model, cover: Texture, rng: Rng) -> None:
    """A book that leans back against a stand."""
    w, h, d = 0.22, 0.28, 0.03
    lean = 0.18
    axes = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    foot = np.array([-w / 2, 0.004, 0.02])
    corner = foot + axes[1] * h
    front = corner + axes[2] * d
    bit = model.add_plane("cover", front, axes[0] * w, -axes[1] * h)
    paper = swatch(rng, (0.88, 0.85, 0.76), side_m=0.3, px_per_m=900)
    box(model.quads, corner, (w, h, d), paper, front=cover, parts=bit, axes=axes)
    wood = swatch(rng, (0.36, 0.24, 0.15), side_m=0.4, px_per_m=500)
    box(model.quads, (-0.06, 0.2, -0.12), (0.02, 0.2, 0.02), wood)
    box(model.quads, (0.04, 0.2, -0.12), (0.02, 0.2, 0.02), wood)


def _can(model: Model, label: Texture, rng: Rng) -> None:
    model.target, model.distance_m = (0.0, 0.062, 0.0), 0.28
    metal = swatch(rng, (0.66, 0.66, 0.67), side_m=0.3, px_per_m=900, gloss=0.8, roughness=0.4)
    # The label repeats every third of a turn; the flat plane of the middle third is the nearest to ground truth.
    bit = model.add_plane("label", (-0.033, 0.118, 0.0425), (0.066, 0, 0), (0, -0.113, 0))
    lathe(
        model.quads,
        (0, 0, 0),
        [(0.043, 0.118), (0.043, 0.005)],
        label,
        segments=56,
        parts=bit,
        turn=float(np.pi / 3) * 0,
    )
    lathe(model.quads, (0, 0, 0), [(0.0445, 0.1235), (0.0445, 0.118)], metal.texture, segments=56)
    lathe(model.quads, (0, 0, 0), [(0.0445, 0.005), (0.0445, 0.0)], metal.texture, segments=56)
    lid = Surface(0.1, 0.1, 2400, (0.66, 0.66, 0.67))
    y, x = np.indices(lid.shape, dtype=np.float32)
    radius = np.hypot(x - x.max() / 2, y - y.max() / 2) * (240 / lid.shape[0])
    lid.alpha[:] = np.clip(107 - radius, 0, 1)
    lid.height[:] = 3 * np.sin(radius / 5) * (radius > 60)
    lid.gloss[:] = 0.8
    model.quads.append(quad((-0.05, 0.122, -0.05), (0.1, 0, 0), (0, 0, 0.1), lid.texture()))


def _table(model: Model, rng: Rng, view: int) -> None:
    """A table top and a wall behind it, of other materials in each view."""
    top = Surface(1.9, 1.5, 480)
    style = (view + int(rng.integers(2))) % 4
    if style == 0:
        planks(
            top,
            rng,
            [(0.56, 0.39, 0.24), (0.62, 0.45, 0.29), (0.50, 0.33, 0.20)],
            board_m=0.12,
            length_m=1.5,
            varnish=0.3,
        )
    elif style == 1:
        plaster(top, rng, (0.84, 0.83, 0.80), 0.1)
        veins = np.abs(noise(top.shape, 260, rng, 7))
        top.rgb *= (1 - 0.35 * np.exp(-veins * 16))[..., None]
        top.gloss[:] = 0.4
    elif style == 2:
        _cloth(top, rng)
    else:
        planks(top, rng, [(0.30, 0.20, 0.13), (0.34, 0.24, 0.16)], board_m=0.16, length_m=1.6, varnish=0.5)
    model.quads += strips(quad((-0.95, 0, -0.5), (1.9, 0, 0), (0, 0, 1.5), top.texture()), 3, 3)
    wall = Surface(3.2, 1.6, 210)
    if (view + style) % 3 == 0:
        tiles(wall, rng, [muted(rng, 0.6, 0.95, 0.3)], 0.12, 0.35)
    elif (view + style) % 3 == 1:
        plaster(wall, rng, muted(rng, 0.55, 0.9, 0.22), 0.3)
    else:
        _wallpaper(wall, rng)
    model.quads.append(quad((-1.6, 1.3, -0.5), (3.2, 0, 0), (0, -1.6, 0), wall.texture()))


def _cloth(top: Surface, rng: Rng) -> None:
    """A checked table cloth."""
    y, x = np.indices(top.shape, dtype=np.float32)
    x, y = x + 5 * noise(top.shape, 160, rng, 2), y + 5 * noise(top.shape, 160, rng, 2)
    check = ((np.sin(x / 9.5) > 0).astype(np.float32) + (np.sin(y / 9.5) > 0)) / 2
    colour = np.asarray(muted(rng, 0.35, 0.7, 0.75), np.float32)
    top.rgb[:] = 0.9 + check[..., None] * (colour - 0.9)
    top.rgb *= (1 + 0.05 * noise(top.shape, 3, rng, 2))[..., None]
    top.height[:] = 5 * noise(top.shape, 150, rng, 3) + 0.4 * noise(top.shape, 2, rng, 1)


def _wallpaper(wall: Surface, rng: Rng) -> None:
    """Stripes and sprigs, no two alike."""
    base, ink = np.asarray(muted(rng, 0.78, 0.94, 0.18)), np.asarray(muted(rng, 0.35, 0.65, 0.5))
    wall.rgb[:] = base
    for i in range(20):
        wall.rectangle(i * 0.16, 0, 0.07, 1.6, (base * 0.94).tolist())
        for j in range(11):
            cx, cy = i * 0.16 + 0.035 + rng.normal(0, 0.006), j * 0.15 + 0.075 * (i % 2) + rng.normal(0, 0.006)
            for k in range(5):
                a = k * 1.257 + rng.uniform(-0.3, 0.3)
                tip = (cx + 0.028 * np.cos(a), cy + 0.028 * np.sin(a))
                wall.paint([(cx, cy), (cx + 0.012 * np.cos(a - 0.7), cy + 0.012 * np.sin(a - 0.7)), tip], ink.tolist())
    wall.rgb *= (1 + 0.03 * noise(wall.shape, 80, rng, 5))[..., None]


def sphere(quads: list[Quad], middle: Sequence[float], radius: float, texture: Texture, squash: float = 1.0) -> None:
    """A ball that stands at the height of `middle`."""
    ring = [
        (radius * float(np.sin(t)), radius * squash * float(np.cos(t))) for t in np.linspace(0.02, np.pi - 0.02, 15)
    ]
    lathe(quads, middle, ring, texture, segments=26)


def fruit_skin(rng: Rng, colour: Colour) -> Texture:
    """Speckled skin with a blush."""
    s = Surface(0.5, 0.25, 900, colour)
    s.rgb *= (1 + 0.10 * noise(s.shape, 80, rng, 6))[..., None]
    blush = noise(s.shape, 200, rng, 2)[..., None].clip(0, 2) / 2
    s.rgb += blush * (np.asarray(colour, np.float32) * (1.25, 0.6, 0.5) - s.rgb)
    s.rgb *= (1 + 0.10 * ramp(noise(s.shape, 5, rng, 1), 1.6, 2.2))[..., None]
    s.gloss[:] = 0.35
    return s.texture()


def _company(model: Model, rng: Rng) -> None:
    """Fruit, a mug, a bottle and a bowl around the package, never in front of its middle."""
    scale = model.distance_m / 0.52
    spots = [(-0.27, -0.10), (0.28, -0.12), (-0.40, -0.28), (0.42, -0.30), (0.24, 0.10), (-0.25, 0.09)]
    order = rng.permutation(len(spots))[: int(rng.integers(3, 6))]
    for i in order:
        x, z = spots[i][0] * (0.55 + 0.45 * scale), spots[i][1]
        kind = int(rng.integers(4))
        if kind == 0:
            for _ in range(int(rng.integers(1, 4))):
                skin = fruit_skin(
                    rng,
                    ((0.86, 0.46, 0.12), (0.74, 0.16, 0.12), (0.62, 0.70, 0.22), (0.92, 0.80, 0.25))[
                        int(rng.integers(4))
                    ],
                )
                r = float(rng.uniform(0.030, 0.042)) * (0.6 + 0.4 * scale)
                sphere(
                    model.quads,
                    (x + float(rng.normal(0, 0.045)), r * 0.93, z + float(rng.normal(0, 0.03))),
                    r,
                    skin,
                    0.93,
                )
            continue
        glaze = swatch(rng, muted(rng, 0.3, 0.95, 0.5), side_m=0.4, px_per_m=400, gloss=0.5, roughness=0.2)
        profile = (
            [(0.034, 0.09), (0.038, 0.088), (0.04, 0.02), (0.034, 0.0)],
            [(0.014, 0.27), (0.014, 0.20), (0.024, 0.17), (0.036, 0.14), (0.037, 0.01), (0.034, 0.0)],
            [(0.085, 0.065), (0.08, 0.045), (0.06, 0.02), (0.035, 0.0)],
        )[kind - 1]
        lathe(
            model.quads,
            (x, 0, z),
            [(r * (0.7 + 0.3 * scale), y * (0.7 + 0.3 * scale)) for r, y in profile],
            glaze.texture,
            segments=40,
        )
        top = profile[0][0] * (0.7 + 0.3 * scale)
        dark = Surface(0.1, 0.1, 400, (0.12, 0.08, 0.06))
        dark.alpha *= dark.polygon_mask(
            [(0.05 + 0.05 * np.cos(t), 0.05 + 0.05 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 30)]
        )
        model.quads.append(
            quad(
                (x - top, profile[0][1] * (0.7 + 0.3 * scale) - 0.004, z - top),
                (2 * top, 0, 0),
                (0, 0, 2 * top),
                dark.texture(),
                casts=False,
            )
        )
