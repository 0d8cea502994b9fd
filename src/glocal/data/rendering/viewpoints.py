"""Where the camera stands and what shines: tables of views, their variations, and presets of light."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from glocal.data.rendering.buildings import Model
from glocal.data.rendering.raster import Camera
from glocal.data.rendering.shading import Lamp, Lens, Light

# A building in a street; a picture on a wall; a package on a table; and three kinds without a partner.
Kind = Literal["street", "wall", "table", "open", "still", "shelf"]


@dataclass(frozen=True, slots=True)
class View:
    """Where the camera stands and what happens in front of it."""

    yaw: float  # degrees; positive looks from the right
    distance: float = 1.0  # factor on the model's own
    light: str = "noon"
    occluders: tuple[str, ...] = ()
    roll: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)  # of the point looked at, in units of the distance
    height: float = 1.7  # of the camera: metres for buildings, factor on the target's height otherwise
    lens: Lens = field(default_factory=Lens)


_STREET_VIEWS = (
    View(-9, 1.0, "noon", ("people",), 0.6),
    View(27, 1.08, "morning", ("lamp",), -1.2, (0.03, 0.0)),
    View(-31, 1.12, "overcast", ("people", "people"), 1.5, (-0.04, -0.02), lens=Lens((1.02, 1.0, 0.96), 0.35)),
    View(14, 1.45, "evening", ("tree",), -0.8, (0.02, 0.03)),
    View(20, 0.95, "night", ("lamp", "people"), 2.0, (0.05, 0.0), lens=Lens(grain=0.014, blur_px=0.4)),
    View(-44, 0.85, "noon", ("van", "people"), -2.5, (0.06, 0.01), lens=Lens((0.96, 1.0, 1.06), 0.3, motion_px=2.2)),
)
_WALL_VIEWS = (
    View(4, 1.0, "gallery", (), 0.4, (0.02, 0.01), 1.0),
    View(-27, 1.05, "daylight", (), -1.5, (-0.05, 0.0), 0.95),
    View(33, 1.15, "gallery", (), 1.5, (0.06, -0.02), 1.08, Lens((1.07, 1.0, 0.88))),
    View(-12, 1.6, "daylight", (), 1.0, (0.10, -0.06), 1.02),
    View(-42, 0.85, "dim", (), -4.0, (0.07, 0.04), 0.9, Lens((1.1, 1.0, 0.82), 0.4, 0.014, 0.5)),
    View(22, 0.62, "daylight", (), 5.0, (0.12, 0.07), 1.05, Lens((0.95, 1.0, 1.08), motion_px=2.0)),
)
_TABLE_VIEWS = (
    View(-8, 1.0, "window", (), 0.8, (0.02, 0.02), 1.9),
    View(26, 1.15, "kitchen", (), -2.0, (-0.08, 0.03), 2.4),
    View(-30, 1.3, "window", (), 2.0, (0.10, -0.03), 2.2, Lens((1.03, 1.0, 0.94))),
    View(12, 0.85, "kitchen", (), -3.0, (0.0, 0.0), 1.4),
    View(38, 0.8, "dim", (), 6.0, (0.10, 0.05), 2.0, Lens((1.12, 1.0, 0.78), 0.4, 0.014, 0.4)),
    View(-20, 1.7, "window", (), -8.0, (-0.20, -0.08), 2.6, Lens(motion_px=1.6)),
)


def view_of(kind: Kind, scene: str, view: int, rng: np.random.Generator) -> View:
    """The tabulated view, slightly jittered so that no two scenes are seen alike; a random one beyond the table."""
    if kind in ("open", "still", "shelf"):
        light = "window" if kind != "open" else ("noon", "evening", "morning")[int(rng.integers(3))]
        height = {"open": float(rng.uniform(1.5, 2.0)), "still": 3.6, "shelf": 1.0}[kind]
        yaw, distance = float(rng.uniform(-16, 16)), float(rng.uniform(0.9, 1.15))
        return View(yaw, distance, light, roll=float(rng.normal(0, 1)), height=height)
    table = {"street": _STREET_VIEWS, "table": _TABLE_VIEWS}.get(kind, _WALL_VIEWS)
    if view < len(table):
        spec = table[view]
        # Mirrored for every other scene: the sequence of viewpoints must not be the same everywhere.
        side = -1.0 if sum(scene.encode()) % 2 else 1.0
        return replace(
            spec,
            yaw=side * spec.yaw + float(rng.uniform(-4, 4)),
            roll=spec.roll + float(rng.normal(0, 0.5)),
            distance=spec.distance * float(rng.uniform(0.96, 1.05)),
            shift=(side * spec.shift[0], spec.shift[1]),
        )
    pick = table[int(rng.integers(len(table)))]
    lights = [v.light for v in table]
    return replace(
        pick,
        yaw=float(rng.uniform(-50, 50)),
        distance=float(rng.uniform(0.6, 1.8)),
        roll=float(rng.normal(0, 3)),
        shift=(float(rng.normal(0, 0.07)), float(rng.normal(0, 0.04))),
        light=lights[int(rng.integers(len(lights)))],
    )


def camera_for(kind: Kind, model: Model, spec: View, size: tuple[int, int]) -> Camera:
    """The camera of a view; its position turns about the model's target."""
    yaw = np.deg2rad(spec.yaw)
    distance = model.distance_m * spec.distance
    target = np.asarray(model.target, np.float64)
    outdoors = kind in ("street", "open")
    height = spec.height if outdoors else target[1] * spec.height
    position = target + distance * np.array([np.sin(yaw), 0.0, np.cos(yaw)])
    position[1] = height
    aside = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    aim = target + distance * (spec.shift[0] * aside + np.array([0.0, spec.shift[1], 0.0]))
    focal = 0.86 if outdoors else 1.05
    return Camera.look_at(position.tolist(), aim.tolist(), spec.roll, focal, size)


def light_for(kind: Kind, name: str, rng: np.random.Generator) -> Light:
    """A preset with its sun, clouds and strength varied."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    seed = int(rng.integers(1 << 30))
    x = side * float(rng.uniform(0.35, 0.75))
    if name == "noon":
        return Light(name, (x, 0.85, 0.62), cloud_seed=seed, clouds=float(rng.uniform(0.3, 0.6)), exposure=1.08)
    if name == "morning":
        return Light(
            name,
            (1.6 * x, 0.55, 0.75),
            (3.3, 2.7, 2.0),
            (0.50, 0.62, 0.85),
            (0.33, 0.28, 0.22),
            (0.22, 0.42, 0.80),
            (0.92, 0.86, 0.76),
            0.45,
            seed,
            visibility_m=260.0,
        )
    if name == "overcast":
        return Light(
            name,
            (x, 1.0, 0.6),
            (0.45, 0.45, 0.45),
            (1.15, 1.2, 1.28),
            (0.42, 0.41, 0.40),
            (0.66, 0.70, 0.76),
            (0.86, 0.88, 0.90),
            0.98,
            seed,
            visibility_m=160.0,
            penumbra_m=0.25,
            exposure=1.02,
        )
    if name == "evening":
        return Light(
            name,
            (1.9 * x, 0.36, 0.85),
            (3.6, 2.0, 0.95),
            (0.36, 0.42, 0.66),
            (0.26, 0.19, 0.16),
            (0.24, 0.34, 0.66),
            (1.05, 0.70, 0.46),
            0.6,
            seed,
            glow=1.2,
            visibility_m=180.0,
        )
    if name == "night":
        lamps: tuple[Lamp, ...] = (Lamp((-5.0, 4.3, 3.6), (11.0, 7.6, 4.2)), Lamp((4.6, 4.3, 3.6), (9.0, 6.2, 3.4)))
        return Light(
            name,
            (x, 0.9, 0.6),
            (0.0, 0.0, 0.0),
            (0.055, 0.075, 0.15),
            (0.05, 0.045, 0.05),
            (0.012, 0.02, 0.055),
            (0.06, 0.065, 0.11),
            0.5,
            seed,
            3.6,
            lamps,
            exposure=0.9,
            visibility_m=300.0,
        )
    warm, room = (0.62, 0.56, 0.48), (0.50, 0.50, 0.50)
    if name == "gallery":
        lamps = (
            Lamp((-0.5, 3.2, 1.7), (5.6, 5.0, 4.1), (0.0, 1.5, 0.0), 24.0),
            Lamp((2.3, 3.2, 1.7), (3.8, 3.3, 2.7), (2.1, 1.4, 0.0), 25.0),
            Lamp((-2.6, 3.2, 1.7), (3.8, 3.3, 2.7), (-2.1, 1.4, 0.0), 25.0),
        )
        return Light(
            name,
            (0.2, 0.9, 0.75),
            (0.5, 0.45, 0.38),
            warm,
            (0.34, 0.29, 0.23),
            cloud_seed=seed,
            lamps=lamps,
            indoors=True,
            penumbra_m=0.06,
        )
    if name == "dim":
        lamps = (Lamp((0.9 * side, 1.9, 1.2), (2.2, 1.5, 0.8)),)
        return Light(
            name,
            (x, 0.8, 0.6),
            (0.35, 0.24, 0.13),
            (0.26, 0.21, 0.16),
            (0.15, 0.11, 0.08),
            cloud_seed=seed,
            lamps=lamps,
            indoors=True,
            exposure=0.85,
            penumbra_m=0.04,
        )
    small = kind in ("table", "still")
    sun = (2.1, 2.0, 1.85) if name in ("window", "daylight") else (1.5, 1.25, 0.95)
    return Light(
        name,
        (1.5 * x, 0.75, 0.75),
        sun,
        room if name != "kitchen" else warm,
        (0.36, 0.33, 0.30),
        cloud_seed=seed,
        indoors=True,
        penumbra_m=0.010 if small else 0.05,
    )
