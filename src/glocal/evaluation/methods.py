"""What may be done to a global ranking, and in which order.

`dba` and `aqe` change descriptors, then the gallery is ranked anew; `diffusion` ranks the whole gallery itself; the
others order the first candidates.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glocal.errors import ConfigError

NONE = "none"
SEARCH = "search"
DESCRIPTOR_METHODS = {
    "dba": "every photo's descriptor becomes the weighted sum of its own and its 10 nearest (alpha 3)",
    "aqe": "alpha query expansion by the 10 nearest photos (alpha 3)",
}
ORDER_METHODS = {
    "diffusion": "diffusion on the graph of nearest neighbours of the whole gallery",
    SEARCH: "exactly what `glocal search` does: 50 candidates verified, expansion by what is sure, 50 more verified",
}
HEAD_METHODS = {
    "geometric": "geometric verification, our fast mode",
    "delg": "geometric verification as the TensorFlow DELG does it, exactly",
    "delg-torch": "geometric verification as the PyTorch DELG does it (OpenCV in place of pydegensac)",
    "delg-star": "geometric verification of one bit per number, compared by Hamming distance (DELG*)",
    "asmk": "aggregated selective match kernel, binary, over the local features",
    "superglobal": "SuperGlobal's refinement of the first 400",
}
METHODS = {NONE: "by similarity alone", **DESCRIPTOR_METHODS, **ORDER_METHODS, **HEAD_METHODS}
LOCAL_METHODS = {SEARCH, "geometric", "delg", "delg-torch", "delg-star", "asmk"}
"""Those that need local features."""
PUBLISHED = set(METHODS) - {NONE, SEARCH, "geometric"}
"""Those that are compared with published numbers: a query is described as it is, and not turned."""
DEPTHS = {"superglobal": 400}
NEIGHBOURS = 10
ALPHA = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Which methods, in their order.

    Attributes:
        names: without "none"; empty for the global ranking alone.
        depth: candidates that a method of `HEAD_METHODS` orders; None for its published number, 100 or 400.
        exclude_junk: take junk out before the candidates are chosen, per setup; None for the method's published rule.
        seed: of what is drawn at random.
    """

    names: tuple[str, ...] = ()
    depth: int | None = None
    exclude_junk: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in METHODS or name == NONE:
                near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.5)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise ConfigError(f'Unknown re-ranking "{name}".{hint} → one or more of {", ".join(METHODS)}')
        for kind in (ORDER_METHODS, HEAD_METHODS):
            chosen = [name for name in self.names if name in kind]
            if len(chosen) > 1:
                raise ConfigError(f"{chosen[0]} and {chosen[1]} cannot be combined → --rerank with one of them")
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"--rerank names a method twice: {' '.join(self.names)}")
        if self.order == SEARCH and len(self.names) > 1:
            raise ConfigError(
                f"search is a whole pipeline: it cannot be combined with {' '.join(set(self.names) - {SEARCH})}"
            )
        if self.depth is not None and self.depth < 1:
            raise ConfigError(f"--rerank-depth must be at least 1, not {self.depth}")

    @property
    def title(self) -> str:
        """All methods in the order in which they are applied."""
        return " + ".join(name for name in METHODS if name in self.names) or NONE

    @property
    def order(self) -> str | None:
        """The method that ranks the whole gallery, if any."""
        return next((name for name in self.names if name in ORDER_METHODS), None)

    @property
    def head(self) -> str | None:
        """The method that orders the first candidates, if any."""
        return next((name for name in self.names if name in HEAD_METHODS), None)

    @property
    def head_depth(self) -> int:
        """How many candidates that orders."""
        return self.depth or DEPTHS.get(self.head or "", 100)

    @property
    def head_excludes_junk(self) -> bool:
        """Whether junk is taken out before: DELG's rule; SuperGlobal does not."""
        return self.head != "superglobal" if self.exclude_junk is None else self.exclude_junk

    @property
    def needs_local(self) -> bool:
        """Whether local features are needed."""
        return bool(LOCAL_METHODS & set(self.names))

    @property
    def is_published(self) -> bool:
        """Whether a published method is among them."""
        return bool(PUBLISHED & set(self.names))

    def about(self) -> dict[str, Any]:
        """For the protocol card."""
        found: dict[str, Any] = {"rerank": self.title}
        if self.head:
            found |= {"rerank_depth": self.head_depth, "exclude_junk": self.head_excludes_junk, "seed": self.seed}
        return found


def parse_plan(words: Sequence[str], depth: int | None = None, exclude_junk: bool | None = None, seed: int = 0) -> Plan:
    """A plan from the words of a command line; commas separate too; "none" is nothing.

    Raises:
        ConfigError: a name is unknown, or they do not go together.
    """
    names = [name for word in words for name in word.split(",") if name]
    if NONE in names and len(names) > 1:
        raise ConfigError(f"--rerank none and {' '.join(n for n in names if n != NONE)} cannot be combined")
    return Plan(tuple(name for name in names if name != NONE), depth, exclude_junk, seed)
