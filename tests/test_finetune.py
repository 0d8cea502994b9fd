"""From a folder of photos to a model of its own: mined groups, a short training, before and after."""

import csv

import numpy as np
import pytest

from glocal.cli.main import main
from glocal.errors import NothingToDo
from glocal.extract.load import load
from glocal.finetune import MINED, finetune_recipe, mine_labels
from glocal.models.catalogue import create_model, preprocessing_of
from glocal.models.weights import ModelConfig, save_model
from tests.conftest import save, texture


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six things in four photos each, cut out elsewhere every time, and three photos of other things, in one folder."""
    folder = tmp_path_factory.mktemp("flat")
    for number in range(6):
        whole = texture(number, 400, 340)
        for view in range(4):
            x, y = 12 * view, 9 * view
            save(folder / f"{view}-{number}.jpg", whole[y : y + 300, x : x + 340], quality=92)
    for number in range(3):
        save(folder / f"alone-{number}.jpg", texture(100 + number, 340, 300), quality=92)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small untrained network as a model's folder."""
    folder = tmp_path_factory.mktemp("base") / "model"
    network = create_model("gem_mobilenetv2", dim=16)
    save_model(folder, network, ModelConfig("gem_mobilenetv2", {"dim": 16}, preprocessing_of("gem_mobilenetv2")))
    return folder


def test_groups_are_found_by_verified_matches_alone(photos, tmp_path):
    calls = []
    groups = mine_labels(photos, tmp_path / MINED, lambda done, total: calls.append((done, total)))
    assert (groups.photos, groups.groups, groups.grouped) == (27, 6, 24)
    assert calls[-1] == (27, 27)
    with (tmp_path / MINED).open(newline="") as file:
        rows = {row["path"]: row["label"] for row in csv.DictReader(file)}
    for number in range(6):
        assert len({rows[f"{view}-{number}.jpg"] for view in range(4)}) == 1
    assert len({label for label in rows.values() if label}) == 6
    assert [rows[f"alone-{number}.jpg"] for number in range(3)] == ["", "", ""]


def test_finetune_prints_a_table_and_its_model_indexes_photos(photos, base, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["finetune", str(photos), "--from", str(base), "--out", str(out), "--epochs", "2", "--size", "64"]
    assert main([*words, "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "6 groups, 24 of 27 photos" in captured.err
    lines = captured.out.splitlines()
    assert lines[0].startswith("mAP on ")
    assert lines[1].split()[0] == "before"
    assert lines[2].split()[0] == "after"
    assert all(0 <= float(line.split()[1]) <= 100 for line in lines[1:3])
    assert load(out / "best").spec.dim == 16


def test_labels_come_from_folders_or_a_table(photos, base, tmp_path):
    folders = tmp_path / "folders"
    for number in range(4):
        for view in range(3):
            save(folders / f"thing{number}/{view}.png", texture(number, 64 + view, 64))
    recipe = finetune_recipe(folders, None, str(base))
    assert (recipe.data.source, recipe.model.name) == ("folder", "gem_mobilenetv2")
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{v}-{n}.jpg,{n}\n" for n in range(3) for v in range(2)))
    recipe = finetune_recipe(photos, table, str(base))
    assert (recipe.data.source, recipe.data.root) == ("csv", str(photos))


def test_photos_without_two_of_one_thing_teach_nothing(base, tmp_path, capsys):
    for number in range(4):
        save(tmp_path / f"photos/{number}.jpg", np.roll(texture(50 + number), number))
    words = ["finetune", str(tmp_path / "photos"), "--from", str(base), "--out", str(tmp_path / "run")]
    assert main([*words, "--device", "cpu"]) == 3
    assert "0 objects with two photos or more among 4 photos" in capsys.readouterr().err
    with pytest.raises(NothingToDo, match="nothing to learn from"):
        finetune_recipe(tmp_path / "photos", None, str(base))


def test_an_unknown_folder_or_model_is_told(photos, tmp_path, capsys):
    assert main(["finetune", str(tmp_path / "nowhere")]) == 2
    assert "No such folder" in capsys.readouterr().err
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{v}-{n}.jpg,{n}\n" for n in range(3) for v in range(2)))
    assert main(["finetune", str(photos), "--from", "rootsift", "--labels", str(table), "--out", str(tmp_path)]) == 2
    assert "rootsift is no network" in capsys.readouterr().err
