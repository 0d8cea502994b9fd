"""Recent queries, to be asked again without another upload: in memory only, bounded, forgotten in time."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from glocal.search import Described, PictureBytes
from glocal.types import ExtractorSpec
from glocal.web.problems import Problem

PREFIX = "q_"


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """A query that was answered.

    Attributes:
        id: as addresses name it; nobody can guess it.
        index_id: the index that was asked.
        picture: the bytes that were sent.
        upright: whether it was described only as it is.
        described: its features, with size and box.
        spec: of the model that described it.
        born: when it was asked, by the monotonic clock.
        pictures: re-encoded versions that were made of it, by what they are.
    """

    id: str
    index_id: str
    picture: PictureBytes
    upright: bool
    described: Described
    spec: ExtractorSpec
    born: float
    pictures: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        arrays = [self.described.vectors]
        for local in self.described.local:
            arrays += [local.keypoints, local.descriptors, local.scores, local.scales]
        return len(self.picture.data) + sum(array.nbytes for array in arrays) + sum(map(len, self.pictures.values()))


class QueryStore:
    """Keeps the newest queries. All methods may be called by any thread.

    Args:
        max_queries: most that are kept.
        max_bytes: most memory that they take together.
        lifetime_s: how long one is kept.
    """

    def __init__(self, max_queries: int, max_bytes: int, lifetime_s: float) -> None:
        self._max_queries, self._max_bytes, self._lifetime_s = max_queries, max_bytes, lifetime_s
        self._records: OrderedDict[str, QueryRecord] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def put(
        self, index_id: str, picture: PictureBytes, upright: bool, described: Described, spec: ExtractorSpec
    ) -> QueryRecord:
        """Remember a query; the oldest ones are forgotten for it."""
        name = PREFIX + secrets.token_urlsafe(16)
        record = QueryRecord(name, index_id, picture, upright, described, spec, time.monotonic())
        with self._lock:
            self._records[name] = record
            self._forget()
        return record

    def get(self, query_id: str) -> QueryRecord:
        """A query by its id.

        Raises:
            Problem: `query_expired`.
        """
        with self._lock:
            self._forget()
            found = self._records.get(query_id)
            if found is not None:
                self._records.move_to_end(query_id)
        if found is None:
            raise Problem("query_expired", "This query is not remembered any more.", "search with the picture again")
        return found

    def complete(self, query_id: str, described: Described) -> None:
        """Remember more ways in which a query was described, if it is remembered at all."""
        with self._lock:
            if query_id in self._records:
                self._records[query_id] = replace(self._records[query_id], described=described)
                self._forget()

    def keep_picture(self, record: QueryRecord, key: str, data: bytes) -> None:
        """Remember a re-encoded version of a query's picture."""
        with self._lock:
            record.pictures[key] = data
            self._forget()

    def _forget(self) -> None:
        born_after = time.monotonic() - self._lifetime_s
        for name in [name for name, record in self._records.items() if record.born < born_after]:
            del self._records[name]
        held = sum(record.num_bytes for record in self._records.values())
        while self._records and (held > self._max_bytes or len(self._records) > self._max_queries):
            _, oldest = self._records.popitem(last=False)
            held -= oldest.num_bytes
