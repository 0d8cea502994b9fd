import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ShapeError
from glocal.ops.vlad import nearest_centres, root_sift, vlad


def naive_vlad(descriptors, centres):
    blocks = np.zeros_like(centres)
    for row in descriptors:
        nearest = min(range(len(centres)), key=lambda c: np.linalg.norm(row - centres[c]))
        blocks[nearest] += row - centres[nearest]
    for block in blocks:
        if np.linalg.norm(block) > 0:
            block /= np.linalg.norm(block)
    flat = blocks.ravel()
    return flat / np.linalg.norm(flat)


@pytest.mark.parametrize("count", [1, 2, 3, 17])
@pytest.mark.parametrize("num_centres", [1, 2, 17])
def test_it_equals_a_naive_loop(count, num_centres):
    rng = np.random.default_rng(count)
    descriptors = rng.normal(size=(count, 5)).astype(np.float32)
    centres = rng.normal(size=(num_centres, 5)).astype(np.float32)
    assert np.allclose(vlad(descriptors, centres), naive_vlad(descriptors, centres), atol=1e-5)


def test_the_power_law_keeps_signs_and_the_unit_norm():
    rng = np.random.default_rng(0)
    descriptors, centres = rng.normal(size=(9, 4)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)
    plain, rooted = vlad(descriptors, centres), vlad(descriptors, centres, power=0.5)
    assert (np.sign(plain) == np.sign(rooted)).all()
    assert np.linalg.norm(rooted) == pytest.approx(1, abs=1e-5)


def test_no_descriptors_give_zeros_and_not_nan():
    assert (vlad(np.empty((0, 4), np.float32), np.ones((3, 4), np.float32), 0.5) == 0).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 20))
def test_the_order_of_descriptors_does_not_matter(seed, count):
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(size=(count, 6)).astype(np.float32)
    centres = rng.normal(size=(4, 6)).astype(np.float32)
    assert np.allclose(vlad(descriptors, centres), vlad(rng.permutation(descriptors), centres), atol=1e-4)


def test_root_sift_turns_distance_into_the_hellinger_distance():
    rng = np.random.default_rng(0)
    sift = rng.integers(0, 256, (2, 128)).astype(np.float32)
    rooted = root_sift(sift)
    p, q = sift / sift.sum(axis=1, keepdims=True)
    assert np.linalg.norm(rooted[0] - rooted[1]) ** 2 == pytest.approx(2 - 2 * np.sqrt(p * q).sum(), abs=1e-5)


def test_a_zero_descriptor_does_not_become_nan():
    assert np.isfinite(root_sift(np.zeros((1, 128), np.float32))).all()


def test_wrong_lengths_are_refused():
    with pytest.raises(ShapeError):
        root_sift(np.zeros((2, 64), np.float32))
    with pytest.raises(ShapeError):
        nearest_centres(np.zeros((2, 4), np.float32), np.zeros((3, 5), np.float32))
