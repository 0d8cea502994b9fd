"""`glocal eval`, `glocal bench` and `glocal data` from the command line."""

import json

import numpy as np
import pytest

from glocal.cli import exits
from glocal.cli.main import main
from tests.conftest import save, texture


@pytest.fixture
def things(tmp_path, monkeypatch):
    """A folder per object: three things, three views of each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLOCAL_DATA", raising=False)
    for thing in range(3):
        whole = texture(thing, 420, 320)
        for view in range(3):
            pixels = whole[view * 12 : view * 12 + 280, view * 15 : view * 15 + 360]
            save(tmp_path / f"things/thing{thing}/{view}.jpg", pixels, quality=92)
    return tmp_path / "things"


def test_a_folder_per_object_is_measured_and_the_run_is_saved(things, capsys):
    assert main(["eval", "things", "--model", "rootsift", "-q"]) == exits.DONE
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == ">> things: mAP 100.00"
    folder = things.parent / "runs/things-rootsift-none"
    assert f"saved {folder.relative_to(things.parent)}/" in captured.err
    card = (folder / "card.md").read_text()
    assert "glocal eval" in card
    assert "rootsift" in card
    page = (folder / "report.html").read_text()
    assert "default-src 'none'" in page
    assert "http" not in page.split("</head>")[1].replace("http://www.w3.org", "")


def test_other_re_rankings_use_the_features_that_are_there_and_runs_compare(things, capsys):
    assert main(["eval", "things", "--model", "rootsift", "-q", "--no-report"]) == exits.DONE
    assert main(["eval", "things", "--model", "rootsift", "-q", "--no-report", "--rerank", "geometric"]) == exits.DONE
    capsys.readouterr()
    assert main(["eval", "compare", "runs/things-rootsift-none", "runs/things-rootsift-geometric"]) == exits.DONE
    assert "not distinguishable" in capsys.readouterr().out
    assert not (things.parent / "runs/things-rootsift-none/report.html").exists()
    assert main(["eval", "things", "--model", "rootsift", "-q", "--json", "--no-report"]) == exits.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["all"]["mAP"] == 1.0
    assert found["card"]["gallery"] == 9


def test_a_result_file_is_scored_and_its_re_ranking_checked(things, capsys):
    assert main(["eval", "things", "--model", "rootsift", "-q", "--no-report"]) == exits.DONE
    capsys.readouterr()
    ranks = things.parent / "runs/things-rootsift-none/ranks.npz"
    assert main(["eval", "things", "--results", str(ranks), "-q"]) == exits.DONE
    assert capsys.readouterr().out.splitlines()[0] == ">> things: mAP 100.00"
    assert main(["eval", "things", "--results", str(ranks), "--rerank", "geometric"]) == exits.USAGE
    assert "needs photos" in capsys.readouterr().err

    with np.load(ranks) as found:
        names = found["gallery"]
    rng = np.random.default_rng(0)
    thing = np.array([int(name.split("thing")[1][0]) for name in names.tolist()])
    vectors = (np.eye(8)[thing] + rng.normal(0, 0.01, (len(names), 8))).astype(np.float32)
    folder = things.parent / "theirs"
    folder.mkdir()
    np.save(folder / "gallery.npy", vectors)
    np.save(folder / "queries.npy", vectors)
    for plan in (["none"], ["aqe"], ["dba", "superglobal"]):
        assert main(["eval", "things", "--results", "theirs", "-q", "--rerank", *plan]) == exits.DONE
        assert capsys.readouterr().out.splitlines()[0] == ">> things: mAP 100.00"
    vectors[4, 2] = np.nan
    np.save(folder / "gallery.npy", vectors)
    assert main(["eval", "things", "--results", "theirs"]) != exits.DONE
    assert "not finite" in capsys.readouterr().err


def test_what_makes_no_sense_is_refused_with_what_to_type(things, capsys):
    for command, code, words in (
        (["eval", "thingz"], exits.USAGE, 'Unknown benchmark "thingz"'),
        (["eval", "things", "--rerank", "geometrical"], exits.USAGE, "Did you mean geometric"),
        (["eval", "things", "--crop-rounding", "up"], exits.USAGE, "crop_rounding"),
        (["eval", "things", "other", "--results", "x.npz"], exits.USAGE, "one file on one benchmark"),
        (["eval", "roxford5k"], exits.USAGE, "--data DIR or GLOCAL_DATA"),
        (["eval", "things", "--distractors", "revisitop1m"], exits.USAGE, "--data DIR or GLOCAL_DATA"),
        (["eval", "things", "--distractors", "more", "--rerank", "search"], exits.USAGE, "No such folder|not with"),
    ):
        assert main([*command, "--model", "rootsift"]) == code, command
        error = capsys.readouterr().err
        assert any(word in error for word in words.split("|")), error


def test_several_systems_make_one_table(things, capsys):
    command = [
        "bench",
        "--model",
        "rootsift",
        "--rerank",
        "none",
        "geometric",
        "--data",
        "things",
        "-o",
        "t.md,t.csv,t.tex",
    ]
    assert main([*command, "-q"]) == exits.DONE
    table = capsys.readouterr().out
    assert (things.parent / "t.md").read_text() == table
    assert "| rootsift |" in table
    assert "geometric" in table
    assert "geometric" in (things.parent / "t.csv").read_text()
    assert "\\begin{tabular}" in (things.parent / "t.tex").read_text()


def test_missing_and_changed_files_are_named(things, capsys):
    assert main(["data", "verify", "things", "-q"]) == exits.DONE
    assert "9 pictures found; nothing is missing" in capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ")
    assert main(["data", "verify", "things", "--write-manifest", "-q"]) == exits.DONE
    save(things / "thing1/2.jpg", texture(77))
    (things / "thing0/1.jpg").write_bytes(b"")
    capsys.readouterr()
    assert main(["data", "verify", "things", "-q"]) == exits.NOTHING
    out = capsys.readouterr().out
    assert "changed            thing1/2.jpg" in out
    assert "empty              thing0/1.jpg" in out
    assert main(["data", "verify", "things", "-q", "--json"]) == exits.NOTHING
    assert json.loads(capsys.readouterr().out)["problems"]["empty"] == ["thing0/1.jpg"]
