"""The Lab over HTTP: rankings that were made by hand, and folders that somebody hostile made."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glocal.cli.main import main
from glocal.evaluation.datasets.catalogue import READERS, open_benchmark
from glocal.evaluation.datasets.own import read_own
from glocal.web import lab_reading, lab_schemas
from tests.conftest import save, texture
from tests.web.lab_runs import NAMES, STRONG, WEAK, Client, app_of, file_of, make_data, make_run

RUNS = "/v1/lab/runs"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    top = tmp_path_factory.mktemp("lab")
    data = make_data(top / "data")
    make_run(top / "runs/weak", data, WEAK)
    make_run(top / "runs/strong", data, STRONG, rerank="geometric", date="2026-01-03 03:04")
    return top


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the data and the runs, to be damaged; the weak run says where its own copy of the data is."""
    make_data(tmp_path / "data")
    make_run(tmp_path / "runs/weak", tmp_path / "data", WEAK)
    return tmp_path


@pytest.fixture(scope="module")
def client(made):
    with Client(app_of(made / "runs")) as client:
        yield client


def serve(folder: Path) -> Client:
    return Client(app_of(folder))


def ids(client) -> dict[str, str]:
    return {run["name"]: run["run"] for run in client.get(RUNS).json()["runs"]}


def names_of(entries) -> list[str]:
    return [Path(entry["name"]).stem for entry in entries]


def test_the_list_names_every_run_with_its_means_the_latest_first(client):
    found = client.get(RUNS).json()
    assert [run["name"] for run in found["runs"]] == ["strong", "weak"]
    assert found["unreadable"] == []
    weak = found["runs"][1]
    assert weak["benchmark"] == "data"
    assert weak["num_queries"] == 2
    assert weak["setups"] == ["easy", "medium", "hard"]
    # Query a: hits at places 2 and 4 of three right ones; query b: perfect.
    assert weak["means"]["medium"] == pytest.approx(((0 + 1 / 2 + 1 / 3 + 2 / 4) / 6 + 1) / 2, abs=1e-6)


def test_every_photo_of_a_ranking_is_told_right_wrong_or_ignored_and_what_was_never_found_is_missed(client):
    answer = client.get(f"{RUNS}/{ids(client)['weak']}/queries/0?setup=medium").json()
    assert names_of(answer["results"]) == ["a0", "b1", "a1", "c0", "a2", "b0", "b2"]
    assert [each["relation"] for each in answer["results"]] == [
        "ignored", "wrong", "right", "wrong", "right", "wrong", "wrong",
    ]  # fmt: skip
    assert [each["place"] for each in answer["results"]] == [None, 1, 2, 3, 4, 5, 6]
    assert [each["photo"] for each in answer["results"]] == [NAMES.index(name) for name in WEAK["a0"].split()]
    assert names_of(answer["missed"]) == ["a3"]
    assert answer["missed"][0]["place"] is None
    assert (answer["num_missed"], answer["num_right"], answer["first"]) == (1, 3, 2)
    assert answer["ap"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 6, abs=1e-6)
    assert [answer["curve"][i] for i in (0, 33, 66, 67, 100)] == [0.5, 0.5, 0.5, 0, 0]


def test_a_setup_changes_what_is_right_and_what_is_ignored(client):
    run = ids(client)["weak"]
    hard = client.get(f"{RUNS}/{run}/queries/0?setup=hard").json()
    assert dict(zip(names_of(hard["results"]), (each["relation"] for each in hard["results"]), strict=True)) == {
        "a0": "ignored", "b1": "wrong", "a1": "ignored", "c0": "wrong", "a2": "right", "b0": "wrong", "b2": "wrong",
    }  # fmt: skip
    assert [each["place"] for each in hard["results"]] == [None, 1, None, 2, 3, 4, 5]
    assert client.get(f"{RUNS}/{run}/queries/0").json()["setup"] == "medium"


def test_right_photos_below_the_shown_ones_are_missed_with_their_place(client):
    answer = client.get(f"{RUNS}/{ids(client)['weak']}/queries/0?setup=medium&top=3").json()
    assert names_of(answer["results"]) == ["a0", "b1", "a1"]
    assert [(Path(each["name"]).stem, each["place"]) for each in answer["missed"]] == [("a2", 4), ("a3", None)]


def test_the_curve_of_a_run_is_the_mean_over_its_queries(client):
    curve = client.get(f"{RUNS}/{ids(client)['weak']}/curves").json()["curves"]["medium"]
    assert len(curve) == 101
    assert [curve[i] for i in (0, 66, 67, 100)] == [0.75, 0.75, 0.5, 0.5]


def test_details_hold_the_card_the_queries_and_a_row_of_latex(client):
    run = client.get(f"{RUNS}/{ids(client)['weak']}").json()
    assert {each["title"]: each["value"] for each in run["card"]}["Query boxes"] == "on, corners by round"
    assert [query["name"] for query in run["queries"]] == [file_of("a0"), file_of("b0")]
    assert run["queries"][1]["ap"] == {"easy": 1.0, "medium": 1.0, "hard": 1.0}
    assert run["latex"]["row"].startswith("rootsift & data & none & ")
    assert " & 61.11 & " in run["latex"]["row"]
    assert run["has_answers"]
    assert run["trouble"] == ""


def test_a_comparison_lists_the_biggest_losses_first(client):
    known = ids(client)
    found = client.get(f"/v1/lab/compare?a={known['weak']}&b={known['strong']}").json()
    medium = next(each for each in found["setups"] if each["setup"] == "medium")
    loss = (0 + 1 / 2 + 1 / 2 + 2 / 3) / 4 - 1
    gain = 1 - (0 + 1 / 2 + 1 / 3 + 2 / 4) / 6
    assert [each["name"] for each in medium["moved"]] == [file_of("b0"), file_of("a0")]
    assert [each["difference"] for each in medium["moved"]] == pytest.approx([loss, gain], abs=1e-6)
    assert medium["difference"] == pytest.approx((loss + gain) / 2, abs=1e-6)
    assert (medium["better"], medium["worse"], medium["equal"]) == (1, 1, 0)
    assert found["differs"] == [{"key": "rerank", "title": "Re-ranking", "a": "none", "b": "geometric"}]


def test_runs_that_were_asked_differently_are_not_compared(made, tmp_path):
    data = make_data(tmp_path / "data")
    make_run(tmp_path / "runs/cropped", data, WEAK)
    make_run(tmp_path / "runs/whole", data, WEAK, crop="off")
    with serve(tmp_path / "runs") as client:
        known = ids(client)
        answer = client.get(f"/v1/lab/compare?a={known['cropped']}&b={known['whole']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "runs_not_comparable")
    assert "crop" in answer.json()["detail"]


def test_thumbnails_are_small_and_carry_nothing_of_the_file(copied):
    exif = Image.Exif()
    exif[0x010E] = "canary-description"
    save(copied / "data" / file_of("b1"), texture(5, 400, 200), exif=exif.tobytes())
    with serve(copied / "runs") as client:
        run = ids(client)["weak"]
        answer = client.get(f"{RUNS}/{run}/photos/{NAMES.index('b1')}/thumb?w=160")
        again = client.get(
            f"{RUNS}/{run}/photos/{NAMES.index('b1')}/thumb?w=160", headers={"If-None-Match": answer.headers["etag"]}
        )
    assert answer.headers["content-type"] == "image/webp"
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (160, 80)
    assert not picture.getexif()
    assert b"canary" not in answer.content
    assert again.status_code == 304


def test_the_thumbnail_of_a_query_shows_its_box(client):
    run = ids(client)["weak"]
    asked = Image.open(io.BytesIO(client.get(f"{RUNS}/{run}/queries/0/thumb").content)).convert("RGB")
    plain = Image.open(io.BytesIO(client.get(f"{RUNS}/{run}/photos/0/thumb").content)).convert("RGB")
    outside, inside = (110, 5, 155, 115), (20, 30, 80, 90)
    assert np.mean(asked.crop(outside)) < 0.8 * np.mean(plain.crop(outside))
    assert np.mean(asked.crop(inside)) == pytest.approx(np.mean(plain.crop(inside)), rel=0.03)


def test_a_run_of_the_command_line_is_found_with_its_data(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in "ab":
        for seed in range(2):
            save(tmp_path / f"mine/{label}/{seed}.jpg", texture(ord(label), 160, 120), quality=50 + 30 * seed)
    assert main(["eval", "mine", "--model", "rootsift", "--no-report", "--out", "runs/first"]) == 0
    with serve(tmp_path / "runs") as client:
        run = client.get(f"{RUNS}/{ids(client)['first']}").json()
        thumb = client.get(run["queries"][0]["thumb_url"])
    assert run["has_answers"]
    assert thumb.status_code == 200


def test_a_run_says_itself_where_its_data_was_whatever_the_command(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in "ab":
        for seed in range(2):
            save(tmp_path / f"mine/{label}/{seed}.jpg", texture(ord(label), 160, 120), quality=50 + 30 * seed)
    assert main(["eval", "mine", "--model", "rootsift", "--no-report", "--out", "runs/first"]) == 0
    record = json.loads((tmp_path / "runs/first/metrics.json").read_text())
    assert record["data"] == {"name": str(tmp_path / "mine")}
    far = tmp_path / "far/away/from/it/first"
    shutil.copytree(tmp_path / "runs/first", far)
    change(far, card={**record["card"], "command": ""})
    monkeypatch.chdir("/")
    with serve(far.parent) as client:
        answer = client.get(f"{RUNS}/{ids(client)['first']}")
        assert answer.json()["has_answers"]
        assert str(tmp_path) not in answer.text
    change(far, data={"name": str(made / "data")})  # other questions
    with serve(far.parent) as client:
        assert not client.get(f"{RUNS}/{ids(client)['first']}").json()["has_answers"]


def test_a_data_set_below_a_root_is_recorded_with_it(tmp_path, monkeypatch):
    made = read_own(make_data(tmp_path / "data"))
    monkeypatch.setitem(READERS, "ukbench", lambda root: made)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets").mkdir()
    assert open_benchmark("ukbench", Path("sets")).place == {"name": "ukbench", "root": str(tmp_path / "sets")}


@pytest.mark.parametrize(
    "data",
    [{"name": "mine"}, {"name": "\0"}, {"name": "/x" * 5000}, {"root": "/"}, {"name": "/", "root": "/"}, {"name": "/"}],
)
def test_a_record_cannot_name_a_folder_of_this_computer(copied, data):
    change(copied / "runs/weak", data=data, card={"ground_truth": "0" * 64, "command": ""})
    with serve(copied / "runs") as client:
        assert not client.get(f"{RUNS}/{ids(client)['weak']}").json()["has_answers"]


def test_data_that_has_changed_is_not_taken_for_what_was_measured(copied):
    truth = json.loads((copied / "data/groundtruth.json").read_text())
    truth["queries"][0]["easy"] = []
    (copied / "data/groundtruth.json").write_text(json.dumps(truth))
    with serve(copied / "runs") as client:
        run = ids(client)["weak"]
        details = client.get(f"{RUNS}/{run}").json()
        answer = client.get(f"{RUNS}/{run}/queries/0").json()
        thumb = client.get(f"{RUNS}/{run}/photos/0/thumb")
    assert "has changed" in details["trouble"]
    assert {each["relation"] for each in answer["results"]} == {"unknown"}
    assert names_of(answer["results"]) == WEAK["a0"].split()
    assert (thumb.status_code, thumb.json()["code"]) == (404, "run_not_found")


def test_a_photo_that_became_a_link_out_of_the_data_is_not_shown(copied):
    save(copied / "secret/key.jpg", texture(99))
    shutil.rmtree(copied / "data/photos")
    (copied / "data/photos").symlink_to(copied / "secret")
    (copied / "secret/a0.jpg").write_bytes((copied / "secret/key.jpg").read_bytes())
    with serve(copied / "runs") as client:
        answer = client.get(f"{RUNS}/{ids(client)['weak']}/photos/0/thumb")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "name", ["..", "../weak", "weak", "r" + "0" * 16, "%2e%2e%2fweak", "r" + "g" * 16, "~", "a\x00"]
)
def test_an_id_that_is_none_of_a_run_finds_nothing(client, name):
    for path in (
        f"{RUNS}/{name}",
        f"{RUNS}/{name}/queries/0",
        f"{RUNS}/{name}/photos/0/thumb",
        f"{RUNS}/{name}/curves",
    ):
        answer = client.get(path.replace("\x00", "%00"))
        assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "path",
    ["queries/2", "queries/-1", "queries/1e9", "queries/99999999999", "queries/0?setup=none", "queries/0?top=0",
     "queries/0?top=201", "photos/8/thumb", "photos/99999999/thumb", "photos/0/thumb?w=161", "queries/2/thumb"],
)  # fmt: skip
def test_a_number_that_is_not_there_is_a_problem_of_the_client(client, path):
    answer = client.get(f"{RUNS}/{ids(client)['weak']}/{path}")
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"


def change(run: Path, **fields) -> None:
    whole = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(whole | fields))


def damage_text(text):
    return lambda run: (run / "metrics.json").write_text(text)


BAD_RECORDS = {
    "no json": damage_text("{"),
    "a list": damage_text("[]"),
    "nested": damage_text("[" * 100_000),
    "a long number": damage_text('{"format": ' + "9" * 5000 + "}"),
    "no text": lambda run: (run / "metrics.json").write_bytes(b"\xff\xfe\x00"),
    "another format": lambda run: change(run, format=2),
    "no queries": lambda run: change(run, queries=[]),
    "endless cutoffs": lambda run: change(run, cutoffs=[float("inf")]),
    "many setups": lambda run: change(run, setups=[str(i) for i in range(100)]),
    "setups of a text": lambda run: change(run, setups="abc"),
    "a card of numbers": lambda run: change(run, card=[1]),
    "unknown members": lambda run: change(run, groups={"g": {"ids": ["nobody"]}}),
    "recognition": damage_text(json.dumps({"benchmark": "gldv2-recognition", "metrics": {}, "cost": {}, "card": {}})),
}


@pytest.mark.parametrize("how", BAD_RECORDS)
def test_a_damaged_record_is_listed_as_unreadable_and_answered_with_a_problem(copied, how):
    BAD_RECORDS[how](copied / "runs/weak")
    with serve(copied / "runs") as client:
        found = client.get(RUNS)
        assert found.status_code == 200
        assert found.json()["runs"] == []
        (bad,) = found.json()["unreadable"]
        answer = client.get(f"{RUNS}/{bad['run']}")
    assert (answer.status_code, answer.json()["code"]) == (422, "run_damaged")
    assert str(copied) not in found.text + answer.text


@pytest.mark.parametrize("ap", [float("nan"), 2.0, -1.0, 1e308, "x", None])
def test_a_score_that_is_none_is_refused_and_null_does_not_count(copied, ap):
    whole = json.loads((copied / "runs/weak/metrics.json").read_text())
    whole["queries"][0]["scores"]["medium"]["ap"] = ap
    (copied / "runs/weak/metrics.json").write_text(json.dumps(whole))
    with serve(copied / "runs") as client:
        found = client.get(RUNS).json()
    if ap is None or ap != ap:
        assert found["runs"][0]["means"]["medium"] == 1
    else:
        assert len(found["unreadable"]) == 1


def test_a_record_above_the_limit_is_not_read(copied, monkeypatch):
    size = os.stat(copied / "runs/weak/metrics.json").st_size
    for limit, readable in ((size, 1), (size - 1, 0)):
        monkeypatch.setattr(lab_reading, "MAX_RECORD", limit)
        with serve(copied / "runs") as client:
            assert len(client.get(RUNS).json()["runs"]) == readable


def test_a_record_that_is_no_regular_file_is_no_run(copied):
    for name in ("link", "pipe", "folder"):
        (copied / "runs" / name).mkdir()
    (copied / "runs/link/metrics.json").symlink_to(copied / "runs/weak/metrics.json")
    os.mkfifo(copied / "runs/pipe/metrics.json")
    (copied / "runs/folder/metrics.json").mkdir()
    (copied / "runs/loop").symlink_to(copied / "runs")
    with serve(copied / "runs") as client:
        assert list(ids(client)) == ["weak"]


def write_ranks(run: Path, **arrays) -> None:
    with np.load(run / "ranks.npz") as archive:
        whole = dict(archive) | arrays
    np.savez_compressed(run / "ranks.npz", **{name: each for name, each in whole.items() if each is not None})


BAD_RANKS = {
    "no file": lambda run: (run / "ranks.npz").unlink(),
    "no archive": lambda run: (run / "ranks.npz").write_bytes(b"PK\x03\x04 nothing"),
    "no ranks": lambda run: write_ranks(run, ranks=None),
    "one dimension": lambda run: write_ranks(run, ranks=np.arange(8)),
    "three dimensions": lambda run: write_ranks(run, ranks=np.zeros((2, 2, 2), np.int32)),
    "other queries": lambda run: write_ranks(run, queries=np.array(["x", "y"])),
    "more queries": lambda run: write_ranks(run, ranks=np.zeros((8, 3), np.int32)),
    "floats": lambda run: write_ranks(run, ranks=np.zeros((8, 2))),
    "names twice": lambda run: write_ranks(run, gallery=np.array(["x"] * 8)),
    "names of numbers": lambda run: write_ranks(run, gallery=np.arange(8)),
    "too many": lambda run: write_ranks(run, ranks=np.zeros(((lab_reading.MAX_RANKS >> 3) + 1, 2), np.int32)),
}


@pytest.mark.parametrize("how", BAD_RANKS)
def test_rankings_that_cannot_be_read_leave_the_scores_and_the_first_names(copied, how):
    BAD_RANKS[how](copied / "runs/weak")
    with serve(copied / "runs") as client:
        run = ids(client)["weak"]
        details = client.get(f"{RUNS}/{run}")
        answer = client.get(f"{RUNS}/{run}/queries/0")
        curves = client.get(f"{RUNS}/{run}/curves")
    assert details.status_code == answer.status_code == curves.status_code == 200
    assert "rankings of this run cannot be shown" in details.json()["trouble"]
    assert str(copied) not in details.text
    assert names_of(answer.json()["results"]) == WEAK["a0"].split()
    assert {each["relation"] for each in answer.json()["results"]} == {"unknown"}
    assert curves.json()["curves"] == {"easy": None, "medium": None, "hard": None}


def test_an_archive_that_announces_more_than_it_has_takes_no_memory(copied):
    run = copied / "runs/weak"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i4", "fortran_order": False, "shape": (1 << 40, 2)})
    with zipfile.ZipFile(run / "ranks.npz", "a") as archive:
        archive.writestr("ranks_medium.npy", header.getvalue())
    with serve(copied / "runs") as client:
        details = client.get(f"{RUNS}/{ids(client)['weak']}")
    assert details.status_code == 200
    assert not details.json()["has_rankings"]


def test_numbers_outside_the_gallery_and_repeated_ones_do_no_harm(copied):
    ranks = np.array([[2, -1], [2, 4], [-(2**31), 5], [2**31 - 1, 5], [8, 6]], np.int64)
    write_ranks(copied / "runs/weak", ranks=ranks)
    with serve(copied / "runs") as client:
        run = ids(client)["weak"]
        answer = client.get(f"{RUNS}/{run}/queries/0?setup=medium").json()
        other = client.get(f"{RUNS}/{run}/queries/1?setup=medium").json()
        curve = client.get(f"{RUNS}/{run}/curves").json()["curves"]["medium"]
    assert [each["name"] for each in answer["results"]] == [
        file_of("a2"),
        f"distractor {2**31 - 1 - 8}",
        "distractor 0",
    ]
    assert [each["relation"] for each in answer["results"]] == ["right", "wrong", "wrong"]
    assert [each["thumb_url"] is None for each in answer["results"]] == [False, True, True]
    assert names_of(other["results"]) == ["b0", "b1", "b2"]
    # The first query finds one of three right ones, at once; the second both of its two.
    assert (curve[0], curve[33], curve[34], curve[100]) == (1, 1, 0.5, 0.5)


def test_hostile_names_are_shown_as_text_and_bounded(copied):
    evil = "<img src=x onerror=alert(1)>\u202e\ud800\x1b[31m" + "x" * 5000
    odd = [None, True, 10**300, 1e300, [evil], {}]
    card = {"model": evil, "notes": [evil, 7, *odd], "command": evil, "machine": {"a": {"b": evil}}, "scales": odd}
    change(copied / "runs/weak", benchmark=evil, cost={evil: 1e300, "ms": 1.0}, card=card)
    with serve(copied / "runs") as client:
        run = ids(client)["weak"]
        answer = client.get(f"{RUNS}/{run}")
        listed = client.get(RUNS)
    assert answer.status_code == listed.status_code == 200
    shown = answer.json()["benchmark"]
    assert shown.startswith("<img src=x onerror=alert(1)>\ufffd\ufffd\ufffd[31m")
    assert len(shown) < 310
    assert len(answer.content) < 50_000
    assert "unknown" in answer.json()["trouble"] or "does not say" in answer.json()["trouble"]


@pytest.mark.parametrize("path", ["/etc", "/", "/proc", "/dev/zero", "../../..", "."])
def test_a_card_cannot_name_a_folder_of_this_computer(copied, path):
    name = Path(path).resolve().name
    change(
        copied / "runs/weak", benchmark=name or "x", card={"ground_truth": "0" * 64, "command": f"glocal eval {path}"}
    )
    with serve(copied / "runs") as client:
        run = ids(client)["weak"]
        details = client.get(f"{RUNS}/{run}").json()
        assert client.get(f"{RUNS}/{run}/photos/0/thumb").status_code == 404
    assert not details["has_answers"]


def test_no_answer_says_where_anything_lies(client, made):
    known = ids(client)
    run = known["weak"]
    paths = [RUNS, f"{RUNS}/{run}", f"{RUNS}/{run}/queries/0", f"{RUNS}/{run}/curves",
             f"/v1/lab/compare?a={run}&b={known['strong']}", f"{RUNS}/r{'0' * 16}"]  # fmt: skip
    for path in paths:
        assert str(made) not in client.get(path).text
    assert client.get(f"{RUNS}/{run}").json()["command"] == "glocal eval …/data --model rootsift --out …/weak"


def test_a_run_that_is_written_again_is_read_again(copied):
    with serve(copied / "runs") as client:
        before = client.get(RUNS).json()["runs"][0]["means"]["medium"]
        run = ids(client)["weak"]
        client.get(f"{RUNS}/{run}/queries/0")
        make_run(copied / "runs/weak", copied / "data", STRONG)
        after = client.get(RUNS).json()["runs"][0]["means"]["medium"]
        answer = client.get(f"{RUNS}/{run}/queries/0").json()
    assert before != after
    assert names_of(answer["results"]) == STRONG["a0"].split()


def test_without_folders_of_runs_the_list_is_empty_and_says_so():
    with Client(app_of()) as client:
        assert client.get(RUNS).json() == {"runs": [], "unreadable": [], "has_folders": False}


def test_every_answer_has_the_shape_that_is_described(client):
    known = ids(client)
    run = known["weak"]
    lab_schemas.RunList.model_validate(client.get(RUNS).json())
    lab_schemas.RunDetails.model_validate(client.get(f"{RUNS}/{run}").json())
    lab_schemas.RunCurves.model_validate(client.get(f"{RUNS}/{run}/curves").json())
    lab_schemas.QueryAnswer.model_validate(client.get(f"{RUNS}/{run}/queries/0").json())
    compared = client.get(f"/v1/lab/compare?a={run}&b={known['strong']}").json()
    lab_schemas.RunComparison.model_validate(compared)


def test_a_run_that_appears_later_is_found(copied):
    with serve(copied / "runs") as client:
        assert list(ids(client)) == ["weak"]
        make_run(copied / "runs/deep/er/strong", copied / "data", STRONG)
        assert client.get(f"{RUNS}/{ids(client)['deep/er/strong']}").status_code == 200
