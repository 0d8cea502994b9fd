"""One search as one HTML file that opens from disk, works offline and can be mailed (Jinja2).

Every name is hostile: it reaches the page only through autoescape, and the page's content security
policy runs no script but the one whose hash it names. Pictures are re-encoded from bare pixels.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from glocal.pictures.colours import POSSIBLY_AMBER, SAME_GREEN
from glocal.pictures.data_uris import data_uri
from glocal.pictures.files import write_atomically
from glocal.pictures.outlines import draw_box, draw_quad
from glocal.pictures.proofs import Proof, prove
from glocal.pictures.resizing import reduce
from glocal.pictures.view import MatchView
from glocal.pictures.wording import base_of, duration, folder_of, percent, readable, share, thousands
from glocal.types import Box, Pixels

THUMBNAIL_SIDE = 480
QUERY_SIDE, QUERY_BYTES = 720, 90_000
MAX_WHY = 12
"""So many hits get their proof in pictures; it is most of the file."""
THUMBNAILS_BYTES = 700_000
"""All thumbnails together. With the limits of the proofs, 20 hits stay below 6 MB as base64."""

BANDS = {
    "same": ("Same object", "✓", "The geometry of both pictures agrees."),
    "possibly": ("Possibly", "?", "Some parts agree. Look for yourself."),
    "look-alike": ("Look-alikes", "≈", "Similar at a glance, not shown to be the same."),
}
NOT_JUDGED = ("Nearest, not judged", "·", "In the order of the model, which does not say how sure it is.")
WORDS = {"same": "Same object", "possibly": "Possibly", "look-alike": "Look-alike"}


@dataclass(frozen=True, slots=True)
class ReportHit:
    """One found picture.

    Attributes:
        rank: position, from 1.
        name: relative path, any bytes that a file system allows.
        band: "same", "possibly" or "look-alike".
        probability: that it shows the same object, 0 to 1; NaN where the model has no calibration.
        similarity: inner product of the global descriptors.
        inliers: matches that agree.
        matches: tentative matches.
        query_overlap: share of the query that is matched, 0 to 1.
        target_overlap: share of this picture that is matched, 0 to 1.
        copies: names of exact copies.
        pixels: (h, w, 3) uint8, RGB; may be reduced.
        view: where it agrees with the query; None where it was not verified.
    """

    rank: int
    name: str
    band: str
    probability: float
    similarity: float
    inliers: int
    matches: int
    query_overlap: float
    target_overlap: float
    copies: tuple[str, ...]
    pixels: Pixels
    view: MatchView | None


@dataclass(frozen=True, slots=True)
class Report:
    """One search.

    Attributes:
        query_name: name of the query picture.
        query: (h, w, 3) uint8, RGB; may be reduced.
        box: x, y, width, height searched for, in pixels of the original; None for the whole picture.
        query_size: (W, H) of the upright original.
        num_features: local features of the query.
        hits: best first.
        num_searched: pictures in the collection.
        model: name of the model.
        seconds: duration of the search.
        warnings: lines for the reader, e.g. that the picture is blurred.
        command: what was typed.
        judged: whether the bands say anything; else all hits are one list.
    """

    query_name: str
    query: Pixels
    box: Box | None
    query_size: tuple[int, int]
    num_features: int
    hits: tuple[ReportHit, ...]
    num_searched: int
    model: str
    seconds: float
    warnings: tuple[str, ...]
    command: str
    judged: bool = True


@dataclass(frozen=True, slots=True)
class _Card:
    hit: ReportHit
    word: str
    symbol: str
    thumbnail: str
    thumbnail_size: tuple[int, int]
    label: str
    why: Proof | None
    opened: bool


@dataclass(frozen=True, slots=True)
class _Band:
    key: str
    title: str
    symbol: str
    meaning: str
    cards: tuple[_Card, ...]
    folded: bool


def render_report(report: Report) -> str:
    """The whole page as text, without any reference to another file or host."""
    source = _source()
    script = re.search(r"<script>(.*?)</script>", source, re.DOTALL)
    if script is None:
        raise RuntimeError("templates/report.html must contain one inline script")
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    query = report.query if report.box is None else draw_box(report.query, report.box, report.query_size)
    query_uri, query_shape = data_uri(query, QUERY_SIDE, QUERY_BYTES)
    bands = _bands(report)
    return (
        _environment()
        .from_string(source)
        .render(
            report=report,
            script_hash=f"sha256-{digest}",
            query_uri=query_uri,
            query_shape=query_shape,
            bands=bands,
            verdict=_verdict(report),
            found=not report.judged or any(hit.band == "same" for hit in report.hits),
            num_explained=sum(card.why is not None for band in bands for card in band.cards),
        )
    )


def write_report(report: Report, path: Path) -> None:
    """Write the page as UTF-8; a half-written file never appears."""
    write_atomically(render_report(report).encode("utf-8", "replace"), path)


@lru_cache(maxsize=1)
def _source() -> str:
    return files("glocal.pictures").joinpath("templates/report.html").read_text("utf-8")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        name=readable, folder=folder_of, base=base_of, percent=percent, share=share, number=thousands, seconds=duration
    )
    return environment


def _verdict(report: Report) -> str:
    same = sum(hit.band == "same" for hit in report.hits)
    possibly = sum(hit.band == "possibly" for hit in report.hits)
    if not report.judged:
        return "The nearest pictures, not judged." if report.hits else "No picture was found."
    if same:
        return "1 picture shows the same object." if same == 1 else f"{thousands(same)} pictures show the same object."
    if possibly:
        return (
            f"No picture surely shows this object; {thousands(possibly)} possibly {'do' if possibly > 1 else 'does'}."
        )
    return "No picture shows this object."


def _bands(report: Report) -> tuple[_Band, ...]:
    proven = [h for h in report.hits if h.view is not None and h.view.homography is not None and h.view.inliers]
    proven.sort(key=lambda hit: list(BANDS).index(hit.band))
    explained = {id(hit) for hit in proven[:MAX_WHY]}
    first = next((id(hit) for hit in proven if hit.band == "same"), None)
    budget = THUMBNAILS_BYTES // max(20, len(report.hits))
    bands = []
    for key, words in BANDS.items():
        title, symbol, meaning = words if report.judged else NOT_JUDGED
        cards = tuple(
            _card(report, hit, symbol, budget, id(hit) in explained, id(hit) == first)
            for hit in report.hits
            if hit.band == key
        )
        if cards:
            bands.append(_Band(key, title, symbol, meaning, cards, report.judged and key == "look-alike"))
    return tuple(bands)


def _card(report: Report, hit: ReportHit, symbol: str, budget: int, explained: bool, opened: bool) -> _Card:
    small = reduce(hit.pixels, THUMBNAIL_SIDE)
    if hit.view is not None and hit.band != "look-alike":
        small = draw_quad(small, hit.view, colour=SAME_GREEN if hit.band == "same" else POSSIBLY_AMBER)
    thumbnail, size = data_uri(small, THUMBNAIL_SIDE, budget)
    word = WORDS[hit.band] if report.judged else "Not judged"
    place = f"Result {hit.rank} of {len(report.hits)}"
    label = f"{place}, {word.lower()}, {percent(hit.probability)}, {readable(hit.name)}"
    why = prove(report.query, hit.pixels, hit.view) if explained and hit.view is not None else None
    return _Card(hit, word, symbol, thumbnail, size, label, why, opened)
