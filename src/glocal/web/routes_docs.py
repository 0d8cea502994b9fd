"""`/docs`: the interface described and tried out in the browser, by Swagger UI from an installed package.

Nothing of it is fetched from elsewhere, and the page keeps to the same strict rules as every other: no inline script.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from glocal.errors import BackendUnavailable
from glocal.web.problems import Problem

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>glocal: the interface</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<main id="interface"></main>
<noscript>This page needs JavaScript; /openapi.json says the same.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# validatorUrl: a button of Swagger UI would have somebody else's server check the description.
_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#interface",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
_TYPES = {"swagger-ui-bundle.js": "text/javascript; charset=utf-8", "swagger-ui.css": "text/css; charset=utf-8"}


@cache
def swagger_file(name: str) -> bytes:
    """One of the two files of Swagger UI.

    Raises:
        BackendUnavailable: they are not installed.
    """
    try:
        return files("fastapi_offline").joinpath("static", name).read_bytes()
    except (ImportError, OSError) as error:
        raise BackendUnavailable("/docs needs Swagger UI → pip install 'glocal[serve]'") from error


def router(service: object | None = None) -> APIRouter:
    """The routes.

    Args:
        service: not used; every router is made alike.
    """
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    def docs() -> Response:
        for name in _TYPES:
            _expected(name)
        return _answer(_PAGE.encode(), "text/html; charset=utf-8")

    @routes.get("/docs/start.js")
    def start() -> Response:
        return _answer(_START.encode(), "text/javascript; charset=utf-8")

    @routes.get("/docs/{name}")
    def part(name: str) -> Response:
        if name not in _TYPES:
            raise Problem("not_found", "There is nothing at this address.", "see /docs")
        return _answer(_expected(name), _TYPES[name])

    return routes


def _expected(name: str) -> bytes:
    try:
        return swagger_file(name)
    except BackendUnavailable as error:
        detail, _, hint = str(error).partition(" → ")
        raise Problem("not_found", f"{detail}, which is not installed; /openapi.json says the same.", hint) from None


def _answer(content: bytes, media_type: str) -> Response:
    return Response(content, headers={"Cache-Control": "private, max-age=3600"}, media_type=media_type)
