"""Training end to end on small textures: it learns, resumes to the same bytes, and survives what goes wrong."""

import csv
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from glocal.cli.main import main
from glocal.errors import ConfigError, NothingToDo
from glocal.extract.load import load
from glocal.train import loop
from glocal.train.loop import BEST, LOG, Trainer, TrainingDiverged, Watcher
from glocal.train.recipe import load_recipe
from tests.conftest import save, texture


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eight objects of five photos: crops of one texture each."""
    folder = tmp_path_factory.mktemp("objects")
    for number in range(8):
        whole = texture(number, 160, 160)
        for view in range(5):
            save(folder / f"object{number}/{view}.png", whole[view * 6 : view * 6 + 128, view * 6 : view * 6 + 128])
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


RECIPE = """
name = "toy"
[model]
name = "delg_mobilenetv2"
options = { dim = 32 }
[data]
source = "folder"
image_size = 64
held_back = 0.25
[augment]
area = [0.5, 1.0]
[loss]
margin = 0.1
scale = 16.0
[optimiser]
lr = 0.05
clip_norm = 10.0
[schedule]
epochs = 2
[run]
batch_size = 8
workers = 2
"""


@pytest.fixture
def recipe(tmp_path, photos):
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE)

    def build(*overrides):
        return load_recipe(path, [f'data.path="{photos}"', *overrides])

    return build


class StopAfter(Watcher):
    def __init__(self, steps):
        self.left = steps

    def stepped(self, *_):
        self.left -= 1

    def should_stop(self):
        return self.left <= 0


def digest(place):
    return hashlib.sha256((place / "last.safetensors").read_bytes()).hexdigest()


def rows_of(place):
    with (place / LOG).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_writes_log_checkpoint_and_a_model_that_describes_photos(recipe, tmp_path, photos):
    progress = Trainer(recipe(), tmp_path / "run", "cpu").run()
    assert progress.step == 2 * (30 // 8)
    rows = rows_of(tmp_path / "run")
    assert [int(row["step"]) for row in rows] == list(range(1, progress.step + 1))
    assert all(float(row["loss"]) > 0 and row["reconstruction"] for row in rows)
    assert rows[-1]["map"]
    extractor = load(tmp_path / "run" / BEST)
    assert extractor.spec.dim == 32
    assert json.loads((tmp_path / "run/recipe.json").read_text())["loss"]["margin"] == 0.1
    assert f"torch: {torch.__version__}" in (tmp_path / "run/versions.txt").read_text()


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("run.ema=0.9", "run.accumulate=2", "optimiser.decay_vectors=false", "data.balanced=true"),
        ('model.name="token_mobilenetv2"', "model.options={dim=32}", 'loss.head="curricular"', "run.validate_every=0"),
    ],
)
def test_a_run_that_was_interrupted_twice_ends_with_the_same_bytes(recipe, tmp_path, overrides):
    straight = Trainer(recipe(*overrides), tmp_path / "straight", "cpu").run()
    for steps in (2, 3):
        stopped = Trainer(recipe(*overrides), tmp_path / "resumed", "cpu", StopAfter(steps)).run()
        assert stopped.step < straight.step
    Trainer(recipe(*overrides), tmp_path / "resumed", "cpu").run()
    assert digest(tmp_path / "straight") == digest(tmp_path / "resumed")
    assert len(rows_of(tmp_path / "resumed")) == straight.step


def test_a_killed_process_goes_on_and_ends_with_the_same_bytes(recipe, tmp_path):
    """kill -9 in the middle, again and again, with a checkpoint after every step."""
    settings = ["run.checkpoint_every_s=0.0001", "run.validate_every=0", "schedule.epochs=3"]
    Trainer(recipe(*settings), tmp_path / "straight", "cpu").run()
    (tmp_path / "recipe.json").write_text(recipe(*settings).to_json())
    code = "import torch, sys; torch.set_num_threads(1); from glocal.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["train", str(tmp_path / "recipe.json"), "--out", str(tmp_path / "killed"), "--device", "cpu", "-q"]
    checkpoint = tmp_path / "killed/last.safetensors"
    for _ in range(2):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", code, *words])
        while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert checkpoint.exists()
    assert subprocess.run([sys.executable, "-c", code, *words], check=False).returncode == 0
    assert digest(tmp_path / "straight") == digest(tmp_path / "killed")


def test_the_loss_falls_and_the_held_back_objects_are_scored(recipe, tmp_path):
    scores = []

    class Listening(Watcher):
        def validated(self, step, score, is_best):
            scores.append(score)

    settings = ("schedule.epochs=12", "run.validate_every=4", 'model.name="gem_mobilenetv2"', "data.held_back=0.25")
    trainer = Trainer(recipe(*settings), tmp_path / "run", "cpu", Listening())
    trainer.run()
    losses = [float(row["loss"]) for row in rows_of(tmp_path / "run")]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert len(scores) == 3
    assert all(0 < score <= 1 for score in scores)


def test_frozen_parts_do_not_move(recipe, tmp_path):
    trainer = Trainer(recipe('model.freeze=["backbone"]', "schedule.epochs=1"), tmp_path / "run", "cpu")
    before = {name: value.clone() for name, value in trainer.trainee.network.state_dict().items()}
    trainer.run()
    moved = {n for n, value in trainer.trainee.network.state_dict().items() if not torch.equal(value, before[n])}
    assert moved
    assert not [name for name in moved if name.startswith("backbone")]


def test_statistics_of_the_backbone_stay_while_its_weights_learn(recipe, tmp_path):
    trainer = Trainer(recipe("model.freeze_statistics=true", "schedule.epochs=1"), tmp_path / "run", "cpu")
    before = {name: value.clone() for name, value in trainer.trainee.network.state_dict().items()}
    trainer.run()
    moved = {n for n, value in trainer.trainee.network.state_dict().items() if not torch.equal(value, before[n])}
    assert not [name for name in moved if name.startswith("backbone") and "running" in name]
    assert [name for name in moved if name.startswith("backbone") and name.endswith("weight")]


def test_fixed_classes_do_not_move(recipe, tmp_path):
    settings = ("loss.fixed_classes=true", "loss.imprint=true", "run.validate_every=0")
    trainer = Trainer(recipe(*settings, "schedule.steps=1"), tmp_path / "run", "cpu")
    trainer.run()
    before = trainer.trainee.objective.head.weight.clone()
    longer = Trainer(recipe(*settings, "schedule.steps=5"), tmp_path / "longer", "cpu")
    longer.run()
    assert torch.equal(before, longer.trainee.objective.head.weight)


def test_a_loss_that_is_no_number_stops_with_the_best_model_untouched(recipe, tmp_path, monkeypatch):
    place = tmp_path / "run"
    Trainer(recipe("run.validate_every=0.3"), place, "cpu", StopAfter(2)).run()
    best, last = (place / BEST / "model.safetensors").read_bytes(), digest(place)
    trainer = Trainer(recipe("run.validate_every=0.3"), place, "cpu")
    monkeypatch.setattr(loop, "to_tensor", lambda images, *_, **__: torch.full((len(images), 3, 64, 64), torch.nan))
    with pytest.raises(TrainingDiverged, match="The loss is nan at step 3"):
        trainer.run()
    assert (place / BEST / "model.safetensors").read_bytes() == best
    assert digest(place) == last


def test_a_folder_with_another_run_is_refused(recipe, tmp_path):
    Trainer(recipe(), tmp_path / "run", "cpu", StopAfter(1)).run()
    with pytest.raises(ConfigError, match="holds a run of another recipe"):
        Trainer(recipe("loss.margin=0.2"), tmp_path / "run", "cpu").run()


def test_photos_are_chosen_by_their_notes(recipe, tmp_path, photos):
    lines = ["path,label,tier"]
    for file in sorted(photos.rglob("*.png")):
        tier = "A" if file.parent.name < "object6" else "B"
        lines.append(f"{file.relative_to(photos)},{file.parent.name},{tier}")
    (photos.parent / "labels.csv").write_text("\n".join(lines))
    source = ('data.source="csv"', f'data.path="{photos.parent / "labels.csv"}"', f'data.root="{photos}"')
    only = Trainer(recipe(*source, 'data.only={tier=["A"]}', "data.held_back=0.0"), tmp_path / "run", "cpu")
    assert (len(only.photos), only.photos.num_classes) == (30, 6)


def test_nothing_to_train_on_and_batches_that_are_too_large_are_told(recipe, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises((NothingToDo, ConfigError)):
        Trainer(recipe(f'data.path="{tmp_path / "empty"}"'), tmp_path / "run", "cpu")
    with pytest.raises(ConfigError, match="fewer than one batch of 64"):
        Trainer(recipe("run.batch_size=64"), tmp_path / "run", "cpu")


def test_a_damaged_photo_is_skipped_and_listed(recipe, tmp_path, photos, capsys):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "object3/2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "recipe.json").write_text(recipe(f'data.path="{folder}"', "data.held_back=0.0").to_json())
    assert main(["train", str(tmp_path / "recipe.json"), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert "object3/2.png" in err
    assert out.strip() == str(tmp_path / "run" / BEST)
    assert "→ glocal index PHOTOS --model" in err


def test_a_run_with_a_warm_start_and_a_sampled_classifier_resumes_to_the_same_bytes(recipe, tmp_path):
    settings = (
        "model.whitening=0.5",
        "loss.imprint=true",
        'loss.head="subcentre"',
        "loss.num_centres=2",
        "loss.num_sampled=2",
        "model.options={dim=8}",
        "augment.scene=0.5",
        "run.ema=0.9",
    )
    Trainer(recipe(*settings), tmp_path / "straight", "cpu").run()
    Trainer(recipe(*settings), tmp_path / "resumed", "cpu", StopAfter(3)).run()
    Trainer(recipe(*settings), tmp_path / "resumed", "cpu").run()
    assert digest(tmp_path / "straight") == digest(tmp_path / "resumed")


@pytest.mark.parametrize("head", ["arcface", "cosface", "curricular", "subcentre"])
def test_a_sampled_classifier_learns_under_every_head(recipe, tmp_path, head):
    settings = (f'loss.head="{head}"', "loss.num_sampled=3", "schedule.epochs=8", 'model.name="gem_mobilenetv2"')
    Trainer(recipe(*settings), tmp_path / "run", "cpu").run()
    losses = [float(row["loss"]) for row in rows_of(tmp_path / "run")]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_the_numbers_of_every_step_go_to_tensorboard(recipe, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Trainer(recipe(), tmp_path / "run", "cpu", StopAfter(2)).run()
    Trainer(recipe(), tmp_path / "run", "cpu").run()
    events = reader.EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    rows = rows_of(tmp_path / "run")
    found = events.Scalars("loss")
    assert [event.step for event in found] == [int(row["step"]) for row in rows]
    assert [event.value for event in found] == pytest.approx([float(row["loss"]) for row in rows], rel=1e-5)


def test_a_compiled_step_is_used_when_asked_for(recipe, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    trainer = Trainer(recipe("run.compile=true"), tmp_path / "run", "cpu", StopAfter(1))
    trainer.run()
    assert compiled == [trainer.trainee]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, inside of its compiler
def test_a_step_that_was_really_compiled_learns_what_the_plain_one_learns(recipe, tmp_path):
    settings = ('model.name="gem_mobilenetv2"', "run.batch_size=4")
    for name in ("false", "true"):
        Trainer(recipe(*settings, f"run.compile={name}"), tmp_path / name, "cpu", StopAfter(2)).run()
    plain, compiled = ([float(row["loss"]) for row in rows_of(tmp_path / name)] for name in ("false", "true"))
    assert compiled[0] == pytest.approx(plain[0], rel=1e-3)
    assert compiled[1] == pytest.approx(
        plain[1], rel=0.1
    )  # four photos a step: rounding grows through the normalisations
