"""In which order an epoch sees the photos: a pure function, so that a run can go on at any step (NumPy)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError, ShapeError

# A word that keeps these streams apart from those of the photos' augmentation, which begin with the same seed.
_ORDER, _CYCLE = 1, 2


def epoch_order(labels: NDArray[np.int64], epoch: int, seed: int, balanced: bool) -> NDArray[np.int64]:
    """Which photo comes at each of the N places of an epoch.

    Args:
        labels: (N,) int64, 0 to K - 1, each at least once.
        epoch: from 0.
        seed: of the run.
        balanced: classes equally often (their counts differ by one at most) instead of every photo once. A class goes
            through all its photos before one repeats, also across epochs.

    Returns:
        (N,) int64, indices of photos.

    Raises:
        ShapeError: labels are not one-dimensional.
        ConfigError: epoch or seed is negative.
    """
    if labels.ndim != 1:
        raise ShapeError(f"labels must be (N,), not {labels.shape}")
    if epoch < 0 or seed < 0:
        raise ConfigError(f"epoch and seed must be 0 or more, not {epoch} and {seed} → run.seed")
    num = len(labels)
    order = np.random.default_rng([seed, epoch, 0, _ORDER]).permutation(num)
    if not balanced or not num:
        return order
    rng = np.random.default_rng([seed, 0, 0, _CYCLE])
    shuffled = rng.permutation(num)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]  # class after class, each in a random order
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    starts = np.cumsum(counts) - counts
    classes = rng.permutation(len(counts))
    # Draw t of the whole run goes to class t mod K, and is that class's draw number t // K.
    turns, places = np.divmod(np.arange(num, dtype=np.int64) + epoch * num, len(counts))
    drawn = classes[places]
    photos: NDArray[np.int64] = by_class[starts[drawn] + turns % counts[drawn]]
    return photos[order]
