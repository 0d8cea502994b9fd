"""What a collection says about the index file beside it: no other file is ever handed to FAISS.

The statement is a row of the database's `meta`, committed after the file is durable under its own name. Beside it
stands the watermark: the highest content number that the file covers and that cannot have been given away again. SQLite
gives a number again only once all above it are deleted, so a trigger lowers the watermark to the highest number that is
left. What lies above the watermark is searched one by one; below it a number means the picture that it meant when the
file was written, or none. The trigger is part of the statement: without it there is no trust.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from glocal.errors import StoreError
from glocal.index.choice import Setting
from glocal.store.collection import Collection
from glocal.types import ExtractorSpec

FORMAT = 1
NAME = re.compile(r"nearest\.[0-9a-f]{8}\.faiss")
_KEY = "nearest"
_COVERS = "nearest_covers"
_MAX_TEXT = 4096
_LEFT = "(SELECT COALESCE(MAX(id), 0) FROM contents)"
_TRIGGER = (
    f"CREATE TRIGGER {_COVERS} AFTER DELETE ON contents BEGIN"
    f" UPDATE meta SET value = {_LEFT} WHERE key = '{_COVERS}' AND value > {_LEFT}; END"
)


@dataclass(frozen=True, slots=True)
class Voucher:
    """An index file, and how to search it.

    Attributes:
        format: of this statement and of the file.
        file: its name beside the database.
        num_bytes: its size.
        crc32: of its bytes.
        spec: SHA-256 of the extractor's spec.
        num: descriptors in it.
        factory: what FAISS calls its type.
        faiss: version that wrote it.
        num_lists: inverted lists.
        nprobe: lists that are read for a query that asks for 100.
        widen: see `Setting`.
        refine: see `Setting`.
        recall_10: share of the 10 most similar that it finds, over the probes.
        recall_100: likewise of the 100.
        num_probes: descriptors of the collection that were looked for, each without itself.
        seconds: that it took to make.
    """

    format: int
    file: str
    num_bytes: int
    crc32: int
    spec: str
    num: int
    factory: str
    faiss: str
    num_lists: int
    nprobe: int
    widen: float
    refine: int
    recall_10: float
    recall_100: float
    num_probes: int
    seconds: float

    @property
    def setting(self) -> Setting:
        """How far a search looks."""
        return Setting(self.widen, self.refine)

    def to_json(self) -> str:
        """As an object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: bytes) -> Voucher:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is anything else.
        """
        if len(text) > _MAX_TEXT:
            raise ValueError("it is too long")
        found: Any = json.loads(text)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError("it is of another format")
        types = {"int": int, "float": float, "str": str}
        wrong = [f.name for f in fields(cls) if type(found.get(f.name)) is not types[str(f.type)]]
        if wrong or len(found) != len(fields(cls)):
            raise ValueError(f"its fields are wrong: {', '.join(wrong) or 'there are others'}")
        voucher = cls(**found)
        sane = (
            NAME.fullmatch(voucher.file)
            and all(0 < n < 1 << 48 for n in (voucher.num_bytes, voucher.num, voucher.num_lists))
            and 0 < voucher.nprobe <= voucher.num_lists
            and 1 <= voucher.widen <= 1000
            and 0 <= voucher.refine <= 1000
            and all(0 <= share <= 1 for share in (voucher.recall_10, voucher.recall_100))
            and math.isfinite(voucher.seconds)
        )
        if not sane:
            raise ValueError("a number or the name in it is out of range")
        return voucher


def digest_of(spec: ExtractorSpec) -> str:
    """SHA-256 of a spec, hexadecimal."""
    return hashlib.sha256(spec.to_json().encode()).hexdigest()


def has_voucher(collection: Collection) -> bool:
    """Whether the collection says anything, true or not."""
    query = "SELECT 1 FROM meta WHERE key IN (?, ?)"
    return collection.database.execute(query, (_KEY, _COVERS)).fetchone() is not None


def read_voucher(collection: Collection) -> tuple[Voucher, int] | None:
    """What the collection says, and the watermark; None if no index file belongs to it.

    Raises:
        StoreError: it cannot be made out, or is about another model's descriptors.
    """
    db = collection.database
    meta = dict(db.execute("SELECT key, value FROM meta WHERE key IN (?, ?)", (_KEY, _COVERS)).fetchall())
    if not meta:
        return None
    trigger = db.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?", (_COVERS,)).fetchone()
    said, covers = meta.get(_KEY), meta.get(_COVERS)
    if type(said) is not bytes or type(covers) is not int or trigger is None or trigger[0] != _TRIGGER:
        raise StoreError("what the database says about it is incomplete")
    try:
        voucher = Voucher.from_json(said)
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"what the database says about it is damaged: {error}") from error
    if voucher.spec != digest_of(collection.spec):
        raise StoreError("it was made of another model's descriptors")
    return voucher, covers


def write_voucher(collection: Collection, voucher: Voucher, covers: int) -> None:
    """Vouch for a file that is durable; durable when this returns.

    Args:
        collection: open for writing, and not written to since the file was begun.
        voucher: about the file.
        covers: highest content number in it.
    """
    with collection.writing():
        db = collection.database
        db.execute(f"DROP TRIGGER IF EXISTS {_COVERS}")
        db.execute(_TRIGGER)
        rows = [(_KEY, voucher.to_json().encode()), (_COVERS, covers)]
        db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)


def drop_voucher(collection: Collection) -> None:
    """Vouch for no file any more."""
    with collection.writing():
        db = collection.database
        db.execute(f"DROP TRIGGER IF EXISTS {_COVERS}")
        db.execute("DELETE FROM meta WHERE key IN (?, ?)", (_KEY, _COVERS))
