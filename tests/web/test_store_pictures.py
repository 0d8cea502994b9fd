"""Photos of an index that lie in an object store, over HTTP."""

import io
import os
import tempfile

import pytest
from PIL import Image

from glocal.cli.main import main
from glocal.data.image import DecodeLimits
from glocal.errors import ImageError
from tests.conftest import texture
from tests.web.served import Served, problem

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'glocal[remote]'")

URL = "memory://shown/photos"
CANARY = b"CANARY-48.8584N"


def png(seed, size=(400, 300)):
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = CANARY.decode()
    Image.fromarray(texture(seed, *size)).save(out, "png", exif=exif)
    return out.getvalue()


@pytest.fixture(scope="module")
def store():
    store = fsspec.filesystem("memory")
    for seed in range(3):
        store.pipe(f"/shown/photos/a/{seed}.png", png(seed))
    store.pipe("/shown/photos/copy.png", png(0))
    yield store
    store.rm("/shown", recursive=True)


@pytest.fixture(scope="module")
def place(store, tmp_path_factory):
    place = tmp_path_factory.mktemp("remote") / "index"
    assert main(["index", URL, "--index", str(place), "--model", "rootsift"]) == 0
    return place


@pytest.fixture(scope="module")
def served(place):
    with Served(place) as served:
        yield served.start()


@pytest.fixture(autouse=True)
def staging(tmp_path, monkeypatch):
    """The folder for temporary files: nothing may be left in it."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert os.listdir(folder) == []


def test_the_photos_of_a_store_are_shown(served):
    for name, image in served.ids("index").items():
        for path in (f"/v1/images/{image}", f"/v1/images/{image}/thumb?w=160"):
            answer = served.get(path)
            assert answer.status_code == 200, answer.text
            assert CANARY not in answer.content
        size = Image.open(io.BytesIO(answer.content)).size
        assert size == (160, 120), name
    problem(served.get(f"/v1/images/{'0' * 32}"), 404, "image_not_found")


def test_a_photo_of_a_store_is_asked_about_and_laid_over_the_query(served):
    image = served.ids("index")["a/1.png"]
    found = served.post("/v1/search", json={"image": {"id": image}})
    assert found.status_code == 200, found.text
    assert found.json()["results"][0]["id"] == image
    overlay = served.get(f"/v1/images/{image}/overlay?query={found.json()['query']['id']}")
    assert Image.open(io.BytesIO(overlay.content)).size == (400, 300)
    pair = served.post("/v1/match", json={"first": {"id": image}, "second": {"id": image}}).json()
    assert pair["verdict"] == "same"


def test_a_photo_that_changed_or_went_in_its_store_is_not_shown(served, store):
    image = served.ids("index")["a/2.png"]
    before = store.cat("/shown/photos/a/2.png")
    try:
        store.pipe("/shown/photos/a/2.png", png(7))
        problem(served.get(f"/v1/images/{image}/thumb?w=640"), 409, "image_changed")
        store.rm("/shown/photos/a/2.png")
        told = problem(served.get(f"/v1/images/{image}/thumb?w=640"), 410, "image_gone")
        assert "memory" not in str(told)
        problem(served.post("/v1/search", json={"image": {"id": image}}), 404, "image_not_found")
    finally:
        store.pipe("/shown/photos/a/2.png", before)


def test_a_store_that_cannot_be_asked_is_a_problem_without_its_address(served, monkeypatch):
    image = served.ids("index")["a/0.png"]

    def broken(*_, **__):
        raise ImportError("Install s3fs")

    monkeypatch.setattr("fsspec.core.url_to_fs", broken)
    told = problem(served.get(f"/v1/images/{image}/thumb?w=1280"), 410, "image_gone")
    assert "shown" not in str(told)
    told = problem(served.post("/v1/search", json={"image": {"id": image}}), 404, "image_not_found")
    assert "shown" not in str(told)


def test_a_photo_with_too_many_bytes_is_not_fetched(served, monkeypatch):
    found = served.service.library.get(None).find(served.ids("index")["a/0.png"])
    size = len(found.read())
    assert len(found.read(DecodeLimits(max_bytes=size))) == size
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", None)
    with pytest.raises(ImageError) as refused:
        found.read(DecodeLimits(max_bytes=size - 1))
    assert refused.value.code == "too_large_file"
