import numpy as np
import pytest

from glocal.errors import ShapeError
from glocal.ops.whitening import fit_whitening, whiten


def correlated(count, length=12):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(count, length)) @ rng.normal(size=(length, length)) + 3).astype(np.float32)


@pytest.mark.parametrize("count", [500, 11])
def test_full_whitening_gives_uncorrelated_outputs_of_unit_variance(count):
    vectors = correlated(count)
    mean, projection = fit_whitening(vectors, 5)
    outputs = (vectors - mean) @ projection
    assert np.allclose(np.cov(outputs.T, bias=True), np.eye(5), atol=1e-3)


def test_power_zero_is_an_orthonormal_projection():
    _, axes = fit_whitening(correlated(300), 4, power=0.0)
    assert np.allclose(axes.T @ axes, np.eye(4), atol=1e-5)


def test_both_ways_to_the_spectrum_agree():
    vectors = correlated(12, 12)
    _, by_covariance = fit_whitening(vectors, 3)
    _, by_gram = fit_whitening(np.pad(vectors, ((0, 0), (0, 4))), 3)
    assert np.allclose(np.abs(by_covariance), np.abs(by_gram[:12]), atol=1e-3)


def test_whitened_vectors_have_unit_norm():
    vectors = correlated(50)
    assert np.allclose(np.linalg.norm(whiten(vectors, *fit_whitening(vectors, 5)), axis=1), 1, atol=1e-5)


def test_a_projection_of_another_length_is_refused():
    with pytest.raises(ShapeError):
        whiten(np.zeros((1, 4), np.float32), np.zeros(4, np.float32), np.zeros((5, 2), np.float32))
