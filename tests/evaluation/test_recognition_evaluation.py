import json
from pathlib import Path

import numpy as np
import pytest

from glocal.cli import exits
from glocal.cli.main import main
from glocal.evaluation.evaluate import EvaluationTask
from glocal.evaluation.features import Watcher
from glocal.evaluation.methods import parse_plan
from glocal.evaluation.recognition_run import lines_of, read_recognition, recognise_all, score_predictions
from glocal.rerank.voting import VotingOptions
from tests.conftest import save, texture

GOLDEN = Path(__file__).parents[1] / "golden/evaluation"
LANDMARKS = {7: 0, 12: 1, 30: 2}
"""Landmark -> which thing it is."""


def name_of(number: int) -> str:
    return f"{number:016x}"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """GLDv2 in small: three landmarks of two photos each; test photos of two of them, and of something else."""
    root = tmp_path_factory.mktemp("gldv2")
    rows, number = ["landmark_id,images"], 0
    for landmark, thing in LANDMARKS.items():
        names = []
        for view in range(2):
            names.append(name_of(number))
            pixels = texture(thing, 420, 320)[view * 15 : view * 15 + 270, view * 20 : view * 20 + 340]
            save(root / f"train/{names[-1][0]}/{names[-1][1]}/{names[-1][2]}/{names[-1]}.jpg", pixels, quality=92)
            number += 1
        rows.append(f"{landmark},{' '.join(names)}")
    (root / "train_clean.csv").write_text("\n".join(rows) + "\n")
    asked = {100: (0, "7", "Public"), 101: (1, "12 99", "Private"), 102: (50, "", "Private"), 103: (51, "", "Ignored")}
    lines = ["id,landmarks,Usage"]
    for test, (thing, landmarks, usage) in asked.items():
        name = name_of(test)
        save(root / f"test/{name[0]}/{name[1]}/{name[2]}/{name}.jpg", texture(thing, 420, 320)[:300, :380], quality=92)
        lines.append(f"{name},{landmarks},{usage}")
    (root / "recognition_solution_v2.1.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("method", ["none", "geometric"])
def test_the_nearest_photos_name_the_landmark(root, tmp_path, method):
    benchmark = read_recognition(root)
    assert benchmark.labels.tolist() == [7, 7, 12, 12, 30, 30]
    task = EvaluationTask(
        benchmark.photos,
        "rootsift",
        parse_plan([method]),
        features=tmp_path / "features",
        out=tmp_path / "run",
        workers=1,
    )
    scores, folder = recognise_all(benchmark, task, VotingOptions(k=2), Watcher())
    assert {subset: (found.queries, found.with_landmark) for subset, found in scores.items()} == {
        "Public": (1, 1),
        "Private": (2, 1),
    }
    # One photo with a landmark in each subset, and it is recognised; the one that shows none scores lower.
    for found in scores.values():
        assert (found.gap, found.gap_ignoring, found.top1) == (1.0, 1.0, 1.0)
    lines = (folder / "predictions.csv").read_text().splitlines()
    answers = {line.split(",")[0]: line.split(",")[1].split()[0] for line in lines[1:]}
    assert (answers[name_of(100)], answers[name_of(101)]) == ("7", "12")
    assert name_of(103) not in answers
    again = score_predictions(root / "recognition_solution_v2.1.csv", folder / "predictions.csv", tmp_path / "again")
    assert again == scores


def test_the_golden_predictions_have_the_golden_scores(tmp_path):
    golden = json.loads((GOLDEN / "gldv2.json").read_text())["recognition"]
    found = score_predictions(
        GOLDEN / "gldv2_recognition_solution.csv", GOLDEN / "gldv2_recognition_predictions.csv", tmp_path / "run"
    )
    for subset, scores in found.items():
        want = golden[subset.lower()]
        assert (scores.queries, scores.with_landmark) == (want["images"], want["with_landmark"])
        got = [scores.gap, scores.gap_ignoring, scores.top1]
        names = ("gap", "gap_ignoring_images_without_landmark", "top1_accuracy")
        assert np.allclose(got, [want[name] for name in names], rtol=0, atol=1e-12)
    assert ">> gldv2-recognition: Public µAP (GAP): 27.79" in lines_of(found)[0]


def test_the_command_scores_a_submission(root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.csv").write_text(f"id,landmarks\n{name_of(100)},7 0.5\n{name_of(101)},8 0.9\n")
    command = ["eval", "gldv2-recognition", "--data", str(root), "--results", "theirs.csv"]
    assert main(command) == exits.DONE
    out = capsys.readouterr().out
    assert "Public µAP (GAP): 100.00" in out
    assert "Private µAP (GAP): 0.00" in out
    (tmp_path / "theirs.csv").write_text(f"id,landmarks\n{name_of(999)},7 0.5\n")
    assert main(command) == exits.MISMATCH
    assert name_of(999) in capsys.readouterr().err
