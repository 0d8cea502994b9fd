"""Stands before every route: who may ask, from where, how much and how long; and the headers of every answer (ASGI)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from glocal.web.problems import Problem
from glocal.web.settings import Settings
from glocal.web.telemetry import Telemetry

_LOG = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/livez", "/healthz", "/readyz"})
"""What is answered without a key: that the service lives says nothing about photos."""
COOKIE = "glocal_key"
CONTENT_SECURITY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_READING = frozenset({"GET", "HEAD"})
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, DELETE",
    "access-control-allow-headers": "authorization, content-type, accept",
    "access-control-max-age": "600",
}


class Guard:
    """Middleware around the whole application, so that no route can be forgotten."""

    def __init__(self, app: App, settings: Settings, telemetry: Telemetry) -> None:
        self._app, self._settings, self._telemetry = app, settings, telemetry
        own = settings.host if ":" not in settings.host else f"[{settings.host}]"
        self._hosts = {name.lower() for name in settings.allowed_hosts}
        self._hosts |= _LOCAL_NAMES
        self._any_address = not settings.is_loopback
        if own not in ("0.0.0.0", "[::]"):
            self._hosts.add(own.lower())
        self._origins = frozenset(settings.origins)
        self._key = None if settings.key is None else settings.key.encode("ascii")
        self._cookie = b"" if self._key is None else _cookie_of(self._key)
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        headers = _Headers(scope["headers"])
        answer = _Answer(send, request_id, self._answer_headers(headers))
        try:
            if (redirect := self._check(scope, headers)) is not None:
                await answer.send_empty(303, redirect)
                return
            if scope["method"] == "OPTIONS" and self._is_preflight(headers):
                await answer.send_empty(204, _PREFLIGHT)
                return
            body = _Body(receive, headers, self._settings, self)
        except Problem as problem:
            self._telemetry.rejected(problem.code)
            await answer.send_problem(problem)
            self._note(scope, answer)
            return

        async def send_unless_refused(message: Message) -> None:
            if body.problem is None or answer.is_started:
                await answer.send(message)

        try:
            await self._app(scope, body.receive, send_unless_refused)
        except Problem:
            if body.problem is None:
                raise
        finally:
            self._buffered -= body.num_bytes
        if body.problem is not None and not answer.is_started:
            await answer.send_problem(body.problem)
        self._note(scope, answer)

    def _note(self, scope: Scope, answer: _Answer) -> None:
        """Count an answer by its route; of what was asked nothing is kept."""
        route = str(getattr(scope.get("route"), "path", "none"))
        self._telemetry.answered(route, answer.status)
        _LOG.info("%s %s %s %d", scope["state"]["request_id"], scope["method"], route, answer.status)

    # ------------------------------------------------------------------ who and from where
    def _check(self, scope: Scope, headers: _Headers) -> dict[str, str] | None:
        """Refuse what must be refused; gives the headers of a redirect for somebody who brings the key to the page."""
        if headers.num_bytes > self._settings.max_header_bytes:
            raise Problem("headers_too_large", f"The headers have more than {self._settings.max_header_bytes} bytes.")
        host = self._check_host(headers)
        if scope["method"] not in _READING:
            self._check_origin(headers, host, scope["scheme"])
        if self._key is None or scope["path"] in OPEN_PATHS:
            return None
        if scope["method"] == "OPTIONS" and self._is_preflight(headers):
            return None  # a browser sends no key with it, and the answer says nothing
        if scope["path"] == "/" and scope["method"] in _READING and (given := _key_in_query(scope)) is not None:
            self._expect(given, self._key)
            cookie = f"{COOKIE}={self._cookie.decode()}; Path=/; HttpOnly; SameSite=Strict"
            return {"location": "/", "set-cookie": cookie, "cache-control": "no-store"}
        if headers.all(b"authorization"):
            self._expect(_key_in_header(headers), self._key)
        else:
            self._expect(_key_in_cookie(headers), self._cookie)
        return None

    def _check_host(self, headers: _Headers) -> str:
        """The Host header, if it names this service: else a foreign name was made to point here (DNS rebinding)."""
        values = headers.all(b"host")
        match = _HOST.fullmatch(values[0]) if len(values) == 1 else None
        if match is None or not (match[2] is None or 0 < int(match[2]) < 65536):
            raise Problem("wrong_host", "The Host header is missing or makes no sense.")
        name = match[1].lower()
        if name not in self._hosts and not (self._any_address and _is_address(name)):
            raise Problem("wrong_host", "The service is not known by this host name.", "glocal serve --allow-host NAME")
        return values[0].lower()

    def _check_origin(self, headers: _Headers, host: str, scheme: str) -> None:
        origins = headers.all(b"origin")
        if origins:
            allowed = {f"http://{host}", f"https://{host}"} | self._origins
            if len(origins) > 1 or origins[0] not in allowed:
                raise Problem("foreign_origin", "This request comes from another web page.")
        if origins and origins[0] in self._origins:
            return
        site = headers.all(b"sec-fetch-site")
        if any(value not in ("same-origin", "none") for value in site):
            raise Problem("foreign_origin", "This request comes from another web page.")

    def _expect(self, given: bytes | None, expected: bytes) -> None:
        if given is None or not hmac.compare_digest(given, expected):
            raise Problem("unauthorized", "This service needs a key.", "send: Authorization: Bearer KEY")

    # ------------------------------------------------------------------ other origins that were allowed
    def _is_preflight(self, headers: _Headers) -> bool:
        return headers.first(b"origin") in self._origins and bool(headers.all(b"access-control-request-method"))

    def _answer_headers(self, headers: _Headers) -> dict[str, str]:
        origin = headers.first(b"origin")
        if origin is None or origin not in self._origins:
            return _HEADERS
        return _HEADERS | {
            "access-control-allow-origin": origin,
            "vary": "Origin",
            "cross-origin-resource-policy": "cross-origin",
        }

    # ------------------------------------------------------------------ memory
    def hold(self, num_bytes: int) -> bool:
        """Count bytes of a body that came; False if there is no room for them."""
        if self._buffered + num_bytes > max(self._settings.buffered_bytes, self._settings.max_body_bytes):
            return False
        self._buffered += num_bytes
        return True


class _Headers:
    """The headers of a request."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs
        self.num_bytes = sum(len(name) + len(value) + 4 for name, value in pairs)

    def all(self, wanted: bytes) -> list[str]:
        return [value.decode("latin-1") for name, value in self._pairs if name.lower() == wanted]

    def first(self, wanted: bytes) -> str | None:
        values = self.all(wanted)
        return values[0] if values else None


class _Body:
    """A request's body, up to its limits of size and time.

    Attributes:
        problem: why it was refused, or None.
        num_bytes: what has come of it.
    """

    def __init__(self, receive: Receive, headers: _Headers, settings: Settings, guard: Guard) -> None:
        self._receive, self._settings, self._guard = receive, settings, guard
        self._ends = time.monotonic() + settings.body_deadline_s
        self._is_complete = False
        self.problem: Problem | None = None
        self.num_bytes = 0
        declared = headers.all(b"content-length")
        if len(set(declared)) > 1 or any(not re.fullmatch(r"[0-9]{1,18}", value) for value in declared):
            raise Problem("invalid_params", "The Content-Length makes no sense.")
        if declared and int(declared[0]) > settings.max_body_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """What the server gives; raises where a limit is passed, and whoever catches that cannot answer otherwise."""
        if self.problem is not None:
            raise self.problem
        if self._is_complete:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._ends - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            limit = self._settings.body_deadline_s
            self._refuse(Problem("body_timeout", f"The request was not there after {limit:g} s."))
        if message["type"] != "http.request":
            self._is_complete = True
            return message
        size = len(message.get("body", b""))
        if self.num_bytes + size > self._settings.max_body_bytes:
            self._refuse(self._too_large())
        if not self._guard.hold(size):
            self._refuse(Problem("overloaded", "Too much is being sent at the same time.", "try again in a moment"))
        self.num_bytes += size
        self._is_complete = not message.get("more_body", False)
        return message

    def _refuse(self, problem: Problem) -> None:
        problem.headers["Connection"] = "close"  # the rest of the body is not read
        self.problem = problem
        raise problem

    def _too_large(self) -> Problem:
        limit = self._settings.max_body_bytes
        return Problem("file_too_large", f"A request may have {limit:,} bytes.", headers={"Connection": "close"})


class _Answer:
    """Sends an answer with the headers that every answer has.

    Attributes:
        is_started: whether its status has been sent.
        status: which; 0 before.
    """

    def __init__(self, send: Send, request_id: str, headers: Mapping[str, str]) -> None:
        self._send, self._request_id = send, request_id
        self._headers = headers
        self.is_started = False
        self.status = 0

    async def send(self, message: Message) -> None:
        """What the application sends."""
        if message["type"] == "http.response.start":
            self.is_started, self.status = True, message["status"]
            given = {name.lower() for name, _ in message.get("headers", ())}
            more = {**self._headers, "x-request-id": self._request_id, "cache-control": "no-store"}
            pairs = [
                (name.encode("ascii"), value.encode("latin-1"))
                for name, value in more.items()
                if name.encode("ascii") not in given
            ]
            message = {**message, "headers": [*message.get("headers", ()), *pairs]}
        await self._send(message)

    async def send_problem(self, problem: Problem) -> None:
        """A problem instead of the application's answer."""
        response = problem.response(self._request_id)
        await self.send({"type": "http.response.start", "status": problem.status, "headers": response.raw_headers})
        await self.send({"type": "http.response.body", "body": response.body})

    async def send_empty(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer without a body."""
        pairs = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        pairs.append((b"content-length", b"0"))
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": b""})


def _is_address(name: str) -> bool:
    """Whether a host is a number: no name that somebody else could point elsewhere."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _key_in_query(scope: Scope) -> bytes | None:
    given = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=10).get("key")
    return given[0].encode("utf-8") if given and len(given) == 1 else None


def _key_in_header(headers: _Headers) -> bytes | None:
    given = headers.all(b"authorization")
    scheme, _, value = given[0].partition(" ")
    return value.encode("latin-1") if len(given) == 1 and scheme.lower() == "bearer" else None


def _key_in_cookie(headers: _Headers) -> bytes | None:
    cookies = [pair.strip().partition("=") for line in headers.all(b"cookie") for pair in line.split(";")]
    values = [value for name, _, value in cookies if name == COOKIE]
    return values[0].encode("latin-1") if len(values) == 1 else None


def _cookie_of(key: bytes) -> bytes:
    """What a browser keeps instead of the key: a key may hold characters that a cookie may not."""
    return hashlib.sha256(b"glocal cookie " + key).hexdigest().encode("ascii")
