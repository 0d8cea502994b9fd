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
from glocal.nn.margin_head import MarginHead
from glocal.ops.whitening import fit_whitening
from glocal.train.validation import describe_photos

_MOST = 3000  # photos that the whitening is fitted on
_PROJECTIONS = ("whiten", "project", "system.whiten", "system.project")


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


def whiten_projection(
    network: nn.Module,
    photos: LabelledPhotos,
    rules: Preprocessing,
    size: int,
    device: str,
    power: float,
    precision: str = "float32",
) -> None:
    """Set the layer that gives the descriptor to the PCA whitening of what it reads (Radenović et al., section 3.3).

    Args:
        network: changed in place; its descriptor comes from a linear layer called `whiten` or `project`.
        photos: a sample of them is described, the centre square at one scale.
        rules: how the network is fed.
        size: side of the square.
        device: of the network.
        power: components are divided by variance ** power: 0.5 whitens fully, 0 rotates.
        precision: "float32" or "bfloat16" (mixed).

    Raises:
        ConfigError: the network has no such layer, or there are fewer photos than its outputs.
    """
    modules = dict(network.named_modules())
    layer = next((modules[name] for name in _PROJECTIONS if isinstance(modules.get(name), nn.Linear)), None)
    if not isinstance(layer, nn.Linear):
        raise ConfigError("model.whitening: no linear layer gives this network's descriptor → set it to 0")
    chosen = np.random.default_rng(0).permutation(len(photos))[:_MOST]
    mask = np.zeros(len(photos), bool)
    mask[chosen] = True
    inputs: list[NDArray[np.float32]] = []
    hook = layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].float().cpu().numpy()))
    try:
        describe_photos(network, photos.subset(mask), rules, size, device, precision)
    finally:
        hook.remove()
    vectors = np.concatenate(inputs)
    if len(vectors) <= layer.out_features:
        raise ConfigError(
            f"model.whitening needs more than {layer.out_features} photos, as many as the descriptor has numbers, "
            f"not {len(vectors)} → set it to 0"
        )
    mean, projection = fit_whitening(vectors, layer.out_features, power)
    # The scale is free, since the descriptor gets unit norm: typical outputs of norm 1 keep gradients moderate.
    projection = projection / np.linalg.norm((vectors - mean) @ projection, axis=1).mean()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(projection.T.copy()))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(-(mean @ projection)))


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
