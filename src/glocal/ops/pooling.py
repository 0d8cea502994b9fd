"""A feature map -> one vector: MAC, SPoC, GeM and R-MAC (torch)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from glocal.ops.shapes import expect_shape

GEM_EPS = 1e-6
_OVERLAP = 0.4  # R-MAC regions overlap by about this share


def mac(maps: Tensor) -> Tensor:
    """Maximum over all positions (Tolias et al., ICLR 2016, section 3.1).

    Args:
        maps: (B, C, H, W) float.

    Returns:
        (B, C).

    Raises:
        ShapeError: `maps` has not four axes.
    """
    expect_shape(maps, "B C H W", "maps")
    return maps.amax(dim=(2, 3))


def spoc(maps: Tensor) -> Tensor:
    """Mean over all positions (Babenko and Lempitsky, ICCV 2015, without the centre prior).

    Args:
        maps: (B, C, H, W) float.

    Returns:
        (B, C).

    Raises:
        ShapeError: `maps` has not four axes.
    """
    expect_shape(maps, "B C H W", "maps")
    return maps.mean(dim=(2, 3))


def gem(maps: Tensor, p: Tensor | float = 3.0, eps: float = GEM_EPS) -> Tensor:
    """Generalised mean over all positions (Radenović et al., TPAMI 2019, equation 3).

    Args:
        maps: (B, C, H, W) float; values below `eps` count as `eps`.
        p: the exponent, positive; 1 is SPoC, infinity is MAC.
        eps: keeps the root's gradient finite.

    Returns:
        (B, C), positive.

    Raises:
        ShapeError: `maps` has not four axes.
    """
    expect_shape(maps, "B C H W", "maps")
    return maps.clamp(min=eps).pow(p).mean(dim=(2, 3)).pow(1.0 / p)


def rmac(maps: Tensor, levels: int = 3) -> Tensor:
    """Sum of the unit maxima of square regions at several sizes (Tolias et al., ICLR 2016, section 3.2).

    Args:
        maps: (B, C, H, W) float.
        levels: numbers of region sizes; level l has regions of side 2 min(H, W) / (l + 1).

    Returns:
        (B, C), not normalised.

    Raises:
        ShapeError: `maps` has not four axes.
    """
    _, _, height, width = expect_shape(maps, "B C H W", "maps")
    total = F.normalize(mac(maps), dim=1)
    for top, left, side in _regions(height, width, levels):
        total = total + F.normalize(maps[:, :, top : top + side, left : left + side].amax(dim=(2, 3)), dim=1)
    return total


def _regions(height: int, width: int, levels: int) -> Iterator[tuple[int, int, int]]:
    """(top, left, side) of the regions of all levels, in cells."""
    shorter, longer = min(height, width), max(height, width)
    # As many regions along the longer side as make neighbours overlap by about 40 %.
    extra = 0
    if longer > shorter:
        steps = [(longer - shorter) / count for count in range(1, 7)]
        shares = [(shorter * shorter - shorter * step) / (shorter * shorter) for step in steps]
        extra = 1 + min(range(6), key=lambda i: abs(shares[i] - _OVERLAP))
    for level in range(1, levels + 1):
        side = math.floor(2 * shorter / (level + 1))
        if side == 0:
            continue
        rows = _starts(height, side, level + (extra if height > width else 0))
        columns = _starts(width, side, level + (extra if width > height else 0))
        for top in rows:
            for left in columns:
                yield top, left, side


def _starts(length: int, side: int, count: int) -> list[int]:
    """Where `count` regions of one side begin, spread evenly from end to end."""
    step = 0.0 if count == 1 else (length - side) / (count - 1)
    return [math.floor(i * step) for i in range(count)]


def attention_pool(maps: Tensor, attention: Tensor) -> Tensor:
    """Mean over all positions of the features times their attention (DELG, section 3.2, divided by H W).

    Args:
        maps: (B, C, H, W) float.
        attention: (B, 1, H, W) float.

    Returns:
        (B, C).

    Raises:
        ShapeError: the shapes do not fit.
    """
    batch, _, height, width = expect_shape(maps, "B C H W", "maps")
    expect_shape(attention, "B 1 H W", "attention", B=batch, H=height, W=width)
    return torch.einsum("bchw,bxhw->bc", maps, attention) / (height * width)
