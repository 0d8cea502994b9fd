"""The FAISS index and its table of rows, read back with faiss and compared with exact search."""

import csv
import os
import struct

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest

from glocal.errors import BackendUnavailable, ConfigError
from glocal.export import faiss_index
from glocal.export.faiss_index import export_faiss
from glocal.index.exact import ExactIndex
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow
from glocal.types import Descriptors
from tests.export.rows import collection_of
from tests.fakes import FakeNetwork

SPEC = FakeNetwork().spec
NAMES = [b"%03d.jpg" % (i * 7 % 100) for i in range(100)]


@pytest.fixture
def filled(tmp_path):
    """A hundred pictures and an exact copy of the last by name."""
    collection_of(tmp_path / "index", SPEC, NAMES).close()
    with Collection.open(tmp_path / "index", writable=True) as collection:
        content = next(row.content_hash for row in collection.catalogue() if row.path == b"099.jpg")
        collection.commit([], [CatalogueRow(b"zz/copy, of.jpg", 1000, 0, "indexed", content_hash=content)])
    with Collection.open(tmp_path / "index") as collection:
        yield collection


def check(collection, folder, ids):
    """The index answers as exact search does, through its table of rows."""
    index = faiss.read_index(str(folder / "index.faiss"))
    assert (index.ntotal, index.d, index.metric_type) == (100, SPEC.dim, faiss.METRIC_INNER_PRODUCT)
    assert [row[0] for row in ids] == list(range(100))
    assert [row[1] for row in ids] == [f"{i:03}.jpg" for i in range(100)]  # of copies the first
    rng = np.random.default_rng(5)
    queries = rng.normal(size=(20, SPEC.dim)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    similarities, rows = index.search(queries, 10)
    exact = ExactIndex(collection.descriptors()).search(Descriptors(tuple("abcdefghijklmnopqrst"), queries), 10)
    for shortlist, values, labels in zip(exact, similarities, rows, strict=True):
        assert [ids[label][2] for label in labels] == list(shortlist.ids)
        np.testing.assert_allclose(values, shortlist.similarities, atol=1e-6)


def test_faiss_finds_the_same_ten_as_exact_search(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(faiss_index, "BLOCK", 32)
    report = export_faiss(filled, tmp_path / "out")
    assert [place.name for place in report.written] == ["ids.parquet", "index.faiss"]
    assert (report.photos, report.copies) == (100, 1)
    table = pq.read_table(tmp_path / "out/ids.parquet")
    assert table.schema.names == ["id", "path", "sha"]
    check(filled, tmp_path / "out", list(zip(*(table[name].to_pylist() for name in table.schema.names), strict=True)))


def test_without_pyarrow_the_rows_are_in_a_csv(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(faiss_index, "is_installed", lambda: False)
    export_faiss(filled, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["ids.csv", "index.faiss"]
    with (tmp_path / "out/ids.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "path", "sha"]
    check(filled, tmp_path / "out", [(int(number), path, content) for number, path, content in rows])


def test_the_index_is_of_the_plainest_type(filled, tmp_path):
    export_faiss(filled, tmp_path / "out")
    data = (tmp_path / "out/index.faiss").read_bytes()
    assert data[:4] == b"IxFI"
    assert struct.unpack_from("<iq", data, 4) == (SPEC.dim, 100)
    in_order = filled.vectors([row.content_hash for row in filled.catalogue("indexed")][:100])
    np.testing.assert_array_equal(np.frombuffer(data[-4 * SPEC.dim * 100 :], "<f4").reshape(100, -1), in_order)


def test_paths_that_spreadsheets_would_run_are_escaped(tmp_path, monkeypatch):
    monkeypatch.setattr(faiss_index, "is_installed", lambda: False)
    with collection_of(tmp_path / "index", SPEC, [b"=1+1.jpg", b"\xff.jpg"]) as collection:
        export_faiss(collection, tmp_path / "out", rename_map=tmp_path / "names.csv")
    lines = (tmp_path / "out/ids.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["path", "'=1+1.jpg", "_.jpg"]
    assert (tmp_path / "names.csv").read_text().splitlines()[2] == "_.jpg,\\xff.jpg"


def test_a_missing_package_and_an_index_that_is_there_are_told(filled, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/index.faiss").write_text("mine")
    with pytest.raises(ConfigError, match=r"index\.faiss exists already"):
        export_faiss(filled, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["index.faiss"]
    assert export_faiss(filled, tmp_path / "out", force=True).photos == 100
    monkeypatch.setattr(faiss_index.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"needs faiss → pip install 'glocal\[faiss\]'"):
        export_faiss(filled, tmp_path / "out")
