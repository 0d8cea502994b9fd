import math

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import floats, integers

from glocal.errors import ShapeError
from glocal.ops.margin import arcface, cosface, cosines, curricular


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    cosine = cosines(torch.randn(5, 8, generator=rng).double(), torch.randn(7, 8, generator=rng).double())
    return cosine, torch.randint(0, 7, (5,), generator=rng)


def test_cosines_do_not_depend_on_lengths():
    features, weight = torch.randn(3, 4).double(), torch.randn(5, 4).double()
    assert torch.allclose(cosines(features, weight), cosines(7 * features, 0.1 * weight))
    assert cosines(features, features).diagonal().numpy() == pytest.approx(1)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_arcface_equals_the_formula_written_out(margin):
    cosine, labels = example()
    logits = arcface(cosine, labels, margin, 30.0)
    for row in range(5):
        for column in range(7):
            theta = math.acos(float(cosine[row, column]))
            if column == labels[row] and theta <= math.pi - margin:
                theta += margin
            assert float(logits[row, column]) == pytest.approx(30 * math.cos(theta))


@given(seed=integers(0, 2**31), margin=floats(0.05, 0.5))
def test_every_margin_lowers_the_true_class_and_leaves_the_others(seed, margin):
    cosine, labels = example(seed)
    true = labels[:, None]
    for logits in (arcface(cosine, labels, margin, 1.0), cosface(cosine, labels, margin, 1.0)):
        assert (logits.gather(1, true) <= cosine.gather(1, true) + 1e-9).all()
        others = torch.ones_like(cosine, dtype=torch.bool).scatter(1, true, False)
        assert torch.allclose(logits[others], cosine[others], atol=2e-6)


def test_a_true_class_beyond_pi_minus_margin_keeps_its_cosine_in_arcface():
    cosine = torch.tensor([[-0.9999, 0.5]], dtype=torch.float64)
    assert float(arcface(cosine, torch.tensor([0]), 0.2, 1.0)[0, 0]) == pytest.approx(-0.9999)


def test_cosines_of_one_give_finite_gradients():
    cosine = torch.tensor([[1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    arcface(cosine, torch.tensor([0]), 0.2, 30.0).sum().backward()
    assert torch.isfinite(cosine.grad).all()


def test_half_precision_keeps_the_gradient_of_a_perfect_descriptor_finite():
    weight = torch.randn(4, 8, requires_grad=True)
    features = weight.detach()[:2].clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        cosine = cosines(features.bfloat16().float(), weight)
        arcface(cosine, torch.tensor([0, 1]), 0.2, 30.0).sum().backward()
    assert cosine.dtype == torch.float32
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(weight.grad).all()
    assert cosines(features.bfloat16(), weight).dtype == torch.float32


def test_hard_wrong_classes_weigh_more_as_the_state_grows():
    cosine = torch.tensor([[0.5, 0.8, 0.1]], dtype=torch.float64)
    labels = torch.tensor([0])
    early, _ = curricular(cosine, labels, torch.zeros(1).double(), 0.15, 1.0)
    late, state = curricular(cosine, labels, torch.ones(1).double(), 0.15, 1.0)
    assert float(late[0, 1]) > float(early[0, 1])
    assert float(late[0, 2]) == float(early[0, 2]) == pytest.approx(0.1)
    assert float(state) == pytest.approx(0.01 * 0.5 + 0.99)
    assert not state.requires_grad


def test_labels_of_another_length_are_refused():
    cosine, _ = example()
    for logits in (arcface, cosface):
        with pytest.raises(ShapeError, match="labels"):
            logits(cosine, torch.zeros(4, dtype=torch.int64), 0.1, 1.0)
    with pytest.raises(ShapeError, match="labels"):
        curricular(cosine, torch.zeros(4, dtype=torch.int64), torch.zeros(1), 0.1, 1.0)
    with pytest.raises(ShapeError, match="weight"):
        cosines(torch.zeros(2, 3), torch.zeros(2, 4))
