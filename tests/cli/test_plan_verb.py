"""`glocal plan`, in process as a user types it."""

import json
from types import SimpleNamespace

import pytest

from glocal.cli import exits, plan
from glocal.cli.main import main
from tests.conftest import save, texture
from tests.fakes import FakeNetwork


@pytest.fixture
def run(capsys):
    """Run a command line; gives (exit code, stdout, stderr)."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def few(tmp_path):
    folder = tmp_path / "photos"
    for seed in range(4):
        save(folder / f"{seed}.jpg", texture(seed))
    return folder


@pytest.fixture
def small_disk(monkeypatch):
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: SimpleNamespace(free=150_000))


def test_a_plan_is_a_table_and_writes_nothing(few, run):
    code, out, err = run("plan", few, "--model", "rootsift", "--only")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith(f"{few}: 4 pictures, ")
    assert lines[1].startswith(f"Index in {few / '.glocal'}: ")
    assert lines[3].split()[:3] == ["model", "local", "features"]
    assert [line.split()[1:4] for line in lines[4:7]] == [["1000", "×", form] for form in ("int8", "float16")] + [
        ["500", "×", "int8"]
    ]
    assert lines[4].rstrip().endswith("--model rootsift")
    assert lines[5].rstrip().endswith("--model rootsift --local float16")
    assert lines[7].split()[:2] == ["rootsift", "none"]
    assert "from 4 pictures of the folder, described here" in out
    assert "Timing rootsift on 4 pictures" in err
    assert not (few / ".glocal").exists()


def test_json_has_all_numbers_and_they_add_up(few, run, tmp_path, install):
    place = install(FakeNetwork(local=True))
    words = ("plan", few, "--model", place, "rootsift", "--only", "--json", "--sample", "3", "--index", tmp_path / "x")
    code, out, _ = run(*words)
    answer = json.loads(out)
    assert code == 0
    assert (answer["pictures"], answer["is_complete"], answer["index"]) == (4, True, str(tmp_path / "x"))
    assert [way["model"] for way in answer["ways"]] == ["fake_net"] * 5 + ["rootsift"] * 4
    for way in answer["ways"]:
        parts = sum(way[name] for name in ("global_bytes", "local_bytes", "row_bytes", "cache_bytes"))
        assert way["disk_bytes"] == parts
        assert way["seconds"] > 0
        assert way["fits"]
    assert answer["ways"][0]["how"] == f"--model {place}"
    assert answer["samples"]["rootsift"]["described"] == 3
    assert answer["machine"]["cores"] >= 1


def test_without_a_sample_nothing_is_timed(few, run, monkeypatch):
    monkeypatch.setattr(plan, "sample_photos", None)
    code, out, err = run("plan", few, "--model", "rootsift", "--only", "--no-sample")
    assert (code, err) == (0, "")
    assert "Nothing was timed; local features are the most that there can be." in out
    assert "≤ " in out
    answer = json.loads(run("plan", few, "--model", "rootsift", "--only", "--no-sample", "--json")[1])
    assert {way["seconds"] for way in answer["ways"]} == {None}
    assert answer["samples"] == {}


def test_a_disk_that_is_too_small_is_told_with_what_would_fit(few, run, install, small_disk):
    place = install(FakeNetwork(local=True))
    code, out, err = run("plan", few, "--model", place, "--only")
    assert code == 0
    assert "too much" in out
    warning = err.splitlines()[-1]
    assert warning.startswith("fake_net needs about ")
    assert f"in {few / '.glocal'}, 150 kB are free. → --model {place} --local binary (" in warning
    assert warning.endswith("or --index /bigdisk/x")
    _, _, err = run("plan", few, "--model", "rootsift", "--only", "--no-sample")
    assert err.splitlines()[-1].startswith("rootsift needs up to ")


def test_other_models_that_are_installed_stand_beside_the_one_that_was_asked_for(few, run, install, monkeypatch):
    monkeypatch.setattr(plan, "list_models", lambda: ["delg_resnet50", "rootsift"])  # the first has no weights here
    place = install(FakeNetwork())
    answer = json.loads(run("plan", few, "--model", place, "--no-sample", "--json")[1])
    assert [(way["model"], way["local"]) for way in answer["ways"]] == [("fake_net", "none"), ("rootsift", "int8")]
    answer = json.loads(run("plan", few, "--model", "rootsift", "--no-sample", "--json")[1])
    assert {way["model"] for way in answer["ways"]} == {"rootsift"}


def test_pictures_that_cannot_be_read_leave_the_time_open(tmp_path, run):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"\xff\xd8\xff")
    code, out, err = run("plan", tmp_path, "--model", "rootsift", "--only")
    assert code == 0
    assert "None of 3 pictures could be described" in err
    assert "Nothing was timed" in out


def test_mistakes_are_explained_with_their_code(few, run, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, expected, said in (
        ((tmp_path / "nowhere",), exits.USAGE, "No such folder"),
        ((tmp_path / "empty",), exits.NOTHING, "has no pictures. I looked for jpg"),
        ((few, "--model", "delg-r51"), exits.USAGE, "Did you mean"),
        ((few, "--sample", "0"), exits.USAGE, "must be at least 1"),
        ((few, "--workers", "0"), exits.USAGE, "must be at least 1"),
        ((few, "--device", "tpu"), exits.USAGE, "Unknown device"),
    ):
        code, _, err = run("plan", *words)
        assert (code, said in err) == (expected, True), err


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "1 s"), (40, "40 s"), (100, "2 min"), (35 * 60, "35 min"), (9600, "2 h 40"), (3600 * 1234, "1 234 h")],
)
def test_times_are_told_as_people_say_them(seconds, shown):
    assert plan.duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == shown
