"""DELG: deep local and global features in one network (Cao, Araujo and Sim, ECCV 2020, figure 2).

| | paper | TensorFlow code, `tf` | PyTorch port, `torch` | Token's repository, `token` |
|---|---|---|---|---|
| GeM p | 3 | 3 | learned | 3 |
| before the whitening | - | - | - | unit norm |
| global descriptor | 2048 | 2048 | 512 | 2048 |
| local descriptor | 128, autoencoder | 128, autoencoder | 512, the attention's projection | 128, linear |
| attention reads | S | S (2021: S') | S | S |
| attention pools | sum of S' | mean of unit S' (2021: S) | mean of the unit projection | mean of the reduction |
| stride of S | 32 | 32 | 16 | 16 |

S is the shallow map conv4_x behind a stopped gradient, S' its reconstruction. Here: all of them, by options; the
TensorFlow code is the default, because its weights were published by the authors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from glocal.errors import ConfigError
from glocal.nn.backbone import create_backbone
from glocal.nn.feature_maps import Backbone
from glocal.nn.gem import GeM
from glocal.nn.local_heads import AttentionHead, AutoencoderHead, LinearHead

VARIANTS = ("tf", "torch", "token")


class DelgOutput(NamedTuple):
    """One pass over a batch.

    Attributes:
        descriptor: (B, D) global descriptors of unit norm.
        local: (B, d, h, w) local descriptors, not normalised.
        attention: (B, 1, h, w), positive.
        pooled: (B, C) what the attention classifier reads.
        reconstruction: () error of the autoencoder, or None.
    """

    descriptor: Tensor
    local: Tensor
    attention: Tensor
    pooled: Tensor
    reconstruction: Tensor | None


class Delg(nn.Module):
    """The network of figure 2.

    Args:
        backbone: gives the shallow and the deep map.
        local_head: one of `glocal.nn.local_heads`.
        dim: D of the global descriptor.
        learn_p: train the exponent of GeM.
        unit_before_whitening: bring the pooled map to unit norm first.
        local_map: "c4", the papers' S, or "c3": finer cells, that see less each (ours).
        local_gradient: let a gradient of the local descriptors reach the backbone; see `glocal.models.glocal.Glocal`.
    """

    def __init__(
        self,
        backbone: Backbone,
        local_head: AutoencoderHead | AttentionHead | LinearHead,
        dim: int = 2048,
        learn_p: bool = False,
        unit_before_whitening: bool = False,
        local_map: str = "c4",
        local_gradient: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = GeM(3.0, learn_p)
        self.whiten = nn.Linear(backbone.channels[1], dim)
        self.local_head = local_head
        self.dim, self.local_dim = dim, local_head.local_dim
        self._unit_before_whitening = unit_before_whitening
        self._local_map, self._local_gradient = local_map, local_gradient

    def forward(self, images: Tensor) -> DelgOutput:
        """(B, 3, H, W) normalised RGB -> global descriptors and local maps."""
        maps = self.backbone(images)  # c4 (B, 1024, h, w), c5 (B, 2048, h', w')
        pooled = self.pool(maps.c5)  # (B, 2048)
        if self._unit_before_whitening:
            pooled = F.normalize(pooled, dim=1)
        descriptor = F.normalize(self.whiten(pooled), dim=1)  # (B, D)
        shallow = maps.shallow(self._local_map, self._local_gradient)
        return DelgOutput(descriptor, *self.local_head(shallow))


def delg(
    backbone: str = "resnet50", variant: str = "tf", subsample: bool = True, local_map: str = "c4", **options: Any
) -> Delg:
    """Build a variant of DELG with random weights.

    Args:
        backbone: see `glocal.nn.backbone.create_backbone`.
        variant: "tf", "torch" or "token", the columns of the table above.
        subsample: `tf` on a ResNet: S at stride 32 (`block3_strides`), as it was trained.
        local_map: see `Delg`.
        **options: `dim`, `learn_p`, `unit_before_whitening`, `local_gradient`; the rest goes to the local head.

    Raises:
        ConfigError: there is no such variant, backbone or map.
    """
    if variant not in VARIANTS:
        raise ConfigError(f'DELG has no variant "{variant}". Choose from {", ".join(VARIANTS)}.')
    keras = "keras_subsampled" if subsample else "keras"
    body = create_backbone(backbone, keras if variant == "tf" and backbone.startswith("resnet") else None)
    channels = body.local_channels(local_map)
    whole: dict[str, Any] = {"local_map": local_map} | {
        name: options.pop(name)
        for name in ("dim", "learn_p", "unit_before_whitening", "local_gradient")
        if name in options
    }
    if variant == "tf":
        return Delg(body, AutoencoderHead(channels, **options), **whole)
    if variant == "torch":
        return Delg(body, AttentionHead(channels, **options), **({"dim": 512, "learn_p": True} | whole))
    return Delg(body, LinearHead(channels, **options), **({"unit_before_whitening": True} | whole))
