"""Files of anybody: what they are is found out, what they claim is checked, and no code in them runs."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from glocal.errors import BackendUnavailable, ConfigError, WeightsError
from glocal.models.checkpoint import Limits, read_checkpoint, shape_text, unwrap

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Canary:
    """Writes a file if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


class Odd:
    """An object that is no tensor."""


def expect_state(tensors):
    assert set(tensors) == set(STATE)
    assert all(torch.equal(tensors[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        OrderedDict,
        lambda state: {"epoch": 3, "model_state": state, "optimizer_state": {"state": {}}, "cfg": "A: 1"},
        lambda state: {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {"model": {"state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}}, "lr": 0.1},
        lambda state: state | {"epoch": 3},
    ],
)
@pytest.mark.parametrize("modern", [True, False])
def test_pytorch_files_are_read_however_they_are_wrapped(wrap, modern, tmp_path):
    path = tmp_path / "any.name"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=modern)
    expect_state(read_checkpoint(path))


def test_safetensors_are_read(tmp_path):
    save_file(STATE, tmp_path / "x.bin")
    expect_state(read_checkpoint(tmp_path / "x.bin"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpy_archives_are_read_in_any_order_of_bytes(save, tmp_path):
    arrays = {name: value.numpy() for name, value in STATE.items()}
    arrays["a.weight"] = np.asfortranarray(arrays["a.weight"]).astype(">f4")
    save(tmp_path / "x.npz", **arrays)
    expect_state(read_checkpoint(tmp_path / "x.npz"))


def test_names_with_slashes_and_single_numbers_survive_an_archive(tmp_path):
    np.savez(tmp_path / "x.npz", **{"backbone/conv1/kernel": np.ones((1, 2)), "scale_factor": np.float32(45.25)})
    tensors = read_checkpoint(tmp_path / "x.npz")
    assert tensors["scale_factor"].item() == 45.25
    assert tensors["backbone/conv1/kernel"].shape == (1, 2)


def test_prefixes_go_only_where_every_name_has_them():
    assert unwrap({"module.a": 1, "b": 2}) == {"module.a": 1, "b": 2}
    assert unwrap({"module.a": 1, "module.module.b": 2}) == {"a": 1, "module.b": 2}
    assert unwrap([1, 2]) == {}


@pytest.mark.parametrize("modern", [True, False])
def test_an_object_in_a_checkpoint_is_refused_by_name_and_not_run(modern, tmp_path):
    path, canary = tmp_path / "x.pth", tmp_path / "canary"
    torch.save(
        {"model_state": STATE, "pca": Odd(), "evil": Canary(canary)}, path, _use_new_zipfile_serialization=modern
    )
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "needs Python pickle, which can run code. I read tensors only (weights_only)" in message
    assert "refused: " in message
    assert "Odd" in message or "open" in message
    assert "torch.save(model.state_dict(), FILE)" in message
    assert not canary.exists()
    if modern:
        assert "2 objects were refused" in message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_plain_pickle_is_refused_and_not_run(protocol, tmp_path):
    canary = tmp_path / "canary"
    (tmp_path / "x.pth").write_bytes(pickle.dumps({"a": Canary(canary)}, protocol))
    with pytest.raises(WeightsError, match="→"):
        read_checkpoint(tmp_path / "x.pth")
    assert not canary.exists()


def test_objects_in_a_numpy_archive_are_refused_and_not_run(tmp_path):
    canary = tmp_path / "canary"
    np.savez(tmp_path / "x.npz", a=np.array([Canary(canary)], object))
    with pytest.raises(WeightsError, match="Python objects"):
        read_checkpoint(tmp_path / "x.npz")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Google Drive", "web page"),
        (b"\n<HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        (b"\x1f\x8b\x08\x00rest", "compressed"),
        (b"weights!" * 9, "not a checkpoint"),
        (b"PK\x03\x04rest", "damaged"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9", "damaged"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{", "damaged"),
    ],
)
def test_what_is_no_checkpoint_is_told_in_one_line(content, words, tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert "→" in str(caught.value)


@pytest.mark.parametrize("kind", ["torch", "old torch", "safetensors", "npz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_told(kind, share, tmp_path):
    path = tmp_path / "x"
    state = {"w": torch.rand(200, 50)} | STATE
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **{name: value.numpy() for name, value in state.items()})
    elif kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "torch")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(WeightsError, match=r"MB\) is damaged or ends early"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", ["torch", "old torch", "npz"])
def test_flipped_bytes_give_tensors_or_a_refusal(kind, tmp_path):
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    if kind == "npz":
        np.savez(buffer, **{name: value.numpy() for name, value in STATE.items()})
    else:
        torch.save(STATE, buffer, _use_new_zipfile_serialization=kind == "torch")
    for _ in range(150):
        data = bytearray(buffer.getvalue())
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        (tmp_path / "x").write_bytes(data)
        try:
            read_checkpoint(tmp_path / "x", Limits(max_bytes=1 << 20))
        except WeightsError:
            continue


def test_a_tensor_that_claims_more_than_it_holds_is_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"4000.0 GB; the limit is 8.6 GB"):
        read_checkpoint(tmp_path / "x.pth")


def test_a_compressed_bomb_is_refused_before_it_is_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(4_000_000, np.uint8))
    assert (tmp_path / "x.npz").stat().st_size < 10_000
    with pytest.raises(WeightsError, match="limit"):
        read_checkpoint(tmp_path / "x.npz", Limits(max_bytes=1_000_000))


def test_an_array_that_claims_more_than_its_part_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**9)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue() + b"1234")
    with pytest.raises(WeightsError, match="claims"):
        read_checkpoint(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["x.pth", "x.npz", "x.safetensors"])
def test_too_many_tensors_are_refused(name, tmp_path):
    state = {f"t{i}": torch.zeros(1) for i in range(40)}
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez(path, **{key: value.numpy() for key, value in state.items()})
    elif path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    with pytest.raises(WeightsError, match="limit is"):
        read_checkpoint(path, Limits(max_tensors=10))


def test_a_zip_archive_of_other_things_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("checkpoint.pth", b"x")
    with pytest.raises(WeightsError, match="unpack it"):
        read_checkpoint(tmp_path / "x.zip")


def test_a_torchscript_program_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for part in ("x/data.pkl", "x/constants.pkl", "x/code/model.py"):
            archive.writestr(part, b"")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_checkpoint(tmp_path / "x.pt")


def test_a_compressed_pytorch_file_is_refused(tmp_path):
    torch.save(STATE, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as old, zipfile.ZipFile(tmp_path / "y.pth", "w", 8) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    with pytest.raises(WeightsError, match="compressed"):
        read_checkpoint(tmp_path / "y.pth")


@pytest.mark.parametrize(
    "value", [3, "text", [torch.ones(1)], {"a": 1}, torch.ones(2), {"a": torch.ones(2).to_sparse()}]
)
def test_a_file_without_named_plain_tensors_is_refused(value, tmp_path):
    torch.save(value, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="→"):
        read_checkpoint(tmp_path / "x.pth")


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="not a file"):
        read_checkpoint(tmp_path)


def test_several_tensorflow_checkpoints_in_a_folder_must_be_named(tmp_path):
    for step in (1, 2):
        (tmp_path / f"delg-{step}.index").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"2 TensorFlow checkpoints. → name one: .*delg-1"):
        read_checkpoint(tmp_path)


def test_without_tensorflow_its_checkpoints_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    (tmp_path / "delg-1.index").write_bytes(b"x")
    for path in (tmp_path, tmp_path / "delg-1", tmp_path / "delg-1.index"):
        with pytest.raises(BackendUnavailable, match=r'pip install "glocal\[tensorflow\]"'):
            read_checkpoint(path)


def test_tensorflow_variables_are_read_by_their_object_path(tmp_path):
    tensorflow = pytest.importorskip("tensorflow", reason="reading TensorFlow checkpoints needs glocal[tensorflow]")
    model = tensorflow.Module()
    model.backbone = tensorflow.Module()
    model.backbone.kernel = tensorflow.Variable(np.arange(6, dtype=np.float32).reshape(2, 3))
    tensorflow.train.Checkpoint(model=model, step=tensorflow.Variable(3)).save(str(tmp_path / "delg"))
    for path in (tmp_path, tmp_path / "delg-1", tmp_path / "delg-1.index"):
        tensors = read_checkpoint(path)
        assert list(tensors) == ["model/backbone/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
        assert next(iter(tensors.values())).tolist() == [[0, 1, 2], [3, 4, 5]]
    (tmp_path / "delg-1.index").write_bytes(b"garbage")
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(tmp_path)


def test_shapes_are_written_as_people_do():
    assert shape_text((64, 256)) == "64×256"
    assert shape_text(()) == "a single number"
    assert json.dumps(shape_text((3,))) == '"3"'
