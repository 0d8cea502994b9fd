"""The four seams of glocal: what a model, an index and a re-ranker must do to be exchangeable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from glocal.types import Descriptors, Extraction, ExtractorSpec, Hit, LocalFeatures, Photo, Shortlist


@runtime_checkable
class GlobalExtractor(Protocol):
    """Describes whole photos."""

    @property
    def spec(self) -> ExtractorSpec:
        """What makes these descriptors comparable with others."""

    def describe(self, photos: Sequence[Photo]) -> Descriptors:
        """One unit-norm descriptor per photo, order kept."""


@runtime_checkable
class LocalExtractor(Protocol):
    """Finds and describes keypoints."""

    def detect(self, photo: Photo) -> LocalFeatures:
        """The local features of a photo, keypoints in pixels of the upright original."""


@runtime_checkable
class Extractor(GlobalExtractor, LocalExtractor, Protocol):
    """A model with both kinds of features, in one pass."""

    def extract(self, photo: Photo) -> Extraction:
        """The global descriptor and the local features of a photo."""


@runtime_checkable
class Index(Protocol):
    """Finds the most similar descriptors."""

    def add(self, descriptors: Descriptors) -> None:
        """Make descriptors searchable; an id that is already there is an error."""

    def search(self, queries: Descriptors, k: int) -> list[Shortlist]:
        """The k most similar descriptors of each query; fewer if there are fewer."""


@runtime_checkable
class Reranker(Protocol):
    """Orders a shortlist by closer inspection."""

    def rerank(self, query: Sequence[LocalFeatures], shortlist: Shortlist) -> list[Hit]:
        """The candidates of the shortlist, best first; the query has one set of features for each way it is turned."""
