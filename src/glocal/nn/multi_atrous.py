"""The multi-atrous branch of DOLG."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DILATIONS = (6, 12, 18)


class MultiAtrous(nn.Module):
    """Context at several ranges beside every position (DOLG section 3.2, figure 2).

    The paper's figure shows the three dilated convolutions; the released code has a 1x1 convolution and the
    mean of the whole map beside them, and so has this.
    """

    def __init__(self, channels: int, width: int, hidden: int = 512) -> None:
        super().__init__()
        kernels = [nn.Conv2d(channels, hidden, 1)]
        kernels += [nn.Conv2d(channels, hidden, 3, padding=d, dilation=d) for d in DILATIONS]
        self.branches = nn.ModuleList(kernels)
        self.image_pool = nn.Conv2d(channels, hidden, 1)
        self.merge = nn.Conv2d(hidden * (2 + len(DILATIONS)), width, 1)
        for conv in (*kernels, self.image_pool, self.merge):
            fan_out = conv.out_channels * math.prod(conv.kernel_size)
            nn.init.normal_(conv.weight, std=math.sqrt(2.0 / fan_out))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H, W), not negative."""
        whole = F.relu(self.image_pool(maps.mean(dim=(2, 3), keepdim=True)))
        parts = [whole.expand(-1, -1, *maps.shape[2:])] + [branch(maps) for branch in self.branches]
        return F.relu(self.merge(torch.cat(parts, dim=1)))
