"""Rows of Milvus <-> what a collection gives and takes. Milvus keeps no bytes: names and features become ASCII."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import quote_from_bytes, unquote_to_bytes

from glocal.errors import StoreError
from glocal.store.codec import EncodedLocal
from glocal.store.milvus_link import Row
from glocal.store.milvus_schema import MAX_TEXT, NO_VECTOR
from glocal.store.rows import CatalogueRow, NewContent

CONTENT_FIELDS = (
    "hash", "searchable", "bytes", "width", "height", "orientation",
    "count", "step", "checksum", "geometry_bytes", "local_bytes",
)  # fmt: skip
PHOTO_FIELDS = ("path", "content", "bytes", "mtime_ns", "status", "reason", "detail")

_PART_BYTES = MAX_TEXT // 4 * 3  # base64 makes four signs of three bytes
_MAX_PARTS = 4096  # 200 MB of local features: a row that says more is damaged


def path_key(path: bytes) -> str:
    """A file name as a key: `a b.jpg` -> `a%20b.jpg`. No two names have one key.

    Raises:
        StoreError: the name is longer than Milvus keeps.
    """
    key = quote_from_bytes(path, safe="/")
    if len(key) > MAX_TEXT:
        raise StoreError(f"the name {key[:60]}… is too long for Milvus ({len(key):,} of {MAX_TEXT:,} bytes)")
    return key


def key_path(key: str) -> bytes:
    """The file name of a key."""
    return unquote_to_bytes(key)


def content_row(new: NewContent, local: EncodedLocal) -> Row:
    """The row of a new picture."""
    width, height = new.size
    return {
        "hash": new.content_hash,
        "searchable": True,
        "bytes": new.num_bytes,
        "width": width,
        "height": height,
        "orientation": new.orientation,
        "count": local.count,
        "step": local.step,
        "checksum": local.checksum,
        "geometry_bytes": len(local.geometry),
        "local_bytes": len(local.geometry) + len(local.descriptors),
        "vector": new.extraction.descriptor,
    }


def part_keys(content: Row) -> list[str]:
    """Keys of the parts in which the local features of a picture lie."""
    count = -(-int(content["local_bytes"]) // _PART_BYTES)
    if not 0 <= count <= _MAX_PARTS:
        raise StoreError(f"the index is damaged: {count} parts of '{content['hash']}' → index the folder again")
    return [f"{content['hash']}-{number:04d}" for number in range(count)]


def hash_of_part(key: str) -> str:
    """The picture that a part belongs to."""
    return key.partition("-")[0]


def local_rows(content: Row, local: EncodedLocal) -> list[Row]:
    """The rows of the local features of a picture."""
    data = local.geometry + local.descriptors
    return [
        {
            "part": key,
            "is_first": number == 0,
            "payload": base64.b64encode(data[number * _PART_BYTES : (number + 1) * _PART_BYTES]).decode("ascii"),
            "vector": NO_VECTOR,
        }
        for number, key in enumerate(part_keys(content))
    ]


def join_local(content: Row, payloads: Mapping[str, str]) -> EncodedLocal:
    """The local features of a picture from its parts; `decode_local` checks lengths and checksum.

    Args:
        content: its row.
        payloads: key of a part -> its text.

    Raises:
        StoreError: a part is missing or damaged.
    """
    try:
        data = b"".join(base64.b64decode(payloads[key], validate=True) for key in part_keys(content))
    except (KeyError, binascii.Error) as error:
        raise StoreError(
            f"the index is damaged: local features of '{content['hash']}' → index the folder again"
        ) from error
    split = int(content["geometry_bytes"])
    return EncodedLocal(
        int(content["count"]), float(content["step"]), data[split:], data[:split], int(content["checksum"])
    )


def photo_row(row: CatalogueRow) -> Row:
    """The row of a file."""
    return {
        "path": path_key(row.path),
        "content": row.content_hash or "",
        "bytes": row.size,
        "mtime_ns": row.mtime_ns,
        "status": row.status,
        "reason": row.reason or "",
        "detail": (row.detail or "").encode("utf-8", "replace")[:MAX_TEXT].decode("utf-8", "ignore"),
        "vector": NO_VECTOR,
    }


def catalogue_row(photo: Row) -> CatalogueRow:
    """A file as the catalogue tells it, but for what only the row of its picture knows: size and orientation."""
    return CatalogueRow(
        key_path(photo["path"]),
        int(photo["bytes"]),
        int(photo["mtime_ns"]),
        str(photo["status"]),
        photo["reason"] or None,
        photo["detail"] or None,
        photo["content"] or None,
    )
