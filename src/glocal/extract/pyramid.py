"""Pixels -> normalised tensors at several scales, and the average of what a network says of them (torch)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from glocal.errors import ShapeError
from glocal.models.preprocessing import Preprocessing
from glocal.ops.receptive_field import level_size
from glocal.ops.shapes import expect_shape


def to_tensor(
    pixels: NDArray[np.uint8],
    preprocessing: Preprocessing,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Normalise pictures: (value - mean) / std per channel.

    Args:
        pixels: (B, H, W, 3) uint8, RGB; may be read-only.
        preprocessing: names mean and standard deviation.
        dtype: of the result; half precision is reached by way of float32.
        device: of the result; bytes travel there, and not floats.

    Returns:
        (B, 3, H, W), channels last in memory.

    Raises:
        ShapeError: if `pixels` is of another shape or type.
    """
    expect_shape(pixels, "B H W 3", "pixels")
    if pixels.dtype != np.uint8:
        raise ShapeError(f"pixels must be uint8, found {pixels.dtype}")
    # torch warns when it borrows memory that it may not write, and cannot borrow what has negative strides.
    owned = pixels if pixels.flags.writeable and pixels.flags.c_contiguous else pixels.copy()
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    images = torch.from_numpy(owned).to(device).permute(0, 3, 1, 2).to(exact)
    mean, std = (
        torch.tensor(values, dtype=exact, device=device).view(1, 3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return ((images - mean) / std).to(dtype)


def pyramid_level(images: Tensor, scale: float, rule: str) -> Tensor:
    """Resize normalised pictures: bilinear, half-pixel centres, no antialiasing, as all three systems do.

    Resizing and normalising commute, so it is the same whether a system resizes before (DELG, DOLG) or after (Token).

    Args:
        images: (B, 3, H, W) float.
        scale: factor; 1 returns the input itself.
        rule: "size" rounds the sides and maps coordinates by their ratio (DELG, DOLG);
            "factor" floors them and maps by the factor (Token).

    Returns:
        (B, 3, h, w), same dtype; no side is less than one pixel.

    Raises:
        ConfigError: if the rule is neither, or the scale is not positive.
        ShapeError: if `images` is of another shape.
    """
    _, _, height, width = expect_shape(images, "B 3 H W", "images")
    target = level_size((height, width), scale, rule)
    if scale == 1:
        return images
    if rule == "factor" and min(height, width) * scale >= 1:
        return F.interpolate(
            images, scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=False
        )
    # A side that the factor would leave without a pixel is published nowhere: it gets one, like the others.
    return F.interpolate(images, size=target, mode="bilinear", align_corners=False)


def average_scales(vectors: Sequence[Tensor]) -> Tensor:
    """The descriptor of a pyramid: the levels' descriptors at unit norm, added, and again at unit norm.

    Args:
        vectors: one (B, D) float tensor per level.

    Returns:
        (B, D), rows of unit L2 norm.

    Raises:
        ShapeError: if there is no level, or the shapes differ.
    """
    if not vectors:
        raise ShapeError("the pyramid has no level: nothing to average")
    batch, dim = expect_shape(vectors[0], "B D", "the first level's descriptors")
    for level in vectors[1:]:
        expect_shape(level, "B D", "a level's descriptors", B=batch, D=dim)
    total = torch.stack([F.normalize(level, dim=1) for level in vectors]).sum(dim=0)
    return F.normalize(total, dim=1)
