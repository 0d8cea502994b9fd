"""Classifiers that turn descriptors into logits with a margin, for training only.

| system | head | margin | scale |
|---|---|---|---|
| DELG (paper, TensorFlow) | ArcFaceHead | 0.1 | sqrt(2048) = 45.25, learned in the paper, constant in the code |
| DELG (PyTorch), DOLG code | CurricularHead | 0.15 | 30 |
| DOLG paper | ArcFaceHead | 0.15 | 30 |
| Token | ArcFaceHead | 0.2 | 32 |
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from glocal.ops.margin import ACOS_EPS, arcface, cosface, cosines, curricular


class MarginHead(nn.Module):
    """One weight vector per class.

    Args:
        dim: d of the descriptors.
        num_classes: K.
        margin: added for the true class in training.
        scale: what cosines are multiplied with.
    """

    def __init__(self, dim: int, num_classes: int, margin: float, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, dim))
        nn.init.xavier_uniform_(self.weight)
        self.margin = margin
        self.scale: Tensor | float = scale

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """(B, d) float of any norm, (B,) int64 -> (B, K) logits; without a margin in evaluation."""
        cosine = cosines(descriptors, self.weight)
        return self._logits(cosine, labels) if self.training else self.scale * cosine

    def _logits(self, cosine: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError


class ArcFaceHead(MarginHead):
    """ArcFace; see `glocal.ops.margin.arcface`.

    Args:
        learn_scale: train the scale, as the DELG paper says and its code does not.
        eps: distance kept from a cosine of ±1.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        margin: float = 0.15,
        scale: float = 30.0,
        learn_scale: bool = False,
        eps: float = ACOS_EPS,
    ) -> None:
        super().__init__(dim, num_classes, margin, scale)
        if learn_scale:
            self.scale = nn.Parameter(torch.tensor(float(scale)))
        self._eps = eps

    def _logits(self, cosine: Tensor, labels: Tensor) -> Tensor:
        return arcface(cosine, labels, self.margin, self.scale, self._eps)


class CosFaceHead(MarginHead):
    """CosFace; see `glocal.ops.margin.cosface`."""

    def _logits(self, cosine: Tensor, labels: Tensor) -> Tensor:
        return cosface(cosine, labels, self.margin, self.scale)


class CurricularHead(MarginHead):
    """The head of the released DOLG; see `glocal.ops.margin.curricular`.

    Args:
        bug_compat: move the state in evaluation too, and give the margin there, as the released code does.
    """

    def __init__(
        self, dim: int, num_classes: int, margin: float = 0.15, scale: float = 30.0, bug_compat: bool = False
    ) -> None:
        super().__init__(dim, num_classes, margin, scale)
        # The released code leaves this tensor uninitialised; its own unused initialiser does this.
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.register_buffer("state", torch.zeros(1))
        self._bug_compat = bug_compat

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """(B, d) float of any norm, (B,) int64 -> (B, K) logits."""
        cosine = cosines(descriptors, self.weight)
        if not self.training and not self._bug_compat:
            return self.scale * cosine
        logits, state = curricular(cosine, labels, self.get_buffer("state"), self.margin, float(self.scale))
        self.get_buffer("state").copy_(state)
        return logits
