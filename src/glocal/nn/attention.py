"""Where to look: the attention of DELG and DOLG over the positions of a map."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class Attended(NamedTuple):
    """What the attention makes of a map.

    Attributes:
        attention: (B, 1, H, W), positive.
        projected: (B, hidden, H, W), the normalised projection before the ReLU.
    """

    attention: Tensor
    projected: Tensor


class SpatialAttention(nn.Module):
    """Two 1x1 convolutions: project, normalise, ReLU, score, softplus (DELG section 3.2, DOLG section 3.2)."""

    def __init__(self, channels: int, hidden: int, bn_eps: float = 1e-5, bn_momentum: float = 0.1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.bn = nn.BatchNorm2d(hidden, eps=bn_eps, momentum=bn_momentum)
        self.conv2 = nn.Conv2d(hidden, 1, 1)
        for conv in (self.conv1, self.conv2):
            nn.init.normal_(conv.weight, std=math.sqrt(2.0 / conv.out_channels))

    def forward(self, maps: Tensor) -> Attended:
        """(B, C, H, W) -> attention (B, 1, H, W) and projection (B, hidden, H, W)."""
        projected = self.bn(self.conv1(maps))
        return Attended(F.softplus(self.conv2(F.relu(projected))), projected)
