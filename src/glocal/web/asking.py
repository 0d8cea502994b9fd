"""From the parameters of a request to a query that is described, and to the members of the answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from glocal.data.image import read_file
from glocal.errors import ConfigError, ImageError
from glocal.recognition import SEARCHED, recognition_of
from glocal.search import Described, PictureBytes, SearchResult
from glocal.types import Box
from glocal.web import answers
from glocal.web.answers import Members
from glocal.web.engine import Bench
from glocal.web.library import ServedIndex
from glocal.web.parameters import ImageRef, QueryParams, SearchParams
from glocal.web.problems import Problem
from glocal.web.queries import QueryRecord
from glocal.web.service import Service
from glocal.web.uploads import decode_base64

Tell = Callable[[tuple[str, Members]], None]
UPLOADED = "the picture"


@dataclass(frozen=True, slots=True)
class Asked:
    """A picture as a request names it.

    Attributes:
        data: its bytes; None if it is named otherwise.
        image_id: a picture of the index.
        record: an earlier query.
    """

    data: bytes | None = None
    image_id: str | None = None
    record: QueryRecord | None = None


def asked_picture(service: Service, upload: bytes | None, ref: ImageRef | None) -> Asked:
    """The picture that a request names, whatever way it does.

    Raises:
        Problem: `invalid_params` or `query_expired`.
    """
    if ref is None:
        if upload is None:
            raise Problem("invalid_params", 'There is no picture: a part "image" with a file, or JSON with "image".')
        return Asked(upload)
    if ref.base64 is not None:
        return Asked(decode_base64(ref.base64))
    if ref.id is not None:
        return Asked(image_id=ref.id)
    assert ref.query is not None
    return Asked(record=service.queries.get(ref.query))


def picture_of(asked: Asked, index: ServedIndex, name: str = UPLOADED) -> PictureBytes:
    """The bytes of a picture.

    Raises:
        Problem: `image_not_found`.
    """
    if asked.data is not None:
        return PictureBytes(asked.data, name)
    if asked.record is not None:
        return PictureBytes(asked.record.picture.data, name)
    found = index.find(asked.image_id or "")
    if found is None:
        raise Problem("image_not_found", "There is no such picture in this index.")
    folder, root = (os.path.realpath(place) for place in (found.path.parent, found.root))
    if not os.path.join(folder, "").startswith(os.path.join(root, "")):
        raise Problem("image_not_found", "The file of this picture is not in the folder of the index any more.")
    try:
        return PictureBytes(read_file(found.path).data, name)
    except ImageError:
        hint = "update the index"
        raise Problem("image_not_found", "The file of this picture cannot be read any more.", hint) from None


def described_query(
    service: Service, bench: Bench, index: ServedIndex, asked: Asked, params: QueryParams, name: str = UPLOADED
) -> tuple[Described, PictureBytes]:
    """A query with its features: those of an earlier query, if it was asked in the same way.

    Raises:
        Problem: `invalid_box`, `image_not_found`.
        ImageError: the picture cannot be read.
    """
    record = asked.record
    picture = picture_of(asked, index, name)
    box: Box | None = None if params.box is None else (params.box[0], params.box[1], params.box[2], params.box[3])
    if box is not None:
        if not (box[2] > 0 and box[3] > 0 and all(abs(value) < 1e9 for value in box)):
            raise Problem("invalid_box", "A box has x, y, width and height, of which the last two are above 0.")
        if params.box_unit == "ratio":
            size = record.described.query.size if record else bench.searcher.size_of(picture)
            box = (box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1])
    if record is not None and (record.described.asked, record.upright, record.spec) == (
        box,
        params.upright,
        bench.collection.spec,
    ):
        return record.described, picture
    try:
        return bench.searcher.describe(picture, box, params.upright), picture
    except ConfigError as error:
        if box is None:
            raise
        raise Problem("invalid_box", f"{error}".partition(" → ")[0], "x, y, width, height in the picture") from None


def remembered(
    service: Service, bench: Bench, index: ServedIndex, asked: Asked, params: QueryParams
) -> tuple[Described, str]:
    """A query with its features, and the id under which it is remembered."""
    described, picture = described_query(service, bench, index, asked, params)
    if asked.record is not None and asked.record.described is described and asked.record.index_id == index.id:
        return described, asked.record.id
    record = service.queries.put(index.id, picture, params.upright, described, bench.collection.spec)
    return described, record.id


def expect_detail(bench: Bench, described: Described) -> None:
    """Refuse a query that cannot identify anything: a blank wall is not answered with noise.

    Raises:
        Problem: `image_too_simple`.
    """
    if bench.searcher.is_plain(described):
        count = described.query.num_features
        raise Problem(
            "image_too_simple",
            f"The picture has almost no detail ({count} local features): it cannot identify an object.",
            'for look-alikes ask with "rerank": {"method": "none"}',
        )


def search(
    service: Service, index: ServedIndex, asked: Asked, params: SearchParams, tell: Tell | None
) -> Callable[[Bench], Members]:
    """What a searcher has to do to answer a search.

    Args:
        service: remembers the query.
        index: what is searched.
        asked: the query.
        params: how it is searched.
        tell: is told the events of a stream; None if nobody listens.
    """
    expect_page(service, params)
    last, most = params.offset + params.topk, service.settings.max_topk

    def work(bench: Bench) -> Members:
        started = time.perf_counter()
        described, query_id = remembered(service, bench, index, asked, params)
        if params.rerank.method != "none":
            expect_detail(bench, described)
        searcher, method, depth = bench.searcher, params.rerank.method, params.rerank.depth
        if tell is None:
            result = searcher.find(described, last, method, depth)
        else:
            size = bench.collection.counts()["contents"]
            if not size:
                raise Problem("index_empty", "There is no picture in this index yet.")
            heading = {
                "query": answers.query_members(described, query_id),
                "index": answers.index_members(index, size, bench.collection.spec),
            }
            tell(("query", heading))
            stages = searcher.stages(described, last, method, depth)
            result = next(stages)
            tell(("hits", _members(bench, index, described, query_id, params, result, False, most)))
            result = next(stages)
            stages.close()
        members = _members(bench, index, described, query_id, params, result, True, most)
        service.telemetry.searched(index.id, time.perf_counter() - started)
        if tell is not None:
            tell(("result", members))
        return members

    return work


def expect_page(service: Service, params: SearchParams) -> None:
    """Refuse a page that begins or ends too far down.

    Raises:
        Problem: `value_too_large`.
    """
    if params.offset + params.topk > service.settings.max_topk:
        raise Problem("value_too_large", f"offset and topk are {service.settings.max_topk} together at most.")


def _members(
    bench: Bench,
    index: ServedIndex,
    described: Described,
    query_id: str,
    params: SearchParams,
    result: SearchResult,
    verified: bool,
    most: int,
) -> Members:
    last = params.offset + params.topk
    hits = result.hits
    if params.min_probability is not None:
        least = params.min_probability
        hits = tuple(hit for hit in hits if hit.probability is not None and hit.probability >= least)
    total = min(result.num_searched, max(last, params.rerank.depth or bench.searcher.depth))
    more = len(result.hits) == last < total
    return {
        "query": answers.query_members(described, query_id),
        "index": answers.index_members(index, result.num_searched, bench.collection.spec),
        "verdict": result.verdict,
        "verified": verified,
        "results": [answers.result_members(hit, index, query_id) for hit in hits[params.offset :]],
        "total_candidates": total,
        "next_offset": last if more and last < most else None,
        "timing_ms": answers.timing_members(described, result),
        "warnings": answers.warnings_of(result),
    }


def recognize(service: Service, index: ServedIndex, asked: Asked, params: QueryParams) -> Callable[[Bench], Members]:
    """What a searcher has to do to name what a picture shows."""

    def work(bench: Bench) -> Members:
        started = time.perf_counter()
        if bench.collection.labels is None:
            hint = "glocal index PHOTOS --labels folder"
            raise Problem("no_labels", "The pictures of this index have no labels, so there are no names.", hint)
        described, query_id = remembered(service, bench, index, asked, params)
        expect_detail(bench, described)
        found = recognition_of(bench.searcher.find(described, SEARCHED))
        best = found.votes[0] if found.label is not None else None
        sure = [hit.probability for hit in found.photos(best) if hit.probability is not None] if best else []
        service.telemetry.searched(index.id, time.perf_counter() - started, "recognize")
        return {
            "label": None if found.label is None else answers.shown_name(found.label),
            "verdict": str(found.verdict),
            "confidence": round(max(sure), 6) if sure else None,
            "reason": found.recognition.reason,
            "votes": answers.vote_members(found, index, query_id),
            "query": answers.query_members(described, query_id),
            "index": answers.index_members(index, found.search.num_searched, bench.collection.spec),
            "timing_ms": answers.timing_members(described, found.search),
            "warnings": answers.warnings_of(found.search),
        }

    return work


def matches(record: QueryRecord, image_id: str) -> Callable[[Bench], Members]:
    """What a searcher has to do to show where a query and a picture of the index agree."""

    def work(bench: Bench) -> Members:
        if bench.collection.spec != record.spec:
            raise Problem("index_model_mismatch", "The query was described by another model.", "search in this index")
        with bench.collection.snapshot():
            there = bool(bench.collection.paths(image_id))
        if not there:
            raise Problem("image_not_found", "There is no such picture in this index.")
        hit, _ = bench.searcher.verify(record.described, image_id)
        found = hit.verification
        verification = answers.verification_members(found)
        return {
            "query": answers.frame_members(record.described.query.size, record.described.query.box),
            "target": {
                "id": hit.id,
                "name": answers.shown_name(hit.name),
                "width": hit.size[0],
                "height": hit.size[1],
            },
            **answers.judgement_members(hit),
            "verification": verification,
            "lines": answers.line_members(hit.view),
            "turn": 0 if found is None else found.turn,
            "query_quad": None if verification is None else verification["query_quad"],
        }

    return work
