"""Several processes of one run: the same steps as one process, one log, one checkpoint, one stop."""

import csv
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from glocal.errors import ConfigError
from glocal.train.distributed import Processes, join, step_seed, synchronise_statistics
from glocal.train.loop import Trainer
from glocal.train.recipe import load_recipe
from tests.conftest import save, texture

RECIPE = """
name = "toy"
[model]
name = "gem_mobilenetv2"
options = {{ dim = 16 }}
freeze = ["backbone"]
[data]
path = "{photos}"
image_size = 64
held_back = 0.25
[optimiser]
lr = 0.05
[schedule]
epochs = 2
[run]
batch_size = 8
workers = 1
checkpoint_every_s = 0.001
"""


@pytest.fixture
def recipe(tmp_path):
    for number in range(8):
        whole = texture(number, 96, 96)
        for view in range(4):
            save(tmp_path / f"photos/{number}/{view}.png", whole[view * 6 : view * 6 + 72, view * 6 : view * 6 + 72])
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE.format(photos=tmp_path / "photos"))
    return path


def torchrun(*words):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "glocal"]
    return subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_two_processes_make_the_steps_of_one(recipe, tmp_path):
    Trainer(load_recipe(recipe), tmp_path / "one", "cpu").run()
    done = torchrun("train", str(recipe), "--out", str(tmp_path / "two"), "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("validation mAP") == 2  # one of them speaks
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    assert set(one) == set(two)
    for name, value in one.items():
        assert torch.allclose(value.float(), two[name].float(), atol=1e-5), name
    logs = [list(csv.DictReader((tmp_path / name / "log.csv").read_text().splitlines())) for name in ("one", "two")]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]
    for mine, theirs in zip(*logs, strict=True):
        assert float(mine["loss"]) == pytest.approx(float(theirs["loss"]), rel=1e-4)


def test_two_processes_go_on_where_two_stopped(recipe, tmp_path):
    words = ("train", str(recipe), "--device", "cpu", "--out")
    assert torchrun(*words, str(tmp_path / "straight")).returncode == 0
    assert torchrun("train", str(recipe), "schedule.epochs=2", "--device", "cpu", "--out", str(tmp_path / "again"))
    again = torchrun(*words, str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr
    assert "continuing after step" in again.stderr


def test_a_batch_that_the_processes_cannot_share_is_refused(recipe, tmp_path):
    with pytest.raises(ConfigError, match=r"must be a multiple of 3 processes times run\.accumulate \(1\)"):
        Trainer(load_recipe(recipe), tmp_path / "run", "cpu", processes=Processes(0, 3, 0))


def test_a_process_without_torchrun_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    alone = join("cpu")
    assert (alone.rank, alone.world, alone.is_first) == (0, 1, True)
    assert alone.mean([1.0, 2.0], "cpu") == [1.0, 2.0]
    assert alone.any([True, False], "cpu") == [True, False]
    assert alone.gather([("a", "b")], "cpu") == [("a", "b")]
    monkeypatch.setenv("RANK", "zero")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="not as torchrun sets them"):
        join("cpu")


def test_every_process_has_a_gpu_of_its_own():
    assert Processes(5, 8, 1).device("cuda") == "cuda:1"
    assert Processes(5, 8, 1).device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="one GPU for 8 processes"):
        Processes(5, 8, 1).device("cuda:0")
    with pytest.raises(ConfigError, match=r"run\.sync_bn needs GPUs"):
        synchronise_statistics(torch.nn.BatchNorm2d(3), Processes(0, 2, 0), "cpu")


def test_what_a_step_draws_depends_on_seed_step_and_process():
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(50) for rank in range(4)}
    assert len(seeds) == 600
    assert step_seed(1, 2, 3) == step_seed(1, 2, 3)
