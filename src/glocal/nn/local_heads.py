"""The local branch of DELG in its three published forms.

They read the shallow map through a stopped gradient (the caller detaches it), and give the same four things,
so that one training loop and one extraction serve all.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from glocal.errors import ConfigError
from glocal.nn.attention import SpatialAttention
from glocal.ops.pooling import attention_pool


class LocalMaps(NamedTuple):
    """What a local head makes of the shallow map.

    Attributes:
        local: (B, d, H, W) local descriptors, not normalised.
        attention: (B, 1, H, W), positive.
        pooled: (B, C'), the whole picture as the attention sees it: what the attention classifier reads.
        reconstruction: () mean squared error of the autoencoder; None where there is no autoencoder.
    """

    local: Tensor
    attention: Tensor
    pooled: Tensor
    reconstruction: Tensor | None


class ContextBlock(nn.Module):
    """Each cell learns of its neighbours: 3x3 per channel, ReLU, 1x1, a residual that begins at zero (ours)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        nn.init.zeros_(self.layers.get_submodule("4").get_parameter("weight"))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        changed: Tensor = self.layers(maps)
        return maps + changed


class AutoencoderHead(nn.Module):
    """The head of the paper and of its TensorFlow code: a 128-d autoencoder beside the attention (section 3.3).

    Args:
        channels: C of the shallow map.
        local_dim: d of the local descriptors.
        hidden: width of the attention.
        attention_input: "shallow" (paper, and code since 2023) or "decoded" (code of 2021): what the attention sees.
        pooled_map: "decoded" or "shallow": what is pooled with the attention.
        pooled_sum: the paper's sum over positions instead of the code's mean.
        pooled_unit: every position of the pooled map gets unit norm first (code); the paper writes no such thing.
        context: number of `ContextBlock`s on the map, before all else (ours).
    """

    def __init__(
        self,
        channels: int,
        local_dim: int = 128,
        hidden: int = 512,
        attention_input: str = "shallow",
        pooled_map: str = "decoded",
        pooled_sum: bool = False,
        pooled_unit: bool = True,
        context: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("attention_input", attention_input), ("pooled_map", pooled_map)):
            if value not in ("shallow", "decoded"):
                raise ConfigError(f'{name} must be "shallow" or "decoded", not {value!r}')
        self.context = nn.Sequential(*(ContextBlock(channels) for _ in range(context)))
        self.encode = nn.Conv2d(channels, local_dim, 1)
        self.decode = nn.Conv2d(local_dim, channels, 1)
        # Keras' constants: eps 1e-3, and a momentum of 0.99 for the old value.
        self.attention = SpatialAttention(channels, hidden, bn_eps=1e-3, bn_momentum=0.01)
        self.pooled_channels = channels
        self.local_dim = local_dim
        self._attention_input, self._pooled_map = attention_input, pooled_map
        self._pooled_sum, self._pooled_unit = pooled_sum, pooled_unit

    def forward(self, shallow: Tensor) -> LocalMaps:
        """(B, C, H, W) -> local descriptors, attention, pooled map, reconstruction error.

        Through the descriptors alone a gradient can reach the map and its context; the caller detaches it, or not.
        """
        shallow = self.context(shallow)
        local = self.encode(shallow)
        shallow, code = (shallow.detach(), self.encode(shallow.detach())) if shallow.requires_grad else (shallow, local)
        maps = {"shallow": shallow, "decoded": F.relu(self.decode(code))}
        attention = self.attention(maps[self._attention_input]).attention
        target = maps[self._pooled_map]
        pooled = attention_pool(F.normalize(target, dim=1) if self._pooled_unit else target, attention)
        if self._pooled_sum:
            pooled = pooled * attention[0].numel()
        return LocalMaps(local, attention, pooled, F.mse_loss(maps["decoded"], shallow))


class AttentionHead(nn.Module):
    """The head of the PyTorch port: the attention's own projection is the descriptor, no autoencoder."""

    def __init__(self, channels: int, local_dim: int = 512) -> None:
        super().__init__()
        self.attention = SpatialAttention(channels, local_dim)
        self.pooled_channels = self.local_dim = local_dim

    def forward(self, shallow: Tensor) -> LocalMaps:
        """Detached (B, C, H, W) -> local descriptors weighted by the attention; no reconstruction."""
        attention, projected = self.attention(shallow)
        local = attention * F.normalize(projected, dim=1)
        return LocalMaps(local, attention, local.mean(dim=(2, 3)), None)


class LinearHead(nn.Module):
    """The head of the Token repository's DELG: one linear score, one linear reduction.

    Args:
        channels: C of the shallow map.
        local_dim: d of the local descriptors.
        bug_compat: normalise the reduction along the width of the map, as that code does, instead of the channels.
    """

    def __init__(self, channels: int, local_dim: int = 128, bug_compat: bool = False) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1, bias=False)
        self.encode = nn.Conv2d(channels, local_dim, 1)
        self.pooled_channels = self.local_dim = local_dim
        self._unit_axis = 3 if bug_compat else 1

    def forward(self, shallow: Tensor) -> LocalMaps:
        """Detached (B, C, H, W) -> local descriptors and attention; no reconstruction."""
        attention = F.softplus(self.score(shallow))
        local = F.normalize(self.encode(shallow), dim=self._unit_axis)
        return LocalMaps(local, attention, attention_pool(local, attention), None)
