"""A collection as hloc's files: global descriptors, local features, retrieval pairs, verified matches (NumPy).

Sarlin et al., "From Coarse to Fine", CVPR 2019, github.com/cvg/Hierarchical-Localization. Its files call a photo by its
POSIX path. Keypoints are (x, y) in pixels of the picture as the file stores it, EXIF orientation not applied, with
(0, 0) at the centre of the top-left pixel as here: hloc itself adds the 0.5 of COLMAP when it reads them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, ImageError, NothingToDo
from glocal.export.drafts import Drafts
from glocal.export.group_file import GroupFile, expect_h5py
from glocal.export.hloc_files import HlocFiles, HlocOptions
from glocal.export.names import Format, Names, choose_names, write_map
from glocal.export.pairs import Neighbours, matches_of
from glocal.export.photos import (
    ExportReport,
    Tick,
    content_of,
    in_blocks,
    listed,
    no_tick,
    start_report,
)
from glocal.export.queries import Queries
from glocal.extract.requests import Answer, PhotoPool, Request
from glocal.rerank.bands import Calibration
from glocal.rerank.geometric import DEFAULTS, GeometricReranker
from glocal.store.contract import PhotoCollection
from glocal.types import LocalFeatures

STORED_BLOCK = 1024
"""Stored photos searched for together: one pass over the descriptors of a large collection."""
OUTSIDE_BLOCK = 128
"""Photos described and searched for together: their local features wait in memory, some 70 MB."""
_KEPT_FEATURES = 128


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query that is ready to be searched for."""

    name: str
    content: str
    local: Callable[[], LocalFeatures]


def export_hloc(
    collection: PhotoCollection,
    folder: Path,
    options: HlocOptions | None = None,
    queries: Queries | None = None,
    pool: PhotoPool | None = None,
    tick: Tick = no_tick,
) -> ExportReport:
    """Write global-feats-MODEL.h5, feats-MODEL.h5 and pairs-MODELK.txt; with `matches`, their matches.

    Features are written for every searchable file, exact copies too, and for the queries from outside. Pairs join each
    query with the most similar different pictures, by the first of their names; a query's own content is left out.
    One block of features is in memory at a time, the names, and the global descriptors if they are few.

    Args:
        collection: open for reading.
        folder: where the files go; made if need be.
        options: what is written.
        queries: what is asked for; None asks for every file of the collection.
        pool: describes the queries that are not stored, with the collection's model; needed only if there are some.
        tick: is told of the progress.

    Raises:
        BackendUnavailable: h5py is not installed.
        NothingToDo: the collection is empty, or has names that hloc cannot hold.
        ConfigError: matches of a model without local features; a file exists already or cannot be written.
        DiskFull: no space is left.
    """
    options = options or HlocOptions()
    expect_h5py()
    spec = collection.spec
    if options.matches and not spec.local_dim:
        raise ConfigError(f"{spec.model} has no local features, so there are no matches to write → without --matches")
    outside = queries.outside if queries else {}
    assert pool is not None or not outside
    with collection.snapshot():
        report = start_report(collection)
        if queries:
            report.failed += queries.refused
        form = Format.MATCHES if options.matches else Format.HLOC
        names = choose_names((row.path for row in listed(collection)), form, options.rename_map is not None, outside)
        with Drafts(options.force) as drafts:
            map_draft = None if options.rename_map is None else drafts.add(options.rename_map)
            with HlocFiles(folder, spec, options, drafts) as writer:
                job = _Job(collection, names, writer, options, report, tick)
                job.write_stored()
                if options.topk:
                    job.ask_stored(None if queries is None else queries.stored)
                described = job.ask_outside(list(outside), pool) if pool is not None else []
            if options.topk and not report.pairs:
                raise NothingToDo(_no_pairs(report))
            if map_draft is not None and options.rename_map is not None:
                files = (row.path for row in listed(collection))
                rows = ((file, names.of(file)) for some in (files, described) for file in some)
                write_map(map_draft, rows, options.rename_map)
            report.written = drafts.publish()
    return report


def _no_pairs(report: ExportReport) -> str:
    if report.queries or not report.failed:
        return "There are no two different pictures to make a pair of. → glocal index more of them, or --topk 0"
    name, reason = report.failed[0]
    return f"None of the queries can be read. (first: {name} — {reason}) → check them, or leave --queries out"


class _Job:
    """One export at work."""

    def __init__(
        self,
        collection: PhotoCollection,
        names: Names,
        writer: HlocFiles,
        options: HlocOptions,
        report: ExportReport,
        tick: Tick,
    ) -> None:
        self._collection, self._names, self._writer = collection, names, writer
        self._topk, self._report, self._tick = options.topk, report, tick
        self._first: dict[str, str] = {}
        for row in listed(collection):
            self._first.setdefault(content_of(row), names.of(row.path))
        self._neighbours = Neighbours(collection) if options.topk else None
        # Queries that follow each other in a folder share candidates.
        self._features = functools.lru_cache(_KEPT_FEATURES)(collection.local_features)
        calibration = Calibration.load(collection.spec.model, collection.spec.weights)
        self._reranker = GeometricReranker(self._features, calibration.verification if calibration else DEFAULTS)

    def write_stored(self) -> None:
        """Write the features of all searchable files."""
        total = len(self._first) + self._report.copies
        for rows, vectors in in_blocks(listed(self._collection), self._collection, STORED_BLOCK):
            for row, vector in zip(rows, vectors, strict=True):
                local = functools.partial(self._collection.local_features, content_of(row))
                self._writer.write_photo(
                    self._names.of(row.path), (row.width, row.height), row.orientation, vector, local
                )
                self._report.photos += 1
                self._report.tiffs += row.path.lower().endswith((b".tif", b".tiff"))
                self._tick("Features", self._report.photos, total)

    def ask_stored(self, paths: set[bytes] | None) -> None:
        """Write the pairs of stored photos: of some, or of all."""
        total = len(self._first) + self._report.copies if paths is None else len(paths)
        asked = (row for row in listed(self._collection) if paths is None or row.path in paths)
        for rows, vectors in in_blocks(asked, self._collection, STORED_BLOCK):
            block = [
                _Asked(self._names.of(row.path), content_of(row), functools.partial(self._features, content_of(row)))
                for row in rows
            ]
            for _ in self._ask(block, vectors):
                self._tick("Pairs", self._report.queries, total)

    def ask_outside(self, files: Sequence[bytes], pool: PhotoPool) -> list[bytes]:
        """Describe photos, write their features and pairs; returns those that could be read."""
        readable: list[bytes] = []
        remaining = iter(files)
        while block := list(islice(remaining, OUTSIDE_BLOCK)):
            asked, vectors = [], []
            for file, answer in self._described(block, pool, len(readable), len(files)):
                name = self._names.of(file)
                extraction = answer.extraction(name)
                local = functools.partial(_itself, extraction.local)
                self._writer.write_photo(name, answer.size, answer.orientation, extraction.descriptor, local)
                self._report.photos += 1
                asked.append(_Asked(name, answer.content_hash, local))
                vectors.append(extraction.descriptor)
                readable.append(file)
            if asked and self._neighbours is not None:
                for _ in self._ask(asked, np.stack(vectors)):
                    self._tick("Queries", len(readable), len(files))
        return readable

    def _described(
        self, files: Sequence[bytes], pool: PhotoPool, before: int, total: int
    ) -> Iterator[tuple[bytes, Answer]]:
        """The photos of a block in their order, as far as they can be read."""
        answers: dict[bytes, Answer] = {}
        with contextlib.closing(pool.run(Request(file, key=file) for file in files)) as outcomes:
            for request, outcome in outcomes:
                if isinstance(outcome, ImageError):
                    self._report.failed.append((self._names.of(request.path), outcome.detail))
                else:
                    answers[request.path] = outcome
                self._tick("Queries", before + len(answers), total)
        for file in files:
            if file in answers:
                yield file, answers[file]

    def _ask(self, asked: Sequence[_Asked], vectors: NDArray[np.float32]) -> Iterator[None]:
        """Write the pairs of some queries, and their matches; yields after each query."""
        assert self._neighbours is not None
        found = self._neighbours.of(vectors, [query.content for query in asked], self._topk)
        for query, contents in zip(asked, found, strict=True):
            self._writer.write_pairs(query.name, [self._first[content] for content in contents])
            self._report.queries += 1
            self._report.pairs += len(contents)
            if self._writer.matches is not None:
                self._match(self._writer.matches, query, contents)
            yield

    def _match(self, matches: GroupFile, query: _Asked, contents: Sequence[str]) -> None:
        """Verify a query with its neighbours; a pair that is there the other way round is left as it is."""
        flat = _flat(query.name)
        new = [content for content in contents if f"{_flat(self._first[content])}/{flat}" not in matches]
        local = query.local()
        for content, verification in self._reranker.verify([local], new).items():
            arrays = matches_of(local, self._features(content), verification)
            matches.write(f"{flat}/{_flat(self._first[content])}", arrays)
            self._report.verified += verification.inliers > 0


def _flat(name: str) -> str:
    """A name as hloc has it in the groups of matches."""
    return name.replace("/", "-")


def _itself(local: LocalFeatures) -> LocalFeatures:
    return local
