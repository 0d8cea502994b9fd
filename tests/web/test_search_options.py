"""Searches that ask for more: a selection, a time limit, lines and metadata, several views; and their limits."""

import json
import os
import time
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from glocal.photo_index import Index
from glocal.search import Selection
from glocal.search.verifying import CandidateVerifier
from glocal.web import parameters, selecting
from glocal.web.parameters import MAX_BUDGET_MS, MAX_DRAWN, MAX_VIEWS, SearchParams
from glocal.web.selecting import MAX_FOLDERS, MAX_LABELS, MAX_NAME, Filter, nanoseconds, selection_of
from tests.conftest import save, texture
from tests.web.conftest import served
from tests.web.served import events, make_index, problem


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of six things in two years and three folders, one without a label; their times are set."""
    folder = tmp_path_factory.mktemp("options") / "photos"
    for seed in range(6):
        name = ("2014/Rome", "2015/Rome", "2015/Rome2")[seed % 3]
        file = save(folder / f"{name}/{seed}.jpg", texture(seed, 320, 240), quality=90)
        when = datetime(2014 + (seed % 3 > 0), 1 + seed, 1, tzinfo=UTC).timestamp()
        os.utime(file, (when, when))
    (folder / "copy.jpg").write_bytes((folder / "2015/Rome/1.jpg").read_bytes())
    os.utime(folder / "copy.jpg", (1.5e9, 1.5e9))
    return folder


@pytest.fixture(scope="module")
def place(photos):
    return make_index(photos, labels="folder")


@pytest.fixture(scope="module")
def client(place):
    with served([place]) as client:
        yield client


@pytest.fixture(scope="module")
def query(photos):
    return (photos / "2015/Rome/4.jpg").read_bytes()


def ask(client, query, params=None, path="/v1/search", **more):
    pictures = [("image", ("x.jpg", each)) for each in ([query] if isinstance(query, bytes) else query)]
    return client.post(path, files=pictures, data={"params": json.dumps(params or {})}, **more)


def found(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(answer):
    return {name for result in found(answer)["results"] for name in (result["name"], *result["copies"])}


# ---------------------------------------------------------------------- filter
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"folder": {"in": ["2014"]}}, {0, 3}),
        ({"folder": {"in": ["2015/Rome"]}}, {1, 4}),
        ({"folder": {"in": ["2015/Rome/", "2014/Rome"]}}, {0, 1, 3, 4}),
        ({"folder": {"in": ["Rome"]}}, set()),
        ({"label": {"in": ["Rome"]}}, {0, 1, 3, 4}),
        ({"label": {"in": ["Rome2", "nothing"]}}, {2, 5}),
        ({"label": {"not_in": ["Rome"]}}, {1, 2, 5}),  # a copy of 1 has no label
        ({"label": {"in": ["Rome"], "not_in": ["Rome"]}}, set()),
        ({"modified": {"lt": "2015-01-01"}}, {0, 3}),
        ({"modified": {"gte": "2015-06-01T00:00:00Z"}}, {1, 5}),  # the copy of 1 is newer
        ({"modified": {"gte": "2015-06-01T00:00:00.000001Z"}}, {1}),
        ({"modified": {"gte": "2015-06-01T01:00:00+02:00", "lt": "2015-06-01T00:00:01"}}, {5}),
        ({"folder": {"in": ["2015"]}, "modified": {"lt": "2015-05-01"}}, {1, 2}),
    ],
)
def test_only_what_the_filter_leaves_is_found_and_ordered_as_without_it(client, query, wanted, expected):
    whole = found(ask(client, query, {"rerank": {"method": "none"}}))
    some = found(ask(client, query, {"filter": wanted, "rerank": {"method": "none"}}))
    kept = [r for r in whole["results"] if any(f"/{seed}.jpg" in f"{r['name']} {r['copies']}" for seed in expected)]
    assert [(r["id"], r["similarity"]) for r in some["results"]] == [(r["id"], r["similarity"]) for r in kept]
    assert some["selected"] == some["total_candidates"] == len(expected)
    assert (whole["selected"], whole["total_candidates"], whole["index"]["size"]) == (6, 6, 6)
    verified = found(ask(client, query, {"filter": wanted}))
    assert {r["id"] for r in verified["results"]} == {r["id"] for r in kept}
    if not expected:
        assert (some["verdict"], some["results"], some["next_offset"]) == ("no_match", [], None)
        assert some["warnings"]


def test_a_filter_in_json_and_in_a_stream_says_the_same(client, query, place):
    wanted = {"label": {"in": ["Rome"]}}
    plain = found(ask(client, query, {"filter": wanted}))
    again = found(client.post("/v1/search", json={"image": {"query": plain["query"]["id"]}, "filter": wanted}))
    stream = ask(client, query, {"filter": wanted}, headers={"Accept": "text/event-stream"})
    last = events(stream.text)[-1]
    assert last[0] == "result"
    for other in (again, last[1]):
        assert [r["id"] for r in other["results"]] == [r["id"] for r in plain["results"]]
        assert other["selected"] == 4


def test_the_time_of_a_photo_itself_is_refused_because_the_index_does_not_keep_it(client, query):
    told = problem(ask(client, query, {"filter": {"taken": {"gte": "2015-01-01"}}}), 400, "invalid_params")
    assert "EXIF" in told["detail"]
    assert "modified" in told["detail"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"label": {}},
        {"label": {"in": []}},
        {"label": {"in": "Rome"}},
        {"label": {"in": [1]}},
        {"label": {"in": [""]}},
        {"label": {"in": ["\ud800"]}},
        {"label": {"in": ["a\0b"]}},
        {"label": {"within": ["Rome"]}},
        {"label": None, "name": 1},
        {"folder": {}},
        {"folder": {"in": ["/etc"]}},
        {"folder": {"in": ["2014/../../etc"]}},
        {"folder": {"in": ["\udcff"]}},
        {"modified": {}},
        {"modified": {"gte": "yesterday"}},
        {"modified": {"gte": 2015}},
        {"modified": {"gte": "2015-01-01", "lt": "2015-01-01"}},
        {"modified": {"gte": "2015-01-01T00:00:00" + "0" * 30}},
        "Rome",
        ["Rome"],
    ],
)
def test_filters_that_make_no_sense_are_refused_by_name(client, query, wanted):
    told = problem(ask(client, query, {"filter": wanted}), 400, "invalid_params")
    assert told["detail"].startswith("filter")
    told = problem(ask(client, query, {"filter": wanted}, "/v1/recognize"), 400, "invalid_params")


@pytest.mark.parametrize(
    ("what", "most", "value"),
    [
        (("label", "in"), MAX_LABELS, lambda count: [f"l{number}" for number in range(count)]),
        (("label", "not_in"), MAX_LABELS, lambda count: [f"l{number}" for number in range(count)]),
        (("folder", "in"), MAX_FOLDERS, lambda count: [f"f{number}" for number in range(count)]),
        (("label", "in"), MAX_NAME, lambda count: ["x" * count]),
        (("folder", "in"), MAX_NAME, lambda count: ["x" * count]),
    ],
)
def test_the_lists_and_texts_of_a_filter_are_bounded(client, query, what, most, value):
    for count, status in ((most - 1, 200), (most, 200), (most + 1, 400)):
        answer = ask(client, query, {"filter": {what[0]: {what[1]: value(count)}}, "topk": 1})
        assert answer.status_code == status, (count, answer.text)


def test_labels_cannot_be_asked_of_an_index_without(photos, tmp_path, query):
    bare = make_index(photos, tmp_path / "bare")
    with served([bare]) as client:
        for headers in ({}, {"Accept": "text/event-stream"}):
            answer = ask(client, query, {"filter": {"label": {"in": ["Rome"]}}}, headers=headers)
            assert "--labels" in problem(answer, 409, "no_labels")["hint"]
        assert names(ask(client, query, {"filter": {"folder": {"in": ["2014"]}}})) == {
            "2014/Rome/0.jpg",
            "2014/Rome/3.jpg",
        }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("1970-01-02T00:00:00Z", 86_400 * 10**9),
        ("1970-01-01T00:00:00.000001", 1000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T23:59:59Z", -(10**9)),
        ("0001-01-01T00:00:00+23:59", -(2**63) + 1),
        ("9999-12-31T23:59:59-23:59", 2**63 - 1),
    ],
)
def test_a_time_is_read_to_the_microsecond_and_kept_in_what_a_file_can_have(text, expected):
    assert nanoseconds(text) == expected


def test_a_filter_is_the_selection_that_it_says():
    wanted = Filter.model_validate(
        {"label": {"in": ["a"], "not_in": ["b"]}, "folder": {"in": ["c/"]}, "modified": {"lt": "1970-01-01T00:00:01"}}
    )
    assert selection_of(wanted) == Selection(frozenset("a"), frozenset("b"), ("c",), None, 10**9)
    assert selection_of(None) is None
    assert selection_of(Filter()) == Selection()
    with pytest.raises(ValidationError):
        selecting.LabelFilter.model_validate({"within": ["a"]})


def test_a_recognition_votes_among_what_the_filter_leaves(client, query):
    assert found(ask(client, query, {}, "/v1/recognize"))["label"] == "Rome"
    other = found(ask(client, query, {"filter": {"label": {"in": ["Rome2"]}}}, "/v1/recognize"))
    assert other["label"] is None
    assert {vote["label"] for vote in other["votes"]} == {"Rome2"}


# ---------------------------------------------------------------------- budget
def test_verification_ends_when_its_time_is_up(client, query, monkeypatch):
    verify = CandidateVerifier.verify

    def slow(self, *arguments):
        time.sleep(0.05)
        return verify(self, *arguments)

    whole = found(ask(client, query, {"rerank": {"budget_ms": MAX_BUDGET_MS}}))
    assert whole["verified_candidates"] == 6
    assert not whole["warnings"]
    monkeypatch.setattr(CandidateVerifier, "verify", slow)
    hurried = found(ask(client, query, {"rerank": {"budget_ms": 1}}))
    assert hurried["verified_candidates"] < 6
    assert "time" in hurried["warnings"][0]
    assert {r["id"] for r in hurried["results"]} == {r["id"] for r in whole["results"]}


def test_a_budget_that_is_not_used_up_changes_nothing(client, query):
    first, second = (found(ask(client, query, {"rerank": rerank})) for rerank in ({}, {"budget_ms": MAX_BUDGET_MS}))
    for answer in (first, second):
        assert answer["verified_candidates"] == 6
        answer["results"] = [{**each, "matches_url": None} for each in answer["results"]]
    assert first["results"] == second["results"]


@pytest.mark.parametrize(
    ("value", "status"),
    [(0, 400), (1, 200), (2, 200), (MAX_BUDGET_MS - 1, 200), (MAX_BUDGET_MS, 200), (MAX_BUDGET_MS + 1, 422)],
)
def test_the_budget_is_bounded(client, query, value, status):
    for path in ("/v1/search", "/v1/recognize"):
        assert ask(client, query, {"rerank": {"budget_ms": value}}, path).status_code == status
    assert ask(client, query, {"rerank": {"budget_ms": 1.5}}).status_code == 400


# ---------------------------------------------------------------------- include
def test_lines_and_metadata_come_with_the_results_that_have_them(client, query, photos):
    plain = found(ask(client, query))
    assert all(each["lines"] is None and each["metadata"] is None for each in plain["results"])
    answer = found(ask(client, query, {"include": ["matches", "metadata"], "rerank": {"depth": 2}}))
    verified = [each for each in answer["results"] if each["verification"] is not None]
    assert len(verified) == answer["verified_candidates"] == 2
    for each in answer["results"]:
        file = photos / each["name"]
        when = datetime.fromtimestamp(int(file.stat().st_mtime), UTC)
        assert each["metadata"] == {"bytes": file.stat().st_size, "modified": when.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if each["verification"] is None:
            assert each["lines"] is None
        else:
            assert each["lines"] == client.get(each["matches_url"]).json()["lines"]
    stream = ask(client, query, {"include": ["matches"]}, headers={"Accept": "text/event-stream"})
    _, (_, hits), (_, result) = events(stream.text)
    assert all(each["lines"] is None for each in hits["results"])
    assert result["results"][0]["lines"]


def test_what_may_be_included_is_bounded(client, query):
    assert ask(client, query, {"include": []}).status_code == 200
    for wrong in (["exif"], "matches", ["matches"] * 3, [1]):
        problem(ask(client, query, {"include": wrong}), 400, "invalid_params")
    for topk, status in ((MAX_DRAWN - 1, 200), (MAX_DRAWN, 200), (MAX_DRAWN + 1, 422)):
        assert ask(client, query, {"include": ["matches"], "topk": topk}).status_code == status
        assert ask(client, query, {"include": ["metadata"], "topk": topk}).status_code == 200


# ---------------------------------------------------------------------- several views
@pytest.fixture(scope="module")
def views(photos):
    return [(photos / f"2014/Rome/{seed}.jpg").read_bytes() for seed in (0, 3)]


def test_several_views_find_what_each_of_them_shows(client, views, place, photos):
    answer = found(ask(client, views, {"topk": 3}))
    best = answer["results"][:2]
    assert {each["name"] for each in best} == {"2014/Rome/0.jpg", "2014/Rome/3.jpg"}
    assert {each["band"] for each in best} == {"same"}
    for each in answer["results"]:
        query_id = answer["views"][each["query_number"]]
        if each["verification"] is not None:
            assert each["matches_url"].startswith(f"/v1/matches/{query_id}/")
            matches = client.get(each["matches_url"]).json()
            assert matches["verification"] == each["verification"]
    numbers = {each["name"]: each["query_number"] for each in best}
    assert numbers == {"2014/Rome/0.jpg": 0, "2014/Rome/3.jpg": 1}
    assert answer["query"]["id"] == answer["views"][0]
    assert len(set(answer["views"])) == 2
    with Index.open(place) as index:
        expected = index.searcher.search([photos / f"2014/Rome/{seed}.jpg" for seed in (0, 3)], topk=3)
    assert [(e["id"], e["query_number"]) for e in answer["results"]] == [(h.id, h.query_number) for h in expected]
    assert answer["verified_candidates"] == expected.num_verified


def test_views_are_named_in_json_too_and_streamed(client, views):
    sent = found(ask(client, views))
    refs = [{"query": each} for each in sent["views"]]
    again = found(client.post("/v1/search", json={"images": refs}))
    assert again["views"] == sent["views"]
    stream = client.post("/v1/search", json={"images": refs}, headers={"Accept": "text/event-stream"})
    parts = events(stream.text)
    assert [name for name, _ in parts] == ["query", "hits", "result"]
    assert all(part["views"] == sent["views"] for _, part in parts)
    for other in (again, parts[-1][1]):
        assert [(r["id"], r["query_number"]) for r in other["results"]] == [
            (r["id"], r["query_number"]) for r in sent["results"]
        ]
    alone = found(client.post("/v1/search", json={"images": refs[:1]}))
    plain = found(client.post("/v1/search", json={"image": refs[0]}))
    assert alone["results"] == plain["results"]
    assert {each["query_number"] for each in plain["results"]} == {0}


def test_several_views_are_recognised_together(client, views):
    answer = found(ask(client, views, {}, "/v1/recognize"))
    assert answer["label"] == "Rome"
    assert len(answer["views"]) == 2
    assert {e["query_number"] for vote in answer["votes"] for e in vote["evidence"]} >= {0, 1}


def test_a_box_is_a_part_of_one_picture(client, views):
    box = {"box": [10, 10, 200, 200]}
    assert "2" in problem(ask(client, views, box), 400, "invalid_params")["detail"]
    assert ask(client, views[:1], box).status_code == 200


def test_the_number_of_views_is_bounded(client, views):
    query_id = found(ask(client, views[0]))["query"]["id"]
    small = {"rerank": {"method": "none"}}
    for count, status in ((MAX_VIEWS - 1, 200), (MAX_VIEWS, 200), (MAX_VIEWS + 1, 413)):
        assert ask(client, views[:1] * count, small).status_code == status
        refs = [{"query": query_id}] * count
        answer = client.post("/v1/search", json={"images": refs, **small})
        assert answer.status_code == (status if status == 200 else 400)
    mixed = [("image", views[0])] * 5 + [("images", views[1])] * 4
    problem(client.post("/v1/search", files=mixed), 413, "too_many_parts")
    both = {"image": {"query": query_id}, "images": [{"query": query_id}]}
    for wrong in (both, {"images": []}, {}):
        problem(client.post("/v1/search", json=wrong), 400, "invalid_params")
    for path in ("/v1/embed", "/v1/match"):
        assert ask(client, views, {}, path).status_code in (400, 413)


def test_one_view_that_shows_nothing_spoils_no_search(client, views, collection):
    blank = (collection / "blank.png").read_bytes()
    answer = found(ask(client, [blank, views[0]]))
    assert answer["results"][0]["name"] == "2014/Rome/0.jpg"
    assert answer["results"][0]["query_number"] == 1
    assert any("picture 1" in warning for warning in answer["warnings"])
    problem(ask(client, [blank, blank]), 422, "image_too_simple")
    told = problem(ask(client, [views[0], b"\xff\xd8\xff"]), 422, "corrupt_image")
    assert "picture 2" in told["detail"]


def test_the_description_names_every_option(client):
    described = client.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    assert {"filter", "include", "rerank", "image", "images"} <= set(schemas["SearchRequest"]["properties"])
    assert set(schemas["LabelFilter"]["properties"]) == {"in", "not_in"}
    assert schemas["Rerank"]["properties"]["budget_ms"]["anyOf"][0]["maximum"] == MAX_BUDGET_MS
    body = described["paths"]["/v1/search"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["properties"]["image"]["maxItems"] == MAX_VIEWS
    assert {"selected", "verified_candidates", "views"} <= set(schemas["SearchAnswer"]["properties"])
    assert set(parameters.REQUESTS) >= {SearchParams}
