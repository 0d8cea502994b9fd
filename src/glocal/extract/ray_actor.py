"""What runs on the nodes of a Ray cluster: a pool like that of a single computer, behind a door for lists of requests.

An actor decodes in child processes like everybody, so that a hostile photo costs one of those and not the actor. What
it sends is plain: numbers, words and arrays of its own making.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import glocal
from glocal import errors
from glocal.data.image import DecodeLimits
from glocal.errors import ImageError, RetrievalError
from glocal.extract.batching import ModelSource
from glocal.extract.remote import StagingPool
from glocal.extract.requests import Answer, PhotoPool, Request


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an actor is for.

    Attributes:
        model: catalogue name, or absolute path of the weights, which must be there on every node.
        device: where a network runs.
        batch_size: photos of one shape that go through a network together.
        workers: processes that read photos, for one actor.
        limits: what one photo file may cost.
        timeout_s: seconds that one photo may take.
    """

    model: str
    device: str
    batch_size: int | str
    workers: int
    limits: DecodeLimits
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Hello:
    """An actor is ready.

    Attributes:
        node: name of its computer.
        version: of glocal there.
        spec: of its model, as JSON.
        batch_size: photos that its model takes at a time.
    """

    node: str
    version: str
    spec: str
    batch_size: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A photo cannot be read: see `glocal.errors.ImageError`."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An actor cannot work at all: the name of the exception in `glocal.errors`, and its message."""

    node: str
    error: str
    message: str

    def exception(self) -> RetrievalError:
        """What to raise here; nothing but ours, whatever the node says."""
        kind = getattr(errors, self.error, None)
        if not (isinstance(kind, type) and issubclass(kind, RetrievalError)) or kind is ImageError:
            kind = RetrievalError
        return kind(f"Node {self.node}: {self.message}")


Reply = tuple[int, Answer | Refusal | Failure]


class Describer:
    """Describes photos on one node.

    The constructor does nothing: whatever can go wrong is an answer of `hello`.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._pool: PhotoPool | None = None
        self._node = socket.gethostname()

    def hello(self) -> Hello | Failure:
        """Load the model and start the children."""
        mine = self._assignment
        try:
            model = ModelSource(mine.model, mine.device, mine.batch_size)
            batch_size = model.network().batch_size if model.is_network else 1
            pool = model.pool(mine.workers, mine.limits, mine.timeout_s)
            self._pool = StagingPool(pool, mine.limits, max(8, 2 * mine.workers))
            return Hello(self._node, glocal.__version__, self._pool.spec().to_json(), batch_size)
        except RetrievalError as error:
            return Failure(self._node, type(error).__name__, str(error))

    def describe(self, requests: list[Request]) -> Iterator[Reply]:
        """Answer requests one by one, as they get done; the number is the request's key."""
        assert self._pool is not None
        try:
            with contextlib.closing(self._pool.run(requests)) as outcomes:
                for request, outcome in outcomes:
                    if isinstance(outcome, ImageError):
                        yield request.key, Refusal(outcome.code, outcome.detail)
                    else:
                        yield request.key, outcome
        except RetrievalError as error:
            yield -1, Failure(self._node, type(error).__name__, str(error))
