import numpy as np
import pytest
import torch

from glocal.errors import ConfigError, ShapeError
from glocal.extract.pyramid import average_scales, pyramid_level, to_tensor
from glocal.models.preprocessing import SEVEN_SCALES, Preprocessing


def pictures(height=5, width=7, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def test_pixels_become_normalised_planes():
    pixels, rule = pictures(), Preprocessing(mean=(10, 20, 30), std=(2, 4, 8))
    images = to_tensor(pixels, rule)
    assert images.shape == (2, 3, 5, 7)
    assert images.dtype == torch.float32
    expected = (pixels.astype(np.float64) - [10, 20, 30]) / [2, 4, 8]
    assert np.allclose(images.permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_tensor_is_of_the_wanted_type(dtype):
    images = to_tensor(pictures(), Preprocessing(), dtype)
    assert images.dtype == dtype
    exact = to_tensor(pictures(), Preprocessing(), torch.float64)
    assert (images.double() - exact).abs().max() < 4 * torch.finfo(dtype).eps


def test_read_only_and_turned_pixels_are_accepted_and_left_alone():
    pixels = pictures()
    pixels.setflags(write=False)
    before = pixels.copy()
    assert torch.equal(to_tensor(pixels, Preprocessing()), to_tensor(before, Preprocessing()))
    turned = pixels[:, ::-1, :, ::-1]
    assert torch.equal(to_tensor(turned, Preprocessing()), to_tensor(turned.copy(), Preprocessing()))
    assert np.array_equal(pixels, before)


def test_pixels_of_another_shape_or_type_are_refused():
    with pytest.raises(ShapeError, match="pixels must be"):
        to_tensor(pictures()[0], Preprocessing())
    with pytest.raises(ShapeError, match="uint8"):
        to_tensor(pictures().astype(np.float32), Preprocessing())


def resize_plainly(plane, target, ratio):
    """Bilinear interpolation at half-pixel centres, written from the formula."""
    rows, columns = ((np.arange(n) + 0.5) / r - 0.5 for n, r in zip(target, ratio, strict=True))
    result = np.empty(target)
    for i, y in enumerate(np.clip(rows, 0, plane.shape[0] - 1)):
        for j, x in enumerate(np.clip(columns, 0, plane.shape[1] - 1)):
            top, left = int(y), int(x)
            bottom, right = min(top + 1, plane.shape[0] - 1), min(left + 1, plane.shape[1] - 1)
            upper = plane[top, left] * (1 - (x - left)) + plane[top, right] * (x - left)
            lower = plane[bottom, left] * (1 - (x - left)) + plane[bottom, right] * (x - left)
            result[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return result


@pytest.mark.parametrize("side", [1, 2, 3, 17])
@pytest.mark.parametrize("scale", [0.25, 0.70710677, 1.4142135, 2.0])
@pytest.mark.parametrize("rule", ["size", "factor"])
def test_a_level_agrees_with_the_plain_formula(side, scale, rule):
    images = to_tensor(pictures(side, 5), Preprocessing(), torch.float64)
    level = pyramid_level(images, scale, rule)
    by_factor = rule == "factor" and min(side, 5) * scale >= 1
    sides = list(zip(level.shape[2:], (side, 5), strict=True))
    # torch copies an axis whose length stays the same, even if the factor says otherwise.
    ratio = [scale if by_factor and after != before else after / before for after, before in sides]
    expected = resize_plainly(images[0, 0].numpy(), level.shape[2:], ratio)
    assert np.allclose(level[0, 0].numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("rule", ["size", "factor"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3, 1), (2, 2)])
def test_no_level_of_a_tiny_picture_is_empty_or_not_a_number(size, rule):
    images = to_tensor(pictures(*size), Preprocessing())
    for scale in SEVEN_SCALES:
        level = pyramid_level(images, scale, rule)
        assert min(level.shape) >= 1
        assert level.isfinite().all()


def test_scale_one_is_the_picture_itself():
    images = to_tensor(pictures(), Preprocessing())
    assert pyramid_level(images, 1.0, "size") is images


@pytest.mark.parametrize(("scale", "rule"), [(0.0, "size"), (-1.0, "factor"), (1.0, "ratio")])
def test_a_scale_or_rule_that_makes_no_sense_is_refused(scale, rule):
    with pytest.raises(ConfigError):
        pyramid_level(to_tensor(pictures(), Preprocessing()), scale, rule)


def test_levels_have_equal_weight_whatever_their_norm():
    a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.1]])
    assert torch.allclose(average_scales([a, b]), torch.full((1, 2), 0.5**0.5))
    assert torch.allclose(average_scales([a]), torch.tensor([[1.0, 0.0]]))


def test_the_average_of_one_picture_does_not_depend_on_its_batch():
    vectors = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
    together = average_scales(list(vectors))
    alone = torch.cat([average_scales([level[i : i + 1] for level in vectors]) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(together.norm(dim=1), torch.ones(4))


def test_a_level_of_zeros_is_left_out_and_makes_no_nan():
    zeros, ones = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    assert torch.equal(average_scales([zeros, ones]), ones)
    assert average_scales([zeros, zeros]).isfinite().all()


def test_an_average_of_nothing_or_of_different_shapes_is_refused():
    with pytest.raises(ShapeError, match="no level"):
        average_scales([])
    with pytest.raises(ShapeError, match="a level's descriptors"):
        average_scales([torch.zeros(2, 3), torch.zeros(2, 4)])
