"""The moving average of a network's weights, which is validated and saved in the network's place."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average.

    Args:
        network: is copied.
        decay: share of the old average in the new one, 0 to 1.

    Attributes:
        network: the averaged copy, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards a network; statistics of normalisations too, counters are copied."""
        mine = self.network.state_dict()
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                mine[name].lerp_(value, 1 - self._decay)
            else:
                mine[name].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged parameters and buffers."""
        return dict(self.network.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` gave."""
        self.network.load_state_dict(state)
