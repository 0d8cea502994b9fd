"""A search result -> the HTML report: fetches the pixels, leaves the drawing to `pictures`."""

from __future__ import annotations

import math

from glocal.errors import ImageError
from glocal.photo_index import Index
from glocal.pictures.report import Report, ReportHit
from glocal.search import Match, SearchResult, read_pixels
from glocal.types import Pixels

LONGEST_PX = 1000


def report_of(result: SearchResult, index: Index, command: str) -> Report:
    """Everything that the report shows, with pixels.

    A hit whose file has gone since is left out and named in the warnings.
    """
    pool = index.searcher.pool
    query = read_pixels(pool, result.query.path, LONGEST_PX)
    hits = []
    warnings = list(result.warnings)
    for hit in result:
        try:
            hits.append(_report_hit(hit, hit.read_pixels(pool, LONGEST_PX)))
        except ImageError as error:
            warnings.append(f"{hit.name} cannot be shown: {error.detail}")
    return Report(
        query_name=result.query.path.name,
        query=query,
        box=result.query.box,
        query_size=result.query.size,
        num_features=result.query.num_features,
        hits=tuple(hits),
        num_searched=result.num_searched,
        model=index.collection.spec.model,
        seconds=result.seconds,
        warnings=tuple(warnings),
        command=command,
        judged=result.judged,
    )


def _report_hit(hit: Match, pixels: Pixels) -> ReportHit:
    found = hit.verification
    return ReportHit(
        rank=hit.rank,
        name=hit.name,
        band=str(hit.band),
        probability=math.nan if hit.probability is None else hit.probability,
        similarity=hit.similarity,
        inliers=hit.inliers,
        matches=len(found.matches) if found else 0,
        query_overlap=found.query_overlap if found else 0.0,
        target_overlap=found.target_overlap if found else 0.0,
        copies=hit.copies,
        pixels=pixels,
        view=hit.view,
    )
