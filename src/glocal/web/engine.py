"""Runs searches: so many at a time, so many waiting, none for ever; each with a connection and a worker of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from PIL import Image

from glocal.errors import RetrievalError, StoreError
from glocal.extract.batching import ModelSource
from glocal.extract.requests import PhotoPool
from glocal.search import PictureBytes, Searcher
from glocal.store.contract import PhotoCollection
from glocal.store.open import open_collection
from glocal.web.library import Generation, Library, ServedIndex
from glocal.web.problems import Problem
from glocal.web.settings import Settings

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
E = TypeVar("E")
WATCH_S = 1.0
"""How often indexes are looked at: for a new version, or whether one that failed is there again."""


@dataclass(slots=True)
class Bench:
    """What a search works with; nobody else uses it meanwhile.

    Attributes:
        searcher: of one index.
        collection: its connection.
        model: describes its pictures.
        pool: reads and describes pictures with that model.
        generation: which file stood in the index's place when it was opened.
    """

    searcher: Searcher
    collection: PhotoCollection
    model: ModelSource
    pool: PhotoPool
    generation: Generation

    def close(self) -> None:
        """Close the connection; the pool belongs to the seat."""
        self.searcher.close()
        self.collection.close()


@dataclass(slots=True)
class _Seat:
    """One of the places where searches are worked on: a connection per index, a worker process per model."""

    benches: dict[str, Bench] = field(default_factory=dict)
    pools: dict[str, PhotoPool] = field(default_factory=dict)

    def close(self) -> None:
        parts: list[Bench | PhotoPool] = [*self.benches.values(), *self.pools.values()]
        for part in parts:
            with contextlib.suppress(Exception):
                part.close()
        self.benches, self.pools = {}, {}


class Engine:
    """The searchers of a service, behind a bounded queue."""

    def __init__(self, library: Library, settings: Settings) -> None:
        """Nothing is started yet."""
        self._library, self._settings = library, settings
        self._threads = ThreadPoolExecutor(settings.num_searchers, "search")
        self._slots = asyncio.Semaphore(settings.num_searchers)
        self._seats = [_Seat() for _ in range(settings.num_searchers)]  # the last one used is the next one used
        self._lock = threading.Lock()
        self._models: dict[str, ModelSource] = {}
        self._waiting = self._running = 0
        self._ended = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def num_waiting(self) -> int:
        """Searches that wait for a searcher."""
        return self._waiting

    @property
    def num_running(self) -> int:
        """Searches that are worked on."""
        return self._running

    def start(self) -> None:
        """Begin to get the indexes ready, in the background; indexes that are added later too."""
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Finish what is worked on, end all workers."""
        self._ended.set()
        if self._watcher is not None:
            self._watcher.join()
        self._threads.shutdown(cancel_futures=True)
        for seat in self._seats:
            seat.close()

    # ------------------------------------------------------------------ asking
    async def run(self, index: ServedIndex, work: Callable[[Bench], T]) -> T:
        """Do something with the searcher of an index, in a thread.

        Args:
            index: what is searched.
            work: is called once, with what it needs.

        Raises:
            Problem: `overloaded`: too many wait already, or it took too long; `index_loading`.
        """
        if index.state != "ready":
            raise Problem("index_loading", f'The index "{index.id}" cannot be searched yet: {index.reason}.')
        if self._waiting >= self._settings.queue_length and self._slots.locked():
            raise Problem("overloaded", "Too many searches wait already.", "try again in a moment")
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._settings.request_deadline_s
        self._waiting += 1
        try:
            async with asyncio.timeout_at(ends):
                await self._slots.acquire()
        except TimeoutError:
            raise _too_late(self._settings) from None
        finally:
            self._waiting -= 1
        self._running += 1

        def release() -> None:
            self._running -= 1
            self._slots.release()

        def done(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(release)

        try:
            future = self._threads.submit(self._work, index, work)
        except RuntimeError:
            release()
            raise Problem("shutting_down", "The service is shutting down.", "ask again in a moment") from None
        future.add_done_callback(done)
        try:
            async with asyncio.timeout_at(ends):
                return await asyncio.shield(asyncio.wrap_future(future))
        except TimeoutError:
            if future.done() and not future.cancelled() and isinstance(future.exception(), TimeoutError):
                raise
            future.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise _too_late(self._settings) from None

    async def stream(
        self, index: ServedIndex, work: Callable[[Bench, Callable[[E], None]], object]
    ) -> AsyncGenerator[E]:
        """Like `run`, for work that tells several things: what it tells, as it does.

        Args:
            index: what is searched.
            work: is given a function that it calls with each thing.
        """
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[E | None] = asyncio.Queue()

        def tell(thing: E) -> None:
            with contextlib.suppress(RuntimeError):  # nobody listens any more
                loop.call_soon_threadsafe(told.put_nowait, thing)

        task = asyncio.create_task(self.run(index, lambda bench: work(bench, tell)))
        task.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while (thing := await told.get()) is not None:
                yield thing
            await task
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    # ------------------------------------------------------------------ working
    def _work(self, index: ServedIndex, work: Callable[[Bench], T]) -> T:
        with self._lock:
            seat = self._seats.pop()
        try:
            return work(self._bench(seat, index))
        finally:
            with self._lock:
                self._seats.append(seat)

    def _bench(self, seat: _Seat, index: ServedIndex) -> Bench:
        """The searcher of an index as it is now; the last one while another is being put into its place."""
        now, bench = index.generation(), seat.benches.get(index.id)
        if bench is not None and (not now or bench.generation == now):
            return bench
        try:
            fresh = self._open(seat, index, now)
        except RetrievalError:
            if bench is None:
                raise
            _LOG.warning("index %s was replaced by one that cannot be used; the last one is searched", index.id)
            return bench
        if bench is not None:
            bench.close()
        seat.benches[index.id] = fresh
        return fresh

    def _open(self, seat: _Seat, index: ServedIndex, now: Generation) -> Bench:
        collection = open_collection(index.place)
        try:
            model = self._model(collection.model_source)
            pool = seat.pools.get(model.source)
            if pool is None:
                limits, timeout_s = self._settings.decode_limits, self._settings.decode_timeout_s
                pool = seat.pools[model.source] = model.pool(1, limits, timeout_s)
            searcher = Searcher(collection, model=model, pool=pool)
            assert searcher.pool is pool  # its weights are those that made the index
        except BaseException:
            collection.close()
            raise
        return Bench(searcher, collection, model, pool, now)

    def _model(self, source: str) -> ModelSource:
        with self._lock:
            if source not in self._models:
                self._models[source] = ModelSource(source)
            return self._models[source]

    # ------------------------------------------------------------------ watching
    def _watch(self) -> None:
        seen: dict[str, Generation] = {}
        while not self._ended.is_set():
            for index in self._library.indexes:
                if self._ended.is_set():
                    return
                index.version()  # notes changes
                now = index.generation()
                if index.state == "ready" and (not now or seen.get(index.id) == now):
                    continue
                try:
                    self._threads.submit(self._work, index, _ask_about_itself).result()
                except Exception as error:  # noqa: BLE001 - the outermost loop: an index that fails ends no other
                    if self._ended.is_set():
                        return
                    _LOG.warning("index %s is not ready: %s", index.id, error)
                    index.fail(error)
                else:
                    seen[index.id] = now
                    index.state, index.reason = "ready", ""
            self._ended.wait(WATCH_S)


def _ask_about_itself(bench: Bench) -> None:
    """Make sure that queries are described, and that a picture of the index is the most similar one to itself.

    Raises:
        StoreError: it is not.
    """
    described = bench.searcher.describe(PictureBytes(_test_picture(), "the test picture"))
    first = next(bench.collection.descriptors(1), None)
    if first is None or not first.ids:
        return  # empty: there is nothing to find
    asked = type(described)(
        described.query, None, "", np.ascontiguousarray(first.vectors[:1]), described.local[:1], 0.0, 0.0
    )
    hits = bench.searcher.find(asked, 1, "none").hits
    if not hits or hits[0].similarity < 1 - 1e-3:
        raise StoreError("the index does not find its own picture → index the folder again")


def _test_picture() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.kron(noise, np.ones((8, 8, 1), np.uint8))).save(file, "PNG")
    return file.getvalue()


def _too_late(settings: Settings) -> Problem:
    return Problem(
        "overloaded", f"The search was not done within {settings.request_deadline_s:g} s.", "try again in a moment"
    )
