"""Data sets on disk -> benchmarks: small ones made here, and the real ground truth where it is."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from glocal.errors import ConfigError
from glocal.evaluation.datasets import objects
from glocal.evaluation.datasets.catalogue import READERS, open_benchmark
from glocal.evaluation.datasets.classic import read_classic
from glocal.evaluation.datasets.ilias import read_ilias
from glocal.evaluation.datasets.instre import read_instre
from glocal.evaluation.datasets.landmarks import read_landmarks, read_recognition_solution, read_retrieval_solution
from glocal.evaluation.datasets.published import SIZES
from glocal.evaluation.datasets.revisited import distractor_files, distractors, read_revisited
from glocal.evaluation.protocol import CLASSIC, HOLIDAYS, ILIAS, INSTRE, LANDMARKS, OBJECTS, REVISITED, UKBENCH
from tests.conftest import SHARED

REAL = SHARED / "data" / "revisitop"
PHOTOS_DEV = SHARED / "data" / "photos-dev"
GOLDEN = SHARED / "golden" / "evaluation"
GND = {
    "imlist": ["ashmolean_0", "b", "c", "d"],
    "qimlist": ["all_souls_13", "b"],
    "gnd": [
        {"easy": [2, 0], "hard": [3], "junk": [], "bbx": [136.5, 34.1, 648.5, 955.7]},
        {"easy": [], "hard": [0, 3], "junk": [1], "bbx": [1, 2, 30, 40]},
    ],
}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\xff\xd8\xff")


def write_gnd(path: Path, gnd=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    gnd = GND if gnd is None else gnd
    path.write_bytes(pickle.dumps(gnd, 2) if path.suffix == ".pkl" else json.dumps(gnd).encode())
    return path


def sets_of(query) -> dict[str, list[int]]:
    return {name: members.tolist() for name, members in query.sets.items()}


# Revisited Oxford and Paris


def test_revisited_ground_truth_becomes_queries_with_boxes_and_sets(tmp_path):
    write_gnd(tmp_path / "roxford5k/gnd_roxford5k.pkl")
    touch(tmp_path / "roxford5k/jpg", "c.jpg")
    benchmark = read_revisited(tmp_path, "roxford5k")
    assert benchmark.protocol is REVISITED
    assert benchmark.root == tmp_path / "roxford5k"
    assert benchmark.gallery == ("ashmolean_0", "b", "c", "d")
    assert benchmark.files == ("jpg/ashmolean_0.jpg", "jpg/b.jpg", "jpg/c.jpg", "jpg/d.jpg")
    first, second = benchmark.queries
    assert (first.id, first.file, first.own) == ("all_souls_13", "jpg/all_souls_13.jpg", None)
    assert first.corners == (136.5, 34.1, 648.5, 955.7)
    assert sets_of(first) == {"easy": [0, 2], "hard": [3], "junk": []}
    assert sets_of(second) == {"easy": [], "hard": [0, 3], "junk": [1]}
    assert second.own == 1
    assert "this is not roxford5k, which has 4,993 and 70" in benchmark.notes[0]


@pytest.mark.parametrize(
    ("gnd", "photo", "root", "file"),
    [
        ("roxford5k/gnd_roxford5k.json", "roxford5k/jpg/b.jpg", "roxford5k", "jpg/b.jpg"),
        ("roxford5k/gnd_roxford5k.json", "roxford5k/b.jpg", "roxford5k", "b.jpg"),
        ("gnd_roxford5k.pkl", "oxford5k_images/b.jpg", "", "oxford5k_images/b.jpg"),
        ("gnd_roxford5k.pkl", "jpg/b.jpg", "", "jpg/b.jpg"),
        ("oxford5k/gnd_roxford5k.pkl", "oxford5k/jpg/b.jpg", "oxford5k", "jpg/b.jpg"),
    ],
)
def test_photos_are_found_where_people_keep_them(tmp_path, gnd, photo, root, file):
    write_gnd(tmp_path / gnd)
    touch(tmp_path, photo)
    benchmark = read_revisited(tmp_path, "roxford5k")
    assert benchmark.root == tmp_path / root
    assert benchmark.files[1] == file
    assert (benchmark.root / benchmark.files[1]).is_file()


def test_ground_truth_without_photos_is_enough_to_score_results(tmp_path):
    write_gnd(tmp_path / "gnd_rparis6k.pkl")
    assert read_revisited(tmp_path, "rparis6k").root is None


def test_matlab_ground_truth_counts_from_one_and_says_the_same(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    names = np.empty((4, 1), object)
    names[:, 0] = GND["imlist"]
    asked = np.empty((2, 1), object)
    asked[:, 0] = GND["qimlist"]
    gnd = np.zeros((1, 2), [(key, object) for key in ("bbx", "easy", "hard", "junk")])
    for i, entry in enumerate(GND["gnd"]):
        gnd[0, i]["bbx"] = np.array([entry["bbx"]], float)
        for key in ("easy", "hard", "junk"):
            gnd[0, i][key] = np.array([entry[key]], float) + 1
    (tmp_path / "m").mkdir()
    scipy_io.savemat(tmp_path / "m/gnd_roxford5k.mat", {"imlist": names, "qimlist": asked, "gnd": gnd})
    write_gnd(tmp_path / "p/gnd_roxford5k.pkl")
    from_matlab, from_python = (read_revisited(tmp_path / kind, "roxford5k") for kind in "mp")
    assert from_matlab.digest() == from_python.digest()
    assert sets_of(from_matlab.queries[0]) == {"easy": [0, 2], "hard": [3], "junk": []}


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda g: g.pop("qimlist"), "imlist, qimlist and gnd were expected"),
        (lambda g: g["imlist"].append("../../etc/passwd"), "not inside the folder"),
        (lambda g: g["qimlist"].__setitem__(0, "/etc/passwd"), "not inside the folder"),
        (lambda g: g["imlist"].append("b"), "'b' is listed twice"),
        (lambda g: g["imlist"].append(5), "5 is no name"),
        (lambda g: g["gnd"].pop(), "2 queries, but gnd has 1"),
        (lambda g: g["gnd"][0].pop("easy"), "query 0 (all_souls_13), easy is not there, only bbx, hard, junk"),
        (lambda g: g["gnd"][0].__setitem__("easy", [4]), "easy: 4 is none of the photos 0 to 3"),
        (lambda g: g["gnd"][1].__setitem__("hard", [-1]), "hard: -1 is none of the photos"),
        (lambda g: g["gnd"][1].__setitem__("hard", [0.5]), "hard: 0.5 is none of the photos"),
        (lambda g: g["gnd"][1].__setitem__("hard", [True]), "hard: True is none of the photos"),
        (lambda g: g["gnd"][1].__setitem__("junk", "abc"), "junk must be a list of numbers"),
        (lambda g: g["gnd"][0].__setitem__("bbx", [1, 2, 3]), "bbx must be 4 numbers"),
        (lambda g: g["gnd"][0].__setitem__("bbx", [1, 2, float("nan"), 4]), "bbx must be 4 numbers"),
        (lambda g: g["gnd"][0].__setitem__("bbx", [10, 20, 5, 30]), "is no box"),
        (lambda g: g["gnd"].__setitem__(0, "x"), "gnd must be a list of dictionaries"),
    ],
)
def test_malformed_ground_truth_is_refused_with_its_place(tmp_path, change, fragment):
    gnd = pickle.loads(pickle.dumps(GND))
    change(gnd)
    write_gnd(tmp_path / "gnd_roxford5k.pkl", gnd)
    with pytest.raises(ConfigError) as caught:
        read_revisited(tmp_path, "roxford5k")
    assert fragment in str(caught.value)


@pytest.mark.skipif(not (REAL / "gnd_rparis6k.pkl").is_file(), reason="the ground truth is not on this machine")
@pytest.mark.parametrize(
    ("name", "photos", "counts", "first", "corners"),
    [
        (
            "roxford5k",
            4993,
            {"easy": (3029, 0, 248, 2), "hard": (2497, 1, 284, 0), "junk": (1356, 1, 74, 0)},
            "all_souls_000013",
            (136.5, 34.1, 648.5, 955.7),
        ),
        (
            "rparis6k",
            6322,
            {"easy": (6874, 2, 199, 0), "hard": (10350, 34, 556, 0), "junk": (7153, 0, 344, 5)},
            "paris_defense_000605",
            (130, 17, 843, 732),
        ),
    ],
)
def test_the_real_ground_truth_has_the_counts_of_the_paper(name, photos, counts, first, corners):
    benchmark = open_benchmark(name, REAL)
    assert (len(benchmark.gallery), len(benchmark.queries)) == (photos, 70)
    assert (benchmark.queries[0].id, benchmark.queries[0].corners) == (first, corners)
    assert all(query.own is None for query in benchmark.queries)
    assert benchmark.notes == ()
    for key, (total, least, most, empty) in counts.items():
        sizes = [len(query.sets[key]) for query in benchmark.queries]
        assert (sum(sizes), min(sizes), max(sizes), sizes.count(0)) == (total, least, most, empty)


@pytest.mark.skipif(not (GOLDEN / "gnd_roxford5k.json").is_file(), reason="the golden files are not on this machine")
def test_json_and_object_dump_of_the_real_ground_truth_are_equal():
    from_json = open_benchmark(str(GOLDEN / "gnd_roxford5k.json"), None)
    assert from_json.digest() == open_benchmark("roxford5k", REAL).digest()


# Distractors


def test_distractors_are_those_that_the_list_names(tmp_path):
    home = tmp_path / "revisitop1m"
    home.mkdir()
    (home / "revisitop1m.txt").write_text("12/a.jpg\n\nb c.JPG\n")
    found = distractors(tmp_path)
    assert (found.name, found.root, found.files) == ("revisitop1m", home, ("jpg/12/a.jpg", "jpg/b c.JPG"))
    assert distractors(home) == found
    wanted = ("revisitop1m", (str(home / "jpg/12/a.jpg"), str(home / "jpg/b c.JPG")))
    assert distractor_files("revisitop1m", tmp_path) == wanted
    assert distractor_files(str(home), None) == wanted


def test_any_folder_can_be_distractors(tmp_path):
    touch(tmp_path / "mine", "x/1.jpg", "0.png", "notes.txt")
    assert distractor_files(str(tmp_path / "mine"), None) == (
        "mine",
        (str(tmp_path / "mine/0.png"), str(tmp_path / "mine/x/1.jpg")),
    )


@pytest.mark.parametrize("text", ["a.jpg\na.jpg\n", "../a.jpg\n", "/etc/a.jpg\n", "a" * 2000, ""])
def test_malformed_lists_of_distractors_are_refused(tmp_path, text):
    (tmp_path / "revisitop1m.txt").write_text(text)
    with pytest.raises(ConfigError, match=r"revisitop1m\.txt(, line \d:| names no photo)"):
        distractors(tmp_path)


def test_distractors_that_are_nowhere_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"Where is revisitop1m.*GLOCAL_DATA"):
        distractor_files("revisitop1m", None)
    with pytest.raises(ConfigError, match="No such folder: nowhere"):
        distractor_files("nowhere", None)
    with pytest.raises(ConfigError, match="has no pictures"):
        distractor_files(str(tmp_path / "empty"), None)


# Oxford5k, Paris6k, INSTRE


def test_classic_queries_are_in_the_gallery_and_lists_are_used_as_given(tmp_path):
    gnd = {
        "imlist": ["a", "b", "c"],
        "qimlist": ["b", "b"],
        "gnd": [{"ok": [0, 1], "junk": [2], "bbx": [0, 0, 9, 9]}, {"ok": [1], "junk": [], "bbx": [1, 1, 5, 5]}],
    }
    write_gnd(tmp_path / "oxford5k/gnd_oxford5k.pkl", gnd)
    touch(tmp_path, "oxford5k/jpg/a.jpg")
    benchmark = read_classic(tmp_path, "oxford5k")
    assert benchmark.protocol is CLASSIC
    first, second = benchmark.queries
    assert (first.id, second.id) == ("b", "b#2")
    assert first.own == second.own == 1
    assert sets_of(first) == {"ok": [0, 1], "junk": [2]}


@pytest.mark.parametrize(
    ("boxes", "corners"),
    [
        ([[100, 50, 300, 200], [5, 5, 9, 9]], [(100, 50, 300, 200), (5, 5, 9, 9)]),
        # 200 wide at x = 300: no corner can be left of the other, so that these are sizes.
        ([[300, 50, 200, 100], [5, 5, 9, 9]], [(300, 50, 500, 150), (5, 5, 14, 14)]),
    ],
)
def test_instre_boxes_are_told_apart_over_all_queries(tmp_path, boxes, corners):
    gnd = {
        "imlist": ["INSTRE-S1/01a/1.jpg", "INSTRE-S1/01a/2.jpg"],
        "qimlist": ["INSTRE-S1/01a/3.jpg", "INSTRE-S1/01a/4.jpg"],
        "gnd": [{"ok": [1, 0], "bbx": boxes[0]}, {"ok": [0], "bbx": boxes[1]}],
    }
    write_gnd(tmp_path / "instre/gnd_instre.pkl", gnd)
    touch(tmp_path / "instre", "INSTRE-S1/01a/2.jpg")
    benchmark = read_instre(tmp_path)
    assert benchmark.protocol is INSTRE
    assert benchmark.root == tmp_path / "instre"
    assert benchmark.files == benchmark.gallery
    assert [query.corners for query in benchmark.queries] == corners
    assert sets_of(benchmark.queries[0]) == {"ok": [0, 1]}


# Holidays, UKBench, ILIAS


def test_holidays_names_say_what_belongs_together(tmp_path):
    names = ["100000.jpg", "100001.jpg", "100002.jpg", "100100.jpg", "100101.jpg"]
    touch(tmp_path / "holidays/jpg", *names, "notes.txt", "cover.jpg")
    benchmark = open_benchmark("holidays", tmp_path)
    assert benchmark.protocol is HOLIDAYS
    assert benchmark.gallery == tuple(names)
    assert [query.id for query in benchmark.queries] == ["100000.jpg", "100100.jpg"]
    assert sets_of(benchmark.queries[0]) == {"ok": [1, 2], "junk": [0]}
    assert sets_of(benchmark.queries[1]) == {"ok": [4], "junk": [3]}
    assert [query.own for query in benchmark.queries] == [0, 3]
    assert (benchmark.root / benchmark.files[0]).is_file()
    assert "this is not holidays, which has 1,491 and 500" in benchmark.notes[0]


def test_ukbench_asks_with_every_photo_for_its_four(tmp_path):
    touch(tmp_path / "ukbench/full", *(f"ukbench{i:05}.jpg" for i in range(8)))
    benchmark = open_benchmark("ukbench", tmp_path)
    assert benchmark.protocol is UKBENCH
    assert len(benchmark.queries) == 8
    assert sets_of(benchmark.queries[5]) == {"ok": [4, 5, 6, 7]}
    assert benchmark.queries[5].own == 5


@pytest.fixture
def ilias(tmp_path):
    core = tmp_path / "ilias_core"
    touch(core, "bold_000/query/Q000_00.jpg", "bold_000/pos/P000_00.jpg", "bold_000/pos/P000_01.jpg")
    touch(core, "zip_999/query/Q999_00.jpg", "zip_999/query/Q999_01.jpg", "zip_999/pos/P999_00.jpg")
    (core / "bold_000/query/T000.txt").write_text("a thing")
    (core / "bold_000/query/Q000_00_bbox.txt").write_text("10 20 30 40\n-5 30 10 50\n\n")
    for name in ("Q999_00", "Q999_01"):
        (core / f"zip_999/query/{name}_bbox.txt").write_text("0 0 5 6\n")
    return core


def test_ilias_asks_with_whole_photos_unless_boxes_are_wanted(ilias, tmp_path):
    benchmark = open_benchmark("ilias", tmp_path)
    assert benchmark.protocol is ILIAS
    assert benchmark.gallery == ("bold_000/pos/P000_00.jpg", "bold_000/pos/P000_01.jpg", "zip_999/pos/P999_00.jpg")
    assert benchmark.queries[0].id == "bold_000/query/Q000_00.jpg"
    assert [sets_of(query) for query in benchmark.queries] == [{"ok": [0, 1]}, {"ok": [2]}, {"ok": [2]}]
    assert [query.corners for query in benchmark.queries] == [None, None, None]
    assert "without its 100 million distractors" in benchmark.notes[0]
    with_boxes = read_ilias(tmp_path, boxes=True)
    # Around 10..40 x 20..60 and -5..5 x 30..80, and not left of the photo.
    assert [query.corners for query in with_boxes.queries] == [(0, 20, 40, 80), (0, 0, 5, 6), (0, 0, 5, 6)]


@pytest.mark.parametrize("text", ["", "1 2 3\n", "1 2 3 x\n", "1 2 0 4\n", "1 2 nan 4\n"])
def test_malformed_ilias_boxes_are_refused(ilias, text):
    (ilias / "zip_999/query/Q999_01_bbox.txt").write_text(text)
    with pytest.raises(ConfigError, match=r"Q999_01_bbox\.txt"):
        read_ilias(ilias, boxes=True)


def test_a_photo_outside_of_query_and_pos_is_no_ilias(ilias):
    touch(ilias, "zip_999/other/x.jpg")
    with pytest.raises(ConfigError, match=r"zip_999/other/x\.jpg is neither"):
        read_ilias(ilias)


# GLDv2

A, B, C, Q, R, S = (f"{letter}123456789abcdef" for letter in "abcdef")


@pytest.fixture
def gldv2(tmp_path):
    home = tmp_path / "gldv2"
    touch(home, "index/a/1/2/x.jpg", "test/a/1/2/x.jpg")
    (home / "index.csv").write_text(f"id\n{B}\n{A}\n{C}\n")
    (home / "test.csv").write_text(f"id\n{Q}\n{R}\n{S}\n")
    (home / "retrieval_solution_v2.1.csv").write_text(
        f"id,images,Usage\n{Q},{A} {B},Public\n{R},{C},Private\n{S},None,Ignored\n"
    )
    return home


def test_gldv2_public_and_private_are_two_sets(gldv2, tmp_path):
    benchmark = open_benchmark("gldv2", tmp_path)
    assert benchmark.protocol is LANDMARKS
    assert benchmark.gallery == (B, A, C)
    assert benchmark.files[1] == f"index/a/1/2/{A}.jpg"
    assert [query.id for query in benchmark.queries] == [Q, R]
    assert benchmark.queries[0].file == f"test/d/1/2/{Q}.jpg"
    assert [sets_of(query) for query in benchmark.queries] == [{"public": [0, 1]}, {"private": [2]}]
    assert benchmark.root == gldv2
    assert "this is not gldv2, which has 761,757" in benchmark.notes[0]


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        (f"{Q},{A},Public", f'line 5: query "{Q}" is there twice'),
        (f"1{Q[1:]},{S},Public", f'line 5: "{S}" is no photo of the index'),
        (f"1{Q[1:]},{A} {A},Public", "names a photo twice"),
        (f"1{Q[1:]},,Public", "has no photos, but is not Ignored"),
        (f"1{Q[1:]},{A},Secret", "Usage is Public, Private, Ignored"),
        (f"1{Q[1:]},{A}", 'line 5: "id,images,Usage" was expected'),
        (f'1{Q[1:]},"{A}",Public', "was expected"),
        (f"../..,{A},Public", "is no image id"),
        (f"abc,{A},Public", '"abc" is no image id (16'),
        (f"1{Q[1:]},{A},Public", "is not in test.csv"),
    ],
)
def test_malformed_gldv2_solutions_are_refused_with_their_line(gldv2, line, fragment):
    path = gldv2 / "retrieval_solution_v2.1.csv"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ConfigError) as caught:
        read_landmarks(gldv2)
    assert fragment in str(caught.value)


def test_solutions_keep_what_they_say(tmp_path):
    path = tmp_path / "solution.csv"
    path.write_text("id,landmarks,Usage\r\nq1,27 12,Public\r\nq2,,Private\r\nq3,5,Ignored\r\n")
    assert read_recognition_solution(path) == {
        "q1": ((27, 12), "Public"),
        "q2": ((), "Private"),
        "q3": ((5,), "Ignored"),
    }
    path.write_text("id,landmarks,Usage\nq1,1e3,Public\n")
    with pytest.raises(ConfigError, match='line 2: "1e3" is no landmark'):
        read_recognition_solution(path)
    path.write_text("id,images,Usage\nq1,a b,Private\nq2,None,Ignored\n")
    assert read_retrieval_solution(path) == {"q1": (("a", "b"), "Private"), "q2": ((), "Ignored")}
    path.write_text("id,landmarks\nq1,1\n")
    with pytest.raises(ConfigError, match='line 1: "id,landmarks,Usage" was expected'):
        read_recognition_solution(path)


@pytest.mark.skipif(not (GOLDEN / "gldv2.json").is_file(), reason="the golden files are not on this machine")
def test_golden_solutions_have_the_counts_of_the_official_program():
    wanted = json.loads((GOLDEN / "gldv2.json").read_text("utf-8"))
    retrieval = read_retrieval_solution(GOLDEN / "gldv2_retrieval_solution.csv")
    usages = [usage for _, usage in retrieval.values()]
    counts = wanted["retrieval"]
    assert usages.count("Public") == counts["public"]["queries"]
    assert usages.count("Private") == counts["private"]["queries"]
    assert usages.count("Ignored") == counts["ignored"]
    recognition = read_recognition_solution(GOLDEN / "gldv2_recognition_solution.csv")
    for usage in ("Public", "Private"):
        found = [labels for labels, its in recognition.values() if its == usage]
        assert len(found) == wanted["recognition"][usage.lower()]["images"]
        assert sum(map(bool, found)) == wanted["recognition"][usage.lower()]["with_landmark"]


# One's own


def own(tmp_path, **changes):
    truth = {
        "gallery": ["img/a/1.jpg", "img/a/2.jpg", "img/b/3.jpg", "img/b/4.jpg"],
        "queries": [
            {"query": "img/a/5.jpg", "box": [1, 2, 30.5, 40], "origin": "roxford5k", "easy": ["img/a/2.jpg"]},
            {"query": "img/b/6.jpg", "box": None, "origin": "groups", "easy": ["img/b/4.jpg", "img/b/3.jpg"]},
            {"query": "img/a/1.jpg", "origin": "roxford5k", "hard": ["img/a/2.jpg"], "junk": ["img/b/3.jpg"]},
        ],
    } | changes
    folder = tmp_path / "mine"
    folder.mkdir(exist_ok=True)
    (folder / "groundtruth.json").write_text(json.dumps(truth))
    return folder


def test_own_ground_truth_is_scored_as_the_revisited_benchmarks_and_by_origin(tmp_path):
    benchmark = open_benchmark(str(own(tmp_path)), None)
    assert (benchmark.name, benchmark.protocol) == ("mine", REVISITED)
    first, second, third = benchmark.queries
    assert first.corners == (1, 2, 30.5, 40)
    assert sets_of(second) == {"easy": [2, 3], "hard": [], "junk": []}
    # A query of the gallery does not find itself.
    assert third.own == 0
    assert sets_of(third) == {"easy": [], "hard": [1], "junk": [0, 2]}
    assert benchmark.groups == {"roxford5k": {"img/a/5.jpg", "img/a/1.jpg"}, "b": {"img/b/6.jpg"}}
    assert benchmark.notes == (
        "own data: 4 photos, 3 queries; compare with no published number",
        "queries by origin: groups 1, roxford5k 2",
        "this is not roxford5k: 2 of its 70 queries, and 2 gallery photos in their folder where it has 4,993; compare"
        " with no published roxford5k number",
    )


def test_notes_of_own_data_come_first(tmp_path):
    benchmark = open_benchmark(str(own(tmp_path, notes="resized to 512 px")), None)
    assert benchmark.notes[0] == "resized to 512 px"
    assert benchmark.notes[-1].startswith("this is not roxford5k")


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"gallery": ["../x.jpg"]}, "not inside"),
        ({"gallery": ["a.jpg", "./a.jpg"]}, "'a.jpg' is in the gallery twice"),
        ({"gallery": "a.jpg"}, "must be a list of names"),
        ({"queries": {}}, "two lists, were expected"),
        ({"queries": [3]}, "query 0 must be a dictionary"),
        ({"queries": [{"query": "q.jpg", "easy": ["other.jpg"]}]}, "'other.jpg' is not in the gallery"),
        (
            {"queries": [{"query": "q.jpg", "easy": ["img/a/1.jpg"], "junk": ["img/a/1.jpg"]}]},
            "both easy and junk",
        ),
        ({"queries": [{"query": "q.jpg", "easy": ["img/a/1.jpg"], "box": [5, 5, 1, 1]}]}, "box: 5,5,1,1 is no box"),
        ({"queries": [{"query": "q.jpg", "origin": 5}]}, "origin: 5 is no name"),
        ({"queries": []}, "nothing to ask"),
        ({"notes": 7}, "notes must be a list"),
    ],
)
def test_malformed_own_ground_truth_is_refused(tmp_path, changes, fragment):
    with pytest.raises(ConfigError) as caught:
        open_benchmark(str(own(tmp_path, **changes)), None)
    assert fragment in str(caught.value)


def test_json_that_is_none_is_refused(tmp_path):
    for text in ("{", "[" * 100_000, '"\xff'):
        (tmp_path / "groundtruth.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(ConfigError, match=r"groundtruth\.json is no JSON"):
            open_benchmark(str(tmp_path), None)


@pytest.mark.skipif(not PHOTOS_DEV.is_dir(), reason="the development set is not on this machine")
def test_the_development_set_says_that_it_is_not_revisited_oxford():
    benchmark = open_benchmark(str(PHOTOS_DEV), None)
    assert (len(benchmark.gallery), len(benchmark.queries)) == (1060, 127)
    assert {name: len(members) for name, members in benchmark.groups.items()} == {
        "roxford5k": 12,
        "roxford5k-derived": 22,
        "smvs-dvd": 60,
        "dreambooth": 16,
        "strecha": 6,
        "rosetta": 3,
        "opensfm": 3,
        "bundler": 3,
        "buddha": 2,
    }
    assert "queries by origin: groups 93, roxford5k 12, roxford5k-derived 22" in benchmark.notes
    assert any(
        note.startswith("this is not roxford5k: 12 of its 70 queries, and 889 gallery photos")
        for note in benchmark.notes
    )
    official = [query for query in benchmark.queries if query.id in benchmark.groups["roxford5k"]]
    assert all(query.corners is not None for query in official)


def test_a_folder_per_object_asks_with_every_photo_that_has_a_partner(tmp_path):
    touch(tmp_path / "things", "cup/1.jpg", "cup/2.jpg", "cup/deep/3.jpg", "pen/1.jpg", "loose.jpg", "readme.txt")
    benchmark = open_benchmark(str(tmp_path / "things"), None)
    assert (benchmark.name, benchmark.protocol, benchmark.root) == ("things", OBJECTS, tmp_path / "things")
    assert benchmark.gallery == ("loose.jpg", "cup/1.jpg", "cup/2.jpg", "cup/deep/3.jpg", "pen/1.jpg")
    assert [query.id for query in benchmark.queries] == ["cup/1.jpg", "cup/2.jpg", "cup/deep/3.jpg"]
    assert [sets_of(query) for query in benchmark.queries] == [
        {"ok": [2, 3], "junk": [1]},
        {"ok": [1, 3], "junk": [2]},
        {"ok": [1, 2], "junk": [3]},
    ]
    assert [query.own for query in benchmark.queries] == [1, 2, 3]
    assert benchmark.notes == (
        "own data: 5 photos, 3 queries; compare with no published number",
        "1 labelled photos have no other of their label to find, and do not count",
    )


def table(tmp_path, *rows, header=("path", "label")):
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_a_table_without_is_query_leaves_one_out(tmp_path):
    path = table(tmp_path, ("a, b.jpg", "x"), ("c.jpg", "x"), ("d.jpg", ""), ("e.jpg", "y"))
    benchmark = open_benchmark(str(path), None)
    assert benchmark.gallery == ("a, b.jpg", "c.jpg", "d.jpg", "e.jpg")
    assert [sets_of(query) for query in benchmark.queries] == [{"ok": [1], "junk": [0]}, {"ok": [0], "junk": [1]}]
    assert open_benchmark(str(tmp_path), None).digest() == benchmark.digest()


def test_a_table_with_is_query_searches_only_the_others(tmp_path):
    header = ("path", "label", "split", "is_query", "x", "y", "w", "h")
    path = table(
        tmp_path,
        ("train.jpg", "cup", "train", "0", "", "", "", ""),
        ("q.jpg", "cup", "test", "True", "10", "20", "30.5", "40"),
        ("q.jpg", "pen", "test", "1", "", "", "", ""),
        ("g1.jpg", "pen", "test", "0", "", "", "", ""),
        ("g2.jpg", "cup", "", "no", "", "", "", ""),
        ("g3.jpg", "", "validation", "", "", "", "", ""),
        ("lonely.jpg", "hat", "test", "yes", "", "", "", ""),
        header=header,
    )
    benchmark = open_benchmark(str(path), None)
    assert benchmark.gallery == ("g1.jpg", "g2.jpg", "g3.jpg")
    assert [(q.id, q.file, q.corners, sets_of(q), q.own) for q in benchmark.queries] == [
        ("q.jpg", "q.jpg", (10, 20, 40.5, 60), {"ok": [1]}, None),
        ("q.jpg#2", "q.jpg", None, {"ok": [0]}, None),
        ("lonely.jpg", "lonely.jpg", None, {"ok": []}, None),
    ]


def test_is_gallery_puts_a_query_into_the_gallery_as_junk_for_itself(tmp_path):
    header = ("path", "label", "is_query", "is_gallery")
    path = table(tmp_path, ("a.jpg", "x", "1", "1"), ("b.jpg", "x", "0", "1"), ("c.jpg", "x", "0", "0"), header=header)
    benchmark = open_benchmark(str(path), None)
    assert benchmark.gallery == ("a.jpg", "b.jpg")
    assert sets_of(benchmark.queries[0]) == {"ok": [1], "junk": [0]}


@pytest.mark.parametrize(
    ("row", "fragment"),
    [
        (("../a.jpg", "x", "1", "", "", "", ""), "is not inside"),
        (("a.jpg", "x", "maybe", "", "", "", ""), 'a.jpg: is_query is 1 or 0, not "maybe"'),
        (("a.jpg", "", "1", "", "", "", ""), "a.jpg is a query without a label"),
        (("a.jpg", "x", "1", "1", "2", "", ""), "must be four numbers or all empty, not 1,2,,"),
        (("a.jpg", "x", "1", "1", "2", "0", "3"), "a box of 0 × 3 pixels"),
        (("a.jpg", "x", "1", "1", "2", "inf", "3"), "must be 4 numbers"),
        (("a.jpg", "x"), "7 columns are needed"),
    ],
)
def test_malformed_tables_are_refused_with_the_photo(tmp_path, row, fragment):
    good = ("g.jpg", "x", "0", "", "", "", "")
    path = table(tmp_path, good, row, header=("path", "label", "is_query", "x", "y", "w", "h"))
    with pytest.raises(ConfigError) as caught:
        open_benchmark(str(path), None)
    assert fragment in str(caught.value)
    assert "data.root" not in str(caught.value)


def test_too_many_pairs_are_refused_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "MAX_ANSWERS", 10)
    path = table(tmp_path, *((f"{i}.jpg", "x") for i in range(4)))
    with pytest.raises(ConfigError, match="more than 10 pairs of photos → ask fewer"):
        open_benchmark(str(path), None)


# By name


def test_every_name_has_a_published_size():
    assert set(READERS) == set(SIZES)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r'Unknown benchmark "roxfrd5k".*Did you mean roxford5k'):
        open_benchmark("roxfrd5k", None)
    with pytest.raises(ConfigError, match="Did you mean rparis6k"):
        open_benchmark("R-Paris_6k", None)


@pytest.mark.parametrize("name", READERS)
def test_a_name_without_its_data_says_where_they_are_looked_for(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"Where is {name}\? → --data DIR or GLOCAL_DATA"):
        open_benchmark(name, None)
    with pytest.raises(ConfigError, match="--data DIR"):
        open_benchmark(name, tmp_path)
    with pytest.raises(ConfigError, match="No such folder"):
        open_benchmark(name, tmp_path / "none")


def test_a_benchmark_is_known_by_its_folder_and_by_its_ground_truth(tmp_path):
    write_gnd(tmp_path / "roxford5k/gnd_roxford5k.json")
    write_gnd(tmp_path / "elsewhere/gnd_rparis6k.json")
    assert open_benchmark(str(tmp_path / "roxford5k"), None).name == "roxford5k"
    assert open_benchmark(str(tmp_path / "elsewhere"), None).name == "rparis6k"
    assert open_benchmark(str(tmp_path / "elsewhere/gnd_rparis6k.json"), None).name == "rparis6k"


def test_a_file_that_is_no_benchmark_is_refused(tmp_path):
    touch(tmp_path, "a.jpg")
    with pytest.raises(ConfigError, match=r"a\.jpg is no benchmark"):
        open_benchmark(str(tmp_path / "a.jpg"), None)
    with pytest.raises(ConfigError, match="nothing to ask"):
        open_benchmark(str(tmp_path), None)
