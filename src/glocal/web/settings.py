"""What the service may be asked for, and by whom: every limit with its default."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from glocal.data.image import LIMITS, DecodeLimits
from glocal.errors import ConfigError

_MIB = 1 << 20
_MOST_SEARCHERS = 8


def _cores() -> int:
    return max(1, min(_MOST_SEARCHERS, len(os.sched_getaffinity(0))))


@dataclass(frozen=True, slots=True)
class Settings:
    """How the service runs.

    Attributes:
        host: address to listen on.
        port: TCP port.
        key: secret that every request must carry; None for loopback alone.
        allowed_hosts: further names that a Host header may have, without port.
        origins: web origins (`https://example.org`) that may ask from a browser.
        allow_dirs: folders of which `paths` may be added to an index that the service made.
        data_dir: where indexes that the service makes are kept; None if it makes none.
        runs: folders of evaluation runs for the Lab.
        max_body_bytes: largest request body.
        max_header_bytes: all headers of a request together.
        max_pixels: largest width times height of a picture.
        max_fields: most parts of a multipart body.
        max_field_bytes: largest part that is no file, and its headers.
        max_topk: most hits of a search, and the furthest page.
        max_candidates: most candidates of a re-ranking.
        max_json_depth: deepest nesting of a JSON body.
        body_deadline_s: a body has to be there after this time.
        decode_timeout_s: a decoder is killed after this time.
        request_deadline_s: a request is given up after this time, waiting included.
        buffered_bytes: bodies that are being received or worked on, all together.
        queue_length: searches that wait; one more is refused.
        num_searchers: searches at the same time.
        max_queries: queries that are remembered, so that they can be asked again.
        query_bytes: memory that they may take together.
        query_lifetime_s: how long they are remembered.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    key: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    allow_dirs: tuple[Path, ...] = ()
    data_dir: Path | None = None
    runs: tuple[Path, ...] = ()
    max_body_bytes: int = 32 * _MIB
    max_header_bytes: int = 64 << 10
    max_pixels: int = 89_478_485
    max_fields: int = 20
    max_field_bytes: int = 64 << 10
    max_topk: int = 1000
    max_candidates: int = 100
    max_json_depth: int = 32
    body_deadline_s: float = 30.0
    decode_timeout_s: float = 10.0
    request_deadline_s: float = 60.0
    buffered_bytes: int = 96 * _MIB
    queue_length: int = 32
    num_searchers: int = field(default_factory=_cores)
    max_queries: int = 200
    query_bytes: int = 128 * _MIB
    query_lifetime_s: float = 3600.0

    def __post_init__(self) -> None:
        if not self.is_loopback and not self.key:
            raise ConfigError(
                f"--host {self.host} lets the network see the photos, and there is no key. → --key SECRET, or "
                "--host 127.0.0.1"
            )
        if self.key is not None and (len(self.key) < 8 or not self.key.isascii() or not self.key.isprintable()):
            raise ConfigError("a key has 8 printable ASCII characters or more → glocal serve makes a good one itself")
        counts = (self.num_searchers, self.max_topk, self.max_body_bytes, self.max_fields, self.queue_length)
        if min(counts) < 1:
            raise ConfigError("num_searchers, max_topk, max_body_bytes, max_fields and queue_length are 1 or more")

    @property
    def is_loopback(self) -> bool:
        """Whether only this computer can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def decode_limits(self) -> DecodeLimits:
        """What a picture may cost; one that is sent has no more bytes than a body."""
        return DecodeLimits(max_bytes=max(LIMITS.max_bytes, self.max_body_bytes), max_pixels=self.max_pixels)
