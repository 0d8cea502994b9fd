"""/v1/lab: evaluation runs, their queries and photos, and two runs against each other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from glocal.errors import ConfigError, SpecMismatch
from glocal.web import lab_answers
from glocal.web.lab import Lab, RunNotFound
from glocal.web.lab_photos import LabPhotos
from glocal.web.lab_reading import RunDamaged
from glocal.web.lab_schemas import QueryAnswer, RunComparison, RunCurves, RunDetails, RunList
from glocal.web.lab_words import MAX_NAME, text
from glocal.web.pictures import Encoded, is_current
from glocal.web.problems import Problem

if TYPE_CHECKING:
    from glocal.web.service import Service

MAX_WAITING = 64
"""Requests of the Lab that may wait; more are refused."""
_CODES = {
    "run_damaged": (422, "This run cannot be read"),
    "runs_not_comparable": (409, "The two runs were not asked the same"),
}

_UNLIKE: dict[int | str, dict[str, Any]] = {409: {"description": "the two runs were not asked the same"}}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "WebP without any metadata", "content": {"image/webp": {}}},
    304: {"description": "the picture that the browser has is still the right one"},
}

RunId = Annotated[str, InPath(pattern="^r[0-9a-f]{16}$", description="id of a run, see /v1/lab/runs")]
Number = Annotated[int, InPath(ge=0, le=1_000_000_000)]
Width = Annotated[Literal["160", "320", "640", "1280"], Query(description="longest side in pixels")]
T = TypeVar("T")


class LabProblem(Problem):
    """A run that cannot be shown, or two that cannot be compared."""

    def __init__(self, code: str, detail: str, hint: str = "") -> None:
        super().__init__("run_not_found", detail, hint)
        self.code = code
        self.status, self.title = _CODES[code]


class _Desk:
    """Runs calls one after the other in a thread of its own, and turns what they raise into problems."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._num_waiting = 0

    async def ask(self, call: Callable[[], T]) -> T:
        if self._num_waiting >= MAX_WAITING:
            raise Problem("overloaded", "Too much is asked of the Lab at the same time.", "try again in a moment")
        self._num_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except RunNotFound as error:
            detail, _, hint = str(error).partition(" → ")
            raise Problem("run_not_found", detail, hint) from error
        except RunDamaged as error:
            detail, _, hint = str(error).partition(" → ")
            raise LabProblem("run_damaged", detail, hint or "run glocal eval again") from error
        finally:
            self._num_waiting -= 1

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def router(service: Service) -> APIRouter:
    """The routes of the Lab; without folders of runs its list is empty.

    Args:
        service: whose settings say where runs are.
    """
    # Where GLOCAL_DATA stood for --data, a run does not say it.
    known = os.environ.get("GLOCAL_DATA")
    lab = Lab(service.settings.runs, Path(known) if known else None)
    photos = LabPhotos(service.settings.decode_limits, service.settings.decode_timeout_s)
    records, pictures = _Desk("lab"), _Desk("lab pictures")

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        for part in (records, pictures, photos):
            part.close()

    routes = APIRouter(prefix="/v1/lab", tags=["lab"], lifespan=lifespan)

    @routes.get("/runs", response_model=RunList, summary="Evaluation runs, the latest first")
    async def list_runs() -> JSONResponse:
        return JSONResponse(await records.ask(partial(_list_runs, lab, bool(service.settings.runs))))

    @routes.get("/runs/{run}", response_model=RunDetails, summary="Scores, protocol card and queries of a run")
    async def get_run(run: RunId) -> JSONResponse:
        return JSONResponse(await records.ask(lambda: lab_answers.details(lab.open(run))))

    @routes.get("/runs/{run}/curves", response_model=RunCurves, summary="Precision over recall of a run")
    async def get_curves(run: RunId) -> JSONResponse:
        return JSONResponse(await records.ask(lambda: lab_answers.curves(lab.open(run))))

    @routes.get(
        "/runs/{run}/queries/{number}", response_model=QueryAnswer, summary="A query's ranking, right and wrong"
    )
    async def get_query(
        run: RunId,
        number: Number,
        setup: Annotated[str | None, Query(max_length=MAX_NAME)] = None,
        top: Annotated[int, Query(ge=1, le=lab_answers.MAX_TOP)] = 30,
    ) -> JSONResponse:
        return JSONResponse(await records.ask(lambda: lab_answers.answer(lab.open(run), number, setup, top)))

    @routes.get("/compare", response_model=RunComparison, responses=_UNLIKE, summary="Two runs against each other")
    async def get_comparison(
        a: Annotated[str, Query(pattern="^r[0-9a-f]{16}$")], b: Annotated[str, Query(pattern="^r[0-9a-f]{16}$")]
    ) -> JSONResponse:
        return JSONResponse(await records.ask(partial(_compare, lab, a, b)))

    @routes.get(
        "/runs/{run}/queries/{number}/thumb", response_class=Response, responses=_PICTURE, summary="A query's photo"
    )
    async def get_query_thumb(request: Request, run: RunId, number: Number, w: Width = "320") -> Response:
        opened = await records.ask(lambda: lab.open(run))
        return _picture(request, await pictures.ask(lambda: photos.of_query(opened, number, int(w))))

    @routes.get(
        "/runs/{run}/photos/{number}/thumb", response_class=Response, responses=_PICTURE, summary="A photo searched"
    )
    async def get_photo_thumb(request: Request, run: RunId, number: Number, w: Width = "320") -> Response:
        opened = await records.ask(lambda: lab.open(run))
        return _picture(request, await pictures.ask(lambda: photos.of_gallery(opened, number, int(w))))

    return routes


def _list_runs(lab: Lab, has_folders: bool) -> dict[str, Any]:
    runs, unreadable = [], []
    for run in lab.runs():
        try:
            runs.append(lab_answers.summary(run, lab.record(run)))
        except RunDamaged as error:
            unreadable.append(lab_answers.unreadable(run, str(error)))
    runs.sort(key=lambda each: (each["date"], each["name"]), reverse=True)
    return {"runs": runs, "unreadable": unreadable, "has_folders": has_folders}


def _compare(lab: Lab, a: str, b: str) -> dict[str, Any]:
    try:
        return lab_answers.comparison(lab.open(a), lab.open(b))
    except (SpecMismatch, ConfigError) as error:
        detail, _, hint = text(str(error)).partition(" → ")
        code = "runs_not_comparable" if isinstance(error, SpecMismatch) else "run_damaged"
        raise LabProblem(code, detail, hint) from error


def _picture(request: Request, encoded: Encoded) -> Response:
    headers = {"ETag": encoded.etag, "Cache-Control": "private, no-cache", "Content-Disposition": "inline"}
    if is_current(request.headers.get("if-none-match"), encoded.etag):
        return Response(status_code=304, headers=headers)
    return Response(encoded.data, media_type=encoded.media_type, headers=headers)
