"""Somebody else's candidates for a photo -> verified hits, in the order in which a search would give them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from glocal.errors import ConfigError, ImageError, NothingToDo
from glocal.extract.compatibility import check_place, check_spec
from glocal.extract.requests import Answer, Request
from glocal.extract.run import BATCH_IMAGES, IndexOptions
from glocal.index.exact import best_of, search_blocks
from glocal.photo_index import Index
from glocal.search import TURN_PENALTY, Match, Searcher, SearchResult, Vectors
from glocal.store.collection import Collection
from glocal.store.milvus_place import MilvusPlace
from glocal.store.rows import CatalogueRow, NewContent
from glocal.types import Box, Descriptors, Shortlist

StrPath = str | os.PathLike[str]

MAX_CANDIDATES = 100_000
DEPTH = 1000
"""Most candidates that are verified: their local features are in memory together, half a megabyte each."""
_EVERYWHERE = Path("/")
"""The folder of a collection that keeps the features of photos from anywhere."""


@dataclass(frozen=True, slots=True)
class RerankResult(SearchResult):
    """The candidates, best first; a sequence of `glocal.search.Match`. `name` and `copies` are as they were given.

    Attributes:
        skipped: candidates that could not be compared, with the reason.
    """

    skipped: tuple[tuple[str, str], ...] = ()


def rerank(
    query: StrPath,
    candidates: Iterable[StrPath],
    model: StrPath | None = None,
    index: StrPath | MilvusPlace | Index | None = None,
    box: Box | None = None,
    topk: int | None = None,
    *,
    features: StrPath | None = None,
    device: str = "auto",
    upright: bool = False,
    depth: int = DEPTH,
) -> RerankResult:
    """Verify candidates that another system has found, and order them as a search would.

    Args:
        query: the photo that was asked about.
        candidates: photo files; or, with `index`, photos in it, by name or path. Two that are equal are one hit.
        model: what describes the photos; None for the default, or that of `index` or `features`.
        index: an index whose stored features are used, so that no candidate is read.
        box: x, y, width, height of the object in pixels of the upright query.
        topk: most hits to return; None for all.
        features: a folder that keeps the candidates' features, so that the next call finds them; made if need be.
        device: where a network runs.
        upright: describe the query only as it is, see `glocal.search.Searcher.search`.
        depth: how many of the candidates, the most similar ones, are verified at most.

    Returns:
        The hits with similarity, inliers, probability, band, geometry and view; and what was skipped.

    Raises:
        NothingToDo: no candidate could be compared.
        ImageError: the query cannot be read.
        ConfigError: an argument makes no sense.
        SpecMismatch: `index` or `features` was made with another model.
        StoreError: there is no such index.
        StoreBusy: another process is writing `features`.
    """
    with Candidates(candidates, model, index, features, device) as found:
        return found.rerank(query, box, topk, upright, depth)


class Candidates:
    """Candidates with their features at hand: for several queries about the same ones."""

    def __init__(
        self,
        candidates: Iterable[StrPath],
        model: StrPath | None = None,
        index: StrPath | MilvusPlace | Index | None = None,
        features: StrPath | None = None,
        device: str = "auto",
        folder: StrPath | None = None,
    ) -> None:
        """Find their features, or describe them now.

        Args:
            candidates: as for `rerank`.
            model: as for `rerank`.
            index: as for `rerank`.
            features: as for `rerank`.
            device: as for `rerank`.
            folder: what relative paths of files are relative to; None for the current folder.

        Raises:
            NothingToDo: there are none.
            ConfigError: arguments that exclude each other, or too many candidates.
        """
        names = list(dict.fromkeys(os.fspath(each) for each in candidates))
        if not names:
            raise NothingToDo("There are no candidates to re-rank. → a list of paths, one per line")
        if len(names) > MAX_CANDIDATES:
            raise ConfigError(f"{len(names):,} candidates; the limit is {MAX_CANDIDATES:,} → the best ones first")
        if index is not None and features is not None:
            raise ConfigError("an index has the features of its photos → either index or features")
        if isinstance(index, Index) and model is not None:
            raise ConfigError("an open index has its model → leave the model out")
        started = time.perf_counter()
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            if index is None:
                self.index = stack.enter_context(_described(names, model, features, device, Path(folder or "")))
                stored = {name: _key(name, Path(folder or "")) for name in names}
            else:
                opened = index if isinstance(index, Index) else stack.enter_context(Index.open(index, model, device))
                self.index = opened
                stored = {name: _name_in(opened, name) for name in names}
            self._sort(names, stored)
            self._stack = stack.pop_all()
        self._seconds = time.perf_counter() - started

    def _sort(self, names: Sequence[str], stored: Mapping[str, bytes]) -> None:
        """Which picture each name stands for, and why some stand for none."""
        wanted = set(stored.values())
        rows = {row.path: row for row in self.index.collection.catalogue() if row.path in wanted}
        self._names: dict[str, list[str]] = {}
        self._stored = stored
        skipped = []
        for name in names:
            row = rows.get(stored[name])
            if row is None:
                skipped.append((name, "no such picture"))
            elif row.status == "missing":
                skipped.append((name, "the file is gone"))
            elif row.content_hash is None:
                skipped.append((name, row.detail or str(row.reason)))
            else:
                self._names.setdefault(row.content_hash, []).append(name)
        self.skipped = tuple(skipped)

    def rerank(
        self,
        query: StrPath,
        box: Box | None = None,
        topk: int | None = None,
        upright: bool = False,
        depth: int = DEPTH,
    ) -> RerankResult:
        """Verify and order them for a query; arguments and errors as those of `glocal.candidates.rerank`."""
        if depth < 1:
            raise ConfigError(f"depth must be at least 1, not {depth}")
        if not self._names:
            name, reason = self.skipped[0]
            raise NothingToDo(
                f"None of the {len(self.skipped):,} candidates can be compared (first: {name} — {reason}). "
                "→ paths of pictures, or names as they are in the index"
            )
        with _CandidateSearcher(self.index, list(self._names), depth) as searcher:
            found = searcher.search(query, len(self._names) if topk is None else topk, box=box, upright=upright)
        fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
        fields["hits"] = tuple(map(self._as_given, found.hits))
        fields["num_searched"] = fields["num_selected"] = len(self._names)
        fields["timing_s"] = {"candidates": self._seconds} | found.timing_s
        return RerankResult(**fields, skipped=self.skipped)

    def _as_given(self, hit: Match) -> Match:
        """A hit under the name that the caller knows."""
        first, *copies = self._names[hit.id]
        stored = os.fsdecode(self._stored[first])
        collection = self.index.collection
        path = (collection.root or Path()) / stored
        return dataclasses.replace(hit, name=first, path=path, label=collection.label(stored), copies=tuple(copies))

    def close(self) -> None:
        """Close what was opened, and forget features that nobody asked to keep."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _CandidateSearcher(Searcher):
    """Searches a few pictures of a collection, and verifies them all or the most similar ones."""

    def __init__(self, index: Index, ids: Sequence[str], depth: int) -> None:
        super().__init__(index.collection, model=index.model)
        self._options = dataclasses.replace(self._options, depth=min(depth, len(ids)))
        self._nearest = None  # these few are compared one by one, whatever the collection has for all
        self._few = Descriptors(tuple(ids), index.collection.vectors(ids))

    def _shortlist(self, vectors: Vectors, k: int) -> Shortlist:
        queries = Descriptors(tuple(f"query {turn}" for turn in range(len(vectors))), vectors)
        return best_of(search_blocks([self._few], queries, k), k, TURN_PENALTY)


# ---------------------------------------------------------------------- names
def _name_in(index: Index, name: str) -> bytes:
    """The name of a photo in an index, of which the path may be given instead."""
    root = index.collection.root
    path = os.path.normpath(name)
    if os.path.isabs(path) and root is not None:
        for top in (str(root), os.path.realpath(root)):
            if path.startswith(os.path.join(top, "")):
                path = os.path.relpath(path, top)
                break
    return os.fsencode(path)


def _key(name: str, folder: Path) -> bytes:
    """The name of a file from anywhere in a collection of such: its full path, without the first "/"."""
    full = folder / name
    return os.fsencode(os.fspath(full) if "\0" in name else os.path.realpath(full)).lstrip(b"/")


# ---------------------------------------------------------------------- files
@contextmanager
def _described(
    names: Sequence[str], model: StrPath | None, features: StrPath | None, device: str, folder: Path
) -> Iterator[Index]:
    """An index that holds some photo files, from anywhere."""
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="glocal-")) if features is None else features
        index = stack.enter_context(Index.open_or_create(place, model, device))
        root = index.collection.root
        if root not in (None, _EVERYWHERE):
            raise ConfigError(f"{features} is the index of {root} → index={os.fspath(place)!r}, or another place")
        check_place(index.collection, index.model)
        check_spec(index.collection, index.model.spec, index.model.source)
        with Collection.open(index.directory, writable=True) as collection:
            if root is None:
                collection.root = _EVERYWHERE
            _describe(index, collection, dict.fromkeys(_key(name, folder) for name in names))
        yield index


def _describe(index: Index, collection: Collection, paths: Iterable[bytes]) -> None:
    """Describe those files that are new or have changed; a batch at a time is saved."""
    requests = _requests(collection, paths)
    if not requests:
        return
    contents: dict[str, NewContent] = {}
    rows: list[CatalogueRow] = []
    options = IndexOptions()
    with (
        index.model.pool(min(options.workers, len(requests)), options.limits, options.timeout_s) as pool,
        contextlib.closing(pool.run(requests)) as outcomes,
    ):
        for request, outcome in outcomes:
            rows.append(_row(request, outcome))
            if isinstance(outcome, Answer):
                digest = outcome.content_hash
                if digest not in contents and not collection.knows(digest):
                    contents[digest] = NewContent(
                        digest, outcome.num_bytes, outcome.size, outcome.orientation, outcome.extraction(digest)
                    )
            if len(rows) >= BATCH_IMAGES:
                collection.commit(list(contents.values()), rows)
                contents, rows = {}, []
        collection.commit(list(contents.values()), rows)
    collection.drop_unused()


def _requests(collection: Collection, paths: Iterable[bytes]) -> list[Request]:
    """What has to be read; what is gone is hidden."""
    wanted = set(paths)
    known = {row.path: row for row in collection.catalogue() if row.path in wanted}
    requests, gone, returned = [], [], []
    for path in paths:
        before = known.get(path)
        try:
            about = os.stat(b"/" + path)
        except (OSError, ValueError):
            if before is not None:
                gone.append(path)
            continue
        unchanged = before is not None and (before.size, before.mtime_ns) == (about.st_size, about.st_mtime_ns)
        if before is None or not unchanged or before.reason == "unreadable":
            requests.append(Request(b"/" + path, key=(path, about.st_size, about.st_mtime_ns)))
        elif before.status == "missing":
            returned.append(path)
    collection.hide(gone)
    collection.show(returned)
    return requests


def _row(request: Request, outcome: Answer | ImageError) -> CatalogueRow:
    path, size, mtime_ns = request.key
    if isinstance(outcome, ImageError):
        return CatalogueRow(path, size, mtime_ns, "rejected", outcome.code, outcome.detail)
    return CatalogueRow(path, outcome.num_bytes, outcome.mtime_ns, "indexed", content_hash=outcome.content_hash)
