"""`glocal convert` as a user types it."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from glocal.cli import exits
from glocal.cli.main import main
from glocal.home import installed_model
from glocal.models.preprocessing import Preprocessing
from glocal.models.weights import ModelConfig, load_model
from tests.golden import recipe

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def run(capsys):
    """Run a command line; gives (exit code, stdout, stderr)."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def checkpoint(tmp_path):
    """DOLG's ResNet-50 with the golden values, saved as that repository saves."""
    about = json.loads((GOLDEN / "dolg_r50.json").read_text())
    state = {key: torch.as_tensor(value) for key, value in recipe.state(about).items()}
    path = tmp_path / "r50_dolg.pyth"
    optimiser = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"epoch": 99, "model_state": state, "optimizer_state": optimiser, "cfg": "MODEL:\n  DEPTH: 50"}, path)
    return path


def hollow(name: str, path: Path) -> Path:
    """A checkpoint's names and shapes in a few kilobytes."""
    about = json.loads((GOLDEN / f"{name}.json").read_text())
    torch.save({entry["name"]: torch.full((), 0.5).expand(entry["shape"]) for entry in about["state"]}, path)
    return path


def test_a_published_checkpoint_is_converted_reported_and_proven(checkpoint, run, tmp_path):
    code, out, err = run("convert", checkpoint, "--as", "dolg-r50", "--out", tmp_path / "model", "learn_p=true")
    assert (code, err) == (exits.DONE, f"→ glocal index PHOTOS --model {tmp_path / 'model'}\n")
    report, written = out.splitlines()
    assert report.startswith(
        "  278 tensors matched · 278 renamed · 0 missing · 2 unused (desc_cls.*: training only)   "
        "parity on 16 probes: cos min "
    )
    assert report.endswith(" ✓")
    assert written == f"  dolg_resnet50 (multi_atrous=false, learn_p=true) written to {tmp_path / 'model'}"
    network, config, _ = load_model(tmp_path / "model")
    assert config.options == {"multi_atrous": False, "learn_p": True}
    with np.load(GOLDEN / "dolg_r50.npz") as golden, np.load(GOLDEN / "inputs.npz") as inputs:
        images = torch.from_numpy(inputs["a/bgr"][[2, 1, 0]].copy())[None]
        theirs = golden["a/descriptor_l2.f64"].reshape(-1)
    with torch.inference_mode():
        ours = network(images)[0].numpy()
    assert ours @ theirs > 1 - 1e-6


def test_without_a_folder_it_goes_where_its_name_is_looked_up(run, tmp_path, monkeypatch):
    seen = []

    def install(made, directory):
        seen.append(directory)
        return 1.0

    monkeypatch.setattr("glocal.models.conversion.install", install)
    code, out, err = run("convert", hollow("dolg_r50", tmp_path / "x.pth"), "--as", "DOLG_ResNet50", "--json")
    assert code == exits.DONE
    assert seen == [installed_model("dolg_resnet50")]
    fields = json.loads(out)
    assert fields["matched"] == 278
    assert fields["unused"] == {"desc_cls.t": "training only", "desc_cls.weight": "training only"}
    assert fields["path"] == str(installed_model("dolg_resnet50"))
    assert err == ""


def test_two_variants_of_one_name_do_not_overwrite_each_other(run, tmp_path):
    place = installed_model("dolg_resnet50")
    place.mkdir(parents=True)
    options = {"multi_atrous": False, "learn_p": True}
    (place / "config.json").write_text(ModelConfig("dolg_resnet50", options, Preprocessing()).to_json())
    code, _, err = run("convert", hollow("dolg_r50_ma", tmp_path / "x.pth"), "--as", "dolg-r50")
    assert code == exits.USAGE
    assert "multi_atrous=false already, and this is multi_atrous=true. → give --out DIR" in err


def test_a_wrong_checkpoint_exits_with_4_and_says_what_to_type(run, tmp_path):
    path = hollow("delg_torch_r50", tmp_path / "my x.pth")
    code, out, err = run("convert", path, "--as", "dolg-r101", "--out", tmp_path / "m")
    assert (code, out) == (exits.MISMATCH, "")
    assert err.startswith(f"{path} is not a dolg-r101: ")
    assert f"It looks like resnet50 DELG, PyTorch port. → glocal convert '{path}' --as delg-r50" in err
    assert not (tmp_path / "m").exists()


def test_a_pickle_exits_with_4(run, tmp_path):
    torch.save({"model_state": {"a": torch.ones(1)}, "object": Fraction(1, 2)}, tmp_path / "x.pth")
    code, _, err = run("convert", tmp_path / "x.pth", "--as", "dolg-r50", "--out", tmp_path / "m")
    assert code == exits.MISMATCH
    assert "1 object was refused: fractions.Fraction" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.pth", "--as", "dolg-r50"], "No such file: none.pth"),
        (["x.pth", "--as", "dolg-r51"], "Did you mean"),
        (["x.pth", "--as", "dolg-r50", "atrous"], "write KEY=VALUE"),
        (["x.pth", "--as", "dolg-r50", "--out", "photos"], "other things"),
    ],
)
def test_usage_errors_are_told(words, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").touch()
    hollow("dolg_r50", tmp_path / "x.pth")
    code, out, err = run("convert", *words)
    assert (code, out) == (exits.USAGE, "")
    assert message in err


def test_settings_may_stand_anywhere(run, tmp_path):
    path = hollow("dolg_r50", tmp_path / "x.pth")
    for words in (
        [path, "multi_atrous=true", "--as", "dolg-r50"],
        [path, "--as", "dolg-r50", "--out", tmp_path / "m", "multi_atrous=true"],
    ):
        code, _, err = run("convert", *words)
        assert code == exits.USAGE
        assert "multi_atrous=true contradicts it" in err
