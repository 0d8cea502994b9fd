"""glocal: the global descriptor of DOLG or Token and the local features of DELG, in one pass over one backbone.

None of the three papers has both: DOLG and Token find better and prove nothing, DELG proves and finds less.
The local head reads the shallow map through a stopped gradient, as in DELG, so that its losses leave the
backbone to the global descriptor (DELG, section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from glocal.errors import ConfigError
from glocal.models.delg import DelgOutput
from glocal.models.dolg import Dolg, dolg
from glocal.models.token import Token, token
from glocal.nn.feature_maps import Backbone
from glocal.nn.local_heads import AutoencoderHead

SYSTEMS: dict[str, Callable[..., Dolg | Token]] = {"dolg": dolg, "token": token}


class Glocal(nn.Module):
    """A single-stage descriptor with attentive local features beside it.

    Args:
        system: the network of the global descriptor; its backbone is shared.
        local_dim: d of the local descriptors.
        hidden: width of the attention.
        local_map: "c4", or "c3": see `glocal.models.delg.Delg`.
        context: see `glocal.nn.local_heads.AutoencoderHead`.
        local_gradient: let a gradient of the local descriptors reach the backbone. Of the losses, the one of
            `glocal.train.correspondence` has such a gradient; those of DELG never reach the backbone.
    """

    def __init__(
        self,
        system: Dolg | Token,
        local_dim: int = 128,
        hidden: int = 512,
        local_map: str = "c4",
        context: int = 0,
        local_gradient: bool = False,
    ) -> None:
        super().__init__()
        self.system = system
        channels = self.backbone.local_channels(local_map)
        self.local_head = AutoencoderHead(channels, local_dim, hidden, context=context)
        self.dim, self.local_dim = system.dim, local_dim
        self._local_map, self._local_gradient = local_map, local_gradient

    @property
    def backbone(self) -> Backbone:
        """The one backbone."""
        return self.system.backbone

    def forward(self, images: Tensor) -> DelgOutput:
        """(B, 3, H, W) normalised RGB -> global descriptors and local maps."""
        maps = self.backbone(images)
        descriptor = self.system.describe(maps)  # (B, D)
        shallow = maps.shallow(self._local_map, self._local_gradient)
        return DelgOutput(descriptor, *self.local_head(shallow))


def glocal(
    backbone: str = "resnet50",
    system: str = "dolg",
    local_dim: int = 128,
    local_hidden: int = 512,
    local_map: str = "c4",
    context: int = 0,
    local_gradient: bool = False,
    **options: Any,
) -> Glocal:
    """Build glocal with random weights.

    Args:
        backbone: see `glocal.nn.backbone.create_backbone`.
        system: "dolg" or "token".
        local_dim: d of the local descriptors.
        local_hidden: width of the attention.
        local_map: see `Glocal`.
        context: see `Glocal`.
        local_gradient: see `Glocal`.
        **options: those of the system.

    Raises:
        ConfigError: there is no such system, backbone or map.
    """
    if system not in SYSTEMS:
        raise ConfigError(f'glocal has no system "{system}". Choose from {", ".join(SYSTEMS)}.')
    body = SYSTEMS[system](backbone, **options)
    return Glocal(body, local_dim, local_hidden, local_map, context, local_gradient)
