"""The application: all routes behind the guard, every error a problem, and the description of it all (OpenAPI 3.1)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool

import glocal
from glocal.web import (
    pages,
    parameters,
    problems,
    routes_docs,
    routes_health,
    routes_jobs,
    routes_lab,
    routes_library,
    routes_search,
    schemas,
)
from glocal.web.guard import App, Guard
from glocal.web.library import Library
from glocal.web.service import Service
from glocal.web.settings import Settings

_LOG = logging.getLogger(__name__)
_PREFIX = "#/components/schemas/{model}"
_METHODS = ("get", "post", "put", "delete")


class Application(FastAPI):
    """FastAPI inside the guard: nothing is answered that has not passed it, errors of the framework neither."""

    def build_middleware_stack(self) -> App:
        """The guard, and behind it all that FastAPI has."""
        service: Service = self.state.service
        return Guard(super().build_middleware_stack(), service.settings, service.telemetry)

    def openapi(self) -> dict[str, Any]:
        """The description of all routes."""
        if self.openapi_schema is None:
            self.openapi_schema = _described(super().openapi(), bool(self.state.service.settings.key))
        return self.openapi_schema


def create_app(library: Library, settings: Settings) -> Application:
    """The application that serves some indexes; its parts are in `app.state.service`.

    Args:
        library: the indexes.
        settings: limits and addresses.
    """
    service = Service.build(library, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await run_in_threadpool(service.close)

    app = Application(
        title="glocal",
        summary="Finds the same thing - a building, a painting, a product - in any collection of photos.",
        version=glocal.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = service
    service.telemetry.watch(lambda: service.engine.num_waiting, lambda: service.engine.num_running)
    problems.add_handlers(app, service.telemetry.rejected)
    for part in (routes_health, routes_search, routes_library, routes_jobs, routes_lab, routes_docs, pages):
        app.include_router(part.router(service))
    return app


def _described(openapi: dict[str, Any], needs_key: bool) -> dict[str, Any]:
    """FastAPI's description, with the bodies that are read by ourselves, and with problems as we answer them."""
    parts = openapi.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        parts.pop(name, None)
    models = [(model, "validation") for model in parameters.REQUESTS] + [(schemas.ProblemBody, "serialization")]
    _, made = models_json_schema(models, ref_template=_PREFIX)  # type: ignore[arg-type]
    parts.update(made["$defs"])
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            if method in _METHODS:
                _describe_problems(operation, "{" in path)
    if needs_key:
        openapi["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        openapi["security"] = [{"key": []}]
    return openapi


def _describe_problems(operation: dict[str, Any], has_id: bool) -> None:
    responses = operation["responses"]
    statuses = set(schemas.EVERYWHERE)
    if has_id or operation.get("parameters"):
        statuses |= {404, 422}
    if has_id:
        statuses.add(409)
    if "requestBody" in operation:
        statuses |= {404, 408, 409, 413, 415, 422}
    statuses |= {int(status) for status in responses if status.isdecimal() and int(status) >= 400}
    for status, response in schemas.problems(*statuses).items():
        responses[str(status)] = response | {
            "description": responses.get(str(status), {}).get("description") or response["description"]
        }
    operation["responses"] = dict(sorted(responses.items()))
