"""Names and numbers as the report shows them."""

from __future__ import annotations

import math
import unicodedata

UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of controls, direction marks, lone surrogates and separators that would disguise a name."""
JOINERS = {"\u200c", "\u200d"}
"""Invisible, but part of Persian words and of emoji families."""


def readable(name: str) -> str:
    """A name with everything that cannot be seen made visible as U+FFFD."""
    return "".join("\ufffd" if unicodedata.category(c) in UNPRINTABLE and c not in JOINERS else c for c in name)


def folder_of(name: str) -> str:
    """The readable part of a path up to its last slash."""
    head, slash, _ = readable(name).rpartition("/")
    return head + slash


def base_of(name: str) -> str:
    """The readable part of a path after its last slash."""
    return readable(name).rpartition("/")[2]


def thousands(value: int) -> str:
    """Thousands apart by a narrow space: 48 201."""
    return f"{value:,}".replace(",", "\u202f")


def percent(probability: float) -> str:
    """Never 100 % or 0 %: the calibration does not know that much."""
    if not math.isfinite(probability):
        return "unknown"
    return _bounded(probability, 0.01, 0.99)


def share(value: float) -> str:
    """A measured share, 0 to 1, as per cent."""
    return f"{round(100 * value)}\u202f%" if math.isfinite(value) and value >= 0.01 else "<\u202f1\u202f%"


def duration(seconds: float) -> str:
    """Seconds, with decimals where they are few."""
    return f"{seconds:.2f}\u202fs" if seconds < 10 else f"{seconds:.0f}\u202fs"


def _bounded(value: float, low: float, high: float) -> str:
    sign = ">\u202f" if value > high else "<\u202f" if value < low else ""
    return f"{sign}{round(100 * min(max(value, low), high))}\u202f%"
