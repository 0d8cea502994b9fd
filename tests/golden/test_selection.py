"""Key points, suppression, whitening and boxes against what the published programs chose."""

import json
from pathlib import Path

import numpy as np
import pytest

from glocal.extract.local import LevelMaps, select_local
from glocal.models.preprocessing import LocalSelection
from glocal.ops.receptive_field import box_centres, receptive_boxes
from glocal.ops.suppression import suppress
from glocal.ops.whitening import whiten

HERE = Path(__file__).parent
TF, TF_ABOUT = np.load(HERE / "geometry_tf.npz"), json.loads((HERE / "geometry_tf.json").read_text("utf-8"))
TORCH = np.load(HERE / "geometry_torch.npz")
TORCH_ABOUT = json.loads((HERE / "geometry_torch.json").read_text("utf-8"))["delg_torch"]
SETTINGS = list(enumerate(TF_ABOUT["select"]["settings"]))
TORCH_SCALES = TORCH_ABOUT["scales"]
SIZE = (224, 160)
TOLERANCE = 1e-5


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def close(found, wanted):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0) <= TOLERANCE * np.abs(wanted).max(initial=1)


def tf_levels():
    return [
        LevelMaps(
            float(scale), TF[f"select/scale{i}/attention"], TF[f"select/scale{i}/features"].transpose(2, 0, 1).copy()
        )
        for i, scale in enumerate(TF["select/scales"])
    ]


def torch_levels():
    return [
        LevelMaps(scale, TORCH[f"delg_torch/scale{i}/attention"][0, 0], TORCH[f"delg_torch/scale{i}/features"][0])
        for i, scale in enumerate(TORCH_SCALES)
    ]


def torch_selection(iou, limit, **fields):
    return LocalSelection(threshold=260.0, threshold_rule="halving", stride=16, iou=iou, max_features=limit, **fields)


@pytest.mark.parametrize("case", [0, 1])
def test_boxes_and_centres_are_those_of_the_tensorflow_code(case):
    height, width, field, stride, padding, scale = TF[f"boxes/{case}/args"]
    rows, columns = np.indices((int(height), int(width))).reshape(2, -1)
    boxes = receptive_boxes(np.stack([columns, rows], axis=1), int(stride), int(field), int(padding), scale)
    close(boxes[:, [1, 0, 3, 2]], TF[f"boxes/{case}/boxes"])
    close(box_centres(boxes)[:, ::-1], TF[f"boxes/{case}/centers"])


@pytest.mark.parametrize("stride", [32, 16])
@pytest.mark.parametrize(("number", "setting"), SETTINGS)
def test_the_tensorflow_code_chooses_the_same_features_in_the_same_order(number, setting, stride):
    selection = LocalSelection(
        stride=stride,
        threshold=setting["threshold"],
        iou=setting["iou"],
        max_features=setting["max_features"],
    )
    found = select_local(tf_levels(), selection, "x", SIZE, SIZE)
    wanted = {name: TF[f"select/setting{number}_stride{stride}/{name}"] for name in ("scores", "locations", "scales")}
    assert np.array_equal(found.scores, wanted["scores"])
    close(found.keypoints, wanted["locations"][:, ::-1])
    close(found.scales, 291 * wanted["scales"])
    close(found.descriptors, unit(TF[f"select/setting{number}_stride{stride}/features"]))


def torch_candidates():
    """Every cell that ends above the last threshold tried, as the published code lists them."""
    locations, descriptors, scores, scales = [], [], [], []
    for level in torch_levels():
        rows, columns = np.nonzero(level.attention > 0.126953125)
        locations.append(np.stack([columns, rows], axis=1) * 16 / level.scale)
        descriptors.append(level.descriptors[:, rows, columns].T)
        scores.append(level.attention[rows, columns])
        scales.append(np.full(len(rows), level.scale))
    locations, descriptors, scores, scales = map(np.concatenate, (locations, descriptors, scores, scales))
    return locations, unit(descriptors), scores, scales


def assert_same_features(found, indices):
    locations, descriptors, scores, scales = torch_candidates()
    assert np.array_equal(found.scores, scores[indices])
    close(found.keypoints, locations[indices])
    close(found.descriptors, descriptors[indices])
    close(found.scales, 291 / scales[indices])


def test_the_halving_threshold_ends_where_the_pytorch_code_ends():
    counts = [int((level.attention > 0.126953125).sum()) for level in torch_levels()]
    assert counts == [int(TORCH[f"delg_torch/scale{i}/selected"]) for i in range(4)]
    assert sum(counts) == TORCH["delg_torch/candidates"]
    found = select_local(torch_levels(), torch_selection(1.0, 1000), "x", SIZE, SIZE)
    assert len(found) == sum(counts)


@pytest.mark.parametrize(("iou", "limit"), [(0.98, 1000), (0.98, 50), (0.45, 1000)])
def test_the_pytorch_code_means_to_choose_the_same_features(iou, limit):
    golden = f"delg_torch/iou{iou}_top{limit}"
    found = select_local(torch_levels(), torch_selection(iou, limit), "x", SIZE, SIZE)
    assert_same_features(found, TORCH[f"{golden}/kept"])
    close(found.keypoints, TORCH[f"{golden}/locations"][:, ::-1])
    close(found.scales, 291 / TORCH[f"{golden}/scales"])
    assert np.array_equal(found.scores, TORCH[f"{golden}/scores"])


@pytest.mark.parametrize(("iou", "limit"), [(0.98, 1000), (0.98, 50), (0.45, 1000)])
def test_with_bug_compat_the_first_candidate_is_repeated_as_the_pytorch_code_does(iou, limit):
    found = select_local(torch_levels(), torch_selection(iou, limit, bug_compat=True), "x", SIZE, SIZE)
    official = TORCH[f"delg_torch/iou{iou}_top{limit}/official_indices"]
    scores = torch_candidates()[2]
    # Ours stand in the order of their scores, which every consumer of local features may count on.
    assert_same_features(found, official[np.argsort(-scores[official], kind="stable")])


@pytest.mark.parametrize(("iou", "limit"), [(0.98, 1000), (0.45, 1000)])
def test_suppression_keeps_the_indices_that_the_pytorch_code_keeps(iou, limit):
    locations, _, scores, scales = torch_candidates()
    half = 145 / scales[:, None]
    boxes = np.concatenate([locations - half, locations + half], axis=1).astype(np.float32)
    assert np.array_equal(suppress(boxes, scores, iou, limit), TORCH[f"delg_torch/iou{iou}_top{limit}/kept"])


@pytest.mark.parametrize("whitened", [False, True])
def test_pca_whitening_is_that_of_the_tensorflow_code(whitened):
    projection = TF["pca/matrix"][:4].T
    if whitened:
        projection = projection / np.sqrt(TF["pca/variances"][:4])
    close(whiten(unit(TF["pca/data"]), TF["pca/mean"], projection), TF[f"pca/out_whiten{int(whitened)}"])
