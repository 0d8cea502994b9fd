"""What went wrong, as `application/problem+json` (RFC 9457): a stable code, a status, a sentence, what to do next."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from glocal.errors import (
    BackendUnavailable,
    ConfigError,
    DiskFull,
    ImageError,
    NothingToDo,
    RetrievalError,
    SpecMismatch,
    StoreBusy,
    StoreError,
    WeightsError,
)

_LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "https://glocal.invalid/errors/"
RETRY_AFTER_S = 2
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

CODES: dict[str, tuple[int, str]] = {
    "invalid_params": (400, "The request makes no sense"),
    "invalid_box": (400, "The box makes no sense"),
    "unauthorized": (401, "A key is needed"),
    "foreign_origin": (403, "Asked by another web page"),
    "path_not_allowed": (403, "This folder may not be read"),
    "not_found": (404, "There is no such address"),
    "index_not_found": (404, "There is no such index"),
    "image_not_found": (404, "There is no such picture"),
    "query_expired": (404, "This query is forgotten"),
    "not_verified": (404, "These two pictures were not found to agree"),
    "job_not_found": (404, "There is no such job"),
    "run_not_found": (404, "There is no such run"),
    "method_not_allowed": (405, "This address does not take that method"),
    "body_timeout": (408, "The request took too long to arrive"),
    "image_changed": (409, "The photo has changed"),
    "index_empty": (409, "The index is empty"),
    "index_exists": (409, "There is such an index already"),
    "index_is_a_folder": (409, "This index follows a folder"),
    "index_model_mismatch": (409, "The index was made by another model"),
    "job_running": (409, "The index is being written"),
    "no_labels": (409, "The index has no labels"),
    "not_supported": (409, "This index cannot do that"),
    "image_gone": (410, "The photo is not there any more"),
    "file_too_large": (413, "Too many bytes"),
    "image_too_many_pixels": (413, "Too many pixels"),
    "too_many_parts": (413, "Too many parts"),
    "unsupported_format": (415, "Not a picture that can be read"),
    "unsupported_media_type": (415, "Another type of body is expected"),
    "wrong_host": (421, "Asked for another host"),
    "value_too_large": (422, "A value is above its limit"),
    "corrupt_image": (422, "The picture is damaged"),
    "image_too_simple": (422, "The picture has almost no detail"),
    "image_too_small": (422, "The picture is too small"),
    "timeout": (422, "The picture took too long to read"),
    "too_many_requests": (429, "Too many requests"),
    "too_many_jobs": (429, "Too many jobs"),
    "headers_too_large": (431, "Too many bytes of headers"),
    "internal_error": (500, "Something went wrong here"),
    "overloaded": (503, "Busy"),
    "index_loading": (503, "The index is not ready"),
    "shutting_down": (503, "The service is shutting down"),
    "storage_full": (503, "No space is left"),
}
"""Code -> status and title. These names are stable."""

_IMAGE_CODES = {
    "empty": "corrupt_image",
    "truncated": "corrupt_image",
    "corrupt": "corrupt_image",
    "not_an_image": "unsupported_format",
    "unsupported_format": "unsupported_format",
    "too_many_pixels": "image_too_many_pixels",
    "too_large_file": "file_too_large",
    "too_small": "image_too_small",
    "timeout": "timeout",
    "unreadable": "image_not_found",
    "not_regular_file": "image_not_found",
    "outside_root": "image_not_found",
}
_IMAGE_HINTS = {
    "corrupt_image": "send another copy of it, or open it and save it anew",
    "unsupported_format": "save it as JPEG, PNG or WebP",
    "image_too_many_pixels": "make it smaller",
    "file_too_large": "make it smaller",
    "image_too_small": "send a larger one",
    "timeout": "save it as JPEG",
    "image_not_found": "update the index",
}
_PATH = re.compile(r"(?<![\w.:/<])/(?:[^\s/'\",;:()]+/)*([^\s/'\",;:()]+)")


class Problem(Exception):
    """A request that is refused.

    Attributes:
        code: one of `CODES`.
        detail: what happened to which thing; no path of this computer.
        hint: what to do next; empty if there is nothing to say.
        headers: of the answer, besides the usual ones.
    """

    def __init__(self, code: str, detail: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.code, self.detail, self.hint = code, detail, hint
        self.status, self.title = CODES[code]
        self.headers = dict(headers or {})
        if self.status in (429, 503):
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
        if self.status == HTTPStatus.UNAUTHORIZED:
            self.headers.setdefault("WWW-Authenticate", 'Bearer realm="glocal"')
        super().__init__(detail)

    def body(self, request_id: str) -> dict[str, Any]:
        """The members of the JSON object."""
        return {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "hint": self.hint,
            "request_id": request_id,
        }

    def response(self, request_id: str) -> Response:
        """The answer."""
        content = json.dumps(self.body(request_id), ensure_ascii=False).encode("utf-8", "replace")
        return Response(content, self.status, self.headers, MEDIA_TYPE)


def without_paths(text: str) -> str:
    """A message of this computer with the last name of each absolute path alone."""
    return _PATH.sub(r"\1", text)


def problem_of(error: Exception) -> Problem:
    """The problem that an error is for somebody who asks over HTTP."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ImageError):
        detail, _, _ = error.detail.partition(" → ")  # options of the command line do not help here
        code = _IMAGE_CODES[error.code]
        return Problem(code, without_paths(detail), _IMAGE_HINTS[code])
    if isinstance(error, RetrievalError):
        detail, _, hint = without_paths(str(error)).partition(" → ")
        return Problem(_code_of(error), detail.strip(), hint.strip())
    _LOG.error("unexpected %s", type(error).__name__, exc_info=error)
    return Problem("internal_error", "This is a bug in glocal.", "tell its authors the request_id")


def _code_of(error: RetrievalError) -> str:
    kinds: tuple[tuple[type[RetrievalError], str], ...] = (
        (NothingToDo, "index_empty"),
        (ConfigError, "invalid_params"),
        (SpecMismatch, "index_model_mismatch"),
        (WeightsError, "index_model_mismatch"),
        (StoreBusy, "job_running"),
        (DiskFull, "storage_full"),
        (StoreError, "index_loading"),
        (BackendUnavailable, "overloaded"),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), "internal_error")


def request_id_of(request: Request) -> str:
    """The id that the guard gave to a request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def _http_problem(error: HTTPException) -> Problem:
    codes = {404: "not_found", 405: "method_not_allowed", 413: "file_too_large", 415: "unsupported_media_type"}
    code = codes.get(error.status_code, "invalid_params")
    detail = {
        "not_found": "There is nothing at this address.",
        "method_not_allowed": "This address does not take that method.",
    }.get(code, str(error.detail))
    return Problem(code, detail, "see /openapi.json", error.headers)


def allowed_methods(request: Request) -> str:
    """The methods that an address takes, of all routes that it has: the one that refused knows only its own."""
    routes = request.app.routes
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] == Match.FULL for route in routes)
    )


def validation_problem(errors: Any) -> Problem:
    """The first of pydantic's complaints in words; a number above its limit has a status of its own."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    too_large = first["type"] in ("less_than_equal", "less_than") and not isinstance(first.get("input"), str)
    message = str(first["msg"]).removeprefix("Value error, ")
    return Problem("value_too_large" if too_large else "invalid_params", f"{place or 'the body'}: {message}"[:500])


def add_handlers(app: FastAPI, rejected: Callable[[str], None]) -> None:
    """Have an application answer every error as a problem.

    Args:
        app: the application.
        rejected: is told the code of each.
    """

    def answer(request: Request, problem: Problem) -> Response:
        rejected(problem.code)
        return problem.response(request_id_of(request))

    async def known(request: Request, error: Exception) -> Response:
        return answer(request, problem_of(error))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request, validation_problem(error.errors()))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        problem = _http_problem(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers["Allow"] = allowed_methods(request)
        return answer(request, problem)

    app.add_exception_handler(Problem, known)
    app.add_exception_handler(RetrievalError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, known)
