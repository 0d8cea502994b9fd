import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.strategies import integers

from glocal.errors import ShapeError
from glocal.ops.pooling import attention_pool, gem, mac, rmac, spoc

SIDES = [(1, 1), (2, 3), (17, 5), (3, 17)]


def maps_of(height: int, width: int, seed: int = 0, batch: int = 2, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize(("height", "width"), SIDES)
def test_poolings_equal_a_loop_over_the_positions(height, width):
    maps = maps_of(height, width)
    for b in range(2):
        for c in range(3):
            values = [float(maps[b, c, y, x]) for y in range(height) for x in range(width)]
            assert float(mac(maps)[b, c]) == pytest.approx(max(values))
            assert float(spoc(maps)[b, c]) == pytest.approx(sum(values) / len(values))
            cubes = sum(max(value, 1e-6) ** 3 for value in values) / len(values)
            assert float(gem(maps)[b, c]) == pytest.approx(cubes ** (1 / 3))


@given(seed=integers(0, 2**31))
def test_gem_lies_between_the_mean_and_the_maximum(seed):
    maps = maps_of(4, 5, seed)
    low, high = spoc(maps), mac(maps)
    assert torch.allclose(gem(maps, 1.0), low)
    assert ((gem(maps, 3.0) >= low - 1e-12) & (gem(maps, 3.0) <= high + 1e-12)).all()
    assert torch.allclose(gem(maps, 300.0), high, rtol=0.02)


def test_the_exponent_of_gem_gets_a_gradient_that_finite_differences_confirm():
    maps = maps_of(3, 4).requires_grad_()
    p = torch.tensor([2.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gem, (maps, p))


def test_values_below_zero_count_as_epsilon():
    maps = torch.full((1, 2, 3, 3), -5.0)
    assert gem(maps).numpy() == pytest.approx(1e-6)


@pytest.mark.parametrize(("height", "width"), [*SIDES, (1, 40), (30, 2)])
def test_rmac_is_finite_at_every_aspect_and_counts_the_whole_map(height, width):
    maps = maps_of(height, width)
    assert torch.isfinite(rmac(maps)).all()
    whole = mac(maps)
    # Every region's unit maximum is added to that of the whole, so the sum is at least as long as one.
    assert (rmac(maps).norm(dim=1) >= 1 - 1e-9).all()
    assert rmac(maps).shape == whole.shape


def test_the_regions_of_a_square_map_are_one_four_and_nine():
    # One channel per cell: the sum counts in how many regions a cell is the maximum.
    side = 12
    maps = torch.eye(side * side, dtype=torch.float64).reshape(1, side * side, side, side)
    total = rmac(maps)
    areas = [side**2, side**2] + [8**2] * 4 + [6**2] * 9  # whole, level 1, level 2 (2/3), level 3 (1/2)
    assert float(total.sum()) == pytest.approx(sum(np.sqrt(area) for area in areas))


def test_attention_pooling_is_a_weighted_mean():
    maps, attention = maps_of(3, 4), maps_of(3, 4, 1, channels=1)
    assert torch.allclose(attention_pool(maps, attention), (maps * attention).mean(dim=(2, 3)))


@pytest.mark.parametrize("pool", [mac, spoc, gem, rmac])
def test_a_map_without_four_axes_is_refused(pool):
    with pytest.raises(ShapeError, match="maps must be"):
        pool(torch.zeros(2, 3, 4))


def test_attention_of_another_size_is_refused():
    with pytest.raises(ShapeError, match="attention"):
        attention_pool(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 5))
