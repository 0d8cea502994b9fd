"""`glocal recognize`, run in process as a user types it."""

import json

import pytest

from glocal.cli import exits
from glocal.cli.main import VERBS, main
from glocal.photo_index import Index
from tests.conftest import save, texture
from tests.fakes import FakeNetwork


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line; gives (exit code, stdout, stderr)."""
    monkeypatch.setitem(VERBS, "recognize", "name what a photo shows")

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """Two things with a folder each and one photo without a label, indexed."""
    folder = tmp_path_factory.mktemp("things")
    for seed, name in enumerate(("Trevi Fountain", "Neptune")):
        save(folder / f"photos/{name}/0.jpg", texture(seed), quality=92)
        save(folder / f"photos/{name}/1.jpg", texture(seed)[10:, 20:], quality=92)
    save(folder / "photos/plain.jpg", texture(2), quality=92)
    save(folder / "query.jpg", texture(0)[:230, :300], quality=92)
    with Index.create(folder / "photos/.glocal") as index:
        index.add(folder / "photos", labels="folder")
    return folder


def test_the_name_comes_first_then_the_photos_that_say_so(things, run):
    code, out, err = run("recognize", things / "query.jpg", "--index", things / "photos")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("Trevi Fountain   (same object; 2 photos agree, best ")
    best = int(lines[0].split("best ")[1].split()[0])
    assert {line.split("%")[1].split("  ")[1] for line in lines[1:3]} == {
        "Trevi Fountain/0.jpg",
        "Trevi Fountain/1.jpg",
    }
    assert f" {best} inliers   similarity 0." in lines[1]
    assert lines[3] == "Other candidates"
    assert lines[4].startswith("  Neptune ")
    assert "2 photos, best " in lines[4]
    assert lines[5].startswith("5 pictures searched in ")


def test_a_stranger_is_unknown_and_that_is_no_error(things, run):
    stranger = save(things / "stranger.jpg", texture(99))
    code, out, _ = run("recognize", stranger, "--index", things / "photos")
    assert code == 0
    assert out.startswith("Unknown: no labelled photo shows this object. (Best candidate ")
    assert "\nCandidates\n" in out


def test_photos_without_a_label_that_show_it_are_mentioned(things, run):
    query = save(things / "plain.jpg", texture(2)[:230, :300])
    code, out, _ = run("recognize", query, "--index", things / "photos")
    assert code == 0
    assert out.startswith("Unknown: ")
    assert "1 photo shows it, but has no label. → glocal search" in out


def test_json_has_the_evidence_with_its_geometry_and_null_for_what_is_unknown(things, run):
    query = (things / "query.jpg", "--index", things / "photos", "--json")
    answer = json.loads(run("recognize", *query)[1])
    assert (answer["verdict"], answer["label"], answer["reason"]) == ("same", "Trevi Fountain", None)
    assert [vote["label"] for vote in answer["votes"]] == ["Trevi Fountain", "Neptune"]
    first = answer["votes"][0]
    assert (first["band"], len(first["evidence"])) == ("same", 2)
    assert first["score"] == answer["score"] > 1
    assert {hit["label"] for hit in first["evidence"]} == {"Trevi Fountain"}
    assert first["evidence"][0]["verification"]["inliers"] > 20
    assert answer["index"]["size"] == 5
    assert "results" not in answer
    answer = json.loads(run("recognize", *query, "--min-score", "99")[1])
    assert (answer["verdict"], answer["label"]) == ("unknown", None)
    assert answer["reason"].endswith("is below the threshold 99")


def test_topk_is_the_number_of_votes(things, run):
    query = (things / "query.jpg", "--index", things / "photos")
    out = run("recognize", *query, "--topk", "1")[1]
    assert "1 photo agrees" in out
    assert "Other candidates" not in out
    code, _, err = run("recognize", *query, "--topk", "0")
    assert code == exits.USAGE
    assert "k and inlier_cap must be 1 or more" in err


def test_a_report_shows_who_voted(things, run):
    file = things / "report.html"
    code, _, err = run("recognize", things / "query.jpg", "--index", things / "photos", "--html", file)
    page = file.read_text("utf-8")
    assert code == 0
    assert str(file) in err
    assert "Trevi Fountain   (same object; 2 photos agree" in page
    assert "glocal recognize query.jpg" in page
    assert "2 pictures show the same object." in page


def test_an_index_without_labels_says_how_to_give_them_and_they_are_given(photos, run):
    assert run("index", photos, "-q")[0] == 0
    code, out, err = run("recognize", photos / "a/0.jpg", "--index", photos)
    assert (code, out) == (exits.NOTHING, "")
    assert "→ glocal index PHOTOS --labels folder" in err
    code, _, err = run("index", photos, "--labels", "folder")
    assert code == 0
    assert "6 of 7 have a label" in err
    assert f"Try:  glocal recognize PICTURE --index {photos}" in err
    assert run("recognize", photos / "b/1.jpg", "--index", photos)[1].startswith("b   (same object; 1 photo agrees, ")


def test_a_list_of_labels_is_taken_and_a_bad_one_refused(photos, run, tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\na/0.jpg,\x1b[31march\n")
    code, _, err = run("index", photos, "--labels", tmp_path / "labels.csv")
    assert code == 0
    assert "1 of 7 have a label" in err
    out = run("recognize", photos / "a/2.jpg", "--index", photos)[1]
    assert out.startswith(r"Unknown: no labelled photo shows this object. (Best candidate \x1b[31march, ")
    code, _, err = run("index", photos, "--labels", tmp_path / "none.csv")
    assert code == exits.USAGE
    assert 'labels are "folder" or a CSV file' in err


def test_without_calibration_nothing_is_claimed(photos, run, install):
    place = install(FakeNetwork())
    assert run("index", photos, "--model", place, "--labels", "folder", "-q")[0] == 0
    code, out, err = run("recognize", photos / "a/2.jpg", "--index", photos, "--topk", "1")
    assert code == 0
    assert out.startswith("a   (nearest, not judged; 1 photo agrees)\n     -  a/2.jpg ")
    assert "similarity 1.000" in out
    assert "no local features" in err
