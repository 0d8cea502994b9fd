"""Photos -> the two feature maps that every model here reads, by the name of the backbone.

Parameters carry torchvision's names, so ImageNet checkpoints in that naming load as they are.
"""

from __future__ import annotations

from typing import Any

from glocal.errors import ConfigError
from glocal.nn.feature_maps import Backbone
from glocal.nn.mobilenet import MobileNetV2
from glocal.nn.resnet import ResNet

TIMM_PREFIX = "timm:"
BACKBONES = ("resnet50", "resnet101", "mobilenetv2")


def create_backbone(name: str, **options: Any) -> Backbone:
    """Build a backbone with random weights.

    Args:
        name: one of `BACKBONES`, or "timm:" and the name of a timm model (extra `timm`).
        **options: for a ResNet its `variant`.

    Raises:
        ConfigError: there is no such backbone.
        BackendUnavailable: timm is not installed.
    """
    if name.startswith(TIMM_PREFIX):
        from glocal.nn.timm_backbone import TimmBackbone  # noqa: PLC0415 - an optional dependency

        return TimmBackbone(name.removeprefix(TIMM_PREFIX), **options)
    if name == "mobilenetv2":
        return MobileNetV2(**options)
    if name in ("resnet50", "resnet101"):
        return ResNet(int(name.removeprefix("resnet")), **options)
    raise ConfigError(f'Unknown backbone "{name}". Choose from {", ".join(BACKBONES)}, or timm:NAME.')
