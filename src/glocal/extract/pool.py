"""Worker processes that can be killed: a photo that takes too long costs its worker, not the run."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Self

from numpy.typing import NDArray

from glocal.data.image import LIMITS, DecodeLimits
from glocal.errors import BackendUnavailable, ConfigError, ImageError
from glocal.extract.messages import MessageError, unpack
from glocal.extract.requests import TIMEOUT_S, Answer, Outcome, Request, each_turn, read_one
from glocal.types import ExtractorSpec

_START_TIMEOUT_S = 120.0
_QUEUED = 2  # one request is worked on while the next waits in the pipe
_READ_BYTES = 1 << 20
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031  # Linux; `fcntl` has no name for it in every Python


class _Peekable:
    """Requests, of which the next can be looked at before it is taken."""

    def __init__(self, requests: Iterator[Request]) -> None:
        self._requests = requests
        self._next: Request | None = None

    def peek(self) -> Request | None:
        if self._next is None:
            self._next = next(self._requests, None)
        return self._next

    def take(self) -> Request:
        taken, self._next = self.peek(), None
        assert taken is not None
        return taken


class _Worker:
    """One child process and the requests that it has been given."""

    def __init__(self, model: str, limits: DecodeLimits) -> None:
        # -P keeps the current folder, which may be the one being indexed, off the import path.
        command = [sys.executable, "-P", "-m", "glocal.extract.worker", model, json.dumps(dataclasses.asdict(limits))]
        single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **single},
            bufsize=0,
        )
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        os.set_blocking(self.process.stdin.fileno(), False)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # only fewer switches between the two processes
                fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)
        self.pending: deque[Request] = deque()
        self.buffer = bytearray()
        self.ready = False
        self.spec: ExtractorSpec | None = None
        self.deadline = time.monotonic() + _START_TIMEOUT_S

    def send(self, request: Request, timeout_s: float) -> None:
        if not self.pending and self.ready:
            self.deadline = time.monotonic() + timeout_s
        self.pending.append(request)
        with contextlib.suppress(BrokenPipeError):  # its death is noticed when we read from it
            self._write(request.to_line())
            if request.data is not None:
                self._write(request.data)

    def _write(self, data: bytes) -> None:
        """Put all of it into the pipe, or as much as the worker takes until its deadline, when it is replaced."""
        assert self.process.stdin is not None
        pipe, left = self.process.stdin.fileno(), memoryview(data)
        while left:
            try:
                left = left[os.write(pipe, left) :]
            except BlockingIOError:
                wait_s = self.deadline - time.monotonic()
                if wait_s <= 0 or not select.select([], [pipe], [], wait_s)[1]:
                    return

    def read(self) -> bool:
        """Fill the buffer; False at the end of the pipe."""
        assert self.process.stdout is not None
        try:
            data = os.read(self.process.stdout.fileno(), _READ_BYTES)
        except BlockingIOError:
            return True
        self.buffer += data
        return bool(data)

    def takes_another(self, request: Request, depth: int) -> bool:
        """Whether it has `depth` requests and can be given one more.

        Bytes are for a worker without any: while it answers one, it empties no pipe.
        """
        return len(self.pending) == depth and (
            depth == 0 or (request.data is None and all(waiting.data is None for waiting in self.pending))
        )

    @property
    def died_idle(self) -> bool:
        """Whether the process has gone while it had nothing to do."""
        return not self.pending and self.ready and self.process.poll() is not None

    def kill(self) -> str:
        """End the process; returns the end of what it complained."""
        self.process.kill()
        complaint = b""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        if self.process.stderr is not None:
            complaint = self.process.stderr.read(1 << 16) or b""
            self.process.stderr.close()
        self.process.wait()
        return complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]


class WorkerPool:
    """Reads photos in `workers` child processes, each with a time limit per photo.

    The model is one that needs no network (see `glocal.extract.batching` for those), or `PIXELS_ONLY`.
    """

    def __init__(
        self, model: str, workers: int = 1, limits: DecodeLimits = LIMITS, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._model = model
        self._limits = limits
        self._timeout_s = timeout_s
        self._selector = selectors.DefaultSelector()
        self._num_workers = max(1, workers)
        self._workers: list[_Worker] = []
        self._spared: Request | None = None
        self._start_workers()

    def _start_workers(self) -> None:
        """Start as many as are missing; one that was killed while it had nothing to do is replaced."""
        for worker in [w for w in self._workers if w.died_idle]:
            self._end_worker(worker)
        while len(self._workers) < self._num_workers:
            worker = _Worker(self._model, self._limits)
            self._workers.append(worker)
            assert worker.process.stdout is not None
            self._selector.register(worker.process.stdout, selectors.EVENT_READ, worker)

    def _end_worker(self, worker: _Worker) -> str:
        self._workers.remove(worker)
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout)
        return worker.kill()

    def close(self) -> None:
        """End all children."""
        for worker in list(self._workers):
            self._end_worker(worker)
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, requests: Iterable[Request]) -> Generator[Outcome, None, None]:
        """Answer all requests, in the order in which they get done.

        Requests are taken from the iterable only as workers become free. Closing the iterator early is
        allowed: what is in flight is then dropped with its workers.

        Raises:
            BackendUnavailable: a worker cannot be started.
        """
        source = _Peekable(each_turn(requests))
        self._start_workers()
        try:
            while True:
                self._feed(source)
                busy = any(worker.pending for worker in self._workers)
                if not busy:
                    return
                wait_s = max(0.0, min(w.deadline for w in self._workers if w.pending) - time.monotonic())
                for key, _ in self._selector.select(min(wait_s, 1.0)):
                    yield from self._unhurried(self._receive(key.data))
                yield from self._unhurried(self._expire())
        finally:
            for worker in [w for w in self._workers if w.pending]:
                self._end_worker(worker)

    def read(self, request: Request) -> Answer:
        """Answer one request.

        Raises:
            ImageError: the photo cannot be read.
            ConfigError: the box makes no sense.
        """
        return read_one(self, request)

    def spec(self) -> ExtractorSpec:
        """The spec of the model that the workers have loaded.

        Raises:
            ConfigError: they only decode.
        """
        self._start_workers()
        worker = self._workers[0]
        while not worker.ready:
            self._selector.select(1.0)
            list(self._receive(worker))
            list(self._expire())
            worker = self._workers[0]
        if worker.spec is None:
            raise ConfigError("these workers only decode: they have no model")
        return worker.spec

    def _unhurried(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """The outcomes; while the caller is busy with one, nobody reads from the workers and no limit runs."""
        for outcome in outcomes:
            paused = time.monotonic()
            yield outcome
            away_s = time.monotonic() - paused
            for worker in self._workers:
                worker.deadline += away_s

    def _feed(self, source: _Peekable) -> None:
        for depth in range(_QUEUED):  # first one for each worker, then a second
            for worker in self._workers:
                request = source.peek() if len(worker.pending) == depth else None
                if request is not None and worker.takes_another(request, depth):
                    worker.send(source.take(), self._timeout_s)

    def _receive(self, worker: _Worker) -> Iterator[Outcome]:
        alive = worker.read()
        try:
            while (message := unpack(worker.buffer)) is not None:
                header, arrays = message
                worker.deadline = time.monotonic() + self._timeout_s
                if "spec" in header:
                    worker.ready = True
                    if header["spec"] is not None:
                        worker.spec = ExtractorSpec.from_json(json.dumps(header["spec"]))
                    continue
                yield worker.pending.popleft(), _outcome(header, arrays)
        except (MessageError, IndexError, KeyError, TypeError):
            alive = False
        if not alive:
            yield from self._replace(worker, "corrupt", "damaged: the decoder crashed on it")

    def _expire(self) -> Iterator[Outcome]:
        now = time.monotonic()
        for worker in [w for w in self._workers if w.deadline < now and (w.pending or not w.ready)]:
            yield from self._replace(worker, "timeout", f"decoding took longer than {self._timeout_s:g} s")

    def _replace(self, worker: _Worker, code: str, detail: str) -> Iterator[Outcome]:
        """Put a new worker in the place of one that died; only the photo that it was busy with is to blame."""
        complaint = self._end_worker(worker)
        if not worker.ready:
            raise BackendUnavailable(f"a worker process could not start: {complaint or 'no reason given'}")
        self._start_workers()
        if worker.pending:
            blamed = worker.pending[0]
            # A decoder that fails ends by another signal: somebody killed the process, for which no photo is to blame.
            if code != "timeout" and worker.process.returncode == -signal.SIGKILL and blamed is not self._spared:
                self._spared = blamed
            else:
                yield worker.pending.popleft(), ImageError(code, detail)
        for request in worker.pending:
            self._workers[-1].send(request, self._timeout_s)


def _outcome(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Answer | ImageError:
    if header.get("error") == "config":
        raise ConfigError(header["detail"])
    if "error" in header:
        return ImageError(header["error"], header["detail"])
    box = header["box"]
    return Answer(
        content_hash=header["content_hash"],
        num_bytes=header["num_bytes"],
        mtime_ns=header["mtime_ns"],
        size=(header["size"][0], header["size"][1]),
        orientation=header["orientation"],
        box=None if box is None else (box[0], box[1], box[2], box[3]),
        arrays=arrays,
        decode_s=header["decode_s"],
        extract_s=header.get("extract_s", 0.0),
    )
