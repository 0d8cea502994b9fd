"""Photos -> the two feature maps that every model here reads, by the name of the backbone.

Parameters carry torchvision's names, so ImageNet checkpoints in that naming load as they are.
"""

from __future__ import annotations

from glocal.errors import ConfigError
from glocal.nn.feature_maps import Backbone
from glocal.nn.mobilenet import MobileNetV2
from glocal.nn.resnet import ResNet

TIMM_PREFIX = "timm:"
RESNETS = {"resnet50": 50, "resnet101": 101}
BACKBONES = (*RESNETS, "mobilenetv2")


def create_backbone(name: str, resnet: str | None = None) -> Backbone:
    """Build a backbone with random weights.

    Args:
        name: one of `BACKBONES`, or "timm:" and the name of a timm model (extra `timm`).
        resnet: the variant of a ResNet, see `glocal.nn.resnet.VARIANTS`; None is torchvision's.

    Raises:
        ConfigError: there is no such backbone or variant.
        BackendUnavailable: timm is not installed.
    """
    if name in RESNETS:
        return ResNet(RESNETS[name], resnet or "torchvision")
    if resnet is not None:
        raise ConfigError(f'{name} is no ResNet: it has no variant "{resnet}". → leave resnet={resnet} out')
    if name.startswith(TIMM_PREFIX):
        from glocal.nn.timm_backbone import TimmBackbone  # noqa: PLC0415 - an optional dependency

        return TimmBackbone(name.removeprefix(TIMM_PREFIX))
    if name == "mobilenetv2":
        return MobileNetV2()
    raise ConfigError(f'Unknown backbone "{name}". Choose from {", ".join(BACKBONES)}, or timm:NAME.')
