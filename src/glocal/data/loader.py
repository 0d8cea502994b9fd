"""Batches for training, decoded and augmented by threads ahead of their use (NumPy).

What a batch holds depends on seed, epoch, number and rank alone: not on the threads, nor on where a run goes on.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.data.image import decode
from glocal.data.labelled import LabelledPhotos
from glocal.data.sampler import epoch_order
from glocal.data.staging import Staged
from glocal.errors import ConfigError, ImageError, ShapeError
from glocal.types import Pixels

Transform = Callable[[Pixels, np.random.Generator], Pixels | Staged]
"""(H, W, 3) uint8 RGB and the sample's own generator -> (S, S, 3) uint8, or that with the places that it shows."""

_AHEAD = 4  # batches that are decoded before they are asked for
_TRIES = 10  # damaged photos in a row before the run stops
_FEW_DAMAGED, _MANY_SEEN = 10, 1000  # a share is judged from the one or the other on


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step sees.

    Attributes:
        images: (B, S, S, 3) uint8 RGB; views of one photo stand together.
        labels: (B,) int64.
        wait_s: seconds that the caller waited for it.
        places: (B, n, n, 2) float32, the places in the photo, x and y in its pixels, that a grid of the view shows, NaN
            where none; None where the transform does not tell them.
    """

    images: Pixels
    labels: NDArray[np.int64]
    wait_s: float
    places: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One place of a batch: the label of the photo in it (-1 for none) and the photos that could not be read."""

    label: int
    damaged: tuple[tuple[str, str], ...]


class BatchLoader:
    """Batches of one process's share of the photos.

    A damaged photo is replaced by the next good one of the epoch's order, and listed when its batch is handed out.

    Args:
        photos: all of the training photos, the same in every process.
        batch_size: B, of this process: views, not photos.
        size: S, side in pixels.
        transform: makes (S, S, 3) of a photo; runs in several threads at once.
        seed: of order and augmentation, 0 or more.
        balanced: see `epoch_order`.
        workers: threads.
        rank: number of this process.
        world: number of processes; this one takes the places rank, rank + world … of the order.
        max_damaged: largest share of damaged photos among those seen.
        views: of every photo, each made by the transform anew.
        stride: pixels between the places of a view that a batch tells; 0 for none. Needs a transform that gives them.

    Attributes:
        damaged: source and reason of each damaged photo, once; a continued run puts those of its past here.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(
        self,
        photos: LabelledPhotos,
        batch_size: int,
        size: int,
        transform: Transform,
        seed: int,
        balanced: bool = False,
        workers: int = 4,
        rank: int = 0,
        world: int = 1,
        max_damaged: float = 0.001,
        views: int = 1,
        stride: int = 0,
    ) -> None:
        if batch_size % views:
            raise ConfigError(f"a batch of {batch_size} cannot hold {views} views of every photo → run.batch_size")
        if min(batch_size, size, workers) < 1 or seed < 0:
            raise ConfigError(
                f"batch size, image size and workers must be 1 or more and the seed 0 or more, "
                f"not {batch_size}, {size}, {workers} and {seed}"
            )
        if not 0 <= rank < world:
            raise ConfigError(f"rank must be one of 0 to {world - 1}, not {rank}")
        self.damaged: list[tuple[str, str]] = []
        self._photos, self._batch_size, self._size, self._transform = photos, batch_size, size, transform
        self._seed, self._balanced, self._workers = seed, balanced, workers
        self._rank, self._world, self._max_damaged = rank, world, max_damaged
        self._views, self._stride = views, stride

    @property
    def num_batches(self) -> int:
        """Batches per epoch; the last, partial one is dropped."""
        return len(self._photos) // self._world // (self._batch_size // self._views)

    def batches(self, epoch: int, first: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch from number `first` on; closing the iterator ends its threads.

        Raises:
            ConfigError: too many photos are damaged.
            ShapeError: the transform gives something else than (S, S, 3) uint8.
        """
        if first >= self.num_batches:
            return
        order = epoch_order(self._photos.labels, epoch, self._seed, self._balanced)
        # `decode` silences warnings while it works. In several threads at once that can outlast it: put them back.
        with warnings.catch_warnings():
            threads = ThreadPoolExecutor(self._workers, thread_name_prefix="glocal-loader")
            try:
                pending: deque[tuple[Pixels, NDArray[np.float32] | None, list[Future[_Outcome]]]] = deque()
                begun = first
                for number in range(first, self.num_batches):
                    while begun < min(number + 1 + _AHEAD, self.num_batches):
                        pending.append(self._begin(threads, order, epoch, begun))
                        begun += 1
                    images, places, futures = pending.popleft()
                    started = time.perf_counter()
                    outcomes = [future.result() for future in futures]
                    wait_s = time.perf_counter() - started
                    self._judge(outcomes, epoch, number)
                    labels = np.repeat(np.array([outcome.label for outcome in outcomes], np.int64), self._views)
                    yield Batch(images, labels, wait_s, places)
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def _begin(
        self, threads: ThreadPoolExecutor, order: NDArray[np.int64], epoch: int, number: int
    ) -> tuple[Pixels, NDArray[np.float32] | None, list[Future[_Outcome]]]:
        """Start a batch; its images are there when all of its futures are."""
        images = np.empty((self._batch_size, self._size, self._size, 3), np.uint8)
        places = None
        if self._stride:
            cells = -(-self._size // self._stride)
            places = np.empty((self._batch_size, cells, cells, 2), np.float32)
        count = self._batch_size // self._views
        futures = []
        for i in range(count):
            mine = slice(i * self._views, (i + 1) * self._views)
            position = (number * count + i) * self._world + self._rank
            told = None if places is None else places[mine]
            futures.append(threads.submit(self._fill, images[mine], told, order, epoch, position))
        return images, places, futures

    def _fill(
        self,
        images: Pixels,
        places: NDArray[np.float32] | None,
        order: NDArray[np.int64],
        epoch: int,
        position: int,
    ) -> _Outcome:
        """Put views of the photo of a position, or of the next good one, into the batch."""
        damaged = []
        for step in range(min(_TRIES, len(order))):
            i = int(order[(position + step) % len(order)])
            source = self._photos.sources[i]
            try:
                pixels = decode(self._photos.read(i), source, 2 * self._size).pixels
            except ImageError as error:
                damaged.append((source, error.detail))
                continue
            for view, image in enumerate(images):
                seed = [self._seed, epoch, position] + [view] * (view > 0)
                told = None if places is None else places[view]
                self._put(self._transform(pixels, np.random.default_rng(seed)), image, told)
            return _Outcome(int(self._photos.labels[i]), tuple(damaged))
        return _Outcome(-1, tuple(damaged))

    def _put(self, changed: Pixels | Staged, image: Pixels, places: NDArray[np.float32] | None) -> None:
        """One view into its place of the batch."""
        if isinstance(changed, Staged):
            if places is not None:
                grid = slice(None, None, self._stride)
                places[...] = np.where(changed.visible[grid, grid, None], changed.where[grid, grid], np.nan)
            changed = changed.pixels
        elif places is not None:
            raise ShapeError("the transform must tell the places that a view shows")
        if changed.shape != image.shape or changed.dtype != np.uint8:
            raise ShapeError(f"the transform must give uint8 {image.shape}, not {changed.dtype} {tuple(changed.shape)}")
        image[...] = changed

    def _judge(self, outcomes: list[_Outcome], epoch: int, number: int) -> None:
        """List what was damaged in a batch; raise if that is too much of what was seen up to it."""
        known = {source for source, _ in self.damaged}
        for outcome in outcomes:
            for source, reason in outcome.damaged:
                if source not in known:
                    known.add(source)
                    self.damaged.append((source, reason))
        # Counted from the beginning of the run, so that a continued run judges as one that was not interrupted.
        photos = self._batch_size // self._views
        seen = min((epoch * self.num_batches + number + 1) * photos, len(self._photos))
        can_judge = seen >= _MANY_SEEN or len(self.damaged) >= _FEW_DAMAGED
        too_many = can_judge and len(self.damaged) > self._max_damaged * seen
        if too_many or any(outcome.label < 0 for outcome in outcomes):
            source, reason = self.damaged[0]
            seen = max(seen, len(self.damaged))  # those that were tried in the place of others count, too
            raise ConfigError(
                f"{len(self.damaged):,} of the {seen:,} photos seen so far cannot be read, more than "
                f'{self._max_damaged:.1%} of them; the first is "{source}": {reason} → repair them, or take them out'
            )
