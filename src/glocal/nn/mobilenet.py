"""MobileNetV2 1.0: a backbone of 2.2 million parameters for machines without a GPU."""

from __future__ import annotations

from torch import Tensor, nn

from glocal.nn.feature_maps import Backbone, FeatureMaps

# Expansion, channels, blocks, stride of the first block (Sandler et al., CVPR 2018, table 2).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_LAST = 1280


def _unit(channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, normalisation, ReLU6."""
    conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow without ReLU; add the input where the shapes allow it."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        layers: list[nn.Module] = [_unit(channels, wide)] if expansion != 1 else []
        layers += [_unit(wide, wide, 3, stride, groups=wide), nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out)]
        self.conv = nn.Sequential(*layers)
        self._residual = stride == 1 and channels == out

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H / stride, W / stride)."""
        return maps + self.conv(maps) if self._residual else self.conv(maps)


class MobileNetV2(Backbone):
    """The convolutional part of MobileNetV2.

    c4 is the widened map inside the first block of stride 32 (576 channels): the last at stride 16, and a
    far better descriptor than the 96 channels from which it is made. So is c3 at stride 8 (192 channels).
    """

    channels = (576, _LAST)
    c3_channels = 192

    def __init__(self) -> None:
        super().__init__()
        features: list[nn.Module] = [_unit(3, 32, 3, 2)]
        channels = 32
        for expansion, out, count, stride in STAGES:
            for i in range(count):
                features.append(InvertedResidual(channels, out, stride if i == 0 else 1, expansion))
                channels = out
        features.append(_unit(channels, _LAST))
        self.features = nn.Sequential(*features)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, images: Tensor) -> FeatureMaps:
        """(B, 3, H, W) RGB -> c4 (B, 576, H / 16, W / 16), c5 (B, 1280, H / 32, W / 32), c3 (B, 192, H / 8, W / 8)."""
        c3, maps = _through_wide(self.features[7], self.features[:7](images))
        c4, maps = _through_wide(self.features[14], self.features[8:14](maps))
        return FeatureMaps(c4, self.features[15:](maps), c3)


def _through_wide(block: nn.Module, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The widened map inside a block that halves the resolution, and what the block gives: it has no residual."""
    layers = block.get_submodule("conv")
    assert isinstance(layers, nn.Sequential)
    wide = layers[0](maps)
    return wide, layers[1:](wide)
