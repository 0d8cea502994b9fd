"""The four Milvus collections of an index: their fields, and how they are made and opened.

NAME_contents   one row per different picture: its descriptor, and how its local features are encoded
NAME_local      the bytes of local features, in parts
NAME_photos     one row per file name
NAME_meta       what the index says of itself, and labels from a list
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from glocal.store.milvus_link import MilvusLink, Row

MAX_TEXT = 65535
"""Bytes of the longest text that Milvus keeps."""
NO_VECTOR = [0.0, 0.0]
"""Every collection of Milvus must have a vector: that of rows which have none."""

_TEXT, _KEY = {"max_length": MAX_TEXT}, {"max_length": 64}
_SHARDS = 1  # of small collections; the others get what the server's default is
# The quality of the approximate types: recall of the first 100 is measured in tests/store/test_milvus_server.py.
_BUILD: dict[str, Row] = {
    "FLAT": {},
    "HNSW": {"M": 32, "efConstruction": 256},
    "IVF_FLAT": {"nlist": 1024},
    "IVF_SQ8": {"nlist": 1024},
}
_EF_PER_HIT, _LEAST_EF, _MOST_EF = 6, 800, 32768
_PROBES = 640


@dataclass(frozen=True, slots=True)
class Tables:
    """Names of the collections of one index."""

    name: str

    @property
    def contents(self) -> str:
        """Different pictures."""
        return f"{self.name}_contents"

    @property
    def local(self) -> str:
        """Their local features."""
        return f"{self.name}_local"

    @property
    def photos(self) -> str:
        """File names."""
        return f"{self.name}_photos"

    @property
    def meta(self) -> str:
        """What the index says of itself; written last when it is made."""
        return f"{self.name}_meta"

    @property
    def all(self) -> tuple[str, str, str, str]:
        """All of them, in the order in which they are made."""
        return self.contents, self.local, self.photos, self.meta


def create_tables(link: MilvusLink, tables: Tables, dim: int) -> None:
    """Make those collections that are not there yet, and load them.

    Args:
        link: the server; its place names the type of the descriptors' index, shards and replicas.
        tables: their names.
        dim: length of a descriptor.
    """
    kinds = link.pymilvus.DataType
    text, whole, truth = kinds.VARCHAR, kinds.INT64, kinds.BOOL
    fields: dict[str, dict[str, tuple[Any, Row]]] = {
        tables.contents: {
            "hash": (text, _KEY),
            "searchable": (truth, {}),  # whether a file has this content; may be true too long, never false too long
            "bytes": (whole, {}),
            "width": (whole, {}),
            "height": (whole, {}),
            "orientation": (whole, {}),
            "count": (whole, {}),  # of local features
            "step": (kinds.DOUBLE, {}),
            "checksum": (whole, {}),
            "geometry_bytes": (whole, {}),
            "local_bytes": (whole, {}),
        },
        tables.local: {"part": (text, _KEY), "is_first": (truth, {}), "payload": (text, _TEXT)},
        tables.photos: {
            "path": (text, _TEXT),
            "content": (text, _KEY),
            "bytes": (whole, {}),
            "mtime_ns": (whole, {}),
            "status": (text, _KEY),
            "reason": (text, _KEY),
            "detail": (text, _TEXT),
        },
        tables.meta: {"key": (text, _TEXT), "value": (text, _TEXT)},
    }

    def make(collection: str) -> None:
        has_descriptors = collection == tables.contents
        if not link.call("has_collection", collection):
            schema = link.pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
            for number, (field, (kind, options)) in enumerate(fields[collection].items()):
                schema.add_field(field, kind, is_primary=number == 0, **options)
            schema.add_field("vector", kinds.FLOAT_VECTOR, dim=dim if has_descriptors else len(NO_VECTOR))
            count = _SHARDS if collection == tables.meta else link.place.shards
            shards = {"num_shards": count} if count else {}
            link.call("create_collection", collection, schema=schema, consistency_level="Strong", **shards)
        if not link.call("list_indexes", collection):
            kind = link.place.index_type if has_descriptors else "FLAT"
            indexes = link.pymilvus.MilvusClient.prepare_index_params()
            indexes.add_index("vector", index_type=kind, metric_type="IP", params=_BUILD[kind])
            link.call("create_index", collection, indexes, sync=False)  # there is nothing to build yet
        _load(link, collection)

    with ThreadPoolExecutor(len(tables.all)) as pool:  # each waits seconds for the server
        list(pool.map(make, tables.all))


def tables_exist(link: MilvusLink, tables: Tables) -> bool:
    """Whether all collections are there (the making of an index can be interrupted)."""
    return all(link.call("has_collection", collection) for collection in tables.all)


def load_tables(link: MilvusLink, tables: Tables) -> None:
    """Have the server hold the collections ready for reading; at once if it does."""
    with ThreadPoolExecutor(len(tables.all)) as pool:
        list(pool.map(lambda collection: _load(link, collection), tables.all))


def _load(link: MilvusLink, collection: str) -> None:
    replicas = {"replica_number": link.place.replicas} if link.place.replicas else {}
    link.call("load_collection", collection, **replicas)


def index_type_of(link: MilvusLink, tables: Tables) -> str:
    """What kind of index the descriptors have."""
    return str(link.call("describe_index", tables.contents, "vector")["index_type"])


def search_parameters(index_type: str, limit: int) -> Row:
    """How exactly an index is searched for so many neighbours."""
    if index_type == "HNSW":
        ef = min(max(_LEAST_EF, _EF_PER_HIT * limit), _MOST_EF)
        return {"metric_type": "IP", "params": {"ef": max(ef, limit)}}
    if index_type.startswith("IVF"):
        return {"metric_type": "IP", "params": {"nprobe": _PROBES}}
    return {"metric_type": "IP", "params": {}}
