"""What somebody wrote into a run, as the page may show it: cut, readable, finite, without where things lie."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from glocal.evaluation.card import TITLES
from glocal.pictures.wording import readable

MAX_NAME, MAX_TEXT = 300, 2_000
"""Letters of a name, and of a line of a card."""


def command_of(value: Any) -> str:
    """What was typed, without where things lie."""
    try:
        words = shlex.split(value) if isinstance(value, str) and len(value) <= 20_000 else []
    except ValueError:
        words = []
    return text(" ".join(_pathless(word) for word in words))


def _pathless(word: str) -> str:
    name, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
    if value.startswith(("/", "~", "\\\\")) or value[1:3] in (":\\", ":/"):
        value = "…/" + value.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return f"{name}{equals}{value if ' ' not in value else shlex.quote(value)}"


def title_of(key: str) -> str:
    """What an entry of a card is called; those of an inner mapping by "outer.inner"."""
    outer, _, inner = key.partition(".")
    return name_of(f"{TITLES.get(outer, outer.replace('_', ' '))}{f': {inner}' if inner else ''}")


def plain(value: str | None) -> str:
    """A value of a card that `compare` gives as JSON."""
    try:
        return "" if value is None else words(json.loads(value))
    except (ValueError, RecursionError):
        return text(value)


def words(value: Any) -> str:
    """A card's value as words."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return text(", ".join(f"{_short(key)} {_short(each)}" for key, each in list(value.items())[:50]))
    if isinstance(value, list | tuple):
        return text("; ".join(_short(each) for each in value[:200]))
    return text(_short(value))


def _short(value: Any) -> str:
    if value is None or isinstance(value, Mapping | list | tuple):
        return "…"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | float) or abs(value) < 10**15 else "…"


def listed(value: Any) -> Sequence[Any]:
    """A list, whatever was written."""
    return value if isinstance(value, list | tuple) else [value] if value else []


def finite(cost: Mapping[str, float]) -> dict[str, float]:
    """The costs that are numbers."""
    return {name_of(name): value for name, value in list(cost.items())[:100] if math.isfinite(value) and value < 1e15}


def name_of(text: str) -> str:
    """A name as the page may show it."""
    return readable(_cut(text, MAX_NAME))


def text(value: Any) -> str:
    """A text of a run as the page may show it: cut, and everything that cannot be seen made visible."""
    return readable(_cut(value if isinstance(value, str) else _short(value), MAX_TEXT))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest // 2]}…{text[-(longest // 2) :]}"


def number_of(value: float) -> float | None:
    """A number for JSON, which knows no NaN."""
    return round(float(value), 6) if math.isfinite(value) else None
