"""Photo -> hits: the one place where all stages meet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast, overload

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, ImageError, NothingToDo
from glocal.extract.batching import ModelSource
from glocal.extract.compatibility import check_place, check_spec
from glocal.extract.pool import PIXELS_ONLY, Answer, PhotoPool, Request, WorkerPool, read_one
from glocal.extract.remote import StagingPool
from glocal.index.exact import best_of, search_blocks
from glocal.index.nearest import Nearest
from glocal.pictures.files import save_picture
from glocal.pictures.matches import draw_matches
from glocal.pictures.view import MatchView
from glocal.rerank.bands import Band, Calibration, judge
from glocal.rerank.binary import SignReranker
from glocal.rerank.expansion import expand
from glocal.rerank.geometric import (
    DEFAULTS,
    GeometricReranker,
    InlierReranker,
    Placed,
    VerificationOptions,
    verify_turns,
)
from glocal.store.collection import Collection
from glocal.store.contract import FeatureStore, NearestSearch
from glocal.store.rows import LocalForm, SignFeatures
from glocal.types import Box, Descriptors, ExtractorSpec, Hit, LocalFeatures, Pixels, Shortlist, Verification

Vectors = NDArray[np.float32]
Read = dict[str, Placed]
"""The local features of candidates that were read for a search, by id."""

RERANKERS = ("geometric", "none")
MIN_FEATURES = 10
"""A query with fewer local features is too plain to identify anything."""
TURN_PENALTY = 0.05
"""What the similarity of a turned query counts less: most photos are upright, and a wall on its side looks like others.

On sources of photos that a network was not trained on it keeps four fifths of what turning wins among covers, and loses
a third of a point of mAP on the others instead of a whole one.
"""
MAX_CACHED_BYTES = 256 << 20
"""Up to this size the global descriptors that are compared one by one stay in memory between two searches."""


@dataclass(frozen=True, slots=True)
class Query:
    """The photo that was asked about.

    Attributes:
        path: its file, or the name of one that is none.
        size: (W, H) of the upright photo in pixels.
        box: the searched part, x, y, width, height in pixels, or None.
        num_features: its local features.
    """

    path: Path
    size: tuple[int, int]
    box: Box | None
    num_features: int


@dataclass(frozen=True, slots=True)
class PictureBytes:
    """A picture that is no file of this computer: it is described and searched, and never written down.

    Attributes:
        data: its bytes, as a file would hold them.
        name: what messages call it.
    """

    data: bytes = field(repr=False)
    name: str = "the picture"


PhotoSource = str | os.PathLike[str] | PictureBytes
"""Where a query comes from."""


@dataclass(frozen=True, slots=True)
class Described:
    """A query with its features: all that a search needs of it, as often as it is asked.

    Attributes:
        query: what was asked.
        asked: the box as it was asked for, before it was clipped.
        content_hash: BLAKE2b-128 of the picture's bytes.
        vectors: (T, D) descriptors of unit norm, one for each way in which it was turned.
        local: as many sets of local features, in pixels of the whole upright picture.
        decode_s: seconds for reading and decoding.
        seconds: for everything.
    """

    query: Query
    asked: Box | None
    content_hash: str
    vectors: Vectors = field(repr=False)
    local: tuple[LocalFeatures, ...] = field(repr=False)
    decode_s: float
    seconds: float


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
        query: what was asked.
        store_url: the folder where it lies, if that is one of an object store; else None.
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
        query: what was asked.
        hits: at most `topk`.
        num_searched: different pictures in the collection.
        warnings: what the user should know.
        seconds: from the query's file to the hits.
        timing_s: seconds by stage.
        judged: whether the bands say anything; not so for a model without calibration or local features.
    """

    query: Query
    hits: tuple[Match, ...]
    num_searched: int
    warnings: tuple[str, ...]
    timing_s: dict[str, float]
    judged: bool = True

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


@dataclass(frozen=True, slots=True)
class PairReport:
    """Two photos compared by `explain`.

    Attributes:
        similarity: inner product of the global descriptors.
        probability: that both show the same object; None where the model has no calibration.
        band: how sure that is.
        verification: the geometry; None for a model without local features.
        view: where they agree; None for a model without local features.
        sizes: (W, H) of both upright photos in pixels.
    """

    similarity: float
    probability: float | None
    band: Band
    verification: Verification | None
    view: MatchView | None
    sizes: tuple[tuple[int, int], tuple[int, int]]


def read_pixels(pool: PhotoPool, path: Path, longest: int = 1600) -> Pixels:
    """Decode a photo in a worker: upright RGB, longest side at most `longest`."""
    pixels: Pixels = pool.read(Request(os.fsencode(path), want="pixels", longest=longest)).arrays["pixels"]
    return pixels


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
        self._calibration = _calibration_of(collection.spec, collection.local_form)
        nearest = self._calibration or _calibration_of(collection.spec)
        self._asked = options
        self._options = options or (nearest.verification if nearest else DEFAULTS)
        self._shared = pool
        self._pool: PhotoPool | None = None
        self._nearest = Nearest(collection) if isinstance(collection, Collection) else None

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
        photo: PhotoSource,
        topk: int = 20,
        rerank: str = "geometric",
        box: Box | None = None,
        upright: bool = False,
    ) -> SearchResult:
        """Find the photos that show what a query shows.

        Args:
            photo: the query's file, or its bytes.
            topk: most hits to return.
            rerank: "geometric" verifies the best candidates, "none" leaves them by similarity; a model
                without local features can only do that.
            box: x, y, width, height of the object in pixels of the upright query.
            upright: describe the query only as it is, also where the model's preprocessing has it turned by
                quarters: a quarter of the time, and things on their side are missed.

        Raises:
            ImageError: the query cannot be read.
            ConfigError: an argument makes no sense.
            NothingToDo: the collection is empty.
            SpecMismatch: the collection was made by other weights than those at hand.
            WeightsError: the weights that made it are gone.
        """
        _check_arguments(topk, rerank)
        with ThreadPoolExecutor(1) as background:  # the worker reads the query while we read the descriptors
            loading = background.submit(self._load)
            described = self.describe(photo, box, upright)
            loading.result()
        return self.find(described, topk, rerank)

    def describe(self, photo: PhotoSource, box: Box | None = None, upright: bool = False) -> Described:
        """The features of a query, for `find` and `stages`; arguments and errors as those of `search`."""
        started = time.perf_counter()
        answers = self._describe(photo, box, 1 if upright else self._model.query_turns)
        answer = answers[0]
        ways = [turned.extraction("query") for turned in answers]
        local = tuple(_shift(way.local, answer) for way in ways)
        return Described(
            query=Query(_path_of(photo), answer.size, answer.box, len(local[0])),
            asked=box,
            content_hash=answer.content_hash,
            vectors=np.stack([way.descriptor for way in ways]),
            local=local,
            decode_s=answer.decode_s,
            seconds=time.perf_counter() - started,
        )

    def find(
        self, asked: Described, topk: int = 20, rerank: str = "geometric", depth: int | None = None
    ) -> SearchResult:
        """The answer to a query that was described; arguments and errors as those of `search`.

        Args:
            asked: the query.
            topk: most hits to return.
            rerank: "geometric" or "none".
            depth: how many candidates are verified at most; None for `Searcher.depth`.
        """
        (result,) = self._stages(asked, topk, rerank, depth, early=False)
        return result

    def stages(
        self, asked: Described, topk: int = 20, rerank: str = "geometric", depth: int | None = None
    ) -> Generator[SearchResult]:
        """Twice an answer: the hits by similarity, then those of `find`, which take longer."""
        return self._stages(asked, topk, rerank, depth, early=True)

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
            features: Read = {}
            verified: dict[str, Verification] = {}
            reranker = self._reranker(features)
            if self._verifies and not self.is_plain(asked):
                features.update(zip([name], self._read([name]), strict=True))
                verified = reranker.verify(asked.local, [name])
            (hit,) = reranker.order(shortlist, verified)
            match = self._match(hit, asked.query, asked.local, features)
        return match, time.perf_counter() - started

    def _stages(
        self, asked: Described, topk: int, rerank: str, depth: int | None, early: bool
    ) -> Generator[SearchResult]:
        _check_arguments(topk, rerank)
        depth = self._options.depth if depth is None else depth
        started = time.perf_counter()
        query, vectors, local = asked.query, asked.vectors, asked.local
        with self._collection.snapshot():
            num_searched = self._num_searched()
            if not num_searched:
                raise NothingToDo(f"The index in {self._collection.directory} is empty. → glocal index PHOTOS")
            shortlist = self._shortlist(vectors, max(topk, depth))
            found = time.perf_counter()
            features: Read = {}

            def answer(hits: Sequence[Hit]) -> SearchResult:
                matches = tuple(self._match(hit, query, local, features) for hit in hits[:topk])
                timing = {
                    "extract": asked.seconds,
                    "search": found - started,
                    "rerank": time.perf_counter() - found,
                }
                judged = self._calibration is not None
                return SearchResult(query, matches, num_searched, self._warnings(query, asked.asked), timing, judged)

            hits = self._reranker(features).order(shortlist, {})
            if early:
                yield answer(hits)
            if rerank == "geometric" and self._verifies and not self.is_plain(asked):
                hits = self._rerank(vectors, local, shortlist, features, depth)
            yield answer(hits)

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
            _expect_picture(Path(photo))
        (answer,) = _read_photo(self.pool, photo, Request(b"", want="pixels", longest=64))
        return answer.size

    def _describe(self, photo: PhotoSource, box: Box | None, turns: int) -> list[Answer]:
        if not isinstance(photo, PictureBytes):
            _expect_picture(Path(photo))
        return _describe_photo(self.pool, photo, turns, box)

    def _shortlist(self, vectors: Vectors, k: int) -> Shortlist:
        """The k most similar photos to a query's (T, D) descriptors, one for each way it is turned."""
        queries = Descriptors(tuple(f"query {turn}" for turn in range(len(vectors))), vectors)
        if isinstance(self._collection, NearestSearch):
            return best_of(self._collection.nearest(queries, k), k, TURN_PENALTY)
        if self._nearest is None:
            return best_of(search_blocks(self._collection.descriptors(), queries, k), k, TURN_PENALTY)
        self._nearest.refresh(MAX_CACHED_BYTES)
        return best_of(self._nearest.search(queries, k), k, TURN_PENALTY)

    def _load(self) -> None:
        if self._nearest is not None:
            with self._collection.snapshot():
                self._nearest.refresh(MAX_CACHED_BYTES)

    def _num_searched(self) -> int:
        return self._collection.counts()["contents"] if self._nearest is None else self._nearest.count()

    def _reranker(self, features: Read) -> InlierReranker:
        """Verifies as this searcher does, candidates whose features were read."""
        if self._collection.local_form == LocalForm.BINARY:
            return SignReranker(cast("Callable[[str], SignFeatures]", features.__getitem__), self._options)
        return GeometricReranker(cast("Callable[[str], LocalFeatures]", features.__getitem__), self._options)

    def _read(self, names: Sequence[str]) -> Sequence[Placed]:
        """The local features of candidates, in the form in which they are compared fastest."""
        if self._collection.local_form == LocalForm.BINARY:
            return self._collection.sign_features_many(names)
        return self._collection.local_features_many(names)

    def _rerank(
        self, vectors: Vectors, local: Sequence[LocalFeatures], shortlist: Shortlist, features: Read, depth: int
    ) -> list[Hit]:
        """Verify half of the depth, search again with what was found for sure, verify the other half."""
        reranker = self._reranker(features)

        def verify(names: Sequence[str]) -> dict[str, Verification]:
            features.update(zip(names, self._read(names), strict=True))
            return reranker.verify(local, names)

        verified = verify(shortlist.ids[: depth // 2])
        sure = [hit.id for hit in reranker.order(shortlist, verified) if self._band(hit) == Band.SAME]
        if sure:
            wider = self._shortlist(self._expand(vectors, sure, verified), len(shortlist.ids))
            shortlist = _with(wider, shortlist, verified)
        fresh = [name for name in shortlist.ids if name not in verified][: depth - len(verified)]
        return reranker.order(shortlist, verified | verify(fresh))

    def _expand(self, vectors: Vectors, sure: Sequence[str], verified: Mapping[str, Verification]) -> Vectors:
        """Each of the query's (T, D) descriptors with those of the hits that it was surely found in, turned so."""
        rows = []
        for turn, vector in enumerate(vectors):
            names = [name for name in sure if verified[name].turn == turn]
            rows.append(expand(vector, self._collection.vectors(names)) if names else vector)
        return np.stack(rows)

    def _band(self, hit: Hit) -> Band:
        return judge(self._calibration, hit)[1]

    def _match(self, hit: Hit, query: Query, local: Sequence[LocalFeatures], features: Read) -> Match:
        names = [os.fsdecode(path) for path in self._collection.paths(hit.id)]
        probability, band = judge(self._calibration, hit)
        return Match(
            rank=hit.rank,
            id=hit.id,
            path=(self._collection.root or Path()) / names[0],
            store_url=self._collection.url,
            name=names[0],
            label=self._collection.label(names[0]),
            copies=tuple(names[1:]),
            size=self._collection.picture_size(hit.id),
            similarity=hit.similarity,
            probability=probability,
            band=band,
            verification=hit.verification,
            view=view_of(local, features[hit.id], hit.verification, query.box) if hit.verification else None,
            query=query,
        )

    def _warnings(self, query: Query, asked: Box | None) -> tuple[str, ...]:
        warnings = []
        model = self._collection.spec.model
        if not self._verifies:
            warnings.append(f"{model} has no local features: hits are ordered by similarity, nothing is verified")
        elif self._calibration is None:
            form = self._collection.local_form
            what = f"{model} has no calibration" + (" for binary local features" if form == LocalForm.BINARY else "")
            warnings.append(f"{what}: hits are ordered, but not judged")
        if self._nearest is not None and self._nearest.warning is not None:
            warnings.append(self._nearest.warning)
        if self._verifies and query.num_features < MIN_FEATURES:
            warnings.append(
                f"{query.path.name} has almost no detail ({query.num_features} local features): a plain or "
                "blurred picture cannot identify an object. Showing look-alikes only."
            )
        if asked is not None and query.box is not None and tuple(round(v) for v in asked) != tuple(query.box):
            was, now = (",".join(str(round(v)) for v in box) for box in (asked, query.box))
            width, height = query.size
            warnings.append(f"--box {was} leaves the picture ({width}×{height}): clipped to {now}.")
        return tuple(warnings)


def _expect_picture(path: Path) -> None:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. → glocal index {path}   or name one picture in it")
    if not path.exists():
        raise ConfigError(f"No such picture: {path}")


def _check_arguments(topk: int, rerank: str) -> None:
    if topk < 1:
        raise ConfigError(f"topk must be at least 1, not {topk}")
    if rerank not in RERANKERS:
        raise ConfigError(f'Unknown re-ranking "{rerank}". Choose from {", ".join(RERANKERS)}.')


def _path_of(photo: PhotoSource) -> Path:
    """The file of a query, or the name of one that is none."""
    return Path(photo.name if isinstance(photo, PictureBytes) else photo)


def _read_photo(pool: PhotoPool, photo: PhotoSource, request: Request) -> list[Answer]:
    """Have workers read a photo in all the ways that a request wants, order kept; the error names the photo."""
    if isinstance(photo, PictureBytes):
        request = replace(request, path=os.fsencode(photo.name), data=photo.data)
    else:
        request = replace(request, path=os.fsencode(Path(photo).resolve()))
    answers: dict[int, Answer] = {}
    for asked, outcome in pool.run([request]):
        if isinstance(outcome, ImageError):
            raise ImageError(outcome.code, f"cannot read {_path_of(photo)} — {outcome.detail}") from outcome
        answers[asked.turn] = outcome
    return [answers[turn] for turn in sorted(answers)]


def _describe_photo(pool: PhotoPool, photo: PhotoSource, turns: int = 1, box: Box | None = None) -> list[Answer]:
    """A photo as it is and turned by 1, 2, ... quarter turns."""
    return _read_photo(pool, photo, Request(b"", box=box, num_turns=turns))


def _calibration_of(spec: ExtractorSpec, form: LocalForm = LocalForm.INT8) -> Calibration | None:
    """What was measured for a model with local features in some form; int8 and float count as one."""
    name = f"{spec.model}.signs" if form == LocalForm.BINARY else spec.model
    return Calibration.load(name, spec.weights) if spec.local_dim else None


def compare_photos(
    pool: PhotoPool, first: PhotoSource, second: PhotoSource, options: VerificationOptions | None = None, turns: int = 1
) -> PairReport:
    """Compare two photos: similarity, geometry, verdict; only the similarity for a model without local features.

    Args:
        pool: reads the photos and describes them.
        first: a file, or bytes; the query's part.
        second: likewise.
        options: how they are compared; None takes what the model's calibration was measured with.
        turns: in how many quarter turns the first is described, see `Preprocessing.query_turns`; the best one counts.

    Raises:
        ImageError: one of them cannot be read.
    """
    query = [answer.extraction(_path_of(first).name) for answer in _describe_photo(pool, first, turns)]
    target = _describe_photo(pool, second)[0].extraction(_path_of(second).name)
    sizes = (query[0].local.size, target.local.size)
    similarity = max(float(turned.descriptor @ target.descriptor) for turned in query)
    if not pool.spec().local_dim:
        return PairReport(similarity, None, Band.LOOK_ALIKE, None, None, sizes)
    calibration = _calibration_of(pool.spec())
    options = options or (calibration.verification if calibration else DEFAULTS)
    local = [turned.local for turned in query]
    verification = verify_turns(local, target.local, options)
    probability, band = judge(calibration, Hit("second", 1, similarity, verification))
    return PairReport(
        similarity, probability, band, verification, view_of(local, target.local, verification, None), sizes
    )


def _with(wider: Shortlist, first: Shortlist, verified: Mapping[str, Verification]) -> Shortlist:
    """A second shortlist, with the verified candidates of the first that it lost at its end."""
    kept = set(wider.ids)
    lost = [i for i, name in enumerate(first.ids) if name in verified and name not in kept]
    similarities = np.concatenate([wider.similarities, np.minimum(first.similarities[lost], wider.similarities[-1])])
    return Shortlist(wider.query_id, wider.ids + tuple(first.ids[i] for i in lost), similarities)


def view_of(query: Sequence[LocalFeatures], target: Placed, verification: Verification, box: Box | None) -> MatchView:
    """Where a query, with one set of features for each way it was turned, and a verified candidate agree."""
    turned = query[verification.turn]
    return MatchView(
        query_size=turned.size,
        target_size=target.size,
        query_points=turned.keypoints[verification.matches[:, 0]],
        target_points=target.keypoints[verification.matches[:, 1]],
        mask=verification.mask,
        homography=verification.homography,
        query_quad=verification.query_quad,
        target_quad=verification.target_quad,
        box=box,
    )


def _shift(local: LocalFeatures, answer: Answer) -> LocalFeatures:
    """Features of a box, moved to the coordinates of the whole photo."""
    if answer.box is None:
        return local
    offset = np.array(answer.box[:2], np.float32)
    return LocalFeatures(local.id, answer.size, local.keypoints + offset, local.descriptors, local.scores, local.scales)
