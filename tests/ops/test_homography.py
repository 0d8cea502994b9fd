import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ShapeError
from glocal.ops.homography import fit_affine, hull_area, is_plausible, refine_homography, transfer, transfer_error

CORNERS = np.array([[0, 0], [99, 0], [99, 99], [0, 99]], np.float64)
VIEW = np.array([[0.9, 0.1, 20.0], [-0.05, 1.1, 5.0], [2e-4, 1e-4, 1.0]])


def points(seed, count=200, size=640):
    return np.random.default_rng(seed).uniform(0, size, (count, 2)).astype(np.float32)


def test_transfer_divides_by_the_third_coordinate():
    got = transfer(VIEW, np.array([[10.0, 20.0]]))
    x, y, w = VIEW @ [10, 20, 1]
    assert np.allclose(got, [[x / w, y / w]])


def test_a_point_on_the_horizon_has_no_image():
    horizon = np.array([[1.0, 0, 0], [0, 1.0, 0], [-0.01, 0, 1.0]])
    assert np.isinf(transfer(horizon, np.array([[100.0, 0.0], [200.0, 0.0]]))).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_transfer_there_and_back_is_the_identity(seed):
    where = points(seed, 20)
    assert np.allclose(transfer(np.linalg.inv(VIEW), transfer(VIEW, where)), where, atol=1e-3)


@pytest.mark.parametrize("outlier_share", [0.0, 0.5, 0.8])
def test_ransac_and_refinement_find_a_perspective_view_among_outliers(outlier_share):
    source = points(1)
    target = transfer(VIEW, source).astype(np.float32)
    wrong = np.random.default_rng(2).random(len(source)) < outlier_share
    target[wrong] = points(3)[wrong]
    affine = fit_affine(source, target, 6.0)
    homography, mask = refine_homography(source, target, affine, 6.0)
    assert (mask[~wrong]).mean() > 0.95
    assert np.abs(transfer_error(homography, source[~wrong], target[~wrong])).mean() < 1.0


def test_the_same_points_give_the_same_model_on_every_run():
    source, target = points(1), points(4)
    target[:80] = source[:80] + 7
    first = fit_affine(source, target, 4.0)
    assert all(np.array_equal(first, fit_affine(source, target, 4.0)) for _ in range(5))


@pytest.mark.parametrize(
    ("matrix", "plausible"),
    [
        (np.eye(3), True),
        (VIEW, True),
        (np.diag([-1.0, 1, 1]), False),  # mirrored
        (np.diag([0.01, 0.01, 1]), False),  # collapsed
        (np.diag([50.0, 50, 1]), False),  # blown up
        (np.array([[1.0, 0, 0], [0, 1, 0], [-0.02, 0, 1]]), False),  # folded at the horizon
    ],
)
def test_a_homography_that_no_camera_makes_is_not_plausible(matrix, plausible):
    assert is_plausible(matrix, CORNERS) is plausible


def test_the_hull_of_a_square_has_its_area():
    assert hull_area(CORNERS) == pytest.approx(99 * 99)
    assert hull_area(CORNERS[:2]) == 0.0


def test_points_that_are_not_pairs_are_refused():
    with pytest.raises(ShapeError):
        transfer(VIEW, np.zeros((3, 3)))
    with pytest.raises(ShapeError):
        transfer_error(VIEW, points(0, 3), points(0, 4))
