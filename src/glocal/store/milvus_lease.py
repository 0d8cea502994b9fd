"""One writer at a time on a server that has no locks: a row that says who writes, and until when.

It is advice among processes of glocal. Two that begin within the same moment may both believe that they have it; the
one that lost finds out when it renews, before it writes again, and nothing that both wrote by then is wrong or twice:
rows are named by their content, and written alike.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass
from typing import Any

from glocal.errors import StoreBusy
from glocal.store.milvus_link import MilvusLink
from glocal.store.milvus_schema import NO_VECTOR

LEASE_S = 120.0
"""How long a writer that was killed on another machine keeps others waiting."""
RENEW_S = 20.0
KEY = "meta:lease"


@dataclass(frozen=True, slots=True)
class _Holder:
    token: str
    host: str
    pid: int
    expires: float  # seconds since 1970

    @classmethod
    def read(cls, text: str) -> _Holder | None:
        try:
            fields: dict[str, Any] = json.loads(text)
            return cls(str(fields["token"]), str(fields["host"])[:64], int(fields["pid"]), float(fields["expires"]))
        except (ValueError, KeyError, TypeError):
            return None

    def is_active(self) -> bool:
        if self.expires < time.time():
            return False
        return self.host != socket.gethostname() or _is_alive(self.pid)


class WriterLease:
    """Held while a process writes an index."""

    def __init__(self, link: MilvusLink, meta: str) -> None:
        """Nothing is claimed yet.

        Args:
            link: the server.
            meta: the Milvus collection with the row.
        """
        self._link, self._meta = link, meta
        self._token = secrets.token_hex(8)
        self._renewed: float | None = None

    @property
    def is_held(self) -> bool:
        """Whether it was taken and not given back."""
        return self._renewed is not None

    def acquire(self) -> None:
        """Take the lease at once.

        Raises:
            StoreBusy: another process has it.
        """
        self._expect_ours_or_free()
        self._write(time.time() + LEASE_S)
        self._expect_ours_or_free()  # of two that write at once, the second one stays
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Before a write: make sure of the lease, if it was not done just now.

        Raises:
            StoreBusy: another process has taken it.
        """
        if self._renewed is None or time.monotonic() - self._renewed < RENEW_S:
            return
        self._expect_ours_or_free()
        self._write(time.time() + LEASE_S)
        self._renewed = time.monotonic()

    def release(self) -> None:
        """Give the lease back; harmless if it is not held."""
        if self._renewed is not None:
            self._renewed = None
            self._write(0.0)

    def _write(self, expires: float) -> None:
        holder = _Holder(self._token, socket.gethostname()[:64], os.getpid(), expires)
        self._link.upsert(self._meta, [{"key": KEY, "value": json.dumps(asdict(holder)), "vector": NO_VECTOR}])

    def _expect_ours_or_free(self) -> None:
        rows = self._link.get(self._meta, [KEY], ["value"], self._link.fresh())
        holder = _Holder.read(rows[0]["value"]) if rows else None
        if holder is not None and holder.token != self._token and holder.is_active():
            since = max(0.0, holder.expires - time.time())
            raise StoreBusy(
                f"This index is being written by process {holder.pid} on {ascii(holder.host)[1:-1]}. Searching still "
                f"works. → wait until it is done; if it was killed, {since:.0f} s"
            )


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
