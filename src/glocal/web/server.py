"""The HTTP server around the application: one socket, bounded patience, an orderly end (uvicorn with h11)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from glocal.web.problems import MEDIA_TYPE, Problem
from glocal.web.service import Service

HEALTH_PATHS = frozenset({"/livez", "/healthz", "/readyz"})
HEADERS_S = 10.0
"""A connection that has not sent a whole request line and its headers by then is closed."""
KEEP_ALIVE_S = 15
MAX_CONNECTIONS = 1000
DRAIN_S = 9.0
"""Requests that are in flight at SIGTERM have this long."""
END_S = 14.0
"""Whatever still hangs then is left behind: a supervisor would kill us a second later."""
TWICE_S = 0.5
_MORE_HEADERS = 16 << 10  # so far above the limit that our own answer comes first

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def serve(
    app: App, service: Service, listener: socket.socket, started: Callable[[], None] = lambda: None
) -> int | None:
    """Answer requests until a signal comes; then what was begun is answered, and nothing new taken.

    Args:
        app: the application; its lifespan starts and closes the service.
        service: its parts.
        listener: bound to its address.
        started: called as soon as requests are answered.

    Returns:
        The signal that ended it, or None.
    """
    gate = Gate(app, service)
    config = uvicorn.Config(
        gate,
        http=_Connection,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=service.settings.max_header_bytes + _MORE_HEADERS,
    )
    server = _Server(config, gate, service, started)
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])
    return server.received


class Gate:
    """Counts the requests in flight, and refuses new ones while the service ends.

    Attributes:
        num_running: requests that are being answered, those about health not counted.
    """

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service
        self.num_running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's start and end."""
        if scope["type"] != "http" or scope["path"] in HEALTH_PATHS:
            await self._app(scope, receive, send)
        elif self._service.draining:
            await _refuse(send)
        else:
            self.num_running += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self.num_running -= 1


async def _refuse(send: Send) -> None:
    problem = Problem("shutting_down", "The service is shutting down.", "ask again in a moment")
    headers = {**problem.headers, "Content-Type": MEDIA_TYPE, "Connection": "close", "Cache-Control": "no-store"}
    headers["X-Content-Type-Options"] = "nosniff"
    body = json.dumps(problem.body("")).encode()
    headers["Content-Length"] = str(len(body))
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    """Waits for requests in flight before it stops listening: until then health still answers, and says why."""

    def __init__(self, config: uvicorn.Config, gate: Gate, service: Service, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._gate, self._service, self._tell_started = gate, service, started
        self.received: int | None = None
        self._received_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    async def main_loop(self) -> None:
        await super().main_loop()
        deadline = time.monotonic() + DRAIN_S
        while self._gate.num_running and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.05)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn raises the signal again at the end: the exit code would not be 0.
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.received is not None:
            # Asked twice: whoever asks does not want to wait. Wrappers send a signal to us and to our group at once.
            if time.monotonic() - self._received_at > TWICE_S:
                self.force_exit = True
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what is cut off now complains
            return
        self.received, self._received_at = sig, time.monotonic()
        self.should_exit = True
        self._service.drain()
        # Jobs save what they have while requests are answered.
        threading.Thread(target=self._service.jobs.close, name="stop jobs", daemon=True).start()
        hard = threading.Timer(END_S, os._exit, (0 if sig == signal.SIGTERM else 128 + sig,))
        hard.daemon = True
        hard.start()


class _Connection(H11Protocol):
    """A connection that does not wait for headers for ever, and says what it refuses as every other answer does."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        # Headers and body are written one after the other: otherwise the second waits for the client to confirm the
        # first, 40 ms long. asyncio does it only for sockets that name their protocol.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_patience()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_headers()

    def _waits_for_headers(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_headers(self) -> None:
        if not self._waits_for_headers():
            self._forget_patience()
        elif self._patience is None:
            self._patience = self.loop.call_later(HEADERS_S, self._lose_patience)

    def _forget_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self._waits_for_headers() and not self.transport.is_closing():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Called where h11 has refused what came; the error is being handled."""
        error = sys.exc_info()[1]
        is_long = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        problem = (
            Problem("headers_too_large", "The headers have too many bytes.")
            if is_long
            else Problem("invalid_params", "This is no HTTP request.")
        )
        body = json.dumps(problem.body("")).encode()
        headers = [
            ("Content-Type", MEDIA_TYPE),
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ]
        with contextlib.suppress(h11.LocalProtocolError):  # it may be in the middle of an answer
            for event in (
                h11.Response(status_code=problem.status, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
