"""Public buildings of the demo: the chapel, the cinema and the museum."""

from __future__ import annotations

import numpy as np

from glocal.data.rendering.buildings import LIMESTONE, SLATE, Facade, Model, arch_points, box, swatch
from glocal.data.rendering.houses import main_wall
from glocal.data.rendering.materials import masonry, plaster, roof_tiles
from glocal.data.rendering.props import backdrop, lathe, tree
from glocal.data.rendering.raster import quad
from glocal.data.rendering.street import street, townhouse
from glocal.data.rendering.textures import Rng, Surface, noise


def chapel(rng: Rng) -> Model:
    """A stone chapel: gable with a rose window, a pointed portal, and a tower at its side."""
    model = Model(target=(0.9, 4.6, 0), distance_m=12.0, radius_m=10.0)
    wall = main_wall(model, rng, 7.0, 8.6, recess=0.42)
    masonry(wall.front, rng, LIMESTONE, course_m=0.30, unit_m=0.52, joint_m=0.016, jitter=0.28, variation=0.06, depth=2)
    wall.outline([(0, 9), (0, 3.4), (3.5, 0), (7, 3.4), (7, 9)])
    rose = [(3.5 + 1.15 * np.cos(t), 3.55 + 1.15 * np.sin(t)) for t in np.linspace(np.pi / 2, 2.5 * np.pi, 37)[:-1]]
    pale = (0.84, 0.79, 0.68)
    for k, r in enumerate((1.5, 1.36, 1.24)):
        ring = [(3.5 + r * np.cos(t), 3.55 + r * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 50)]
        wall.front.paint(ring, pale if k != 1 else (0.62, 0.57, 0.48), raised=(4, -3, 3)[k], mottle=0.05, rng=rng)
    wall.opening(rose)
    wall.interior(2.3, 2.35, 2.4, 2.4, None, 1.0)
    wall.stained(2.3, 2.35, 2.4, 2.4, 0.14)
    for i in range(12):
        a = i * np.pi / 6 + 0.1
        along, across = np.array((np.cos(a), np.sin(a))), np.array((-np.sin(a), np.cos(a)))
        spoke = [
            np.array((3.5, 3.55)) + along * r + across * s
            for r, s in ((0.25, 0.035), (1.15, 0.05), (1.15, -0.05), (0.25, -0.035))
        ]
        wall.back.paint([p.tolist() for p in spoke], pale, raised=4, gloss=0, glow=0)
        disc = np.array((3.5, 3.55)) + 0.98 * np.array((np.cos(a + 0.26), np.sin(a + 0.26)))
        for r, tone in ((0.25, pale), (0.19, rng.uniform(0.1, 0.55, 3).tolist())):
            wall.back.paint(
                [(disc[0] + r * np.cos(t), disc[1] + r * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 20)],
                tone,
                raised=3,
                glow=float(r < 0.2),
            )
    for r, tone in ((0.33, pale), (0.24, (0.55, 0.14, 0.14))):
        wall.back.paint(
            [(3.5 + r * np.cos(t), 3.55 + r * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 24)], tone, raised=3
        )
    for k in range(3):
        grow = 0.34 - 0.13 * k
        outline = arch_points(2.65 - grow, 5.85 - grow * 1.2, 1.7 + 2 * grow, 2.75 + grow * 1.2, 0.62)
        wall.front.paint(outline, (pale, (0.6, 0.55, 0.46), pale)[k], raised=(4, -2, 4)[k], mottle=0.06, rng=rng)
    wall.door(2.65, 5.85, 1.7, 2.75, (0.33, 0.20, 0.12), arch=0.62, panels=(4, 3))
    for x in (0.85, 5.35):
        wall.window(
            x, 5.2, 0.75, 2.0, arch=0.75, panes=(2, 4), surround=pale, frame=(0.5, 0.47, 0.4), lit=0.8, leaded=0.13
        )
    wall.front.weather(rng, streaks=0.11, blotches=0.09)
    for x in (-0.42, 6.98):
        wall.box(x, 3.2, (0.5, 5.4, 0.5), wall.stone)
        wall.box(x - 0.05, 6.4, (0.6, 2.2, 0.75), wall.stone)
    model.quads += wall.finish(1.3)
    roof = Surface(5.0, 10, 45)
    roof_tiles(roof, rng, SLATE)
    tex = roof.texture(1.4)
    model.quads.append(quad((0, 8.75, 0.15), (0, 0, -10), (-3.85, -3.75, 0), tex, two_sided=True))
    model.quads.append(quad((0, 8.75, -9.85), (0, 0, 10), (3.85, -3.75, 0), tex, two_sided=True))
    cross = swatch(rng, (0.55, 0.52, 0.46), side_m=1)
    box(model.quads, (-0.07, 9.75, -0.1), (0.14, 1.1, 0.14), cross)
    box(model.quads, (-0.33, 9.45, -0.1), (0.66, 0.14, 0.14), cross)
    # The tower stands to the right, a little behind the gable: it moves against it between viewpoints.
    tower = Facade(3.9, 12.2, 3.1, 12.2, rng, z=-0.9, recess=0.35, parts=0, px_per_m=80)
    masonry(
        tower.front, rng, LIMESTONE, course_m=0.31, unit_m=0.55, joint_m=0.016, jitter=0.28, variation=0.07, depth=2
    )
    for x in (0.55, 1.75):
        tower.window(x, 1.0, 0.75, 1.9, arch=0.7, panes=(1, 9), surround=pale, frame=(0.30, 0.25, 0.2), lit=0.0)
    dial = [(1.55 + 0.75 * np.cos(t), 4.4 + 0.75 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 40)]
    tower.front.paint(dial, (0.16, 0.19, 0.28), raised=4)
    tower.front.paint([(1.55 + (a - 1.55) * 0.9, 4.4 + (b - 4.4) * 0.9) for a, b in dial], (0.88, 0.85, 0.76), glow=0.5)
    for i in range(12):
        a = i * np.pi / 6
        tower.front.paint(
            [
                (1.55 + r * np.cos(a + d), 4.4 + r * np.sin(a + d))
                for r, d in ((0.5, -0.05), (0.64, -0.05), (0.64, 0.05), (0.5, 0.05))
            ],
            (0.1, 0.1, 0.1),
        )
    for a, r in ((-0.9, 0.36), (-2.3, 0.56)):
        tip = (1.55 + r * np.cos(a), 4.4 + r * np.sin(a))
        tower.front.paint([(1.52, 4.4), (1.58, 4.4), tip], (0.1, 0.1, 0.1))
    tower.window(1.25, 6.8, 0.6, 1.3, arch=0.5, panes=(1, 2), surround=pale, lit=0.6)
    for y in (0.55, 3.3, 6.1):
        tower.front.rectangle(0, y, 3.1, 0.18, pale, raised=5, mottle=0.05, rng=rng)
    tower.front.weather(rng, streaks=0.12)
    model.quads += tower.finish(1.3)
    side = swatch(rng, (0.66, 0.61, 0.52), side_m=4, px_per_m=70)
    model.quads.append(quad((7.0, 12.2, -0.9), (0, 0, -3.1), (0, -12.2, 0), side.texture))
    model.quads.append(quad((3.9, 12.2, -4.0), (0, 0, 3.1), (0, -12.2, 0), side.texture))
    spire = Surface(4, 4, 60)
    roof_tiles(spire, rng, SLATE)
    lathe(
        model.quads,
        (5.45, 12.1, -2.4),
        [(0.03, 4.6), (0.9, 2.3), (1.75, 0.3), (2.3, 0.0)],
        spire.texture(),
        segments=8,
        turn=np.pi / 8,
    )
    model.quads += tree(rng, -6.6, -2.5, 5.6, 4.4, (0.25, 0.34, 0.13)) + tree(
        rng, 9.8, -1.0, 5.0, 3.9, (0.34, 0.42, 0.15)
    )
    model.quads += backdrop(rng, -14, 7.5, (0.20, 0.26, 0.14)) + street(rng, paving=LIMESTONE)
    return model


def cinema(rng: Rng) -> Model:
    """An art-deco cinema: stepped pylon, vertical blade sign, marquee with letters, poster cases."""
    model = Model(target=(0, 4.1, 0), distance_m=11.0, radius_m=9.0)
    wall = main_wall(model, rng, 9.0, 8.6)
    plaster(wall.front, rng, (0.84, 0.76, 0.62), 0.6)
    teal, coral, cream = (0.13, 0.40, 0.42), (0.76, 0.34, 0.26), (0.90, 0.85, 0.72)
    skyline = [
        (0, 9),
        (0, 1.9),
        (1.4, 1.9),
        (1.4, 1.2),
        (2.6, 1.2),
        (2.6, 0.55),
        (3.5, 0.55),
        (3.5, 0),
        (5.5, 0),
        (5.5, 0.55),
        (6.4, 0.55),
        (6.4, 1.2),
        (7.6, 1.2),
        (7.6, 1.9),
        (9, 1.9),
        (9, 9),
    ]
    wall.outline(skyline)
    for x0, x1, top in (
        (0, 1.4, 1.9),
        (1.4, 2.6, 1.2),
        (2.6, 3.5, 0.55),
        (3.5, 5.5, 0),
        (5.5, 6.4, 0.55),
        (6.4, 7.6, 1.2),
        (7.6, 9, 1.9),
    ):
        for k, tone in enumerate((teal, cream, coral)):
            wall.front.rectangle(x0, top + 0.12 * k, x1 - x0, 0.12, tone, raised=(4, -2, 2)[k], mottle=0.03, rng=rng)
    for x in np.arange(3.62, 5.4, 0.24):
        wall.front.rectangle(x, 0.6, 0.11, 4.3, (0.74, 0.66, 0.53), raised=-4)
    for half in (-1, 1):
        cx = 4.5 + half * 2.45
        for i, r in enumerate((0.78, 0.62, 0.46, 0.3)):
            ring = [(cx + r * np.cos(t), 3.05 + r * np.sin(t)) for t in np.linspace(np.pi, 2 * np.pi, 24)]
            wall.front.paint(ring, (teal, cream, coral, cream)[i], raised=(3, 2, 2, 2)[i], mottle=0.03, rng=rng)
        for j in range(5):
            a = np.pi + (j + 0.5) * np.pi / 5
            wall.front.paint(
                [
                    (cx, 3.05),
                    (cx + 0.95 * np.cos(a - 0.05), 3.05 + 0.95 * np.sin(a - 0.05)),
                    (cx + 0.95 * np.cos(a + 0.05), 3.05 + 0.95 * np.sin(a + 0.05)),
                ],
                (0.80, 0.64, 0.30),
                raised=3,
            )
    for x in (0.35, 7.75):
        wall.window(x, 2.7, 0.9, 1.7, panes=(1, 6), frame=(0.15, 0.18, 0.2), curtain=None)
    for x in (1.6, 2.5, 5.7, 6.6):
        wall.window(
            x,
            3.55,
            0.72,
            1.15,
            panes=(2, 5),
            frame=(0.15, 0.18, 0.2),
            curtain=(0.7, 0.3, 0.3) if x in (1.6, 6.6) else None,
        )
    wall.front.rectangle(0, 6.2, 9, 2.4, (0.19, 0.21, 0.23), raised=2, gloss=0.35, mottle=0.05, rng=rng)
    for x in np.arange(0, 9, 0.45):
        wall.front.rectangle(x, 6.2, 0.012, 2.4, (0.1, 0.1, 0.1), raised=-2)
    titles = ("THE\nLONG\nTIDE", "NIGHT\nTRAIN", "ORCHARD", "MOTH &\nFLAME")
    for i, x in enumerate((0.3, 1.65, 6.2, 7.6)):
        wall.front.rectangle(x, 6.55, 1.15, 1.7, (0.70, 0.55, 0.28), raised=4, gloss=0.3)
        hue = rng.uniform(0.1, 0.8, 3)
        wall.front.rectangle(x + 0.07, 6.62, 1.01, 1.56, hue.tolist(), glow=0.6, gloss=0.25)
        for _ in range(9):
            cx, cy = x + 0.1 + 0.9 * rng.random(), 6.7 + 1.3 * rng.random()
            shape = np.array((cx, cy)) + rng.normal(0, 0.18, (4, 2))
            shape = np.clip(shape, (x + 0.08, 6.63), (x + 1.07, 8.16))
            wall.front.paint(shape.tolist(), rng.uniform(0.05, 0.95, 3).tolist(), glow=0.6)
        wall.front.text(titles[i], (x + 0.57, 7.3), 0.25, (0.96, 0.94, 0.86), bold=0.04, glow=0.8, max_width_m=0.95)
    for i, x in enumerate((3.15, 4.1, 5.05)):
        wall.door(x, 6.3, 0.82, 2.3, (0.55, 0.42, 0.2) if i != 1 else (0.5, 0.38, 0.18), panels=(1, 3), glazed=True)
    wall.front.weather(rng, streaks=0.09)
    model.quads += wall.finish()
    # Marquee: a deep box whose front carries the programme.
    board = Surface(6.6, 0.95, 130, (0.93, 0.91, 0.83))
    board.glow[:] = 0.85
    for y in (0.33, 0.66):
        board.rectangle(0, y, 6.6, 0.015, (0.6, 0.58, 0.52))
    board.text("TONIGHT 8.30  THE LONG TIDE", (3.3, 0.3), 0.27, (0.10, 0.09, 0.10), bold=0.02, glow=0.0)
    board.text("SAT  NIGHT TRAIN  *  SUN  MOTH & FLAME", (3.3, 0.69), 0.23, (0.60, 0.10, 0.10), bold=0.02, glow=0.0)
    for y in (0.0, 0.87):
        board.rectangle(0, y, 6.6, 0.08, (0.62, 0.16, 0.13), glow=0.1)
        for k in range(55):
            x = 0.06 + k * 0.12
            board.paint(
                [(x + 0.03 * np.cos(t), y + 0.04 + 0.03 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 9)],
                (1.0, 0.90, 0.62),
                glow=1.0,
            )
    metal = swatch(rng, (0.62, 0.17, 0.14), side_m=2, gloss=0.2)
    bit = model.add_plane("sign", (-3.3, 3.35, 1.5), (6.6, 0, 0), (0, -0.95, 0))
    box(model.quads, (-3.3, 3.35, 0), (6.6, 0.95, 1.5), metal, front=board.texture(), parts=bit | 1)
    # Blade sign: stands out of the wall at a right angle, so it shows only from the side.
    blade = Surface(1.1, 3.9, 110, (0.10, 0.30, 0.33))
    blade.rectangle(0.05, 0.05, 1.0, 3.8, (0.13, 0.38, 0.40), gloss=0.2)
    for i, letter in enumerate("LYRIC"):
        blade.text(letter, (0.55, 0.55 + 0.7 * i), 0.62, (1.0, 0.86, 0.50), bold=0.05, glow=1.0)
    tex = blade.texture()
    model.quads.append(quad((-0.11, 7.9, 0.1), (0, 0, 1.1), (0, -3.9, 0), tex, parts=1))
    model.quads.append(quad((0.11, 7.9, 1.2), (0, 0, -1.1), (0, -3.9, 0), tex, parts=1))
    face = Surface(0.22, 3.9, 110, coral)
    face.glow[:] = 0.5
    model.quads.append(quad((-0.11, 7.9, 1.2), (0.22, 0, 0), (0, -3.9, 0), face.texture(), parts=1))
    side = swatch(rng, (0.6, 0.5, 0.42), side_m=5, px_per_m=50)
    model.quads.append(quad((4.5, 6.7, 0), (0, 0, -6), (0, -6.7, 0), side.texture))
    model.quads.append(quad((-4.5, 6.7, -6), (0, 0, 6), (0, -6.7, 0), side.texture))
    model.quads += (
        townhouse(rng, -11.5, 6.9, 6.3, -0.1) + townhouse(rng, 4.6, 6.6, 8.9, -0.2) + street(rng, road="asphalt")
    )
    return model


def museum(rng: Rng) -> Model:
    """A colonnaded museum: steps, six columns, a pediment with relief, an inscription, banners."""
    model = Model(target=(0, 4.2, 0.5), distance_m=13.0, radius_m=10.5)
    wall = main_wall(model, rng, 11.0, 6.6, recess=0.35, px_per_m=95)
    # The plane to know is that of the columns and the beam, which hide most of the wall behind them.
    model.planes["facade"] = (np.array([-5.6, 6.57, 2.25]), np.array([11.2, 0, 0]), np.array([0, -5.67, 0]), 1)
    masonry(wall.front, rng, LIMESTONE, course_m=0.46, unit_m=0.95, joint_m=0.012, jitter=0.1, variation=0.035, depth=2)
    pale = (0.83, 0.79, 0.70)
    wall.door(4.75, 2.9, 1.5, 2.8, (0.25, 0.33, 0.30), panels=(2, 4))
    for i, x in enumerate((0.75, 2.75, 7.05, 9.05)):
        wall.window(
            x,
            2.5,
            1.15,
            2.2,
            panes=(2, 4),
            surround=pale,
            frame=(0.22, 0.28, 0.26),
            curtain=(0.6, 0.58, 0.5) if i % 3 else None,
        )
    for i, x in enumerate((1.0, 2.9, 7.2, 9.2)):
        wall.front.rectangle(x - 0.1, 0.75, 1.1, 0.9, pale, raised=3)
        relief = noise((70, 90), 26, rng, 4)
        rows, columns = wall.front.box(x, 0.85, 0.9, 0.7)
        patch = wall.front.height[rows, columns]
        patch += 6 * np.tanh(2 * relief[: patch.shape[0], : patch.shape[1]])
        wall.front.rgb[rows, columns] *= 0.88 + 0.08 * (i % 2)
    wall.front.weather(rng, streaks=0.07)
    floor = 0.9
    model.quads += wall.finish()
    stone = wall.stone
    steps = swatch(rng, (0.72, 0.69, 0.62), side_m=6, px_per_m=60)
    for i in range(6):
        box(model.quads, (-6.4 - 0.12 * i, floor - 0.15 * i, -0.2), (12.8 + 0.24 * i, 0.15, 2.6 + 0.32 * i), steps)
    shaft = Surface(3.2, 4.4, 80, pale)
    shaft.rgb *= (1 + 0.05 * noise(shaft.shape, 60, rng, 5))[..., None]
    flute = np.abs(np.sin(np.linspace(0, 20 * np.pi, shaft.shape[1], dtype=np.float32)))[None, :]
    shaft.height[:] = 5 * flute + 0.4 * noise(shaft.shape, 5, rng, 3)
    shaft.rgb *= (0.86 + 0.14 * flute)[..., None]
    shaft.weather(rng, streaks=0.10, blotches=0.05, grime=0.18)
    drum = shaft.texture()
    for i in range(6):
        x = -4.75 + 1.9 * i
        lathe(
            model.quads,
            (x, floor + 0.24, 1.75),
            [(0.40, 4.2), (0.45, 2.6), (0.48, 0.9), (0.49, 0.0)],
            drum,
            segments=28,
            parts=1,
            turn=float(rng.uniform(0, 6)),
        )
        box(model.quads, (x - 0.60, floor + 0.24, 1.15), (1.2, 0.24, 1.2), stone)
        box(model.quads, (x - 0.58, floor + 4.72, 1.17), (1.16, 0.2, 1.16), stone)
        lathe(model.quads, (x, floor + 4.34, 1.75), [(0.56, 0.18), (0.42, 0.0)], stone.texture, segments=20)
    beam = Surface(11.2, 0.95, 110)
    masonry(beam, rng, LIMESTONE, course_m=1.2, unit_m=1.9, variation=0.03, joint_m=0.01)
    beam.text("MVSEVM  ARTIS  ET  NATVRAE", (5.6, 0.5), 0.46, (0.36, 0.31, 0.24), raised=-4, bold=0.01)
    beam.weather(rng, grime=0.05)
    y = floor + 5.67
    bit = model.add_plane("sign", (-5.6, y, 2.3), (11.2, 0, 0), (0, -0.95, 0))
    box(model.quads, (-5.6, y, -0.1), (11.2, 0.95, 2.4), stone, front=beam.texture(1.5), parts=bit | 1)
    box(model.quads, (-5.8, y + 0.2, -0.1), (11.6, 0.2, 2.65), stone)
    for i in range(34):
        box(model.quads, (-5.55 + i * 0.33, y + 0.02, 2.28), (0.16, 0.14, 0.16), stone)
    gable = Surface(11.6, 2.1, 90)
    masonry(gable, rng, LIMESTONE, course_m=0.5, unit_m=1.1, variation=0.035)
    gable.alpha *= gable.polygon_mask([(0, 2.1), (5.8, 0), (11.6, 2.1)])
    gable.rgb *= 0.9
    for i in range(11):
        # Figures of the frieze: rounded bodies in relief, larger towards the middle.
        fx = 1.6 + i * 0.84 + rng.normal(0, 0.07)
        tall = 1.45 * (1 - abs(fx - 5.8) / 5.9)
        lean = rng.normal(0, 0.12)
        for cx, cy, rx, ry in (
            (fx + lean, 2.05 - tall * 0.9, 0.11, 0.12),
            (fx + lean / 2, 2.05 - tall * 0.5, 0.22, tall * 0.34),
            (fx + 0.2 + lean, 2.05 - tall * 0.55, 0.2, 0.08),
            (fx - 0.1, 2.05 - tall * 0.16, 0.25, tall * 0.18),
        ):
            for k in range(4):
                f = 1 - 0.22 * k
                ring = [(cx + f * rx * np.cos(t), cy + f * ry * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 16)]
                gable.paint(ring, [c * (0.92 + 0.04 * k) for c in pale], raised=3)
    gable.weather(rng, streaks=0.05, grime=0)
    model.quads.append(quad((-5.8, y + 2.3, 2.2), (11.6, 0, 0), (0, -2.1, 0), gable.texture(1.2)))
    for s in (-1, 1):
        # Raking cornices: thin boxes along the slopes of the gable.
        slope = np.array((s * 5.9, -2.14, 0.0))
        for out in (2.2, 2.55):
            model.quads.append(quad((0, y + 2.5, out), slope, (0, -0.24, 0), stone.texture, two_sided=True))
        model.quads.append(quad((0, y + 2.26, 2.15), slope, (0, 0, 0.4), stone.texture, two_sided=True))
        model.quads.append(
            quad(
                (0, y + 2.5, -8),
                slope,
                (0, 0, 10.6),
                swatch(rng, (0.45, 0.52, 0.48), side_m=5, px_per_m=40).texture,
                two_sided=True,
            )
        )
    for i, x in enumerate((-3.8, 3.8)):
        banner = Surface(1.1, 3.3, 120, ((0.60, 0.13, 0.16), (0.10, 0.25, 0.42))[i])
        banner.rgb *= (1 + 0.05 * noise(banner.shape, 70, rng, 3))[..., None]
        banner.height[:] = 9 * noise(banner.shape, 90, rng, 2, (1, 3))
        for _ in range(14):
            cx, cy = rng.uniform(0.15, 0.95), rng.uniform(0.9, 2.6)
            r = rng.uniform(0.05, 0.2)
            banner.paint(
                [(cx + r * np.cos(t), cy + r * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 5 + 4 * i)],
                rng.uniform(0.3, 0.95, 3).tolist(),
            )
        banner.text(("COLOUR", "OCEANS")[i], (0.55, 0.45), 0.25, (0.95, 0.93, 0.86), bold=0.03)
        banner.text(("1905-1932", "Hall 2")[i], (0.55, 2.95), 0.17, (0.95, 0.93, 0.86))
        model.quads.append(
            quad((x - 0.55, floor + 4.3, 2.32), (1.1, 0, 0), (0, -3.3, 0), banner.texture(), two_sided=True, parts=1)
        )
    side = swatch(rng, (0.72, 0.67, 0.57), side_m=5, px_per_m=50)
    for wing in (-1, 1):
        x0 = 5.5 if wing > 0 else -10.5
        annex = Facade(x0, 5.6, 5.0, 5.6, rng, z=-1.2, px_per_m=62, recess=0.25)
        masonry(annex.front, rng, LIMESTONE, course_m=0.46, unit_m=0.95, variation=0.04, joint_m=0.014)
        for k in range(2):
            annex.window(
                0.8 + 2.2 * k,
                1.4,
                1.1,
                2.2,
                panes=(2, 4 + (k + wing) % 2),
                surround=pale,
                arch=0.5 * (wing > 0),
                curtain=(0.6, 0.58, 0.5) if k else None,
            )
        annex.front.weather(rng)
        model.quads += annex.finish()
        box(model.quads, (x0, 5.8, -1.3), (5.0, 0.35, 0.5), stone)
        model.quads.append(
            quad((wing * 10.5, 5.6, -1.2 if wing > 0 else -6), (0, 0, -5 * wing), (0, -5.6, 0), side.texture)
        )
    model.quads += tree(rng, -9.4, 2.0, 4.2, 3.2) + tree(rng, 9.6, 1.4, 4.6, 3.4, (0.26, 0.36, 0.16))
    model.quads += backdrop(rng, -16, 8, (0.22, 0.28, 0.16)) + street(rng, paving=LIMESTONE, pavement_m=7.0)
    return model
