import pytest
import torch
from hypothesis import given
from hypothesis.strategies import integers

from glocal.errors import ShapeError
from glocal.ops.fusion import orthogonal_component


@given(seed=integers(0, 2**31), channels=integers(1, 16))
def test_result_is_orthogonal_to_the_global_feature(seed: int, channels: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    local = torch.randn(2, channels, 5, 3, generator=rng, dtype=torch.float64)
    global_ = torch.randn(2, channels, generator=rng, dtype=torch.float64)
    rest = orthogonal_component(local, global_)
    assert torch.einsum("bchw,bc->bhw", rest, global_).abs().max() < 1e-9


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (17, 1)])
def test_it_equals_the_projection_written_out_per_position(height, width):
    local, global_ = torch.randn(2, 4, height, width).double(), torch.randn(2, 4).double()
    rest = orthogonal_component(local, global_)
    for b in range(2):
        for y in range(height):
            for x in range(width):
                vector, g = local[b, :, y, x], global_[b]
                expected = vector - (vector @ g) / (g @ g) * g
                assert torch.allclose(rest[b, :, y, x], expected, atol=1e-12)


def test_the_length_of_the_global_feature_does_not_matter():
    local, global_ = torch.randn(1, 4, 2, 2).double(), torch.randn(1, 4).double()
    assert torch.allclose(orthogonal_component(local, global_), orthogonal_component(local, 1000 * global_))


def test_both_inputs_get_gradients_that_finite_differences_confirm():
    local = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    global_ = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(orthogonal_component, (local, global_))


def test_channels_that_differ_are_refused():
    with pytest.raises(ShapeError, match="global_ must be"):
        orthogonal_component(torch.zeros(2, 4, 3, 3), torch.zeros(2, 5))
