"""Somebody else's candidates, verified and ordered in memory: what `glocal.candidates.rerank` does with files."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ImageError, StoreError
from glocal.search import Described, Searcher
from glocal.store.codec import EncodedLocal, LocalRow, decode_many, decode_signs, decode_vectors, encode_local
from glocal.store.codec import encode_vector as encode_descriptor
from glocal.store.rows import LocalForm, SignFeatures
from glocal.types import Descriptors, Extraction, ExtractorSpec, LocalFeatures
from glocal.web import answers
from glocal.web.answers import Members
from glocal.web.asking import Asked, described_query, expect_detail, picture_of
from glocal.web.engine import Bench
from glocal.web.library import ServedIndex
from glocal.web.parameters import RerankRequest
from glocal.web.problems import Problem, problem_of
from glocal.web.service import Service

CANDIDATE = "the candidate"
Given = Sequence[tuple[str, Asked]]


@dataclass(frozen=True, slots=True)
class _Kept:
    """The features of a candidate, as a collection would keep them: so that verdicts are the same."""

    vector: NDArray[np.float32]
    local: EncodedLocal
    size: tuple[int, int]


class CandidateStore:
    """A `FeatureStore` of the pictures of one request."""

    def __init__(self, spec: ExtractorSpec, model_source: str, local_form: LocalForm) -> None:
        self.spec, self.model_source, self.local_form = spec, model_source, local_form
        self.directory: object = "this request"
        self.root: Path | None = None
        self.url: str | None = None
        self.labels: str | None = None
        self._kept: dict[str, _Kept] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, name: str, extraction: Extraction) -> None:
        """Keep a picture's features."""
        vector = decode_vectors([encode_descriptor(extraction.descriptor)], self.spec.dim)[0]
        local = encode_local(extraction.local, self.local_form, False)
        self._kept[name] = _Kept(vector, local, extraction.local.size)

    def snapshot(self) -> AbstractContextManager[None]:
        """Nothing changes here."""
        return contextlib.nullcontext()

    def version(self) -> int:
        """Nothing changes here."""
        return 0

    def counts(self) -> dict[str, int]:
        """How many there are."""
        return {"indexed": len(self), "rejected": 0, "missing": 0, "contents": len(self)}

    def descriptors(self, block: int = 0) -> Iterator[Descriptors]:
        """All descriptors, in one block."""
        if self._kept:
            yield Descriptors(tuple(self._kept), self.vectors(list(self._kept)))

    def vectors(self, content_hashes: Sequence[str]) -> NDArray[np.float32]:
        """The descriptors (N, D) of some pictures, order kept."""
        return np.stack([self._row(name).vector for name in content_hashes])

    def local_features(self, content_hash: str) -> LocalFeatures:
        """The local features of one picture."""
        return self.local_features_many([content_hash])[0]

    def local_features_many(self, content_hashes: Sequence[str]) -> list[LocalFeatures]:
        """The local features of some pictures, order kept."""
        rows = [LocalRow(name, self._row(name).size, self._row(name).local) for name in content_hashes]
        return decode_many(rows, self.spec.local_dim, self.local_form, False)

    def sign_features_many(self, content_hashes: Sequence[str]) -> list[SignFeatures]:
        """The signs of some pictures' local descriptors, order kept."""
        rows = [(name, self._row(name)) for name in content_hashes]
        return [decode_signs(row.local, name, row.size, self.spec.local_dim) for name, row in rows]

    def paths(self, content_hash: str) -> list[bytes]:
        """A name for what has no file."""
        return [content_hash.encode("ascii")]

    def picture_size(self, content_hash: str) -> tuple[int, int]:
        """(W, H) of an upright picture in pixels."""
        return self._row(content_hash).size

    def label(self, name: str) -> str | None:
        """Nobody has given one."""
        return None

    def _row(self, name: str) -> _Kept:
        if name not in self._kept:
            raise StoreError(f"there is no picture '{name}' in this request")
        return self._kept[name]


class _FewSearcher(Searcher):
    """Verifies all pictures of a store."""

    def __init__(self, store: CandidateStore, bench: Bench) -> None:
        super().__init__(store, model=bench.model, pool=bench.pool)
        self._options = dataclasses.replace(self._options, depth=len(store))


def rerank(
    service: Service, index: ServedIndex, query: Asked, given: Given, params: RerankRequest
) -> Callable[[Bench], Members]:
    """What a searcher has to do to verify and order candidates."""

    def work(bench: Bench) -> Members:
        started = time.perf_counter()
        described, _ = described_query(bench, index, query, params)
        expect_detail(bench, [described])
        collection = bench.collection
        store = CandidateStore(collection.spec, collection.model_source, collection.local_form)
        names: dict[str, list[str]] = {}
        skipped: list[Members] = []
        for name, asked in given:
            if time.perf_counter() - started > service.settings.request_deadline_s:
                raise Problem("overloaded", "The candidates were not described in time.", "send fewer of them")
            try:
                digest = _describe(bench, index, asked, store)
            except (ImageError, Problem) as error:
                problem = problem_of(error)
                skipped.append({"id": name, "code": problem.code, "detail": problem.detail})
            else:
                names.setdefault(digest, []).append(name)
        members = _answer(bench, described, store, names, params)
        service.telemetry.searched(index.id, time.perf_counter() - started, "rerank")
        return members | {"skipped": skipped}

    return work


def _describe(bench: Bench, index: ServedIndex, asked: Asked, store: CandidateStore) -> str:
    """Keep the features of a candidate; gives the hash of its content."""
    if asked.image_id is not None:
        with bench.collection.snapshot():
            if not bench.collection.paths(asked.image_id):
                raise Problem("image_not_found", "There is no such picture in this index.")
            if asked.image_id not in store:
                vector = bench.collection.vectors([asked.image_id])[0]
                store.add(asked.image_id, Extraction(vector, bench.collection.local_features(asked.image_id)))
        return asked.image_id
    found = bench.searcher.describe(picture_of(asked, index, CANDIDATE), upright=True)
    if found.content_hash not in store:
        store.add(found.content_hash, Extraction(found.vectors[0], found.local[0]))
    return found.content_hash


def _answer(
    bench: Bench, described: Described, store: CandidateStore, names: dict[str, list[str]], params: RerankRequest
) -> Members:
    results: list[Members] = []
    verdict, warnings, timing = "no_match", ["no candidate can be compared"], {"extract": described.seconds}
    if len(store):
        with _FewSearcher(store, bench) as searcher:
            found = searcher.find(described, len(store))
        verdict, warnings, timing = found.verdict, answers.warnings_of(found), dict(found.timing_s)
        for hit in found:
            for name in names[hit.id]:
                judged = answers.judgement_members(hit)
                verification = answers.verification_members(hit.verification)
                results.append({"rank": len(results) + 1, "id": name, **judged, "verification": verification})
    return {
        "query": answers.query_members(described, None),
        "verdict": verdict,
        "results": results[: params.topk],
        "warnings": warnings,
        "timing_ms": {stage: round(1000 * seconds, 2) for stage, seconds in timing.items()},
    }
