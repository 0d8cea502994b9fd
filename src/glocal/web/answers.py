"""What was found, as the members of an answer: plain values, names without a folder, every number finite."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from glocal.pictures.view import MatchView
from glocal.recognition import RecognitionResult
from glocal.rerank.bands import Band
from glocal.search import Described, Match, SearchResult
from glocal.store.rows import CatalogueRow
from glocal.types import Box, ExtractorSpec, Verification
from glocal.web.library import ServedIndex

MAX_LINES = 400
_BANDS = {Band.SAME: "same", Band.POSSIBLY: "possibly", Band.LOOK_ALIKE: "look_alike"}
Members = dict[str, Any]


def shown_name(name: str) -> str:
    """A file's name as UTF-8 can hold it: file systems allow bytes that are no text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def band_name(band: Band) -> str:
    """The name of a band in an answer."""
    return _BANDS[band]


def query_members(described: Described, query_id: str | None) -> Members:
    """The picture that was asked about."""
    query = described.query
    return {
        "id": query_id,
        **frame_members(query.size, query.box),
        "features": {"local": query.num_features},
    }


def frame_members(size: tuple[int, int], box: Box | None) -> Members:
    """A picture's frame."""
    return {"width": size[0], "height": size[1], "box": None if box is None else tuple(map(float, box))}


def index_members(index: ServedIndex, size: int, spec: ExtractorSpec) -> Members:
    """The index that was asked."""
    return {
        "id": index.id,
        "size": size,
        "model": spec.model,
        "model_hash": f"sha256:{spec.weights}",
        "version": index.version(),
    }


def verification_members(found: Verification | None) -> Members | None:
    """Where two pictures agree."""
    if found is None:
        return None
    homography = found.homography
    if homography is not None and not np.isfinite(homography).all():
        homography = None  # JSON has no such numbers
    return {
        "inliers": found.inliers,
        "tentative": len(found.matches),
        "model": None if homography is None else "homography",
        "H": None if homography is None else [tuple(map(float, row)) for row in homography],
        "query_overlap": round(found.query_overlap, 4),
        "target_overlap": round(found.target_overlap, 4),
        "mirrored": homography is not None and bool(np.linalg.det(homography[:2, :2]) < 0),
        "query_quad": _quad(found.query_quad),
        "target_quad": _quad(found.target_quad),
        "turn": found.turn,
    }


def _quad(corners: Any) -> list[tuple[float, float]] | None:
    if corners is None or not np.isfinite(corners).all():
        return None
    return [(round(float(x), 2), round(float(y), 2)) for x, y in corners]


def judgement_members(hit: Match) -> Members:
    """Similarity, probability and band of a hit."""
    return {
        "similarity": round(hit.similarity, 6),
        "probability": None if hit.probability is None else round(hit.probability, 6),
        "band": band_name(hit.band),
    }


def result_members(hit: Match, index: ServedIndex, views: Sequence[str]) -> Members:
    """One picture that was found, by one of the queries that are remembered under these ids."""
    where = f"?index={quote(index.id)}"
    matches_url = f"/v1/matches/{views[hit.query_number]}/{hit.id}{where}"
    return {
        "rank": hit.rank,
        "id": hit.id,
        "path": shown_name(hit.name),
        "name": shown_name(hit.name),
        "label": None if hit.label is None else shown_name(hit.label),
        "copies": [shown_name(name) for name in hit.copies],
        "width": hit.size[0],
        "height": hit.size[1],
        **judgement_members(hit),
        "verification": verification_members(hit.verification),
        "query_number": hit.query_number,
        "matches_url": matches_url if hit.verification is not None else None,
        "thumb_url": f"/v1/images/{hit.id}/thumb{where}&w=320",
    }


def metadata_members(row: CatalogueRow | None) -> Members | None:
    """What the index knows of a file."""
    if row is None:
        return None
    return {"bytes": row.size, "modified": utc(row.mtime_ns // 1_000_000_000) if row.mtime_ns else None}


def utc(seconds: float) -> str:
    """A time in seconds since 1970 as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def timing_members(views: Sequence[Described], result: SearchResult) -> Members:
    """Milliseconds by stage, of all views together."""
    seconds = {
        "decode": math.fsum(min(view.decode_s, view.seconds) for view in views),
        "extract": math.fsum(max(0.0, view.seconds - view.decode_s) for view in views),
        "search": result.timing_s["search"],
        "rerank": result.timing_s["rerank"],
        "total": result.seconds,
    }
    return {name: round(1000 * value, 2) for name, value in seconds.items()}


def warnings_of(result: SearchResult) -> list[str]:
    """What the user should know, in words of a request and not of the command line."""
    return [warning.replace("--box ", "box ") for warning in result.warnings]


def line_members(view: MatchView | None) -> list[tuple[float, float, float, float, int]]:
    """Match lines: those that agree first, at most `MAX_LINES`, spread over all."""
    if view is None:
        return []
    order = np.argsort(~view.mask, kind="stable")
    agree = int(view.mask.sum())
    if len(order) > MAX_LINES:
        chosen = [_spread(order[:agree], MAX_LINES)]
        chosen.append(_spread(order[agree:], MAX_LINES - len(chosen[0])))
        order = np.concatenate(chosen)
    points = np.concatenate([view.query_points, view.target_points], axis=1)[order].round(1).tolist()
    return [(*point, int(inside)) for point, inside in zip(points, view.mask[order].tolist(), strict=True)]


def _spread(places: np.ndarray[Any, Any], most: int) -> np.ndarray[Any, Any]:
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).round().astype(int)] if most > 0 else places[:0]


def vote_members(found: RecognitionResult, index: ServedIndex, views: Sequence[str]) -> Sequence[Members]:
    """What each label got; shares are those of the scores that are above 0."""
    total = math.fsum(max(0.0, vote.score) for vote in found.votes)
    return [
        {
            "label": shown_name(vote.label),
            "score": round(vote.score, 4),
            "share": round(max(0.0, vote.score) / total, 4) if total else 0.0,
            "band": None if vote.band is None else band_name(vote.band),
            "evidence": [result_members(hit, index, views) for hit in found.photos(vote)],
        }
        for vote in found.votes
    ]
