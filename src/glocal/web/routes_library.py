"""The indexes and their photos over HTTP."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from glocal.errors import ImageError
from glocal.home import shipped_model, weights_of
from glocal.models.catalogue import default_model, find_model, list_models
from glocal.web.indexing import is_allowed
from glocal.web.library import Found, ServedIndex
from glocal.web.listings import ImageList, IndexInfo, IndexList, Listings, SkippedList
from glocal.web.managed import create_index, delete_photo, keep_photos, photos_of
from glocal.web.overlay import onto_query
from glocal.web.pictures import WIDTHS, Encoded, full_etag, full_side, is_current, thumbnail_etag
from glocal.web.problems import Problem, problem_of
from glocal.web.schemas import Ask
from glocal.web.service import Service
from glocal.web.uploads import JSON, MULTIPART, media_type_of, read_form, read_model, validated

MAX_LISTED = 1000
MAX_UPLOADS = 100
"""Files of one request; all together may have `Settings.max_body_bytes`."""
UPLOADS = ("image", "images", "file")
OVERLAY_PX = 1280
"""Longest side of an overlay: that of the query's picture beside it."""

IndexId = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,64}$")]
WhichIndex = Annotated[str | None, Query(pattern="^[A-Za-z0-9_-]{1,64}$", description="default: the first one")]
ImageId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
QueryId = Annotated[str, Query(pattern="^q_[A-Za-z0-9_-]{1,64}$")]
Width = Annotated[int, Query(description="longest side in pixels", json_schema_extra={"enum": list(WIDTHS)})]
Offset = Annotated[int, Query(ge=0, le=1 << 53)]
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED)]
IfNoneMatch = Annotated[str | None, Header(max_length=2000)]
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/webp": {}, "image/jpeg": {}}, "description": "The picture, without metadata."},
    304: {"description": "The browser has it."},
}


class ModelInfo(BaseModel):
    """A model that can describe photos."""

    name: str
    summary: str
    paper: str
    licence: str
    trained_on: str
    is_default: bool
    is_network: bool
    weights: str


class ModelList(BaseModel):
    """The models that glocal knows; `weights` says which can be used here."""

    models: list[ModelInfo]


class NewIndex(Ask):
    """An index to be made."""

    id: str = Field(pattern="^[A-Za-z0-9_-]{1,64}$")
    model: Annotated[str, Field(max_length=100, json_schema_extra={"enum": list_models("*")})] | None = Field(
        default=None, description="one that is here; default: the best of these"
    )


class Update(Ask):
    """How an index is brought up to date."""

    retry_skipped: bool = Field(default=False, description="try files again that were refused before")
    prune: bool = Field(default=False, description="forget photos that are gone, instead of hiding them")


class Paths(Ask):
    """Photos on the service's own disk."""

    paths: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(min_length=1, max_length=1000)


class RefusedUpload(BaseModel):
    """A file that is no picture."""

    number: int = Field(description="place among the files of the request, from 0")
    reason: str


class Started(BaseModel):
    """A job that was begun; `GET /v1/jobs/{job}` follows it."""

    job: str
    accepted: int | None = None
    refused: list[RefusedUpload] = []


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1", tags=["library"])
    library, jobs, pictures, settings = service.library, service.jobs, service.pictures, service.settings
    listings = Listings(service)

    # ------------------------------------------------------------------ models and indexes
    @routes.get("/models")
    def models() -> ModelList:
        """The models that can describe photos."""
        return ModelList(models=[_model(name) for name in list_models("*")])

    @routes.get("/indexes")
    def indexes() -> IndexList:
        """All indexes; the first is the default."""
        return IndexList(indexes=[listings.index(each) for each in library.indexes])

    @routes.post("/indexes", status_code=201, openapi_extra=_takes(NewIndex))
    async def create(request: Request) -> IndexInfo:
        """Make an empty index for photos that are sent."""
        wanted = await read_model(request, settings, NewIndex)
        made = await run_in_threadpool(create_index, library, settings, wanted.id, wanted.model)
        return await run_in_threadpool(listings.index, made)

    @routes.get("/indexes/{index_id}")
    def index(index_id: IndexId) -> IndexInfo:
        """What an index holds."""
        return listings.index(library.get(index_id))

    @routes.get("/indexes/{index_id}/images")
    def images(
        index_id: IndexId,
        offset: Offset = 0,
        limit: Limit = 100,
        prefix: Annotated[str, Query(max_length=1000, description="how names begin, say a folder")] = "",
    ) -> ImageList:
        """Its searchable photos, ordered by name."""
        return listings.images(library.get(index_id), offset, limit, prefix)

    @routes.get("/indexes/{index_id}/skipped")
    def skipped(index_id: IndexId, offset: Offset = 0, limit: Limit = 100) -> SkippedList:
        """The files that were refused, with reasons."""
        return listings.skipped(library.get(index_id), offset, limit)

    @routes.post("/indexes/{index_id}/images", status_code=202, openapi_extra=_takes(Paths, UPLOADS))
    async def add(index_id: IndexId, request: Request) -> Started:
        """Send photos to an index that the service made, or name files and folders on its disk; a job reads them."""
        served = library.get(index_id)
        photos_of(served)  # an index of somebody's folder is refused before megabytes are read
        form = await read_form(request, settings, UPLOADS, MAX_UPLOADS)
        if media_type_of(request) == JSON:
            paths = validated(Paths, form.params).paths
            await run_in_threadpool(_check_allowed, paths, settings.allow_dirs)
            return Started(job=(await run_in_threadpool(jobs.add, served, tuple(paths))).id)
        if not form.uploads:
            raise Problem("invalid_params", f"There is no file in the body: {' or '.join(UPLOADS)}.")
        refused = await run_in_threadpool(keep_photos, served, [upload.data for upload in form.uploads])
        if len(refused) == len(form.uploads):
            raise problem_of(ImageError(refused[0][1]))
        job = await run_in_threadpool(jobs.add, served)
        return Started(
            job=job.id,
            accepted=len(form.uploads) - len(refused),
            refused=[RefusedUpload(number=number, reason=reason) for number, reason in refused],
        )

    @routes.post("/indexes/{index_id}/update", status_code=202, openapi_extra=_takes(Update, required=False))
    async def update(index_id: IndexId, request: Request) -> Started:
        """Bring an index up to date with its folder."""
        served = library.get(index_id)
        how = await read_model(request, settings, Update) if media_type_of(request) else Update()
        job = await run_in_threadpool(jobs.update, served, how.retry_skipped, how.prune)
        return Started(job=job.id)

    @routes.delete("/indexes/{index_id}/images/{image_id}", status_code=204)
    def delete(index_id: IndexId, image_id: ImageId) -> None:
        """Delete a photo that was sent, and its features."""
        found = library.get(index_id)
        if jobs.running_on(index_id) is not None:
            raise Problem("job_running", "A job of this index is running or waits.", "wait for it, or stop it")
        delete_photo(found, image_id)

    # ------------------------------------------------------------------ photos
    @routes.get("/images/{image_id}", response_class=Response, responses=_PICTURE)
    async def picture(image_id: ImageId, index: WhichIndex = None, if_none_match: IfNoneMatch = None) -> Response:
        """A photo in full size, upright, encoded anew without metadata."""
        found = await _found(library.get(index), image_id)
        if is_current(if_none_match, full_etag(image_id)):
            return _unchanged(full_etag(image_id))
        return _sent(await pictures.ask(lambda: pictures.full(found), large=True), image_id)

    @routes.get("/images/{image_id}/thumb", response_class=Response, responses=_PICTURE)
    async def thumb(
        image_id: ImageId, index: WhichIndex = None, w: Width = 320, if_none_match: IfNoneMatch = None
    ) -> Response:
        """A photo with no side above `w` pixels."""
        if w not in WIDTHS:
            raise Problem("invalid_params", f"w is one of {', '.join(map(str, WIDTHS))}, not {w}.")
        found = await _found(library.get(index), image_id)
        etag = thumbnail_etag(image_id, w)
        if is_current(if_none_match, etag):
            return _unchanged(etag)
        return _sent(await pictures.ask(lambda: pictures.thumbnail(found, w)), image_id)

    @routes.get("/images/{image_id}/overlay", response_class=Response, responses=_PICTURE)
    async def overlay(image_id: ImageId, query: QueryId, index: WhichIndex = None) -> Response:
        """A photo as it would lie on the query's picture; transparent where it does not reach."""
        served = library.get(index)
        found = await _found(served, image_id)
        record = service.queries.get(query)
        match, _ = await service.engine.run(served, lambda bench: bench.searcher.verify(record.described, image_id))
        view = match.view
        if view is None or view.homography is None:
            raise Problem("not_verified", "These two pictures were not found to agree.")
        homography, query_size = view.homography, record.described.query.size

        def make() -> Encoded:
            warped = onto_query(
                pictures.pixels(found, full_side(found.size)), found.size, homography, query_size, OVERLAY_PX
            )
            if warped is None:
                raise Problem("not_verified", "These two pictures cannot be laid onto each other.")
            return pictures.webp(warped, f'"{query}-{image_id}"')

        return _sent(await pictures.ask(make, large=True), image_id)

    return routes


def _takes(model: type[BaseModel], uploads: Sequence[str] = (), required: bool = True) -> dict[str, Any]:
    """How OpenAPI tells of a body that we read ourselves, with limits."""
    content: dict[str, Any] = {JSON: {"schema": model.model_json_schema()}}
    if uploads:
        file = {"type": "string", "format": "binary"}
        files = {"anyOf": [file, {"type": "array", "items": file}]}  # a list of one is the same bytes as that one
        content[MULTIPART] = {"schema": {"type": "object", "properties": dict.fromkeys(uploads, files)}}
    return {"requestBody": {"required": required, "content": content}}


def _check_allowed(paths: Sequence[str], allowed: Sequence[FilePath]) -> None:
    """Refuse paths outside the folders that the service may read; says nothing about what is there."""
    names = [str(folder) for folder in allowed]
    if any("\0" in path or not is_allowed(os.path.realpath(os.fsencode(path)), names) for path in paths):
        raise Problem("path_not_allowed", "A path is outside the folders that may be read.", "glocal serve --allow-dir")


async def _found(index: ServedIndex, image_id: str) -> Found:
    found = await run_in_threadpool(index.find, image_id)
    if found is None:
        raise Problem("image_not_found", "There is no such picture in this index.")
    return found


def _model(name: str) -> ModelInfo:
    card = find_model(name)
    place = weights_of(name) if card.is_network else None
    here = "built in" if not card.is_network or (place and place == shipped_model(name)) else "installed"
    return ModelInfo(
        name=card.name,
        summary=card.summary,
        paper=card.paper,
        licence=card.licence,
        trained_on=_trained_on(place) or card.trained_on,
        is_default=card.name == default_model(),
        is_network=card.is_network,
        weights=here if place or not card.is_network else "none",
    )


def _trained_on(place: FilePath | None) -> str | None:
    """What weights were learned from, as their own card says it."""
    if place is None:
        return None
    try:
        return str(json.loads((place / "config.json").read_text("utf-8"))["card"]["trained_on"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _sent(picture: Encoded, image_id: str) -> Response:
    ending = picture.media_type.rpartition("/")[2]
    headers = _cached(picture.etag) | {"Content-Disposition": f'inline; filename="{image_id}.{ending}"'}
    return Response(picture.data, headers=headers, media_type=picture.media_type)


def _unchanged(etag: str) -> Response:
    return Response(status_code=304, headers=_cached(etag))


def _cached(etag: str) -> dict[str, str]:
    # "private": it stays in this browser; shared caches must not keep somebody's photos.
    return {"ETag": etag, "Cache-Control": "private, max-age=3600"}
