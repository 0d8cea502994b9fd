"""The features of a benchmark's photos: made once, kept in collections, read by position.

A photo is described as `glocal index` describes it, by workers that can be killed; a query is its box, and the turns
that the model wants. What is stored survives any interruption, and a photo whose file has changed is described again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ImageError, SpecMismatch
from glocal.extract.requests import Answer, PhotoPool, Request
from glocal.extract.run import BATCH_IMAGES, BATCH_SECONDS
from glocal.pictures.files import write_atomically
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, NewContent
from glocal.types import Box, Extraction, ExtractorSpec, LocalFeatures

Vectors = NDArray[np.float32]
VECTORS, VECTORS_ABOUT = "descriptors.npy", "descriptors.json"


@dataclass(frozen=True, slots=True)
class Item:
    """A photo, or a part of one, that has to be described.

    Attributes:
        key: unique within the collection.
        file: path of the photo.
        box: x, y, width, height in whole pixels; None for the whole photo.
        turn: quarter turns counter-clockwise by which it is turned first.
    """

    key: str
    file: str
    box: Box | None = None
    turn: int = 0

    @property
    def row_path(self) -> bytes:
        """Under which name its row is stored: what it is, and of what."""
        part = "" if self.box is None else "#" + ",".join(f"{value:g}" for value in self.box)
        return os.fsencode(f"{self.key}{part}#{self.turn}" if part or self.turn else self.key)


@dataclass(slots=True)
class DescribeReport:
    """What one call of `describe` did.

    Attributes:
        done: items that were described.
        damaged: items that could not be read: (key, why).
        extract_s: seconds for each described item, reading and decoding included, in a worker.
        seconds: wall time.
        stopped: whether it was interrupted.
    """

    done: int = 0
    damaged: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    extract_s: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False


class Watcher:
    """What a long run tells; override what is of interest."""

    def begin(self, title: str, total: int, before: int) -> None:
        """So many photos have to be read now; so many more were, earlier."""

    def advanced(self, done: int, total: int, skipped: int) -> None:
        """One more was read."""

    def end(self) -> None:
        """All were read, or the run stops."""

    def say(self, text: str) -> None:
        """A line for people."""

    def should_stop(self) -> bool:
        """Whether to save and stop."""
        return False


def open_features(directory: Path, spec: ExtractorSpec, source: str) -> Collection:
    """Open the collection of a benchmark's features for writing; made if need be.

    Raises:
        SpecMismatch: another extractor made it.
        StoreBusy: another process is writing it.
    """
    if not Collection.exists(directory):
        return Collection.create(directory, spec, source)
    collection = Collection.open(directory, writable=True)
    if different := collection.spec.differences(spec):
        collection.close()
        name, here, now = different[0]
        raise SpecMismatch(
            f"The features in {directory} were made with {name} {here!r}; this model has {now!r}. "
            "→ delete that folder, or name another with --features"
        )
    return collection


def describe(
    collection: Collection, items: Sequence[Item], pool: Callable[[], PhotoPool], title: str, watcher: Watcher
) -> DescribeReport:
    """Describe those items that a collection does not hold yet, or whose file has changed since.

    Args:
        collection: open for writing; if its spec has no local features, none are stored.
        items: what has to be there at the end.
        pool: makes what reads photos; called only if there is work.
        title: what the progress bar says.
        watcher: is told how it goes.
    """
    started = time.monotonic()
    report = DescribeReport()
    known = {row.path: (row.size, row.mtime_ns) for row in collection.catalogue("indexed")}
    work = [item for item in items if not _is_current(item, known.get(item.row_path))]
    if not work:
        return report
    watcher.begin(title, len(work), len(items) - len(work))
    by_name = {item.row_path: item for item in work}
    writer = _Writer(collection)
    try:
        with pool() as reader:
            requests = (
                Request(os.fsencode(os.path.abspath(item.file)), name, box=item.box, turn=item.turn)
                for name, item in by_name.items()
            )
            outcomes = reader.run(requests)
            for request, outcome in outcomes:
                item = by_name[request.key]
                if isinstance(outcome, ImageError):
                    report.damaged.append((item.key, outcome.detail))
                    writer.reject(item, outcome)
                else:
                    writer.add(item, outcome)
                    report.done += 1
                    report.extract_s.append(outcome.decode_s + outcome.extract_s)
                watcher.advanced(report.done + len(report.damaged), len(work), len(report.damaged))
                if watcher.should_stop():
                    report.stopped = True
                    outcomes.close()
                    break
    finally:
        writer.flush()
        watcher.end()
    report.seconds = time.monotonic() - started
    return report


def _is_current(item: Item, stored: tuple[int, int] | None) -> bool:
    """Whether a file has the size and modification time with which it was described."""
    if stored is None:
        return False
    try:
        found = os.stat(item.file)
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == stored


class _Writer:
    """Collects rows and commits them in batches."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._has_local = collection.spec.local_dim > 0
        self._contents: dict[str, NewContent] = {}
        self._rows: list[CatalogueRow] = []
        self._started = time.monotonic()

    def add(self, item: Item, answer: Answer) -> None:
        digest = content_key(answer.content_hash, answer.box, item.turn)
        if digest not in self._contents and not self._collection.knows(digest):
            found = answer.extraction(item.key)
            if not self._has_local:
                found = Extraction(found.descriptor, no_features(item.key, found.local.size, 0))
            self._contents[digest] = NewContent(digest, answer.num_bytes, answer.photo_size, answer.orientation, found)
        self._append(CatalogueRow(item.row_path, answer.num_bytes, answer.mtime_ns, "indexed", content_hash=digest))

    def reject(self, item: Item, error: ImageError) -> None:
        self._append(CatalogueRow(item.row_path, 0, 0, "rejected", error.code, error.detail))

    def _append(self, row: CatalogueRow) -> None:
        self._rows.append(row)
        if len(self._rows) >= BATCH_IMAGES or time.monotonic() - self._started > BATCH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._collection.commit(list(self._contents.values()), self._rows)
        self._contents, self._rows, self._started = {}, [], time.monotonic()


def no_features(name: str, size: tuple[int, int], dim: int) -> LocalFeatures:
    """The local features of a photo that has none."""
    nothing = np.empty(0, np.float32)
    return LocalFeatures(name, size, np.empty((0, 2), np.float32), np.empty((0, dim), np.float32), nothing, nothing)


def content_key(content_hash: str, box: Box | None, turn: int) -> str:
    """Under which key the features of a photo, of a part of it or of its turned self are stored."""
    if box is None and turn == 0:
        return content_hash
    about = json.dumps([content_hash, None if box is None else list(box), turn]).encode()
    return hashlib.blake2b(about, digest_size=16).hexdigest()


class StoredPhotos:
    """The features of a list of items, by position. An item that could not be read has a zero descriptor."""

    def __init__(self, collection: Collection, items: Sequence[Item]) -> None:
        self._collection = collection
        rows = {row.path: row.content_hash for row in collection.catalogue("indexed")}
        self._keys: list[str | None] = [rows.get(item.row_path) for item in items]
        self._items = items

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def missing(self) -> list[int]:
        """Positions of the items without features."""
        return [i for i, key in enumerate(self._keys) if key is None]

    def digest(self) -> str:
        """SHA-256 of names and contents, in order: the identity of the set of photos."""
        digest = hashlib.sha256()
        for item, key in zip(self._items, self._keys, strict=True):
            digest.update(f"{item.key}\0{key}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def vectors(self, positions: Iterable[int] | None = None) -> Vectors:
        """Descriptors (n, D) of some positions, or of all."""
        chosen = range(len(self._keys)) if positions is None else list(positions)
        keys = [self._keys[i] for i in chosen]
        found = np.zeros((len(keys), self._collection.spec.dim), np.float32)
        there = [i for i, key in enumerate(keys) if key is not None]
        if there:
            found[there] = self._collection.vectors([key for key in keys if key is not None])
        return found

    def local(self, position: int) -> LocalFeatures:
        """The local features at one position; none where the photo could not be read."""
        key = self._keys[position]
        if key is None:
            return no_features("", (1, 1), self._collection.spec.local_dim)
        return self._collection.local_features(key)

    def local_bytes(self) -> int:
        """Bytes of all local features as stored."""
        return self._collection.stored_bytes()["local"]


def map_vectors(directory: Path, parts: Sequence[StoredPhotos], dim: int, block: int = 8192) -> Vectors:
    """The descriptors of all parts, one after the other, as a memory-mapped (N, D) file.

    The file is a disposable cache beside the collections: it is made anew unless it was made of the same photos.
    """
    about = json.dumps({"photos": [part.digest() for part in parts], "dim": dim}).encode()
    file, note = directory / VECTORS, directory / VECTORS_ABOUT
    total = sum(len(part) for part in parts)
    if not (file.is_file() and note.is_file() and note.read_bytes() == about):
        note.unlink(missing_ok=True)
        mapped = np.lib.format.open_memmap(file, "w+", np.float32, (total, dim))
        at = 0
        for rows in _rows_of(parts, block):
            mapped[at : at + len(rows)] = rows
            at += len(rows)
        mapped.flush()
        del mapped
        write_atomically(about, note)
    vectors: Vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    return vectors


def _rows_of(parts: Sequence[StoredPhotos], block: int) -> Iterator[Vectors]:
    for part in parts:
        for start in range(0, len(part), block):
            yield part.vectors(range(start, min(start + block, len(part))))
