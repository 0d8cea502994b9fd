"""The order of an epoch is a pure function; balanced classes come equally often."""

import numpy as np
import pytest

from glocal.data.sampler import epoch_order
from glocal.errors import ConfigError, ShapeError

LABELS = np.repeat(np.arange(4), [1, 2, 5, 20]).astype(np.int64)


@pytest.mark.parametrize("num", [0, 1, 2, 3, 17])
def test_unbalanced_every_photo_comes_once(num):
    order = epoch_order(np.zeros(num, np.int64), 0, 0, False)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(num))


@pytest.mark.parametrize("balanced", [False, True])
def test_the_order_depends_on_epoch_and_seed_alone(balanced):
    first = epoch_order(LABELS, 3, 7, balanced)
    assert np.array_equal(first, epoch_order(LABELS, 3, 7, balanced))
    assert not np.array_equal(first, epoch_order(LABELS, 4, 7, balanced))
    assert not np.array_equal(first, epoch_order(LABELS, 3, 8, balanced))


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_balanced_classes_come_equally_often_to_within_one(epoch):
    order = epoch_order(LABELS[:-1], epoch, 0, True)
    counts = np.bincount(LABELS[order], minlength=4)
    assert counts.sum() == len(LABELS) - 1
    assert counts.max() - counts.min() <= 1


def test_a_class_goes_through_all_its_photos_before_one_repeats_also_across_epochs():
    drawn = np.concatenate([epoch_order(LABELS, epoch, 0, True) for epoch in range(7)])
    for label in range(4):
        own = np.flatnonzero(label == LABELS)
        counts = np.array([(drawn == photo).sum() for photo in own])
        assert counts.max() - counts.min() <= 1
    first = epoch_order(LABELS, 0, 0, True)
    assert len(np.unique(first[LABELS[first] == 3])) == (LABELS[first] == 3).sum()


def test_balanced_classes_are_mixed_not_one_after_the_other():
    order = epoch_order(np.repeat(np.arange(10), 100), 0, 0, True)
    assert len(np.unique(order[:50] // 100)) > 7


def test_no_photos_give_an_empty_order():
    assert epoch_order(np.zeros(0, np.int64), 0, 0, True).shape == (0,)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ShapeError):
        epoch_order(np.zeros((2, 2), np.int64), 0, 0, False)
    for epoch, seed in ((-1, 0), (0, -1)):
        with pytest.raises(ConfigError, match="0 or more"):
            epoch_order(LABELS, epoch, seed, False)
