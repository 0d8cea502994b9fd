import numpy as np
import pytest

from glocal.train.validation import mean_average_precision


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_classes_that_lie_together_score_one():
    centres = np.eye(3)
    vectors = unit(np.repeat(centres, 4, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(12, 3)))
    assert mean_average_precision(vectors, np.repeat(np.arange(3), 4)) == pytest.approx(1)


def test_random_descriptors_score_about_the_share_of_their_class():
    rng = np.random.default_rng(1)
    vectors = unit(rng.normal(size=(400, 32)))
    assert mean_average_precision(vectors, np.arange(400) % 4) == pytest.approx(0.25, abs=0.03)


def test_the_query_itself_is_no_hit_and_lone_photos_ask_nothing():
    vectors = unit(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.1, 1.0]]))
    # Photos 0 and 1 show one thing but look like 2 and 3, which are alone: right answers come second of three.
    assert mean_average_precision(vectors, np.array([0, 0, 1, 2])) < 0.5
    assert mean_average_precision(vectors, np.arange(4)) == 0.0
