"""Photo -> hits: the one place where all stages meet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from glocal.errors import NothingToDo
from glocal.extract.batching import ModelSource
from glocal.extract.compatibility import check_place, check_spec
from glocal.extract.requests import PhotoPool, Request
from glocal.index.exact import best_of, search_blocks
from glocal.index.nearest import Nearest
from glocal.rerank.geometric import DEFAULTS, VerificationOptions
from glocal.search.arguments import check_arguments, photos_of, views_of
from glocal.search.describing import describe, describe_rest
from glocal.search.pair import PairReport, calibration_of, compare_photos
from glocal.search.query import Described, PhotoSource, PictureBytes, Vectors, ways_of
from glocal.search.reading import expect_picture, read_photo
from glocal.search.result import Match, SearchResult
from glocal.search.selected import SelectedPictures
from glocal.search.selection import EVERYTHING, Selection
from glocal.search.telling import match_of, warnings_of_model, warnings_of_selection, warnings_of_time, warnings_of_view
from glocal.search.verifying import CandidateVerifier, Ranking
from glocal.search.views import best_views, shares_of
from glocal.store.collection import Collection
from glocal.store.contract import FeatureStore, NearestSearch
from glocal.types import Box, Shortlist

MIN_FEATURES = 10
"""A query with fewer local features is too plain to identify anything."""
TURN_PENALTY = 0.05
"""What the similarity of a turned query counts less: most photos are upright, and a wall on its side looks like others.

On sources of photos that a network was not trained on it keeps four fifths of what turning wins among covers, and loses
a third of a point of mAP on the others instead of a whole one.
"""
MAX_CACHED_BYTES = 256 << 20
"""Up to this size the global descriptors that are compared one by one stay in memory between two searches."""


class Searcher:
    """Searches one collection. Keeps a worker process, and small collections' descriptors, between searches."""

    def __init__(
        self,
        collection: FeatureStore,
        options: VerificationOptions | None = None,
        model: ModelSource | None = None,
        pool: PhotoPool | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            collection: what is searched.
            options: how candidates are verified; None takes what the model's calibration was measured with. That of a
                binary collection is one of signs; without one, candidates are compared as the model's others are, and
                hits are not judged.
            model: what describes the queries; None takes the model that the collection names.
            pool: what reads and describes queries with that model, shared with others and theirs to close; None starts
                one of its own.
        """
        self._collection = collection
        self._model = model or ModelSource(collection.model_source)
        self._verifies = collection.spec.local_dim > 0
        self._calibration = calibration_of(collection.spec, collection.local_form)
        nearest = self._calibration or calibration_of(collection.spec)
        self._asked = options
        self._options = options or (nearest.verification if nearest else DEFAULTS)
        self._shared = pool
        self._pool: PhotoPool | None = None
        self._nearest = Nearest(collection) if isinstance(collection, Collection) else None
        self._selected = SelectedPictures(collection, MAX_CACHED_BYTES)

    def close(self) -> None:
        """End the worker process."""
        if self._pool and self._pool is not self._shared:
            self._pool.close()
        self._pool = None

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pool(self) -> PhotoPool:
        """What reads and describes queries; started on first use, checked against the collection."""
        if self._pool is None:
            check_place(self._collection, self._model)
            pool = self._shared or self._model.pool()
            try:
                check_spec(self._collection, pool.spec(), self._model.source)
            except BaseException:
                if pool is not self._shared:
                    pool.close()
                raise
            self._pool = pool
        return self._pool

    def search(
        self,
        photo: PhotoSource | Sequence[PhotoSource],
        topk: int = 20,
        rerank: str = "geometric",
        box: Box | None = None,
        upright: bool = False,
        *,
        selection: Selection | None = None,
        budget_s: float | None = None,
    ) -> SearchResult:
        """Find the photos that show what a query shows.

        Args:
            photo: the query's file, or its bytes; or several of these, views of the same thing.
            topk: most hits to return.
            rerank: "geometric" verifies the best candidates, "none" leaves them by similarity; a model
                without local features can only do that.
            box: x, y, width, height of the object in pixels of the upright query, of which there is one.
            upright: describe the query only as it is, also where the model has it turned by quarters: a quarter of
                the time, and things on their side are missed.
            selection: which pictures may be found; None for all.
            budget_s: seconds that verification may take; candidates are verified best first, and what is left when
                time is up comes after them, by similarity. None for as long as it takes.

        Raises:
            ImageError: the query cannot be read.
            ConfigError: an argument makes no sense.
            NothingToDo: the collection is empty.
            SpecMismatch: the collection was made by other weights than those at hand.
            WeightsError: the weights that made it are gone.
        """
        check_arguments(topk, rerank, budget_s)
        photos = photos_of(photo, box)
        with ThreadPoolExecutor(1) as background:  # the worker reads the query while we read the descriptors
            loading = background.submit(self._load) if selection is None else None
            described = [self.describe(each, box, upright) for each in photos]
            if loading is not None:
                loading.result()
        return self.find(described, topk, rerank, selection=selection, budget_s=budget_s)

    def describe(self, photo: PhotoSource, box: Box | None = None, upright: bool = False) -> Described:
        """The features of a query, for `find`; arguments and errors as those of `search`."""
        return describe(self.pool, photo, box, 1 if upright else self._model.query_turns)

    def describe_rest(self, asked: Described, photo: PhotoSource) -> Described:
        """A query that was described `upright`, in all the ways that its model wants: as `describe` does it at once.

        Somebody who waits for the first hits sees them sooner in two steps.
        """
        return describe_rest(self.pool, asked, photo, self._model.query_turns)

    def find(
        self,
        asked: Described | Sequence[Described],
        topk: int = 20,
        rerank: str = "geometric",
        depth: int | None = None,
        *,
        selection: Selection | None = None,
        budget_s: float | None = None,
    ) -> SearchResult:
        """The answer to a query that was described; arguments and errors as those of `search`.

        Args:
            asked: the query, or several views of the same thing: each is searched as it is alone, a picture counts
                with the view that it does best with, and they share the depth, so that they take no longer than one.
            topk: most hits to return.
            rerank: "geometric" or "none".
            depth: how many candidates are verified at most; None for `Searcher.depth`.
            selection: which pictures may be found; None for all. They are compared one and all.
            budget_s: seconds that verification may take, from when the candidates are known.
        """
        check_arguments(topk, rerank, budget_s)
        views = views_of(asked)
        depth = self._options.depth if depth is None else depth
        started = time.perf_counter()
        with self._collection.snapshot():
            num_searched = self._num_searched()
            if not num_searched:
                raise NothingToDo(f"The index in {self._collection.directory} is empty. → glocal index PHOTOS")
            nearest, num_selected = self._shortlist, num_searched
            if selection is not None and selection != EVERYTHING:
                num_selected = self._selected.choose(selection)
                nearest = self._shortlist_of_selected
            rankings = [Ranking(nearest(view.vectors, max(topk, depth))) for view in views]
            found = time.perf_counter()
            verifier = self._verifier()
            takes = [rerank == "geometric" and self._verifies and not self.is_plain(view) for view in views]
            ends = None if budget_s is None else found + budget_s
            for number, share in enumerate(shares_of(depth, takes)):
                if takes[number]:
                    now = time.perf_counter()
                    own = None if ends is None else now + max(0.0, ends - now) / sum(takes[number:])
                    rankings[number] = verifier.rerank(views[number], rankings[number].shortlist, nearest, share, own)
            hits = best_views(verifier, rankings)
            matches = tuple(
                match_of(self._collection, self._calibration, hit, views[number], number, verifier)
                for number, hit in hits[:topk]
            )
        warnings = [
            *warnings_of_selection(selection, num_searched, num_selected),
            *warnings_of_model(self._collection, self._calibration),
            *([self._nearest.warning] if self._nearest and self._nearest.warning else []),
            *(warning for view in views for warning in warnings_of_view(view, self.is_plain(view))),
            *warnings_of_time(rankings, budget_s),
        ]
        return SearchResult(
            query=views[0].query,
            hits=matches,
            num_searched=num_searched,
            warnings=tuple(warnings),
            timing_s={
                "extract": sum(view.seconds for view in views),
                "search": found - started,
                "rerank": time.perf_counter() - found,
            },
            judged=self._calibration is not None or not num_selected,
            num_candidates=len(hits),
            num_verified=len({name for ranking in rankings for name in ranking.verified}),
            num_selected=num_selected,
        )

    def is_plain(self, asked: Described) -> bool:
        """Whether a query has too few local features to identify anything."""
        return self._verifies and len(asked.local[0]) < MIN_FEATURES

    def verify(self, asked: Described, name: str) -> tuple[Match, float]:
        """A query compared with one picture of the collection, as a search would do it.

        Args:
            asked: the query.
            name: the picture's id.

        Returns:
            The picture as a hit, and the seconds it took. Its rank says nothing; its similarity is that of the query
            as it is.

        Raises:
            StoreError: there is no such picture, or the collection is damaged.
        """
        started = time.perf_counter()
        with self._collection.snapshot():
            vectors = self._collection.vectors([name])
            shortlist = best_of(
                [
                    Shortlist(str(turn), (name,), np.asarray([vector @ vectors[0]], np.float32))
                    for turn, vector in enumerate(asked.vectors)
                ],
                1,
                TURN_PENALTY,
            )
            verifier = self._verifier()
            is_verified = self._verifies and not self.is_plain(asked)
            verified = verifier.verify(asked.local, [name]) if is_verified else {}
            (hit,) = verifier.order(Ranking(shortlist, verified))
            match = match_of(self._collection, self._calibration, hit, asked, 0, verifier)
        return match, time.perf_counter() - started

    def explain(self, first: PhotoSource, second: PhotoSource) -> PairReport:
        """Compare two photos, by their local descriptors as they are, whatever form the collection keeps.

        Raises:
            ImageError: one of them cannot be read.
        """
        return compare_photos(self.pool, first, second, self._asked, self._model.query_turns)

    @property
    def depth(self) -> int:
        """How many candidates are verified at most."""
        return self._options.depth

    def size_of(self, photo: PhotoSource) -> tuple[int, int]:
        """(W, H) of an upright photo in pixels.

        Raises:
            ImageError: it cannot be read.
            ConfigError: there is no such file.
        """
        if not isinstance(photo, PictureBytes):
            expect_picture(Path(photo))
        (answer,) = read_photo(self.pool, photo, Request(b"", want="pixels", longest=64))
        return answer.size

    def _shortlist(self, vectors: Vectors, k: int) -> Shortlist:
        """The k most similar photos to a query's (T, D) descriptors, one for each way it is turned."""
        queries = ways_of(vectors)
        if isinstance(self._collection, NearestSearch):
            return best_of(self._collection.nearest(queries, k), k, TURN_PENALTY)
        if self._nearest is None:
            return best_of(search_blocks(self._collection.descriptors(), queries, k), k, TURN_PENALTY)
        self._nearest.refresh(MAX_CACHED_BYTES)
        return best_of(self._nearest.search(queries, k), k, TURN_PENALTY)

    def _shortlist_of_selected(self, vectors: Vectors, k: int) -> Shortlist:
        return best_of(self._selected.search(ways_of(vectors), k), k, TURN_PENALTY)

    def _load(self) -> None:
        if self._nearest is not None:
            with self._collection.snapshot():
                self._nearest.refresh(MAX_CACHED_BYTES)

    def _num_searched(self) -> int:
        return self._collection.counts()["contents"] if self._nearest is None else self._nearest.count()

    def _verifier(self) -> CandidateVerifier:
        return CandidateVerifier(self._collection, self._options, self._calibration)
