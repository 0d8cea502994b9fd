"""A collection as one file to carry elsewhere, and back.

A bundle is an SQLite file with the tables of a collection, one version of it, and a manifest in its meta: counts and a
SHA-256 over all rows. There is no archive around it, so none that could write outside its folder. It tells no place:
neither that of the weights nor the folder of the photos, unless the index lies in that. What is imported is copied row
by row into a collection made here; nothing that a stranger's file says is believed before it was checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glocal import __version__
from glocal.errors import ConfigError, RetrievalError, StoreError
from glocal.store.collection import Collection
from glocal.store.copying import new_collection
from glocal.store.drafts import draft_beside, expect_free, move_into_place
from glocal.store.relocation import look_for
from glocal.store.schema import FORMAT, open_database
from glocal.store.sources import KEPT, Source, reading
from glocal.store.transactions import explained
from glocal.types import Descriptors

MANIFEST = "bundle"
"""Key of the manifest in meta."""
BUNDLE_FORMAT = 1
_ROWS = {
    "meta": f"SELECT key, value FROM meta WHERE key <> '{MANIFEST}' ORDER BY key",
    "photos": "SELECT path, content, bytes, mtime_ns, status, reason, detail FROM photos ORDER BY path",
    "contents": "SELECT id, hash, bytes, width, height, orientation FROM contents ORDER BY id",
    "descriptors": "SELECT content, vector FROM descriptors ORDER BY content",
    "local_features": "SELECT content, count, step, checksum, geometry, descriptors"
    " FROM local_features ORDER BY content",
    "labels": "SELECT path, label FROM labels ORDER BY path",
}
_STEPS = 100_000
"""SQLite's instructions between two looks at whether the user wants to stop."""
_BATCH = 256
_HINT = "name a file that glocal index export wrote"


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What was written or read.

    Attributes:
        counts: as `Collection.counts`.
        num_bytes: size of the bundle.
        sha256: over all rows, hexadecimal.
        model: that made the collection.
        root: the folder of the photos; None where they are not at hand.
    """

    counts: dict[str, int]
    num_bytes: int
    sha256: str
    model: str
    root: Path | None = None


# ---------------------------------------------------------------------- out
def export_bundle(directory: Path, file: Path) -> BundleReport:
    """Write a collection into one file, while others read and write it.

    Args:
        directory: the collection.
        file: where the bundle goes; free.

    Raises:
        StoreError: there is no such collection, it is damaged, or there is something at `file`.
        StoreBusy: another process is writing this file.
        DiskFull: no space is left; nothing half-written stays.
    """
    if os.path.lexists(file):
        raise StoreError(f"There is something at {file} already → name a new file, or move that away")
    with ExitStack() as stack:
        reader = stack.enter_context(contextlib.closing(open_database(directory, writable=False)))
        copy = stack.enter_context(draft_beside(file)) / "bundle"
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with explained(directory), _stoppable(reader):
            reader.execute("PRAGMA query_only = OFF")  # it would forbid to write the copy
            reader.execute("VACUUM INTO ?", (copy.as_uri(),))
        report = _seal(copy, directory)
        _sync(copy)
        move_into_place(copy, file)
    return report


def _seal(copy: Path, directory: Path) -> BundleReport:
    """Take the places out of a copy of a database, and write its manifest into it."""
    connection = sqlite3.connect(f"{copy.as_uri()}?mode=rw", uri=True, isolation_level=None)
    with contextlib.closing(connection), explained(directory), _stoppable(connection):
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("DELETE FROM meta WHERE key = 'root' AND value <> X'2E2E'")  # ".." stays true elsewhere
        connection.execute("DELETE FROM meta WHERE key = 'model_source' AND substr(value, 1, 1) = X'2F'")
        connection.execute(f"DELETE FROM meta WHERE key NOT IN ({', '.join('?' * len(KEPT))})", KEPT)
        source = Source(directory, connection)
        counts, sha256 = source.collection.counts(), digest_of(source)
        manifest = {
            "format": BUNDLE_FORMAT,
            "glocal": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "counts": counts,
            "sha256": sha256,
        }
        connection.execute("INSERT INTO meta VALUES (?, ?)", (MANIFEST, json.dumps(manifest).encode()))
        connection.execute("COMMIT")
    return BundleReport(counts, copy.stat().st_size, sha256, source.collection.spec.model)


def digest_of(source: Source) -> str:
    """SHA-256 over all rows of a collection, hexadecimal; of what they hold, not of how SQLite lays them out."""
    digest = hashlib.sha256(f"format {source.format}\n".encode())
    tables = {name for (name,) in source.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, query in _ROWS.items():
        if table not in tables:
            continue
        digest.update(f"table {table}\n".encode())
        for row in source.connection.execute(query):
            for value in row:
                digest.update(_as_bytes(value))
    return digest.hexdigest()


def _as_bytes(value: Any) -> bytes:
    """A value with its type and length, so that no two rows read alike."""
    if isinstance(value, float):
        return b"f" + struct.pack("<d", value)
    if value is None or isinstance(value, int):
        return f"i{value};".encode()
    data, kind = (value.encode(), b"t") if isinstance(value, str) else (bytes(value), b"b")
    return b"%b%d:%b" % (kind, len(data), data)


# ---------------------------------------------------------------------- in
def import_bundle(file: Path, into: Path, photos: Path | None = None) -> BundleReport:
    """Make a collection of a bundle.

    Args:
        file: the bundle; not changed.
        into: directory of the new collection; free.
        photos: the folder of its photos. None: the folder of `into`, if the index lay in that of its photos and they
            are there; otherwise the collection has none, and can be searched without.

    Raises:
        StoreError: there is no such bundle, it is damaged or of a newer format, or there is something at `into`.
        ConfigError: the photos are not in that folder.
        DiskFull: no space is left; nothing half-written stays.
    """
    expect_free(into)
    with ExitStack() as stack:
        source, manifest = stack.enter_context(_opened(file))
        with _stoppable(source.connection):
            _expect_whole(source, manifest)
            root = _folder_of(source, into, photos)
            draft = stack.enter_context(draft_beside(into))
            with new_collection(draft, source) as new:
                new.take(source, lambda path: path)
                counts = new.finish(root)
            _expect_sound(draft, source)
        move_into_place(draft, into)
    return BundleReport(counts, file.stat().st_size, manifest["sha256"], source.collection.spec.model, root)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Source, dict[str, Any]]]:
    try:
        is_file = stat.S_ISREG(os.stat(file).st_mode)
    except OSError as error:
        raise StoreError(
            f"cannot read {file}: {error.strerror} → name a file that glocal index export wrote"
        ) from error
    if not is_file:
        raise StoreError(f"{file} is no regular file → name a file that glocal index export wrote")
    # immutable: a journal that lies beside a stranger's file is not applied to it.
    connection = sqlite3.connect(
        f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
            connection.execute(f"PRAGMA {pragma}")
        with reading(file):
            yield _read_head(file, connection)
    finally:
        connection.close()


def _read_head(file: Path, connection: sqlite3.Connection) -> tuple[Source, dict[str, Any]]:
    """What a bundle says of itself.

    Raises:
        StoreError: it is none, or of a newer format.
    """
    no_bundle = StoreError(f"{file} is no bundle → {_HINT}")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        row = connection.execute(
            "SELECT value FROM meta WHERE key = ? AND typeof(value) = 'blob' AND length(value) < 65536", (MANIFEST,)
        ).fetchone()
        manifest = json.loads(row[0]) if row else None
    except (sqlite3.Error, ValueError, RecursionError) as error:
        raise no_bundle from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise no_bundle
    if version > FORMAT or manifest["format"] > BUNDLE_FORMAT:
        raise StoreError(f"{file} was written by a newer glocal → pip install --upgrade glocal")
    return Source(file, connection), manifest


def _expect_whole(source: Source, manifest: dict[str, Any]) -> None:
    """Make sure that a bundle arrived as it was written."""
    found = source.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise source.damaged(str(found)[:200])
    if digest_of(source) != manifest.get("sha256"):
        raise source.damaged("its rows are not those that were written (SHA-256)")


def _folder_of(source: Source, into: Path, photos: Path | None) -> Path | None:
    """The folder of the photos, if they are there."""
    if photos is None:
        beside = into.absolute().parent
        lay_inside = source.collection.root == source.place.resolve().parent
        return beside if lay_inside and look_for(source.collection, beside).is_enough else None
    presence = look_for(source.collection, photos)
    if not presence.is_enough:
        raise ConfigError(
            f"{photos} has {presence.found:,} of {presence.sampled:,} pictures that were looked for → name the folder "
            "that holds them, or none: the index can be searched without"
        )
    return photos


def _expect_sound(directory: Path, source: Source) -> None:
    """Read all that was copied as a search would, and refuse what no photo can have given."""
    with Collection.open(directory) as collection, explained(directory):
        hashes = sorted({row.content_hash for row in collection.catalogue() if row.content_hash is not None})
        for start in range(0, len(hashes), _BATCH):
            some = hashes[start : start + _BATCH]
            try:
                Descriptors(tuple(some), collection.vectors(some))
                collection.local_features_many(some)
            except RetrievalError as error:
                raise source.damaged(str(error)) from error
    connection = open_database(directory, writable=False)
    with contextlib.closing(connection), explained(directory):
        odd = connection.execute(
            "SELECT 'a picture of ' || width || ' by ' || height FROM contents WHERE length(hash) <> 16 OR bytes < 0"
            " OR width NOT BETWEEN 1 AND 1000000000 OR height NOT BETWEEN 1 AND 1000000000"
            " OR orientation NOT BETWEEN 1 AND 8"
            " UNION ALL SELECT 'a photo of ' || bytes || ' bytes' FROM photos WHERE bytes < 0"
            " OR length(path) > 65536 OR length(reason) > 100 OR length(detail) > 10000 LIMIT 1"
        ).fetchone()
    if odd is not None:
        raise source.damaged(f"{odd[0]} makes no sense")


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _stoppable(connection: sqlite3.Connection) -> Iterator[None]:
    """Let Ctrl-C end a statement that takes long: signals are handled between SQLite's instructions, not only after."""
    connection.set_progress_handler(lambda: 0, _STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if "interrupt" in str(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        with contextlib.suppress(sqlite3.ProgrammingError):  # closed
            connection.set_progress_handler(None, _STEPS)
