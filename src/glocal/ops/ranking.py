"""Top-k, average precision (NumPy)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def top_k(similarities: NDArray[np.float32], ids: Sequence[str], k: int) -> list[int]:
    """Positions of the k highest similarities, best first; equal values are ordered by id.

    Args:
        similarities: (N,) float32, finite.
        ids: N names.
        k: how many; fewer are returned if there are fewer.
    """
    count = len(similarities)
    k = min(k, count)
    if k == 0:
        return []
    # Everything equal to the k-th value takes part in the tie-break.
    threshold = np.partition(similarities, count - k)[count - k]
    candidates = np.flatnonzero(similarities >= threshold)
    ranked = sorted(
        (-similarity, ids[i], i)
        for similarity, i in zip(similarities[candidates].tolist(), candidates.tolist(), strict=True)
    )
    return [i for _, _, i in ranked[:k]]


def average_precision(
    ranked: Sequence[Hashable], positives: Collection[Hashable], junk: Collection[Hashable] = ()
) -> float:
    """Trapezoidal average precision of the revisited Oxford and Paris benchmarks.

    Radenović et al., "Revisiting Oxford and Paris", CVPR 2018. Junk is taken out of the ranking before
    positions count; positives that are not ranked lose their share.

    Args:
        ranked: names, best first, without repetition.
        positives: names that are right.
        junk: names that neither help nor harm.

    Returns:
        0 to 1; NaN if there are no positives.
    """
    positives, junk = set(positives), set(junk)
    if not positives:
        return float("nan")
    total = 0.0
    found = 0
    position = 0
    for name in ranked:
        if name in junk:
            continue
        if name in positives:
            before = 1.0 if position == 0 else found / position
            found += 1
            total += (before + found / (position + 1)) / 2
        position += 1
    return total / len(positives)
