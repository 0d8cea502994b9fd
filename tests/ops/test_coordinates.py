import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import ConfigError, ShapeError
from glocal.ops.coordinates import clip_box, fit_within, rescale, turn_back

SIZES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@given(here=SIZES, there=SIZES)
def test_rescaling_there_and_back_is_the_identity(here, there):
    where = np.array([[0, 0], [here[0] - 1, here[1] - 1], [here[0] / 3, here[1] / 7]], np.float64)
    back = rescale(rescale(where, here, there).astype(np.float64), there, here)
    assert np.allclose(back, where, atol=1e-3 * max(*here, *there) / min(*there))


@given(size=st.tuples(st.integers(1, 30), st.integers(1, 30)), turns=st.integers(0, 3))
def test_turning_back_finds_every_pixel_where_it_was(size, turns):
    width, height = size
    upright = np.arange(width * height).reshape(height, width)
    turned = np.rot90(upright, turns)
    y, x = np.indices(turned.shape).reshape(2, -1)
    back = turn_back(np.stack([x, y], axis=1).astype(np.float64), turns, size).astype(int)
    assert (upright[back[:, 1], back[:, 0]] == turned[y, x]).all()


def test_the_centre_of_the_first_pixel_moves_as_half_a_pixel():
    assert np.allclose(rescale(np.zeros((1, 2)), (100, 100), (200, 200)), 0.5)


@given(size=SIZES, longest=st.integers(1, 5000))
def test_a_picture_is_never_enlarged_and_never_vanishes(size, longest):
    width, height = fit_within(size, longest)
    assert 1 <= width <= size[0]
    assert 1 <= height <= size[1]
    assert max(width, height) <= max(longest, 1)


def test_a_box_is_clipped_to_the_picture():
    assert clip_box((900, 40, 400, 520), (1200, 900)) == (900, 40, 300, 520)
    assert clip_box((-10, -10, 60, 60), (1200, 900)) == (0, 0, 50, 50)


@pytest.mark.parametrize("box", [(0, 0, 12, 9), (2000, 0, 100, 100), (100, 100, -50, 80)])
def test_a_box_with_almost_nothing_in_it_is_refused(box):
    with pytest.raises(ConfigError, match="too small"):
        clip_box(box, (1200, 900))


def test_points_must_be_pairs():
    with pytest.raises(ShapeError):
        rescale(np.zeros((2, 3)), (1, 1), (1, 1))
