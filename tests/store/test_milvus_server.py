"""A real server of Milvus: how much its indexes find, and what is left of a load in whose middle it was killed."""

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from glocal.errors import StoreError
from glocal.index.exact import ExactIndex
from glocal.store.milvus_place import INDEX_TYPES, MilvusPlace
from glocal.store.rows import NewContent, RunSummary
from glocal.types import Descriptors, Extraction, LocalFeatures
from tests.store.test_collection import SPEC, content, row, unit_rows

pytest.importorskip("pymilvus", reason="needs pymilvus: pip install 'glocal[milvus]'")

from glocal.store.milvus import MilvusCollection

NUM, DIM = 5000, 64


def crowd(rng: np.random.Generator) -> tuple[Descriptors, Descriptors]:
    """Descriptors of 250 things, each seen some twenty times; and queries that show forty of them."""
    things = unit_rows(rng, 250, DIM)
    seen = things[rng.integers(0, 250, NUM)] + 0.7 * unit_rows(rng, NUM, DIM)
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    asked = seen[rng.integers(0, NUM, 40)] + 0.3 * unit_rows(rng, 40, DIM)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    ids = tuple(f"{number:032x}" for number in range(NUM))
    return Descriptors(ids, seen.astype(np.float32)), Descriptors(ids[:40], asked.astype(np.float32))


def fill(collection: MilvusCollection, descriptors: Descriptors) -> None:
    none = np.empty(0, np.float32)
    nothing = LocalFeatures("", (4, 4), np.empty((0, 2), np.float32), np.empty((0, 0), np.float32), none, none)
    run = collection.start_run()
    for start in range(0, NUM, 1250):
        part = range(start, start + 1250)
        pictures = [
            NewContent(descriptors.ids[i], 1000 + i, (4, 4), 1, Extraction(descriptors.vectors[i], nothing))
            for i in part
        ]
        collection.commit(pictures, [row(b"%d.jpg" % i, i) for i in part])
    collection.finish_run(run, RunSummary(NUM, NUM, 0, 0))


def use_index(collection: MilvusCollection) -> None:
    """Have the server search the index that it has built, not the vectors as they came."""
    table = collection._tables.contents
    until = time.monotonic() + 30
    while collection._link.call("describe_index", table, "vector").get("pending_index_rows"):
        assert time.monotonic() < until
        time.sleep(0.1)
    collection._link.call("release_collection", table)
    collection._link.call("load_collection", table)


@pytest.mark.slow
def test_every_index_type_finds_what_exact_search_finds(milvus_server):
    descriptors, queries = crowd(np.random.default_rng(0))
    expected = ExactIndex([descriptors]).search(queries, 100)
    spec = dataclasses.replace(SPEC, dim=DIM, local_dim=0, max_features=0)

    def found_by(index_type: str) -> list:
        place = MilvusPlace("127.0.0.1", milvus_server.port, f"recall_{index_type}", index_type)
        with MilvusCollection.create(place, spec) as collection:
            fill(collection, descriptors)
            use_index(collection)
        with MilvusCollection.open(place) as collection:
            assert collection.counts()["contents"] == NUM
            return collection.nearest(queries, 100)

    with ThreadPoolExecutor(len(INDEX_TYPES)) as pool:
        found = dict(zip(INDEX_TYPES, pool.map(found_by, INDEX_TYPES), strict=True))
    for index_type, shortlists in found.items():
        recall = np.mean([len(set(a.ids) & set(b.ids)) / 100 for a, b in zip(shortlists, expected, strict=True)])
        assert recall >= (1.0 if index_type == "FLAT" else 0.99), index_type
        for mine, exact in zip(shortlists, expected, strict=True):
            similarity = dict(zip(exact.ids, exact.similarities.tolist(), strict=True))
            common = [(mine.similarities[i], similarity[name]) for i, name in enumerate(mine.ids) if name in similarity]
            assert np.allclose(*zip(*common, strict=True), atol=1e-6)  # also for vectors of eight bits
    assert [a.ids for a in found["FLAT"]] == [b.ids for b in expected]


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_of_a_load_loses_and_doubles_nothing(milvus_server):
    total, batch = 3000, 200
    place = MilvusPlace("127.0.0.1", milvus_server.port, "killed", "FLAT", shards=2)
    acknowledged = threading.Event()
    with MilvusCollection.create(place, SPEC) as collection:

        def load() -> None:
            run = collection.start_run()
            for start in range(0, total, batch):
                part = range(start, start + batch)
                collection.commit([content(i) for i in part], [row(b"%d.jpg" % i, i) for i in part])
                if start >= total // 3:
                    acknowledged.set()
            collection.finish_run(run, RunSummary(total, total, 0, 0))

        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load)
            assert acknowledged.wait(60)
            milvus_server.kill()
            assert not loading.done()
            time.sleep(1)  # calls are tried again meanwhile
            milvus_server.start()
            loading.result(120)
    with MilvusCollection.open(place) as collection:
        assert collection.counts() == {"indexed": total, "rejected": 0, "missing": 0, "contents": total}
        assert [each.path for each in collection.catalogue()] == sorted(b"%d.jpg" % i for i in range(total))
        ids = [name for block in collection.descriptors() for name in block.ids]
        names = [f"{i:032x}" for i in range(total)]
        assert sorted(ids) == names
        for i, local in zip(range(0, total, 97), collection.local_features_many(names[::97]), strict=True):
            assert len(local) == 5
            assert collection.paths(names[i]) == [b"%d.jpg" % i]
        assert collection.last_run() == (True, RunSummary(total, total, 0, 0))
        shards = {t: collection._link.call("describe_collection", t)["num_shards"] for t in collection._tables.all}
        assert list(shards.values()) == [2, 2, 2, 1]


@pytest.mark.slow
def test_more_replicas_than_the_server_has_nodes_for_are_refused(milvus_server):
    place = MilvusPlace("127.0.0.1", milvus_server.port, "twice", "FLAT", replicas=2)
    with pytest.raises(StoreError, match="too few query nodes"):
        MilvusCollection.create(place, SPEC, patience_s=2)
