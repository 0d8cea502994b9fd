"""What a network costs, found from its shapes alone: nothing is computed, no memory is taken (torch)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from glocal.models.catalogue import create_model, preprocessing_of

_LONGEST = 1024  # where the preprocessing leaves photos as they are


@dataclass(frozen=True, slots=True)
class Cost:
    """The size of a network and of its answers.

    Attributes:
        dim: length of the global descriptor.
        local_dim: length of a local descriptor; 0 without local features.
        num_parameters: of the network.
        gflop: 10^9 floating-point operations for one photo of 4:3 at all scales; a multiplication and an
            addition count as two.
    """

    dim: int
    local_dim: int
    num_parameters: int
    gflop: float


def cost_of(name: str, **options: Any) -> Cost:
    """The cost of a model of the catalogue.

    Raises:
        ConfigError: there is no such network.
        BackendUnavailable: an optional package is missing.
    """
    rules = preprocessing_of(name, **options)
    with torch.device("meta"):
        network = create_model(name, **options).eval()
    dim, local_dim = (int(getattr(network, key, 0)) for key in ("dim", "local_dim"))
    longest = rules.image_size or _LONGEST
    scales = dict.fromkeys(rules.scales + (rules.local_scales if local_dim else ()))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        for scale in scales:
            network(torch.empty(1, 3, round(longest * 0.75 * scale), round(longest * scale), device="meta"))
    num_parameters = sum(values.numel() for values in network.parameters())
    return Cost(dim, local_dim, num_parameters, counter.get_total_flops() / 1e9)
