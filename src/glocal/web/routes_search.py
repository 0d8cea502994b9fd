"""Questions about pictures: search, matches, compare, re-rank, recognise, describe."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from glocal.extract.requests import Request as ReadRequest
from glocal.web import answers, asking, reranking, searching
from glocal.web.answers import Members
from glocal.web.asking import Asked, asked_picture, picture_of
from glocal.web.engine import Bench
from glocal.web.parameters import (
    MAX_VIEWS,
    EmbedParams,
    EmbedRequest,
    ImageRef,
    MatchParams,
    MatchRequest,
    RecognizeParams,
    RecognizeRequest,
    RerankRequest,
    SearchParams,
    SearchRequest,
    SelectingParams,
    ViewsRequest,
)
from glocal.web.pictures import encode_jpeg
from glocal.web.problems import Problem, problem_of, request_id_of
from glocal.web.schemas import (
    EmbedAnswer,
    MatchAnswer,
    MatchesAnswer,
    QueryEvent,
    RecognizeAnswer,
    RerankAnswer,
    SearchAnswer,
    problems,
)
from glocal.web.service import Service
from glocal.web.uploads import JSON, MULTIPART, read_form, read_model, validated

P = TypeVar("P", bound=BaseModel)
S = TypeVar("S", bound=SelectingParams)
VIEWS = ("image", "images")
"""Parts that a view may be in; several may have the same name."""
EVENTS = "text/event-stream"
ARRAY = "application/x-npy"
PICTURE_WIDTH = 1280
_BODY_PROBLEMS = (404, 408, 409, 413, 415, 422)

IndexParam = Annotated[str | None, Query(pattern="^[A-Za-z0-9_-]{1,64}$", description="the first if left out")]
QueryPath = Annotated[str, Path(pattern="^q_[A-Za-z0-9_-]{1,64}$")]
ImagePath = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", tags=["search"])
    _add_search(routes, service)
    _add_matches(routes, service)
    _add_pairs(routes, service)
    _add_recognition(routes, service)
    return routes


def _add_search(routes: APIRouter, service: Service) -> None:
    @routes.post(
        "/search",
        response_model=SearchAnswer,
        responses={200: _also(EVENTS), **problems(*_BODY_PROBLEMS)},
        openapi_extra=_body(SearchRequest, SearchParams, ("image",), _VIEWS),
    )
    async def search(request: Request) -> Response:
        """Find the pictures that show what a picture shows, or what several views of the same thing show.

        With `Accept: text/event-stream` the answer comes in parts: `query`, `hits` (by similarity), `result` (verified,
        equal to the plain answer). What goes wrong before the first part is a plain problem; later, event `problem`.
        """
        params, asked, warnings = await _views(request, service, SearchParams, SearchRequest)
        index = service.library.get(params.index)
        work = searching.search(service, index, asked, params)
        if not _accepts(request, EVENTS):
            members = await service.engine.run(index, lambda bench: work(bench, None))
            members["warnings"] += warnings
            return _answer(SearchAnswer, members)
        events: AsyncGenerator[tuple[str, Members]] = service.engine.stream(index, work)
        first = await anext(events)  # a problem until here is an answer of its own
        return StreamingResponse(_events(first, events, warnings, request_id_of(request)), media_type=EVENTS)


def _add_matches(routes: APIRouter, service: Service) -> None:
    @routes.get("/matches/{query_id}/{image_id}", response_model=MatchesAnswer, responses=problems(404, 409, 422))
    async def matches(query_id: QueryPath, image_id: ImagePath, index: IndexParam = None) -> Response:
        """Where a query and a picture of the index agree, to be drawn."""
        record = service.queries.get(query_id)
        served = service.library.get(index or record.index_id)
        return _answer(MatchesAnswer, await service.engine.run(served, asking.matches(record, image_id)))

    @routes.get(
        "/queries/{query_id}/picture",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {"schema": _BINARY}}}, **problems(404, 422)},
    )
    async def picture(query_id: QueryPath, w: Annotated[int, Query(ge=32, le=1600)] = PICTURE_WIDTH) -> Response:
        """The picture of a query, re-encoded: without what its file said of place, camera and owner."""
        record = service.queries.get(query_id)
        key = f"jpeg {w}"
        if (data := record.pictures.get(key)) is None:

            def work(bench: Bench) -> bytes:
                how = ReadRequest(b"the picture", want="pixels", longest=w, data=record.picture.data)
                return encode_jpeg(bench.pool.read(how).arrays["pixels"])

            data = await service.engine.run(service.library.get(record.index_id), work)
            service.queries.keep_picture(record, key, data)
        return Response(data, media_type="image/jpeg")


def _add_pairs(routes: APIRouter, service: Service) -> None:
    @routes.post(
        "/match",
        response_model=MatchAnswer,
        responses=problems(*_BODY_PROBLEMS),
        openapi_extra=_body(MatchRequest, MatchParams, ("first", "second")),
    )
    async def match(request: Request) -> Response:
        """Compare two pictures: similarity, geometry, verdict."""
        form = await read_form(request, service.settings, ("first", "second"))
        refs: list[ImageRef | None] = [None, None]
        if form.uploads:
            params = validated(MatchParams, form.params)
        else:
            full = validated(MatchRequest, form.params)
            params, refs = full, [full.first, full.second]
        pair = [
            asked_picture(service, form.upload(name), ref) for name, ref in zip(("first", "second"), refs, strict=True)
        ]
        index = service.library.get(params.index)

        def work(bench: Bench) -> Members:
            report = bench.searcher.explain(*(picture_of(asked, index) for asked in pair))
            band = answers.band_name(report.band)
            return {
                "first": answers.frame_members(report.sizes[0], None),
                "second": answers.frame_members(report.sizes[1], None),
                "similarity": round(report.similarity, 6),
                "probability": None if report.probability is None else round(report.probability, 6),
                "band": band,
                "verdict": "not_judged" if report.probability is None else band,
                "verification": answers.verification_members(report.verification),
                "lines": answers.line_members(report.view),
            }

        return _answer(MatchAnswer, await service.engine.run(index, work))

    @routes.post(
        "/rerank",
        response_model=RerankAnswer,
        responses=problems(*_BODY_PROBLEMS),
        openapi_extra=_body(RerankRequest),
    )
    async def rerank(request: Request) -> Response:
        """Verify candidates that another system has found, and order them as a search would."""
        params = await read_model(request, service.settings, RerankRequest)
        if len(params.candidates) > service.settings.max_candidates:
            most = service.settings.max_candidates
            raise Problem("value_too_large", f"candidates: {most} at most.")
        query = asked_picture(service, None, params.query)
        given = [(each.id, asked_picture(service, None, each.image)) for each in params.candidates]
        index = service.library.get(params.index)
        members = await service.engine.run(index, reranking.rerank(service, index, query, given, params))
        return _answer(RerankAnswer, members)


def _add_recognition(routes: APIRouter, service: Service) -> None:
    @routes.post(
        "/recognize",
        response_model=RecognizeAnswer,
        responses=problems(*_BODY_PROBLEMS),
        openapi_extra=_body(RecognizeRequest, RecognizeParams, ("image",), _VIEWS),
    )
    async def recognize(request: Request) -> Response:
        """Name what a picture shows, by the labels of those that show the same; null where that is unknown."""
        params, asked, warnings = await _views(request, service, RecognizeParams, RecognizeRequest)
        index = service.library.get(params.index)
        members = await service.engine.run(index, searching.recognize(service, index, asked, params))
        members["warnings"] += warnings
        return _answer(RecognizeAnswer, members)

    @routes.post(
        "/embed",
        response_model=EmbedAnswer,
        responses={200: _also(ARRAY), **problems(*_BODY_PROBLEMS)},
        openapi_extra=_body(EmbedRequest, EmbedParams, ("image",)),
    )
    async def embed(request: Request) -> Response:
        """The descriptor of a picture, of unit norm; with `Accept: application/x-npy` as a NumPy file of float32."""
        params, asked, _ = await _question(request, service, EmbedParams, EmbedRequest)
        index = service.library.get(params.index)

        def work(bench: Bench) -> tuple[np.ndarray[Any, Any], Members]:
            described, _ = asking.described_query(bench, index, asked, params)
            spec = bench.collection.spec
            members = {
                "descriptor": described.vectors[0].tolist(),
                "dim": spec.dim,
                "model": spec.model,
                "model_hash": f"sha256:{spec.weights}",
                "query": answers.query_members(described, None),
            }
            return described.vectors[0], members

        vector, members = await service.engine.run(index, work)
        if not _accepts(request, ARRAY):
            return _answer(EmbedAnswer, members)
        file = io.BytesIO()
        np.save(file, vector)
        return Response(file.getvalue(), media_type=ARRAY)


# ---------------------------------------------------------------------- requests
async def _question(
    request: Request, service: Service, params: type[P], full: type[BaseModel]
) -> tuple[P, Asked, list[str]]:
    """The parameters and the picture of a request, in JSON or multipart; and what was sent in vain."""
    form = await read_form(request, service.settings)
    upload = form.upload("image")
    if upload is not None:
        return validated(params, form.params), asked_picture(service, upload, None), list(form.warnings)
    named = validated(full, form.params)
    assert isinstance(named, params)
    ref: ImageRef = named.image  # type: ignore[attr-defined]
    return named, asked_picture(service, None, ref), list(form.warnings)


async def _views(
    request: Request, service: Service, params: type[S], full: type[ViewsRequest]
) -> tuple[S, list[Asked], list[str]]:
    """The same for a request that may have several views of a thing.

    Raises:
        Problem: there are too many; or there is a box, and not one picture.
    """
    form = await read_form(request, service.settings, VIEWS, MAX_VIEWS)
    if len(form.uploads) > MAX_VIEWS:
        raise Problem("too_many_parts", f"A body may have {MAX_VIEWS} pictures.")
    if form.uploads:
        asking_for = validated(params, form.params)
        asked = [asked_picture(service, upload.data, None) for upload in form.uploads]
    else:
        named = validated(full, form.params)
        assert isinstance(named, params)
        asking_for, asked = named, [asked_picture(service, None, ref) for ref in named.views]
    if asking_for.box is not None and len(asked) > 1:
        raise Problem("invalid_params", f"A box is a part of one picture, and there are {len(asked)}.")
    return asking_for, asked, list(form.warnings)


def _accepts(request: Request, media_type: str) -> bool:
    accepted = request.headers.get("accept", "")
    return any(part.partition(";")[0].strip().lower() == media_type for part in accepted.split(","))


# ---------------------------------------------------------------------- answers
def _answer(model: type[BaseModel], members: Members) -> Response:
    """An answer whose shape is checked."""
    return Response(model.model_validate(members).model_dump_json(), media_type=JSON)


async def _events(
    first: tuple[str, Members], rest: AsyncGenerator[tuple[str, Members]], warnings: list[str], request_id: str
) -> AsyncIterator[str]:
    try:
        yield _event(first, warnings)
        async for event in rest:
            yield _event(event, warnings)
    except Exception as error:  # noqa: BLE001 - the answer has begun: whatever went wrong has to be told in it
        yield f"event: problem\ndata: {json.dumps(problem_of(error).body(request_id))}\n\n"
    finally:
        await rest.aclose()


def _event(event: tuple[str, Members], warnings: list[str]) -> str:
    name, members = event
    if name == "query":
        return f"event: query\ndata: {QueryEvent.model_validate(members).model_dump_json()}\n\n"
    told = {**members, "warnings": members["warnings"] + warnings}
    return f"event: {name}\ndata: {SearchAnswer.model_validate(told).model_dump_json()}\n\n"


# ---------------------------------------------------------------------- the description
_BINARY: Members = {"type": "string", "format": "binary"}
_VIEWS: Members = {
    "type": "array",
    "items": _BINARY,
    "minItems": 1,
    "maxItems": MAX_VIEWS,
    "description": f"a picture, or up to {MAX_VIEWS} views of the same thing; the parts may be named images too",
}


def _body(
    full: type[BaseModel],
    params: type[BaseModel] | None = None,
    files: tuple[str, ...] = (),
    file: Members = _BINARY,
) -> dict[str, Any]:
    """How an operation describes a body that it reads itself; `file` is the schema of each part with files."""
    content: dict[str, Any] = {JSON: {"schema": _ref(full)}}
    if params is not None:
        content[MULTIPART] = {
            "schema": {
                "type": "object",
                "properties": {**dict.fromkeys(files, file), "params": _ref(params)},
                "required": list(files),
            },
            "encoding": {"params": {"contentType": JSON}},
        }
    return {"requestBody": {"required": True, "content": content}}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _also(media_type: str) -> dict[str, Any]:
    schema = {"type": "string"} if media_type == EVENTS else _BINARY
    return {"description": "the answer", "content": {media_type: {"schema": schema}}}
