"""One indexing job: what it is to do, how far it is, how it is told."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from glocal import errors
from glocal.errors import ImageError, RetrievalError
from glocal.progress import RATE_WINDOW_S
from glocal.web.indexing import Order
from glocal.web.problems import Problem, problem_of

MAX_LISTED = 100
"""Skipped files that a job names; all of them are counted."""
AGAIN = "update the index again: what was saved is kept"


@dataclass(slots=True)
class Job:
    """One run of the indexer.

    Attributes:
        id: "j_" and random letters.
        index: id of the index.
        kind: "update" or "add".
        state: "queued", "running", "done", "failed" or "stopped".
        done: photos that were read.
        total: photos to be read; 0 while that is not known.
        skipped: path and reason of the first `MAX_LISTED` files that were refused.
        num_skipped: how many were refused.
        indexed: searchable files at the end; None before.
        error: why it failed.
        num_changes: grows with each change of the above.
    """

    id: str
    index: str
    kind: str
    order: Order = field(repr=False)
    state: str = "queued"
    done: int = 0
    total: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    num_skipped: int = 0
    indexed: int | None = None
    error: Problem | None = None
    num_changes: int = 0
    is_unwanted: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    times: deque[tuple[float, int]] = field(default_factory=deque, repr=False)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "stopped")

    def rate(self) -> float | None:
        """Photos per second over the last half minute; None while nobody knows."""
        if self.state != "running" or len(self.times) < 2:
            return None
        (start, before), (end, now) = self.times[0], self.times[-1]
        return (now - before) / (end - start) if end > start and now > before else None

    def to_json(self) -> dict[str, Any]:
        """As it is told over HTTP."""
        rate = self.rate()
        return {
            "job": self.id,
            "index": self.index,
            "kind": self.kind,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "skipped": list(self.skipped),
            "num_skipped": self.num_skipped,
            "indexed": self.indexed,
            "rate": None if rate is None else round(rate, 2),
            "eta_s": None if rate is None else round((self.total - self.done) / rate, 1),
            "error": None if self.error is None else self.error.body(""),
        }

    def hear(self, event: dict[str, Any]) -> None:
        """Note what the process tells, see `glocal.web.indexing`."""
        self.num_changes += 1
        match event["event"]:
            case "progress":
                self._advance(event["done"], event["total"], event["skipped"])
            case "skipped":
                if len(self.skipped) < MAX_LISTED:
                    name = os.fsencode(event["path"]).decode("utf-8", "replace")
                    self.skipped.append({"path": name, "reason": event["reason"]})
                self.num_skipped = max(self.num_skipped, len(self.skipped))
            case "finished":
                self.indexed = event["indexed"]
            case "failed":
                self.error = problem_of(_error_of(event["kind"], event["message"]))

    def end(self, state: str, error: Problem | None = None) -> None:
        """Note that nothing more will happen."""
        self.state, self.error = state, error
        self.times.clear()
        self.num_changes += 1

    def _advance(self, done: int, total: int, skipped: int) -> None:
        self.done, self.total = done, total
        self.num_skipped = max(self.num_skipped, skipped)
        now = time.monotonic()
        if self.times and done < self.times[-1][1]:
            self.times.clear()  # copying is over, reading begins
        self.times.append((now, done))
        while now - self.times[0][0] > RATE_WINDOW_S:
            self.times.popleft()


def _error_of(kind: str, message: str) -> Exception:
    """The error that the process met, by the name of its class."""
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, RetrievalError) and not issubclass(found, ImageError):
        return found(message)
    return Problem("internal_error", f"Indexing ended with {kind[:80]}.", AGAIN)
