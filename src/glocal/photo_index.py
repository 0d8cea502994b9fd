"""`glocal.Index`: a folder of photos that can be searched, in six lines of Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from glocal.errors import ConfigError
from glocal.extract.pool import WorkerPool
from glocal.extract.run import IndexOptions, IndexReport, IndexRun, Listener
from glocal.models.catalogue import DEFAULT_MODEL, create_model, find_model
from glocal.search import Searcher, SearchResult, check_spec
from glocal.store.collection import Collection
from glocal.types import Box

StrPath = str | os.PathLike[str]


class Index:
    """A searchable collection of photos. Use `create` or `open`.

    Searching needs no lock; `add` takes the writer's lock while it runs.
    """

    def __init__(self, directory: StrPath) -> None:
        self.directory = Path(directory)
        self._collection = Collection.open(self.directory)
        self._searcher = Searcher(self._collection)

    @classmethod
    def create(cls, directory: StrPath, model: str = DEFAULT_MODEL) -> Index:
        """Make an empty index.

        Args:
            directory: where it is kept; made if need be.
            model: name of the extractor, see `glocal models`.

        Raises:
            ConfigError: there is no such model.
            StoreError: there is an index in this place already.
        """
        Collection.create(Path(directory), create_model(model).spec).close()
        return cls(directory)

    @classmethod
    def open(cls, directory: StrPath) -> Index:
        """Open an existing index.

        Raises:
            StoreError: there is none in this place, or it is damaged.
        """
        return cls(directory)

    @classmethod
    def open_or_create(cls, directory: StrPath, model: str | None = None) -> Index:
        """Open an index, or make one.

        Args:
            directory: where it is kept.
            model: name of the extractor for a new index; None is the default. An existing index
                must have been made with it.

        Raises:
            SpecMismatch: the index was made with another model.
        """
        if not Collection.exists(Path(directory)):
            return cls.create(directory, model or DEFAULT_MODEL)
        index = cls(directory)
        if model is not None and find_model(model).name != index._collection.spec.model:
            try:
                check_spec(index._collection, create_model(model).spec)
            finally:
                index.close()
        return index

    @staticmethod
    def exists(directory: StrPath) -> bool:
        """Whether there is an index in a place."""
        return Collection.exists(Path(directory))

    @property
    def collection(self) -> Collection:
        """The store beneath, open for reading."""
        return self._collection

    @property
    def searcher(self) -> Searcher:
        """The searcher above, for more than `search` gives."""
        return self._searcher

    def __len__(self) -> int:
        return self._collection.counts()["indexed"]

    def add(
        self,
        photos: StrPath,
        labels: str | None = None,
        progress: bool = False,
        options: IndexOptions | None = None,
        listener: Listener | None = None,
    ) -> IndexReport:
        """Bring the index up to date with a folder of photos. Run it again after an interruption or a change.

        Args:
            photos: the folder. An index belongs to one folder; if that has moved, name its new place.
            labels: "folder" takes the name of a photo's folder as its label.
            progress: show a bar on stderr.
            options: how to index.
            listener: is told what happens; replaces the bar.

        Raises:
            ConfigError: no such folder, or the index belongs to another one.
            NothingToDo: the folder holds no picture.
            SpecMismatch: the index was made with other weights or preprocessing than those installed.
            StoreBusy: another process is writing this index.
            DiskFull: no space is left; what was saved before is safe.
        """
        root = Path(photos)
        if not root.is_dir():
            raise ConfigError(f"No such folder: {root}")
        if labels not in (None, "folder"):
            raise ConfigError(f'labels must be "folder" or None, not {labels!r}')
        model = self._collection.spec.model
        check_spec(self._collection, create_model(model).spec)
        options = options or IndexOptions()
        if listener is None:
            listener = _bar() if progress else Listener()
        with Collection.open(self.directory, writable=True) as collection:
            moved_from = _adopt_root(collection, root)
            if labels is not None:
                collection.labels = labels

            def pool_of(workers: int) -> WorkerPool:
                return WorkerPool(model, workers, options.limits, options.timeout_s)

            report = IndexRun(collection, root, pool_of, options, listener).run()
            report.moved_from = moved_from
            return report

    def search(self, photo: StrPath, topk: int = 20, rerank: str = "geometric", box: Box | None = None) -> SearchResult:
        """Find the photos that show what a photo shows; see `glocal.search.Searcher.search`."""
        return self._searcher.search(photo, topk, rerank, box)

    def info(self) -> dict[str, Any]:
        """Model, folder, counts and bytes, as `glocal info --json` gives them."""
        collection = self._collection
        return {
            "model": collection.spec.model,
            "weights": collection.spec.weights,
            "dim": collection.spec.dim,
            "counts": collection.counts(),
            "rejected": collection.rejected_by_reason(),
            "bytes": collection.stored_bytes(),
        }

    def close(self) -> None:
        """Close the files and end the worker."""
        self._searcher.close()
        self._collection.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _adopt_root(collection: Collection, root: Path) -> Path | None:
    """Bind a collection to its folder, or to the place where that has moved; returns where it was then."""
    before = collection.root
    if before == root.resolve():
        return None
    if before is not None and before.exists():
        raise ConfigError(
            f"The index in {collection.directory} belongs to {before}. → glocal index {root} without --index, "
            "or with another place"
        )
    collection.root = root
    return before


def _bar() -> Listener:
    from glocal.progress import BarListener  # noqa: PLC0415 - rich takes a moment to import

    return BarListener()
