"""Local and global features made one (torch)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from glocal.ops.shapes import expect_shape


def orthogonal_component(local: Tensor, global_: Tensor) -> Tensor:
    """Remove from every local feature its projection onto the global feature.

    DOLG (Yang et al., ICCV 2021), section 3.3, equations 3 to 5.

    Args:
        local: (B, C, H, W) float feature map.
        global_: (B, C) float; non-zero, need not be of unit norm.

    Returns:
        (B, C, H, W), same dtype as `local`, orthogonal to `global_` at every position.

    Raises:
        ShapeError: if B or C differ.
    """
    batch, channels, _, _ = expect_shape(local, "B C H W", "local")
    expect_shape(global_, "B C", "global_", B=batch, C=channels)
    direction = F.normalize(global_, dim=1)
    along = torch.einsum("bchw,bc->bhw", local, direction)
    return local - torch.einsum("bhw,bc->bchw", along, direction)
