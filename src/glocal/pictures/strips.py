"""What the page of an evaluation shows of each query: the first photos of its ranking, and what was missed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.pictures.view import MatchView
from glocal.types import Box, Pixels

KINDS = ("right", "wrong", "junk")


@dataclass(frozen=True, slots=True)
class StripEntry:
    """One photo of a ranking.

    Attributes:
        name: of the photo, any text.
        kind: "right", "wrong" or "junk".
        place: from 1, junk taken out; None for junk, and for a photo that was not ranked.
        similarity: of the global descriptors; NaN where it is not known.
        inliers: matches that agree with one geometry; None where it was not verified.
    """

    name: str
    kind: str
    place: int | None
    similarity: float = math.nan
    inliers: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"photo '{self.name}': kind '{self.kind}' is none of {', '.join(KINDS)}")


@dataclass(frozen=True, slots=True, eq=False)
class SetupAnswer:
    """How one query was answered under one setup.

    Attributes:
        ap: average precision, 0 to 1; NaN where nothing is right, and the query does not count.
        entries: the first photos of the ranking, in its order, junk among them.
        missed: some of the right photos further down, nearest first.
        places: ascending int64 places, from 0, of all that is right and ranked, junk taken out.
        num_right: how many there are to be found.
    """

    ap: float
    entries: tuple[StripEntry, ...]
    missed: tuple[StripEntry, ...]
    places: NDArray[np.int64]
    num_right: int

    @property
    def counted(self) -> bool:
        """Whether it is part of the mean."""
        return not math.isnan(self.ap)

    @property
    def num_shown_right(self) -> int:
        """Right photos among the entries."""
        return sum(entry.kind == "right" for entry in self.entries)

    @property
    def num_missed(self) -> int:
        """Right photos that are not among the entries, whether `missed` names them or not."""
        return self.num_right - self.num_shown_right


@dataclass(frozen=True, slots=True, eq=False)
class MatchPicture:
    """A candidate whose match lines are shown.

    Attributes:
        entry: which photo it is, and what became of it.
        view: where it agrees with the query.
        setup: name of the setup in which it stands at that place; None for all.
        part: gives the pixels of the query that the view means, where that is a box or the photo turned; None for the
            whole upright photo.
    """

    entry: StripEntry
    view: MatchView
    setup: str | None = None
    part: Callable[[], Pixels | None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredQuery:
    """One query with its answers.

    Attributes:
        id: its name, unique.
        answers: setup -> answer, for every setup of the page.
        photo: gives the whole query photo, (h, w, 3) uint8 RGB, reduced or not, and the size (W, H) of the upright
            original; None where it cannot be read.
        box: x, y, width, height of the part that was asked for, in pixels of the original; None for the whole photo.
        matches: candidates whose match lines are shown; they are most of a strip's bytes.
    """

    id: str
    answers: Mapping[str, SetupAnswer]
    photo: Callable[[], tuple[Pixels, tuple[int, int]] | None]
    box: Box | None = None
    matches: tuple[MatchPicture, ...] = ()
