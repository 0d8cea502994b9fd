"""A model by name, folder or file, ready for photos."""

from __future__ import annotations

import os
from pathlib import Path

from glocal.errors import ConfigError, WeightsError
from glocal.extract.batching import resolve_source
from glocal.home import installed_model, weights_of
from glocal.models.catalogue import build_classical, find_model, require_torch
from glocal.protocols import Extractor


def load(source: str | os.PathLike[str], device: str = "auto", batch_size: int | str = "auto") -> Extractor:
    """Load a model with its weights and preprocessing.

    Args:
        source: a name of the catalogue ("rootsift", or a network that `glocal convert` has installed), the
            folder that `glocal convert` wrote, or the .safetensors file in it. A name goes before a folder of
            the same name; "./name" is the folder.
        device: "auto", "cpu", "cuda", "cuda:i" or "mps"; for networks.
        batch_size: photos that go through the network together; for networks.

    Returns:
        An extractor; see `glocal.protocols`.

    Raises:
        ConfigError: there is no such model.
        WeightsError: the model has no weights here, or they are damaged or of another model.
        BackendUnavailable: torch is not installed, or the device is not there.
    """
    source = resolve_source(source)
    if os.path.isabs(source):
        return _load_folder(Path(source), device, batch_size)
    card = find_model(source)
    if not card.is_network:
        extractor: Extractor = build_classical(card.name)
        return extractor
    return _load_folder(model_folder(card.name), device, batch_size)


def model_folder(source: str | os.PathLike[str]) -> Path:
    """Where the weights of a network lie: a folder of one's own, the installed ones, or those of the package.

    Raises:
        ConfigError: there is no such model, or it is no network.
        WeightsError: it has no weights here.
    """
    source = resolve_source(source)
    if os.path.isabs(source):
        return Path(source)
    card = find_model(source)
    if not card.is_network:
        raise ConfigError(f"{card.name} is no network. → glocal models lists those that are")
    place = weights_of(card.name)
    if place is None:
        raise WeightsError(
            f"{card.name} has no weights here: none come with the package, and none are installed in "
            f"{installed_model(card.name)}. → glocal convert CHECKPOINT --as {card.name.replace('_', '-')}"
        )
    return place


def _load_folder(place: Path, device: str, batch_size: int | str) -> Extractor:
    require_torch(f"The model in {place}")
    from glocal.extract.network import NetworkExtractor  # noqa: PLC0415 - imports torch
    from glocal.models.weights import load_model  # noqa: PLC0415 - imports torch

    network, config, fingerprint = load_model(place)
    return NetworkExtractor(network, config.name, config.preprocessing, fingerprint, device, batch_size)
