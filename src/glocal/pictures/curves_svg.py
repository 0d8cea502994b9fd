"""Precision over recall, and the average precision of every query: the shapes of two drawings in SVG (NumPy).

Only numbers and path data are made here, in units that a browser stretches to any width. A template writes the
elements, so that names are escaped in one place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEPS = 100
"""A curve has this number of steps of recall: values at 0, 0.01 ... 1."""
MAX_BARS = 600
"""More queries than this are drawn as one outline: a bar would be thinner than a line."""
MIN_SLOTS = 24
"""Few queries get slim bars all the same."""


def interpolated_precision(places: NDArray[np.int64], num_right: int) -> Floats:
    """The highest precision at each recall 0, 0.01 ... 1 or above; zero where that recall is never reached.

    Args:
        places: ascending places, from 0, of what is right and ranked, junk taken out.
        num_right: how many there are to be found, at least 1.

    Returns:
        (101,) float64.
    """
    precision = (np.arange(len(places)) + 1) / (places + 1)
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    # In whole numbers: 0.07 * 100 is a little more than 7, and would ask for an eighth.
    needed = np.maximum(-(-np.arange(STEPS + 1) * num_right // STEPS), 1)
    values: Floats = highest[np.minimum(needed - 1, len(places))]
    return values


def mean_curve(answers: Sequence[tuple[NDArray[np.int64], int]]) -> Floats | None:
    """The mean of the interpolated precision over queries, (places, number of right ones) each.

    Returns:
        (101,) float64; None if no query has anything to be found.
    """
    curves = [interpolated_precision(places, num_right) for places, num_right in answers if num_right]
    return np.asarray(np.mean(curves, axis=0)) if curves else None


def curve_path(values: Floats) -> str:
    """SVG path data of values from 0 to 1 at equal distances, in a square of 100 units whose origin is at the top."""
    steps = max(1, len(values) - 1)
    return "M" + "L".join(f"{100 * i / steps:g} {100 - 100 * float(value):.4g}" for i, value in enumerate(values))


@dataclass(frozen=True, slots=True)
class Bar:
    """One query.

    Attributes:
        query: its number.
        ap: its average precision, 0 to 1.
        x: left side, in slots.
        height: in per cent; never quite zero, so that it is seen.
    """

    query: int
    ap: float
    x: int
    height: float


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The average precisions of one setup, lowest first.

    Attributes:
        bars: one per query that counts; none if there are more than `MAX_BARS`.
        slots: room for so many bars in the width.
        outline: path data around all bars where there are too many of them, in slots and per cent; else "".
        mean: of the queries that count; NaN if none does.
        counted: how many do.
        uncounted: how many do not.
    """

    bars: tuple[Bar, ...]
    slots: int
    outline: str
    mean: float
    counted: int
    uncounted: int


def waterfall(aps: Sequence[float]) -> Waterfall:
    """Sort queries by average precision and give each a bar.

    Args:
        aps: average precision of each query, 0 to 1; NaN for those that do not count.
    """
    order = lowest_first(aps)
    heights = [max(100 * aps[query], 0.6) for query in order]
    mean = float(np.mean([aps[query] for query in order])) if order else math.nan
    uncounted = len(aps) - len(order)
    if len(order) > MAX_BARS:
        steps = "".join(f"V{100 - height:.4g}H{i + 1}" for i, height in enumerate(heights))
        return Waterfall((), len(order), f"M0 100{steps}V100Z", mean, len(order), uncounted)
    bars = tuple(
        Bar(query, aps[query], i, round(height, 2))
        for i, (query, height) in enumerate(zip(order, heights, strict=True))
    )
    return Waterfall(bars, max(MIN_SLOTS, len(bars)), "", mean, len(order), uncounted)


def lowest_first(aps: Sequence[float]) -> list[int]:
    """Numbers of the queries that count, lowest average precision first; equal ones as they come."""
    return sorted((i for i, ap in enumerate(aps) if not math.isnan(ap)), key=lambda i: aps[i])
