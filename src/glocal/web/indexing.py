"""The child process of an indexing job: `python -m glocal.web.indexing`, one order on stdin, events on stdout.

It is a process of its own so that it can be killed, and so that it stands back where searches want the processor. What
it has saved stays, however it ends; the next job continues. It ends by itself when the service has gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glocal.cli.nearest import keep_nearest
from glocal.cli.places import TOKEN_VARIABLE
from glocal.cli.signals import Interruption
from glocal.data.formats import is_picture_name
from glocal.data.image import LIMITS, read_file
from glocal.errors import ImageError, RetrievalError, StoreError
from glocal.extract.run import IndexOptions, IndexReport, Listener
from glocal.photo_index import Index
from glocal.store.collection import Collection
from glocal.store.open import place_of
from glocal.store.rows import CatalogueRow
from glocal.store.scan import Changes, FolderScan, scan_folder
from glocal.web.photo_files import keep_photo

NICENESS = 10
"""A tenth of the weight that a search has."""
TELL_EVERY_S = 0.2
MAX_COPIED = 100_000


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to do.

    Attributes:
        place: of the index: a folder, or the URL of one in Milvus.
        root: the folder of photos.
        workers: processes that read photos.
        timeout_s: seconds per photo.
        max_pixels: largest photo.
        copied: files and folders whose pictures are copied into the folder before it is read.
        allowed: folders that these must really lie in.
        retry_rejected: try files again that were refused before.
        prune: forget files that are gone.
    """

    place: str
    root: str
    workers: int
    timeout_s: float
    max_pixels: int
    copied: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    retry_rejected: bool = False
    prune: bool = False

    def to_line(self) -> bytes:
        """One line of JSON; names that are not UTF-8 travel as lone surrogates."""
        return json.dumps(dataclasses.asdict(self)).encode("ascii") + b"\n"


class _Teller(Listener):
    """Events on stdout; stops after a signal, or when nobody listens any more."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._parent = os.getppid()
        self._last = 0.0

    def tell(self, event: str, **fields: object) -> None:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()

    def scanned(self, scan: FolderScan, changes: Changes, report: IndexReport) -> None:
        self.tell("progress", done=0, total=len(changes.new) + len(changes.changed), skipped=0)

    def advanced(self, done: int, total: int, skipped: int) -> None:
        now = time.monotonic()
        if done == total or now - self._last >= TELL_EVERY_S:
            self._last = now
            self.tell("progress", done=done, total=total, skipped=skipped)

    def saved(self, rows: list[CatalogueRow]) -> None:
        for row in rows:
            if row.reason is not None:
                self.tell("skipped", path=os.fsdecode(row.path), reason=row.reason)

    def should_stop(self) -> bool:
        return self._interruption.received is not None or os.getppid() != self._parent


def main() -> int:
    """Do what stdin says; returns 0 done, 1 failed, 143 or 130 stopped by a signal."""
    os.nice(NICENESS)
    with Interruption() as interruption:
        teller = _Teller(interruption)
        try:
            order = json.loads(sys.stdin.readline())
            order["copied"], order["allowed"] = tuple(order["copied"]), tuple(order["allowed"])
            _work(Order(**order), teller)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except RetrievalError as error:
            teller.tell("failed", kind=type(error).__name__, message=str(error))
            return 1
        except Exception as error:  # noqa: BLE001 - the outermost loop: the service has to hear of it
            teller.tell("failed", kind=type(error).__name__, message="")
            return 1
        return interruption.exit_code if interruption.received is not None else 0


def _work(order: Order, teller: _Teller) -> None:
    root = Path(order.root)
    if order.copied and not _copy(order, root, teller):
        return
    options = IndexOptions(
        workers=order.workers,
        timeout_s=order.timeout_s,
        limits=dataclasses.replace(LIMITS, max_pixels=order.max_pixels),
        retry_rejected=order.retry_rejected,
        prune=order.prune,
    )
    with Index.open(place_of(order.place, os.environ.get(TOKEN_VARIABLE, ""))) as index:
        report = index.add(root, options=options, listener=teller)
        if not report.stopped and isinstance(index.collection, Collection):
            keep_nearest(index.collection, lambda line: None, bar=False)
    if not report.stopped:
        teller.tell("finished", indexed=report.indexed, new=report.new, changed=report.changed, gone=report.gone)


def _copy(order: Order, root: Path, teller: _Teller) -> bool:
    """Copy pictures into the index's own folder, named by their content; False if it was stopped."""
    files = list(_pictures(order.copied, order.allowed))
    for done, file in enumerate(files, 1):
        try:
            keep_photo(root, read_file(file, LIMITS).data)
        except ImageError as error:
            teller.tell("skipped", path=os.fsdecode(os.path.basename(file)), reason=error.code)
        if teller.should_stop():
            return False
        teller.advanced(done, len(files), 0)
    return True


def _pictures(named: Sequence[str], allowed: Sequence[str]) -> Iterator[bytes]:
    """The files that are named, and the pictures of folders that are; all of them really in allowed folders."""
    count = 0
    for name in named:
        path = os.path.realpath(os.fsencode(name))
        if not is_allowed(path, allowed):
            raise StoreError("A path is outside the folders that --allow-dir names.")
        found = [path]
        if os.path.isdir(path):
            found = [os.path.join(path, each.path) for each in scan_folder(path).pictures if each.refusal is None]
        elif not is_picture_name(os.path.basename(path)):
            continue
        count += len(found)
        if count > MAX_COPIED:
            raise StoreError(f"More than {MAX_COPIED:,} pictures at once. → name fewer folders")
        yield from found


def is_allowed(path: bytes, allowed: Sequence[str]) -> bool:
    """Whether a real path is one of some folders or lies in one."""
    for folder in allowed:
        top = os.path.realpath(os.fsencode(folder))
        if path == top or path.startswith(os.path.join(top, b"")):
            return True
    return False


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
