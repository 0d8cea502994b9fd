"""GeM pooling with its exponent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glocal.ops.pooling import GEM_EPS, gem


class GeM(nn.Module):
    """Generalised-mean pooling (Radenović et al., TPAMI 2019).

    Attributes:
        p: the exponent: a learned (1,) parameter, or a number.
    """

    def __init__(self, p: float = 3.0, learn_p: bool = False, eps: float = GEM_EPS) -> None:
        super().__init__()
        self.p: Tensor | float = nn.Parameter(torch.full((1,), p)) if learn_p else p
        self.eps = eps

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        return gem(maps, self.p, self.eps)
