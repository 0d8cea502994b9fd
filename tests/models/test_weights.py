"""A model's folder: it comes back as it was, or not at all."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from glocal.errors import ConfigError, DiskFull, WeightsError
from glocal.models import catalogue, weights
from glocal.models.catalogue import ModelCard
from glocal.models.preprocessing import LocalSelection, Preprocessing
from glocal.models.weights import ModelConfig, load_model, read_config, read_fingerprint, save_model

PREPROCESSING = Preprocessing(scales=(0.5, 1.0), image_size=640, local=LocalSelection(stride=32, iou=0.9))


class Tiny(nn.Module):
    """A network of a few kilobytes, with buffers of both kinds."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=2)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, dim)
        self.register_buffer("ramp", torch.arange(16.0), persistent=False)
        self.dim, self.local_dim = dim, 0

    def forward(self, images):
        maps = self.norm(self.conv(images)).relu().mean(dim=(2, 3))
        return nn.functional.normalize(self.head(maps + self.ramp / 100), dim=1)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A model called "tiny_net" in the catalogue."""
    for table in ("CATALOGUE", "_BUILDERS", "_OWN_PREPROCESSING"):
        monkeypatch.setattr(catalogue, table, dict(getattr(catalogue, table)))
    card = ModelCard("tiny_net", "a network", "no paper", "Apache-2.0", "nothing")
    catalogue.register_model(card, lambda dim=8: Tiny(dim))


@pytest.fixture
def network():
    torch.manual_seed(3)
    made = Tiny()
    made.norm.running_mean.uniform_()
    made.norm.num_batches_tracked += 5
    return made.eval()


@pytest.fixture
def config():
    return ModelConfig("tiny_net", {"dim": 8}, PREPROCESSING, {"summary": "for tests", "paper": "a | b"})


@pytest.fixture
def saved(tmp_path, network, config):
    save_model(tmp_path / "model", network, config, {"file": "x.pth"})
    return tmp_path / "model"


def test_a_model_comes_back_as_it_was(saved, network, config):
    again, read, fingerprint = load_model(saved)
    assert read == config
    assert not again.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    images = torch.rand(2, 3, 32, 40)
    assert torch.equal(again(images), network(images))
    assert fingerprint == read_fingerprint(saved)["fingerprint"]
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_the_fingerprint_is_the_digest_of_tensors_and_configuration(saved, network, config):
    data = (saved / "model.safetensors").read_bytes() + (saved / "config.json").read_bytes()
    assert load_model(saved)[2] == hashlib.sha256(data).hexdigest()
    assert save_model(saved, network, config) == load_model(saved)[2]


def test_the_file_itself_can_be_named(saved):
    assert load_model(saved / "model.safetensors")[2] == load_model(saved)[2]


def test_any_memory_layout_is_saved(tmp_path, network, config):
    network.conv.weight.data = network.conv.weight.data.to(memory_format=torch.channels_last)
    save_model(tmp_path / "m", network, config)
    assert torch.equal(load_model(tmp_path / "m")[0].conv.weight, network.conv.weight)


def test_tied_tensors_are_saved(tmp_path, network, config):
    network.norm.running_mean = network.norm.running_var
    save_model(tmp_path / "m", network, config)
    assert torch.equal(load_model(tmp_path / "m")[0].norm.running_mean, network.norm.running_var)


def test_a_model_is_replaced_and_nothing_else_is_left(saved, network, config):
    before = load_model(saved)[2]
    with torch.no_grad():
        network.head.bias += 1
    assert save_model(saved, network, config) != before
    assert torch.equal(load_model(saved)[0].head.bias, network.head.bias)
    assert sorted(os.listdir(saved)) == ["README.md", "config.json", "fingerprint.json", "model.safetensors"]
    assert os.listdir(saved.parent) == ["model"]


def test_a_folder_of_other_things_is_left_alone(tmp_path, network, config):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="other things"):
        save_model(tmp_path / "photos", network, config)
    with pytest.raises(ConfigError, match="is a file"):
        save_model(tmp_path / "photos/a.jpg", network, config)
    assert os.listdir(tmp_path / "photos") == ["a.jpg"]


def test_nan_is_not_saved(tmp_path, network, config):
    network.norm.running_var[3] = float("nan")
    with pytest.raises(WeightsError, match=r"norm.running_var holds NaN"):
        save_model(tmp_path / "m", network, config)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(("number", "kind"), [(28, DiskFull), (13, ConfigError)])
def test_a_full_or_forbidden_disk_is_told(number, kind, tmp_path, network, config, monkeypatch):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(weights.os, "fsync", fail)
    with pytest.raises(kind, match="→"):
        save_model(tmp_path / "m", network, config)
    assert os.listdir(tmp_path / "m") == []


def test_a_truncated_file_is_refused_with_both_sizes(saved):
    path = saved / "model.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    with pytest.raises(WeightsError) as caught:
        load_model(saved)
    text = (
        f"model.safetensors: got {size // 2} bytes of {size} bytes in {saved}: refusing to load. → copy it again, or "
    )
    assert str(caught.value) == text + f"glocal convert CHECKPOINT --as tiny-net --out {saved} again"


@pytest.mark.parametrize("cut", [0, 3, 8, 40])
def test_a_file_cut_in_its_header_is_refused(saved, cut):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(WeightsError, match="refusing to load"):
        load_model(saved)


def test_a_web_page_instead_of_tensors_is_refused(saved):
    (saved / "model.safetensors").write_bytes(b"<!DOCTYPE html>" * 20)
    with pytest.raises(WeightsError, match="does not begin as safetensors do"):
        load_model(saved)


def test_a_changed_tensor_is_refused(saved):
    path = saved / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"sha256 differs\): refusing to load"):
        load_model(saved)


def test_a_folder_without_a_fingerprint_loads(saved):
    (saved / "fingerprint.json").unlink()
    assert load_model(saved)[1].name == "tiny_net"


def test_an_edited_configuration_loads_with_another_fingerprint(saved):
    before = load_model(saved)[2]
    text = (saved / "config.json").read_text()
    (saved / "config.json").write_text(text.replace('"image_size": 640', '"image_size": 320'))
    _, config, fingerprint = load_model(saved)
    assert config.preprocessing.image_size == 320
    assert fingerprint != before


def change_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    (folder / "fingerprint.json").unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update({"head.weight": torch.zeros(4, 16)}), "1 of 9 .*first: head.weight is 4×16, expected 8×16"),
        (lambda t: t.pop("head.bias"), r"1 of 9 .*first: head.bias is missing"),
        (lambda t: t.update({"more": torch.zeros(1)}), "1 of 9 .*first: 'more' is not known"),
        (lambda t: t.update({"head.bias": torch.zeros(8).double()}), "1 of 9 .*head.bias is float64, expected float32"),
        (lambda t: t.update({"head.bias": torch.zeros(8).int()}), "1 of 9 .*head.bias is int32, expected float32"),
        (lambda t: t.clear(), "9 of 9"),
    ],
)
def test_tensors_of_another_network_are_refused(change, words, saved):
    change_tensors(saved, change)
    with pytest.raises(WeightsError, match=re.compile(f"is not a tiny-net: {words}")):
        load_model(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(name="tiny_nut"), "Did you mean tiny_net"),
        (lambda c: c.update(format=9), "update glocal"),
        (lambda c: c.update(extra=1), "missing or unknown: extra"),
        (lambda c: c.pop("card"), "missing or unknown: card"),
        (lambda c: c.update(options=[1]), "must be objects"),
        (lambda c: c.update(options={"depth": 3}), "does not take these options"),
        (lambda c: c["preprocessing"].update(image_sice=3), "Did you mean image_size"),
        (lambda c: c["preprocessing"].update(scales="wide"), "scales must be a list"),
        (lambda c: c["preprocessing"].update(local=3), "preprocessing"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(change, words, saved):
    fields = json.loads((saved / "config.json").read_text())
    change(fields)
    (saved / "config.json").write_text(json.dumps(fields))
    with pytest.raises(WeightsError, match=words) as caught:
        load_model(saved)
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_configuration_that_is_not_json_is_refused(text, saved):
    (saved / "config.json").write_bytes(text)
    with pytest.raises(WeightsError, match=r"config.json: "):
        load_model(saved)


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff"])
def test_a_damaged_fingerprint_is_told(text, saved):
    (saved / "fingerprint.json").write_bytes(text)
    with pytest.raises(WeightsError, match=r"fingerprint.json is damaged"):
        load_model(saved)


def test_a_folder_without_a_model_says_what_to_type(tmp_path, saved):
    with pytest.raises(WeightsError, match=r"holds no model: there is no config.json. → glocal convert"):
        load_model(tmp_path)
    (saved / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has no model.safetensors. → glocal convert"):
        load_model(saved)


def test_the_configuration_alone_can_be_read(saved, config):
    assert read_config(saved) == config


def test_the_card_states_what_is_known_and_what_is_not(saved):
    text = (saved / "README.md").read_text()
    front, body = text.split("---\n")[1:]
    assert "library_name: glocal\npipeline_tag: image-feature-extraction\n" in front
    assert 'license_name: "not stated"' in front
    assert 'base_model: "not stated"' in front
    assert "| Paper | a \\| b |" in body
    assert "| Trained on | not stated |" in body
    assert "| Source: file | x.pth |" in body
    assert "mAP" not in text


def test_the_card_reports_published_numbers_as_the_authors(tmp_path, network, config):
    config.card["published"] = {"roxford_medium": 81.2, "roxford_medium_verified": 90.0}
    save_model(tmp_path / "m", network, config)
    text = (tmp_path / "m/README.md").read_text()
    assert "| ROxford5k Medium | 81.20 |" in text
    assert "This folder was not measured" in text
    assert "model-index:" not in text


def test_half_precision_is_half_as_large_and_read_back_as_float32(saved, tmp_path, network, config):
    save_model(tmp_path / "half", network, config, half=True)
    sizes = [(place / "model.safetensors").stat().st_size for place in (saved, tmp_path / "half")]
    assert sizes[1] < 0.7 * sizes[0]  # the header is as long
    again, _, _ = load_model(tmp_path / "half")
    assert all(value.dtype == network.state_dict()[name].dtype for name, value in again.state_dict().items())
    for name, value in network.state_dict().items():
        assert torch.allclose(value.float(), again.state_dict()[name].float(), rtol=1e-3, atol=1e-6)


def test_a_weight_beyond_half_precision_is_not_saved_so(tmp_path, network, config):
    with torch.no_grad():
        network.head.weight[0, 0] = 1e6
    with pytest.raises(WeightsError, match=r"head\.weight is beyond the range of float16"):
        save_model(tmp_path / "half", network, config, half=True)
