"""What a network is trained to do: image-level labels -> losses.

The classifiers live here, not in the networks: a descriptor needs no labels.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from glocal.models.delg import DelgOutput
from glocal.nn.margin_head import MarginHead


class Losses(NamedTuple):
    """The losses of one batch.

    Attributes:
        total: () what is minimised.
        global_: () cross-entropy of the global descriptor.
        attention: () cross-entropy of the attention-pooled local features; None for a global model.
        reconstruction: () error of the autoencoder, unweighted; None where there is none.
    """

    total: Tensor
    global_: Tensor
    attention: Tensor | None = None
    reconstruction: Tensor | None = None


class GlobalObjective(nn.Module):
    """Softmax cross-entropy of the descriptor under a margin (DOLG section 3.4, Token section 3.4)."""

    def __init__(self, head: MarginHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, descriptor: Tensor, labels: Tensor) -> Losses:
        """(B, D) descriptors, (B,) int64 -> the loss."""
        loss = F.cross_entropy(self.head(descriptor, labels), labels)
        return Losses(loss, loss)


class JointObjective(nn.Module):
    """The three losses of DELG: L_g + beta L_a + lambda L_r (section 3.4).

    Args:
        head: margin classifier of the global descriptor.
        pooled_channels: channels of the attention-pooled features.
        num_classes: K.
        attention_weight: beta.
        reconstruction_weight: lambda.
    """

    def __init__(
        self,
        head: MarginHead,
        pooled_channels: int,
        num_classes: int,
        attention_weight: float = 1.0,
        reconstruction_weight: float = 10.0,
    ) -> None:
        super().__init__()
        self.head = head
        self.attention_classifier = nn.Linear(pooled_channels, num_classes)
        self.attention_weight = attention_weight
        self.reconstruction_weight = reconstruction_weight

    def forward(self, output: DelgOutput, labels: Tensor) -> Losses:
        """One pass of a network, (B,) int64 -> the three losses and their sum."""
        global_ = F.cross_entropy(self.head(output.descriptor, labels), labels)
        attention = F.cross_entropy(self.attention_classifier(output.pooled), labels)
        total = global_ + self.attention_weight * attention
        if output.reconstruction is not None:
            total = total + self.reconstruction_weight * output.reconstruction
        return Losses(total, global_, attention, output.reconstruction)
