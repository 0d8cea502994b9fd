"""What counts as right: sets of photos, the setups that combine them, and the measure.

Radenović et al., "Revisiting Oxford and Paris: large-scale image retrieval benchmarking", CVPR 2018, section 3;
the other protocols are those of their data sets' own programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TRAPEZOID = "trapezoid"
"""Average precision with trapezoids under the curve, over all positives (Oxford, Paris, Holidays, INSTRE)."""
RECTANGLE = "rectangle"
"""Average precision as the mean of the precision at the hits in the first `depth`, over min(positives, depth)."""


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to read the ground truth.

    Attributes:
        right: sets that have to be found.
        ignored: sets that are taken out of the ranking before positions count; all else is wrong.
    """

    right: tuple[str, ...]
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Protocol:
    """How rankings are scored.

    Attributes:
        name: what a protocol card calls it.
        setups: by name, in the order in which they are printed.
        measure: `TRAPEZOID` or `RECTANGLE`.
        depth: places that count for `RECTANGLE`; None for all.
        cutoffs: the k of precision at k.
        first_four: UKBench's score is given too: how many of the first four are right.
    """

    name: str
    setups: Mapping[str, Setup]
    measure: str = TRAPEZOID
    depth: int | None = None
    cutoffs: tuple[int, ...] = (1, 5, 10)
    first_four: bool = False

    @property
    def title(self) -> str:
        """What the mean over queries is called."""
        if self.depth is None:
            return "mAP"
        return f"mAP@{self.depth}" if self.depth % 1000 else f"mAP@{self.depth // 1000}k"


REVISITED = Protocol(
    "revisited",
    {
        "easy": Setup(("easy",), ("hard", "junk")),
        "medium": Setup(("easy", "hard"), ("junk",)),
        "hard": Setup(("hard",), ("easy", "junk")),
    },
)
_ALL = {"all": Setup(("ok",), ("junk",))}
CLASSIC = Protocol("classic", _ALL)
"""Oxford5k and Paris6k of 2007 and 2008: queries are part of the gallery."""
INSTRE = Protocol("instre", _ALL)
HOLIDAYS = Protocol("holidays", _ALL)
"""The query's own photo is junk."""
UKBENCH = Protocol("ukbench", _ALL, first_four=True)
"""The query's own photo is right."""
OBJECTS = Protocol("objects", _ALL)
"""One's own photos with a label each: every photo is asked for the others of its label; it is junk itself."""
LANDMARKS = Protocol(
    "landmarks", {"public": Setup(("public",)), "private": Setup(("private",))}, RECTANGLE, 100, (1, 5, 10, 100)
)
"""Google Landmarks v2, retrieval."""
ILIAS = Protocol("ilias", _ALL, RECTANGLE, 1000)

PROTOCOLS = {p.name: p for p in (REVISITED, CLASSIC, INSTRE, HOLIDAYS, UKBENCH, OBJECTS, LANDMARKS, ILIAS)}
