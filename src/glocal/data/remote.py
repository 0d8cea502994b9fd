"""Photos in an object store, or in anything else that fsspec reads: what is there, and the bytes of one of them.

A folder is named by its URL: `s3://bucket/prefix`, `gs://…`, `abfs://…`, `file:///…`, `zip://::/data/photos.zip`. The
names and sizes that a store gives are no more trusted than those of a folder: nothing is read beyond the limit, and no
name becomes the name of a local file.
"""

from __future__ import annotations

import calendar
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from glocal.data.image import LIMITS, DecodeLimits, FileBytes, hash_content
from glocal.errors import BackendUnavailable, ConfigError, ImageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_PASSWORD = re.compile(r"://[^/@]*:[^/@]*@")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created", "date_time")
_ETAGS = ("ETag", "etag", "md5Hash", "content_md5", "CRC")
_SECOND_NS = 1_000_000_000


def is_url(place: str) -> bool:
    """Whether a place is named by a URL, and not by a path."""
    return _URL.match(place) is not None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a store.

    Attributes:
        path: relative to the folder, parts separated by "/", UTF-8.
        size: bytes.
        mtime_ns: modification time in nanoseconds. Stores keep whole seconds: what is below a second comes from the
            entity tag, where there is one, so that the number changes whenever the content does.
    """

    path: bytes
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Listing:
    """All files of a folder.

    Attributes:
        files: ordered by path.
        unlisted: folders in it that could not be listed, with the reason.
    """

    files: list[RemoteFile] = field(default_factory=list)
    unlisted: list[tuple[bytes, str]] = field(default_factory=list)


class RemoteFolder:
    """A folder that is named by a URL.

    Attributes:
        url: as it was given, without the slash at its end.
    """

    def __init__(self, url: str) -> None:
        """Find out who reads such a URL; the store is not asked yet.

        Raises:
            ConfigError: nobody reads such a URL, or it holds a password.
            BackendUnavailable: fsspec, or its package for this kind of store, is not installed.
        """
        if _PASSWORD.search(url):
            raise ConfigError(
                "The URL holds a password, and an index remembers its URL. → put it where the store's own tools look "
                "for it (environment, ~/.aws, …)"
            )
        self.url = url[:-1] if url.endswith("/") and not url.endswith("//") else url
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - optional
        except ImportError as error:
            raise BackendUnavailable(f"{url} needs fsspec → pip install 'glocal[remote]'") from error
        try:
            # Listings are not cached: a second look must see what has changed.
            self._fs, root = url_to_fs(self.url, use_listings_cache=False, skip_instance_cache=True)
        except ImportError as error:
            raise BackendUnavailable(f"{url}: {error} → pip install it beside glocal") from error
        except ValueError as error:
            raise ConfigError(f"{url}: {error}") from error
        except OSError as error:
            raise ConfigError(f"{url} cannot be opened: {_reason(error)}") from error
        self._root: str = root.rstrip("/")

    def list_files(self) -> Listing:
        """All files in the folder and below it; links are not followed, hidden folders not entered.

        Raises:
            ConfigError: the folder itself cannot be listed.
        """
        listing = Listing()
        pending = [""]
        while pending:
            directory = pending.pop()
            full = self._full(directory)
            try:
                entries = self._fs.ls(full, detail=True)
            except Exception as error:
                if not directory:
                    raise ConfigError(f"{self.url} cannot be listed: {_reason(error)}") from error
                listing.unlisted.append((os.fsencode(directory), _reason(error)))
                continue
            for entry in entries:
                path = str(entry["name"]).removeprefix(self._root).strip("/")
                name = path.rpartition("/")[2]
                if path == directory or not name or entry.get("islink"):
                    continue  # stores list a folder's own marker among what is in it
                if entry["type"] == "file":
                    size = int(entry.get("size") or 0)
                    listing.files.append(RemoteFile(os.fsencode(path), size, _changed(entry)))
                elif entry["type"] == "directory" and not name.startswith("."):
                    pending.append(path)
        listing.files.sort(key=lambda file: file.path)
        return listing

    def read(self, path: bytes, limits: DecodeLimits = LIMITS) -> FileBytes:
        """Read one file whole. One whose size changes meanwhile is read once more.

        Args:
            path: relative to the folder, as `list_files` gives it.
            limits: how large it may be.

        Raises:
            ImageError: `empty`, `too_large_file`, `not_regular_file` or `unreadable`.
        """
        full = self._full(os.fsdecode(path))
        for _ in range(2):
            try:
                info = self._fs.info(full)
                size = int(info.get("size") or 0)
                if info["type"] != "file" or info.get("islink"):
                    raise ImageError("not_regular_file")
                if size > limits.max_bytes:
                    found, limit = size / 2**20, limits.max_bytes / 2**20
                    raise ImageError("too_large_file", f"{found:,.0f} MiB; the limit is {limit:,.0f} MiB")
                data = bytes(self._fs.cat_file(full, start=0, end=limits.max_bytes + 1)) if size else b""
            except ImageError:
                raise
            except Exception as error:
                raise ImageError("unreadable", _reason(error)) from error
            if not data and not size:
                raise ImageError("empty")
            if len(data) == size:
                return FileBytes(data, hash_content(data), _changed(info))
        raise ImageError("unreadable", "it changed while it was read; run the same command again")

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path and self._root else path or self._root


def _changed(info: Mapping[str, Any]) -> int:
    """A number that changes whenever the file does: see `RemoteFile.mtime_ns`."""
    moment = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    etag = next((info[name] for name in _ETAGS if info.get(name) is not None), None)
    time_ns = _nanoseconds(moment)
    if etag is None or time_ns % _SECOND_NS:
        return time_ns
    digest = hashlib.blake2b(str(etag).encode(), digest_size=8).digest()
    return time_ns + int.from_bytes(digest, "big") % _SECOND_NS


def _nanoseconds(moment: object) -> int:
    """The time that a store gives, in one of the many forms in which they do; 0 for none."""
    try:
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        if isinstance(moment, tuple):
            return calendar.timegm((*moment, 0, 0, 0)) * _SECOND_NS
        if isinstance(moment, datetime):
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return calendar.timegm(aware.utctimetuple()) * _SECOND_NS + aware.microsecond * 1000
        # The same time may be told as a float of seconds once, which is no nearer than a microsecond.
        return round(moment * 1_000_000) * 1000 if isinstance(moment, int | float) else 0
    except (ValueError, OverflowError):
        return 0


def _reason(error: Exception) -> str:
    """One line without the store's own words, which may hold a key or a signed address."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text = error.strerror if isinstance(error, OSError) else None
    return (text or type(error).__name__).lower()
