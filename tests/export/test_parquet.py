"""The Parquet table, read back with pyarrow."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from glocal.errors import BackendUnavailable, ConfigError, NothingToDo
from glocal.export import parquet
from glocal.export.parquet import export_parquet
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow
from tests.export.rows import collection_of
from tests.fakes import FakeNetwork

SPEC = FakeNetwork().spec
NAMES = [b"b/2 2.jpg", b"a/1.jpg", "ä/=3.jpg".encode()]


@pytest.fixture
def filled(tmp_path):
    """Three pictures of different sizes, a copy of one, a rejected and a missing file."""
    collection_of(tmp_path / "index", SPEC, [*NAMES, b"gone.jpg"], [(40, 30), (50, 60), (70, 80), (9, 9)]).close()
    with Collection.open(tmp_path / "index", writable=True) as collection:
        content = next(row.content_hash for row in collection.catalogue() if row.path == b"a/1.jpg")
        copy = CatalogueRow(b"c.jpg", 1000, 0, "indexed", content_hash=content)
        collection.commit([], [copy, CatalogueRow(b"bad.jpg", 1, 0, "rejected", "corrupt", "x")])
        collection.hide([b"gone.jpg"])
        collection.labels = "folder"
    with Collection.open(tmp_path / "index") as collection:
        yield collection


@pytest.mark.parametrize(("precision", "kind"), [("float16", pa.float16()), ("float32", pa.float32())])
def test_the_table_has_a_row_for_every_searchable_file(precision, kind, filled, tmp_path):
    place = tmp_path / "out/photos.parquet"
    report = export_parquet(filled, place, precision)
    assert (report.written, report.photos, report.copies) == ([place], 4, 1)
    assert (report.rejected, report.missing) == (1, 1)
    table = pq.read_table(place)
    assert table.schema.names == ["id", "path", "sha", "w", "h", "label", "global"]
    assert table.schema.field("global").type == pa.list_(kind, SPEC.dim)
    assert table["id"].to_pylist() == [0, 1, 2, 3]
    assert table["path"].to_pylist() == ["a/1.jpg", "b/2 2.jpg", "c.jpg", "ä/=3.jpg"]
    assert table["w"].to_pylist() == [50, 40, 50, 70]
    assert table["h"].to_pylist() == [60, 30, 60, 80]
    assert table["label"].to_pylist() == ["a", "b", None, "ä"]
    contents = table["sha"].to_pylist()
    assert contents == [row.content_hash for row in filled.catalogue("indexed")]
    assert contents[0] == contents[2]
    vectors = np.array(table["global"].to_pylist(), np.float64)
    np.testing.assert_allclose(vectors, filled.vectors(contents), atol=0 if precision == "float32" else 5e-4)
    assert json.loads(table.schema.metadata[b"glocal.extractor"])["model"] == "fake_net"


def test_row_groups_bound_what_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP", 4)
    ticks = []
    with collection_of(tmp_path / "index", SPEC, [b"%02d.jpg" % i for i in range(10)]) as collection:
        export_parquet(collection, tmp_path / "x.parquet", tick=lambda *news: ticks.append(news))
    file = pq.ParquetFile(tmp_path / "x.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4, 4, 2]
    assert file.read()["id"].to_pylist() == list(range(10))
    assert ticks == [("Photos", 4, 10), ("Photos", 8, 10), ("Photos", 10, 10)]


def test_names_that_are_no_text_are_refused_or_renamed_with_a_map(tmp_path):
    with collection_of(tmp_path / "index", SPEC, [b"\xe9t\xe9/x.jpg", b"a.jpg"]) as collection:
        collection.close()
    with Collection.open(tmp_path / "index", writable=True) as collection:
        collection.labels = "folder"
    with Collection.open(tmp_path / "index") as collection:
        with pytest.raises(NothingToDo, match=r"1 name is not UTF-8.*first: \\xe9t\\xe9/x\.jpg"):
            export_parquet(collection, tmp_path / "x.parquet")
        assert not (tmp_path / "x.parquet").exists()
        report = export_parquet(collection, tmp_path / "x.parquet", rename_map=tmp_path / "names.csv")
    assert report.written == [tmp_path / "names.csv", tmp_path / "x.parquet"]
    table = pq.read_table(tmp_path / "x.parquet")
    assert table["path"].to_pylist() == ["a.jpg", "_t_/x.jpg"]
    assert table["label"].to_pylist() == [None, "_t_"]
    assert (tmp_path / "names.csv").read_text() == "name,file\na.jpg,a.jpg\n_t_/x.jpg,\\xe9t\\xe9/x.jpg\n"


def test_a_table_that_is_there_is_kept_and_a_stopped_export_leaves_nothing(filled, tmp_path):
    def stop(*news):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_parquet(filled, tmp_path / "out/x.parquet", tick=stop)
    assert os.listdir(tmp_path / "out") == []
    (tmp_path / "out/x.parquet").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        export_parquet(filled, tmp_path / "out/x.parquet")
    assert export_parquet(filled, tmp_path / "out/x.parquet", force=True).photos == 4


def test_without_pyarrow_the_message_says_what_to_install(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"needs pyarrow → pip install 'glocal\[parquet\]'"):
        export_parquet(filled, tmp_path / "x.parquet")


def test_an_empty_index_is_nothing_to_do(tmp_path):
    with collection_of(tmp_path / "index", SPEC, []) as collection, pytest.raises(NothingToDo, match="is empty"):
        export_parquet(collection, tmp_path / "x.parquet")
