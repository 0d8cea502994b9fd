"""A training run as a file: TOML, one table per part, every field checked, the nearest name told for an unknown one.

Defaults are those of the published code where there is one, and are named where they are ours.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glocal.errors import ConfigError
from glocal.models.catalogue import canonical_name
from glocal.models.preprocessing import PRECISIONS

SOURCES = ("folder", "csv", "list", "gldv2", "webdataset")
HEADS = ("arcface", "cosface", "curricular", "subcentre")
SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True, slots=True)
class ModelPart:
    """Which network is trained.

    Attributes:
        name: of the catalogue.
        options: of `create_model`.
        init: a checkpoint that fills the backbone, or the folder of a model: of the same name it fills everything, of
            another the backbone and a local head of the same shape; empty for random.
        freeze: stop the gradient at these parameters: names that begin so ("backbone.layer1").
        freeze_statistics: normalisations of the backbone keep the means and variances that they began with; their
            scales and offsets still learn (usual where photos are few).
        whitening: begin with a projection that whitens the training photos, components divided by variance to this
            power: 0.5 for all, 0 for a random projection (ours).
        local_whitening: the same for local descriptors, over cells.
    """

    name: str = "gem_mobilenetv2"
    options: dict[str, Any] = field(default_factory=dict)
    init: str = ""
    freeze: tuple[str, ...] = ()
    freeze_statistics: bool = False
    whitening: float = 0.0
    local_whitening: float = 0.0


@dataclass(frozen=True, slots=True)
class DataPart:
    """What it is trained on.

    Attributes:
        source: "folder" (one per object), "csv" (path,label), "list" ("path label" per line), "gldv2" (its own
            layout) or "webdataset" (tar shards of key.jpg and key.json).
        path: the folder, file or shards.
        root: where relative paths begin; empty for the place of the list.
        label: webdataset: the field of key.json that names the class.
        only: fields of key.json (webdataset) or columns (csv) and the values that are taken: {tier = ["A"]}.
        clean: gldv2: train_clean.csv instead of train.csv.
        unlabelled: photos without a label become classes of their own.
        held_back: share of the classes that validation gets and training does not.
        split_seed: which classes those are.
        image_size: side in pixels of the square that the network sees.
        balanced: draw classes equally often instead of photos.
    """

    source: str = "folder"
    path: str = ""
    root: str = ""
    label: str = "group"
    only: dict[str, Any] = field(default_factory=dict)
    clean: bool = True
    unlabelled: bool = False
    held_back: float = 0.1
    split_seed: int = 0
    image_size: int = 512
    balanced: bool = False


@dataclass(frozen=True, slots=True)
class AugmentPart:
    """How a photo is changed before the network sees it.

    Attributes:
        area: share of the photo's area that the crop has, least and most.
        aspect: width over height of the crop, least and most.
        flip: probability of a mirror image.
        lighting: standard deviation of the shift along the colours' principal axes (AlexNet's; 0 for none).
        jitter: largest change of brightness, contrast, saturation and hue.
        jitter_probability: how often colours are changed.
        perspective: largest move of a corner, as a share of the side (ours; 0 for none).
        rotation: largest angle in degrees (ours; 0 for none).
        erase: probability that a rectangle of 2 to 20 % is covered (ours; 0 for none).
        scene: probability that the crop becomes a facade in a rendered scene: relief, viewpoint, light, weather,
            occluders (ours; 0 for none).
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (0.75, 1.3333333)
    flip: float = 0.5
    lighting: float = 0.0
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_probability: float = 0.8
    perspective: float = 0.0
    rotation: float = 0.0
    erase: float = 0.0
    scene: float = 0.0


@dataclass(frozen=True, slots=True)
class LossPart:
    """What is minimised.

    Attributes:
        head: "arcface", "cosface", "curricular" or "subcentre" (ArcFace with several centres per class).
        margin: for the true class: radians, or a cosine for cosface.
        scale: of the cosines.
        learn_scale: train the scale (DELG's paper); for arcface.
        num_centres: per class, for subcentre.
        num_sampled: classes that a step compares with besides its own, drawn at random (Partial FC); 0 takes all.
        attention_weight: beta, for models with local features.
        reconstruction_weight: lambda, for models with an autoencoder.
        correspondence_weight: of the loss of corresponding cells (`glocal.train.correspondence`), for models with local
            features; 0 leaves it out. Otherwise every photo gives two rendered views per step (ours).
        reliability_weight: of the attention's forecast which of those cells find each other (ours).
        imprint: begin with the mean descriptor of every class instead of random class weights (ours).
        fixed_classes: class weights do not learn; with `imprint` the views of a photo are drawn to what the network
            said of it before training, which keeps it from forgetting (ours).
    """

    head: str = "arcface"
    margin: float = 0.15
    scale: float = 30.0
    learn_scale: bool = False
    num_centres: int = 3
    num_sampled: int = 0
    attention_weight: float = 1.0
    reconstruction_weight: float = 10.0
    correspondence_weight: float = 0.0
    reliability_weight: float = 0.0
    imprint: bool = False
    fixed_classes: bool = False


@dataclass(frozen=True, slots=True)
class OptimiserPart:
    """Stochastic gradient descent.

    Attributes:
        lr: the peak.
        momentum: of the gradient.
        nesterov: look ahead.
        weight_decay: of matrices and kernels.
        decay_vectors: decay biases and normalisations too.
        clip_norm: largest norm of all gradients together; 0 for none.
        backbone_lr: factor of lr for the backbone (ours).
    """

    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    decay_vectors: bool = True
    clip_norm: float = 0.0
    backbone_lr: float = 1.0


@dataclass(frozen=True, slots=True)
class SchedulePart:
    """How the learning rate moves.

    Attributes:
        kind: "cosine" or "linear", both to zero, or "constant".
        epochs: length of the run; counted when `steps` is 0.
        steps: length of the run in optimiser steps; 0 counts epochs.
        warmup_epochs: linear rise at the start.
        warmup_factor: share of the rate at which that begins.
        per_epoch: the rate changes once per epoch (DOLG's code), not at every step.
    """

    kind: str = "cosine"
    epochs: float = 100.0
    steps: int = 0
    warmup_epochs: float = 0.0
    warmup_factor: float = 0.1
    per_epoch: bool = False


@dataclass(frozen=True, slots=True)
class RunPart:
    """How the machine is used.

    Attributes:
        batch_size: views per optimiser step, over all processes; one of each photo, two with correspondences.
        accumulate: into how many passes a step is divided.
        seed: of weights, order and augmentation.
        precision: "float32" or "bfloat16" (mixed).
        channels_last: memory order of maps.
        sync_bn: batch statistics over all processes; with one process it changes nothing.
        compile: let torch.compile write kernels for the step: a minute or more at the start, faster steps on a GPU.
        ema: decay of the averaged weights that are validated and saved; 0 for none.
        workers: threads that read and augment photos.
        checkpoint_every_s: seconds between two checkpoints.
        validate_every: epochs between two validations; 0 only at the end.
    """

    batch_size: int = 64
    accumulate: int = 1
    seed: int = 0
    precision: str = "float32"
    channels_last: bool = True
    sync_bn: bool = False
    compile: bool = False
    ema: float = 0.0
    workers: int = 4
    checkpoint_every_s: float = 300.0
    validate_every: float = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """All parts of a run; see the classes of the parts."""

    name: str = "unnamed"
    about: str = ""
    model: ModelPart = field(default_factory=ModelPart)
    data: DataPart = field(default_factory=DataPart)
    augment: AugmentPart = field(default_factory=AugmentPart)
    loss: LossPart = field(default_factory=LossPart)
    optimiser: OptimiserPart = field(default_factory=OptimiserPart)
    schedule: SchedulePart = field(default_factory=SchedulePart)
    run: RunPart = field(default_factory=RunPart)

    def __post_init__(self) -> None:
        canonical_name(self.model.name)
        for name, value, allowed in (
            ("data.source", self.data.source, SOURCES),
            ("loss.head", self.loss.head, HEADS),
            ("schedule.kind", self.schedule.kind, SCHEDULES),
            ("run.precision", self.run.precision, PRECISIONS),
        ):
            if value not in allowed:
                raise ConfigError(f'{name} must be one of {", ".join(allowed)}, not "{value}"')
        positive = {
            "data.image_size": self.data.image_size,
            "optimiser.lr": self.optimiser.lr,
            "run.batch_size": self.run.batch_size,
            "run.accumulate": self.run.accumulate,
            "run.workers": self.run.workers,
            "schedule.epochs": self.schedule.epochs,
            "loss.num_centres": self.loss.num_centres,
            "augment.area": self.augment.area[0],
            "augment.aspect": self.augment.aspect[0],
        }
        for name, number in positive.items():
            if number <= 0:
                raise ConfigError(f"{name} must be positive, not {number}")
        if self.run.batch_size % self.run.accumulate:
            raise ConfigError(
                f"run.accumulate ({self.run.accumulate}) must divide run.batch_size ({self.run.batch_size})"
            )
        if not (0 <= self.data.held_back < 1 and self.augment.area[0] <= self.augment.area[1] <= 1):
            raise ConfigError("data.held_back must lie in [0, 1), augment.area in (0, 1] with the lesser first")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The resolved recipe, as it is saved with the run."""
        return json.dumps(self.to_dict(), indent=1)


def load_recipe(source: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        source: a .toml file, or the .json that a run has saved.
        overrides: "part.key=value", with a TOML value; a bare word counts as a text.

    Raises:
        ConfigError: no such file, no TOML, an unknown key or a value of the wrong kind; the nearest key is named.
    """
    try:
        text = source.read_text("utf-8")
        values = json.loads(text) if source.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"No such recipe: {source}. → ls recipes/") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{source} is not a recipe: {error}") from error
    for word in overrides:
        _override(values, word)
    recipe: Recipe = _build(Recipe, values, "")
    return recipe


def _override(values: dict[str, Any], word: str) -> None:
    path, equals, text = word.partition("=")
    if not equals or not all(part.isidentifier() for part in path.split(".")):
        raise ConfigError(f'"{word}" is not an override: write part.key=value, such as run.batch_size=32')
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, key = path.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f'"{word}": {table} is a value, not a table')
    values[key] = value


def _build(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    """A dataclass from plain values, each checked against its field's type."""
    hints = typing.get_type_hints(kind)
    if not isinstance(values, Mapping):
        raise ConfigError(f"[{where.rstrip('.')}] must be a table, not {values!r}")
    built = {}
    for key, value in values.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1, cutoff=0.5)
            hint = f" Did you mean {where}{near[0]}?" if near else f" Known: {', '.join(hints)}."
            raise ConfigError(f'Unknown key "{where}{key}" in the recipe.{hint}')
        built[key] = _convert(hints[key], value, f"{where}{key}")
    return kind(**built)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, f"{where}.")
    origin = typing.get_origin(hint)
    if origin is dict and isinstance(value, dict):
        return value
    if origin is tuple and isinstance(value, list):
        kinds = typing.get_args(hint)
        kinds = (kinds[0],) * len(value) if kinds[-1] is types.EllipsisType or kinds[-1] is ... else kinds
        if len(kinds) == len(value):
            return tuple(_convert(kind, each, where) for kind, each in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise ConfigError(f"{where} must be of type {wanted if origin is None else hint}, not {value!r}")
