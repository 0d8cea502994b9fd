"""Several photos of the same thing as one query: each is searched as it is alone, and a picture's best view counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from glocal.search.verifying import CandidateVerifier, Ranking
from glocal.types import Hit, Shortlist


def shares_of(whole: int, takes: Sequence[bool]) -> list[int]:
    """A number in nearly equal parts, for those that take one; the first get what is left over."""
    count = sum(takes)
    shares, number = [], 0
    for take in takes:
        shares.append(whole // count + (number < whole % count) if take else 0)
        number += take
    return shares


def best_views(verifier: CandidateVerifier, rankings: Sequence[Ranking]) -> list[tuple[int, Hit]]:
    """Every picture once, best first, with the number of the view that it comes first with.

    That is the order in which one ranking of all pairs of a view and a picture would be, so of equal ones the more
    similar counts, then the smaller id, then the first view.
    """
    orders = [verifier.order(ranking) for ranking in rankings]
    if len(orders) == 1:
        return [(0, hit) for hit in orders[0]]
    pairs = [(view, hit) for view, hits in enumerate(orders) for hit in hits]
    pairs.sort(key=lambda pair: (-pair[1].similarity, pair[1].id, pair[0]))
    by_name = {f"{view} {hit.id}": (view, hit) for view, hit in pairs}
    similarities = np.fromiter((hit.similarity for _, hit in pairs), np.float32, len(pairs))
    verified = {name: hit.verification for name, (_, hit) in by_name.items() if hit.verification is not None}
    best: dict[str, tuple[int, Hit]] = {}
    for pair in verifier.order(Ranking(Shortlist("views", tuple(by_name), similarities), verified)):
        view, hit = by_name[pair.id]
        best.setdefault(hit.id, (view, hit))
    return [(view, replace(hit, rank=rank)) for rank, (view, hit) in enumerate(best.values(), 1)]
