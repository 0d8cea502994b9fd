"""The place of an index -> its collection: a folder, or the URL of one in Milvus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.store.collection import Collection
from glocal.store.contract import PhotoCollection
from glocal.store.milvus_place import MilvusPlace, is_milvus_url, parse_milvus_url
from glocal.store.rows import LocalForm
from glocal.types import ExtractorSpec

if TYPE_CHECKING:
    from glocal.store.milvus import MilvusCollection

Place = Path | MilvusPlace


def place_of(place: str | os.PathLike[str] | MilvusPlace, token: str = "") -> Place:
    """What a place is: `milvus://HOST:PORT/NAME`, or a folder.

    Args:
        place: as the user names it.
        token: secret for a server; one in the URL is used if this is empty.

    Raises:
        ConfigError: a URL of Milvus that makes no sense.
    """
    if isinstance(place, MilvusPlace):
        return place.with_token(token)
    if isinstance(place, str) and is_milvus_url(place):
        return parse_milvus_url(place).with_token(token)
    return Path(place)


def open_collection(place: Place, writable: bool = False) -> PhotoCollection:
    """Open an existing collection.

    Raises:
        StoreError: there is none, it is damaged or of a newer format, or its server cannot be reached.
        StoreBusy: `writable`, and another process is writing.
        BackendUnavailable: the package that it needs is not installed.
    """
    if isinstance(place, MilvusPlace):
        return _milvus().open(place, writable)
    return Collection.open(place, writable)


def create_collection(
    place: Place, spec: ExtractorSpec, model_source: str | None = None, local_form: LocalForm = LocalForm.INT8
) -> PhotoCollection:
    """Make an empty collection and open it for writing.

    Args:
        place: where it is kept.
        spec: the extractor whose features it will hold.
        model_source: where that extractor comes from; None for the catalogue.
        local_form: how its local descriptors are kept.

    Raises:
        ConfigError: the signs of its local descriptors do not fill whole bytes.
        StoreError: there is one already, or it cannot be made.
        StoreBusy: another process is making one here.
        BackendUnavailable: the package that it needs is not installed.
    """
    if isinstance(place, MilvusPlace):
        return _milvus().create(place, spec, model_source, local_form)
    return Collection.create(place, spec, model_source, local_form)


def collection_exists(place: Place) -> bool:
    """Whether there is a collection in a place.

    Raises:
        StoreError: its server cannot be reached.
        BackendUnavailable: the package that it needs is not installed.
    """
    return _milvus().exists(place) if isinstance(place, MilvusPlace) else Collection.exists(place)


def _milvus() -> type[MilvusCollection]:
    from glocal.store.milvus import MilvusCollection  # noqa: PLC0415 - most users have no server

    return MilvusCollection
