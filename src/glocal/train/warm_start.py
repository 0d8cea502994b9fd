"""A start that already works: whitened descriptors, and classifiers that begin at the photos' own descriptors.

A backbone from elsewhere describes photos before its first step of training here. A random projection after it, and
random class weights, would throw that away and spend most of a short run on finding it again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glocal.data.labelled import LabelledPhotos
from glocal.errors import ConfigError
from glocal.models.preprocessing import Preprocessing
from glocal.models.weights import load_model
from glocal.nn.attention import SpatialAttention
from glocal.nn.margin_head import MarginHead
from glocal.nn.multi_atrous import MultiAtrous
from glocal.ops.whitening import fit_whitening
from glocal.train.validation import describe_photos

_MOST = 2000  # photos that the whitening is fitted on
_CELLS = 16  # of each
_LAST = ("whiten", "project", "aggregate.project.0")
_LAYERS = (
    ("attention.conv1", "attention.bn"),  # DOLG: f_l before its unit norm
    ("reduce", ""),  # DOLG: f_g
    ("project", ""),  # DOLG
    ("reduce.0", "reduce.1"),  # Token: local features
    ("aggregate.project.0", "aggregate.project.1"),  # Token
    ("whiten", ""),  # DELG and the baselines
)
"""Layers that are whitened, and the normalisations behind them; glocal has those of its system."""


def fill_from(network: nn.Module, name: str, folder: Path) -> None:
    """Take the weights of another model: all of them, or what a model of another kind has in common.

    Common are the backbone, and the local head if both have one of the same shape.

    Args:
        network: filled in place.
        name: of the network in the catalogue.
        folder: of the other model.

    Raises:
        ConfigError: the other model has another backbone, or the same name and other options.
        WeightsError: there is no model in the folder, or it is damaged.
    """
    other, config, _ = load_model(folder)
    try:
        if config.name == name:
            network.load_state_dict(other.state_dict())
            return
        _part(network, "backbone").load_state_dict(_part(other, "backbone").state_dict())
    except (RuntimeError, KeyError) as error:
        raise ConfigError(
            f"model.init: {folder} is a {config.name} with options {config.options}, which does not fit {name} as the "
            "recipe has it → the same model.options, or a model with the same backbone"
        ) from error
    if not (hasattr(network, "local_head") and hasattr(other, "local_head")):
        return
    mine, theirs = (_part(module, "local_head").state_dict() for module in (network, other))
    if {key: value.shape for key, value in mine.items()} == {key: value.shape for key, value in theirs.items()}:
        _part(network, "local_head").load_state_dict(theirs)


def _part(network: nn.Module, name: str) -> nn.Module:
    part = getattr(network, name, None)
    if not isinstance(part, nn.Module):
        raise KeyError(name)
    return part


def whiten_projections(
    network: nn.Module,
    photos: LabelledPhotos,
    rules: Preprocessing,
    size: int,
    device: str,
    power: float,
    local_power: float,
    precision: str = "float32",
) -> None:
    """Set the layers that give the descriptors to the PCA whitening of what they read (Radenović et al., section 3.3).

    In DOLG and Token the layers before them, too, in the order of the data: what these are made to do later, they
    begin by passing on. DOLG's atrous convolutions begin without context, its attention is equal everywhere.

    Args:
        network: changed in place; see `_LAYERS` for what is known of it.
        photos: a sample of them is described, the centre square at one scale.
        rules: how the network is fed.
        size: side of the square.
        device: of the network.
        power: components are divided by variance ** power: 0.5 whitens fully, 0 leaves the layers as they are.
        local_power: the same of the local descriptors.
        precision: "float32" or "bfloat16" (mixed).

    Raises:
        ConfigError: the network has no such layer, or there are fewer photos than its outputs.
    """
    rng = np.random.default_rng(0)
    mask = np.zeros(len(photos), bool)
    mask[rng.permutation(len(photos))[:_MOST]] = True
    sample = photos.subset(mask)

    def read_by(module: nn.Module) -> NDArray[np.float32]:
        """(N, C) of what a module reads: vectors, or some cells of every map."""
        found: list[NDArray[np.float32]] = []

        def keep(_: nn.Module, given: tuple[Tensor]) -> None:
            vectors = given[0]
            if vectors.ndim == 4:
                cells = vectors.flatten(2).mT.flatten(0, 1)  # (B h w, C)
                chosen = torch.from_numpy(rng.integers(len(cells), size=_CELLS * len(vectors)))
                vectors = cells[chosen.to(cells.device)]
            found.append(vectors.float().cpu().numpy())

        hook = module.register_forward_pre_hook(keep)
        try:
            describe_photos(network, sample, rules, size, device, precision)
        finally:
            hook.remove()
        return np.concatenate(found)

    modules = {name.removeprefix("system."): module for name, module in network.named_modules()}
    if power:
        if isinstance(atrous := modules.get("multi_atrous"), MultiAtrous):
            _pass_on(atrous, read_by(atrous), power)
        if isinstance(attention := modules.get("attention"), SpatialAttention):
            nn.init.zeros_(attention.conv2.weight)
        last = False
        for name, follower in _LAYERS:
            layer = modules.get(name)
            if isinstance(layer, nn.Linear | nn.Conv2d):
                vectors = read_by(layer)
                _whiten(layer, vectors, power, "model.whitening")
                _adjust(modules.get(follower), layer, vectors)
                last = name in _LAST
        if not last:
            raise ConfigError("model.whitening: no linear layer gives this network's descriptor → set it to 0")
    if local_power:
        if not isinstance(encode := modules.get("local_head.encode"), nn.Conv2d):
            raise ConfigError("model.local_whitening: this network has no local descriptors to whiten → set it to 0")
        _whiten(encode, read_by(encode), local_power, "model.local_whitening")


def _whiten(layer: nn.Linear | nn.Conv2d, vectors: NDArray[np.float32], power: float, key: str) -> None:
    """Fill a linear layer or 1x1 convolution from a sample of what it reads."""
    if len(vectors) <= len(layer.weight):
        raise ConfigError(
            f"{key} needs more than {len(layer.weight)} photos, as many as the descriptor has numbers, "
            f"not {len(vectors)} → set it to 0"
        )
    mean, projection = fit_whitening(vectors, min(len(layer.weight), vectors.shape[1]), power)
    # The scale is free, since the descriptor gets unit norm: typical outputs of norm 1 keep gradients moderate.
    projection = projection / np.linalg.norm((vectors - mean) @ projection, axis=1).mean()
    with torch.no_grad():
        rows = layer.weight[: projection.shape[1]]
        rows.copy_(torch.from_numpy(projection.T.copy()).view_as(rows))
        if layer.bias is not None:
            layer.bias[: projection.shape[1]].copy_(torch.from_numpy(-(mean @ projection)))


def _adjust(norm: nn.Module | None, layer: nn.Linear | nn.Conv2d, vectors: NDArray[np.float32]) -> None:
    """Let the normalisation behind a whitened layer, if there is one, begin by changing nothing."""
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        return
    weight, bias = layer.weight.detach().flatten(1).cpu().numpy(), layer.bias
    outputs = vectors @ weight.T + (0.0 if bias is None else bias.detach().cpu().numpy())
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        norm.running_mean.copy_(torch.from_numpy(outputs.mean(axis=0)))
        norm.running_var.copy_(torch.from_numpy(outputs.var(axis=0)))
        norm.bias.copy_(norm.running_mean)
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())


def _pass_on(atrous: MultiAtrous, cells: NDArray[np.float32], power: float) -> None:
    """Principal components of the map through the middle of every convolution; the ReLU gets each with both signs."""
    hidden = atrous.image_pool.out_channels
    mean, projection = fit_whitening(cells, min(hidden * len(atrous.branches), cells.shape[1]), power)
    projection = projection / np.linalg.norm((cells - mean) @ projection, axis=1).mean()
    weight, bias = torch.from_numpy(projection.T.copy()), torch.from_numpy(-(mean @ projection))
    with torch.no_grad():
        for i, conv in enumerate(atrous.branches):
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            middle, rows = conv.kernel_size[0] // 2, slice(i * hidden, (i + 1) * hidden)
            count = len(weight[rows])
            conv.weight.zero_()
            conv.weight[:count, :, middle, middle] = weight[rows].to(conv.weight)
            conv.bias[:count] = bias[rows].to(conv.bias)
        both = min(len(atrous.merge.weight) // 2, len(weight))
        places = torch.arange(both)
        assert atrous.merge.bias is not None
        atrous.merge.weight.zero_()
        atrous.merge.bias.zero_()
        atrous.merge.weight[places, hidden + places] = 1.0  # after those of the image's mean
        atrous.merge.weight[both + places, hidden + places] = -1.0


def imprint(
    head: MarginHead,
    network: nn.Module,
    photos: LabelledPhotos,
    rules: Preprocessing,
    size: int,
    device: str,
    precision: str = "float32",
) -> None:
    """Set every class's weights to the mean descriptor of its photos (Qi et al., CVPR 2018).

    Args:
        head: its `weight` is (K, D), or (K, k, D) with k centres per class, changed in place.
        network: describes the photos, the centre square at one scale.
        photos: of K classes.
        rules: how the network is fed.
        size: side of the square.
        device: of the network.
        precision: "float32" or "bfloat16" (mixed).
    """
    vectors, labels = describe_photos(network, photos, rules, size, device, precision)
    sums = torch.zeros(len(head.weight), vectors.shape[1]).index_add_(
        0, torch.from_numpy(labels), torch.from_numpy(vectors)
    )
    seen = sums.norm(dim=1) > 0  # a class whose photos are all damaged keeps its random weights
    means = torch.nn.functional.normalize(sums[seen], dim=1).to(head.weight.device)
    with torch.no_grad():
        weight: Tensor = head.weight
        if weight.ndim == 2:
            weight[seen] = means
        else:  # centres differ by a little chance, or they would stay equal for ever
            length = weight.norm(dim=2, keepdim=True).mean()
            weight[seen] = means[:, None] + 0.3 * weight[seen] / length
