"""Classifiers for labels as they are found: very many classes, and classes that are not one cluster.

GLDv2 has 81,313 classes when cleaned and 203,094 in all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from glocal.errors import ConfigError
from glocal.nn.margin_head import ArcFaceHead, MarginHead
from glocal.ops.margin import cosines
from glocal.ops.shapes import expect_shape


class PartialHead(nn.Module):
    """Any margin head over the classes of the batch and a random sample of the others.

    Partial FC (An et al., CVPR 2022): the others only push, and few of them push a descriptor noticeably, so a
    fresh sample at every step does. A step then needs logits, and cosines' gradients, of the sample alone. Which
    classes are drawn depends on the seed and on how many steps were made, and the state holds that: a run that is
    continued draws what it would have drawn.

    The gradient of the weights stays dense: classes that were not drawn get zeros, so that an optimiser moves them by
    their momentum and weight decay.

    Args:
        head: the classifier of all K classes; its margin and its state are used as they are.
        num_sampled: classes that are drawn besides those of the batch; from K on, all take part and nothing is drawn.
        seed: of the sample.

    Attributes:
        head: as given; `head.weight` (K, ...) holds all classes.
        num_sampled: as given.

    Raises:
        ConfigError: num_sampled is not positive.
    """

    def __init__(self, head: MarginHead, num_sampled: int, seed: int = 0) -> None:
        super().__init__()
        if num_sampled < 1:
            raise ConfigError(f"a partial classifier draws at least 1 class at a step, not {num_sampled}")
        self.head = head
        self.num_sampled = num_sampled
        # On the CPU wherever the weights are: the same classes on every machine.
        self._generator = torch.Generator().manual_seed(seed)

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of some classes, and where among them the true ones are.

        Args:
            descriptors: (B, d) float of any norm.
            labels: (B,) int64, 0 to K - 1.

        Returns:
            (B, S) logits and (B,) int64, the column of each row's true class. In training S is the number of classes
            in the batch plus `num_sampled`, columns in the order of the classes; in evaluation S is K.

        Raises:
            ShapeError: d or B differs.
        """
        if not self.training or self.num_sampled >= len(self.head.weight):
            return self.head(descriptors, labels), labels
        batch, _ = expect_shape(descriptors, "B d", "descriptors")
        expect_shape(labels, "B", "labels", B=batch)
        classes = self._draw(labels.cpu()).to(labels.device)  # (S,)
        columns = torch.searchsorted(classes, labels)
        # The head computes as ever, with these rows in the place of its weights; its buffers are its own.
        part = {"weight": self.head.weight[classes]}
        return functional_call(self.head, part, (descriptors, columns)), columns

    def _draw(self, labels: Tensor) -> Tensor:
        """(B,) int64 -> (S,) int64: their classes and a sample of the others, ascending, each once."""
        scores = torch.rand(len(self.head.weight), generator=self._generator)
        scores[labels] = 2.0  # above all others
        num = min(int((scores > 1).sum()) + self.num_sampled, len(scores))
        return scores.topk(num, sorted=False).indices.sort().values

    def get_extra_state(self) -> Tensor:
        """The generator's state, uint8; part of `state_dict`."""
        return self._generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Take back what `get_extra_state` gave."""
        self._generator.set_state(state.cpu())


class SubcentreHead(ArcFaceHead):
    """ArcFace with several centres per class, of which the nearest counts (Deng et al., ECCV 2020).

    A landmark's interior and exterior, or its mislabelled photos, get centres of their own and pull no longer on
    the others.

    Args:
        dim: d of the descriptors.
        num_classes: K.
        margin: in radians, added for the true class in training.
        scale: what cosines are multiplied with.
        num_centres: per class; the paper's 3.

    Attributes:
        weight: (K, num_centres, d).

    Raises:
        ConfigError: num_centres is not positive.
    """

    def __init__(
        self, dim: int, num_classes: int, margin: float = 0.15, scale: float = 30.0, num_centres: int = 3
    ) -> None:
        if num_centres < 1:
            raise ConfigError(f"a class needs at least 1 centre, not {num_centres}")
        super().__init__(dim, num_classes * num_centres, margin, scale)
        self.weight = nn.Parameter(self.weight.detach().view(num_classes, num_centres, dim))

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """(B, d) float of any norm, (B,) int64 -> (B, K) logits; without a margin in evaluation."""
        num_classes, num_centres, _ = expect_shape(self.weight, "K k d", "weight")
        all_ = cosines(descriptors, self.weight.flatten(0, 1))  # (B, K k)
        cosine = all_.view(-1, num_classes, num_centres).max(dim=2).values  # (B, K)
        return self._logits(cosine, labels) if self.training else self.scale * cosine
