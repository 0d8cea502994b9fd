"""What must be done to a photo before a network sees it, and to its maps afterwards: part of every model.

A descriptor is comparable only with one that was made in the same way, so these values travel with the
weights (`config.json`), not with the program that happens to run.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any

from glocal.errors import ConfigError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
SEVEN_SCALES = (0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0)
PRECISIONS = ("float32", "bfloat16")
RESIZE_RULES = ("area", "bilinear", "lanczos")
LEVEL_RULES = ("size", "factor")
QUERY_TURNS = (1, 4)
THRESHOLD_RULES = ("fixed", "halving")


_MOST_SCALES, _LARGEST_SCALE = 32, 8.0
_LARGEST = 1 << 16  # pixels


def _expect_number(name: str, value: Any, least: float, most: float, whole: bool = False) -> None:
    """Values come from files that people edit: NaN, texts and nonsense are refused, with the field's name."""
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"{name} must be {kind} from {least:g} to {most:g}, not {value!r}")


def _expect_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f'{name} must be one of {", ".join(allowed)}, not "{value}"')


@dataclass(frozen=True, slots=True)
class LocalSelection:
    """How local features are chosen from the attention maps of a pyramid.

    Attributes:
        stride: pixels between two cells of the local map.
        receptive_field: side of the region that one cell sees, in pixels of its pyramid level.
        padding: offset of the first cell's region to the left of the picture, in pixels of its level.
        threshold: least attention (`fixed`), or the first one that is tried (`halving`).
        threshold_rule: "fixed" keeps score >= threshold; "halving" keeps score > threshold and halves it
            until enough are found or it falls below 0.1 (the PyTorch DELG).
        max_features: most local features of one photo.
        iou: a region that overlaps a better one by more than this is dropped; 1 drops none.
        half_pixel: keypoints with the half-pixel correction of the resizing; False is the published formula.
        bug_compat: repeat the first feature instead of dropping suppressed ones, as the PyTorch DELG does.
    """

    stride: int = 16
    receptive_field: int = 291
    padding: int = 145
    threshold: float = 0.0
    threshold_rule: str = "fixed"
    max_features: int = 1000
    iou: float = 1.0
    half_pixel: bool = False
    bug_compat: bool = False

    def __post_init__(self) -> None:
        _expect_one_of("threshold_rule", self.threshold_rule, THRESHOLD_RULES)
        for name in ("stride", "receptive_field", "max_features"):
            _expect_number(name, getattr(self, name), 1, _LARGEST, whole=True)
        _expect_number("padding", self.padding, 0, _LARGEST, whole=True)
        _expect_number("threshold", self.threshold, 0, 1e9)
        _expect_number("iou", self.iou, 0, 1)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a photo becomes the network's input.

    Attributes:
        mean: subtracted from RGB values of 0 to 255.
        std: what the difference is divided by.
        image_size: longest side in pixels to which a larger photo is reduced; 0 leaves it as it is.
        resize: interpolation of that reduction: "area" (ours), "bilinear" (DELG), "lanczos" (Token).
        scales: factors of the pyramid from which the global descriptor is averaged.
        local_scales: factors at which local features are found; empty for a model without them.
        level_rule: "size" rounds the sides of a level and maps coordinates by their ratio (DELG, DOLG);
            "factor" floors them and maps by the factor (Token).
        local: how local features are selected.
        query_turns: in how many ways a query is described: 1 as it is, 4 also turned by 90, 180 and 270 degrees, for
            networks that take a thing on its side for another; the photos of a collection are described as they are.
        precision: "bfloat16" lets devices that have it compute convolutions and products in it (twice as fast and more;
            descriptors differ in the third digit); others, and "float32", compute in float32.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    image_size: int = 1024
    resize: str = "area"
    scales: tuple[float, ...] = (1.0,)
    local_scales: tuple[float, ...] = ()
    level_rule: str = "size"
    local: LocalSelection = LocalSelection()
    query_turns: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.query_turns not in QUERY_TURNS:
            raise ConfigError(f"query_turns must be 1 or 4, not {self.query_turns!r}")
        _expect_one_of("resize", self.resize, RESIZE_RULES)
        _expect_one_of("precision", self.precision, PRECISIONS)
        _expect_one_of("level_rule", self.level_rule, LEVEL_RULES)
        _expect_number("image_size", self.image_size, 0, _LARGEST, whole=True)
        for name, least, most in (("mean", -1e4, 1e4), ("std", 1e-6, 1e4)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != 3:
                raise ConfigError(f"{name} must be three numbers, not {values!r}")
            for value in values:
                _expect_number(name, value, least, most)
        for name in ("scales", "local_scales"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) > _MOST_SCALES:
                raise ConfigError(f"{name} must be a list of at most {_MOST_SCALES} numbers, not {values!r}")
            for value in values:
                _expect_number(name, value, 0.01, _LARGEST_SCALE)
        if not self.scales:
            raise ConfigError("scales must name at least one")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Preprocessing:
        """Read what `to_dict` gave, after a detour through JSON.

        Raises:
            ConfigError: a field is unknown or makes no sense; the message names the nearest.
        """
        values = dict(fields)
        local = values.pop("local", {})
        _expect_known(values, cls)
        _expect_known(local, LocalSelection)
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**(values | lists), local=LocalSelection(**local))


def _expect_known(fields: dict[str, Any], kind: type) -> None:
    known = [field.name for field in dataclasses.fields(kind)]
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise ConfigError(
                f'Unknown field "{name}" of {kind.__name__}.{f" Did you mean {near[0]}?" if near else ""}'
            )
