"""What is answered: hits as a person sees them, best first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.extract.pool import WorkerPool
from glocal.extract.remote import StagingPool
from glocal.extract.requests import PIXELS_ONLY, PhotoPool, Request, read_one
from glocal.pictures.files import save_picture
from glocal.pictures.matches import draw_matches
from glocal.pictures.view import MatchView
from glocal.rerank.bands import Band
from glocal.search.query import Query
from glocal.search.reading import read_pixels
from glocal.types import Pixels, Verification


@dataclass(frozen=True, slots=True)
class Match:
    """A hit as a person sees it.

    Attributes:
        rank: position, from 1.
        id: BLAKE2b-128 of the picture, 32 hexadecimal digits.
        path: its file; only the name where it lies in an object store.
        name: the same relative to the collection's folder.
        label: name of the object, where the collection was indexed with labels; else None.
        copies: names of exact copies.
        size: (W, H) of the upright photo in pixels.
        similarity: inner product of the global descriptors; that of the query is expanded by what
            was verified for sure (see `glocal.rerank.expansion`); of a turned query less `TURN_PENALTY`.
        probability: that it shows the same object, 0 to 1; None where the model has no calibration.
        band: how sure that is.
        verification: the geometry; None where it was not verified.
        view: where the two photos agree; None where it was not verified.
        query: what was asked; of several views the one that it was found with.
        store_url: the folder where it lies, if that is one of an object store; else None.
        query_number: position of that view among several, from 0.
    """

    rank: int
    id: str
    path: Path
    name: str
    label: str | None
    copies: tuple[str, ...]
    size: tuple[int, int]
    similarity: float
    probability: float | None
    band: Band
    verification: Verification | None
    view: MatchView | None
    query: Query = field(repr=False)
    store_url: str | None = None
    query_number: int = 0

    @property
    def inliers(self) -> int:
        """Matches that agree with one homography; 0 where it was not verified."""
        return self.verification.inliers if self.verification else 0

    @property
    def target_quad(self) -> NDArray[np.float64] | None:
        """(4, 2) corners of the matched area in this photo's pixels, or None."""
        return self.verification.target_quad if self.verification else None

    def read_pixels(self, pool: PhotoPool, longest: int = 1600) -> Pixels:
        """Decode this photo in a worker, wherever it lies; see the function `read_pixels`.

        Raises:
            ImageError: it cannot be read any more.
        """
        if self.store_url is None:
            return read_pixels(pool, self.path, longest)
        url = os.fsencode(self.store_url)
        request = Request(os.path.join(url, os.fsencode(self.name)), want="pixels", longest=longest, root=url)
        return read_one(StagingPool(pool), request).arrays["pixels"]

    def plot(self, file: str | os.PathLike[str]) -> Path:
        """Draw the match lines between the query and this photo.

        Args:
            file: .png, .jpg or .webp.

        Returns:
            The path written.

        Raises:
            ImageError: one of the two photos cannot be read any more.
            ConfigError: this hit was not verified, or another file type.
        """
        if self.view is None:
            raise ConfigError(
                f"'{self.name}' was not verified, so there is nothing to draw. "
                '→ search with rerank="geometric" and a model that has local features'
            )
        with WorkerPool(PIXELS_ONLY) as pool:
            query, target = read_pixels(pool, self.query.path), self.read_pixels(pool)
        save_picture(draw_matches(query, target, self.view), Path(file))
        return Path(file)


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Match]):
    """The answer to one search: the hits, best first.

    Attributes:
        query: what was asked; the first of several views.
        hits: at most `topk`.
        num_searched: different pictures in the collection.
        warnings: what the user should know.
        seconds: from the query's file to the hits.
        timing_s: seconds by stage.
        judged: whether the bands say anything; not so for a model without calibration or local features.
        num_candidates: pictures that were ranked for this, of which `hits` are the first.
        num_verified: those among them whose local features were compared.
        num_selected: pictures that the selection leaves; `num_searched` without one.
    """

    query: Query
    hits: tuple[Match, ...]
    num_searched: int
    warnings: tuple[str, ...]
    timing_s: dict[str, float]
    judged: bool = True
    num_candidates: int = 0
    num_verified: int = 0
    num_selected: int = 0

    @property
    def seconds(self) -> float:
        """Seconds for everything."""
        return sum(self.timing_s.values())

    @property
    def verdict(self) -> str:
        """`match`, `uncertain` or `no_match`; `not_judged` if the bands say nothing."""
        if not self.judged:
            return "not_judged"
        bands = {hit.band for hit in self.hits}
        if Band.SAME in bands:
            return "match"
        return "uncertain" if Band.POSSIBLY in bands else "no_match"

    def band(self, band: Band) -> tuple[Match, ...]:
        """The hits of one band, best first."""
        return tuple(hit for hit in self.hits if hit.band == band)

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Match, ...]: ...
    def __getitem__(self, index: int | slice) -> Match | tuple[Match, ...]:
        return self.hits[index]

    def __iter__(self) -> Iterator[Match]:
        return iter(self.hits)
