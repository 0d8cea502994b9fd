"""What a backbone gives, and what is known of it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class FeatureMaps(NamedTuple):
    """Two levels of a backbone (the papers' conv4_x and conv5_x).

    Attributes:
        c4: (B, C4, ceil(H / 16), ceil(W / 16)), the shallow map; the Keras ResNet subsamples it to stride 32.
        c5: (B, C5, ceil(H / 32), ceil(W / 32)), the deep map.
    """

    c4: Tensor
    c5: Tensor


class Backbone(nn.Module):
    """The base of all backbones: (B, 3, H, W) normalised RGB -> FeatureMaps.

    Attributes:
        channels: (C4, C5).
        c4_stride: pixels between two cells of c4.
        min_side: the least height and width in pixels for which both maps have a cell.
    """

    channels: tuple[int, int]
    c4_stride: int = 16
    min_side: int = 1

    def forward(self, images: Tensor) -> FeatureMaps:
        """(B, 3, H, W) -> the two maps."""
        raise NotImplementedError
