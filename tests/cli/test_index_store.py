"""`glocal index URL`: photos that lie in an object store."""

import io
import json
import shutil

import pytest
from PIL import Image

from glocal.cli.main import main
from glocal.errors import ConfigError
from glocal.photo_index import Index
from glocal.store.collection import Collection
from tests.conftest import save, texture

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'glocal[remote]'")

URL = "memory://bucket/photos"


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    for seed in range(4):
        store.pipe(f"/bucket/photos/{'ab'[seed % 2]}/{seed}.png", png(seed))
    yield store
    store.rm("/bucket", recursive=True)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "index"


def png(seed):
    out = io.BytesIO()
    Image.fromarray(texture(seed, 160, 120)).save(out, "png")
    return out.getvalue()


def rows_of(place):
    with Collection.open(place) as collection:
        return {row.path: (row.content_hash, row.status) for row in collection.catalogue()}


def test_the_index_of_a_store_is_that_of_the_same_photos_in_a_folder(memory, place, tmp_path, capsys):
    photos = tmp_path / "photos"
    for seed in range(4):
        path = photos / "ab"[seed % 2] / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed))
    assert main(["index", URL, "--index", str(place)]) == 0
    assert f"--index {place}" in capsys.readouterr().err
    assert main(["index", str(photos), "--index", str(tmp_path / "other")]) == 0
    assert rows_of(place) == rows_of(tmp_path / "other")
    with Collection.open(place) as there, Collection.open(tmp_path / "other") as here:
        assert (there.url, there.root) == (URL, None)
        names = [name for block in there.descriptors() for name in block.ids]
        assert there.vectors(names).tobytes() == here.vectors(names).tobytes()


def test_hits_are_named_and_drawn_from_the_store(memory, place, tmp_path, capsys):
    query = tmp_path / "query.png"
    query.write_bytes(png(2))
    assert main(["index", URL, "--index", str(place), "--labels", "folder", "-q"]) == 0
    capsys.readouterr()
    html = tmp_path / "report.html"
    assert main(["search", str(query), "--index", str(place), "--json", "--html", str(html)]) == 0
    best = json.loads(capsys.readouterr().out)["results"][0]
    assert (best["path"], best["label"]) == ("a/2.png", "a")
    assert "cannot be shown" not in html.read_text("utf-8")
    with Index.open(place) as index:
        hit = index.search(query)[0]
        assert hit.store_url == URL
        drawn = hit.plot(tmp_path / "why.png")
    with Image.open(drawn) as picture:
        assert picture.width > 160


def test_a_photo_that_has_gone_from_the_store_is_named_in_the_report(memory, place, tmp_path, capsys):
    query = tmp_path / "query.png"
    query.write_bytes(png(2))
    assert main(["index", URL, "--index", str(place), "-q"]) == 0
    memory.rm("/bucket/photos/a/2.png")
    html = tmp_path / "report.html"
    assert main(["search", str(query), "--index", str(place), "--html", str(html)]) == 0
    assert "a/2.png cannot be shown: no such file" in html.read_text("utf-8")


def test_a_second_run_reads_what_has_changed_alone(memory, place, capsys):
    assert main(["index", URL, "--index", str(place)]) == 0
    memory.pipe("/bucket/photos/a/new.png", png(9))
    memory.rm("/bucket/photos/b/1.png")
    capsys.readouterr()
    assert main(["index", URL, "--index", str(place)]) == 0
    said = capsys.readouterr().err
    assert "3 known · 1 new · 0 changed · 1 gone" in said
    assert rows_of(place)[b"b/1.png"][1] == "missing"


def test_two_equal_files_are_one_picture(memory, place):
    memory.pipe("/bucket/photos/copy.png", png(1))
    assert main(["index", URL, "--index", str(place), "-q"]) == 0
    rows = rows_of(place)
    assert rows[b"copy.png"] == rows[b"b/1.png"]


def test_labels_of_a_list_are_taken_by_names_in_the_store(memory, place, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\na/0.png,tower\n")
    assert main(["index", URL, "--index", str(place), "--labels", str(labels), "-q"]) == 0
    with Collection.open(place) as collection:
        assert (collection.label("a/0.png"), collection.label("a/2.png")) == ("tower", None)


def test_without_a_place_the_index_goes_to_the_users_data_folder(memory, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert main(["index", URL]) == 0
    assert "is in a store: its index goes to" in capsys.readouterr().err
    query = tmp_path / "query.png"
    query.write_bytes(png(3))
    monkeypatch.chdir(tmp_path)
    assert main(["search", str(query)]) == 0
    assert "b/3.png" in capsys.readouterr().out
    assert main(["info"]) == 0
    assert URL in capsys.readouterr().out


def test_an_index_belongs_to_one_place(memory, place, tmp_path, capsys):
    save(tmp_path / "photos" / "x.png", texture(7, 160, 120))
    assert main(["index", URL, "--index", str(place), "-q"]) == 0
    assert main(["index", str(tmp_path / "photos"), "--index", str(place)]) == 2
    assert f"belongs to {URL}" in capsys.readouterr().err
    shutil.rmtree(place)
    assert main(["index", str(tmp_path / "photos"), "--index", str(place), "-q"]) == 0
    with Index.open(place) as index, pytest.raises(ConfigError, match="belongs to"):
        index.add(URL)


def test_an_empty_store_is_no_success(place, capsys):
    fsspec.filesystem("memory").makedirs("/empty", exist_ok=True)
    assert main(["index", "memory://empty", "--index", str(place)]) == 3
    assert "Nothing to index: memory://empty has no pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "said"),
    [("nothing://x", "Protocol not known"), ("s3://me:secret@bucket", "holds a password"), ("memory://none", "listed")],
)
def test_a_url_that_cannot_be_read_is_refused_by_name(url, said, place, capsys):
    assert main(["index", url, "--index", str(place)]) in (2, 5)
    assert said in capsys.readouterr().err
