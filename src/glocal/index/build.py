"""Inverted lists for a large collection: made from it, measured against it, and vouched for by it.

They are a cache: the collection is complete without them, and they are made anew rather than repaired.
"""

from __future__ import annotations

import errno
import shutil
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import DiskFull, StoreError
from glocal.index.beside import clear_away, open_lists, write_lists
from glocal.index.choice import RULES, Layout, Rules, choose, machine_memory
from glocal.index.faiss_lists import NUM_ROUNDS, InvertedLists, installed_version, is_installed
from glocal.index.probes import Probes, tune
from glocal.index.stored import all_numbers, num_after, num_stored, stored_blocks, vectors_of
from glocal.index.voucher import FORMAT, Voucher, digest_of, drop_voucher, has_voucher, read_voucher, write_voucher
from glocal.store.collection import Collection

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]

SEED = 0
NUM_PROBES = 200
SAMPLE_PER_LIST = 40
"""Descriptors that the centroid of a list is trained on; FAISS finds fewer than 39 too few."""
MAX_SAMPLE_BYTES = 512 << 20
_BLOCK = 8192
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Stopped(Exception):
    """The user asked to stop; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Need:
    """Lists that are to be made.

    Attributes:
        layout: their type.
        num: pictures.
        why: one line for people.
    """

    layout: Layout
    num: int
    why: str


class Watcher:
    """What the making of lists tells; override what is of interest."""

    def begins(self, need: Need) -> None:
        """It is needed."""

    def advanced(self, done: int, total: int) -> None:
        """So much of the work is done, in pictures."""

    def should_stop(self) -> bool:
        """Asked now and then: every few seconds at a million pictures."""
        return False


def concerns(collection: Collection, rules: Rules = RULES) -> bool:
    """Whether a collection is large enough for lists, or was; takes no time."""
    return has_voucher(collection) or num_stored(collection) >= rules.exact_below


def needed(collection: Collection, rules: Rules = RULES, memory_bytes: int | None = None) -> Need | None:
    """Whether a collection wants new lists; None if it has good ones, is small, or FAISS is not installed.

    Good lists are read once, for their checksum.

    Args:
        collection: open.
        rules: from when on.
        memory_bytes: of the machine; None asks it.
    """
    num = num_stored(collection)
    layout = choose(num, collection.spec.dim, memory_bytes or machine_memory(), rules)
    if layout is None or not is_installed():
        return None
    try:
        said = read_voucher(collection)
        if said is None:
            return Need(layout, num, "there is none yet")
        voucher, covers = said
        newer = num_after(collection, covers)
        gone = voucher.num - (num - newer)
        if newer > min(rules.max_newer, rules.newer_share * voucher.num):
            return Need(layout, num, f"{newer:,} pictures are newer")
        if gone > rules.gone_share * voucher.num:
            return Need(layout, num, f"{gone:,} of its {voucher.num:,} pictures are forgotten")
        open_lists(collection.directory, voucher, collection.spec.dim)
    except StoreError as error:
        return Need(layout, num, str(error))
    return None


def keep(
    collection: Collection, rules: Rules = RULES, watcher: Watcher | None = None, memory_bytes: int | None = None
) -> Voucher | None:
    """Make new lists if they are needed, and clear away what is not.

    Args:
        collection: open for writing.
        rules: from when on.
        watcher: is told of it.
        memory_bytes: of the machine; None asks it.

    Returns:
        What was made; None if nothing was.

    Raises:
        Stopped: it was asked to. Nothing has changed.
        DiskFull: no space is left. Nothing has changed.
        StoreError: the system refuses otherwise, or the collection is damaged.
    """
    watcher = watcher or Watcher()
    need = needed(collection, rules, memory_bytes)
    if need is not None:
        watcher.begins(need)
        return _make(collection, need, watcher)
    if num_stored(collection) < rules.exact_below and has_voucher(collection):
        drop_voucher(collection)  # it has become small
    try:
        said = read_voucher(collection)
    except StoreError:
        return None  # and FAISS is missing: left to a run that has it
    clear_away(collection.directory, said[0].file if said else None)
    return None


def _make(collection: Collection, need: Need, watcher: Watcher) -> Voucher:
    started = time.monotonic()
    layout, directory = need.layout, collection.directory
    _expect_space(collection, layout)
    with collection.snapshot():
        numbers = all_numbers(collection)
        rng = np.random.default_rng(SEED)
        progress = _Progress(layout, collection.spec.dim, len(numbers), watcher)
        sample = _vectors(collection, _some(numbers, progress.num_sample, rng))
        lists = InvertedLists.train(layout, sample, SEED, progress.trained)
        del sample
        chosen = _some(numbers, NUM_PROBES, rng)
        probes = Probes(chosen, _vectors(collection, chosen))
        for block, descriptors in stored_blocks(collection):
            lists.add(block, descriptors.vectors)
            probes.compare(block, descriptors.vectors)
            progress.added(len(block))
    if len(lists) != len(numbers):
        raise StoreError(
            f"the index in {directory} is damaged: {len(numbers):,} pictures, {len(lists):,} descriptors "
            "→ index the folder again"
        )
    tuned = tune(lists, probes, layout, progress.pause)
    progress.pause()
    try:
        name, num_bytes, crc32 = write_lists(directory, lists)
    except OSError as error:
        raise (DiskFull if error.errno in _FULL else StoreError)(
            f"Cannot write the nearest-neighbour file in {directory}: {error.strerror}. The index is complete without "
            "it. → free some space and run the same command"
        ) from error
    voucher = Voucher(
        format=FORMAT,
        file=name,
        num_bytes=num_bytes,
        crc32=crc32,
        spec=digest_of(collection.spec),
        num=len(lists),
        factory=layout.factory,
        faiss=installed_version(),
        num_lists=layout.num_lists,
        nprobe=tuned.nprobe,
        widen=tuned.setting.widen,
        refine=tuned.setting.refine,
        recall_10=tuned.recall_10,
        recall_100=tuned.recall_100,
        num_probes=len(chosen),
        seconds=time.monotonic() - started,
    )
    write_voucher(collection, voucher, int(numbers[-1]))
    clear_away(directory, name)
    return voucher


def _expect_space(collection: Collection, layout: Layout) -> None:
    free = shutil.disk_usage(collection.directory).free
    if free < layout.num_bytes:
        raise DiskFull(
            f"The nearest-neighbour file needs about {layout.num_bytes / 1e6:,.0f} MB in {collection.directory}, "
            f"{free / 1e6:,.0f} MB are free. The index is complete without it. → free some space, run the same command"
        )


def _some(numbers: Numbers, count: int, rng: np.random.Generator) -> Numbers:
    return np.sort(rng.choice(numbers, min(count, len(numbers)), replace=False))


def _vectors(collection: Collection, numbers: Numbers) -> Vectors:
    """The descriptors (N, D) with some numbers, order kept; read in blocks, so that they are in memory once."""
    vectors = np.empty((len(numbers), collection.spec.dim), np.float32)
    for start in range(0, len(numbers), _BLOCK):
        asked = numbers[start : start + _BLOCK].tolist()
        vectors[start : start + _BLOCK] = vectors_of(collection, asked)[1]
    return vectors


class _Progress:
    """Tells what share of the work is done: a round of training weighs as much as adding its sample would."""

    def __init__(self, layout: Layout, dim: int, num: int, watcher: Watcher) -> None:
        most = max(layout.num_lists, MAX_SAMPLE_BYTES // (4 * dim))
        self.num_sample = min(num, layout.num_lists * SAMPLE_PER_LIST, most)
        self._num, self._watcher = num, watcher
        self._work = num + NUM_ROUNDS * self.num_sample
        self._done = 0

    def trained(self, rounds: int) -> None:
        """So many rounds of k-means are done."""
        self._at(rounds * self.num_sample)

    def added(self, count: int) -> None:
        """So many more descriptors are in their lists."""
        self._at(self._done + count)

    def _at(self, done: int) -> None:
        self._done = done
        self._watcher.advanced(self._num * done // self._work, self._num)
        self.pause()

    def pause(self) -> None:
        """A point where the work can end."""
        if self._watcher.should_stop():
            raise Stopped
