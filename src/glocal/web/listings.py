"""What an index holds, as it is told over HTTP; counted anew only when it has changed."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

from glocal.errors import RetrievalError
from glocal.index.status import search_json
from glocal.store.collection import Collection
from glocal.store.contract import PhotoCollection
from glocal.store.rows import CatalogueRow
from glocal.web.answers import utc
from glocal.web.library import ServedIndex
from glocal.web.service import Service


class Counts(BaseModel):
    """Files of an index by what became of them."""

    indexed: int
    missing: int
    rejected: int


class IndexInfo(BaseModel):
    """An index.

    Numbers are null while an index cannot be read; `reason` says why.
    """

    id: str
    state: str
    reason: str
    size: int | None
    model: str | None
    model_hash: str | None
    version: int
    counts: Counts | None
    rejected: dict[str, int]
    bytes: dict[str, int]
    labels: int
    recall_probe: dict[str, Any] | None
    managed: bool
    last_update: str | None = Field(description="when the newest run ended, in UTC; of one that did not, when it began")
    is_complete: bool | None
    job: str | None


class IndexList(BaseModel):
    """All indexes of this service; the first is the default."""

    indexes: list[IndexInfo]


class ListedImage(BaseModel):
    """A searchable photo."""

    id: str
    name: str
    width: int
    height: int
    label: str | None


class ImageList(BaseModel):
    """Some photos of an index, ordered by name."""

    images: list[ListedImage]
    total: int


class Skipped(BaseModel):
    """A file that was refused."""

    path: str
    reason: str
    detail: str | None


class SkippedList(BaseModel):
    """Some refused files of an index, ordered by name."""

    skipped: list[Skipped]
    total: int


class Listings:
    """Reads what indexes hold. All methods may be called by any thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, tuple[tuple[object, ...], dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def index(self, index: ServedIndex) -> IndexInfo:
        """What is known about an index."""
        job = self._service.jobs.running_on(index.id)
        try:
            fields = self._read(index) if index.state != "failed" else {}
        except RetrievalError:  # it has been damaged a moment ago: the others are listed, and soon it says why
            fields = {}
        now = {
            "id": index.id,
            "state": index.state,
            "reason": index.reason,
            "version": index.version(),
            "managed": index.managed,
            "job": None if job is None else job.id,
        }
        return IndexInfo.model_validate(_NOTHING | fields | now)

    def images(self, index: ServedIndex, offset: int, limit: int, prefix: str) -> ImageList:
        """Some of its searchable photos, and how many there are."""
        start = os.fsencode(prefix)
        with index.reading() as collection, collection.snapshot():
            rows, total = _part(_under(collection, start), offset, limit, counted=bool(start))
            if total is None:
                total = collection.counts()["indexed"]
            listed = [
                ListedImage(
                    id=row.content_hash or "",
                    name=shown(row.path),
                    width=row.width,
                    height=row.height,
                    label=collection.label(os.fsdecode(row.path)),
                )
                for row in rows
            ]
        return ImageList(images=listed, total=total)

    def skipped(self, index: ServedIndex, offset: int, limit: int) -> SkippedList:
        """Some of the files that were refused, and how many there are."""
        with index.reading() as collection, collection.snapshot():
            rows, _ = _part(collection.catalogue("rejected"), offset, limit, counted=False)
            total = collection.counts()["rejected"]
        listed = [Skipped(path=shown(row.path), reason=row.reason or "", detail=row.detail) for row in rows]
        return SkippedList(skipped=listed, total=total)

    def _read(self, index: ServedIndex) -> dict[str, Any]:
        key = (index.generation(), index.version())
        with self._lock:
            if index.id in self._known and self._known[index.id][0] == key:
                return self._known[index.id][1]
        with index.reading() as collection, collection.snapshot():
            fields = _fields(collection)
        with self._lock:
            self._known[index.id] = (key, fields)
        return fields


_NOTHING: dict[str, Any] = {
    "size": None,
    "model": None,
    "model_hash": None,
    "counts": None,
    "rejected": {},
    "bytes": {},
    "labels": 0,
    "recall_probe": None,
    "last_update": None,
    "is_complete": None,
}


def _fields(collection: PhotoCollection) -> dict[str, Any]:
    counts, last, ended = collection.counts(), collection.last_run(), collection.last_update()
    return {
        "size": counts["contents"],
        "model": collection.spec.model,
        "model_hash": f"sha256:{collection.spec.weights}",
        "counts": counts,
        "rejected": collection.rejected_by_reason(),
        "bytes": collection.stored_bytes(),
        "labels": collection.num_labelled(),
        "recall_probe": search_json(collection) if isinstance(collection, Collection) else None,
        "last_update": None if ended is None else utc(ended),
        "is_complete": None if last is None else last[0],
    }


def _under(collection: PhotoCollection, start: bytes) -> Iterator[CatalogueRow]:
    return (row for row in collection.catalogue("indexed") if row.path.startswith(start))


def _part(
    rows: Iterator[CatalogueRow], offset: int, limit: int, counted: bool
) -> tuple[list[CatalogueRow], int | None]:
    """Some rows; the number of all only if they are to be counted: that takes reading them to the end."""
    if not counted:
        return list(itertools.islice(rows, offset, offset + limit)), None
    some, total = [], 0
    for row in rows:
        if offset <= total < offset + limit:
            some.append(row)
        total += 1
    return some, total


def shown(path: bytes) -> str:
    """A name as text that can be sent: what is not UTF-8 becomes a replacement character."""
    return path.decode("utf-8", "replace")
