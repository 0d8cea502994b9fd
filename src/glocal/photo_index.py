"""`glocal.Index`: a folder of photos that can be searched, in six lines of Python."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glocal.data.labelled import MAX_PHOTOS
from glocal.data.lists import csv_rows
from glocal.data.remote import RemoteFolder, is_url
from glocal.errors import BackendUnavailable, ConfigError, NothingToDo, SpecMismatch, StoreError
from glocal.extract.batching import ModelSource
from glocal.extract.compatibility import check_place, check_spec, model_for
from glocal.extract.photo_folder import LocalFolder, PhotoFolder, StoreFolder
from glocal.extract.remote import StagingPool
from glocal.extract.requests import PhotoPool
from glocal.extract.run import IndexOptions, IndexReport, IndexRun, Listener
from glocal.index.build import keep
from glocal.models.catalogue import default_model
from glocal.recognition import RecognitionResult, recognize
from glocal.rerank.voting import VotingOptions
from glocal.search import Searcher, SearchResult, Selection
from glocal.store.collection import Collection
from glocal.store.contract import PhotoCollection
from glocal.store.labels import FOLDER
from glocal.store.milvus_place import MilvusPlace
from glocal.store.open import collection_exists, create_collection, open_collection, place_of
from glocal.store.rows import LocalForm
from glocal.types import Box

StrPath = str | os.PathLike[str]
ENGINES = ("local", "ray")
"""Where photos are described: on this computer, or on the nodes of a Ray cluster."""


class Index:
    """A searchable collection of photos. Use `create` or `open`.

    Searching needs no lock; `add` takes the writer's lock while it runs.
    """

    def __init__(
        self,
        directory: StrPath | MilvusPlace,
        model: StrPath | None = None,
        device: str = "auto",
        batch_size: int | str = "auto",
    ) -> None:
        self.place = place_of(directory)
        self._collection = open_collection(self.place)
        try:
            self.model = model_for(self._collection, None if model is None else os.fspath(model), device, batch_size)
            self._searcher = Searcher(self._collection, model=self.model)
        except BaseException:
            self._collection.close()
            raise

    @classmethod
    def create(
        cls,
        directory: StrPath | MilvusPlace,
        model: StrPath | None = None,
        device: str = "auto",
        batch_size: int | str = "auto",
        local: str = LocalForm.INT8,
    ) -> Index:
        """Make an empty index.

        Args:
            directory: where it is kept; made if need be. Or `milvus://HOST:PORT/NAME`, see docs/scale.md.
            model: name of the extractor, see `glocal models`; or the folder of a network's weights; None for
                `glocal.models.catalogue.default_model`.
            device: where a network runs: "auto", "cpu", "cuda", "cuda:1", "mps".
            batch_size: photos that go through a network together; "auto" leaves it to the network.
            local: how local descriptors are kept, see `glocal.store.rows.LocalForm`: "int8"; "float16" takes twice, and
                "binary" an eighth of the bytes. Hits of a binary index are not judged unless the model has a
                calibration for signs.

        Raises:
            ConfigError: there is no such model or form, or the form does not suit the model.
            WeightsError: the network's weights are missing or damaged.
            BackendUnavailable: there is no such device.
            StoreError: there is an index in this place already.
        """
        source = ModelSource(default_model() if model is None else model, device, batch_size)
        form = LocalForm.named(local)
        _check_form(form, source)
        create_collection(place_of(directory), source.spec, source.source, form).close()
        index = cls(directory, None, device, batch_size)
        index._use(source)
        return index

    @classmethod
    def open(
        cls,
        directory: StrPath | MilvusPlace,
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
        directory: StrPath | MilvusPlace,
        model: StrPath | None = None,
        device: str = "auto",
        batch_size: int | str = "auto",
        local: str | None = None,
    ) -> Index:
        """Open an index, or make one.

        Args:
            directory: where it is kept.
            model: as for `open` or `create`; None is the default for a new index.
            device: where a network runs.
            batch_size: photos that go through a network together.
            local: how local descriptors are kept, as for `create`; None is int8 for a new index, and any for another.

        Raises:
            SpecMismatch: the index was made with another model, or keeps local descriptors in another form.
        """
        if not collection_exists(place_of(directory)):
            return cls.create(directory, model, device, batch_size, local or LocalForm.INT8)
        index = cls(directory, model, device, batch_size)
        kept = index.collection.local_form
        if local is not None and LocalForm.named(local) != kept:
            index.close()
            raise SpecMismatch(
                f"The index in {directory} keeps local features as {kept}, not as {local}. → --local {kept}, or index "
                "the folder anew with --index NEW_PLACE"
            )
        return index

    def _use(self, model: ModelSource) -> None:
        """Describe photos with a model that may be loaded already."""
        self.model = model
        self._searcher = Searcher(self._collection, model=model)

    @staticmethod
    def exists(directory: StrPath | MilvusPlace) -> bool:
        """Whether there is an index in a place."""
        return collection_exists(place_of(directory))

    @property
    def directory(self) -> Path:
        """The folder where it is kept.

        Raises:
            ConfigError: it is kept in Milvus.
        """
        if isinstance(self.place, MilvusPlace):
            raise ConfigError(f"{self.place} is no folder. → use an index that is kept in one")
        return self.place

    @property
    def collection(self) -> PhotoCollection:
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
        engine: str = "local",
        address: str | None = None,
        nearest: bool = True,
    ) -> IndexReport:
        """Bring the index up to date with a folder of photos. Run it again after an interruption or a change.

        Args:
            photos: the folder. An index belongs to one folder; if that has moved, name its new place. Or the URL of
                one in an object store, see `glocal.data.remote`.
            labels: "folder" takes the name of a photo's folder as its label; or a CSV file with columns path (in
                the folder) and label. The index remembers them; None leaves them as they are.
            progress: show a bar on stderr.
            options: how to index.
            listener: is told what happens; replaces the bar.
            engine: "local" describes photos on this computer, "ray" on the nodes of a cluster (see
                `glocal.extract.ray_pool`).
            address: HOST:PORT of the Ray cluster's head, or "auto"; None starts Ray on this computer alone.
            nearest: make the nearest-neighbour file of an index of 100,000 pictures or more, where it is needed: see
                `glocal.index.build`. Where that fails, the index is complete without, and searches say so.

        Raises:
            ConfigError: no such folder, the index belongs to another one, `labels` is no such file, or there is no
                such engine.
            BackendUnavailable: the engine's package is not installed, or its cluster does not answer.
            NothingToDo: the folder holds no picture.
            SpecMismatch: the index was made with other weights or preprocessing than those at hand.
            WeightsError: the weights that made the index are gone.
            StoreBusy: another process is writing this index.
            DiskFull: no space is left; what was saved before is safe.
        """
        folder = _folder(photos)
        _check_engine(engine, address)
        listed = None if labels is None or labels == FOLDER else _read_labels(Path(labels), folder)
        check_place(self._collection, self.model)
        check_spec(self._collection, self.model.spec, self.model.source)
        options = options or IndexOptions()
        if listener is None:
            listener = _bar() if progress else Listener()
        with open_collection(self.place, writable=True) as collection:
            moved_from = _adopt(collection, folder)
            if listed is not None:
                collection.set_labels(listed)
            elif labels is not None:
                collection.labels = FOLDER
            if collection.model_source != self.model.source:
                collection.model_source = self.model.source  # the weights have moved

            def pool_of(workers: int) -> PhotoPool:
                if engine == "ray":
                    from glocal.extract.ray_pool import RayPool  # noqa: PLC0415 - only clusters pay for it

                    return RayPool(self.model, workers, options.limits, options.timeout_s, address)
                pool = self.model.pool(workers, options.limits, options.timeout_s)
                return StagingPool(pool, options.limits) if isinstance(folder, StoreFolder) else pool

            report = IndexRun(collection, folder, pool_of, options, listener).run()
            report.moved_from = moved_from
            if nearest and not report.stopped and isinstance(collection, Collection):
                with contextlib.suppress(StoreError, BackendUnavailable):
                    keep(collection)
            return report

    def search(
        self,
        photo: StrPath | Sequence[StrPath],
        topk: int = 20,
        rerank: str = "geometric",
        box: Box | None = None,
        upright: bool = False,
        *,
        selection: Selection | None = None,
        budget_s: float | None = None,
    ) -> SearchResult:
        """Find the photos that show what a photo, or several of the same thing, show.

        See `glocal.search.Searcher.search`, and `glocal.search.Selection` for which photos may be found.
        """
        return self._searcher.search(photo, topk, rerank, box, upright, selection=selection, budget_s=budget_s)

    def recognize(
        self, photo: StrPath, box: Box | None = None, options: VotingOptions | None = None, upright: bool = False
    ) -> RecognitionResult:
        """Name what a photo shows, by the labels of those that show the same; see `glocal.recognition.recognize`.

        Raises:
            NothingToDo: the photos of this index have no labels.
        """
        if self._collection.labels is None:
            raise NothingToDo(
                f"The photos of the index in {self.place} have no labels, so there are no names to give. "
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
            "local_form": str(collection.local_form),
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


def _check_form(form: LocalForm, model: ModelSource) -> None:
    if form != LocalForm.INT8 and not model.spec.local_dim:
        raise ConfigError(f"{model.source} has no local features to be kept as {form}. → without --local {form}")
    if form == LocalForm.BINARY and not model.is_network:
        raise ConfigError(
            f"The local descriptors of {model.source} are never negative, so their signs say nothing. → --local int8, "
            "or a network"
        )


def _check_engine(engine: str, address: str | None) -> None:
    if engine not in ENGINES:
        raise ConfigError(f'Unknown engine "{engine}". → one of {", ".join(ENGINES)}')
    if address is not None and engine != "ray":
        raise ConfigError(f"An address ({address}) is for a Ray cluster. → --engine ray --address {address}")


def _folder(photos: StrPath) -> PhotoFolder:
    """The folder that a path or a URL names."""
    place = os.fspath(photos)
    if is_url(place):
        return StoreFolder(RemoteFolder(place))
    if not os.path.isdir(place):
        raise ConfigError(f"No such folder: {place}")
    return LocalFolder(Path(place))


def _adopt(collection: PhotoCollection, folder: PhotoFolder) -> Path | None:
    """Bind a collection to its folder, or to the place where that has moved; returns where it was then."""
    address = os.fsdecode(folder.address)
    root, url = collection.root, collection.url
    if address in (url, None if root is None else str(root)):
        return None
    is_store = isinstance(folder, StoreFolder)
    if url is not None or (root is not None and (is_store or root.exists())):
        raise ConfigError(
            f"The index in {collection.directory} belongs to {url or root}. → glocal index {address} "
            "with another --index" + ("" if is_store else ", or without")
        )
    if is_store:
        collection.url = address
    else:
        collection.root = Path(address)
    return root


def _read_labels(file: Path, folder: PhotoFolder) -> dict[bytes, str]:
    """Path in the folder -> label, from a CSV file; photos without a label are left out."""
    if not file.is_file():
        raise ConfigError(f'labels are "{FOLDER}" or a CSV file with columns path and label, not "{file}"')
    root = "/" if isinstance(folder, StoreFolder) else os.fsdecode(folder.address)  # a list names photos within a URL
    top = os.fsencode(root).rstrip(b"/") + b"/"
    found: dict[bytes, str] = {}
    for row in csv_rows(file, root, hint="--labels"):
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
