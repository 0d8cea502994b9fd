"""Sixteen pictures that are always the same, and what a network answers to them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glocal.models.preprocessing import Preprocessing

_SIZES = ((96, 128), (128, 96), (112, 160), (160, 120))  # height, width
_PER_SIZE = 4
NUM_PROBES = len(_SIZES) * _PER_SIZE


def probe_pictures() -> list[NDArray[np.uint8]]:
    """Batches of pictures (4, H, W, 3) uint8 RGB that are always the same: patches at four sizes, and noise."""
    batches = []
    for i, (height, width) in enumerate(_SIZES):
        rng = np.random.Generator(np.random.PCG64(i))
        total = np.zeros((_PER_SIZE, height, width, 3))
        for cell, weight in ((32, 60), (8, 40), (2, 20), (1, 10)):
            grid = rng.integers(-100, 101, (_PER_SIZE, height // cell + 1, width // cell + 1, 3)) / 100
            total += weight * grid.repeat(cell, axis=1).repeat(cell, axis=2)[:, :height, :width]
        batches.append(np.clip(128 + total, 0, 255).astype(np.uint8))
    return batches


@torch.inference_mode()
def probe_answers(network: nn.Module, rules: Preprocessing) -> dict[str, NDArray[np.float64]]:
    """What a network in evaluation mode answers to the 16 probe pictures, in the precision of its parameters.

    Returns:
        "descriptor" (16, D); for a network with local features also one row per picture of unequal lengths,
        padded with zeros, of "local" and "attention".
    """
    dtype = next(network.parameters()).dtype
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for pixels in probe_pictures():
        images = torch.from_numpy((pixels - np.array(rules.mean)) / np.array(rules.std)).permute(0, 3, 1, 2)
        output = network(images.to(dtype).contiguous())
        whole = isinstance(output, Tensor)
        parts = (
            {"descriptor": output} if whole else {p: getattr(output, p) for p in ("descriptor", "local", "attention")}
        )
        for part, values in parts.items():
            rows.setdefault(part, []).extend(values.flatten(1).double().numpy())
    longest = {part: max(map(len, values)) for part, values in rows.items()}
    return {p: np.stack([np.pad(row, (0, longest[p] - len(row))) for row in values]) for p, values in rows.items()}


def least_cosine(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The least cosine between two rows of the same number; NaN if there is one."""
    if first.shape != second.shape:
        return float("nan")
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(np.min(np.einsum("nd,nd->n", first, second) / np.maximum(lengths, np.finfo(float).tiny)))
