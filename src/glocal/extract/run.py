"""A folder of photos -> a collection: incremental, interruptible, one transaction per batch."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from glocal.data.image import LIMITS, DecodeLimits
from glocal.errors import REASONS, ConfigError, ImageError, NothingToDo
from glocal.extract.photo_folder import PhotoFolder
from glocal.extract.requests import TIMEOUT_S, Answer, PhotoPool, Request
from glocal.store.contract import PhotoCollection
from glocal.store.rows import CatalogueRow, NewContent, RunSummary
from glocal.store.scan import Changes, FolderScan, FoundFile, compare

BATCH_IMAGES = 64
BATCH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How a folder is indexed.

    Attributes:
        workers: processes that read photos.
        timeout_s: seconds that one photo may take.
        limits: what one photo file may cost.
        retry_rejected: try files again that were refused before.
        prune: forget files that are gone.
    """

    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    timeout_s: float = TIMEOUT_S
    limits: DecodeLimits = LIMITS
    retry_rejected: bool = False
    prune: bool = False


@dataclass(slots=True)
class IndexReport:
    """What a run did.

    Attributes:
        seen: files that were looked at: indexed + skipped + ignored.
        indexed: files that are searchable now.
        skipped: files that were refused, now or before.
        ignored: files that are no pictures by their name.
        done: files that this run read or linked.
        new, changed, known, gone, moved, copies: of the files, against the last run.
        pruned: hidden files that were forgotten.
        unlisted: folders that could not be listed, with the reason.
        stopped: True if the run was interrupted.
        resumed: True if the run before did not finish.
        moved_from: where the folder was before, if it has moved as a whole; else None.
        decode_s, extract_s: seconds spent in the workers.
        seconds: wall time.
    """

    seen: int = 0
    indexed: int = 0
    skipped: int = 0
    ignored: int = 0
    done: int = 0
    new: int = 0
    changed: int = 0
    known: int = 0
    gone: int = 0
    moved: int = 0
    copies: int = 0
    pruned: int = 0
    unlisted: list[tuple[bytes, str]] = field(default_factory=list)
    stopped: bool = False
    resumed: bool = False
    moved_from: Path | None = None
    decode_s: float = 0.0
    extract_s: float = 0.0
    seconds: float = 0.0


class Listener:
    """What a run tells while it works; override what is of interest."""

    def scanned(self, scan: FolderScan, changes: Changes, report: IndexReport) -> None:
        """The folder was compared with the catalogue; reading begins."""

    def advanced(self, done: int, total: int, skipped: int) -> None:
        """One more photo was read (not saved yet)."""

    def saved(self, rows: list[CatalogueRow]) -> None:
        """These files are durable now."""

    def should_stop(self) -> bool:
        """Whether to save and stop."""
        return False


@dataclass(slots=True)
class _Batch:
    contents: dict[str, NewContent] = field(default_factory=dict)
    rows: list[CatalogueRow] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        return len(self.rows) >= BATCH_IMAGES or time.monotonic() - self.started > BATCH_SECONDS


class IndexRun:
    """One run of the indexer over one folder."""

    def __init__(
        self,
        collection: PhotoCollection,
        photos: PhotoFolder,
        pool_of: Callable[[int], PhotoPool],
        options: IndexOptions,
        listener: Listener,
    ) -> None:
        self._collection = collection
        self._photos = photos
        self._pool_of = pool_of
        self._options = options
        self._listener = listener
        self._report = IndexReport()
        self._batch = _Batch()
        self._total = 0
        self._skipped_now = 0
        # Copies of a picture that a worker is busy with wait for its answer.
        self._in_flight: dict[str, list[FoundFile]] = {}

    def run(self) -> IndexReport:
        """Bring the collection up to date with the folder.

        Raises:
            NothingToDo: neither the folder nor the collection holds a picture.
            DiskFull: no space is left; what was saved before is safe.
        """
        started = time.monotonic()
        report = self._report
        last = self._collection.last_run()
        report.resumed = last is not None and not last[0]
        scan = self._photos.scan()
        known = {row.path: row for row in self._collection.catalogue()}
        if not scan.pictures and not known:
            raise NothingToDo(os.fsdecode(self._photos.address))
        changes = compare(scan, known, self._options.retry_rejected)
        report.ignored, report.unlisted = scan.num_ignored, scan.unlisted
        report.new, report.changed, report.known = len(changes.new), len(changes.changed), changes.known
        report.known += len(changes.returned)
        report.gone = len(changes.gone)
        run = self._collection.start_run()
        self._collection.hide(changes.gone)
        self._collection.show([found.path for found in changes.returned])
        self._listener.scanned(scan, changes, report)
        try:
            self._read(changes.new + changes.changed)
        finally:
            self._save()
        if self._listener.should_stop():
            report.stopped = True
        else:
            report.pruned = self._collection.drop_unused(self._options.prune)
        counts = self._collection.counts()
        report.indexed, report.skipped = counts["indexed"], counts["rejected"]
        report.seen = report.indexed + report.skipped + report.ignored
        if not report.stopped:
            summary = RunSummary(report.seen, report.indexed, report.skipped, report.ignored)
            self._collection.finish_run(run, summary)
        report.seconds = time.monotonic() - started
        return report

    def _read(self, work: list[FoundFile]) -> None:
        self._total = len(work)
        if not work:
            return
        with (
            self._pool_of(min(self._options.workers, len(work))) as pool,
            contextlib.closing(pool.run(self._requests(work))) as outcomes,
        ):
            for request, outcome in outcomes:
                self._settle(request.key, outcome)
                if self._listener.should_stop():
                    return

    def _requests(self, work: list[FoundFile]) -> Iterator[Request]:
        """What the workers have to read; files that cannot or need not be read are settled here."""
        sizes = self._collection.byte_sizes()
        repeated = {size for size, count in Counter(found.size for found in work).items() if count > 1}
        for found in work:
            if self._listener.should_stop():
                return
            if found.refusal:
                self._reject(found, ImageError(found.refusal))
                continue
            # Only a file of the same size can be a copy, so only such files are read twice.
            may_be_known = found.size in sizes or found.size in repeated
            digest = self._photos.hash(found, self._options.limits) if may_be_known else None
            if digest is not None and self._is_stored(digest):
                self._link(found, digest, found.mtime_ns, found.size)
                continue
            if digest is not None:
                if digest in self._in_flight:
                    self._in_flight[digest].append(found)
                    continue
                self._in_flight[digest] = []
            address = self._photos.address
            yield Request(os.path.join(address, found.path), key=(found, digest), root=address)

    def _is_stored(self, digest: str) -> bool:
        return digest in self._batch.contents or self._collection.knows(digest)

    def _settle(self, key: tuple[FoundFile, str | None], outcome: Answer | ImageError) -> None:
        found, expected = key
        copies = self._in_flight.pop(expected, []) if expected else []
        if isinstance(outcome, ImageError):
            for each in (found, *copies):
                self._reject(each, outcome)
            return
        self._report.decode_s += outcome.decode_s
        self._report.extract_s += outcome.extract_s
        digest = outcome.content_hash
        if self._is_stored(digest):
            self._link(found, digest, outcome.mtime_ns, outcome.num_bytes)
        else:
            extraction = outcome.extraction(digest)
            self._batch.contents[digest] = NewContent(
                digest, outcome.num_bytes, outcome.size, outcome.orientation, extraction
            )
            self._add(found, digest, outcome.mtime_ns, outcome.num_bytes)
        if digest == expected:  # else the file changed after its copies were compared with it: for the next run
            for copy in copies:
                self._link(copy, digest, copy.mtime_ns, copy.size)

    def _add(self, found: FoundFile, digest: str, mtime_ns: int, size: int) -> None:
        self._finish(CatalogueRow(found.path, size, mtime_ns, "indexed", content_hash=digest))

    def _link(self, found: FoundFile, digest: str, mtime_ns: int, size: int) -> None:
        self._report.copies += 1
        self._add(found, digest, mtime_ns, size)

    def _reject(self, found: FoundFile, error: ImageError) -> None:
        if error.code not in REASONS:
            raise ConfigError(f"unknown reason code {error.code!r}")
        self._skipped_now += 1
        self._finish(CatalogueRow(found.path, found.size, found.mtime_ns, "rejected", error.code, error.detail))

    def _finish(self, row: CatalogueRow) -> None:
        self._batch.rows.append(row)
        self._report.done += 1
        self._listener.advanced(self._report.done, self._total, self._skipped_now)
        if self._batch.is_due():
            self._save()

    def _save(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if batch.rows:
            moved = self._collection.commit(list(batch.contents.values()), batch.rows)
            self._report.moved += moved
            self._report.copies -= moved
            self._listener.saved(batch.rows)
