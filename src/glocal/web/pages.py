"""The page: `/` and `/static/…` from the files in the package, all known at start."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

from fastapi import APIRouter, Request, Response

from glocal.errors import StoreError

HOME = "index.html"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What the page consists of; a file of another kind is not served."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file of the page.

    Attributes:
        content: its bytes.
        packed: the same, compressed by gzip.
        media_type: with the character set.
        etag: a strong one, from the content, without quotes.
    """

    content: bytes
    packed: bytes
    media_type: str
    etag: str


def static_files() -> dict[str, StaticFile]:
    """Every file of the page by its name, as `js/main.js`.

    Raises:
        StoreError: the package was installed without them.
    """
    found = dict(_walk(files("glocal.web").joinpath("static")))
    if HOME not in found:
        raise StoreError("the files of the page are missing from the package → reinstall glocal")
    return found


def router(service: object | None = None) -> APIRouter:
    """Routes of the page.

    A request's path is looked up in a table and never joined to a folder. Security headers are set by the guard.

    Args:
        service: not used; every router is made alike.
    """
    known = static_files()
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/", methods=["GET", "HEAD"])
    def home(request: Request) -> Response:
        return _answer(request, known[HOME])

    @routes.api_route("/static/{name:path}", methods=["GET", "HEAD"])
    def static(request: Request, name: str) -> Response:
        file = known.get(name)
        if file is None:
            return Response("no such file\n", 404, media_type="text/plain")
        return _answer(request, file)

    return routes


def _answer(request: Request, file: StaticFile) -> Response:
    is_packed = _takes_gzip(request.headers.get("accept-encoding", ""))
    etag = f'"{file.etag}-gzip"' if is_packed else f'"{file.etag}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if etag in known:
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = file.media_type
    if is_packed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if is_packed else file.content, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether a header Accept-Encoding names gzip, and not only to refuse it (RFC 9110, section 12.5.3)."""
    for choice in accepted.lower().split(","):
        name, _, weight = choice.replace(" ", "").partition(";q=")
        if name == "gzip":
            return weight.strip("0.") != "" or weight == ""
    return False


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, StaticFile]]:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry, name + "/")
        elif media_type := TYPES.get(PurePosixPath(name).suffix):
            content = entry.read_bytes()
            packed = gzip.compress(content, mtime=0)
            yield name, StaticFile(content, packed, media_type, hashlib.sha256(content).hexdigest()[:32])
