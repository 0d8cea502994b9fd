"""Photos described on the nodes of a Ray cluster, committed here: every photo once, whatever dies meanwhile.

The photos are handed out in shards, a few of them to each actor, and every answer comes back by itself. A photo is
settled when its answer is here; what a dead actor has not answered goes to another. The collection, its transactions
and how an interrupted run goes on are those of a single computer: no node but this one writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import math
import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Self

import numpy as np

import glocal
from glocal.data.image import LIMITS, DecodeLimits
from glocal.errors import BackendUnavailable, ConfigError, ImageError, SpecMismatch
from glocal.extract.batching import ModelSource
from glocal.extract.ray_actor import Assignment, Failure, Hello, Refusal
from glocal.extract.ray_cluster import RayCluster
from glocal.extract.remote import is_readable
from glocal.extract.requests import TIMEOUT_S, Answer, Outcome, Request, read_one
from glocal.types import ExtractorSpec

_LOG = logging.getLogger(__name__)
MOST_TRIES = 3
"""Actors that a photo may cost before it is refused."""
_SHARD_PHOTOS = 16  # per worker process, or per photo that a network takes at a time
_UNREAD_ANSWERS = 16  # an actor pauses when so many have not been fetched
_MOST_DEATHS = 10  # in a row, without any answer
_START_S = 120.0
_SILENCE_S = 300.0
_FETCH_S = 60.0
_TICK_S = 1.0
_LOOK_EVERY_S = 5.0


@dataclasses.dataclass(slots=True)
class _Photo:
    """A request, and how many actors have died or failed while they were at it."""

    request: Request
    tries: int = 0


@dataclasses.dataclass(slots=True)
class _Shard:
    """Photos that an actor has been given and not answered, by their number; and where its replies come from."""

    photos: dict[int, _Photo]
    replies: Any


class _Actor:
    """One actor and the shards that it has been given."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.hello: Any = handle.hello.remote()
        self.node: str | None = None  # until it has said hello
        self.shard_photos = 1
        self.shards: deque[_Shard] = deque()
        self.heard = time.monotonic()

    @property
    def awaited(self) -> Any:
        """What to wait for: its hello, or its next reply; None if it has nothing to do."""
        if self.node is None:
            return self.hello
        return self.shards[0].replies if self.shards else None


class RayPool:
    """A `PhotoPool` whose workers are actors of a Ray cluster.

    Every node must find the photos under the same path (or URL), the weights in the same place, and the same glocal.

    Args:
        model: describes the photos; loaded here too, to compare.
        workers: processes that read photos, per actor, which asks Ray for as many CPUs; nodes with fewer are left out,
            if there are others.
        limits: what one photo file may cost.
        timeout_s: seconds that one photo may take.
        address: HOST:PORT of the cluster's head, or "auto" for the one that runs on this computer; None starts one
            that cannot be reached from elsewhere.
    """

    def __init__(
        self,
        model: ModelSource,
        workers: int = 1,
        limits: DecodeLimits = LIMITS,
        timeout_s: float = TIMEOUT_S,
        address: str | None = None,
    ) -> None:
        """Join the cluster; actors are started when there is work.

        Raises:
            BackendUnavailable: Ray is not installed, or does not answer, or the cluster has no CPUs to give.
            ConfigError: the address makes no sense, or the device is a certain one.
        """
        if ":" in model.device:
            raise ConfigError(f"--device {model.device}: Ray decides which actor gets which GPU. → --device cuda")
        self._spec = model.spec
        self._cluster = RayCluster(address)
        self._ray = self._cluster.ray
        try:
            self._cpus = min(max(1, workers), self._cluster.most_cpus())
            if not self._cpus:
                raise BackendUnavailable("The Ray cluster has no node with a CPU to give. → ray status")
            wants_gpu = model.is_network and model.device in ("auto", "cuda")
            self._gpus = 1 if wants_gpu and self._cluster.has_gpus() else 0
        except BaseException:
            self._cluster.close()
            raise
        device = model.device if self._gpus or model.device != "auto" else "cpu"
        self._assignment = Assignment(model.source, device, model.batch_size, self._cpus, limits, timeout_s)
        self._actors: deque[_Actor] = deque()
        self._queue: deque[_Photo] = deque()
        self._room = 0
        self._looked = -math.inf
        self._nobody_since = time.monotonic()
        self._deaths = 0
        self._good_nodes: set[str] = set()

    def run(self, requests: Iterable[Request]) -> Generator[Outcome, None, None]:
        """Answer all requests, in the order in which they get done.

        A bounded number of photos is in flight. Closing the iterator early is allowed: what is in flight is then
        dropped with its actors.

        Raises:
            BackendUnavailable: no actor can be started, or all of them die.
            SpecMismatch: the model on a node is not the one here.
            ConfigError: a node does not see the photos.
        """
        source = iter(requests)
        self._nobody_since = time.monotonic()
        try:
            while True:
                self._hand_out(source)
                if not self._queue and not any(actor.shards for actor in self._actors):
                    return
                for outcome in self._listen():
                    paused = time.monotonic()
                    yield outcome
                    away_s = time.monotonic() - paused
                    for actor in self._actors:  # while the caller was busy, nobody listened
                        actor.heard += away_s
        finally:
            self._queue.clear()
            for actor in [actor for actor in self._actors if actor.shards]:
                self._end(actor)

    def read(self, request: Request) -> Answer:
        """Answer one request.

        Raises:
            ImageError: the photo cannot be read.
        """
        return read_one(self, request)

    def spec(self) -> ExtractorSpec:
        """The spec of the model."""
        return self._spec

    def close(self) -> None:
        """End all actors and leave the cluster."""
        for actor in list(self._actors):
            self._end(actor)
        self._cluster.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ giving
    def _hand_out(self, source: Iterator[Request]) -> None:
        """Give shards to the actors that want more; start actors for what they leave."""
        if time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._room = max(1, self._cluster.room(self._cpus, self._gpus))  # nodes come and go
        ready = [actor for actor in self._actors if actor.node is not None]
        for actor in ready:
            if not actor.shards:
                self._give(actor, source)
        for actor in ready:
            # A second shard only while there is enough for all, so that they end together.
            if len(actor.shards) == 1 and self._fill(source, actor.shard_photos * len(self._actors)):
                self._give(actor, source)
        starting = len(self._actors) - len(ready)
        while len(self._actors) < self._room and self._fill(source, starting * _SHARD_PHOTOS * self._cpus + 1):
            self._actors.append(_Actor(self._cluster.start(self._assignment, self._cpus, self._gpus)))
            starting += 1

    def _fill(self, source: Iterator[Request], count: int) -> bool:
        """Take photos until so many wait; whether there were as many."""
        self._queue.extend(map(_Photo, itertools.islice(source, max(0, count - len(self._queue)))))
        return len(self._queue) >= count

    def _give(self, actor: _Actor, source: Iterator[Request]) -> None:
        self._fill(source, actor.shard_photos * len(self._actors))
        if not self._queue:
            return
        count = min(actor.shard_photos, math.ceil(len(self._queue) / len(self._actors)))
        photos = [self._queue.popleft()]
        # One of several photos may have killed an actor: each of them is tried alone.
        while self._queue and len(photos) < count and not (photos[0].tries or self._queue[0].tries):
            photos.append(self._queue.popleft())
        requests = [dataclasses.replace(photo.request, key=number) for number, photo in enumerate(photos)]
        describe = actor.handle.describe.options(
            num_returns="streaming", _generator_backpressure_num_objects=_UNREAD_ANSWERS
        )
        if not actor.shards:
            actor.heard = time.monotonic()
        actor.shards.append(_Shard(dict(enumerate(photos)), describe.remote(requests)))

    # ------------------------------------------------------------------ taking
    def _listen(self) -> Iterator[Outcome]:
        """What one of the actors has to say; or nothing, after a while."""
        self._actors.rotate(-1)  # the first that is ready is heard: each is the first in its turn
        awaited = {actor.awaited: actor for actor in self._actors if actor.awaited is not None}
        ready, _ = self._ray.wait(list(awaited), num_returns=1, timeout=_TICK_S)
        for which in ready:
            yield from self._hear(awaited[which])
        yield from self._check_silence()

    def _hear(self, actor: _Actor) -> Iterator[Outcome]:
        raised = self._ray.exceptions
        try:
            if actor.node is None:
                self._welcome(actor, self._ray.get(actor.hello, timeout=_FETCH_S))
                return
            number, reply = self._ray.get(next(actor.shards[0].replies), timeout=_FETCH_S)
        except StopIteration:
            yield from self._again(actor.shards.popleft(), "unreadable", "no answer")  # there should be none left
        except raised.RayTaskError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise BackendUnavailable(f"An actor on {actor.node or 'the Ray cluster'} failed: {reason}") from error
        except raised.RayError as error:
            yield from self._bury(actor, "unreadable", str(error).strip().partition("\n")[0])
        else:
            actor.heard = time.monotonic()
            self._deaths = 0
            if isinstance(reply, Failure):
                raise reply.exception()
            yield from self._settle(actor, actor.shards[0].photos.pop(number), reply)

    def _welcome(self, actor: _Actor, hello: Hello | Failure) -> None:
        """Check that an actor is what we need.

        Raises:
            SpecMismatch: its model is not ours.
            BackendUnavailable: its glocal is not ours.
        """
        if isinstance(hello, Failure):
            raise hello.exception()
        if hello.version != glocal.__version__:
            raise BackendUnavailable(
                f"Node {hello.node} has glocal {hello.version}, here is {glocal.__version__}. → install the same on all"
            )
        differences = self._spec.differences(ExtractorSpec.from_json(hello.spec))
        if differences:
            values = "; ".join(f"{name}: here {ours!r}, there {theirs!r}" for name, ours, theirs in differences)
            raise SpecMismatch(
                f"The model {self._assignment.model} on node {hello.node} is not the one here ({values}). Their "
                "descriptors cannot be compared. → put the same weights on all nodes"
            )
        actor.node = hello.node
        actor.shard_photos = _SHARD_PHOTOS * max(self._cpus, hello.batch_size)
        actor.heard = time.monotonic()

    def _settle(self, actor: _Actor, photo: _Photo, reply: Answer | Refusal) -> Iterator[Outcome]:
        assert actor.node is not None
        if isinstance(reply, Answer):
            self._good_nodes.add(actor.node)
            # Copies: what Ray lends stays in its store, which has little room.
            arrays = {name: np.array(array) for name, array in reply.arrays.items()}
            yield photo.request, dataclasses.replace(reply, arrays=arrays)
            return
        if reply.code == "unreadable" and is_readable(photo.request):
            photo.tries += 1
            if photo.tries < MOST_TRIES:
                self._queue.append(photo)  # another node may see it
                return
            if actor.node not in self._good_nodes:
                raise ConfigError(
                    f"Node {actor.node} cannot read {os.fsdecode(photo.request.path)} ({reply.detail}), which can be "
                    "read here. → every node needs the folder under the same path (a shared file system), or, of an "
                    "object store, the same credentials"
                )
        yield photo.request, ImageError(reply.code, reply.detail)

    def _check_silence(self) -> Iterator[Outcome]:
        """Replace the actors that have not been heard of for too long."""
        now = time.monotonic()
        if any(actor.node is not None for actor in self._actors):
            self._nobody_since = now
        elif now - self._nobody_since > _START_S:
            raise BackendUnavailable(
                f"No actor could be started within {_START_S:g} s: each asks for {self._cpus} CPUs"
                f"{' and a GPU' if self._gpus else ''}. → ray status tells who holds them; or fewer --workers"
            )
        for actor in [actor for actor in self._actors if actor.shards and now - actor.heard > _SILENCE_S]:
            if not self._ray.wait([actor.awaited], timeout=0)[0]:
                yield from self._bury(actor, "timeout", f"no answer for {_SILENCE_S:g} s")

    def _bury(self, actor: _Actor, code: str, reason: str) -> Iterator[Outcome]:
        """Give what an actor has not answered to others; only what it was busy with is to blame."""
        self._end(actor)
        _LOG.warning("An actor on %s was lost (%s): others take its photos.", actor.node or "its way up", reason)
        self._deaths += 1
        most = max(_MOST_DEATHS, 2 * self._room) if self._good_nodes else MOST_TRIES
        if self._deaths >= most:
            raise BackendUnavailable(
                f"{self._deaths} actors on the Ray cluster died one after the other, the last on "
                f"{actor.node or 'its way up'}: {reason} → ray status, and the logs of that node; what was saved is "
                "safe: run the same command to continue"
            )
        for depth, shard in enumerate(actor.shards):
            if depth == 0:
                yield from self._again(shard, code, reason)
            else:
                self._queue.extend(shard.photos.values())
        actor.shards.clear()

    def _again(self, shard: _Shard, code: str, reason: str) -> Iterator[Outcome]:
        """Queue photos again whose actor died with them; those that were there too often are refused."""
        for photo in shard.photos.values():
            photo.tries += 1
            if photo.tries < MOST_TRIES:
                self._queue.append(photo)
            else:
                yield photo.request, ImageError(code, f"{MOST_TRIES} actors died with it: {reason}"[:200])

    def _end(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        with contextlib.suppress(Exception):  # it may be dead, or the cluster may be
            self._ray.kill(actor.handle)
