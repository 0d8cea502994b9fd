"""What `/metrics` tells (Prometheus): times, counts and sizes, never a name, an address or a query."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

SEARCH_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Telemetry:
    """The service's measures, in a registry of their own.

    Labels have few values that we choose: names of routes, of indexes and of problems, never what a client sent.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._search = Histogram(
            "glocal_search_seconds",
            "Seconds from the query's bytes to the answer.",
            ("index", "kind"),
            buckets=SEARCH_BUCKETS_S,
            registry=self.registry,
        )
        self._requests = Counter(
            "glocal_requests_total",
            "Answered requests by route and status.",
            ("route", "status"),
            registry=self.registry,
        )
        self._rejected = Counter(
            "glocal_rejected_total", "Refused requests by the code of their problem.", ("code",), registry=self.registry
        )
        self._images = Gauge("glocal_index_images", "Searchable files of an index.", ("index",), registry=self.registry)
        self._ready = Gauge("glocal_ready", "1 if searches are answered.", registry=self.registry)
        self._queue = Gauge("glocal_queue_length", "Searches that wait.", registry=self.registry)
        self._running = Gauge("glocal_searches_running", "Searches that are worked on.", registry=self.registry)
        self._jobs = Gauge("glocal_jobs", "Indexing jobs by state.", ("state",), registry=self.registry)

    def searched(self, index: str, seconds: float, kind: str = "search") -> None:
        """A search, match, recognition ... was answered."""
        self._search.labels(index, kind).observe(seconds)

    def answered(self, route: str, status: int) -> None:
        """A request was answered; `route` is the path's pattern, not the path."""
        self._requests.labels(route, str(status)).inc()

    def rejected(self, code: str) -> None:
        """A request was refused."""
        self._rejected.labels(code).inc()

    def watch(self, queue_length: Callable[[], float], running: Callable[[], float] | None = None) -> None:
        """Ask for the length of the queue, and for what runs, whenever the measures are read."""
        self._queue.set_function(queue_length)
        if running is not None:
            self._running.set_function(running)

    def set_images(self, index: str, count: int) -> None:
        """How many files of an index are searchable."""
        self._images.labels(index).set(count)

    def set_ready(self, is_ready: bool) -> None:
        """Whether searches are answered."""
        self._ready.set(1 if is_ready else 0)

    def set_jobs(self, by_state: dict[str, int]) -> None:
        """How many jobs are in which state."""
        for state, count in by_state.items():
            self._jobs.labels(state).set(count)

    def text(self) -> bytes:
        """All measures in Prometheus' text format."""
        return generate_latest(self.registry)
