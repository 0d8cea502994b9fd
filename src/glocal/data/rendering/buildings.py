"""Parts of houses: walls with recessed windows and doors, boxes, awnings, pavements, plain neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from glocal.data.rendering.materials import plaster
from glocal.data.rendering.raster import Doubles, Floats, Quad, Texture, Vector, quad
from glocal.data.rendering.textures import Colour, Rng, Surface, blurred, noise

BRICK = ((0.55, 0.33, 0.27), (0.50, 0.30, 0.25), (0.60, 0.38, 0.31), (0.45, 0.28, 0.25), (0.58, 0.42, 0.35))
LIMESTONE = ((0.80, 0.74, 0.63), (0.76, 0.71, 0.61), (0.84, 0.79, 0.69), (0.74, 0.68, 0.59))
GRANITE = ((0.50, 0.50, 0.50), (0.45, 0.45, 0.46), (0.55, 0.54, 0.52), (0.40, 0.41, 0.43))
SLATE = ((0.27, 0.29, 0.33), (0.31, 0.33, 0.36), (0.24, 0.26, 0.30))
CLAY = ((0.62, 0.33, 0.22), (0.55, 0.28, 0.20), (0.67, 0.40, 0.28))


@dataclass(slots=True)
class Model:
    """A scene without its camera and light.

    Attributes:
        quads: everything in it.
        planes: ground-truth planes by name: (origin, right, down, bit).
        target: the point that a camera looks at.
        distance_m: from which the subject fills most of a picture.
        radius_m: of the ball around `target` in which shadows are computed.
    """

    quads: list[Quad] = field(default_factory=list)
    planes: dict[str, tuple[Doubles, Doubles, Doubles, int]] = field(default_factory=dict)
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    distance_m: float = 10.0
    radius_m: float = 8.0

    def add_plane(self, name: str, origin: Vector, right: Vector, down: Vector) -> int:
        """Declare a ground-truth plane; returns the bit for its quads."""
        bit = 1 << len(self.planes)
        arrays = [np.asarray(a, np.float64) for a in (origin, right, down)]
        self.planes[name] = (arrays[0], arrays[1], arrays[2], bit)
        return bit


@dataclass(slots=True)
class Swatch:
    """A piece of material from which boxes and reveals cut regions at random, so that no two look the same."""

    texture: Texture
    side_m: float
    rng: Rng

    def region(self, width_m: float, height_m: float) -> tuple[float, float, float, float]:
        """A random window of about this size (all of the swatch at most)."""
        w, h = min(1.0, width_m / self.side_m), min(1.0, height_m / self.side_m)
        u, v = self.rng.uniform(0, 1 - w), self.rng.uniform(0, 1 - h)
        return (u, v, u + w, v + h)


def swatch(
    rng: Rng,
    colour: Colour,
    *,
    side_m: float = 2.0,
    px_per_m: float = 130.0,
    roughness: float = 1.0,
    gloss: float = 0.0,
) -> Swatch:
    """A plain, slightly uneven material (stone, painted wood, metal)."""
    surface = Surface(side_m, side_m, px_per_m)
    plaster(surface, rng, colour, roughness)
    surface.weather(rng, grime=0.0, streaks=0.05)
    surface.gloss[:] = gloss
    return Swatch(surface.texture(), side_m, rng)


def box(
    quads: list[Quad],
    corner: Vector,
    size: Vector,
    material: Swatch,
    *,
    front: Texture | None = None,
    parts: int = 0,
    axes: Doubles | None = None,
) -> None:
    """Add the visible faces of a box.

    Args:
        quads: list to extend.
        corner: left top back corner.
        size: (width, height, depth) in metres, depth towards the viewer.
        material: covers the faces.
        front: covers the front instead.
        parts: ground-truth planes that it belongs to.
        axes: (3, 3) rows right, up, forward of a turned box; the corner is then still in the world frame.
    """
    w, h, d = size
    right, up, ahead = np.eye(3) if axes is None else axes
    o = np.asarray(corner, np.float64)
    x, y, z = right * w, -up * h, ahead * d
    faces = [(o + z, x, y, w, h), (o, x, z, w, d), (o + z + y, x, -z, w, d), (o, z, y, d, h), (o + x + z, -z, y, d, h)]
    for i, (origin, r, dn, width, height) in enumerate(faces):
        if i == 0 and front is not None:
            quads.append(quad(origin, r, dn, front, parts=parts))
        else:
            quads.append(quad(origin, r, dn, material.texture, region=material.region(width, height), parts=parts))


def arch_points(
    x: float, y: float, width: float, height: float, arch: float, segments: int = 14
) -> list[tuple[float, float]]:
    """Outline of an opening, clockwise from its left foot; `arch` 0 is flat, 0.5 a half circle, more is pointed."""
    if arch <= 0:
        return [(x, y + height), (x, y), (x + width, y), (x + width, y + height)]
    if arch < 0.5:  # one flat arc
        radius = (width * width / 4 + (arch * width) ** 2) / (2 * arch * width)
        half = np.arcsin(width / 2 / radius)
        arc = [
            (x + width / 2 + radius * np.sin(t), y + radius - radius * np.cos(t))
            for t in np.linspace(-half, half, segments)
        ]
        return [(x, y + height), *arc, (x + width, y + height)]
    # Two circle arcs of radius >= width / 2 that meet in the middle: the Gothic construction.
    rise = arch * width
    radius = (rise * rise + width * width / 4) / width
    spring = y + rise
    end = np.arccos(np.clip((radius - width / 2) / radius, -1, 1))
    left = [(x + radius - radius * np.cos(t), spring - radius * np.sin(t)) for t in np.linspace(0, end, segments)]
    right = [(2 * x + width - px, py) for px, py in left[::-1]]
    return [(x, y + height), *left, *right[1:], (x + width, y + height)]


class Facade:
    """A wall that faces the viewer, painted in metres from its top left corner, with openings of real depth."""

    def __init__(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        rng: Rng,
        *,
        z: float = 0.0,
        px_per_m: float = 110.0,
        recess: float = 0.26,
        parts: int = 0,
    ) -> None:
        self.left, self.top, self.z, self.width, self.height = left, top, z, width, height
        self.rng, self.recess, self.parts = rng, recess, parts
        self.front = Surface(width, height, px_per_m)
        self.back = Surface(width, height, px_per_m, (0.10, 0.10, 0.11))
        self.quads: list[Quad] = []
        self.stone = swatch(rng, (0.72, 0.68, 0.60))
        self.iron = swatch(rng, (0.13, 0.13, 0.14), side_m=0.5, gloss=0.25)

    def at(self, x: float, y: float, out: float = 0.0) -> tuple[float, float, float]:
        """World position of a point of the wall, `out` metres in front of it."""
        return (self.left + x, self.top - y, self.z + out)

    def outline(self, points: Sequence[tuple[float, float]]) -> None:
        """Cut the wall itself to a polygon, e.g. a gable."""
        mask = self.front.polygon_mask(points)
        self.front.alpha *= mask
        self.back.alpha *= mask

    def opening(self, outline: Sequence[tuple[float, float]]) -> None:
        """Cut a hole and line it with reveals; the outline runs clockwise from its left foot."""
        mask = self.front.polygon_mask(outline)
        self.front.alpha *= 1 - mask
        for (ax, ay), (bx, by) in zip(outline, [*outline[1:], outline[0]], strict=True):
            length = float(np.hypot(bx - ax, by - ay))
            self.quads.append(
                quad(
                    self.at(ax, ay),
                    (bx - ax, ay - by, 0),
                    (0, 0, -self.recess),
                    self.stone.texture,
                    region=self.stone.region(length, self.recess),
                    parts=self.parts,
                    two_sided=True,
                    casts=False,
                )
            )

    def box(
        self,
        x: float,
        y: float,
        size: Vector,
        material: Swatch,
        *,
        out: float = 0.0,
        front: Texture | None = None,
        parts: int = 0,
    ) -> None:
        """A box that stands out of the wall; (x, y) is its top left corner on the wall."""
        box(self.quads, self.at(x, y, out), size, material, front=front, parts=self.parts | parts)

    def surround(self, outline: Sequence[tuple[float, float]], width: float, colour: Colour) -> None:
        """Paint a stone frame around an opening on the wall."""
        points = np.asarray(outline)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        half = (points.max(axis=0) - points.min(axis=0)) / 2
        grown = middle + (points - middle) * (half + width) / half
        self.front.paint(grown.tolist(), colour, raised=4, mottle=0.04, rng=self.rng)

    def window(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        arch: float = 0.0,
        panes: tuple[int, int] = (2, 3),
        frame: Colour = (0.85, 0.84, 0.80),
        surround: Colour | None = None,
        sill: bool = True,
        curtain: Colour | None = None,
        lit: float | None = None,
        leaded: float = 0.0,
    ) -> None:
        """A recessed window with frame, panes, something behind the glass, and a sill."""
        rng, back = self.rng, self.back
        outline = arch_points(x, y, width, height, arch)
        if surround is not None:
            self.surround(outline, 0.13, surround)
        self.opening(outline)
        glow = float(rng.uniform(0.4, 1.0) * (rng.random() < 0.65)) if lit is None else lit
        self.interior(x, y, width, height, curtain, glow)
        if leaded:
            self.stained(x, y, width, height, leaded)
        across, down = panes
        bar = 0.035
        for i in range(across + 1):
            wide = 0.06 if i in (0, across) else bar
            back.rectangle(x + i * width / across - wide / 2, y, wide, height, frame, raised=4, gloss=0.08, glow=0)
        for j in range(down + 1):
            wide = 0.07 if j in (0, down) else bar
            back.rectangle(x, y + j * height / down - wide / 2, width, wide, frame, raised=4, gloss=0.08, glow=0)
        if arch:
            rim = np.asarray(outline)
            middle = np.array([x + width / 2, y + height / 2])
            inner = middle + (rim - middle) * (1 - 0.16 / width)
            back.paint([*outline, *inner[::-1].tolist()], frame, raised=4, gloss=0.08, glow=0)
        if sill:
            self.box(x - 0.12, y + height, (width + 0.24, 0.09, 0.16), self.stone)

    def interior(self, x: float, y: float, width: float, height: float, curtain: Colour | None, glow: float) -> None:
        """Paint what a window shows: a dim room, curtains, and glass of which each pane leans a little."""
        rng, back = self.rng, self.back
        rows, columns = back.box(x, y, width, height)
        shape = back.rgb[rows, columns].shape[:2]
        if not shape[0] or not shape[1]:
            return
        fall = np.linspace(1.25, 0.7, shape[0], dtype=np.float32)[:, None]
        room: Floats = np.asarray((0.28, 0.23, 0.18), np.float32) * np.float32(rng.uniform(0.6, 1.05))
        back.rgb[rows, columns] = room * (fall * (1 + 0.25 * noise(shape, 0.4 * back.px_per_m, rng, 3)))[..., None]
        back.gloss[rows, columns] = 1.0
        back.glow[rows, columns] = glow * fall / 1.25
        for _ in range(int(rng.integers(0, 3))):
            fx, fy = rng.uniform(0, 0.8, 2)
            back.rectangle(
                x + fx * width,
                y + (0.4 + 0.6 * fy) * height,
                0.3 * width,
                0.4 * height,
                tuple(room * rng.uniform(0.5, 1.6)),
            )
        tilt = rng.normal(0, 0.02, 2)
        grid = np.indices(shape, dtype=np.float32)
        back.height[rows, columns] = tilt[0] * grid[1] + tilt[1] * grid[0] + 0.25 * noise(shape, 40, rng, 1)
        if curtain is None:
            return
        t = np.linspace(0, 1, shape[1], dtype=np.float32)
        reach = rng.uniform(0.16, 0.42, 2)
        folds = 0.78 + 0.22 * np.sin(t * rng.uniform(40, 70) + 3 * np.sin(t * 9 + rng.uniform(0, 6)))
        for i, drawn in enumerate((t < reach[0], t > 1 - reach[1])):
            cloth = np.asarray(curtain, np.float32) * folds[None, :, None] * (0.8 + 0.2 * fall[..., None])
            target = back.rgb[rows, columns]
            target[:, drawn] = np.broadcast_to(cloth, target.shape)[:, drawn] * (0.96 + 0.04 * i)

    def stained(self, x: float, y: float, width: float, height: float, side_m: float) -> None:
        """Leaded coloured glass: Voronoi pieces in a window."""
        rng, back = self.rng, self.back
        rows, columns = back.box(x, y, width, height)
        shape = back.rgb[rows, columns].shape[:2]
        count = max(6, int(width * height / side_m**2))
        marks = np.ones(shape, np.uint8)
        marks[rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = 0
        _, nearest = cv2.distanceTransformWithLabels(marks, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        labels = np.asarray(nearest, np.float32)
        border = np.asarray(cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0, np.float32)
        palette = (
            np.array(
                [
                    (0.55, 0.12, 0.13),
                    (0.12, 0.22, 0.55),
                    (0.75, 0.60, 0.15),
                    (0.13, 0.42, 0.26),
                    (0.45, 0.20, 0.48),
                    (0.72, 0.74, 0.70),
                ],
                np.float32,
            )
            * 0.75
        )
        colours = palette[rng.integers(0, len(palette), count + 1)] * rng.uniform(0.7, 1.2, (count + 1, 1))
        lead = 1 - blurred(border, 0.7)[..., None]
        back.rgb[rows, columns] = colours[np.asarray(nearest)].astype(np.float32) * lead + 0.05 * (1 - lead)
        back.gloss[rows, columns] = 0.3 * lead[..., 0]
        back.glow[rows, columns] *= lead[..., 0]

    def door(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: Colour,
        *,
        arch: float = 0.0,
        panels: tuple[int, int] = (2, 3),
        glazed: bool = False,
    ) -> None:
        """A recessed panelled door, glazed in its upper part if asked."""
        rng = self.rng
        outline = arch_points(x, y, width, height, arch)
        self.opening(outline)
        self.back.rectangle(x, y, width, height, colour, mottle=0.06, rng=rng)
        across, down = panels
        cell_w, cell_h = width / across, height / down
        for i in range(across):
            for j in range(down):
                px, py = x + i * cell_w + 0.09, y + j * cell_h + 0.09
                w, h = cell_w - 0.18, cell_h - 0.18
                if glazed and j < down - 1:
                    self.interior(px, py, w, h, None, 0.9)
                else:
                    dark = [0.72 * c for c in colour]
                    self.back.rectangle(px, py, w, h, dark, raised=-3, mottle=0.05, rng=rng)
                    self.back.rectangle(px + 0.05, py + 0.05, w - 0.1, h - 0.1, colour, raised=3, mottle=0.06, rng=rng)
        self.back.rectangle(x + width * 0.86, y + height * 0.52, 0.04, 0.16, (0.75, 0.62, 0.30), raised=3, gloss=0.6)

    def balcony(self, x: float, y: float, width: float, depth: float = 0.75) -> None:
        """A slab with an iron railing whose pattern is drawn with alpha."""
        self.box(x, y, (width, 0.14, depth), self.stone)
        rail_h = 0.95

        def railing(length: float) -> Texture:
            rail = Surface(length, rail_h, 120, (0.10, 0.10, 0.11))
            rail.alpha[:] = 0
            count = max(2, round(length / 0.13))
            holes = Surface(length, rail_h, 120)
            for i in range(count + 1):
                px = (i + 0.12 * self.rng.standard_normal()) * length / count
                holes.rectangle(px - 0.012, 0, 0.024, rail_h, (1, 1, 1), glow=1)
            for py in (0.0, 0.12, rail_h - 0.1):
                holes.rectangle(0, py, length, 0.035, (1, 1, 1), glow=1)
            rail.alpha[:] = holes.glow
            rail.gloss[:] = 0.15
            return rail.texture()

        w, d = self.at(x, y - rail_h, depth - 0.04), (0.0, -rail_h, 0.0)
        self.quads.append(quad(w, (width, 0, 0), d, railing(width), two_sided=True, parts=self.parts))
        side = railing(depth)
        for px in (x, x + width):
            self.quads.append(quad(self.at(px, y - rail_h), (0, 0, depth), d, side, two_sided=True, parts=self.parts))

    def awning(self, x: float, y: float, width: float, drop: float, depth: float, colours: Sequence[Colour]) -> None:
        """A striped cloth awning with a scalloped valance."""
        cloth = Surface(width, float(np.hypot(drop, depth)), 110)
        count = round(width / 0.28)
        for i in range(count + 1):
            cloth.rectangle((i - 0.5) * width / count, 0, width / count, 9, colours[i % len(colours)])
        sag = noise(cloth.shape, 30, self.rng, 4)
        cloth.rgb *= (1 + 0.035 * sag)[..., None]
        cloth.height[:] = 2 * noise(cloth.shape, 90, self.rng, 2)
        cloth.weather(self.rng, grime=0.05)
        self.quads.append(
            quad(self.at(x, y), (width, 0, 0), (0, -drop, depth), cloth.texture(), two_sided=True, parts=self.parts)
        )
        valance = Surface(width, 0.26, 110)
        valance.rgb[:] = cloth.rgb[-1][np.linspace(0, cloth.shape[1] - 1, valance.shape[1]).astype(int)]
        teeth = np.abs(((np.arange(valance.shape[1]) / valance.shape[1] * count + 0.5) % 1) - 0.5) * 2
        depth_row = (0.62 + 0.36 * np.sqrt(np.maximum(0, 1 - teeth**2))) * valance.shape[0]
        valance.alpha[:] = np.clip(depth_row[None, :] - np.arange(valance.shape[0])[:, None], 0, 1)
        self.quads.append(
            quad(
                self.at(x, y + drop, depth),
                (width, 0, 0),
                (0, -0.26, 0),
                valance.texture(),
                two_sided=True,
                parts=self.parts,
            )
        )

    def finish(self, relief: float = 1.0) -> list[Quad]:
        """All quads of the wall, front and back planes included."""
        # Walls are a touch darker under the eaves and beside openings than the screen-space occlusion alone gives.
        wall = quad(
            self.at(0, 0), (self.width, 0, 0), (0, -self.height, 0), self.front.texture(relief), parts=self.parts
        )
        glass = quad(
            self.at(0, 0, -self.recess),
            (self.width, 0, 0),
            (0, -self.height, 0),
            self.back.texture(relief),
            parts=self.parts,
        )
        return [wall, glass, *self.quads]
