"""What a search and the indexer need of a collection, wherever it is kept: in a file, or in Milvus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from glocal.store.rows import CatalogueRow, LocalForm, NewContent, RunSummary, SignFeatures
from glocal.types import Descriptors, ExtractorSpec, LocalFeatures, Shortlist


class FeatureStore(Protocol):
    """Keeps pictures' features by content hash, and knows their files: what a search reads."""

    @property
    def spec(self) -> ExtractorSpec:
        """The extractor whose features it holds."""

    @property
    def model_source(self) -> str:
        """Where that extractor comes from: a catalogue name, or the absolute path of its weights."""

    @property
    def local_form(self) -> LocalForm:
        """How the numbers of local descriptors are kept."""

    @property
    def directory(self) -> object:
        """Where it is kept, as messages name it."""

    @property
    def root(self) -> Path | None:
        """The folder of photos; None before the first run."""

    @property
    def url(self) -> str | None:
        """The folder of photos where that lies in an object store; then `root` is None."""

    @property
    def labels(self) -> str | None:
        """Where labels come from, see `label`; None if there are none."""

    def snapshot(self) -> AbstractContextManager[None]:
        """All reads inside see at least what was committed before it began; in a file, exactly that."""

    def version(self) -> int:
        """A number that changes when another process has committed (for caches)."""

    def counts(self) -> dict[str, int]:
        """Number of files by status, plus `contents` (different pictures that are searchable)."""

    def descriptors(self, block: int = ...) -> Iterator[Descriptors]:
        """The searchable global descriptors in blocks of at most `block` rows; ids are content hashes."""

    def vectors(self, content_hashes: Sequence[str]) -> NDArray[np.float32]:
        """The global descriptors (N, D) of some pictures, order kept."""

    def local_features(self, content_hash: str) -> LocalFeatures:
        """The local features of one picture; its id is the content hash."""

    def local_features_many(self, content_hashes: Sequence[str]) -> list[LocalFeatures]:
        """The local features of some pictures, order kept."""

    def sign_features_many(self, content_hashes: Sequence[str]) -> list[SignFeatures]:
        """The local features of some pictures of a binary collection as they are stored, order kept."""

    def paths(self, content_hash: str) -> list[bytes]:
        """Every file with this content that is there, ordered by path."""

    def picture_size(self, content_hash: str) -> tuple[int, int]:
        """(W, H) of an upright picture in pixels."""

    def label(self, name: str) -> str | None:
        """The label of a photo, by its name relative to the folder."""


@runtime_checkable
class NearestSearch(Protocol):
    """A store that finds the nearest descriptors itself, so that they need not be read one and all."""

    def nearest(self, queries: Descriptors, k: int) -> list[Shortlist]:
        """The k most similar searchable pictures of each query, as far as its index finds them; similarities exact."""


class PhotoCollection(FeatureStore, Protocol):
    """A catalogue of files and the features of their pictures. Whoever changes it must have opened it for writing."""

    @property
    def root(self) -> Path | None:
        """The folder of photos, absolute; None before the first run."""

    @root.setter
    def root(self, folder: Path) -> None: ...

    @property
    def url(self) -> str | None:
        """The folder of photos where that lies in an object store; then `root` is None."""

    @url.setter
    def url(self, folder: str) -> None: ...

    @property
    def model_source(self) -> str:
        """Where the extractor comes from: a catalogue name, or the absolute path of its weights."""

    @model_source.setter
    def model_source(self, source: str) -> None: ...

    @property
    def labels(self) -> str | None:
        """Where labels come from: "folder", "listed" (`set_labels`), or None."""

    @labels.setter
    def labels(self, source: str) -> None: ...

    def close(self) -> None:
        """Let go of the collection; frees the writer's claim."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def catalogue(self, status: str | None = None) -> Iterator[CatalogueRow]:
        """All files, ordered by path; or those of one status."""

    def rejected_by_reason(self) -> dict[str, int]:
        """Number of rejected files by reason code, most frequent first."""

    def stored_bytes(self) -> dict[str, int]:
        """Bytes of `global` descriptors, of `local` features, and of all (`file`)."""

    def listed_labels(self) -> dict[bytes, str]:
        """The labels that `set_labels` gave, by path relative to the folder."""

    def num_labelled(self) -> int:
        """How many searchable files have a label."""

    def last_run(self) -> tuple[bool, RunSummary] | None:
        """Whether the newest run came to its end, and what it saw; None before the first."""

    def last_update(self) -> float | None:
        """When the newest run ended, in seconds since 1970; of one that did not, when it began; None if unknown."""

    def file_of(self, content_hash: str) -> CatalogueRow | None:
        """The first file with this content that is there, by path; None if there is none."""

    def byte_sizes(self) -> set[int]:
        """Byte sizes of all known pictures: only a file of such a size can be a copy of one."""

    def knows(self, content_hash: str) -> bool:
        """Whether the features of this content are stored."""

    def set_labels(self, label_of: Mapping[bytes, str]) -> None:
        """Give photos their labels, by path relative to the folder; all other labels are forgotten."""

    def commit(self, contents: Sequence[NewContent], rows: Sequence[CatalogueRow]) -> int:
        """Store features and files; how many of the files were only moved or renamed."""

    def hide(self, paths: Sequence[bytes]) -> None:
        """Take files that are gone out of the search; their features stay."""

    def show(self, paths: Sequence[bytes]) -> None:
        """Undo `hide` for files that are there again, unchanged."""

    def drop_unused(self, missing_too: bool = False) -> int:
        """Forget features that no file has; hidden files too, and how many of these there were."""

    def start_run(self) -> int:
        """Note that an indexing run begins; returns its number."""

    def finish_run(self, run: int, summary: RunSummary) -> None:
        """Note that an indexing run came to its end."""
