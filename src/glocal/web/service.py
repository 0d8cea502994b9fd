"""Everything that a request handler may need, in one place."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glocal.web.engine import Engine
from glocal.web.library import Library
from glocal.web.queries import QueryStore
from glocal.web.settings import Settings

if TYPE_CHECKING:
    from glocal.web.jobs import Jobs
    from glocal.web.pictures import Pictures
    from glocal.web.telemetry import Telemetry

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Service:
    """The parts of a running service. Made by `glocal.web.api.create_app`.

    Attributes:
        settings: limits and addresses.
        library: the served indexes.
        engine: runs searches, bounded.
        queries: recent queries, in memory only.
        jobs: index updates that run beside.
        pictures: thumbnails and re-encoded pictures.
        telemetry: counters for /metrics.
        draining: the service is about to end: what was begun is answered, nothing new is taken.
    """

    settings: Settings
    library: Library
    engine: Engine
    queries: QueryStore
    jobs: Jobs
    pictures: Pictures
    telemetry: Telemetry
    draining: bool = field(default=False)

    @classmethod
    def build(cls, library: Library, settings: Settings) -> Service:
        """Make all parts; nothing is started yet."""
        from glocal.web.jobs import Jobs  # noqa: PLC0415 - they name Service in their signatures
        from glocal.web.pictures import Pictures  # noqa: PLC0415
        from glocal.web.telemetry import Telemetry  # noqa: PLC0415

        return cls(
            settings,
            library,
            Engine(library, settings),
            QueryStore(settings.max_queries, settings.query_bytes, settings.query_lifetime_s),
            Jobs(library, settings),
            Pictures(limits=settings.decode_limits, timeout_s=settings.decode_timeout_s),
            Telemetry(),
        )

    def start(self) -> None:
        """Begin to load models and to ask every index a question about itself; returns at once."""
        self.engine.start()

    def drain(self) -> None:
        """To be called at SIGTERM: requests in flight are answered, readiness goes, new ones are refused."""
        self.draining = True

    @property
    def not_ready(self) -> str | None:
        """Why the service is not ready, in words; None if it is."""
        if self.draining:
            return "the service is shutting down"
        return self.library.not_ready

    def close(self) -> None:
        """End threads, worker processes and jobs; work that was saved stays."""
        self.drain()
        for part in (self.jobs, self.engine, self.pictures, self.library):
            try:
                part.close()
            except Exception:  # noqa: BLE001 - the others have to be closed all the same
                _LOG.exception("%s did not end well", type(part).__name__)
