"""Cosines -> logits with a margin for the true class: ArcFace, CosFace, curricular (torch).

The three papers train with one of these on image-level labels; which constants go with which is said in
`glocal.nn.margin_head`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from glocal.ops.shapes import expect_shape

ACOS_EPS = 1e-6
"""Cosines are kept this far from ±1 before the arc cosine, whose gradient is infinite there."""


def cosines(features: Tensor, weight: Tensor) -> Tensor:
    """Cosine of every feature with every class: (B, d) and (K, d) -> (B, K).

    Raises:
        ShapeError: d differs.
    """
    _, channels = expect_shape(features, "B d", "features")
    expect_shape(weight, "K d", "weight", d=channels)
    # Never in half precision: 1 - 1e-6 would round to 1, where the arc cosine has no gradient.
    with torch.autocast(features.device.type, enabled=False):
        wide = torch.promote_types(features.dtype, torch.float32)
        return F.linear(F.normalize(features.to(wide), dim=1), F.normalize(weight.to(wide), dim=1))


def arcface(cosine: Tensor, labels: Tensor, margin: float, scale: Tensor | float, eps: float = ACOS_EPS) -> Tensor:
    """ArcFace (Deng et al., CVPR 2019): the margin is added to the angle of the true class.

    A true class whose angle is above pi - margin keeps its cosine: there the margin would raise it.

    Args:
        cosine: (B, K) float.
        labels: (B,) int64, the true class of each row.
        margin: in radians.
        scale: what the cosines are multiplied with.
        eps: distance kept from a cosine of ±1; 0 is what the TensorFlow DELG does.

    Returns:
        (B, K) logits.

    Raises:
        ShapeError: B differs.
    """
    batch, _ = expect_shape(cosine, "B K", "cosine")
    expect_shape(labels, "B", "labels", B=batch)
    theta = torch.acos(cosine.clamp(-1 + eps, 1 - eps) if eps else cosine)
    true = theta.gather(1, labels[:, None])
    widened = torch.where(true <= math.pi - margin, true + margin, true)
    return scale * torch.cos(theta.scatter(1, labels[:, None], widened))


def cosface(cosine: Tensor, labels: Tensor, margin: float, scale: Tensor | float) -> Tensor:
    """CosFace (Wang et al., CVPR 2018): the margin is taken off the cosine of the true class.

    Args:
        cosine: (B, K) float.
        labels: (B,) int64.
        margin: a difference of cosines.
        scale: what the cosines are multiplied with.

    Returns:
        (B, K) logits.

    Raises:
        ShapeError: B differs.
    """
    batch, _ = expect_shape(cosine, "B K", "cosine")
    expect_shape(labels, "B", "labels", B=batch)
    return scale * cosine.scatter_add(1, labels[:, None], cosine.new_full((batch, 1), -margin))


def curricular(cosine: Tensor, labels: Tensor, state: Tensor, margin: float, scale: float) -> tuple[Tensor, Tensor]:
    """The loss of the released DOLG and PyTorch DELG: CurricularFace (Huang et al., CVPR 2020) under ArcFace's name.

    Wrong classes that are closer than the true one with its margin ("hard") weigh more as training goes on.

    Args:
        cosine: (B, K) float.
        labels: (B,) int64.
        state: (1,) float, the running mean of the true cosines; starts at 0.
        margin: in radians.
        scale: what the cosines are multiplied with.

    Returns:
        (B, K) logits, and the new state (1,), without gradient.

    Raises:
        ShapeError: B differs.
    """
    batch, _ = expect_shape(cosine, "B K", "cosine")
    expect_shape(labels, "B", "labels", B=batch)
    cosine = cosine.clamp(-1, 1)
    true = cosine.gather(1, labels[:, None])  # (B, 1)
    widened = true * math.cos(margin) - torch.sqrt(1 - true.square()) * math.sin(margin)
    # Beyond pi - margin the cosine would rise again: there a straight line continues it.
    final = torch.where(true > math.cos(math.pi - margin), widened, true - math.sin(math.pi - margin) * margin)
    state = 0.01 * true.detach().mean() + 0.99 * state
    weighted = torch.where(cosine > widened, cosine * (state + cosine), cosine)
    return scale * weighted.scatter(1, labels[:, None], final), state
