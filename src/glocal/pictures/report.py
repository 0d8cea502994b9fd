"""One search as one HTML file that opens from disk, works offline and can be mailed (Jinja2).

Every name is hostile: it reaches the page only through autoescape, and the page's content security
policy runs no script but the one whose hash it names. Pictures are re-encoded from bare pixels.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined

from glocal.ops.coordinates import fit_within
from glocal.pictures.matches import (
    POSSIBLY_AMBER,
    SAME_GREEN,
    MatchView,
    draw_box,
    draw_matches,
    draw_quad,
    encode_jpeg,
    register,
    write_atomically,
)
from glocal.types import Box, Pixels

THUMBNAIL_SIDE = 480
LINES_WIDTH = 1400
PAIR_SIDE = 760
MAX_WHY = 12
"""So many hits get their proof in pictures; it is most of the file."""
QUERY_BYTES, LINES_BYTES, PAIR_BYTES = 90_000, 170_000, 60_000
THUMBNAILS_BYTES = 700_000
"""All thumbnails together. With the limits above, 20 hits stay below 6 MB as base64."""
MIN_QUALITY = 40

BANDS = {
    "same": ("Same object", "✓", "The geometry of both pictures agrees."),
    "possibly": ("Possibly", "?", "Some parts agree. Look for yourself."),
    "look-alike": ("Look-alikes", "≈", "Similar at a glance, not shown to be the same."),
}
WORDS = {"same": "Same object", "possibly": "Possibly", "look-alike": "Look-alike"}
UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of controls, direction marks, lone surrogates and separators that would disguise a name."""
JOINERS = {"\u200c", "\u200d"}
"""Invisible, but part of Persian words and of emoji families."""


@dataclass(frozen=True, slots=True)
class ReportHit:
    """One found picture.

    Attributes:
        rank: position, from 1.
        name: relative path, any bytes that a file system allows.
        band: "same", "possibly" or "look-alike".
        probability: that it shows the same object, 0 to 1.
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


@dataclass(frozen=True, slots=True)
class _Why:
    """The proof of one hit, as the template shows it."""

    lines: str
    lines_size: tuple[int, int]
    lines_alt: str
    query: str = ""
    target: str = ""
    pair_size: tuple[int, int] = (0, 0)
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Card:
    hit: ReportHit
    word: str
    symbol: str
    thumbnail: str
    thumbnail_size: tuple[int, int]
    label: str
    why: _Why | None
    opened: bool


@dataclass(frozen=True, slots=True)
class _Band:
    key: str
    title: str
    symbol: str
    meaning: str
    cards: tuple[_Card, ...]


def render_report(report: Report) -> str:
    """The whole page as text, without any reference to another file or host."""
    source = _source()
    script = re.search(r"<script>(.*?)</script>", source, re.DOTALL)
    if script is None:
        raise RuntimeError("templates/report.html must contain one inline script")
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    query = report.query if report.box is None else draw_box(report.query, report.box, report.query_size)
    query_uri, query_shape = _picture(query, 720, QUERY_BYTES)
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
            verdict=_verdict(report.hits),
            found=any(hit.band == "same" for hit in report.hits),
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
        name=_readable, folder=_folder, base=_base, percent=_percent, share=_share, number=_number, seconds=_seconds
    )
    return environment


def _verdict(hits: tuple[ReportHit, ...]) -> str:
    same = sum(hit.band == "same" for hit in hits)
    possibly = sum(hit.band == "possibly" for hit in hits)
    if same:
        return "1 picture shows the same object." if same == 1 else f"{_number(same)} pictures show the same object."
    if possibly:
        return f"No picture surely shows this object; {_number(possibly)} possibly {'do' if possibly > 1 else 'does'}."
    return "No picture shows this object."


def _bands(report: Report) -> tuple[_Band, ...]:
    proven = [h for h in report.hits if h.view is not None and h.view.homography is not None and h.view.inliers]
    proven.sort(key=lambda hit: list(BANDS).index(hit.band))
    explained = {id(hit) for hit in proven[:MAX_WHY]}
    first = next((id(hit) for hit in proven if hit.band == "same"), None)
    budget = THUMBNAILS_BYTES // max(20, len(report.hits))
    bands = []
    for key, (title, symbol, meaning) in BANDS.items():
        cards = tuple(
            _card(report, hit, symbol, budget, id(hit) in explained, id(hit) == first)
            for hit in report.hits
            if hit.band == key
        )
        if cards:
            bands.append(_Band(key, title, symbol, meaning, cards))
    return tuple(bands)


def _card(report: Report, hit: ReportHit, symbol: str, budget: int, explained: bool, opened: bool) -> _Card:
    small = _reduce(hit.pixels, THUMBNAIL_SIDE)
    if hit.view is not None and hit.band != "look-alike":
        small = draw_quad(small, hit.view, colour=SAME_GREEN if hit.band == "same" else POSSIBLY_AMBER)
    thumbnail, size = _picture(small, THUMBNAIL_SIDE, budget)
    word = WORDS[hit.band]
    place = f"Result {hit.rank} of {len(report.hits)}"
    label = f"{place}, {word.lower()}, {_percent(hit.probability)}, {_readable(hit.name)}"
    why = _why(report, hit, hit.view) if explained and hit.view is not None else None
    return _Card(hit, word, symbol, thumbnail, size, label, why, opened)


def _why(report: Report, hit: ReportHit, view: MatchView) -> _Why:
    lines, size = _picture(draw_matches(report.query, hit.pixels, view, width=LINES_WIDTH), LINES_WIDTH, LINES_BYTES)
    alt = f"Your picture and this one side by side; {hit.inliers} lines join the places that agree."
    residuals = view.residuals()[view.mask]
    error = f"{np.median(residuals):.1f} px" if np.isfinite(residuals).all() else ""
    pair = register(report.query, hit.pixels, view)
    if pair is None:
        return _Why(lines, size, alt, error=error)
    (query, pair_size), (target, _) = (_picture(pixels, PAIR_SIDE, PAIR_BYTES) for pixels in pair)
    return _Why(lines, size, alt, query, target, pair_size, error)


def _reduce(pixels: Pixels, longest: int) -> Pixels:
    size = fit_within((pixels.shape[1], pixels.shape[0]), longest)
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _picture(pixels: Pixels, longest: int, max_bytes: int) -> tuple[str, tuple[int, int]]:
    """A data URI and the size (w, h) in pixels; busy pictures lose quality, then size, to stay mailable."""
    quality = 82
    small = _reduce(pixels, longest)
    data = encode_jpeg(small, quality)
    while len(data) > max_bytes and (quality > MIN_QUALITY or longest > 160):
        if quality > MIN_QUALITY:
            quality -= 14
        else:
            longest = max(160, longest * 4 // 5)
            small = _reduce(pixels, longest)
        data = encode_jpeg(small, quality)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode(), (small.shape[1], small.shape[0])


def _readable(name: str) -> str:
    """A name with everything that cannot be seen made visible as U+FFFD."""
    return "".join("\ufffd" if unicodedata.category(c) in UNPRINTABLE and c not in JOINERS else c for c in name)


def _folder(name: str) -> str:
    head, slash, _ = _readable(name).rpartition("/")
    return head + slash


def _base(name: str) -> str:
    return _readable(name).rpartition("/")[2]


def _number(value: int) -> str:
    """Thousands apart by a narrow space: 48 201."""
    return f"{value:,}".replace(",", "\u202f")


def _percent(probability: float) -> str:
    """Never 100 % or 0 %: the calibration does not know that much."""
    if not math.isfinite(probability):
        return "unknown"
    return _bounded(probability, 0.01, 0.99)


def _share(value: float) -> str:
    return f"{round(100 * value)}\u202f%" if math.isfinite(value) and value >= 0.01 else "<\u202f1\u202f%"


def _bounded(value: float, low: float, high: float) -> str:
    sign = ">\u202f" if value > high else "<\u202f" if value < low else ""
    return f"{sign}{round(100 * min(max(value, low), high))}\u202f%"


def _seconds(value: float) -> str:
    return f"{value:.2f}\u202fs" if value < 10 else f"{value:.0f}\u202fs"
