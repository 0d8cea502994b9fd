"""What the published benchmarks hold, so that a part of one is never taken for the whole."""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    """How many photos are searched, and how many questions are asked; None where only the files say."""

    photos: int
    queries: int | None


SIZES = {
    "roxford5k": Size(4_993, 70),
    "rparis6k": Size(6_322, 70),
    "oxford5k": Size(5_063, 55),
    "paris6k": Size(6_392, 55),
    "gldv2": Size(761_757, None),
    "instre": Size(27_293, 1_250),
    "holidays": Size(1_491, 500),
    "ukbench": Size(10_200, 10_200),
    "ilias": Size(4_715, 1_232),
}
"""By the name that `glocal eval` knows it by; ILIAS without its 100 million distractors."""


def notes_on_size(name: str, num_photos: int, num_queries: int) -> tuple[str, ...]:
    """A note where data called after a benchmark have not as many photos and queries as it has; else nothing."""
    size = SIZES.get(name)
    if size is None or (size.photos == num_photos and size.queries in (num_queries, None)):
        return ()
    asked = "" if size.queries is None else f" and {size.queries:,}"
    return (
        f"{num_photos:,} photos and {num_queries:,} queries: this is not {name}, which has {size.photos:,}{asked};"
        " compare with no published number",
    )
