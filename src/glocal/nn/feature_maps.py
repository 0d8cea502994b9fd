"""What a backbone gives, and what is known of it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from glocal.errors import ConfigError


class FeatureMaps(NamedTuple):
    """The levels of a backbone that heads read (the papers' conv4_x and conv5_x), and a finer one for local features.

    Attributes:
        c4: (B, C4, ceil(H / 16), ceil(W / 16)), the shallow map; the Keras ResNet subsamples it to stride 32.
        c5: (B, C5, ceil(H / 32), ceil(W / 32)), the deep map.
        c3: (B, C3, ceil(H / 8), ceil(W / 8)), or None where the backbone gives none.
    """

    c4: Tensor
    c5: Tensor
    c3: Tensor | None = None

    def shallow(self, local_map: str, with_gradient: bool) -> Tensor:
        """The map that local features are read from, "c4" or "c3".

        Without a gradient unless asked for: the local losses must not reach the backbone (DELG, section 3.4).
        """
        found: Tensor = getattr(self, local_map)
        return found if with_gradient else found.detach()


class Backbone(nn.Module):
    """The base of all backbones: (B, 3, H, W) normalised RGB -> FeatureMaps.

    Attributes:
        channels: (C4, C5).
        c3_channels: C3; 0 where there is no c3.
        c4_stride: pixels between two cells of c4.
        min_side: the least height and width in pixels for which both maps have a cell.
    """

    channels: tuple[int, int]
    c3_channels: int = 0
    c4_stride: int = 16
    min_side: int = 1

    def forward(self, images: Tensor) -> FeatureMaps:
        """(B, 3, H, W) -> the maps."""
        raise NotImplementedError

    def local_channels(self, local_map: str) -> int:
        """Channels of the map that a local head reads.

        Args:
            local_map: "c4", or "c3" where the backbone gives one.

        Raises:
            ConfigError: this backbone has no such map.
        """
        known = {"c4": self.channels[0]} | ({"c3": self.c3_channels} if self.c3_channels else {})
        if local_map not in known:
            raise ConfigError(f'local_map must be one of {", ".join(known)} with this backbone, not "{local_map}"')
        return known[local_map]
