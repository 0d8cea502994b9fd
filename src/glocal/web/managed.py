"""Indexes that the service makes itself, of photos that are sent to it: `DATA/indexes/ID/{photos,index}`."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from glocal.errors import ImageError
from glocal.models.catalogue import default_model, list_models
from glocal.photo_index import Index
from glocal.store.milvus_place import MilvusPlace
from glocal.store.open import open_collection
from glocal.web.library import IMAGE_ID, Library, ServedIndex
from glocal.web.photo_files import keep_photo
from glocal.web.problems import Problem
from glocal.web.settings import Settings

MAX_INDEXES = 100
_MAKING = threading.Lock()


def create_index(library: Library, settings: Settings, index_id: str, model: str | None) -> ServedIndex:
    """Make an empty index and serve it.

    Args:
        library: takes it up.
        settings: say where it goes.
        index_id: its name.
        model: one of `glocal models`; None for the default. No folder: a request must not name one.

    Raises:
        Problem: `not_supported` if the service keeps none, `index_exists`, `invalid_params`, `too_many_jobs`.
        RetrievalError: the model's weights are not here, or the disk refuses.
    """
    if settings.data_dir is None:
        raise Problem("not_supported", "This service makes no indexes.", "glocal serve --data DIR")
    if model is not None and model not in list_models("*"):
        raise Problem("invalid_params", "There is no such model.", "GET /v1/models lists them")
    with _MAKING:
        if any(each.id == index_id for each in library.indexes):
            raise Problem("index_exists", "There is such an index already.")
        if sum(each.managed for each in library.indexes) >= MAX_INDEXES:
            raise Problem("too_many_requests", f"This service keeps {MAX_INDEXES} indexes at most.")
        folder = settings.data_dir / "indexes" / index_id
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except FileExistsError as error:
            raise Problem("index_exists", "There is such an index already.") from error
        except OSError as error:
            raise Problem("storage_full", f"It cannot be made: {(error.strerror or 'write error').lower()}.") from error
        try:
            (folder / "photos").mkdir(mode=0o700)
            Index.create(folder / "index", model or default_model()).close()
            with open_collection(folder / "index", writable=True) as collection:
                collection.root = folder / "photos"
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return library.add(folder / "index", managed=True, index_id=index_id)


def photos_of(index: ServedIndex) -> Path:
    """The folder where the photos of an index are kept.

    Raises:
        Problem: `index_is_a_folder`: they are somebody's own.
    """
    if not index.managed or isinstance(index.place, MilvusPlace):
        raise Problem(
            "index_is_a_folder",
            "This index follows a folder of photos; the service does not change it.",
            f"put photos into the folder, then POST /v1/indexes/{index.id}/update; or make an index: POST /v1/indexes",
        )
    return index.place.parent / "photos"


def keep_photos(index: ServedIndex, files: Sequence[bytes]) -> list[tuple[int, str]]:
    """Keep photos that were sent; they are searchable once a job has read them.

    Returns:
        Place and reason of those that are no pictures.

    Raises:
        Problem: `index_is_a_folder`.
        StoreError: the disk refuses.
    """
    folder = photos_of(index)
    refused = []
    for number, data in enumerate(files):
        try:
            keep_photo(folder, data)
        except ImageError as error:
            refused.append((number, error.code))
    return refused


def delete_photo(index: ServedIndex, image_id: str) -> None:
    """Delete a photo that was sent, and its features.

    Raises:
        Problem: `index_is_a_folder`, `image_not_found`.
        StoreBusy: the index is being written.
    """
    folder = photos_of(index)
    with open_collection(index.place, writable=True) as collection:
        paths = collection.paths(image_id) if IMAGE_ID.fullmatch(image_id) else []
        if not paths:
            raise Problem("image_not_found", "There is no such picture in this index.")
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(os.fsencode(folder), path))
        collection.hide(paths)
        collection.drop_unused(missing_too=True)
