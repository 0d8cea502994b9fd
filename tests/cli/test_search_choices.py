"""`glocal search` with several pictures, with a selection, and with little time."""

import json

import numpy as np
import pytest

from glocal.cli import exits
from glocal.cli.main import main
from glocal.cli.search import parse_duration
from glocal.errors import ConfigError
from tests.conftest import save, texture


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Six pictures in three folders, whose names are their labels; and photos of pictures 0 and 3."""
    folder = tmp_path_factory.mktemp("place")
    for seed, name in enumerate(["2019/Roma", "2019/Roma2", "2020", "2019/Roma", "2019/Roma2", "2020"]):
        save(folder / f"photos/{name}/{seed}.jpg", texture(seed), quality=92)
    for seed in (0, 3):
        save(folder / f"query{seed}.jpg", texture(seed)[20:220, 30:300], quality=92)
    assert main(["index", str(folder / "photos"), "--index", str(folder / "index"), "--labels", "folder", "-q"]) == 0
    return folder


@pytest.fixture
def search(capsys, place):
    """Search with query 0 unless others are named; gives (exit code, stdout, stderr)."""

    def search(*words, queries=("query0.jpg",)):
        files = [str(place / query) for query in queries]
        code = main(["search", *files, "--index", str(place / "index"), *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return search


def paths(out):
    return {hit["path"] for hit in json.loads(out)["results"]}


def test_labels_and_folders_say_which_photos_may_be_found(search):
    assert paths(search("--json", "--label", "Roma2")[1]) == {"2019/Roma2/1.jpg", "2019/Roma2/4.jpg"}
    both = search("--json", "--label", "Roma2", "--label", "2020")[1]
    assert paths(both) == {"2019/Roma2/1.jpg", "2019/Roma2/4.jpg", "2020/2.jpg", "2020/5.jpg"}
    assert paths(search("--json", "--folder", "2019/Roma")[1]) == {"2019/Roma/0.jpg", "2019/Roma/3.jpg"}
    assert paths(search("--json", "--folder", "2019/Roma", "--label", "Roma2")[1]) == set()


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_may_be_named_as_the_shell_completes_it(search, place, end):
    folder = f"{place / 'photos/2019/Roma'}{end}"
    assert paths(search("--json", "--folder", folder)[1]) == {"2019/Roma/0.jpg", "2019/Roma/3.jpg"}
    assert len(paths(search("--json", "--folder", place / "photos")[1])) == 6


def test_a_folder_elsewhere_is_a_usage_error(search):
    code, out, err = search("--folder", "/etc")
    assert (code, out) == (exits.USAGE, "")
    assert '"/etc" is no folder within the collection' in err


def test_people_are_told_how_many_were_searched(search):
    code, out, _ = search("--folder", "2019")
    assert code == 0
    assert "2019/Roma/0.jpg" in out
    assert "4 of 6 pictures searched in" in out
    assert "\n6 pictures searched in" in search()[1]


def test_nothing_selected_is_no_error(search):
    code, out, err = search("--label", "Rmoa")
    assert code == 0
    assert out.startswith("No picture shows this object.\n0 of 6 pictures searched")
    assert "None of the 6 pictures fits what was selected (label Rmoa)" in err


def test_labels_of_an_index_without_are_a_usage_error(place, search, tmp_path, capsys):
    assert main(["index", str(place / "photos"), "--index", str(tmp_path / "bare"), "-q"]) == 0
    code = main(["search", str(place / "query0.jpg"), "--index", str(tmp_path / "bare"), "--label", "Roma"])
    assert code == exits.USAGE
    assert "have no labels. → glocal index PHOTOS --labels folder" in capsys.readouterr().err


def test_several_pictures_are_views_of_one_thing(search):
    code, out, _ = search("--json", queries=("query0.jpg", "query3.jpg"))
    assert code == 0
    found = {hit["path"]: hit["query_number"] for hit in json.loads(out)["results"] if hit["band"] == "same"}
    assert found == {"2019/Roma/0.jpg": 0, "2019/Roma/3.jpg": 1}


def test_options_about_one_picture_are_refused_for_several(search, tmp_path):
    two = ("query0.jpg", "query3.jpg")
    for words, text in [
        (("--box", "0,0,50,50"), "--box marks the object in one picture, and 2 were given"),
        (("--html", tmp_path / "report.html"), "--html draws lines to one picture, and 2 were given"),
    ]:
        code, out, err = search(*words, queries=two)
        assert (code, out) == (exits.USAGE, "")
        assert text in err
    assert not (tmp_path / "report.html").exists()


def test_little_time_is_told_and_much_is_not_used(search):
    code, out, err = search("--json", "--rerank-budget", "0ms")
    assert code == 0
    assert "stopped after 0 of 6 candidates: the time for verification (0 ms) was up" in err
    assert json.loads(out)["verified_candidates"] == 0
    assert json.loads(out)["total_candidates"] == 6
    _, much, err = search("--json", "--rerank-budget", "3600s")
    assert "stopped" not in err
    assert json.loads(much)["results"] == json.loads(search("--json")[1])["results"]
    assert json.loads(much)["verified_candidates"] == 6


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("2s", 2.0), ("1.5s", 1.5), ("0ms", 0.0), (" 250 ms ", 0.25), (None, None)]
)
def test_durations_have_a_unit(text, seconds):
    assert parse_duration(text) is seconds or np.isclose(parse_duration(text), seconds, rtol=0, atol=1e-12)


@pytest.mark.parametrize("text", ["", "200", "2 min", "-1s", "1e3s", "infs", "nan ms", "2s 3ms", "9" * 50 + "s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ConfigError, match=r"is no duration. → --rerank-budget 200ms  or  --rerank-budget 2s"):
        parse_duration(text)
