"""Two houses of the demo: the bakery and the timber house."""

from __future__ import annotations

import numpy as np

from glocal.data.rendering.buildings import BRICK, CLAY, LIMESTONE, SLATE, Facade, Model, box, swatch
from glocal.data.rendering.materials import masonry, plaster, roof_tiles
from glocal.data.rendering.props import backdrop
from glocal.data.rendering.raster import quad
from glocal.data.rendering.street import street, townhouse
from glocal.data.rendering.textures import Rng, Surface, noise


def main_wall(
    model: Model, rng: Rng, width: float, height: float, *, recess: float = 0.26, px_per_m: float = 110.0
) -> Facade:
    """The facade on the plane z = 0, centred at x = 0, declared as ground truth."""
    bit = model.add_plane("facade", (-width / 2, height, 0), (width, 0, 0), (0, -height, 0))
    return Facade(-width / 2, height, width, height, rng, recess=recess, parts=bit, px_per_m=px_per_m)


def _shop_sign(model: Model, wall: Facade, x: float, y: float, width: float, height: float, board: Surface) -> None:
    """A sign board that stands out of the wall, declared as ground truth."""
    out = 0.12
    bit = model.add_plane("sign", wall.at(x, y, out), (width, 0, 0), (0, -height, 0))
    wood = swatch(wall.rng, board.rgb.mean(axis=(0, 1)).tolist(), side_m=1)
    wall.box(x, y, (width, height, out), wood, front=board.texture(), parts=bit)


def _flowers(wall: Facade, x: float, y: float, width: float) -> None:
    """A window box with flowers, in front of a sill at (x, y)."""
    rng = wall.rng
    s = Surface(width, 0.42, 130, (0.2, 0.3, 0.12))
    s.alpha[:] = 0
    mask = Surface(width, 0.42, 130, (0, 0, 0))
    hue = rng.uniform((0.6, 0.05, 0.1), (0.95, 0.35, 0.5))
    for i in range(int(width * 230)):
        px, py = rng.uniform(0.02, width - 0.02), 0.1 + 0.2 * rng.random() ** 0.7
        r = rng.uniform(0.012, 0.03)
        ring = [(px + r * np.cos(t), py + r * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 7)]
        colour = hue * rng.uniform(0.7, 1.15) if i % 3 == 0 else np.array((0.22, 0.36, 0.12)) * rng.uniform(0.5, 1.4)
        s.paint(ring, np.clip(colour, 0, 1).tolist(), raised=2)
        mask.paint(ring, (1, 1, 1))
    s.alpha = np.maximum(mask.rgb[..., 0], (np.indices(s.shape)[0] > 0.25 * s.px_per_m).astype(np.float32))
    s.rectangle(0, 0.25, width, 0.2, (0.42, 0.27, 0.18), mottle=0.1, rng=rng)
    wall.quads.append(
        quad(wall.at(x, y - 0.22, 0.22), (width, 0, 0), (0, -0.42, 0), s.texture(), two_sided=True, parts=wall.parts)
    )


def bakery(rng: Rng) -> Model:
    """A brick bakery with a striped awning, a shop window of loaves, and flats above."""
    model = Model(target=(0, 3.4, 0), distance_m=9.6, radius_m=8.5)
    wall = main_wall(model, rng, 8.4, 7.4)
    masonry(wall.front, rng, BRICK, course_m=0.083, unit_m=0.235, joint_m=0.012)
    stone = (0.78, 0.73, 0.63)
    for i, x in enumerate((0.75, 2.72, 4.72, 6.70)):
        wall.window(
            x + 0.04 * rng.standard_normal(),
            1.15,
            1.0,
            1.75,
            surround=stone,
            arch=0.12 if i % 2 else 0.0,
            curtain=(0.90, 0.86, 0.78) if i != 2 else (0.55, 0.25, 0.22),
            panes=(2, 3) if i != 1 else (2, 4),
        )
        wall.front.paint(
            [(x + 0.38, 1.2), (x + 0.62, 1.2), (x + 0.68, 0.86), (x + 0.32, 0.86)],
            (0.80, 0.76, 0.67),
            raised=4,
            mottle=0.05,
            rng=rng,
        )
        if i in (0, 3):
            _flowers(wall, x, 2.98, 1.0)
    wall.front.rectangle(0, 3.45, 8.4, 0.16, stone, raised=4, mottle=0.05, rng=rng)
    for x in (0.0, 8.02):
        for j in range(12):
            wide = 0.38 if j % 2 else 0.56
            wall.front.rectangle(
                x if x == 0 else 8.4 - wide, j * 0.63, wide, 0.57, stone, raised=4, mottle=0.05, rng=rng
            )
    green = (0.11, 0.24, 0.19)
    wall.front.rectangle(0.55, 4.35, 7.3, 3.05, green, raised=3, mottle=0.05, rng=rng)
    for x, w in ((0.85, 2.55), (5.15, 2.4)):
        wall.window(x, 5.0, w, 1.65, frame=green, panes=(3, 1), sill=True, lit=1.0)
        _loaves(wall, x, 5.0, w)
        for k in range(3):
            wall.front.rectangle(x + 0.05 + k * w / 3, 6.85, w / 3 - 0.1, 0.42, (0.15, 0.31, 0.25), raised=3)
    wall.door(3.75, 5.0, 1.05, 2.4, (0.42, 0.16, 0.12), panels=(1, 3), glazed=True)
    board = Surface(7.0, 0.72, 130, green)
    board.rgb *= (1 + 0.05 * noise(board.shape, 40, rng, 5))[..., None]
    gold = (0.86, 0.70, 0.36)
    for inset in (0.05, 0.09):
        board.rectangle(inset, inset, 7 - 2 * inset, 0.72 - 2 * inset, gold if inset == 0.05 else green)
    board.text("BOULANGERIE  MARTHE", (3.5, 0.36), 0.42, gold, raised=3, bold=0.02, glow=0.25)
    for x in (0.55, 6.45):
        for t in np.linspace(0, np.pi, 5):
            board.paint(
                [
                    (x, 0.5),
                    (x + 0.2 * np.cos(t - 0.1), 0.5 - 0.28 * np.sin(t - 0.1)),
                    (x + 0.2 * np.cos(t + 0.1), 0.5 - 0.28 * np.sin(t + 0.1)),
                ],
                gold,
            )
    wall.front.weather(rng)
    _shop_sign(model, wall, 0.7, 3.68, 7.0, 0.72, board)
    wall.awning(0.75, 4.5, 2.75, 0.55, 0.95, [(0.86, 0.83, 0.76), (0.62, 0.15, 0.14)])
    wall.awning(5.05, 4.5, 2.6, 0.55, 0.95, [(0.86, 0.83, 0.76), (0.62, 0.15, 0.14)])
    model.quads += wall.finish()
    box(model.quads, (-4.3, 7.5, -0.1), (8.6, 0.3, 0.5), wall.stone, parts=1)
    roof = Surface(8.6, 3.2, 70)
    roof_tiles(roof, rng, SLATE)
    model.quads.append(quad((-4.3, 9.6, -2.2), (8.6, 0, 0), (0, -2.05, 2.5), roof.texture(1.5)))
    for x in (-2.6, 2.1):
        chimney = swatch(rng, (0.50, 0.27, 0.21), side_m=1.6)
        box(model.quads, (x, 10.3, -1.9), (0.7, 1.6, 0.6), chimney)
    model.quads += townhouse(rng, -11.4, 7.05, 8.6, -0.15) + townhouse(rng, 4.28, 7.2, 6.6, 0.12) + street(rng)
    return model


def _loaves(wall: Facade, x: float, y: float, width: float) -> None:
    """Shelves of bread painted behind a shop window."""
    rng, back = wall.rng, wall.back
    back.rectangle(x + 0.06, y + 0.05, width - 0.12, 1.55, (0.40, 0.30, 0.19), glow=0.8, mottle=0.12, rng=rng)
    for j in range(3):
        sy = y + 0.5 + j * 0.5
        px = x + 0.14
        while px < x + width - 0.3:
            w, h = rng.uniform(0.14, 0.34), rng.uniform(0.10, 0.2)
            crust = np.array((0.74, 0.47, 0.22)) * rng.uniform(0.65, 1.2)
            t = np.linspace(np.pi, 2 * np.pi, 14)
            ring = [(px + w / 2 + w / 2 * np.cos(a), sy + h * np.sin(a)) for a in t]
            back.paint(ring, np.clip(crust, 0, 1).tolist(), raised=4, mottle=0.12, rng=rng)
            for c in range(3):
                back.rectangle(
                    px + w * (0.25 + 0.2 * c), sy - h * 0.85, 0.02, h * 0.4, np.clip(crust * 1.35, 0, 1).tolist()
                )
            px += w + rng.uniform(0.02, 0.08)
        back.rectangle(x + 0.06, sy, width - 0.12, 0.045, (0.30, 0.19, 0.11), raised=3)


def timber_house(rng: Rng) -> Model:
    """A half-timbered house with a tiled gable, jettied floors and flower boxes."""
    model = Model(target=(0, 3.7, 0), distance_m=10.2, radius_m=8.5)
    wall = main_wall(model, rng, 7.2, 8.3, recess=0.16)
    plaster(wall.front, rng, (0.87, 0.80, 0.64), 1.2)
    wall.front.weather(rng, blotches=0.07, streaks=0.1)
    wall.outline([(0, 9), (0, 3.3), (3.6, 0), (7.2, 3.3), (7.2, 9)])
    oak = np.array((0.27, 0.17, 0.11))

    def beam(ax: float, ay: float, bx: float, by: float, width: float = 0.2) -> None:
        along = np.array((bx - ax, by - ay))
        across = np.array((-along[1], along[0])) / np.linalg.norm(along) * width / 2
        wobble = rng.normal(0, 0.012, (4, 2))
        a, b = np.array((ax, ay)), np.array((bx, by))
        corners = np.array([a - across, b - across, b + across, a + across]) + wobble
        wall.front.paint(corners.tolist(), (oak * rng.uniform(0.8, 1.25)).tolist(), raised=5, mottle=0.22, rng=rng)

    windows = [
        (0.75, 4.0, 0.85, 1.15),
        (2.05, 4.0, 0.85, 1.15),
        (4.25, 4.0, 0.85, 1.15),
        (5.55, 4.0, 0.85, 1.15),
        (2.45, 1.75, 0.8, 1.05),
        (3.95, 1.75, 0.8, 1.05),
    ]
    for x in (0.1, 1.83, 3.5, 5.3, 7.1):
        beam(x, 3.35, x, 5.9)
    for x in (1.9, 3.6, 5.3):
        beam(x, 1.7 if x != 3.6 else 0.2, x, 3.3)
    for ax, ay, bx, by in (
        (0.2, 5.8, 0.62, 3.5),
        (7.0, 5.8, 6.6, 3.5),
        (3.05, 5.8, 3.45, 3.6),
        (3.6, 5.8, 4.15, 3.7),
        (1.0, 5.75, 1.7, 5.25),
        (2.0, 5.25, 2.75, 5.75),
        (4.4, 5.75, 5.2, 5.25),
        (5.5, 5.25, 6.3, 5.75),
        (0.75, 3.15, 1.8, 2.05),
        (6.45, 3.15, 5.4, 2.05),
        (2.0, 3.2, 2.4, 2.9),
        (4.8, 2.9, 5.2, 3.2),
    ):
        beam(ax, ay, bx, by, 0.15)
    for y, x0, x1 in ((3.38, 0.0, 7.2), (5.15, 0.0, 7.2), (1.62, 1.85, 5.35), (2.88, 1.2, 6.0), (3.92, 0.1, 7.1)):
        beam(x0, y, x1, y, 0.17)
    beam(0.0, 3.3, 3.6, 0.0, 0.24)
    beam(7.2, 3.3, 3.6, 0.0, 0.24)
    for i, (x, y, w, h) in enumerate(windows):
        wall.window(
            x,
            y,
            w,
            h,
            panes=((2, 3), (2, 4), (3, 3), (2, 2), (2, 3), (1, 3))[i],
            frame=(0.80, 0.76, 0.66),
            curtain=(0.88, 0.80, 0.74) if i % 2 else (0.58, 0.66, 0.72),
            sill=False,
            leaded=0.0,
        )
        if i < 4:
            for sx in (x - 0.33, x + w + 0.03):
                wall.front.rectangle(sx, y, 0.3, h, (0.17, 0.33, 0.24), raised=5, mottle=0.06, rng=rng)
                wall.front.paint(
                    [(sx + 0.15, y + 0.38), (sx + 0.22, y + 0.5), (sx + 0.15, y + 0.62), (sx + 0.08, y + 0.5)],
                    (0.8, 0.76, 0.62),
                )
            _flowers(wall, x - 0.05, y + h + 0.08, w + 0.1)
    # Ground floor: rubble stone under the jetty beam.
    base = Surface(7.2, 2.4, 110)
    masonry(
        base,
        rng,
        [(0.55, 0.50, 0.44), (0.62, 0.56, 0.48), (0.48, 0.46, 0.43)],
        course_m=0.24,
        unit_m=0.36,
        joint_m=0.03,
        jitter=0.4,
        roughness=1.6,
        mortar=(0.66, 0.61, 0.52),
        depth=2.5,
    )
    rows = slice(wall.front.shape[0] - base.shape[0], wall.front.shape[0])
    wall.front.rgb[rows], wall.front.height[rows] = base.rgb, base.height
    wall.door(3.05, 6.15, 1.1, 2.15, (0.40, 0.24, 0.13), arch=0.3, panels=(3, 3))
    wall.window(
        0.8,
        6.45,
        1.4,
        1.05,
        panes=(4, 3),
        frame=(0.34, 0.22, 0.14),
        curtain=(0.75, 0.3, 0.25),
        surround=(0.36, 0.24, 0.15),
    )
    wall.window(5.0, 6.45, 1.35, 1.05, panes=(4, 3), frame=(0.34, 0.22, 0.14), surround=(0.36, 0.24, 0.15))
    wood = swatch(rng, oak.tolist(), side_m=3)
    wall.box(-0.1, 5.83, (7.4, 0.24, 0.22), wood)
    for i in range(13):
        wall.box(0.1 + i * 0.56, 6.05, (0.15, 0.15, 0.18), wood)
    board = Surface(1.0, 0.8, 200, (0.20, 0.12, 0.08))
    board.rectangle(0.04, 0.04, 0.92, 0.72, (0.80, 0.72, 0.50), mottle=0.08, rng=rng)
    board.text("ZUM\nHIRSCHEN", (0.5, 0.55), 0.15, (0.30, 0.10, 0.08), bold=0.03)
    for s in (-1, 1):
        for k in range(4):
            a = -np.pi / 2 + s * (0.25 + 0.28 * k)
            board.paint(
                [(0.5 + s * 0.05, 0.33), (0.5 + 0.25 * np.cos(a), 0.36 + 0.27 * np.sin(a)), (0.5 + s * 0.08, 0.34)],
                (0.3, 0.1, 0.08),
            )
    model.quads += wall.finish(1.2)
    bit = model.add_plane("sign", (1.15, 3.45, 0.10), (1.0, 0, 0), (0, -0.8, 0))
    box(model.quads, (1.15, 3.45, 0.0), (1.0, 0.8, 0.10), wood, front=board.texture(), parts=bit | 1)
    roof = Surface(5.2, 8, 55)
    roof_tiles(roof, rng, CLAY)
    tex = roof.texture(1.5)
    model.quads.append(quad((0, 8.55, 0.45), (0, 0, -8), (-4.1, -3.75, 0), tex, two_sided=True))
    model.quads.append(quad((0, 8.55, -7.55), (0, 0, 8), (4.1, -3.75, 0), tex, two_sided=True))
    side = swatch(rng, (0.82, 0.75, 0.6), side_m=4, px_per_m=60)
    for x, dz in ((3.6, -6.0), (-3.6, 6.0)):
        model.quads.append(quad((x, 5.2, 0 if dz < 0 else -6), (0, 0, dz), (0, -5.2, 0), side.texture))
    model.quads += townhouse(rng, -10.9, 6.6, 7.2, -0.5) + townhouse(rng, 4.35, 6.8, 6.4, -0.3)
    model.quads += backdrop(rng, -15, 7, (0.24, 0.28, 0.16)) + street(rng, paving=LIMESTONE)
    return model
