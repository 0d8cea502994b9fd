"""Which nearest-neighbour index a collection gets: by its size, its descriptors and the memory of the machine."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

MEMORY_SHARE = 4
"""An index may take a quarter of the memory: it is built there, beside the sample that it is trained on."""
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Rules:
    """From when on there is an index, and when it is made anew.

    Attributes:
        exact_below: fewer pictures are compared one by one: that takes tens of milliseconds, and misses nothing.
        codes_from: from here on lists are read as 4-bit codes first. Where a tenth of the lists or more must be read,
            as of descriptors without clear clusters, reading a byte per number is what a search waits for: at 100,000
            already it takes a third longer (`benchmarks/million.py --codes-from`).
        max_newer: pictures added since it was made are compared one by one; more of them and it is made anew.
        newer_share: likewise, as a share of those in the index.
        gone_share: likewise for pictures that were forgotten since.
    """

    exact_below: int = 100_000
    codes_from: int = 100_000
    max_newer: int = 20_000
    newer_share: float = 0.05
    gone_share: float = 0.2


RULES = Rules()


@dataclass(frozen=True, slots=True)
class Setting:
    """How far a search looks beyond the k that it is asked for.

    Attributes:
        widen: candidates per asked one whose similarity is computed from the collection's own descriptors.
        refine: 4-bit candidates per such a one that are looked at again with codes of a byte; 0 without that stage.
    """

    widen: float
    refine: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """An index type.

    Attributes:
        factory: what FAISS calls it; of a rotated one without the numbers that its sample decides.
        num_lists: inverted lists.
        num_bytes: size in memory and on disk, about; a rotated one may take less.
        settings: how far to look, narrow first; wider ones are for descriptors that crowd.
        rotated: lists and codes are of the descriptors' principal part, see `InvertedLists.train`.
    """

    factory: str
    num_lists: int
    num_bytes: int
    settings: tuple[Setting, ...]
    rotated: bool = False


def choose(num: int, dim: int, memory_bytes: int, rules: Rules = RULES) -> Layout | None:
    """The index type for a collection; None for exact search.

    * Below `rules.exact_below` pictures: exact search.
    * Below `rules.codes_from`: `IVFn,SQ8`, inverted lists of a byte per number.
    * Else: `IDMap,RR,IVFm,PQ4fs,Refine(SQ8)`. The descriptors' principal part, turned at random, is kept as 2 bits per
      number, which a search reads thirty at a time; the best are looked at again with a byte per number of the whole. A
      refinement with 16-bit numbers finds no more, as the last word is that of the collection's own descriptors in
      either case, and takes twice the space.
    * Where that is more than a quarter of the memory, and for an even `dim`: `IVFn,PQ{dim/2}x4fs` alone, a quarter of a
      byte per number; more candidates are then read from the collection.
    * Where that is too much as well: exact search.

    n is the power of two nearest to 4 √num: about as many centroids are compared with a query as descriptors. m is that
    nearest to √num: where a third of all codes must be read, as of descriptors without clear clusters, the change from
    list to list is what takes the time.

    Args:
        num: pictures.
        dim: D, numbers per descriptor.
        memory_bytes: of the machine.
        rules: from when on.
    """
    if num < rules.exact_below:
        return None
    lists, few = (min(num, 2 ** round(math.log2(each * math.sqrt(num)))) for each in (4, 1))
    centroids = lists * dim * 4
    bytes_ = Layout(f"IVF{lists},SQ8", lists, num * (dim + 8) + centroids, (Setting(1.0), Setting(2.0)))
    codes = num * (math.ceil(dim / 4) + 8)
    refined = Layout(
        f"IDMap,RR,IVF{few},PQ4fs,Refine(SQ8)",
        few,
        codes + num * (dim + 8) + few * dim * 4,
        (Setting(1.0, 4), Setting(1.0, 8), Setting(1.0, 16), Setting(1.5, 32)),
        rotated=True,
    )
    options = [bytes_ if num < rules.codes_from else refined]
    if dim % 2 == 0:
        options.append(Layout(f"IVF{lists},PQ{dim // 2}x4fs", lists, codes + centroids, (Setting(3.0), Setting(12.0))))
    return next((layout for layout in options if layout.num_bytes <= memory_bytes / MEMORY_SHARE), None)


def machine_memory() -> int:
    """Bytes of memory that this process may have: of the machine, or of its control group."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = CGROUP_LIMIT.read_text().strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdecimal() else physical
