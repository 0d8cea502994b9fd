"""Where an index in Milvus is: the parts of `milvus://HOST:PORT/NAME`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from glocal.errors import ConfigError

SCHEMES = ("milvus", "milvus+tls")
DEFAULT_PORT = 19530
INDEX_TYPES = ("FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8")
"""What both the server and milvus-lite build; the others differ between versions."""
CONSISTENCIES = ("strong", "bounded", "eventually")

_COUNTS = tuple(map(str, range(1, 65)))
_SHAPE = "milvus://HOST:PORT/NAME"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_MAX_URL = 2000


@dataclass(frozen=True, slots=True)
class MilvusPlace:
    """An index in Milvus. As text it is the URL without the secret.

    Attributes:
        host: name or IPv4 address of the server.
        port: its gRPC port.
        name: of the index; its Milvus collections are called NAME_contents, NAME_local, NAME_photos and NAME_meta.
        index_type: one of `INDEX_TYPES`; matters only when the index is made.
        consistency: "strong": a reader sees all that was written before it asked, and waits for that, a third of a
            second; "bounded": it may miss the last seconds; "eventually": it may miss more. A writer is always strong.
        shards: that descriptors, local features and photos are spread over, 1 to 64; matters only when the index is
            made. 0 leaves it to the server.
        replicas: copies that the server's query nodes hold, 1 to 64, each on nodes of its own; matters when the server
            loads the index. 0 leaves it to the server.
        tls: whether the connection is encrypted.
        token: "user:password" or an API key; empty for a server without authentication.
    """

    host: str
    port: int
    name: str
    index_type: str = "HNSW"
    consistency: str = "strong"
    shards: int = 0
    replicas: int = 0
    tls: bool = False
    token: str = field(default="", repr=False)

    def __str__(self) -> str:
        scheme = SCHEMES[1] if self.tls else SCHEMES[0]
        return f"{scheme}://{self.host}:{self.port}/{self.name}"

    def with_token(self, token: str) -> MilvusPlace:
        """The same place with another secret; an empty one changes nothing."""
        return replace(self, token=token) if token else self


def is_milvus_url(text: str) -> bool:
    """Whether a text is meant as the place of an index in Milvus."""
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def parse_milvus_url(text: str) -> MilvusPlace:
    """`milvus://[USER:PASSWORD@]HOST[:PORT]/NAME[?index=HNSW&consistency=strong&shards=2&replicas=2]` -> its parts.

    Raises:
        ConfigError: it is no such URL. The message never repeats a secret.
    """
    try:
        if len(text) > _MAX_URL or not text.isprintable():
            raise ValueError
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise ConfigError(f"this is no URL of an index in Milvus. → {_SHAPE}") from error
    if not is_milvus_url(text) or parts.fragment:
        raise ConfigError(f"this is no URL of an index in Milvus. → {_SHAPE}")
    host, name = parts.hostname or "", parts.path.removeprefix("/")
    if not _HOST.fullmatch(host):
        raise ConfigError(f'"{host}" is no host name or IPv4 address. → {_SHAPE}')
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f'"{name}" cannot be the name of an index in Milvus: letters, digits and _ only, no digit first, at most '
            f"200. → {_SHAPE}"
        )
    options = _options(parts.query)
    return MilvusPlace(
        host,
        port,
        name,
        options.get("index", "HNSW"),
        options.get("consistency", "strong"),
        int(options.get("shards", "0")),
        int(options.get("replicas", "0")),
        parts.scheme.lower() == SCHEMES[1],
        _token(parts),
    )


def _token(parts: SplitResult) -> str:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return f"{user}:{password}" if password else user


def _options(query: str) -> dict[str, str]:
    found = {}
    known = {"index": INDEX_TYPES, "consistency": CONSISTENCIES, "shards": _COUNTS, "replicas": _COUNTS}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise ConfigError(f'a URL of Milvus has no option "{key}". → {", ".join(known)}')
        if value not in known[key]:
            choices = "a number from 1 to 64" if known[key] is _COUNTS else f"one of {', '.join(known[key])}"
            raise ConfigError(f'{key}="{value}" is not {choices}')
        found[key] = value
    return found
