"""What there is in Milvus that nothing refers to: replaced pictures, and the remains of loads that were killed."""

from __future__ import annotations

from dataclasses import dataclass, field

from glocal.store.milvus_link import MilvusLink, Row
from glocal.store.milvus_rows import hash_of_part
from glocal.store.milvus_schema import Tables


@dataclass(slots=True)
class Remains:
    """What is to be mended.

    Attributes:
        unused: rows of pictures that no file has.
        to_show: pictures that should be searchable and are not.
        to_hide: pictures that should not, and are.
        parts: keys of parts of pictures that have no row.
    """

    unused: list[Row] = field(default_factory=list)
    to_show: list[str] = field(default_factory=list)
    to_hide: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)


def find_remains(link: MilvusLink, tables: Tables) -> Remains:
    """Compare files, pictures and parts. Reads the keys of all, and holds those of the pictures."""
    shown: dict[str, bool] = {}
    for row in link.scan(tables.photos, 'content != ""', ["content", "status"]):
        shown[row["content"]] = shown.get(row["content"], False) or row["status"] == "indexed"
    remains = Remains()
    known = set()
    for row in link.scan(tables.contents, 'hash != ""', ["hash", "searchable", "local_bytes"]):
        name = row["hash"]
        known.add(name)
        if name not in shown:
            remains.unused.append(row)
        elif row["searchable"] != shown[name]:
            (remains.to_show if shown[name] else remains.to_hide).append(name)
    for row in link.scan(tables.local, "is_first == true", ["part"]):
        if hash_of_part(row["part"]) not in known:
            mine = f'part like "{hash_of_part(row["part"])}-%"'
            remains.parts += [part["part"] for part in link.scan(tables.local, mine, ["part"])]
    return remains
