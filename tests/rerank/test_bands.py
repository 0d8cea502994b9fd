import json
from importlib.resources import files

import numpy as np
import pytest

from glocal.errors import WeightsError
from glocal.models.catalogue import CATALOGUE
from glocal.rerank.bands import Band, Calibration, judge
from glocal.rerank.geometric import VerificationOptions
from glocal.types import Hit, Verification


def hit(inliers, matches=60, similarity=0.4, overlap=0.3):
    mask = np.arange(matches) < inliers
    found = Verification(inliers, np.eye(3), np.zeros((matches, 2), np.int64), mask, overlap, 0.0)
    return Hit("x", 1, similarity, found)


CALIBRATED = [name for name in CATALOGUE if Calibration.load(name) is not None]


@pytest.mark.parametrize("model", CALIBRATED)
def test_more_inliers_never_make_it_less_probable(model):
    calibration = Calibration.load(model)
    probabilities = [calibration.probability(hit(inliers)) for inliers in range(4, 60)]
    assert probabilities == sorted(probabilities)
    assert calibration.band(probabilities[-1]) == Band.SAME
    assert calibration.band(probabilities[0]) == Band.LOOK_ALIKE
    assert 0 < calibration.possibly < calibration.same < 1


def test_agreement_on_a_tiny_part_of_both_pictures_is_only_possible():
    calibration = Calibration.load("rootsift")
    letters = calibration.probability(hit(40, overlap=0.009))
    assert calibration.band(letters) == Band.POSSIBLY
    assert letters < calibration.probability(hit(40))
    assert calibration.probability(hit(4, overlap=0.009)) == calibration.probability(hit(4))


def test_without_geometry_nothing_is_the_same():
    calibration = Calibration.load("rootsift")
    assert calibration.probability(Hit("x", 1, 0.99)) == 0
    assert calibration.probability(hit(0)) == 0


def test_the_file_says_what_it_was_fitted_on():
    table = json.loads(files("glocal.models").joinpath("weights/rootsift.bands.json").read_text())
    assert "training collection" in table["fitted_on"]
    assert table["measured_on_the_same_pairs"]["same"]["right_above"] > 0


def test_a_model_that_nobody_has_calibrated_claims_nothing():
    assert "rootsift" in CALIBRATED
    for name in ("nothing", "dolg_resnet50", "../weights/rootsift", "dolg_timm:a/b"):
        assert Calibration.load(name) is None
    assert judge(None, hit(40)) == (None, Band.LOOK_ALIKE)
    calibration = Calibration.load("rootsift")
    assert judge(calibration, hit(40)) == (calibration.probability(hit(40)), Band.SAME)


def test_a_damaged_calibration_is_named(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/mine.bands.json").write_text("{}")
    monkeypatch.setattr("glocal.rerank.bands.files", lambda package: tmp_path)
    with pytest.raises(WeightsError, match=r"mine\.bands\.json"):
        Calibration.load("mine")


def test_a_calibration_of_a_network_holds_for_its_weights_and_its_way_of_matching(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    numbers = {"intercept": -9.0, "log_inliers": 3.0, "same": 0.9, "possibly": 0.5}
    how = {"max_ratio": 0.95, "tolerance": 0.03, "least": 7, "inlier_weight": 0.02}
    table = {"calibration": numbers, "weights": "abc", "verification": how}
    (tmp_path / "weights/mine.bands.json").write_text(json.dumps(table))
    monkeypatch.setattr("glocal.rerank.bands.files", lambda package: tmp_path)
    found = Calibration.load("mine", "abc")
    assert found.verification == VerificationOptions(0.95, 0.03, 7, 0.02)
    assert Calibration.load("mine", "another") is None
    assert Calibration.load("mine") is None
