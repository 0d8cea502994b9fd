"""The margin losses against the numbers of the published implementations."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from glocal.nn.margin_head import ArcFaceHead, CurricularHead, MarginHead

HERE = Path(__file__).parent
TORCH = np.load(HERE / "losses_torch.npz")
TORCH_ABOUT = json.loads((HERE / "losses_torch.json").read_text())
TF = np.load(HERE / "geometry_tf.npz")
DTYPES = [torch.float32, torch.float64]


def filled(head: MarginHead, weight: np.ndarray, dtype: torch.dtype) -> MarginHead:
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight.copy()))
    return head.to(dtype)


def step(head: MarginHead, features: np.ndarray, labels: np.ndarray, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """One forward and backward pass: logits, mean cross-entropy, gradients."""
    head.zero_grad()
    x = torch.from_numpy(features.copy()).to(dtype).requires_grad_()
    y = torch.from_numpy(labels.copy()).long()
    logits = head(x, y)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    return {
        "logits": logits.detach().numpy(),
        "loss": loss.detach().numpy(),
        "grad_features": x.grad.numpy(),
        "grad_weight": head.weight.grad.numpy(),
    }


def expect_close(found: np.ndarray, golden, key: str, dtype: torch.dtype, noise: float = 0.0) -> None:
    if dtype == torch.float64:
        want = golden[f"{key}.f64"]
        assert np.abs(found - want).max() <= 1e-10 * np.abs(want).max(), key
    else:
        want = golden[key]
        assert np.abs(found - want).max() <= max(10 * noise, 1e-5 * np.abs(want).max()), key


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [30, 128])
def test_two_steps_of_the_curricular_loss_are_those_of_the_released_dolg(scale, dtype):
    head = filled(CurricularHead(16, 10, margin=0.15, scale=scale), TORCH["weight"], dtype).train()
    for number in (1, 2):
        name = f"curricular_s{scale}_m0.15/step{number}"
        found = step(head, TORCH["features"], TORCH["labels"], dtype)
        found["t_after"] = head.state.numpy()
        for key, value in found.items():
            about = TORCH_ABOUT["outputs"][f"{name}/{key}"]
            expect_close(value, TORCH, f"{name}/{key}", dtype, about["diff_f64"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("scale", "margin"), [(32, 0.2), (64, 0.5)])
def test_arcface_is_that_of_the_released_token(scale, margin, dtype):
    head = filled(ArcFaceHead(16, 10, margin=margin, scale=scale), TORCH["weight"], dtype).train()
    for key, value in step(head, TORCH["features"], TORCH["labels"], dtype).items():
        name = f"arcface_token_s{scale}_m{margin}/{key}"
        expect_close(value, TORCH, name, dtype, TORCH_ABOUT["outputs"][name]["diff_f64"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_arcface_without_clamping_is_that_of_the_tensorflow_delg(mode, dtype):
    margin = float(np.float32(0.1))  # the published code keeps its margin in float32, in a float64 run too
    head = ArcFaceHead(12, 9, margin=margin, scale=45.25, eps=0.0)
    head = filled(head, TF["arcface/weight"].T, dtype).train(mode == "train")
    found = step(head, TF["arcface/features"], TF["arcface/labels"], dtype)
    found["grad_weight"] = found["grad_weight"].T
    for key, value in found.items():
        expect_close(value, TF, f"arcface/{mode}/{key}", dtype)


def test_the_hand_computed_example_of_the_curricular_loss():
    rows = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32)
    features = np.array([[0.2, 0.9, 0.1], [1, 0.8, 0.7], [-0.1, 0.2, -0.9]], np.float32)
    head = filled(CurricularHead(3, 4, margin=0.15, scale=30), rows, torch.float64).train()
    first = step(head, features, np.array([1, 3, 2]), torch.float64)
    assert first["logits"][0] == pytest.approx([6.46997, 27.70694, 3.23498, 22.41262], abs=1e-5)
    assert first["logits"][2] == pytest.approx([0.33817, 1.41668, -29.8689, 7.3926], abs=1e-4)
    assert first["loss"] == pytest.approx(12.4234047, abs=1e-6)
    assert head.state.item() == pytest.approx(0.0032966153, abs=1e-9)
    second = step(head, features, np.array([1, 3, 2]), torch.float64)
    assert second["loss"] == pytest.approx(12.4072218, abs=1e-6)


def test_the_curricular_state_rests_in_evaluation_unless_the_published_bug_is_asked_for():
    features, labels = TORCH["features"], TORCH["labels"]
    for bug_compat in (False, True):
        head = filled(CurricularHead(16, 10, bug_compat=bug_compat), TORCH["weight"], torch.float32).eval()
        step(head, features, labels, torch.float32)
        assert (head.state.item() != 0) == bug_compat
