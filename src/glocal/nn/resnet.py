"""ResNet-50 and -101 in the variants that the published systems used."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from glocal.errors import ConfigError
from glocal.nn.feature_maps import Backbone, FeatureMaps

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_EXPANSION = 4


@dataclass(frozen=True, slots=True)
class Variant:
    """In what released ResNets differ.

    Attributes:
        stride_on_first: a block's stride sits on its first 1x1 convolution instead of the 3x3.
        same_padding: TensorFlow's padding around the first convolution, none around the max-pooling.
        biased: convolutions have biases.
        bn_eps, bn_momentum: of the batch normalisation, in PyTorch's meaning.
        subsampled_c4: every second cell of c4 is dropped, and the last stage keeps its stride
            (`block3_strides` of the TensorFlow DELG).
    """

    stride_on_first: bool = False
    same_padding: bool = False
    biased: bool = False
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1
    subsampled_c4: bool = False


VARIANTS = {
    "torchvision": Variant(),  # also pycls, of DOLG and the PyTorch DELG
    "caffe": Variant(stride_on_first=True),  # the initialisation of cnnimageretrieval-pytorch
    "keras": Variant(stride_on_first=True, same_padding=True, biased=True, bn_eps=1e-3, bn_momentum=0.01),
    "keras_subsampled": Variant(
        stride_on_first=True, same_padding=True, biased=True, bn_eps=1e-3, bn_momentum=0.01, subsampled_c4=True
    ),
}


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, and the identity or its projection (He et al., CVPR 2016)."""

    def __init__(self, channels: int, width: int, stride: int, variant: Variant) -> None:
        super().__init__()
        out = width * _EXPANSION
        first, second = (stride, 1) if variant.stride_on_first else (1, stride)

        def norm(size: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(size, eps=variant.bn_eps, momentum=variant.bn_momentum)

        self.conv1 = nn.Conv2d(channels, width, 1, first, bias=variant.biased)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, bias=variant.biased)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=variant.biased)
        self.bn3 = norm(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=variant.biased), norm(out))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 width, ceil(H / stride), ceil(W / stride))."""
        identity = maps if self.downsample is None else self.downsample(maps)
        maps = F.relu(self.bn1(self.conv1(maps)))
        maps = F.relu(self.bn2(self.conv2(maps)))
        return F.relu(self.bn3(self.conv3(maps)) + identity)


class ResNet(Backbone):
    """The convolutional part of a ResNet.

    Args:
        depth: 50, 101 or 152.
        variant: a key of `VARIANTS`.

    Raises:
        ConfigError: no such depth or variant.
    """

    def __init__(self, depth: int = 50, variant: str = "torchvision") -> None:
        super().__init__()
        if depth not in DEPTHS or variant not in VARIANTS:
            raise ConfigError(f"no ResNet-{depth} of variant '{variant}': choose from {list(DEPTHS)}, {list(VARIANTS)}")
        self._variant = VARIANTS[variant]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=0 if self._variant.same_padding else 3, bias=self._variant.biased)
        self.bn1 = nn.BatchNorm2d(64, eps=self._variant.bn_eps, momentum=self._variant.bn_momentum)
        self.maxpool = nn.MaxPool2d(3, 2, padding=0 if self._variant.same_padding else 1)
        blocks = DEPTHS[depth]
        self.layer1 = self._stage(64, 64, blocks[0], 1)
        self.layer2 = self._stage(256, 128, blocks[1], 2)
        self.layer3 = self._stage(512, 256, blocks[2], 2)
        self.layer4 = self._stage(1024, 512, blocks[3], 1 if self._variant.subsampled_c4 else 2)
        self.channels = (1024, 2048)
        self.c3_channels = 512
        self.c4_stride = 32 if self._variant.subsampled_c4 else 16
        self.min_side = 5 if self._variant.same_padding else 1  # the unpadded max-pooling needs three cells
        self._initialise()

    def _stage(self, channels: int, width: int, count: int, stride: int) -> nn.Sequential:
        blocks = [Bottleneck(channels, width, stride, self._variant)]
        blocks += [Bottleneck(width * _EXPANSION, width, 1, self._variant) for _ in range(count - 1)]
        return nn.Sequential(*blocks)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size)
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
            elif isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)  # every block starts as the identity

    def stem(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 64, H / 4, W / 4)."""
        if self._variant.same_padding:
            images = F.pad(images, _same_padding(images.shape[3]) + _same_padding(images.shape[2]))
        return self.maxpool(F.relu(self.bn1(self.conv1(images))))

    def forward(self, images: Tensor) -> FeatureMaps:
        """(B, 3, H, W) RGB -> c4 (B, 1024, H / 16, W / 16), c5 (B, 2048, H / 32, W / 32), c3 (B, 512, H / 8, W / 8)."""
        c3 = self.layer2(self.layer1(self.stem(images)))
        c4 = self.layer3(c3)
        if self._variant.subsampled_c4:
            c4 = c4[:, :, ::2, ::2]
        return FeatureMaps(c4, self.layer4(c4), c3)


def _same_padding(side: int, kernel: int = 7, stride: int = 2) -> tuple[int, int]:
    """TensorFlow's SAME: what is missing is added before and after, the odd one after."""
    missing = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return missing // 2, missing - missing // 2
