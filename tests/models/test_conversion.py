"""Checkpoints under the official keys become our networks, whole or not at all; every wrong one is told apart."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from glocal.errors import ConfigError, WeightsError
from glocal.models import conversion
from glocal.models.catalogue import create_model
from glocal.models.checkpoint import read_checkpoint
from glocal.models.conversion import Conversion, convert, install, load_backbone, setting_text, verify
from glocal.models.official import convert_state, is_counter
from glocal.models.preprocessing import Preprocessing
from glocal.models.weights import ModelConfig, load_model, read_fingerprint
from tests.golden import recipe

GOLDEN = Path(__file__).parents[1] / "golden"


def hollow(name: str) -> dict[str, torch.Tensor]:
    """A checkpoint's names and shapes without its bytes: every tensor repeats one number, and so does the file."""
    about = json.loads((GOLDEN / f"{name}.json").read_text())
    return {entry["name"]: torch.full((), 0.5).expand(entry["shape"]) for entry in about["state"]}


def full(name: str) -> dict[str, torch.Tensor]:
    """A checkpoint with the golden values."""
    about = json.loads((GOLDEN / f"{name}.json").read_text())
    return {key: torch.as_tensor(value) for key, value in recipe.state(about).items()}


@pytest.fixture
def write(tmp_path):
    def write(state, name="x.pyth"):
        torch.save({"epoch": 3, "model_state": state}, tmp_path / name)
        return tmp_path / name

    return write


def test_a_checkpoint_becomes_our_network(write):
    made = convert(write(hollow("dolg_r50")), "dolg-r50")
    assert made.summary() == "278 tensors matched · 278 renamed · 0 missing · 2 unused (desc_cls.*: training only)"
    assert made.config.name == "dolg_resnet50"
    assert made.config.options == {"multi_atrous": False, "learn_p": True}
    assert made.config.preprocessing.scales == (0.3535, 0.5, 0.7071, 1.0, 1.4142)
    assert made.config.card["published"]["roxford_medium"] == 81.2
    assert made.source["file"] == "x.pyth"
    assert len(made.source["sha256"]) == 64
    assert not made.network.training
    state = made.network.state_dict()
    assert all(bool((tensor == 0.5).all()) for key, tensor in state.items() if not is_counter(key))
    assert all(tensor.dtype == torch.float32 for key, tensor in state.items() if not is_counter(key))


def test_halves_and_doubles_are_read_as_singles(write):
    state = {
        key: value.to([torch.float16, torch.float64][i % 2])
        for i, (key, value) in enumerate(hollow("dolg_r50").items())
    }
    assert convert(write(state), "dolg-r50").network.project.weight.dtype == torch.float32


def test_the_variant_is_taken_from_the_tensors(write):
    assert convert(write(hollow("dolg_r50_ma")), "dolg-r50").config.options["multi_atrous"] is True
    made = convert(write(hollow("delg_torch_r50")), "delg-r50")
    assert made.config.options == {"variant": "torch", "learn_p": True}
    assert made.network.dim == 512
    assert made.config.card["published"] == {}  # those are the TensorFlow weights' numbers
    without = {key: value for key, value in hollow("dolg_r50").items() if key != "pool_g.p"}
    assert convert(write(without), "dolg-r50").network.pool.p == 3.0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"multi_atrous": True}, "multi_atrous=false, judged by its tensors; multi_atrous=true contradicts it"),
        ({"learn_p": False}, "learn_p=true, judged by its tensors; learn_p=false contradicts it"),
        ({"depth": 3}, "does not take these options"),
    ],
)
def test_settings_that_contradict_the_file_are_refused(asked, message, write):
    with pytest.raises(ConfigError, match=message):
        convert(write(hollow("dolg_r50")), "dolg-r50", asked)


def test_a_setting_that_the_tensors_cannot_show_is_kept(write):
    made = convert(write(hollow("token_r50")), "token-r50", {"refine_order": "paper"})
    assert made.config.options == {"tokenizer": "query", "refine_order": "paper"}


@pytest.mark.parametrize("partial", [False, True])
def test_a_file_without_one_known_tensor_always_fails(partial, write):
    path = write({"encoder.weight": torch.ones(2, 3)})
    with pytest.raises(WeightsError) as caught:
        convert(path, "dolg-r101", partial=partial)
    assert "is not a dolg-r101: 545 of 545 tensors do not fit (first: " in str(caught.value)
    assert "No name in it is known (encoder.weight" in str(caught.value)


def test_a_wrong_model_says_what_it_looks_like(write):
    path = write(hollow("delg_torch_r50"))
    with pytest.raises(WeightsError) as caught:
        convert(path, "dolg-r101")
    message = str(caught.value)
    assert message.startswith(f"{path} is not a dolg-r101: ")
    assert message.endswith(f" It looks like resnet50 DELG, PyTorch port. → glocal convert {path} --as delg-r50")


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    ("golden", "name", "why", "right"),
    [
        ("dolg_r101", "dolg-r50", "a dolg-r50 has no place for 255 of its tensors", "dolg-r101"),
        ("dolg_r50", "dolg-r101", "255 of 533 tensors do not fit", "dolg-r50"),
    ],
)
def test_a_wrong_depth_says_which_it_is(golden, name, why, right, partial, write):
    path = write(hollow(golden))
    with pytest.raises(WeightsError) as caught:
        convert(path, name, partial=partial)
    assert f"is not a {name}: {why} (first: " in str(caught.value)
    assert str(caught.value).endswith(f"→ glocal convert {path} --as {right}")


def test_a_wrong_shape_is_told_with_both(write):
    state = hollow("dolg_r50") | {"globalmodel.s1.b1.f.a.weight": torch.zeros(64, 256, 1, 1)}
    with pytest.raises(WeightsError) as caught:
        convert(write(state), "dolg-r50")
    assert (
        "is not a dolg-r50: 1 of 278 tensors do not fit "
        "(first: backbone.layer1.0.conv1.weight is 64×256×1×1, expected 64×64×1×1)"
    ) in str(caught.value)


def test_a_strange_rank_is_told(write):
    state = hollow("delg_tf_r50") | {"backbone/conv1/kernel": torch.zeros(7)}
    with pytest.raises(WeightsError, match=r"first: backbone.conv1.weight is 7, expected 64×3×7×7"):
        convert(write(state), "delg-r50")


def test_a_missing_tensor_is_refused_unless_told_otherwise(write):
    state = {key: value for key, value in hollow("dolg_r50").items() if not key.startswith("fc.")}
    path = write(state)
    with pytest.raises(WeightsError, match=r"2 of 278 .*first: project.weight is missing.*--partial"):
        convert(path, "dolg-r50")
    made, again = (convert(path, "dolg-r50", partial=True) for _ in range(2))
    assert made.missing == ("project.weight", "project.bias")
    assert "276 tensors matched · 276 renamed · 2 missing" in made.summary()
    assert torch.equal(made.network.project.weight, again.network.project.weight)
    assert "Not a whole model" in made.config.card["notes"][0]


def test_an_unknown_tensor_is_refused_unless_told_otherwise(write):
    path = write(hollow("dolg_r50") | {"neck.weight": torch.zeros(3, 4)})
    with pytest.raises(WeightsError, match=r"no place for 1 of its tensors \(first: neck.weight, 3×4\). → --partial"):
        convert(path, "dolg-r50")
    assert "(desc_cls.*: training only; neck.*: unknown)" in convert(path, "dolg-r50", partial=True).summary()


def plain_backbone(name: str) -> dict[str, torch.Tensor]:
    state = create_model(f"gem_{name}").backbone.state_dict()
    return {key: torch.full_like(value, 0.25) for key, value in state.items()} | {"fc.weight": torch.zeros(10, 2048)}


def test_a_backbone_alone_fills_a_part(tmp_path):
    torch.save(plain_backbone("mobilenetv2"), tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"It looks like mobilenetv2 backbone alone.* → --partial"):
        convert(tmp_path / "x.pth", "dolg-mobilenetv2")
    for name in ("dolg-mobilenetv2", "glocal-mobilenetv2"):
        made = convert(tmp_path / "x.pth", name, partial=True)
        assert not [key for key in made.missing if "backbone" in key]
        assert made.network.backbone.features[0][0].weight.unique().tolist() == [0.25]


def test_a_backbone_initialises_a_network_in_place(tmp_path, write):
    torch.save(plain_backbone("mobilenetv2"), tmp_path / "x.pth")
    network = create_model("delg_mobilenetv2")
    assert load_backbone(network, tmp_path / "x.pth") == 260
    assert network.backbone.features[18][0].weight.unique().tolist() == [0.25]
    other = create_model("delg_resnet50", variant="torch")
    with pytest.raises(WeightsError, match=r"does not hold this backbone: \d+ of 265 .*mobilenetv2"):
        load_backbone(other, tmp_path / "x.pth")
    assert load_backbone(other, write(hollow("dolg_r50"))) == 265
    with pytest.raises(ConfigError, match="no backbone"):
        load_backbone(torch.nn.Linear(1, 1), tmp_path / "x.pth")


def test_what_is_no_network_cannot_be_converted(write):
    with pytest.raises(ConfigError, match="no network"):
        convert(write({}), "rootsift")
    with pytest.raises(ConfigError, match="Did you mean"):
        convert(write({}), "dolg-r51")


class Small(torch.nn.Module):
    """Two numbers of a picture as a unit vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 5, stride=4)

    def forward(self, images):
        return torch.nn.functional.normalize(self.conv(images).mean(dim=(2, 3)), dim=1)


@pytest.fixture
def small(monkeypatch):
    """A conversion of a network that takes no time, and that the loader builds."""
    torch.manual_seed(0)
    made = Conversion(Small(), ModelConfig("dolg_resnet50", {}, Preprocessing()), {"layout": "dolg"}, 2, 2)
    monkeypatch.setattr("glocal.models.weights.create_model", lambda *_, **__: Small())
    return made


def test_an_installed_model_answers_as_the_checkpoint_did(small, tmp_path):
    assert install(small, tmp_path / "deep/model") > 0.999999
    about = read_fingerprint(tmp_path / "deep/model")
    assert about["probes"]["count"] == 16
    assert np.shape(about["probes"]["descriptors"]) == (16, 4)
    assert verify(tmp_path / "deep/model") > 0.999999
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def test_a_model_that_answers_otherwise_is_not_installed(small, tmp_path, monkeypatch):
    def spoiled(source):
        network, *rest = load_model(source)
        torch.nn.init.normal_(network.conv.bias)
        return network, *rest

    monkeypatch.setattr(conversion, "load_model", spoiled)
    with pytest.raises(WeightsError, match=r"does not answer as the checkpoint does \(cosine .* Not saved"):
        install(small, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_network_that_answers_nan_is_not_installed(small, tmp_path):
    with torch.no_grad():
        small.network.conv.weight.fill_(3e38)
    with pytest.raises(WeightsError, match="cosine nan"):
        install(small, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_model_that_was_never_probed_cannot_be_verified(small, tmp_path):
    install(small, tmp_path / "model")
    (tmp_path / "model/fingerprint.json").write_text("{}")
    with pytest.raises(WeightsError, match="stores no answers"):
        verify(tmp_path / "model")


def test_settings_are_written_as_they_are_typed():
    assert setting_text("multi_atrous", True) == "multi_atrous=true"
    assert setting_text("variant", "tf") == "variant=tf"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("golden", "name", "wrap"),
    [
        ("dolg_r50_ma", "dolg-r50", lambda state: {"model_state": state, "cfg": "MODEL: 1"}),
        ("delg_torch_r50", "delg-r50", lambda state: {"model_state": state}),
        ("token_r50", "token-r50", lambda state: {"state_dict": {f"module.{key}": v for key, v in state.items()}}),
        ("delg_tf_r50", "delg-r50", None),
    ],
)
def test_whole_checkpoints_are_converted_and_installed(golden, name, wrap, tmp_path):
    state = full(golden)
    if wrap is None:
        path = tmp_path / "x.npz"
        np.savez(path, **{f"{key}/.ATTRIBUTES/VARIABLE_VALUE": value.numpy() for key, value in state.items()})
    else:
        path = tmp_path / "x.pth"
        torch.save(wrap(state), path)
    made = convert(path, name)
    assert install(made, tmp_path / "model") > 0.99999
    installed = load_model(tmp_path / "model")[0].state_dict()
    for key, values in convert_state(made.source["layout"], read_checkpoint(path)).items():
        assert torch.equal(installed[key], values), key
