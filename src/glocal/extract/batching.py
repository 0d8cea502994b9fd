"""Networks over many photos: worker processes decode, this process describes in batches of one shape.

Decoders meet hostile bytes and stay in processes that can be killed; a network meets only bare pixels, and
one copy of it serves all workers. It runs in threads of its own, so that the next photos are fetched meanwhile:
one on a GPU, several on a CPU, where two photos on a core each take less time than two cores on one after the other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, cast

import numpy as np

from glocal.data.image import LIMITS, DecodeLimits
from glocal.errors import ConfigError, ImageError
from glocal.extract.pool import WorkerPool
from glocal.extract.requests import PIXELS_ONLY, TIMEOUT_S, Answer, Outcome, PhotoPool, Request, arrays_of, read_one
from glocal.extract.turning import upright
from glocal.models.catalogue import build_classical, find_model
from glocal.models.preprocessing import Preprocessing
from glocal.ops.coordinates import turn_size
from glocal.protocols import Extractor
from glocal.types import Extraction, ExtractorSpec, Photo

MAX_WAITING_BYTES = 256 << 20
"""Pixels that wait for the network or are in it, together; one batch may go beyond."""
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


class BatchExtractor(Protocol):
    """A network with what must be done before and after it (see `glocal.extract.network`)."""

    @property
    def batch_size(self) -> int:
        """Photos of one size that go through it together; may shrink while it works."""

    @property
    def spec(self) -> ExtractorSpec:
        """What makes its descriptors comparable with others."""

    @property
    def device(self) -> str:
        """Where it runs."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How photos are decoded for it."""

    @property
    def num_threads(self) -> int:
        """How many threads may call `extract_batch` at a time."""

    def enter_thread(self) -> None:
        """Has to be called once in each of them, if there are several."""

    def extract_batch(self, photos: Sequence[Photo]) -> list[Extraction]:
        """The features of some photos, order kept."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A decoded photo and the answer that lacks its features."""

    request: Request
    answer: Answer

    @property
    def num_bytes(self) -> int:
        return int(self.answer.arrays["pixels"].nbytes)

    def photo(self) -> Photo:
        """The photo as the network sees it: turned, if that was asked for."""
        size = turn_size(self.answer.photo_size, self.request.turn)
        return Photo(os.fsdecode(self.request.path), self.answer.arrays["pixels"], size)


class _Buckets:
    """Decoded photos by their shape; those of one shape can go through the network together."""

    def __init__(self) -> None:
        self._photos: dict[tuple[int, ...], list[_Waiting]] = {}

    def add(self, waiting: _Waiting, batch_size: int) -> list[_Waiting] | None:
        """Add a photo; gives its bucket if that is full now."""
        shape = waiting.answer.arrays["pixels"].shape
        bucket = self._photos.setdefault(shape, [])
        bucket.append(waiting)
        return self._photos.pop(shape) if len(bucket) >= batch_size else None

    def take_largest(self) -> list[_Waiting] | None:
        """The bucket with the most bytes; None if there is none."""
        if not self._photos:
            return None
        return self._photos.pop(max(self._photos, key=lambda shape: _bytes_of(self._photos[shape])))


class BatchingPool:
    """A `PhotoPool` around a network: the workers decode, the network runs here."""

    def __init__(
        self,
        extractor: BatchExtractor,
        workers: int = 1,
        limits: DecodeLimits = LIMITS,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._extractor = extractor
        self._decoders = WorkerPool(PIXELS_ONLY, workers, limits, timeout_s)
        self._threads = ThreadPoolExecutor(extractor.num_threads, "network", extractor.enter_thread)
        self._max_running = extractor.num_threads + 1  # so many are worked on while one waits

    def run(self, requests: Iterable[Request]) -> Generator[Outcome, None, None]:
        """Answer all requests, in the order in which they get done.

        A bounded number of photos is in flight. Closing the iterator early is allowed.

        Raises:
            BackendUnavailable: a worker cannot be started.
        """
        buckets = _Buckets()
        running: deque[tuple[Future[list[Outcome]], int]] = deque()
        held = 0

        def start(batch: list[_Waiting]) -> None:
            running.append((self._threads.submit(self._describe, batch), _bytes_of(batch)))

        try:
            with contextlib.closing(self._decoders.run(map(self._decoding, requests))) as decoded:
                for asked, outcome in decoded:
                    request: Request = asked.key
                    if isinstance(outcome, ImageError) or request.want == "pixels":
                        yield request, outcome
                    else:
                        for waiting in _turned(request, outcome):
                            held += waiting.num_bytes
                            if full := buckets.add(waiting, self._extractor.batch_size):
                                start(full)
                    while running and (
                        running[0][0].done() or len(running) > self._max_running or held > MAX_WAITING_BYTES
                    ):
                        done, num_bytes = running.popleft()
                        held -= num_bytes
                        yield from done.result()
                    while held > MAX_WAITING_BYTES and (batch := buckets.take_largest()):
                        held -= _bytes_of(batch)
                        start(batch)
                        yield from running.popleft()[0].result()
            while batch := buckets.take_largest():
                start(batch)
            while running:
                yield from running.popleft()[0].result()
        finally:
            for future, _ in running:
                future.cancel()

    def read(self, request: Request) -> Answer:
        """Answer one request.

        Raises:
            ImageError: the photo cannot be read.
            ConfigError: the box makes no sense.
        """
        return read_one(self, request)

    def spec(self) -> ExtractorSpec:
        """The spec of the network."""
        return self._extractor.spec

    def close(self) -> None:
        """End all children, after the batch that the network is busy with."""
        self._threads.shutdown(cancel_futures=True)
        self._decoders.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decoding(self, request: Request) -> Request:
        """What the workers are asked for; the key is the request itself. A photo is decoded once for all its turns."""
        how = self._extractor.preprocessing
        longest = how.image_size if request.longest is None else request.longest
        rule = request.rule if request.want == "pixels" else how.resize
        described = request.want != "pixels"
        decoded = dataclasses.replace(request, key=request, want="pixels", longest=longest, rule=rule)
        return dataclasses.replace(decoded, turn=0, num_turns=1) if described else decoded

    def _describe(self, batch: list[_Waiting]) -> list[Outcome]:
        """The outcomes of one batch; a photo that cannot be described takes no other with it."""
        started = time.perf_counter()
        try:
            extractions = self._extractor.extract_batch([waiting.photo() for waiting in batch])
        except ImageError as error:
            if len(batch) == 1:
                return [(batch[0].request, error)]
            return [outcome for waiting in batch for outcome in self._describe([waiting])]
        seconds = (time.perf_counter() - started) / len(batch)
        return list(_outcomes(batch, extractions, seconds))


def _turned(request: Request, answer: Answer) -> Iterator[_Waiting]:
    """A decoded photo in all ways in which it is to be described; each answers a request for that way alone."""
    pixels = answer.arrays["pixels"]
    for turn in range(request.turn, request.turn + request.num_turns):
        one = request if request.num_turns == 1 else dataclasses.replace(request, turn=turn, num_turns=1)
        arrays = {"pixels": np.ascontiguousarray(np.rot90(pixels, turn))}
        yield _Waiting(one, dataclasses.replace(answer, arrays=arrays))


def _outcomes(batch: list[_Waiting], extractions: list[Extraction], seconds: float) -> Iterator[Outcome]:
    for waiting, extraction in zip(batch, extractions, strict=True):
        try:
            arrays = dict(arrays_of(upright(extraction, waiting.request.turn)))
        except ImageError as error:
            yield waiting.request, error
        else:
            yield waiting.request, dataclasses.replace(waiting.answer, arrays=arrays, extract_s=seconds)


def _bytes_of(batch: list[_Waiting]) -> int:
    return sum(waiting.num_bytes for waiting in batch)


class ModelSource:
    """A model by its name or place. It is loaded when it is first needed, once for all pools.

    Attributes:
        source: catalogue name, or absolute path of a folder or file of weights.
        device: "auto", "cpu", "cuda", "cuda:1", "mps" ...
        batch_size: photos of one shape that go through a network together; "auto" leaves it to the network.
    """

    def __init__(self, source: str | os.PathLike[str], device: str = "auto", batch_size: int | str = "auto") -> None:
        """Check the arguments; nothing is loaded yet.

        Raises:
            ConfigError: there is no such model, or an option makes no sense.
        """
        self.source = resolve_source(source)
        self.device = device
        self.batch_size = batch_size
        self._network: BatchExtractor | None = None
        self._loading = threading.Lock()
        if not _DEVICE.fullmatch(device):
            raise ConfigError(f'Unknown device "{device}". → auto, cpu, cuda, cuda:1 or mps')
        if batch_size != "auto" and not (isinstance(batch_size, int) and batch_size > 0):
            raise ConfigError(f'The batch size is "auto" or a number from 1, not {batch_size!r}')
        if not self.is_network and device not in ("auto", "cpu"):
            raise ConfigError(f"{self.source} is no network: it runs on the CPU. → without --device {device}")

    @property
    def is_path(self) -> bool:
        """Whether the weights are in a folder or file of the user's."""
        return os.path.isabs(self.source)

    @property
    def is_network(self) -> bool:
        """Whether it needs torch; the others run in the worker processes."""
        return self.is_path or find_model(self.source).is_network

    @property
    def spec(self) -> ExtractorSpec:
        """What its descriptors can be compared with."""
        if self.is_network:
            return self.network().spec
        extractor: Extractor = build_classical(self.source)
        return extractor.spec

    @property
    def query_turns(self) -> int:
        """In how many ways a query has to be described, see `glocal.models.preprocessing.Preprocessing`."""
        return self.network().preprocessing.query_turns if self.is_network else 1

    def network(self) -> BatchExtractor:
        """The loaded network.

        Raises:
            WeightsError: its weights are missing or damaged.
            BackendUnavailable: there is no such device.
        """
        with self._loading:
            if self._network is None:
                from glocal.extract.load import load  # noqa: PLC0415 - torch takes seconds: only networks pay for it

                self._network = cast(BatchExtractor, load(self.source, self.device, self.batch_size))
            return self._network

    def pool(self, workers: int = 1, limits: DecodeLimits = LIMITS, timeout_s: float = TIMEOUT_S) -> PhotoPool:
        """A pool that describes photos with this model."""
        if self.is_network:
            return BatchingPool(self.network(), workers, limits, timeout_s)
        return WorkerPool(self.source, workers, limits, timeout_s)


def resolve_source(source: str | os.PathLike[str]) -> str:
    """The catalogue name of a model, or the absolute path of its weights; a name goes before a folder.

    Raises:
        ConfigError: it is neither.
    """
    text = os.fspath(source)
    if os.path.isabs(text):
        return text  # whether it is (still) there is found out by whoever loads it, who knows what for
    try:
        return find_model(text).name
    except ConfigError:
        if Path(text).exists():
            return str(Path(text).resolve())
        if os.sep in text:
            raise ConfigError(f"No such model: {text}. → name one of `glocal models`, or a folder of weights") from None
        raise
