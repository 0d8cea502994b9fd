"""The baselines: one pooling of the deep map and a linear whitening, at equal backbone.

What DELG, DOLG and Token add is the difference to these, with nothing but the name of the model changed:
MAC and R-MAC (Tolias et al., ICLR 2016), SPoC (Babenko and Lempitsky, ICCV 2015), GeM (Radenović et al., TPAMI 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from glocal.nn.backbone import create_backbone
from glocal.nn.feature_maps import Backbone, FeatureMaps
from glocal.nn.gem import GeM
from glocal.ops.pooling import mac, rmac, spoc

POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {"mac": mac, "rmac": rmac, "spoc": spoc}


class PooledBackbone(nn.Module):
    """Backbone, pooling, whitening.

    Args:
        backbone: gives the deep map.
        pooling: "gem", "mac", "rmac" or "spoc".
        dim: D of the descriptor; 0 leaves the whitening out.
        learn_p: train the exponent of GeM.
    """

    def __init__(self, backbone: Backbone, pooling: str, dim: int = 2048, learn_p: bool = True) -> None:
        super().__init__()
        channels = backbone.channels[1]
        self.backbone = backbone
        self.pool = GeM(3.0, learn_p) if pooling == "gem" else POOLINGS[pooling]
        self.whiten = nn.Linear(channels, dim) if dim else nn.Identity()
        self.dim, self.local_dim = dim or channels, 0

    def describe(self, maps: FeatureMaps) -> Tensor:
        """The two maps -> (B, D) of unit norm; only c5 is read."""
        pooled = F.normalize(self.pool(maps.c5), dim=1)  # (B, C5)
        return F.normalize(self.whiten(pooled), dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised RGB -> (B, D) descriptors of unit norm."""
        return self.describe(self.backbone(images))


def pooled_backbone(
    pooling: str, backbone: str = "resnet50", resnet: str | None = None, **options: Any
) -> PooledBackbone:
    """Build a baseline with random weights; `resnet` as in `create_backbone`, the rest as in `PooledBackbone`.

    Raises:
        ConfigError: there is no such backbone.
    """
    return PooledBackbone(create_backbone(backbone, resnet), pooling, **options)
