"""Jobs over HTTP: what runs, how far it is, stop it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from glocal.web.problems import Problem
from glocal.web.service import Service

EVERY_S = 0.25
"""Events do not come faster than this."""
COMMENT_EVERY_S = 15.0
"""A line of comment keeps proxies from taking a quiet stream for a dead one."""
MAX_STREAMS = 64

JobId = Annotated[str, Path(pattern="^j_[A-Za-z0-9_-]{1,32}$")]


class SkippedFile(BaseModel):
    """A file that was refused."""

    path: str
    reason: str


class JobState(BaseModel):
    """How far a job is."""

    job: str
    index: str
    kind: str
    state: str
    done: int
    total: int
    skipped: list[SkippedFile]
    num_skipped: int
    indexed: int | None
    rate: float | None
    eta_s: float | None
    error: dict[str, Any] | None


class JobList(BaseModel):
    """All jobs that are remembered, newest first."""

    jobs: list[JobState]


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])
    jobs = service.jobs
    num_streams = 0

    @routes.get("")
    def listed() -> JobList:
        """All jobs that are remembered, newest first. A restart of the service forgets them, not their work."""
        return JobList.model_validate({"jobs": jobs.listed()})

    @routes.get("/{job}")
    def look(job: JobId) -> JobState:
        """How far a job is."""
        return JobState.model_validate(jobs.look(job)[2])

    @routes.delete("/{job}")
    def stop(job: JobId) -> JobState:
        """Stop a job. What it has saved stays, and the next update continues it."""
        jobs.stop(job)
        return JobState.model_validate(jobs.look(job)[2])

    @routes.get(
        "/{job}/events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events(job: JobId) -> StreamingResponse:
        """Follow a job: `progress` at each change, `end` once; both carry what `GET /v1/jobs/{job}` gives."""
        nonlocal num_streams
        jobs.look(job)  # an unknown one is a problem, not a stream
        if num_streams >= MAX_STREAMS:
            raise Problem("overloaded", "Too many clients follow jobs.", "ask GET /v1/jobs/{job} now and then")

        async def stream() -> AsyncIterator[bytes]:
            nonlocal num_streams
            num_streams += 1
            try:
                async for event in _follow(service, job):
                    yield event
            finally:
                num_streams -= 1

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return routes


async def _follow(service: Service, job: str) -> AsyncIterator[bytes]:
    seen, told = -1, time.monotonic()
    while True:
        try:
            num_changes, is_over, state = service.jobs.look(job)
        except Problem:
            return  # it was forgotten while somebody followed it
        if num_changes != seen or is_over:
            seen, told = num_changes, time.monotonic()
            yield _event("end" if is_over else "progress", state)
        elif time.monotonic() - told > COMMENT_EVERY_S:
            told = time.monotonic()
            yield b": still there\n\n"
        if is_over or service.draining:
            return
        await asyncio.sleep(EVERY_S)


def _event(name: str, state: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(state)}\n\n".encode("ascii")
