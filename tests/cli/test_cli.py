"""The commands, run in process as a user types them: exit codes, messages, what goes to stdout and what to stderr."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from glocal import errors
from glocal.cli import exits
from glocal.cli.main import VERBS, main
from glocal.cli.places import data_home
from glocal.store.collection import Collection
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
def indexed(photos, run):
    assert run("index", photos, "-q")[0] == 0
    return photos


def test_help_lists_every_verb_and_version_is_told(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)
    assert run("--version")[1].startswith("glocal ")
    assert run()[0] == exits.USAGE


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_its_options(verb, run):
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert out.startswith(f"usage: glocal {verb}")
    assert len(out.split("options:")[0]) > 60


def test_mistyped_verbs_and_options_are_usage_errors(run):
    code, _, err = run("serach", "x.jpg")
    assert code == exits.USAGE
    assert "Did you mean search?" in err
    assert run("search", "--tokp", "3", "x.jpg")[0] == exits.USAGE


def test_indexing_tells_what_it_found_and_what_to_type_next(photos, run):
    code, out, err = run("index", photos)
    assert (code, out) == (0, "")
    assert "7 pictures (7 jpg)" in err
    assert "1 exact copy found — processed once" in err
    assert "✓ 7 pictures searchable" in err
    assert "seen 8 = indexed 7 + skipped 0 + ignored 1" in err
    assert "Try:  glocal search" in err
    code, _, err = run("index", photos)
    assert "7 known · 0 new · 0 changed · 0 gone" in err


def test_skipped_files_are_counted_and_listed_with_their_reasons(photos, run):
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("hello")
    code, _, err = run("index", photos)
    assert code == 0
    assert "2 skipped (1 empty, 1 not an image)" in err
    code, out, _ = run("info", photos, "--skipped")
    assert "empty.jpg — empty file (0 bytes)" in out
    assert "text.png — not a picture" in out
    assert run("index", photos, "--strict")[0] == exits.PARTIAL


def test_json_progress_is_one_object_per_line_and_names_every_saved_file(photos, run):
    (photos / "empty.jpg").touch()
    code, out, _ = run("index", photos, "--progress", "json")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len([e for e in events if e["event"] == "indexed"]) == 7
    assert [e for e in events if e["event"] == "skipped"] == [
        {"event": "skipped", "path": "empty.jpg", "reason": "empty", "detail": "empty file (0 bytes)"}
    ]
    assert {e["event"] for e in events} == {"scanned", "progress", "indexed", "skipped"}


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda p: p / "nowhere", exits.USAGE, "No such folder"),
        (lambda p: p / "a/0.jpg", exits.USAGE, "is a picture. → glocal search"),
        (lambda p: p / "notes.txt", exits.USAGE, "is a file, not a folder"),
    ],
)
def test_what_is_no_folder_is_refused_with_advice(photos, run, make, code, message):
    got, _, err = run("index", make(photos))
    assert got == code
    assert message in err
    assert "Traceback" not in err


def test_an_index_elsewhere_is_named_in_every_command_to_type_next(photos, run, tmp_path):
    place = tmp_path / "elsewhere"
    (photos / "empty.jpg").touch()
    _, _, err = run("index", photos, "--index", place)
    assert f"glocal search PICTURE --index {place}" in err
    assert f"glocal info {place} --skipped" in err
    assert f"glocal index {photos} --index {place} --retry-skipped" in err
    assert run("info", place, "--skipped")[0] == 0


def test_an_empty_folder_is_nothing_to_do_and_leaves_no_index(tmp_path, run):
    (tmp_path / "Pictur").mkdir()
    save(tmp_path / "Pictures/a.jpg", texture(0))
    code, _, err = run("index", tmp_path / "Pictur")
    assert code == exits.NOTHING
    assert "has no pictures. I looked for jpg, png" in err
    assert f"Did you mean {tmp_path / 'Pictures'}?" in err
    assert not (tmp_path / "Pictur/.glocal").exists()


def test_a_misspelt_folder_gets_its_neighbours_named(photos, run):
    _, _, err = run("index", photos.with_name("phots"))
    assert f"Nearby: {photos}" in err


def test_a_read_only_folder_gets_its_index_in_the_users_data_folder(photos, run, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(photos) and real(path, mode))
    code, _, err = run("index", photos)
    assert code == 0
    assert f"its index goes to {data_home()}" in err
    assert not (photos / ".glocal").exists()
    assert run("search", photos / "a/0.jpg", "--similar")[0] == 0


def test_search_answers_in_bands_on_stdout(indexed, run):
    code, out, _ = run("search", indexed / "a/0.jpg", "--index", indexed)
    assert code == 0
    assert out.startswith("Same object (1)\n")
    assert "a/0.jpg" in out
    assert "(+ 1 exact copy)" in out
    assert "Look-alikes are hidden" in out
    assert "Look-alikes (" in run("search", indexed / "a/0.jpg", "--index", indexed, "--similar")[1]


def test_the_index_is_found_from_here_from_the_query_and_from_anywhere(indexed, run, monkeypatch, tmp_path):
    query = tmp_path / "elsewhere.jpg"
    shutil.copy(indexed / "a/0.jpg", query)
    monkeypatch.chdir(indexed / "a")
    assert run("search", query)[0] == 0
    monkeypatch.chdir("/")
    assert run("search", indexed / "a/0.jpg")[0] == 0
    assert run("search", query)[0] == 0  # the last index made
    (data_home() / "default").unlink()
    code, _, err = run("search", query)
    assert code == exits.NOTHING
    assert "→ glocal index PHOTOS" in err


def test_json_has_geometry_and_the_same_hits(indexed, run):
    _, out, _ = run("search", indexed / "a/0.jpg", "--index", indexed, "--json", "--topk", "3")
    answer = json.loads(out)
    assert answer["verdict"] == "match"
    best = answer["results"][0]
    assert best["band"] == "same"
    assert best["verification"]["model"] == "homography"
    assert np.array(best["verification"]["H"]).shape == (3, 3)
    assert np.array(best["verification"]["target_quad"]).shape == (4, 2)
    assert len(answer["results"]) == 3
    assert set(answer["timing_ms"]) == {"extract", "search", "rerank"}


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "nan,0,10,10", "1e300,0,10,10", ""])
def test_a_box_that_is_none_is_a_usage_error(indexed, run, box):
    code, _, err = run("search", indexed / "a/0.jpg", "--index", indexed, f"--box={box}")
    assert code == exits.USAGE
    assert "x,y,width,height" in err


def test_a_box_in_percent_is_a_share_of_the_sides(indexed, run):
    _, out, _ = run("search", indexed / "a/0.jpg", "--index", indexed, "--json", "--box", "25%,50%,50%,120")
    assert json.loads(out)["query"]["box"] == [80, 120, 160, 120]


def test_a_stranger_gets_an_honest_answer(indexed, run, tmp_path):
    code, out, _ = run("search", save(tmp_path / "stranger.jpg", texture(99)), "--index", indexed)
    assert code == 0
    assert out.startswith("No picture shows this object. (Best candidate ")


def test_a_report_is_written_and_named(indexed, run, tmp_path):
    file = tmp_path / "report.html"
    _, _, err = run("search", indexed / "a/0.jpg", "--index", indexed, "--html", file)
    assert str(file) in err
    page = file.read_text("utf-8")
    assert "data:image/jpeg;base64," in page
    assert "http://" not in page
    assert "https://" not in page


def test_explain_says_whether_and_why_and_draws(photos, run, tmp_path):
    out_file = tmp_path / "match.png"
    code, out, _ = run("explain", photos / "a/0.jpg", photos / "copy of 0.jpg", "--out", out_file)
    assert code == 0
    assert "the same object" in out
    assert out_file.read_bytes().startswith(b"\x89PNG")
    _, out, _ = run("explain", photos / "a/0.jpg", photos / "a/2.jpg", "--json")
    assert json.loads(out)["verdict"] == "look-alike"
    assert run("explain", photos / "a/0.jpg", photos / "nope.jpg")[0] == exits.USAGE
    assert run("explain", photos / "a/0.jpg", photos / "a/2.jpg", "--out", tmp_path / "x.xyz")[0] == exits.USAGE


def test_info_tells_model_counts_and_bytes(indexed, run):
    _, out, _ = run("info", indexed)
    assert "rootsift" in out
    assert "7 searchable, 6 different; 0 skipped; 0 missing" in out
    files = json.loads(run("info", indexed, "--json")[1])["files"]
    assert len(files) == 7
    assert files[0]["width"] == 320


def test_a_library_that_moved_is_relinked_and_said_so(photos, tmp_path, run):
    run("index", photos, "--index", tmp_path / "index")
    moved = photos.rename(tmp_path / "elsewhere")
    _, _, err = run("index", moved, "--index", tmp_path / "index")
    assert f"{photos} is gone, but 7 of its pictures are under {moved}. Re-linked, nothing recomputed." in err


def test_an_index_whose_making_was_interrupted_at_once_is_empty_and_not_an_error(tmp_path, photos, run):
    (tmp_path / "index").mkdir()
    (tmp_path / "index/writer.lock").touch()
    (tmp_path / "index/glocal.db").touch()
    assert json.loads(run("info", tmp_path / "index", "--json")[1]) == {"finished": False, "files": []}
    assert "interrupted" in run("info", tmp_path / "index")[1]
    assert run("index", photos, "--index", tmp_path / "index", "-q")[0] == 0


def test_files_that_are_gone_are_listed(indexed, run):
    (indexed / "a/0.jpg").unlink()
    (indexed / "copy of 0.jpg").unlink()
    _, _, err = run("index", indexed)
    assert "2 pictures are missing" in err
    assert run("info", indexed, "--missing")[1].split() == ["a/0.jpg", "copy", "of", "0.jpg"]
    assert "2 missing pictures forgotten" in run("index", indexed, "--prune")[2]


def test_an_unknown_model_and_an_index_of_another_model_are_refused(indexed, run):
    code, _, err = run("index", indexed, "--model", "rootsfit")
    assert code == exits.USAGE
    assert "Did you mean rootsift?" in err


def test_a_network_is_indexed_searched_and_told_apart(photos, run, install):
    network = FakeNetwork()
    place = install(network)
    code, _, err = run("index", photos, "--model", place, "--device", "cpu", "--batch-size", "2")
    assert code == 0
    assert f"Model: fake_net ({place}, on cpu).   Space: up to 7.3 kB in" in err  # 12 numbers and a row each
    assert install.loaded == [(str(place), "cpu", 2)]
    code, out, err = run("search", photos / "a/2.jpg", "--index", photos)
    assert code == 0
    assert out.startswith("Nearest, not judged (6)\n     -  a/2.jpg ")
    assert "similarity 1.000" in out
    assert "fake_net has no local features: hits are ordered by similarity, nothing is verified" in err
    answer = json.loads(run("search", photos / "a/2.jpg", "--index", photos, "--json")[1])
    assert answer["verdict"] == "not_judged"
    assert answer["results"][0]["probability"] is None
    assert "verification" not in answer["results"][0]
    assert f"from {place}" in run("info", photos)[1]
    assert "no local features" in run("info", photos)[1]
    code, _, err = run("search", photos / "a/2.jpg", "--index", photos, "--model", "dolg-r101")
    assert code == exits.MISMATCH
    assert "This index holds fake_net (sha aaaa…) vectors of 12 numbers; you asked for dolg_resnet101" in err
    moved = install(network, "moved")
    place.rmdir()
    code, _, err = run("search", photos / "a/2.jpg", "--index", photos)
    assert code == exits.MISMATCH
    assert "--model DIR" in err
    assert run("search", photos / "a/2.jpg", "--index", photos, "--model", moved)[0] == 0


def test_a_network_without_calibration_lists_inliers_and_draws(photos, run, install, tmp_path):
    place = install(FakeNetwork(local=True))
    assert run("index", photos, "--model", place, "-q")[0] == 0
    _, out, err = run("search", photos / "a/2.jpg", "--index", photos, "--html", tmp_path / "report.html")
    assert out.startswith("Nearest, not judged (6)\n     -  a/2.jpg ")
    assert " inliers   covers " in out
    assert "fake_net has no calibration: hits are ordered, but not judged" in err
    assert "The nearest pictures, not judged." in (tmp_path / "report.html").read_text("utf-8")
    code, out, err = run(
        "explain", photos / "a/0.jpg", photos / "copy of 0.jpg", "--model", place, "--out", tmp_path / "m.png"
    )
    assert code == 0
    assert out.startswith("not judged\n  matches ")
    assert "no calibration" in err
    assert (tmp_path / "m.png").stat().st_size > 10_000


def test_explain_without_local_features_gives_a_similarity_and_draws_nothing(photos, run, install, tmp_path):
    pair = (photos / "a/0.jpg", photos / "copy of 0.jpg", "--model", install(FakeNetwork()))
    code, out, err = run("explain", *pair)
    assert (code, out) == (0, "not judged\n  similarity    1.000\n")
    assert "no local features" in err
    answer = json.loads(run("explain", *pair, "--json")[1])
    assert answer == {"verdict": "not_judged", "probability": None, "similarity": 1.0}
    code, _, err = run("explain", *pair, "--out", tmp_path / "m.png")
    assert code == exits.USAGE
    assert "no match lines to draw. → without --out, or --model rootsift" in err


def test_devices_and_batch_sizes_are_checked(photos, run, install):
    place = install(errors.BackendUnavailable("--device cuda: no such CUDA device"))
    code, _, err = run("index", photos, "--model", place, "--device", "cuda")
    assert code == exits.RESOURCE
    assert "no such CUDA device" in err
    assert run("index", photos, "--model", place, "--batch-size", "0")[0] == exits.USAGE
    assert run("index", photos, "--model", place, "--batch-size", "few")[0] == exits.USAGE
    code, _, err = run("index", photos, "--device", "cuda")
    assert code == exits.USAGE
    assert "rootsift is no network" in err
    assert not (photos / ".glocal").exists()


def test_a_second_writer_is_refused_with_the_holder(indexed, run):
    with Collection.open(indexed / ".glocal", writable=True):
        code, _, err = run("index", indexed)
        assert code == exits.MISMATCH
        assert f"written by process {os.getpid()}" in err
        assert run("search", indexed / "a/0.jpg", "--index", indexed)[0] == 0


def test_hostile_names_do_not_reach_the_terminal_raw(tmp_path, run):
    name = "\x1b[31mred\n\u202egnp.jpg"
    save(tmp_path / "photos/plain.jpg", texture(0))
    (tmp_path / "photos/plain.jpg").rename(tmp_path / "photos" / name)
    run("index", tmp_path / "photos")
    _, out, _ = run("search", tmp_path / "photos" / name, "--index", tmp_path / "photos")
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert r"\x1b[31mred\n\u202egnp.jpg" in out


def test_models_and_doctor_report(run):
    assert run("models")[1].startswith("rootsift ")
    assert "(built in, default)" in run("models")[1]
    assert "weights       built in" in run("models", "rootsift")[1]
    card = json.loads(run("models", "dolg-r50", "--json")[1])
    assert (card["name"], card["dim"], card["local_dim"], card["weights"]) == ("dolg_resnet50", 512, 0, "none")
    assert card["published"]["roxford_medium"] == 81.20
    assert "local features of 128" in run("models", "delg_resnet50")[1]
    assert run("models", "delg-r51")[0] == exits.USAGE
    code, out, _ = run("doctor")
    assert code == 0
    assert "✗" not in out
    assert out.count("✓") == 8
    assert "--device auto is" in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number, code):
    for seed in range(150):
        save(tmp_path / f"photos/{seed}.png", texture(seed, 96, 72))
    options = ["--progress", "json", "--workers", "1"]
    command = [sys.executable, "-m", "glocal", "index", str(tmp_path / "photos"), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if '"progress"' in line and json.loads(line)["done"] >= 10:
            process.send_signal(number)
            break
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == code
    saved = [json.loads(line)["path"] for line in rest.splitlines() if '"indexed"' in line]
    assert 10 <= len(saved) < 150
    assert main(["index", str(tmp_path / "photos"), "-q"]) == 0


def test_unexpected_errors_name_a_log_and_no_traceback(run, monkeypatch):
    def broken(_):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("glocal.cli.models.run", broken)
    code, _, err = run("models")
    assert code == exits.UNEXPECTED
    assert "This is a bug in glocal" in err
    assert "Traceback" not in err
    log = next(word.rstrip(";") for word in err.split() if "glocal-crash" in word)
    with open(log, encoding="utf-8") as file:
        assert "ZeroDivisionError: boom" in file.read()
    os.unlink(log)


def test_every_error_has_an_exit_code_of_its_kind():
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in classes if issubclass(kind, errors.RetrievalError)]
    unmapped = {errors.RetrievalError, errors.ShapeError}
    for kind in kinds:
        error = kind("corrupt") if kind is errors.ImageError else kind("x")
        assert (exits.code_of(error) == exits.UNEXPECTED) == (kind in unmapped), kind
