"""Is it alive, is it ready, what does it measure: for supervisors, load balancers and Prometheus."""

from __future__ import annotations

import time

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from glocal.errors import RetrievalError
from glocal.web.library import ServedIndex
from glocal.web.problems import Problem, problem_of
from glocal.web.service import Service
from glocal.web.telemetry import MEDIA_TYPE

LOOK_EVERY_S = 1.0
"""An index is looked at as often as this, however many ask."""


class Health(BaseModel):
    """The answer of a healthy service."""

    status: str


def router(service: Service) -> APIRouter:
    """The routes; none of them needs a key but `/metrics`."""
    routes = APIRouter(tags=["health"])
    watch = Watch(service)

    @routes.get("/livez")
    @routes.get("/healthz")
    async def livez() -> Health:
        """Whether the process answers; touches neither index nor model."""
        return Health(status="alive")

    @routes.get("/readyz", responses={503: {"description": "Searches are not answered now; says why."}})
    async def readyz() -> Health:
        """Whether searches are answered: every index has answered one about itself, and none is damaged."""
        trouble = await run_in_threadpool(watch.trouble)
        if trouble is not None:
            raise trouble
        return Health(status="ready")

    @routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Times, counts and sizes in Prometheus' text format."""
        await run_in_threadpool(watch.measure)
        return Response(service.telemetry.text(), headers={"Content-Type": MEDIA_TYPE})

    return routes


class Watch:
    """Looks at the indexes, not more often than it has to."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._looked: dict[str, tuple[float, int, str | None]] = {}
        self._was_ready = False

    def trouble(self) -> Problem | None:
        """Why searches are not answered; None if they are."""
        service = self._service
        if service.draining:
            return Problem("shutting_down", "The service is shutting down.")
        for index in service.library.indexes:
            # An index that was made just now is no reason to send everybody elsewhere.
            if index.state == "failed" or (index.state != "ready" and not self._was_ready):
                return Problem("index_loading", f"index {index.id}: {index.reason}", "ask again in a moment")
            _, damage = self._look(index)
            if damage is not None:
                return Problem("index_loading", f"index {index.id}: {damage}", "see the index with: glocal info")
        self._was_ready = True
        return None

    def measure(self) -> None:
        """Bring the gauges up to date."""
        service = self._service
        service.telemetry.set_ready(self.trouble() is None)
        service.telemetry.set_jobs(service.jobs.by_state())
        for index in service.library.indexes:
            service.telemetry.set_images(index.id, self._look(index)[0])

    def _look(self, index: ServedIndex) -> tuple[int, str | None]:
        """Searchable files of an index, and what is wrong with it."""
        now = time.monotonic()
        when, count, damage = self._looked.get(index.id, (-LOOK_EVERY_S, 0, None))
        if now - when >= LOOK_EVERY_S:
            try:
                with index.reading() as collection, collection.snapshot():
                    count, damage = collection.counts()["indexed"], None
            except RetrievalError as error:
                count, damage = 0, problem_of(error).detail
            self._looked[index.id] = (now, count, damage)
        return count, damage
