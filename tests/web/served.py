"""A service in this process, asked without a socket."""

import asyncio
import contextlib
import json
import time
from pathlib import Path

import httpx

import glocal
from glocal.web.api import create_app
from glocal.web.library import Library
from glocal.web.service import Service
from glocal.web.settings import Settings


class Served:
    """A whole application over some indexes; a bug is an answer 500. It searches only once it is started."""

    def __init__(self, *places: Path, **settings) -> None:
        self.settings = Settings(**settings)
        app = create_app(Library(places, self.settings), self.settings)
        self.service: Service = app.state.service
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._http.aclose())
        self.service.close()
        self._runner.close()

    def start(self) -> "Served":
        """Wait until searches are answered."""
        self.service.start()
        until(lambda: self.service.not_ready is None)
        return self

    def ask(self, method: str, path: str, **options) -> httpx.Response:
        return self._runner.run(self._http.request(method, path, **options))

    def get(self, path: str, **options) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options) -> httpx.Response:
        return self.ask("POST", path, **options)

    def run(self, awaitable):
        return self._runner.run(awaitable)

    def finish(self, started: httpx.Response) -> dict:
        """Follow the job that an answer names to its end."""
        assert started.status_code == 202, started.text
        return events(self.get(f"/v1/jobs/{started.json()['job']}/events").text)[-1][1]

    def ids(self, index: str) -> dict[str, str]:
        """Name -> id of an index's photos."""
        return {each["name"]: each["id"] for each in self.get(f"/v1/indexes/{index}/images").json()["images"]}


def events(text: str) -> list[tuple[str, dict]]:
    """The events of a stream, comments left out."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


def until(condition, seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)


def make_index(photos: Path, place: Path | None = None, **options) -> Path:
    place = place or photos / ".glocal"
    with contextlib.closing(glocal.Index.open_or_create(place, model="rootsift")) as index:
        index.add(photos, **options)
    return place


def problem(answer: httpx.Response, status: int, code: str) -> dict:
    """The problem that an answer must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["code"] == code
    return found
