"""What a person is told about a search: each hit with its file, and what to know about the whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from glocal.rerank.bands import Calibration, judge
from glocal.search.pair import view_of
from glocal.search.query import Described
from glocal.search.result import Match
from glocal.search.selection import Selection
from glocal.search.verifying import CandidateVerifier, Ranking
from glocal.store.contract import FeatureStore
from glocal.store.rows import LocalForm
from glocal.types import Hit


def match_of(
    collection: FeatureStore,
    calibration: Calibration | None,
    hit: Hit,
    asked: Described,
    number: int,
    verifier: CandidateVerifier,
) -> Match:
    """A hit as a person sees it.

    Args:
        collection: where it is.
        calibration: says what it is worth.
        hit: itself.
        asked: the view that it was found with.
        number: that view's position among several.
        verifier: has its local features, if it was verified.
    """
    names = [os.fsdecode(path) for path in collection.paths(hit.id)]
    probability, band = judge(calibration, hit)
    found, view = hit.verification, None
    if found is not None:
        view = view_of(asked.local, verifier.features[hit.id], found, asked.query.box)
    return Match(
        rank=hit.rank,
        id=hit.id,
        path=(collection.root or Path()) / names[0],
        store_url=collection.url,
        name=names[0],
        label=collection.label(names[0]),
        copies=tuple(names[1:]),
        size=collection.picture_size(hit.id),
        similarity=hit.similarity,
        probability=probability,
        band=band,
        verification=found,
        view=view,
        query=asked.query,
        query_number=number,
    )


def warnings_of_model(collection: FeatureStore, calibration: Calibration | None) -> list[str]:
    """What the model of a collection does not say."""
    model, form = collection.spec.model, collection.local_form
    if not collection.spec.local_dim:
        return [f"{model} has no local features: hits are ordered by similarity, nothing is verified"]
    if calibration is None:
        what = f"{model} has no calibration" + (" for binary local features" if form == LocalForm.BINARY else "")
        return [f"{what}: hits are ordered, but not judged"]
    return []


def warnings_of_view(asked: Described, is_plain: bool) -> list[str]:
    """What a photo cannot say, and what was made of its box."""
    warnings = []
    query, box = asked.query, asked.asked
    if is_plain:
        warnings.append(
            f"{query.path.name} has almost no detail ({query.num_features} local features): a plain or "
            "blurred picture cannot identify an object. Showing look-alikes only."
        )
    if box is not None and query.box is not None and tuple(round(v) for v in box) != tuple(query.box):
        was, now = (",".join(str(round(v)) for v in sides) for sides in (box, query.box))
        width, height = query.size
        warnings.append(f"--box {was} leaves the picture ({width}×{height}): clipped to {now}.")
    return warnings


def warnings_of_selection(selection: Selection | None, num_searched: int, num_selected: int) -> list[str]:
    """That a selection leaves nothing."""
    if num_selected:
        return []
    return [f"None of the {num_searched:,} pictures fits what was selected ({selection}): there is nothing to find."]


def warnings_of_time(rankings: Sequence[Ranking], budget_s: float | None) -> list[str]:
    """That the time for verification was up, and after how many candidates."""
    if budget_s is None or not any(ranking.was_stopped for ranking in rankings):
        return []
    done = sum(len(ranking.verified) for ranking in rankings)
    planned = sum(ranking.num_planned for ranking in rankings)
    return [f"stopped after {done} of {planned} candidates: the time for verification ({budget_s * 1000:g} ms) was up"]
