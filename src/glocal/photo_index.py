"""`glocal.Index`: a folder of photos that can be searched, in six lines of Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from glocal.data.labelled import MAX_PHOTOS
from glocal.data.lists import csv_rows
from glocal.errors import ConfigError, NothingToDo
from glocal.extract.batching import ModelSource
from glocal.extract.compatibility import check_place, check_spec, model_for
from glocal.extract.pool import PhotoPool
from glocal.extract.run import IndexOptions, IndexReport, IndexRun, Listener
from glocal.models.catalogue import default_model
from glocal.recognition import RecognitionResult, recognize
from glocal.rerank.voting import VotingOptions
from glocal.search import Searcher, SearchResult
from glocal.store.collection import Collection
from glocal.store.labels import FOLDER
from glocal.types import Box

StrPath = str | os.PathLike[str]


class Index:
    """A searchable collection of photos. Use `create` or `open`.

    Searching needs no lock; `add` takes the writer's lock while it runs.
    """

    def __init__(
        self,
        directory: StrPath,
        model: StrPath | None = None,
        device: str = "auto",
        batch_size: int | str = "auto",
    ) -> None:
        self.directory = Path(directory)
        self._collection = Collection.open(self.directory)
        try:
            self.model = model_for(self._collection, None if model is None else os.fspath(model), device, batch_size)
            self._searcher = Searcher(self._collection, model=self.model)
        except BaseException:
            self._collection.close()
            raise

    @classmethod
    def create(
        cls,
        directory: StrPath,
        model: StrPath | None = None,
        device: str = "auto",
        batch_size: int | str = "auto",
    ) -> Index:
        """Make an empty index.

        Args:
            directory: where it is kept; made if need be.
            model: name of the extractor, see `glocal models`; or the folder of a network's weights; None for
                `glocal.models.catalogue.default_model`.
            device: where a network runs: "auto", "cpu", "cuda", "cuda:1", "mps".
            batch_size: photos that go through a network together; "auto" leaves it to the network.

        Raises:
            ConfigError: there is no such model.
            WeightsError: the network's weights are missing or damaged.
            BackendUnavailable: there is no such device.
            StoreError: there is an index in this place already.
        """
        source = ModelSource(default_model() if model is None else model, device, batch_size)
        Collection.create(Path(directory), source.spec, source.source).close()
        index = cls(directory, None, device, batch_size)
        index._use(source)
        return index

    @classmethod
    def open(
        cls,
        directory: StrPath,
        model: StrPath | None = None,
        device: str = "auto",
        batch_size: int | str = "auto",
    ) -> Index:
        """Open an existing index.

        Args:
            directory: where it is kept.
            model: name of the extractor that it must have been made with; or the folder where that
                is now. None takes it from where it was.
            device: where a network runs.
            batch_size: photos that go through a network together.

        Raises:
            StoreError: there is none in this place, or it is damaged.
            SpecMismatch: it was made with another model.
        """
        return cls(directory, model, device, batch_size)

    @classmethod
    def open_or_create(
        cls,
        directory: StrPath,
        model: StrPath | None = None,
        device: str = "auto",
        batch_size: int | str = "auto",
    ) -> Index:
        """Open an index, or make one.

        Args:
            directory: where it is kept.
            model: as for `open` or `create`; None is the default for a new index.
            device: where a network runs.
            batch_size: photos that go through a network together.

        Raises:
            SpecMismatch: the index was made with another model.
        """
        if not Collection.exists(Path(directory)):
            return cls.create(directory, model, device, batch_size)
        return cls(directory, model, device, batch_size)

    def _use(self, model: ModelSource) -> None:
        """Describe photos with a model that may be loaded already."""
        self.model = model
        self._searcher = Searcher(self._collection, model=model)

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
        labels: StrPath | None = None,
        progress: bool = False,
        options: IndexOptions | None = None,
        listener: Listener | None = None,
    ) -> IndexReport:
        """Bring the index up to date with a folder of photos. Run it again after an interruption or a change.

        Args:
            photos: the folder. An index belongs to one folder; if that has moved, name its new place.
            labels: "folder" takes the name of a photo's folder as its label; or a CSV file with columns path (in
                the folder) and label. The index remembers them; None leaves them as they are.
            progress: show a bar on stderr.
            options: how to index.
            listener: is told what happens; replaces the bar.

        Raises:
            ConfigError: no such folder, the index belongs to another one, or `labels` is no such file.
            NothingToDo: the folder holds no picture.
            SpecMismatch: the index was made with other weights or preprocessing than those at hand.
            WeightsError: the weights that made the index are gone.
            StoreBusy: another process is writing this index.
            DiskFull: no space is left; what was saved before is safe.
        """
        root = Path(photos)
        if not root.is_dir():
            raise ConfigError(f"No such folder: {root}")
        listed = None if labels is None or labels == FOLDER else _read_labels(Path(labels), root)
        check_place(self._collection, self.model)
        check_spec(self._collection, self.model.spec, self.model.source)
        options = options or IndexOptions()
        if listener is None:
            listener = _bar() if progress else Listener()
        with Collection.open(self.directory, writable=True) as collection:
            moved_from = _adopt_root(collection, root)
            if listed is not None:
                collection.set_labels(listed)
            elif labels is not None:
                collection.labels = FOLDER
            if collection.model_source != self.model.source:
                collection.model_source = self.model.source  # the weights have moved

            def pool_of(workers: int) -> PhotoPool:
                return self.model.pool(workers, options.limits, options.timeout_s)

            report = IndexRun(collection, root, pool_of, options, listener).run()
            report.moved_from = moved_from
            return report

    def search(
        self,
        photo: StrPath,
        topk: int = 20,
        rerank: str = "geometric",
        box: Box | None = None,
        upright: bool = False,
    ) -> SearchResult:
        """Find the photos that show what a photo shows; see `glocal.search.Searcher.search`."""
        return self._searcher.search(photo, topk, rerank, box, upright)

    def recognize(
        self, photo: StrPath, box: Box | None = None, options: VotingOptions | None = None, upright: bool = False
    ) -> RecognitionResult:
        """Name what a photo shows, by the labels of those that show the same; see `glocal.recognition.recognize`.

        Raises:
            NothingToDo: the photos of this index have no labels.
        """
        if self._collection.labels is None:
            raise NothingToDo(
                f"The photos of the index in {self.directory} have no labels, so there are no names to give. "
                "→ glocal index PHOTOS --labels folder   or  --labels FILE.csv"
            )
        return recognize(self._searcher, photo, box, options, upright)

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


def _read_labels(file: Path, root: Path) -> dict[bytes, str]:
    """Path in the folder -> label, from a CSV file; photos without a label are left out."""
    if not file.is_file():
        raise ConfigError(f'labels are "{FOLDER}" or a CSV file with columns path and label, not "{file}"')
    top = os.fsencode(root.resolve()).rstrip(b"/") + b"/"
    found: dict[bytes, str] = {}
    for row in csv_rows(file, str(root.resolve()), hint="--labels"):
        path = os.fsencode(row.source).removeprefix(top)
        if row.label is None:
            continue
        if found.setdefault(path, row.label) != row.label:
            raise ConfigError(f'{file}: "{os.fsdecode(path)}" has two labels, "{found[path]}" and "{row.label}"')
        if len(found) > MAX_PHOTOS:
            raise ConfigError(f"{file}: more than {MAX_PHOTOS:,} photos")
    return found


def _bar() -> Listener:
    from glocal.progress import BarListener  # noqa: PLC0415 - rich takes a moment to import

    return BarListener()
