"""What a network is trained to do: image-level labels -> losses.

The classifiers live here, not in the networks: a descriptor needs no labels.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from glocal.models.delg import DelgOutput
from glocal.nn.margin_head import MarginHead
from glocal.nn.partial_head import PartialHead
from glocal.train.correspondence import cell_losses


class Losses(NamedTuple):
    """The losses of one batch.

    Attributes:
        total: () what is minimised.
        global_: () cross-entropy of the global descriptor.
        attention: () cross-entropy of the attention-pooled local features; None for a global model.
        reconstruction: () error of the autoencoder, unweighted; None where there is none.
        correspondence, reliability: () see `glocal.train.correspondence.CellLosses`, unweighted; None where they are
            not asked for.
    """

    total: Tensor
    global_: Tensor
    attention: Tensor | None = None
    reconstruction: Tensor | None = None
    correspondence: Tensor | None = None
    reliability: Tensor | None = None


def _cross_entropy(head: MarginHead | PartialHead, descriptors: Tensor, labels: Tensor) -> Tensor:
    """Soft-max cross-entropy; a partial head says where among its classes the true ones are."""
    answer = head(descriptors, labels)
    logits, columns = answer if isinstance(answer, tuple) else (answer, labels)
    return F.cross_entropy(logits, columns)


class GlobalObjective(nn.Module):
    """Softmax cross-entropy of the descriptor under a margin (DOLG section 3.4, Token section 3.4)."""

    def __init__(self, head: MarginHead | PartialHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, descriptor: Tensor, labels: Tensor, places: Tensor | None = None) -> Losses:
        """(B, D) descriptors, (B,) int64 -> the loss; a global descriptor has no use for places."""
        loss = _cross_entropy(self.head, descriptor, labels)
        return Losses(loss, loss)


class JointObjective(nn.Module):
    """The three losses of DELG, L_g + beta L_a + lambda L_r (section 3.4), and two from geometry (ours).

    Args:
        head: margin classifier of the global descriptor.
        pooled_channels: channels of the attention-pooled features.
        num_classes: K.
        attention_weight: beta.
        reconstruction_weight: lambda.
        correspondence_weight, reliability_weight: of `cell_losses`; with a correspondence of 0 both are left out.
    """

    def __init__(
        self,
        head: MarginHead | PartialHead,
        pooled_channels: int,
        num_classes: int,
        attention_weight: float = 1.0,
        reconstruction_weight: float = 10.0,
        correspondence_weight: float = 0.0,
        reliability_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.head = head
        self.attention_classifier = nn.Linear(pooled_channels, num_classes)
        self.attention_weight = attention_weight
        self.reconstruction_weight = reconstruction_weight
        self.correspondence_weight, self.reliability_weight = correspondence_weight, reliability_weight

    def forward(self, output: DelgOutput, labels: Tensor, places: Tensor | None = None) -> Losses:
        """One pass of a network, (B,) int64, (B, n, n, 2) places of the cells if known -> the losses and their sum."""
        global_ = _cross_entropy(self.head, output.descriptor, labels)
        attention = F.cross_entropy(self.attention_classifier(output.pooled), labels)
        total = global_ + self.attention_weight * attention
        if output.reconstruction is not None:
            total = total + self.reconstruction_weight * output.reconstruction
        if not self.correspondence_weight or places is None:
            return Losses(total, global_, attention, output.reconstruction)
        cells = cell_losses(output.local, output.attention, places)
        total = total + self.correspondence_weight * cells.correspondence + self.reliability_weight * cells.reliability
        return Losses(total, global_, attention, output.reconstruction, *cells)
