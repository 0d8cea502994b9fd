"""The served indexes: their ids, places, and what they hold now, also when another process writes or swaps them."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glocal.data.image import LIMITS, DecodeLimits, read_file
from glocal.data.remote import RemoteFolder, is_url
from glocal.errors import ImageError, RetrievalError
from glocal.store.contract import PhotoCollection
from glocal.store.milvus_place import MilvusPlace
from glocal.store.open import Place, open_collection
from glocal.store.schema import DATABASE_NAME
from glocal.web.problems import Problem, without_paths
from glocal.web.settings import Settings

_LOG = logging.getLogger(__name__)
IMAGE_ID = re.compile(r"[0-9a-f]{32}")
INDEX_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IDLE_CONNECTIONS = 4
Generation = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A picture of an index that is there.

    Attributes:
        id: its content hash.
        name: relative to the index's folder, for people.
        path: its file, absolute; or its URL, where the index is of an object store.
        root: the folder that the file has to lie in, or the URL of one, for `glocal.extract.requests.Request.root`.
        size: (W, H) of the upright picture.
        label: name of the object, or None.
        copies: names of exact copies.
    """

    id: str
    name: str
    path: bytes
    root: bytes
    size: tuple[int, int]
    label: str | None
    copies: tuple[str, ...]

    @property
    def is_remote(self) -> bool:
        """Whether it lies in an object store."""
        return is_url(os.fsdecode(self.root))

    def read(self, limits: DecodeLimits = LIMITS) -> bytes:
        """The bytes of its file, which is fetched where it lies in a store.

        Raises:
            ImageError: it cannot be read any more, or lies outside the folder.
            ConfigError, BackendUnavailable: the store cannot be asked.
        """
        if self.is_remote:
            name = self.path.removeprefix(self.root).lstrip(b"/")
            return RemoteFolder(os.fsdecode(self.root)).read(name, limits).data
        folder, root = os.path.realpath(os.path.dirname(self.path)), os.path.realpath(self.root)
        if not os.path.join(folder, b"").startswith(os.path.join(root, b"")):
            raise ImageError("outside_root")
        return read_file(os.fsdecode(self.path), limits).data


class ServedIndex:
    """One index. All methods may be called by any thread.

    Attributes:
        id: as addresses name it.
        place: folder of the collection, or a place in Milvus.
        managed: whether the service made it, so that pictures can be uploaded into it.
        state: "loading", "ready" or "failed".
        reason: why it is not ready, in words without paths; empty if it is.
    """

    def __init__(self, index_id: str, place: Place, managed: bool = False) -> None:
        self.id, self.place, self.managed = index_id, place, managed
        self.state, self.reason = "loading", "its model is being loaded"
        self._lock = threading.Lock()
        self._idle: list[tuple[Generation, PhotoCollection]] = []
        self._watch: PhotoCollection | None = None
        self._seen: tuple[Generation, int] | None = None
        self._version = 0
        self._closed = False

    def generation(self) -> Generation:
        """Differs when another file has taken the index's place; () while there is none."""
        if isinstance(self.place, MilvusPlace):
            return (0,)
        try:
            about = os.stat(self.place / DATABASE_NAME)
        except OSError:
            return ()
        same_file = (about.st_dev, about.st_ino)
        # A file in a read-only folder is opened as unchanging: then a connection sees no commit.
        return same_file if os.access(self.place, os.W_OK) else (*same_file, about.st_mtime_ns, about.st_size)

    @contextmanager
    def reading(self) -> Iterator[PhotoCollection]:
        """A connection of one's own for a while, of what is in the index's place now.

        While nothing is there (an index being swapped), the last one is given.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        now = self.generation()
        connection, born = self._take(now)
        try:
            yield connection
        except BaseException:
            connection.close()  # it may be inside a transaction
            raise
        with self._lock:
            if not self._closed and len(self._idle) < _IDLE_CONNECTIONS:
                self._idle.append((born, connection))
                return
        connection.close()

    def _take(self, now: Generation) -> tuple[PhotoCollection, Generation]:
        with self._lock:
            stale = [pair for pair in self._idle if now and pair[0] != now]
            self._idle = [pair for pair in self._idle if not now or pair[0] == now]
            taken = self._idle.pop() if self._idle else None
        for _, connection in stale:
            connection.close()
        if taken is not None:
            return taken[1], taken[0]
        return open_collection(self.place), now

    def version(self) -> int:
        """A number that grows with every change that was noticed, from 1 when the service starts."""
        with self._lock:
            now = self.generation()
            try:
                if self._watch is None or (now and self._seen and self._seen[0] != now):
                    fresh = open_collection(self.place)
                    if self._watch is not None:
                        self._watch.close()
                    self._watch = fresh
                seen = (now or (self._seen[0] if self._seen else ()), self._watch.version())
            except RetrievalError:
                return max(1, self._version)
            if seen != self._seen:
                self._seen = seen
                self._version += 1
            return self._version

    def find(self, image_id: str) -> Found | None:
        """A searchable picture by its id; None if there is none, or its index has neither folder nor store."""
        if not IMAGE_ID.fullmatch(image_id):
            return None
        with self.reading() as collection:
            folder, url = collection.root, collection.url
            paths = collection.paths(image_id)
            if not paths or (folder is None and url is None):
                return None
            names = tuple(map(os.fsdecode, paths))
            size, label = collection.picture_size(image_id), collection.label(names[0])
        if url is not None:
            root, first = os.fsencode(url), paths[0]
        else:
            root = os.fsencode(folder or "")
            first = next((path for path in paths if os.path.lexists(os.path.join(root, path))), paths[0])
        return Found(image_id, names[0], os.path.join(root, first), root, size, label, names[1:])

    def fail(self, error: Exception) -> None:
        """Note that it cannot be used, and why."""
        text = error.detail if isinstance(error, ImageError | Problem) else str(error)
        self.state, self.reason = "failed", without_paths(text)

    def close(self) -> None:
        """Close all connections that are not in use."""
        with self._lock:
            self._closed = True
            waiting = [connection for _, connection in self._idle]
            if self._watch is not None:
                waiting.append(self._watch)
            self._idle, self._watch = [], None
        for connection in waiting:
            connection.close()


class Library:
    """All indexes of a service, by id; the first is the default."""

    def __init__(self, places: Iterable[Place], settings: Settings) -> None:
        """Name the places; nothing is opened yet. Indexes that the service made before are found in `data_dir`."""
        self._settings = settings
        self._indexes: dict[str, ServedIndex] = {}
        self._lock = threading.Lock()
        for place in places:
            self.add(place)
        if settings.data_dir is not None:
            for folder in sorted((settings.data_dir / "indexes").glob("*/index")):
                if INDEX_ID.fullmatch(folder.parent.name) and (folder / DATABASE_NAME).is_file():
                    self.add(folder, managed=True, index_id=folder.parent.name)

    @property
    def indexes(self) -> list[ServedIndex]:
        """All of them, in the order in which they were named."""
        with self._lock:
            return list(self._indexes.values())

    def add(self, place: Place, managed: bool = False, index_id: str | None = None) -> ServedIndex:
        """Serve another index.

        Args:
            place: where it is kept.
            managed: whether the service made it.
            index_id: as addresses name it; None makes one from the place.

        Raises:
            Problem: `index_exists`.
        """
        with self._lock:
            if index_id is None:
                index_id = _free_id(place, self._indexes)
            elif index_id in self._indexes:
                raise Problem("index_exists", f'There is an index "{index_id}" already.', "choose another id")
            index = ServedIndex(index_id, place, managed)
            self._indexes[index_id] = index
            return index

    def get(self, index_id: str | None = None) -> ServedIndex:
        """An index by its id; None is the first.

        Raises:
            Problem: `index_not_found`.
        """
        with self._lock:
            found = next(iter(self._indexes.values()), None) if index_id is None else self._indexes.get(index_id)
        if found is None:
            raise Problem("index_not_found", "There is no such index here.", "GET /v1/indexes lists them")
        return found

    @property
    def not_ready(self) -> str | None:
        """The first reason why some index cannot be searched; None if all can."""
        for index in self.indexes:
            if index.state != "ready":
                return f"index {index.id}: {index.reason}"
        return None

    def close(self) -> None:
        """Close all connections."""
        for index in self.indexes:
            with contextlib.suppress(RetrievalError):
                index.close()


def _free_id(place: Place, taken: Iterable[str]) -> str:
    """The name of the folder of photos as an address may have it; numbered if it is taken."""
    if isinstance(place, MilvusPlace):
        name = place.name
    else:
        full = Path(os.path.abspath(place))
        name = full.parent.name if full.name.startswith(".") else full.name
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:56] or "index"
    names, number, chosen = set(taken), 2, safe
    while chosen in names:
        chosen, number = f"{safe}-{number}", number + 1
    return chosen
