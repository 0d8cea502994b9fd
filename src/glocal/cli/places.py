"""Where an index lies if nobody says so."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from glocal.errors import ConfigError, StoreError
from glocal.home import data_home
from glocal.store.collection import Collection
from glocal.store.milvus_place import MilvusPlace, parse_milvus_url

INDEX_NAME = ".glocal"
STORE_HELP = "an index that is kept in Milvus: milvus://HOST:PORT/NAME, see docs/scale.md"
TOKEN_VARIABLE = "GLOCAL_MILVUS_TOKEN"
"""Environment variable with "user:password" or an API key: whoever lists processes sees a secret in a URL."""


def place_for(photos: Path | str) -> Path:
    """Where the index of a folder goes: `.glocal` in it, or the user's data folder if it is read-only or a URL."""
    if isinstance(photos, str):
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", photos.partition("://")[2]).strip("-.")[-60:] or "photos"
        return data_home() / f"{name}-{hashlib.blake2b(photos.rstrip('/').encode(), digest_size=6).hexdigest()}"
    inside = photos / INDEX_NAME
    if inside.exists() or os.access(photos, os.W_OK):
        return inside
    digest = hashlib.blake2b(os.fsencode(photos.resolve()), digest_size=6).hexdigest()
    return data_home() / f"{photos.resolve().name}-{digest}"


def server_place(url: str, index: str | None) -> MilvusPlace:
    """The place that --store names.

    Args:
        url: what it says.
        index: what --index says; not both.

    Raises:
        ConfigError: the URL makes no sense, or both were given.
    """
    if index is not None:
        raise ConfigError("an index is kept in a folder or in Milvus → --index DIR   or   --store URL, not both")
    return parse_milvus_url(url).with_token(os.environ.get(TOKEN_VARIABLE, ""))


def remember(directory: Path) -> None:
    """Make an index the one that is searched from anywhere; not being able to is no harm."""
    try:
        data_home().mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = data_home() / f"default.{os.getpid()}.tmp"
        temporary.write_bytes(os.fsencode(directory.resolve()))
        temporary.replace(data_home() / "default")
    except OSError:
        pass


def find_index(given: str | None, *near: Path) -> Path:
    """The index to search: the one given, the nearest `.glocal` up from some places, or the last one made.

    Raises:
        StoreError: there is none.
        ConfigError: the one given does not exist.
    """
    if given is not None:
        for place in (Path(given), Path(given) / INDEX_NAME):
            if Collection.exists(place):
                return place
        if not Path(given).is_dir():
            raise ConfigError(f"No such folder: {given}")
        raise StoreError(f"There is no index in {given}. → glocal index {given}")
    for start in near:
        for folder in (start.resolve(), *start.resolve().parents):
            if Collection.exists(folder / INDEX_NAME):
                return folder / INDEX_NAME
    try:
        last = Path(os.fsdecode((data_home() / "default").read_bytes()))
    except OSError:
        last = None
    if last is not None and Collection.exists(last):
        return last
    raise StoreError("There is no index here, nor in the folders above. → glocal index PHOTOS")
