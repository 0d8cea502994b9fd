"""One writer at a time, by `flock`: the kernel frees the lock with its process, however that ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType

from glocal.errors import StoreBusy

LOCK_NAME = "writer.lock"


class WriterLock:
    """Held while a process writes a collection; the file says who holds it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock at once.

        Raises:
            StoreBusy: another process has it; the message names that process.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise StoreBusy(
                f"This index is being written by {holder}. Searching still works. "
                "→ wait until it is done, or stop that process"
            ) from error
        us: dict[str, object] = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%H:%M")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(us).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # closing the descriptor frees the lock
            self._descriptor = None

    def __enter__(self) -> WriterLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _read_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(holder['pid'])} on {str(holder['host'])[:64]} (since {str(holder['since'])[:8]})"
    except (ValueError, KeyError, TypeError, OSError):
        return "another process"
