import numpy as np
import pytest

from glocal.errors import ShapeError
from glocal.rerank.expansion import expand


def unit_rows(seed, count, length=8):
    rows = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 2, 17])
def test_it_is_the_direction_of_the_mean(count):
    rows = unit_rows(0, count + 1)
    mean = rows.mean(axis=0)
    assert np.allclose(expand(rows[0], rows[1:]), mean / np.linalg.norm(mean), atol=1e-6)


def test_without_verified_hits_it_is_the_query():
    (query,) = unit_rows(0, 1)
    assert np.allclose(expand(query, np.empty((0, 8), np.float32)), query)


def test_opposite_descriptors_do_not_become_nan():
    (query,) = unit_rows(0, 1)
    assert np.isfinite(expand(query, -query[None])).all()


def test_descriptors_of_another_length_are_refused():
    with pytest.raises(ShapeError):
        expand(unit_rows(0, 1)[0], unit_rows(0, 2, 9))
