"""How a search may be asked for, and what is said of one that makes no sense."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from glocal.errors import ConfigError
from glocal.search.query import Described, PhotoSource, PictureBytes
from glocal.types import Box

RERANKERS = ("geometric", "none")


def check_arguments(topk: int, rerank: str, budget_s: float | None) -> None:
    """Make sure that a search makes sense.

    Raises:
        ConfigError: it does not.
    """
    if topk < 1:
        raise ConfigError(f"topk must be at least 1, not {topk}")
    if rerank not in RERANKERS:
        raise ConfigError(f'Unknown re-ranking "{rerank}". Choose from {", ".join(RERANKERS)}.')
    if budget_s is not None and not 0 <= budget_s < math.inf:
        raise ConfigError(f"the time for verification must be 0 s or more, not {budget_s}")


def photos_of(photo: PhotoSource | Sequence[PhotoSource], box: Box | None) -> list[PhotoSource]:
    """The photos that are asked with, one or several.

    Raises:
        ConfigError: there is none, or a box for several.
    """
    photos = [photo] if isinstance(photo, str | os.PathLike | PictureBytes) else list(photo)
    _expect_some(photos)
    if box is not None and len(photos) > 1:
        raise ConfigError(f"A box is a part of one photo, and {len(photos)} were given. → one photo, or no box")
    return photos


def views_of(asked: Described | Sequence[Described]) -> list[Described]:
    """The queries that are asked with, one or several.

    Raises:
        ConfigError: there is none.
    """
    views = [asked] if isinstance(asked, Described) else list(asked)
    _expect_some(views)
    return views


def _expect_some(asked: Sequence[object]) -> None:
    if not asked:
        raise ConfigError("There is no photo to search with.")
