"""Rendered photo collections with exact ground truth: buildings, paintings and packages from many viewpoints.

No photo of a third party is needed: `render` draws one picture, `write_demo` a small collection with queries.
Everything depends only on (scene, view, size, seed).

Views 0 to 3 are ordinary; 4 and 5 are hard (night, occluders, crops); later ones are drawn at random.
Pictures whose longer side is under 400 px are built from coarser textures: quick, and comparable only with each other.
A seed other than 0 makes another building or painting of the same kind, in a group of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from glocal.data.rendering import houses, interiors, landscapes, monuments, props
from glocal.data.rendering.buildings import Model
from glocal.data.rendering.raster import Camera, Quad, rasterise, shadow_map
from glocal.data.rendering.shading import defocus, develop, shade
from glocal.data.rendering.textures import detail
from glocal.data.rendering.viewpoints import Kind, camera_for, light_for, view_of

_BUILDINGS: Mapping[str, Callable[[np.random.Generator], Model]] = {
    "bakery": houses.bakery,
    "chapel": monuments.chapel,
    "cinema": monuments.cinema,
    "museum": monuments.museum,
    "timber-house": houses.timber_house,
}
_PAINTINGS = ("composition", "currents", "hills", "portrait", "still-life")
_PACKAGES = ("atlas", "oats", "tea", "tomatoes")
_LANDSCAPES: Mapping[str, Callable[[np.random.Generator], Model]] = {
    "alley": landscapes.alley,
    "bookshelf": landscapes.bookshelf,
    "fruit": landscapes.fruit,
    "meadow": landscapes.meadow,
    "ridges": landscapes.ridges,
    "sea": landscapes.sea,
}
_OVERSAMPLING = 1.4
_FULL_DETAIL_PX = 400


@dataclass(frozen=True, slots=True)
class Plane:
    """Ground truth for one flat part in one picture.

    Attributes:
        name: "facade", "sign", "painting", "poster", "box", "tin", "cover" or "label".
        homography: (3, 3) float64 from plane coordinates (u, v) in [0, 1]^2, u right and v down, to pixels.
        corners: (4, 2) float32 pixels of (0, 0), (1, 0), (1, 1), (0, 1); may lie outside the picture.
        visible: share of the plane's area that is in the frame and not hidden.
    """

    name: str
    homography: NDArray[np.float64]
    corners: NDArray[np.float32]
    visible: float


@dataclass(frozen=True, slots=True)
class Rendered:
    """One picture.

    Attributes:
        name: scene and view, e.g. "bakery-03".
        group: pictures of one group show the same thing; "" for a distractor.
        pixels: (H, W, 3) uint8 RGB.
        planes: the flat parts whose position is known exactly.
        conditions: viewpoint, light and occluders, ready for JSON.
    """

    name: str
    group: str
    pixels: NDArray[np.uint8]
    planes: tuple[Plane, ...]
    conditions: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DemoSet:
    """What `write_demo` wrote: `gallery` and `queries` hold paths relative to `folder`."""

    folder: Path
    gallery: tuple[str, ...]
    queries: tuple[str, ...]
    ground_truth: Path


def scene_names() -> tuple[str, ...]:
    """Scenes that can be rendered from several views, sorted."""
    return tuple(sorted((*_BUILDINGS, *_PAINTINGS, *_PACKAGES, "poster")))


def distractor_names() -> tuple[str, ...]:
    """Scenes that belong to no group, sorted; every view of them is another place."""
    return tuple(sorted(_LANDSCAPES))


def render(scene: str, view: int, *, size: tuple[int, int] = (640, 480), seed: int = 0) -> Rendered:
    """Draw one picture of a scene; equal arguments give equal bytes.

    Args:
        scene: one of `scene_names()` or `distractor_names()`.
        view: 0 or more, see the module docstring.
        size: (W, H) in pixels.
        seed: another seed is another object of the same kind.

    Returns:
        The picture and its ground truth.

    Raises:
        ValueError: for an unknown scene, a negative view or an empty size.
    """
    known = (*scene_names(), *distractor_names())
    if scene not in known:
        raise ValueError(f"no scene is called '{scene}'; choose one of {', '.join(known)}")
    if view < 0 or min(size) < 16:
        raise ValueError(f"expected view >= 0 and sides of at least 16 px, found view {view} and size {size}")
    rng = np.random.default_rng([seed, view, *scene.encode()])
    # A building is the same from everywhere; rooms are furnished anew for each view.
    fineness = _detail_for(size)
    model = _model(scene, seed, 0 if scene in _BUILDINGS else view, fineness)
    kind = _kind(scene)
    spec = view_of(kind, scene, view, rng)
    camera = camera_for(kind, model, spec, size)
    light = light_for(kind, spec.light, rng)
    with detail(fineness):
        extra = _occluders(spec.occluders, model, rng)
    quads = [*model.quads, *extra]
    large = camera.scaled(_OVERSAMPLING)
    buffers = rasterise(quads, large)
    shadows = None
    if max(light.sun) > 0:
        side = int(np.clip(1.4 * max(size), 512, 1280))
        shadows = shadow_map(
            quads, np.asarray(light.to_sun, np.float64), np.asarray(model.target), model.radius_m, side
        )
    linear = shade(buffers, quads, large, light, shadows)
    if kind in ("table", "still"):
        linear = defocus(linear, buffers, float(np.linalg.norm(camera.position - np.asarray(model.target))))
    pixels = develop(linear, size, light, spec.lens, rng)
    parts = np.array([*(q.parts for q in quads), 0])[buffers.index]
    planes = tuple(
        _ground_truth(name, origin, right, down, camera, (parts & bit) > 0)
        for name, (origin, right, down, bit) in model.planes.items()
    )
    group = "" if scene in _LANDSCAPES else scene if seed == 0 else f"{scene}+{seed}"
    conditions = {
        "scene": scene,
        "view": view,
        "seed": seed,
        "size": list(size),
        "yaw_deg": round(spec.yaw, 2),
        "roll_deg": round(spec.roll, 2),
        "distance": round(spec.distance, 3),
        "light": spec.light,
        "occluders": list(spec.occluders),
    }
    stem = scene if seed == 0 else f"{scene}+{seed}"
    return Rendered(f"{stem}-{view:02d}", group, pixels, planes, conditions)


def homography_between(a: Rendered, b: Rendered, plane: str) -> NDArray[np.float64]:
    """(3, 3) float64 that takes pixels of `a` on a plane to pixels of `b`, exactly.

    Raises:
        ValueError: if the pictures show different things or have no such plane.
    """
    if not a.group or a.group != b.group:
        raise ValueError(f"'{a.name}' and '{b.name}' show different things; take two pictures of one group")
    found = [next((p for p in picture.planes if p.name == plane), None) for picture in (a, b)]
    if found[0] is None or found[1] is None:
        names = ", ".join(p.name for p in a.planes)
        raise ValueError(f"'{a.name}' has no plane '{plane}'; it has: {names}")
    matrix = found[1].homography @ np.linalg.inv(found[0].homography)
    return np.asarray(matrix / matrix[2, 2], np.float64)


def _kind(scene: str) -> Kind:
    if scene in _LANDSCAPES:
        return "still" if scene == "fruit" else "shelf" if scene == "bookshelf" else "open"
    return "street" if scene in _BUILDINGS else "table" if scene in _PACKAGES else "wall"


def _detail_for(size: tuple[int, int]) -> float:
    """Fineness of the textures: full for anything of 400 px or more; thumbnails would only average it away."""
    return 1.0 if max(size) >= _FULL_DETAIL_PX else 0.5 if max(size) >= _FULL_DETAIL_PX / 2 else 0.2


@lru_cache(maxsize=3)
def _model(scene: str, seed: int, view: int, fineness: float) -> Model:
    """The scene; `fineness` belongs to the key because finer textures draw more random numbers."""
    with detail(fineness):
        if scene in _BUILDINGS:
            return _BUILDINGS[scene](np.random.default_rng([seed, 1, *scene.encode()]))
        if scene in _PAINTINGS:
            return interiors.gallery(scene, seed, view, fineness)
        if scene in _PACKAGES:
            return interiors.kitchen(scene, seed, view, fineness)
        if scene == "poster":
            return interiors.poster_wall(seed, view, fineness)
        return _LANDSCAPES[scene](np.random.default_rng([seed, view, 2, *scene.encode()]))


def _occluders(names: tuple[str, ...], model: Model, rng: np.random.Generator) -> list[Quad]:
    """Things between the camera and the subject."""
    quads: list[Quad] = []
    for name in names:
        side = 1.0 if rng.random() < 0.5 else -1.0
        x = side * float(rng.uniform(1.2, 4.0))
        if name == "people":
            for _ in range(int(rng.integers(1, 3))):
                quads += props.person(
                    rng,
                    x + float(rng.uniform(-1, 1)),
                    float(rng.uniform(2.8, 4.2)) if model.distance_m > 12.5 else float(rng.uniform(1.3, 2.8)),
                )
        elif name == "lamp":
            quads += props.lamp_post(rng, x, 3.05)
        elif name == "tree":
            quads += props.tree(
                rng, 4.9 * side, 3.0, 4.3, 2.9, rng.uniform((0.24, 0.34, 0.13), (0.46, 0.42, 0.16)).tolist()
            )
        elif name == "van":
            quads += props.van(rng, float(rng.uniform(-3.2, -1.2)) - side * 2.0, 3.9)
    return quads


def _ground_truth(
    name: str,
    origin: NDArray[np.float64],
    right: NDArray[np.float64],
    down: NDArray[np.float64],
    camera: Camera,
    seen: NDArray[np.bool_],
) -> Plane:
    matrix = camera.matrix(origin, right, down)
    corners = np.array([[0.0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]) @ matrix.T
    pixels = corners[:, :2] / corners[:, 2:]
    scale = seen.shape[1] / camera.size[0]
    inside = np.zeros(seen.shape, np.uint8)
    cv2.fillConvexPoly(inside, np.round(((pixels + 0.5) * scale - 0.5) * 16).astype(np.int32), (1,), cv2.LINE_8, 4)
    area = float(cv2.contourArea(pixels.astype(np.float32))) * scale**2
    share = float(np.count_nonzero(inside & seen) / area) if area > 1 and corners[:, 2].min() > 0 else 0.0
    return Plane(name, np.asarray(matrix / matrix[2, 2], np.float64), pixels.astype(np.float32), min(1.0, share))


_DEMO_GROUPS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "Town": (("bakery", 4), ("chapel", 4), ("cinema", 4), ("museum", 4), ("timber-house", 4)),
    "Museum": (("composition", 3), ("currents", 3), ("hills", 3), ("portrait", 3)),
    "Kitchen": (("atlas", 3), ("oats", 3), ("tomatoes", 3)),
}
_DEMO_QUERIES = (
    ("bakery", 4),
    ("chapel", 5),
    ("timber-house", 5),
    ("museum", 4),
    ("hills", 4),
    ("portrait", 5),
    ("oats", 4),
)
_DEMO_STRANGER = ("tea", 0)
_DEMO_OTHERS = {
    "alley": "Town",
    "bookshelf": "Museum",
    "fruit": "Kitchen",
    "meadow": "Walks",
    "ridges": "Walks",
    "sea": "Walks",
}
_DEMO_COPY = ("Town/bakery-01.jpg", "Walks/IMG_2041 copy.jpg")


def write_demo(
    folder: Path,
    *,
    size: tuple[int, int] = (800, 600),
    seed: int = 0,
    scenes: Collection[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DemoSet:
    """Write a collection of photos, queries and their ground truth; files that exist are kept.

    `photos/` holds five buildings, four paintings and three packages from several views, six pictures without a
    partner and one exact copy under another name. `queries/` holds harder views, and one of a thing in no photo.
    `groundtruth.json` is {"gallery": [...], "queries": [{"query", "group", "relevant"}]}, with paths relative to
    `folder`.

    Args:
        folder: made if missing.
        size: (W, H) of the pictures.
        seed: another seed gives other buildings, paintings and packages.
        scenes: only these, for a quick look; all by default.
        progress: called with (pictures done, pictures in all).

    Returns:
        The paths, relative to `folder`.
    """
    folder = Path(folder)
    jobs: dict[str, tuple[str, int]] = {}
    relevant: dict[str, list[str]] = {}
    for place, groups in _DEMO_GROUPS.items():
        for scene, count in groups:
            relevant[scene] = [f"photos/{place}/{scene}-{view:02d}.jpg" for view in range(count)]
            jobs |= {path: (scene, view) for view, path in enumerate(relevant[scene])}
    jobs |= {f"photos/{place}/{scene}.jpg": (scene, 0) for scene, place in _DEMO_OTHERS.items()}
    questions = {f"queries/{scene}-{view:02d}.jpg": (scene, view) for scene, view in (*_DEMO_QUERIES, _DEMO_STRANGER)}
    if scenes is not None:
        jobs, questions = ({k: v for k, v in d.items() if v[0] in scenes} for d in (jobs, questions))
    original, copy = (f"photos/{name}" for name in _DEMO_COPY)
    copies = [copy] if original in jobs else []
    total = len(jobs) + len(questions) + len(copies)
    # Scene by scene, so that each is built once, whichever folder its pictures go to.
    ordered = sorted([*jobs.items(), *questions.items()], key=lambda item: item[1])
    for done, (path, (scene, view)) in enumerate(ordered, start=1):
        if not (folder / path).exists():
            buffer = BytesIO()
            Image.fromarray(render(scene, view, size=size, seed=seed).pixels).save(buffer, "JPEG", quality=90)
            _write_atomically(folder / path, buffer.getvalue())
        if progress is not None:
            progress(done, total)
    if copies and not (folder / copy).exists():
        _write_atomically(folder / copy, (folder / original).read_bytes())
    if copies:
        relevant[jobs[original][0]].append(copy)
    gallery = sorted([*jobs, *copies])
    truth = {
        "gallery": gallery,
        "queries": [
            {"query": path, "group": scene, "relevant": relevant.get(scene, [])}
            for path, (scene, _) in questions.items()
        ],
    }
    target = folder / "groundtruth.json"
    _write_atomically(target, (json.dumps(truth, indent=2) + "\n").encode())
    if progress is not None:
        progress(total, total)
    return DemoSet(folder, tuple(gallery), tuple(questions), target)


def _write_atomically(target: Path, data: bytes) -> None:
    """Write beside the target, then rename: an interrupted run leaves no half picture."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = target.with_name(f".{target.name}.part")
    temp.write_bytes(data)
    os.replace(temp, target)
