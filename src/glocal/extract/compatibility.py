"""Whether a model is the one that made a collection: descriptors of two extractors are never compared."""

from __future__ import annotations

import os

from glocal.errors import SpecMismatch, WeightsError
from glocal.extract.batching import ModelSource, resolve_source
from glocal.store.contract import FeatureStore
from glocal.types import ExtractorSpec


def model_for(
    collection: FeatureStore, asked: str | None = None, device: str = "auto", batch_size: int | str = "auto"
) -> ModelSource:
    """The model that describes photos for a collection.

    Args:
        collection: names its model and where that was.
        asked: the name that the user expects, or the place where the weights are now; None takes the collection's.
        device: where a network runs.
        batch_size: photos that go through a network together.

    Raises:
        SpecMismatch: the collection was made with a model of another name.
        ConfigError: there is no such model, or an option makes no sense.
    """
    source = collection.model_source
    if asked is not None:
        wanted = resolve_source(asked)
        if os.path.isabs(wanted):
            source = wanted
        elif wanted != collection.spec.model:
            raise _other_model(collection, wanted)
    return ModelSource(source, device, batch_size)


def check_place(collection: FeatureStore, model: ModelSource) -> None:
    """Make sure that the weights are where they should be.

    Raises:
        WeightsError: they have gone.
    """
    if model.is_path and not os.path.exists(model.source):
        raise WeightsError(
            f"The index in {collection.directory} was made with the {collection.spec.model} in {model.source}, "
            "and that is not there. → put it back, or name its new place: --model DIR"
        )


def check_spec(collection: FeatureStore, spec: ExtractorSpec, source: str | None = None) -> None:
    """Refuse to mix descriptors of two extractors.

    Args:
        collection: what was stored.
        spec: the extractor of today.
        source: where that comes from, if it matters.

    Raises:
        SpecMismatch: the collection was made by another model, weights or preprocessing; both values are named.
    """
    differences = collection.spec.differences(spec)
    if not differences:
        return
    values = "; ".join(f"{name}: index {_short(there)!r}, here {_short(here)!r}" for name, there, here in differences)
    if spec.model != collection.spec.model and source != collection.model_source:
        raise _other_model(collection, spec.model, source, f" ({spec.dim})")
    if source is not None and os.path.isabs(source):
        raise SpecMismatch(
            f"The model in {source} is not the one that made the index in {collection.directory} ({values}). They "
            "cannot be compared. → --model DIR names the place of the right one; or index the folder anew with "
            "--index NEW_PLACE"
        )
    raise SpecMismatch(
        f"The index in {collection.directory} was made by another extractor ({values}). They cannot be compared. "
        "→ use the glocal that made it, or index the folder anew with --index NEW_PLACE"
    )


def _other_model(collection: FeatureStore, asked: str, source: str | None = None, numbers: str = "") -> SpecMismatch:
    spec = collection.spec
    return SpecMismatch(
        f"This index holds {spec.model} (sha {spec.weights[:4]}…) vectors of {spec.dim} numbers; you asked for "
        f"{asked}{numbers}. They cannot be compared. → drop --model to use {spec.model}, or "
        f"glocal index {collection.url or collection.root or 'PHOTOS'} --model {source or asked} --index NEW_PLACE"
    )


def _short(value: object) -> object:
    return value[:12] if isinstance(value, str) else value
