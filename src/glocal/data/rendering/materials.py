"""Materials that cover a whole surface: masonry, plaster, roof tiles, boards, glazed tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glocal.data.rendering.raster import Floats
from glocal.data.rendering.textures import Colour, Rng, Surface, noise, ramp


def courses(
    shape: tuple[int, int], course_px: float, unit_px: float, rng: Rng, *, jitter: float = 0.08, warp_px: float = 0.0
) -> tuple[NDArray[np.int32], Floats, Floats]:
    """Rows of units (bricks, stones, tiles, boards), none of which repeats.

    Args:
        shape: (h, w).
        course_px: height of a row.
        unit_px: width of a unit; rows are shifted by about half of it.
        rng: source of randomness.
        jitter: relative deviation of unit widths.
        warp_px: how far joints wander from a straight line.

    Returns:
        id of the unit at each pixel (h, w), distance to the nearest joint in pixels (h, w),
        and the position down the row in [0, 1] (h, w).
    """
    height, width = shape
    x = np.broadcast_to(np.arange(width, dtype=np.float32), shape)
    y = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], shape)
    if warp_px:
        x = x + warp_px * noise(shape, course_px * 0.5, rng, 2)
        y = y + warp_px * noise(shape, course_px * 0.7, rng, 2)
    num_rows = int(height / course_px) + 5
    edges = (np.arange(num_rows) - 2) * course_px
    edges = (edges + rng.normal(0, course_px * jitter * 0.35, num_rows)).astype(np.float32)
    row = np.searchsorted(edges, y[:, 0] if not warp_px else y, side="right") - 1
    row = np.broadcast_to(row[:, None] if not warp_px else row, shape)
    top, bottom = edges[row], edges[np.minimum(row + 1, num_rows - 1)]
    num_units = int(width / unit_px * (1 + 3 * jitter)) + 8
    widths = unit_px * np.clip(1 + jitter * rng.standard_normal((num_rows, num_units)), 0.35, 2.5)
    starts = np.cumsum(widths, axis=1) - widths - unit_px * (1.5 + 0.5 * (np.arange(num_rows) % 2))[:, None]
    starts -= rng.uniform(0, unit_px * 0.3 * min(1.0, jitter * 8), num_rows)[:, None]
    # One sorted list for all rows: each row's edges are moved to a range of their own.
    span = float(width + 8 * unit_px)
    flat = np.clip(starts, -3 * unit_px, width + 3 * unit_px) + span * np.arange(num_rows)[:, None]
    column = np.searchsorted(flat.ravel(), (x + span * row).ravel(), side="right").reshape(shape) - 1
    left = flat.ravel()[column] - span * row
    right = flat.ravel()[np.minimum(column + 1, flat.size - 1)] - span * row
    joint = np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y))
    return column.astype(np.int32), joint.astype(np.float32), ((y - top) / (bottom - top)).astype(np.float32)


def masonry(
    surface: Surface,
    rng: Rng,
    palette: Sequence[Colour],
    *,
    course_m: float,
    unit_m: float,
    joint_m: float = 0.01,
    mortar: Colour = (0.62, 0.59, 0.54),
    jitter: float = 0.06,
    roughness: float = 1.0,
    variation: float = 0.07,
    depth: float = 1.6,
) -> None:
    """Cover the whole surface with bricks, blocks or setts, coloured from the palette."""
    k = surface.px_per_m
    warp = min(joint_m * k * 0.45, 2.0) * roughness
    ids, joint, _ = courses(surface.shape, course_m * k, unit_m * k, rng, jitter=jitter, warp_px=warp)
    colours = np.asarray(palette, np.float32)[rng.integers(0, len(palette), 65536)]
    colours = colours * (1 + variation * rng.standard_normal((65536, 1), dtype=np.float32))
    colours = colours + 0.13 * variation * rng.standard_normal((65536, 3), dtype=np.float32)
    face = colours.astype(np.float32)[ids % 65536]
    pits = noise(surface.shape, 0.05 * k, rng, 4)
    face *= (1 + 0.06 * roughness * pits)[..., None]
    solid = ramp(joint, joint_m * k * 0.35, joint_m * k * 0.5 + 1.4)
    bed = np.asarray(mortar, np.float32) * (1 + 0.08 * noise(surface.shape, 0.03 * k, rng, 3))[..., None]
    surface.rgb[:] = bed + solid[..., None] * (face - bed)
    tilt = rng.normal(0, 0.5, 65536).astype(np.float32)[ids % 65536]
    surface.height[:] = solid * (depth + 0.6 * tilt * roughness) + 0.3 * roughness * pits


def plaster(surface: Surface, rng: Rng, colour: Colour, roughness: float = 1.0) -> None:
    """Cover the whole surface with rendered plaster, patched and slightly uneven."""
    k = surface.px_per_m
    tone = 1 + 0.05 * noise(surface.shape, 0.8 * k, rng, 5) + 0.02 * noise(surface.shape, 0.04 * k, rng, 2)
    surface.rgb[:] = np.asarray(colour, np.float32) * tone[..., None]
    surface.height[:] = roughness * (
        0.22 * noise(surface.shape, 0.06 * k, rng, 3) + 0.8 * noise(surface.shape, 0.4 * k, rng, 2)
    )


def roof_tiles(
    surface: Surface, rng: Rng, palette: Sequence[Colour], course_m: float = 0.3, unit_m: float = 0.2
) -> None:
    """Cover the whole surface with overlapping tiles."""
    k = surface.px_per_m
    ids, joint, down = courses(surface.shape, course_m * k, unit_m * k, rng, jitter=0.05, warp_px=0.5)
    colours = np.asarray(palette, np.float32)[rng.integers(0, len(palette), 65536)]
    colours = colours * (1 + 0.12 * rng.standard_normal((65536, 1), dtype=np.float32))
    face = colours.astype(np.float32)[ids % 65536] * (1 + 0.08 * noise(surface.shape, 0.1 * k, rng, 4))[..., None]
    moss = ramp(noise(surface.shape, 0.9 * k, rng, 5), 0.6, 2.0)[..., None]
    face += 0.5 * moss * (np.array([0.33, 0.35, 0.22], np.float32) - face)
    shade = (0.45 + 0.55 * ramp(joint, 0.0, 2.5)) * (0.78 + 0.22 * down)
    surface.rgb[:] = face * shade[..., None]
    surface.height[:] = 4 * down + ramp(joint, 0, 3) + 0.5 * noise(surface.shape, 0.05 * k, rng, 3)


def planks(
    surface: Surface,
    rng: Rng,
    palette: Sequence[Colour],
    *,
    board_m: float = 0.14,
    length_m: float = 2.0,
    varnish: float = 0.0,
) -> None:
    """Cover the whole surface with boards that run along x, with grain and knots."""
    k = surface.px_per_m
    ids, joint, _ = courses(surface.shape, board_m * k, length_m * k, rng, jitter=0.15)
    colours = np.asarray(palette, np.float32)[rng.integers(0, len(palette), 65536)]
    colours = colours * (1 + 0.09 * rng.standard_normal((65536, 1), dtype=np.float32))
    shift = rng.uniform(-20, 20, 65536).astype(np.float32)[ids % 65536]
    bend = noise(surface.shape, board_m * k * 1.5, rng, 3, (5, 1)) + shift
    grain = np.sin(14 * bend) * 0.5 + noise(surface.shape, 0.012 * k, rng, 2, (30, 1))
    face = (
        colours.astype(np.float32)[ids % 65536]
        * (1 + 0.07 * grain + 0.03 * noise(surface.shape, 0.5 * k, rng, 3))[..., None]
    )
    solid = ramp(joint, 0, max(1.5, 0.004 * k))
    surface.rgb[:] = face * (0.3 + 0.7 * solid)[..., None]
    surface.height[:] = 2 * solid + 0.2 * grain
    surface.gloss[:] = varnish * solid


def tiles(surface: Surface, rng: Rng, palette: Sequence[Colour], side_m: float, gloss: float = 0.4) -> None:
    """Cover the whole surface with glazed or stone square tiles."""
    k = surface.px_per_m
    ids, joint, _ = courses(surface.shape, side_m * k, side_m * k, rng, jitter=0.004)
    colours = np.asarray(palette, np.float32)[rng.integers(0, len(palette), 65536)]
    colours = colours * (1 + 0.04 * rng.standard_normal((65536, 1), dtype=np.float32))
    veins = ramp(np.abs(noise(surface.shape, side_m * k * 0.7, rng, 5)), 0.0, 0.25)
    face = colours.astype(np.float32)[ids % 65536] * (0.94 + 0.06 * veins)[..., None]
    face *= (1 + 0.02 * noise(surface.shape, 0.02 * k, rng, 3))[..., None]
    solid = ramp(joint, 0.0015 * k, 0.0015 * k + 1.8)
    surface.rgb[:] = 0.62 + solid[..., None] * (face - 0.62)
    surface.height[:] = 0.8 * solid + 0.15 * noise(surface.shape, side_m * k, rng, 2)
    surface.gloss[:] = gloss * solid
