"""The indexes and their photos over HTTP: what is listed, sent, deleted; and what is refused."""

import os
import stat
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from glocal.data.image import hash_content
from glocal.store.collection import Collection
from glocal.store.schema import DATABASE_NAME
from tests.conftest import save, texture
from tests.web.served import Served, make_index, problem


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    """A folder with `photos`: six pictures in two folders, a copy of one, and their index."""
    top = tmp_path_factory.mktemp("library")
    for seed in range(6):
        save(top / f"photos/{'ab'[seed % 2]}/{seed}.jpg", texture(seed), quality=90)
    (top / "photos/copy of 0.jpg").write_bytes((top / "photos/a/0.jpg").read_bytes())
    make_index(top / "photos", labels="folder")
    return top


@pytest.fixture(scope="module")
def folder(top):
    return top / "photos"


@pytest.fixture(scope="module")
def served(top, folder):
    with Served(folder / ".glocal", data_dir=top / "data", allow_dirs=(folder,)) as served:
        yield served


@pytest.fixture
def own(served, top):
    """An empty index that the service has made: its id is `own.id`, its photos lie in `own.photos`."""
    own = SimpleNamespace(id=f"mine{len(served.service.library.indexes)}", get=served.get, post=served.post)
    own.ask, own.finish, own.path = served.ask, served.finish, f"/v1/indexes/{own.id}"
    own.ids = lambda: served.ids(own.id)
    own.photos = top / f"data/indexes/{own.id}/photos"
    assert served.post("/v1/indexes", json={"id": own.id, "model": "rootsift"}).status_code == 201
    return own


def jpeg(folder, seed: int) -> bytes:
    return save(folder / f"sent/{seed}.jpg", texture(seed)).read_bytes()


def test_an_index_tells_what_it_holds(served):
    (index,) = served.get("/v1/indexes").json()["indexes"]
    assert index["id"] == "photos"
    assert index["counts"] == {"indexed": 7, "missing": 0, "rejected": 0}
    assert index["size"] == 6  # one is an exact copy
    assert index["labels"] == 6  # the copy lies in no folder
    assert index["model"] == "rootsift"
    assert index["model_hash"].startswith("sha256:")
    assert len(index["model_hash"]) == 7 + 64
    assert index["managed"] is False
    assert index["job"] is None
    assert served.get("/v1/indexes/photos").json() == index
    problem(served.get("/v1/indexes/other"), 404, "index_not_found")
    problem(served.get("/v1/indexes/a.b"), 400, "invalid_params")


def test_photos_are_listed_by_name_page_by_page(served, folder):
    page = served.get("/v1/indexes/photos/images?limit=3&offset=2").json()
    assert [each["name"] for each in page["images"]] == ["a/4.jpg", "b/1.jpg", "b/3.jpg"]
    assert page["total"] == 7
    first = page["images"][0]
    assert first["id"] == hash_content((folder / "a/4.jpg").read_bytes())
    assert (first["width"], first["height"], first["label"]) == (320, 240, "a")
    under = served.get("/v1/indexes/photos/images?prefix=b/&limit=2").json()
    assert [each["name"] for each in under["images"]] == ["b/1.jpg", "b/3.jpg"]
    assert under["total"] == 3
    assert served.get("/v1/indexes/photos/images?offset=50").json() == {"images": [], "total": 7}
    assert served.get("/v1/indexes/photos/images?prefix=b/&offset=50").json() == {"images": [], "total": 3}
    problem(served.get("/v1/indexes/photos/images?limit=1001"), 400, "invalid_params")


def test_refused_files_are_listed_with_their_reasons(photos):
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("hello")
    with Served(make_index(photos)) as served:
        found = served.get("/v1/indexes/photos/skipped").json()
        assert found["total"] == 2
        assert [(each["path"], each["reason"]) for each in found["skipped"]] == [
            ("empty.jpg", "empty"),
            ("text.png", "not_an_image"),
        ]
        assert served.get("/v1/indexes/photos/skipped?offset=1&limit=1").json()["skipped"] == found["skipped"][1:]
        assert served.get("/v1/indexes/photos").json()["rejected"] == {"empty": 1, "not_an_image": 1}


def test_a_name_that_is_not_utf_8_is_shown_and_its_photo_found(tmp_path):
    folder = tmp_path / "photos"
    save(folder / "x.jpg", texture(0)).rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg"))
    with Served(make_index(folder)) as served:
        (image,) = served.get("/v1/indexes/photos/images").json()["images"]
        assert image["name"] == "caf\ufffd.jpg"
        assert served.get(f"/v1/images/{image['id']}/thumb").status_code == 200


def test_the_models_are_listed_and_exactly_one_is_the_default(served):
    models = served.get("/v1/models").json()["models"]
    assert [model["name"] for model in models if model["is_default"]] == ["rootsift"]
    assert {model["weights"] for model in models} <= {"built in", "installed", "none"}


def test_photos_that_are_sent_become_searchable_under_the_name_of_their_content(own, tmp_path):
    first, second = jpeg(tmp_path, 11), jpeg(tmp_path, 12)
    files = [("images", ("../../evil.jpg", first)), ("images", ("b.jpg", b"no picture")), ("images", ("c", second))]
    started = own.post(f"{own.path}/images", files=files)
    assert started.json()["accepted"] == 2
    assert started.json()["refused"] == [{"number": 1, "reason": "not_an_image"}]
    job = own.finish(started)
    assert (job["state"], job["done"], job["indexed"]) == ("done", 2, 2)
    assert sorted(own.ids().values()) == sorted([hash_content(first), hash_content(second)])
    kept = {path.relative_to(own.photos).as_posix(): path for path in own.photos.rglob("*") if path.is_file()}
    assert set(kept) == {f"{each[:2]}/{each}.jpg" for each in own.ids().values()}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept.values())
    assert stat.S_IMODE(own.photos.stat().st_mode) == 0o700
    assert not (tmp_path / "evil.jpg").exists()


def test_what_is_sent_has_to_be_a_picture(own):
    problem(own.post(f"{own.path}/images", files=[("file", b"<svg/>")]), 415, "unsupported_format")
    problem(own.post(f"{own.path}/images", files=[("file", b"")]), 422, "corrupt_image")
    problem(own.post(f"{own.path}/images", data={"params": "{}"}, files={}), 415, "unsupported_media_type")
    assert own.id not in [job["index"] for job in own.get("/v1/jobs").json()["jobs"]]


def test_an_index_of_somebodys_folder_is_never_written_to(served, folder, tmp_path):
    before = sorted(path.name for path in folder.rglob("*.jpg"))
    image = served.ids("photos")["a/2.jpg"]
    told = problem(
        served.post("/v1/indexes/photos/images", files=[("file", jpeg(tmp_path, 1))]), 409, "index_is_a_folder"
    )
    assert "POST /v1/indexes" in told["hint"]
    problem(served.ask("DELETE", f"/v1/indexes/photos/images/{image}"), 409, "index_is_a_folder")
    assert sorted(path.name for path in folder.rglob("*.jpg")) == before


def test_an_index_is_made_once_and_only_where_the_service_keeps_some(own, folder):
    problem(own.post("/v1/indexes", json={"id": own.id}), 409, "index_exists")
    problem(own.post("/v1/indexes", json={"id": "photos"}), 409, "index_exists")
    for wrong in ({"id": "../x"}, {"id": "x/y"}, {"id": ""}, {}, {"id": "x", "colour": 1}):
        problem(own.post("/v1/indexes", json=wrong), 400, "invalid_params")
    with Served(folder / ".glocal") as none:
        problem(none.post("/v1/indexes", json={"id": "x"}), 409, "not_supported")


def test_a_request_cannot_have_a_folder_taken_for_a_model(own, folder, top):
    problem(own.post("/v1/indexes", json={"id": "x", "model": str(folder)}), 400, "invalid_params")
    assert not (top / "data/indexes/x").exists()


def test_a_deleted_photo_is_gone_from_the_disk_and_from_the_index(own, tmp_path):
    own.finish(own.post(f"{own.path}/images", files=[("file", jpeg(tmp_path, 21)), ("file", jpeg(tmp_path, 22))]))
    first, second = own.ids().values()
    assert own.ask("DELETE", f"{own.path}/images/{first}").status_code == 204
    assert list(own.ids().values()) == [second]
    assert [path.stem for path in own.photos.rglob("*.jpg")] == [second]
    problem(own.get(f"/v1/images/{first}/thumb?index={own.id}"), 404, "image_not_found")
    problem(own.ask("DELETE", f"{own.path}/images/{first}"), 404, "image_not_found")


def test_paths_are_taken_from_allowed_folders_only(own, folder, tmp_path):
    secret = save(tmp_path / "secret/s.jpg", texture(50))
    (folder / "way out").symlink_to(tmp_path / "secret")
    for path in (secret, tmp_path, folder / "../secret/s.jpg", folder / "way out", folder / "way out/s.jpg", "x\0y"):
        problem(own.post(f"{own.path}/images", json={"paths": [str(path)]}), 403, "path_not_allowed")
    job = own.finish(own.post(f"{own.path}/images", json={"paths": [str(folder / "a"), str(folder / "b/1.jpg")]}))
    assert (job["state"], job["indexed"]) == ("done", 4)
    assert hash_content(secret.read_bytes()) not in own.ids().values()


def test_an_index_that_was_made_is_served_again_after_a_restart(own, top, tmp_path):
    own.finish(own.post(f"{own.path}/images", files=[("file", jpeg(tmp_path, 31))]))
    with Served(top / "photos/.glocal", data_dir=top / "data") as again:
        found = {index["id"]: index for index in again.get("/v1/indexes").json()["indexes"]}
        assert found[own.id]["managed"] is True
        assert found[own.id]["counts"]["indexed"] == 1


def test_no_answer_names_a_folder_of_this_computer(own, top):
    asked = ("/v1/models", "/v1/indexes", "/v1/indexes/photos/images", "/v1/indexes/photos/skipped", "/v1/jobs")
    texts = [own.get(path).text for path in asked]
    texts.append(own.post(f"{own.path}/images", json={"paths": [str(top / "secret")]}).text)
    texts.append(own.post("/v1/indexes", json={"id": own.id}).text)
    assert all(len(text) > 10 for text in texts)
    assert not [text for text in texts if str(top) in text]


def test_an_index_that_is_damaged_says_so_and_the_others_are_listed(photos, tmp_path):
    save(tmp_path / "other/1.jpg", texture(1))
    bad, good = make_index(photos), make_index(tmp_path / "other")
    (bad / "glocal.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
    with Served(bad, good) as served:
        served.service.start()
        found = served.get("/v1/indexes")
        assert found.status_code == 200, found.text
        assert [index["counts"] is None for index in found.json()["indexes"]] == [True, False]
        problem(served.get("/v1/indexes/photos/images"), 503, "index_loading")


@pytest.mark.parametrize(
    ("path", "wrong", "allowed"),
    [
        ("/v1/indexes", "DELETE", "GET, POST"),
        (f"/v1/images/{'0' * 32}", "POST", "GET"),
        ("/v1/indexes/photos/images", "PUT", "GET, POST"),
        ("/v1/jobs/j_1", "POST", "DELETE, GET"),
        ("/v1/search", "GET", "POST"),
        ("/", "POST", "GET, HEAD"),
    ],
)
def test_a_refused_method_is_told_all_that_the_address_takes(served, path, wrong, allowed):
    answer = served.ask(wrong, path)
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_the_last_update_is_when_the_folder_was_read_last_and_not_when_its_file_was_written(photos):
    place = make_index(photos)
    with Collection.open(place) as collection:
        ended = collection.last_update()
    os.utime(place / DATABASE_NAME, (1e9, 1e9))
    with Served(place) as served:
        told = served.get("/v1/indexes/photos").json()["last_update"]
        assert told == datetime.fromtimestamp(int(ended), UTC).isoformat().replace("+00:00", "Z")
