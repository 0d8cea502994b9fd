"""What a searcher has to do to answer a search or a recognition, by one picture or by several views of a thing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from glocal.recognition import SEARCHED, recognition_of
from glocal.search import Described, Match, PictureBytes, SearchResult
from glocal.web import answers
from glocal.web.answers import Members
from glocal.web.asking import UPLOADED, Asked, described_query, expect_detail
from glocal.web.engine import Bench
from glocal.web.library import ServedIndex
from glocal.web.parameters import MAX_DRAWN, RecognizeParams, SearchParams, SelectingParams
from glocal.web.problems import Problem
from glocal.web.selecting import selection_of
from glocal.web.service import Service

Tell = Callable[[tuple[str, Members]], None]
"""Is told the events of a stream."""


@dataclass(frozen=True, slots=True)
class Views:
    """What was asked: one picture, or several views of the same thing.

    Attributes:
        described: their features.
        ids: as which they are remembered.
        pictures: what was described.
    """

    described: tuple[Described, ...]
    ids: tuple[str, ...]
    pictures: tuple[PictureBytes, ...] = field(repr=False)

    def members(self) -> Members:
        """What every answer says of them."""
        return {"query": answers.query_members(self.described[0], self.ids[0]), "views": list(self.ids)}


def search(
    service: Service, index: ServedIndex, asked: Sequence[Asked], params: SearchParams
) -> Callable[[Bench, Tell | None], Members]:
    """What a searcher has to do to answer a search; it tells the events of a stream, if somebody listens.

    Args:
        service: remembers the queries.
        index: what is searched.
        asked: the query, or several views of the same thing.
        params: how it is searched.

    Raises:
        Problem: `value_too_large`: the page.
    """
    _expect_page(service, params)
    selection = selection_of(params.filter)
    last = params.offset + params.topk

    def work(bench: Bench, tell: Tell | None) -> Members:
        started = time.perf_counter()
        _expect_labels(bench, params)
        find = partial(bench.searcher.find, topk=last, selection=selection)
        views = _views(service, bench, index, asked, params, first_way=tell is not None)
        if params.rerank.method != "none":
            expect_detail(bench, views.described)
        if tell is not None:
            size = bench.collection.counts()["contents"]
            if not size:
                raise Problem("index_empty", "There is no picture in this index yet.")
            heading = views.members() | {"index": answers.index_members(index, size, bench.collection.spec)}
            tell(("query", heading))
            hits = find(views.described, rerank="none", depth=params.rerank.depth)
            tell(("hits", _members(service, bench, index, views, params, hits, False)))
            views = _in_all_ways(service, bench, views, params)
        method, depth, budget_s = params.rerank.method, params.rerank.depth, params.rerank.seconds
        result = find(views.described, rerank=method, depth=depth, budget_s=budget_s)
        members = _members(service, bench, index, views, params, result, True)
        service.telemetry.searched(index.id, time.perf_counter() - started)
        if tell is not None:
            tell(("result", members))
        return members

    return work


def recognize(
    service: Service, index: ServedIndex, asked: Sequence[Asked], params: RecognizeParams
) -> Callable[[Bench], Members]:
    """What a searcher has to do to name what a picture shows."""
    selection = selection_of(params.filter)

    def work(bench: Bench) -> Members:
        started = time.perf_counter()
        if bench.collection.labels is None:
            raise _no_labels("so there are no names")
        views = _views(service, bench, index, asked, params)
        expect_detail(bench, views.described)
        result = bench.searcher.find(views.described, SEARCHED, selection=selection, budget_s=params.rerank.seconds)
        found = recognition_of(result)
        best = found.votes[0] if found.label is not None else None
        sure = [hit.probability for hit in found.photos(best) if hit.probability is not None] if best else []
        service.telemetry.searched(index.id, time.perf_counter() - started, "recognize")
        return {
            "label": None if found.label is None else answers.shown_name(found.label),
            "verdict": str(found.verdict),
            "confidence": round(max(sure), 6) if sure else None,
            "reason": found.recognition.reason,
            "votes": answers.vote_members(found, index, views.ids),
            **views.members(),
            "index": answers.index_members(index, result.num_searched, bench.collection.spec),
            "timing_ms": answers.timing_members(views.described, result),
            "warnings": answers.warnings_of(result),
        }

    return work


def _expect_page(service: Service, params: SearchParams) -> None:
    """Refuse a page that begins or ends too far down, or is too large to be drawn."""
    if params.offset + params.topk > service.settings.max_topk:
        raise Problem("value_too_large", f"offset and topk are {service.settings.max_topk} together at most.")
    if "matches" in params.include and params.topk > MAX_DRAWN:
        raise Problem("value_too_large", f'With "matches" in include, topk is {MAX_DRAWN} at most.')


def _expect_labels(bench: Bench, params: SelectingParams) -> None:
    if params.filter is not None and params.filter.label is not None and bench.collection.labels is None:
        raise _no_labels("so they cannot be filtered by label")


def _no_labels(consequence: str) -> Problem:
    hint = "glocal index PHOTOS --labels folder"
    return Problem("no_labels", f"The pictures of this index have no labels, {consequence}.", hint)


def _views(
    service: Service,
    bench: Bench,
    index: ServedIndex,
    asked: Sequence[Asked],
    params: SelectingParams,
    first_way: bool = False,
) -> Views:
    """Describe all that was asked, and remember it; only as it is for a start, where somebody waits for first hits."""
    described, ids, pictures = [], [], []
    for number, each in enumerate(asked, 1):
        name = UPLOADED if len(asked) == 1 else f"picture {number}"
        one, picture = described_query(bench, index, each, params, name, first_way)
        record = each.record
        if record is None or record.described is not one or record.index_id != index.id:
            record = service.queries.put(index.id, picture, params.upright, one, bench.collection.spec)
        described.append(one)
        ids.append(record.id)
        pictures.append(picture)
    return Views(tuple(described), tuple(ids), tuple(pictures))


def _in_all_ways(service: Service, bench: Bench, views: Views, params: SearchParams) -> Views:
    """Views that were described only as they are, in all the ways that their model wants."""
    if params.upright:
        return views
    pairs = zip(views.described, views.pictures, strict=True)
    described = tuple(bench.searcher.describe_rest(one, picture) for one, picture in pairs)
    for name, one in zip(views.ids, described, strict=True):
        service.queries.complete(name, one)
    return replace(views, described=described)


def _members(
    service: Service,
    bench: Bench,
    index: ServedIndex,
    views: Views,
    params: SearchParams,
    result: SearchResult,
    verified: bool,
) -> Members:
    """An answer to a search."""
    hits = result.hits
    if params.min_probability is not None:
        least = params.min_probability
        hits = tuple(hit for hit in hits if hit.probability is not None and hit.probability >= least)
    last = params.offset + params.topk
    more = len(result.hits) == last < min(result.num_candidates, service.settings.max_topk)
    return {
        **views.members(),
        "index": answers.index_members(index, result.num_searched, bench.collection.spec),
        "verdict": result.verdict,
        "verified": verified,
        "results": [_result(bench, index, views, params, hit) for hit in hits[params.offset :]],
        "total_candidates": result.num_candidates,
        "verified_candidates": result.num_verified,
        "selected": result.num_selected,
        "next_offset": last if more else None,
        "timing_ms": answers.timing_members(views.described, result),
        "warnings": answers.warnings_of(result),
    }


def _result(bench: Bench, index: ServedIndex, views: Views, params: SearchParams, hit: Match) -> Members:
    members = answers.result_members(hit, index, views.ids)
    if "matches" in params.include and hit.verification is not None:
        members["lines"] = answers.line_members(hit.view)
    if "metadata" in params.include:
        members["metadata"] = answers.metadata_members(bench.collection.file_of(hit.id))
    return members
