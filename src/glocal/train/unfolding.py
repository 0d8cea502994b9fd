"""Batch normalisation back into a network whose convolutions had swallowed it, without changing its function.

Some releases give only convolutions with biases. To train on, every normalisation gets the statistics that
it would have seen, and a scale and shift that undo them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from glocal.errors import WeightsError


def normalised_convolutions(backbone: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Every convolution with the normalisation after it, in the order of the forward pass."""
    layers = [module for module in backbone.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    pairs = []
    for conv, norm in zip(layers[::2], layers[1::2], strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        pairs.append((conv, norm))
    return pairs


@torch.no_grad()
def load_folded(backbone: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Fill a backbone from convolutions "00.weight", "00.bias", "01.weight" ... in the order of the forward pass.

    Afterwards the normalisations only add the biases.

    Raises:
        WeightsError: there are more or fewer convolutions, or one of another shape.
    """
    pairs = normalised_convolutions(backbone)
    if len(tensors) != 2 * len(pairs):
        raise WeightsError(f"{len(tensors)} tensors for {len(pairs)} convolutions with biases: another network")
    for i, (conv, norm) in enumerate(pairs):
        weight, bias = tensors[f"{i:02d}.weight"], tensors[f"{i:02d}.bias"]
        if weight.shape != conv.weight.shape:
            raise WeightsError(f"{i:02d}.weight is {tuple(weight.shape)}, expected {tuple(conv.weight.shape)}")
        conv.weight.copy_(weight)
        _set(norm, torch.zeros_like(bias), torch.ones_like(bias) - norm.eps, bias)


@torch.no_grad()
def unfold_batchnorm(backbone: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give the normalisations the statistics of some pictures; the function of the network stays.

    Args:
        backbone: as `load_folded` leaves it.
        batches: normalised (B, 3, H, W) pictures, as in training.
    """
    sums: dict[nn.Module, tuple[Tensor, Tensor, int]] = {}

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double()
        mean, square, count = sums.get(norm, (torch.zeros(1), torch.zeros(1), 0))
        here = values.shape[0] * values.shape[2] * values.shape[3]
        sums[norm] = mean + values.sum(dim=(0, 2, 3)), square + values.square().sum(dim=(0, 2, 3)), count + here

    norms = [norm for _, norm in normalised_convolutions(backbone)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    backbone.eval()
    for images in batches:
        backbone(images)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        total, squares, count = sums[norm]
        mean = total / count
        # A channel that never moves would get a scale of nothing, and could never learn.
        variance = (squares / count - mean.square()).clamp(min=1e-4)
        _set(norm, mean.float(), variance.float(), norm.bias + mean.float())


def _set(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, shift: Tensor) -> None:
    """Statistics, and the scale and shift with which the layer only adds `shift - mean`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(shift)
