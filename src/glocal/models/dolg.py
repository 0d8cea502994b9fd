"""DOLG: deep orthogonal fusion of local and global features (Yang et al., ICCV 2021, figure 2).

| | paper | released code | here |
|---|---|---|---|
| multi-atrous branch | three dilated convolutions | five branches, never enabled | `multi_atrous`: five branches |
| GeM p | 3 | learned; 3 in the first commit | `learn_p` |
| pooling of the fused map | average after the concatenation | average before it | before it: the same numbers |
| loss | ArcFace | curricular, called ArcFace | both, in `glocal.nn.margin_head` |
| descriptor | 512 | 512 | `dim` |

The released weights have no multi-atrous branch; the paper's model, the default here, has one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glocal.nn.attention import SpatialAttention
from glocal.nn.backbone import create_backbone
from glocal.nn.feature_maps import Backbone, FeatureMaps
from glocal.nn.gem import GeM
from glocal.nn.multi_atrous import MultiAtrous
from glocal.ops.fusion import orthogonal_component


class Dolg(nn.Module):
    """The network of figure 2.

    Args:
        backbone: gives the two maps.
        dim: D of the descriptor.
        width: channels of the local and of the global feature that are fused.
        multi_atrous: with the multi-atrous branch of the paper.
        hidden: channels of each of its branches.
        learn_p: train the exponent of GeM.
    """

    def __init__(
        self,
        backbone: Backbone,
        dim: int = 512,
        width: int = 1024,
        multi_atrous: bool = True,
        hidden: int = 512,
        learn_p: bool = True,
    ) -> None:
        super().__init__()
        shallow, deep = backbone.channels
        self.backbone = backbone
        self.multi_atrous = MultiAtrous(shallow, width, hidden) if multi_atrous else None
        self.attention = SpatialAttention(width if multi_atrous else shallow, width)
        self.pool = GeM(3.0, learn_p)
        self.reduce = nn.Linear(deep, width)
        self.project = nn.Linear(2 * width, dim)
        self.dim, self.local_dim = dim, 0

    def local_branch(self, c4: Tensor) -> Tensor:
        """(B, 1024, h, w) -> (B, width, h, w): context, then self-attention (figure 3)."""
        context = c4 if self.multi_atrous is None else self.multi_atrous(c4)
        attention, projected = self.attention(context)
        return attention * F.normalize(projected, dim=1)

    def describe(self, maps: FeatureMaps) -> Tensor:
        """The two maps -> (B, D) of unit norm: orthogonal fusion (figure 4)."""
        f_local = self.local_branch(maps.c4)  # (B, width, h, w)
        f_global = self.reduce(self.pool(maps.c5))  # (B, width)
        f_orth = orthogonal_component(f_local, f_global)  # (B, width, h, w)
        fused = torch.cat([f_global, f_orth.mean(dim=(2, 3))], dim=1)  # (B, 2 width)
        return F.normalize(self.project(fused), dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised RGB -> (B, D) descriptors of unit norm."""
        return self.describe(self.backbone(images))


def dolg(backbone: str = "resnet50", resnet: str | None = None, **options: Any) -> Dolg:
    """Build DOLG with random weights; `resnet` as in `create_backbone`, the rest as in `Dolg`.

    Raises:
        ConfigError: there is no such backbone.
    """
    return Dolg(create_backbone(backbone, resnet), **options)
