import asyncio
import base64
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from glocal.candidates import rerank
from glocal.errors import REASONS, ImageError
from glocal.photo_index import Index
from glocal.search.verifying import CandidateVerifier
from glocal.web.problems import problem_of


def posted(client, path, file, params=None, **more):
    form = {"params": json.dumps(params)} if params is not None else {}
    return client.post(path, files={"image": ("../../etc/passwd", file.read_bytes())}, data=form, **more)


def as_base64(file):
    return {"base64": base64.b64encode(file.read_bytes()).decode()}


def rows(found):
    """What must be equal, of an answer or of a library's result."""
    if isinstance(found, dict):
        return [
            (r["rank"], r["id"], r["name"], r["label"], (r["verification"] or {}).get("inliers"))
            for r in found["results"]
        ]
    return [(h.rank, h.id, h.name, h.label, h.verification and h.verification.inliers) for h in found]


@pytest.fixture(scope="module")
def index(collection):
    with Index.open(collection / "photos/.glocal") as index:
        yield index


@pytest.mark.parametrize("name", ["query.jpg", "stranger.jpg", "photos/thing3/front.jpg"])
@pytest.mark.parametrize("box", [None, (60.0, 40.0, 200.0, 180.0)])
def test_the_service_answers_as_the_library_does_on_the_same_file(client, collection, index, name, box):
    expected = index.search(collection / name, topk=5, box=box)
    answer = posted(client, "/v1/search", collection / name, {"topk": 5, "box": box})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert rows(found) == rows(expected)
    assert found["verdict"] == expected.verdict
    assert found["index"]["size"] == expected.num_searched
    for result, hit in zip(found["results"], expected, strict=True):
        assert result["similarity"] == pytest.approx(hit.similarity, abs=2e-6)
        assert result["probability"] == pytest.approx(hit.probability, abs=1e-6)
        assert result["band"] == str(hit.band).replace("-", "_")
        if hit.verification.homography is None:
            assert result["verification"]["H"] is None
        else:
            assert np.allclose(result["verification"]["H"], hit.verification.homography)


def test_json_and_multipart_say_the_same(client, collection):
    first = posted(client, "/v1/search", collection / "query.jpg", {"topk": 3}).json()
    second = client.post("/v1/search", json={"image": as_base64(collection / "query.jpg"), "topk": 3}).json()
    assert first["results"][0]["name"] == "copy.jpg"
    assert rows(first) == rows(second)
    assert first["results"][0]["copies"] == ["thing0/front.jpg"]
    assert (first["query"]["width"], first["query"]["height"]) == (400, 300)


def test_a_picture_of_the_index_finds_itself_and_its_like(client, ids):
    found = client.post("/v1/search", json={"image": {"id": ids.first}}).json()
    assert found["results"][0]["id"] == ids.first
    assert found["results"][0]["verification"]["query_overlap"] > 0.8
    unknown = client.post("/v1/search", json={"image": {"id": "0" * 32}})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "image_not_found")


def test_a_query_is_asked_again_with_another_box_as_if_it_had_been_sent_again(client, collection, index, ids):
    box = [200.0, 100.0, 180.0, 160.0]
    found = client.post("/v1/search", json={"image": {"query": ids.query}, "box": box}).json()
    assert rows(found) == rows(index.search(collection / "query.jpg", box=tuple(box)))
    assert found["query"]["box"] == box
    assert found["query"]["id"] != ids.query
    ratio = [0.5, 100 / 300, 0.45, 160 / 300]
    again = client.post("/v1/search", json={"image": {"query": ids.query}, "box": ratio, "box_unit": "ratio"}).json()
    assert rows(again) == rows(found)
    uploaded = posted(client, "/v1/search", collection / "query.jpg", {"box": ratio, "box_unit": "ratio"}).json()
    assert rows(uploaded) == rows(found)
    same = client.post("/v1/search", json={"image": {"query": ids.query}}).json()
    assert same["query"]["id"] == ids.query
    gone = client.post("/v1/search", json={"image": {"query": "q_forgotten"}})
    assert (gone.status_code, gone.json()["code"]) == (404, "query_expired")


def events_of(text):
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in blocks]


def test_a_stream_gives_the_hits_before_they_are_verified_and_ends_with_the_plain_answer(client, collection):
    plain = posted(client, "/v1/search", collection / "query.jpg").json()
    stream = posted(client, "/v1/search", collection / "query.jpg", headers={"Accept": "text/event-stream"})
    assert stream.headers["content-type"].startswith("text/event-stream")
    (a, query), (b, hits), (c, result) = events_of(stream.text)
    assert (a, b, c) == ("query", "hits", "result")
    assert query["query"]["id"] == hits["query"]["id"] == result["query"]["id"]
    assert hits["verified"] is False
    assert all(hit["verification"] is None for hit in hits["results"])
    similarities = [hit["similarity"] for hit in hits["results"]]
    assert similarities == sorted(similarities, reverse=True)
    for answer in (plain, result):
        answer["results"] = [{**hit, "matches_url": None} for hit in answer["results"]]
        del answer["query"]["id"], answer["views"], answer["timing_ms"]
    assert result == plain


def test_the_hits_are_sent_while_they_are_being_verified(client, collection, monkeypatch):
    sent, arrived, verify = [], threading.Event(), CandidateVerifier.rerank

    def waiting(self, *arguments):
        assert arrived.wait(10)
        return verify(self, *arguments)

    monkeypatch.setattr(CandidateVerifier, "rerank", waiting)
    body = [{"type": "http.request", "body": json.dumps({"image": as_base64(collection / "query.jpg")}).encode()}]

    async def receive():
        return body.pop() if body else await asyncio.sleep(60)

    async def send(message):
        sent.append(message)
        if b"event: hits" in message.get("body", b""):
            arrived.set()

    headers = {"host": "localhost", "accept": "text/event-stream", "content-type": "application/json"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/search",
        "scheme": "http",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    client.portal.call(client.app, scope, receive, send)
    events = events_of(b"".join(message.get("body", b"") for message in sent).decode())
    assert [name for name, _ in events] == ["query", "hits", "result"]


def test_fewer_candidates_are_verified_when_that_is_asked(client, collection):
    found = posted(client, "/v1/search", collection / "query.jpg", {"rerank": {"depth": 2}}).json()
    assert sum(result["verification"] is not None for result in found["results"]) == 2
    assert len(found["results"]) == 7


def test_what_is_wrong_before_a_stream_begins_is_a_plain_problem(client, collection):
    answer = posted(client, "/v1/search", collection / "photos/broken.jpg", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.json()["code"]) == (422, "corrupt_image")
    plain = posted(client, "/v1/search", collection / "blank.png", headers={"Accept": "text/event-stream"})
    assert (plain.status_code, plain.json()["code"]) == (422, "image_too_simple")


def test_a_blank_wall_is_not_answered_with_noise(client, collection, index):
    refused = posted(client, "/v1/search", collection / "blank.png")
    assert (refused.status_code, refused.json()["code"]) == (422, "image_too_simple")
    assert '"none"' in refused.json()["hint"]
    asked = posted(client, "/v1/search", collection / "blank.png", {"rerank": {"method": "none"}}).json()
    assert rows(asked) == rows(index.search(collection / "blank.png", rerank="none"))


def test_pages_follow_each_other_without_repeats(client, collection):
    whole = posted(client, "/v1/search", collection / "query.jpg", {"topk": 7}).json()
    assert whole["next_offset"] is None
    first = posted(client, "/v1/search", collection / "query.jpg", {"topk": 3}).json()
    second = posted(client, "/v1/search", collection / "query.jpg", {"topk": 3, "offset": first["next_offset"]}).json()
    third = posted(client, "/v1/search", collection / "query.jpg", {"topk": 3, "offset": second["next_offset"]}).json()
    assert third["next_offset"] is None
    assert rows(first) + rows(second) + rows(third) == rows(whole)
    assert whole["total_candidates"] == 7


def test_only_sure_results_are_given_when_only_these_are_wanted(client, collection):
    found = posted(client, "/v1/search", collection / "query.jpg", {"min_probability": 0.9}).json()
    assert {result["name"] for result in found["results"]} == {"copy.jpg", "thing0/aside.jpg"}


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"box": [0, 0, 12, 9]}, 400, "invalid_box"),
        ({"box": [5000, 0, 100, 100]}, 400, "invalid_box"),
        ({"box": [0, 0, -5, 9]}, 400, "invalid_box"),
        ({"box": [0, 0, 1e300, 1e300]}, 400, "invalid_box"),
        ({"box": [1, 2, 3]}, 400, "invalid_params"),
        ({"box": "all"}, 400, "invalid_params"),
        ({"topk": 0}, 400, "invalid_params"),
        ({"topk": "5"}, 400, "invalid_params"),
        ({"topk": True}, 400, "invalid_params"),
        ({"topk": 1001}, 422, "value_too_large"),
        ({"topk": 10**80}, 422, "value_too_large"),
        ({"topk": 1000, "offset": 1}, 422, "value_too_large"),
        ({"rerank": {"method": "magic"}}, 400, "invalid_params"),
        ({"unknown": 1}, 400, "invalid_params"),
        ({"index": "nowhere"}, 404, "index_not_found"),
        ({"index": "../../etc"}, 400, "invalid_params"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_name(client, collection, params, status, code):
    answer = posted(client, "/v1/search", collection / "query.jpg", params)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("topk", [999, 1000])
def test_the_largest_page_is_answered(client, collection, topk):
    assert len(posted(client, "/v1/search", collection / "query.jpg", {"topk": topk}).json()["results"]) == 7


def test_addresses_are_never_fetched(client):
    answer = client.post("/v1/search", json={"image": {"url": "http://127.0.0.1:1/x.jpg"}})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_params")
    assert "off" in answer.json()["detail"]


def test_matches_are_those_of_the_search(client, ids, collection):
    found = posted(client, "/v1/search", collection / "query.jpg").json()
    result = found["results"][1]
    answer = client.get(result["matches_url"])
    assert answer.status_code == 200, answer.text
    matches = answer.json()
    assert matches["verification"] == result["verification"]
    assert (matches["probability"], matches["band"]) == (result["probability"], result["band"])
    assert sum(line[4] for line in matches["lines"]) == result["verification"]["inliers"]
    assert len(matches["lines"]) == result["verification"]["tentative"]
    homography = np.array(result["verification"]["H"])
    for qx, qy, tx, ty, inside in matches["lines"]:
        mapped = homography @ [qx, qy, 1]
        if inside:
            assert np.hypot(*(mapped[:2] / mapped[2] - [tx, ty])) < 10
    assert (matches["target"]["width"], matches["target"]["height"]) == (result["width"], result["height"])


def test_matches_of_nothing_are_not_found(client, ids):
    assert client.get(f"/v1/matches/q_unknown/{ids.first}").json()["code"] == "query_expired"
    assert client.get(f"/v1/matches/{ids.query}/{'0' * 32}").json()["code"] == "image_not_found"
    assert client.get(f"/v1/matches/{ids.query}/{ids.first}?index=no").json()["code"] == "index_not_found"


def test_the_picture_of_a_query_comes_back_smaller_and_without_what_its_file_said(client, collection):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "CANARY"
    Image.open(collection / "query.jpg").save(file, "JPEG", exif=exif)
    found = client.post("/v1/search", files={"image": file.getvalue()}).json()
    answer = client.get(f"/v1/queries/{found['query']['id']}/picture?w=200")
    assert answer.headers["content-type"] == "image/jpeg"
    assert b"CANARY" in file.getvalue()
    assert b"CANARY" not in answer.content
    assert Image.open(io.BytesIO(answer.content)).size == (200, 150)
    assert client.get("/v1/queries/q_unknown/picture").json()["code"] == "query_expired"


def test_two_pictures_are_compared_as_explain_does(client, collection, index):
    pair = [collection / "query.jpg", collection / "photos/thing0/aside.jpg"]
    expected = index.searcher.explain(*pair)
    answer = client.post("/v1/match", files={"first": pair[0].read_bytes(), "second": pair[1].read_bytes()})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["verdict"] == "same" == str(expected.band)
    assert found["verification"]["inliers"] == expected.verification.inliers
    assert found["similarity"] == pytest.approx(expected.similarity, abs=1e-6)
    assert found["second"] == {"width": 560, "height": 460, "box": None}
    again = client.post("/v1/match", json={"first": as_base64(pair[0]), "second": as_base64(pair[1])}).json()
    assert again == found
    alone = client.post("/v1/match", files={"first": pair[0].read_bytes()})
    assert (alone.status_code, alone.json()["code"]) == (400, "invalid_params")


def test_candidates_are_ordered_as_the_library_does_with_files(client, collection):
    files = [collection / f"photos/{name}.jpg" for name in ("thing3/front", "thing0/aside", "broken", "copy")]
    expected = rerank(collection / "query.jpg", files, model="rootsift")
    answer = client.post(
        "/v1/rerank",
        json={
            "query": as_base64(collection / "query.jpg"),
            "candidates": [{"id": str(file), "image": as_base64(file)} for file in files],
        },
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [result["id"] for result in found["results"]] == [hit.name for hit in expected]
    for result, hit in zip(found["results"], expected, strict=True):
        assert result["verification"]["inliers"] == hit.inliers
        assert result["similarity"] == pytest.approx(hit.similarity, abs=1e-5)
        assert result["probability"] == pytest.approx(hit.probability, abs=1e-6)
    assert [(each["id"], each["code"]) for each in found["skipped"]] == [(str(files[2]), "corrupt_image")]
    assert found["verdict"] == expected.verdict


def test_candidates_may_be_pictures_of_the_index(client, collection, ids):
    candidates = [{"id": "a", "image": {"id": ids.second}}, {"id": "b", "image": {"id": "0" * 32}}]
    found = client.post(
        "/v1/rerank", json={"query": as_base64(collection / "query.jpg"), "candidates": candidates}
    ).json()
    assert [result["id"] for result in found["results"]] == ["a"]
    assert found["results"][0]["band"] == "same"
    assert [each["code"] for each in found["skipped"]] == ["image_not_found"]


def test_too_many_candidates_are_refused(start, collection):
    image = as_base64(collection / "query.jpg")
    with start(max_candidates=2) as client:
        for count, status in ((1, 200), (2, 200), (3, 422)):
            body = {"query": image, "candidates": [{"id": "x", "image": image}] * count}
            assert client.post("/v1/rerank", json=body).status_code == status


def test_a_thing_is_named_with_the_photos_that_say_so_and_a_strange_one_is_not(client, collection, index):
    expected = index.recognize(collection / "query.jpg")
    found = posted(client, "/v1/recognize", collection / "query.jpg").json()
    assert found["label"] == expected.label == "thing0"
    assert [vote["label"] for vote in found["votes"]] == [vote.label for vote in expected.votes]
    assert found["votes"][0]["evidence"][0]["name"] == "thing0/aside.jpg"
    assert found["confidence"] > 0.9
    assert sum(vote["share"] for vote in found["votes"]) == pytest.approx(1, abs=0.01)
    unknown = posted(client, "/v1/recognize", collection / "stranger.jpg").json()
    assert unknown["label"] is None
    assert unknown["confidence"] is None
    assert unknown["verdict"] == "unknown"


def test_a_descriptor_is_that_of_the_library_in_json_and_in_numpy(client, collection, index):
    expected = index.searcher.describe(collection / "query.jpg").vectors[0]
    found = posted(client, "/v1/embed", collection / "query.jpg").json()
    assert np.allclose(found["descriptor"], expected, atol=1e-6)
    assert (found["dim"], found["model"]) == (256, "rootsift")
    raw = posted(client, "/v1/embed", collection / "query.jpg", headers={"Accept": "application/x-npy"})
    assert raw.headers["content-type"] == "application/x-npy"
    array = np.load(io.BytesIO(raw.content))
    assert array.dtype == np.float32
    assert np.allclose(array, expected, atol=1e-6)


def test_the_description_names_every_operation_and_what_it_may_answer(client):
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    for operation in ("/v1/search", "/v1/match", "/v1/rerank", "/v1/recognize", "/v1/embed"):
        post = described["paths"][operation]["post"]
        assert {"200", "400", "401", "403", "413", "415", "421", "422", "503"} <= set(post["responses"])
        assert "application/json" in post["requestBody"]["content"]
    text = json.dumps(described)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in described["components"]["schemas"], name


@pytest.mark.parametrize("reason", REASONS)
def test_a_picture_that_is_refused_comes_with_what_to_do_next(reason):
    problem = problem_of(ImageError(reason, "damaged → --salvage"))
    assert 400 <= problem.status < 500
    assert problem.hint
    assert "--" not in problem.detail + problem.hint  # options of the command line do not help over HTTP
