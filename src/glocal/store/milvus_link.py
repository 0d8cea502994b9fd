"""The connection to a Milvus server: it waits while the server restarts, and says in words what went wrong.

Every write of glocal can be done twice without harm, so a call that failed half-way is simply made again.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from glocal.errors import BackendUnavailable, StoreError
from glocal.store.milvus_place import MilvusPlace

PATIENCE_S = 90.0
"""How long a call is tried again while the server is away: a restart, and the time that Milvus takes to load."""
CONNECT_S = 10.0
"""How long the first connection may take."""
PAGE = 8192
"""Most rows of one answer; Milvus gives 16384."""

_KEYS = 1024  # in one question
_WRITE_BYTES = 8 << 20  # of one write; Milvus takes 64 MiB
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 3.0
_REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "auth check failure", "permission deny")
# What no waiting mends: codes of Milvus (no such collection, field or index; wrong parameter) and of gRPC.
_LASTING_CODES = (100, 700, 701, *range(1100, 1200))
_LASTING = (*_REFUSED, "INVALID_ARGUMENT", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "cannot parse expression")

Row = dict[str, Any]
"""A row as pymilvus takes and gives it: field -> value."""
Freshness = dict[str, Any]
"""What a read must see: pymilvus' options for it."""
T = TypeVar("T")


def load_pymilvus() -> Any:
    """The module of Milvus' client.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        pymilvus = importlib.import_module("pymilvus")  # optional, untyped, and two seconds to import
    except ImportError as error:
        raise BackendUnavailable("an index in Milvus needs pymilvus → pip install 'glocal[milvus]'") from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints a traceback of each error that we handle
    return pymilvus


class MilvusLink:
    """Calls to one server.

    Every method raises `StoreError` if the server stays away, refuses us, or finds the call wrong.
    """

    def __init__(self, place: MilvusPlace, patience_s: float = PATIENCE_S) -> None:
        """Connect.

        Args:
            place: the server.
            patience_s: how long a call is tried again while the server is away.

        Raises:
            BackendUnavailable: pymilvus is not installed.
        """
        self.place = place
        self.pymilvus = load_pymilvus()
        self._patience_s = patience_s
        self._has_clock = True
        scheme = "https" if place.tls else "http"
        try:
            self._client = self.pymilvus.MilvusClient(
                f"{scheme}://{place.host}:{place.port}", token=place.token, timeout=CONNECT_S, dedicated=True
            )
        except Exception as error:  # pymilvus lets errors of gRPC pass beside its own
            raise self._explained(error) from error

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    # ------------------------------------------------------------------ calls
    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of pymilvus' `MilvusClient`."""
        return self._patiently(lambda left: getattr(self._client, method)(*arguments, timeout=left, **options))

    def _patiently(self, ask: Callable[[float], T]) -> T:
        """Ask, with the seconds that are left, until there is an answer."""
        deadline = time.monotonic() + self._patience_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return ask(max(1.0, deadline - time.monotonic()))
            except Exception as error:  # see above
                if not _may_pass(error) or time.monotonic() + pause > deadline:
                    raise self._explained(error) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _explained(self, error: Exception) -> StoreError:
        where, what = f"{self.place.host}:{self.place.port}", _words(error)[:300]
        if any(word in what for word in _REFUSED):
            return StoreError(
                f"Milvus at {where} refuses us ({what}) → name a user in the URL, or a token in GLOCAL_MILVUS_TOKEN"
            )
        if "nodes not enough" in what:
            return StoreError(
                f"Milvus at {where} has too few query nodes for so many replicas ({what}) → fewer replicas="
            )
        if _may_pass(error):
            return StoreError(f"cannot reach Milvus at {where} ({what}) → is it running? is this its gRPC port?")
        return StoreError(f"Milvus at {where} could not do what was asked: {what}")

    # ------------------------------------------------------------------ reading
    def fresh(self) -> Freshness:
        """Reads with this see everything that was written before now."""
        # MilvusClient has no method for the server's clock, its handler has. 0: it has none, as milvus-lite, which one
        # process writes and reads.
        if self._has_clock:
            now = self._patiently(lambda left: self._client._get_connection().alloc_timestamp(timeout=left))
            self._has_clock = bool(now)
        if not self._has_clock:
            return {"consistency_level": "Strong"}
        return {"consistency_level": "Customized", "guarantee_timestamp": now}

    def get(self, collection: str, keys: Iterable[str], fields: Sequence[str], freshness: Freshness) -> list[Row]:
        """The rows of some primary keys that there are, in any order."""
        wanted = list(dict.fromkeys(keys))
        rows: list[Row] = []
        for start in range(0, len(wanted), _KEYS):
            part = [expect_plain(key) for key in wanted[start : start + _KEYS]]
            rows += self.call("query", collection, ids=part, output_fields=list(fields), **freshness)
        return rows

    def query(self, collection: str, condition: str, fields: Sequence[str], freshness: Freshness) -> list[Row]:
        """The rows that meet a condition, in one answer; for few."""
        return list(self.call("query", collection, filter=condition, output_fields=list(fields), **freshness))

    def find(
        self, collection: str, field: str, values: Iterable[str], also: str, fields: Sequence[str], freshness: Freshness
    ) -> list[Row]:
        """The rows where a field has one of some values, and a further condition holds."""
        wanted = list(dict.fromkeys(values))
        rows: list[Row] = []
        for start in range(0, len(wanted), _KEYS):
            listed = ", ".join(f'"{expect_plain(value)}"' for value in wanted[start : start + _KEYS])
            rows += self.query(collection, f"{field} in [{listed}] and {also}", fields, freshness)
        return rows

    def count(self, collection: str, condition: str, freshness: Freshness) -> int:
        """How many rows meet a condition; an empty one is met by all."""
        answer = self.call("query", collection, filter=condition, output_fields=["count(*)"], **freshness)
        return int(answer[0]["count(*)"])

    def scan(self, collection: str, condition: str, fields: Sequence[str], page: int = PAGE) -> Iterator[Row]:
        """All rows that meet a condition and were written before now, ordered by primary key.

        Args:
            collection: which.
            condition: an expression of Milvus.
            fields: what is wanted of each.
            page: rows that are asked for at a time.
        """
        # Our collections are made with strong consistency: that is what an iterator begins with.
        pages = self.call("query_iterator", collection, batch_size=page, filter=condition, output_fields=list(fields))
        try:
            while rows := self._patiently(lambda _: pages.next()):
                yield from rows
        finally:
            pages.close()

    def search(
        self,
        collection: str,
        vectors: Any,
        limit: int,
        condition: str,
        fields: Sequence[str],
        how: Row,
        freshness: Freshness,
    ) -> list[list[Row]]:
        """The rows nearest to each of (N, D) vectors, as far as the index finds them."""
        found = self.call(
            "search",
            collection,
            data=list(vectors),
            anns_field="vector",
            limit=limit,
            filter=condition,
            output_fields=list(fields),
            search_params=how,
            **freshness,
        )
        return [[dict(hit["entity"]) for hit in hits] for hits in found]

    # ------------------------------------------------------------------ writing
    def upsert(self, collection: str, rows: Sequence[Row]) -> None:
        """Write rows, each instead of the one with its primary key."""
        batch: list[Row] = []
        size = 0
        for row in rows:
            length = sum(_size(value) for value in row.values())
            if batch and size + length > _WRITE_BYTES:
                self.call("upsert", collection, batch)
                batch, size = [], 0
            batch.append(row)
            size += length
        if batch:
            self.call("upsert", collection, batch)

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        """Delete the rows of some primary keys; those that are not there do not matter."""
        for start in range(0, len(keys), _KEYS):
            self.call("delete", collection, ids=list(keys[start : start + _KEYS]))

    def flush(self, collections: Iterable[str]) -> None:
        """Return when all that was written lies in the server's storage, not only in its log."""
        names = list(collections)
        if names:
            with ThreadPoolExecutor(len(names)) as pool:  # each takes seconds, whatever it holds
                list(pool.map(lambda name: self.call("flush", name), names))


def expect_plain(value: str) -> str:
    """A value that may stand between quotes in an expression of Milvus.

    Raises:
        StoreError: it holds a quote or a backslash, which our own values never do.
    """
    if not value.isascii() or not value.isprintable() or any(sign in value for sign in "\"'\\"):
        raise StoreError(f"{value[:100]!a} is no key of an index in Milvus")
    return value


def _size(value: object) -> int:
    return int(getattr(value, "nbytes", 0)) or (len(value) if isinstance(value, str) else 8)


def _words(error: BaseException) -> str:
    """What an error says; pymilvus hides what gRPC said behind "Fail connecting to server"."""
    code, details, message = (getattr(error, name, None) for name in ("code", "details", "message"))
    if callable(code) and callable(details):
        text = f"{getattr(code(), 'name', code())}: {details()}"
    elif type(error.__cause__).__module__.startswith("grpc"):
        text = _words(cast("BaseException", error.__cause__))
    else:
        text = message if isinstance(message, str) else str(error)
    return " ".join(text.split())


def _may_pass(error: Exception) -> bool:
    """Whether an error may be gone after a while: anything that is not our own fault."""
    kinds = (
        "ParamError",
        "SchemaNotReadyException",
        "DataNotMatchException",
        "PrimaryKeyException",
        "DataTypeNotMatchException",
    )
    if type(error).__name__ in kinds or getattr(error, "code", None) in _LASTING_CODES:
        return False
    if isinstance(error, TypeError | ValueError | AttributeError | KeyError):
        return False
    words = _words(error)
    return not any(word in words for word in _LASTING)
