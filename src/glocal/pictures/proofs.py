"""The proof of one hit in pictures: match lines, and the registered pair for overlay and blink."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glocal.pictures.data_uris import data_uri
from glocal.pictures.matches import draw_matches
from glocal.pictures.registration import register
from glocal.pictures.view import MatchView
from glocal.types import Pixels

LINES_WIDTH, LINES_BYTES = 1400, 170_000
PAIR_SIDE, PAIR_BYTES = 760, 60_000


@dataclass(frozen=True, slots=True)
class Proof:
    """What the report shows under "why".

    Attributes:
        lines: data URI of the match lines.
        lines_size: (w, h) of that picture.
        lines_alt: the same in words.
        query: data URI of the query seen from the target's viewpoint; "" where nothing can be registered.
        target: data URI of the target's matched area; "" likewise.
        pair_size: (w, h) of both.
        error: median residual with its unit; "" if it is unknown.
    """

    lines: str
    lines_size: tuple[int, int]
    lines_alt: str
    query: str = ""
    target: str = ""
    pair_size: tuple[int, int] = (0, 0)
    error: str = ""


def prove(query: Pixels, target: Pixels, view: MatchView) -> Proof:
    """Draw the proof that two photos, (h, w, 3) uint8 RGB, agree as the view says."""
    lines, size = data_uri(draw_matches(query, target, view, width=LINES_WIDTH), LINES_WIDTH, LINES_BYTES)
    alt = f"Your picture and this one side by side; {view.inliers} lines join the places that agree."
    residuals = view.residuals()[view.mask]
    error = f"{np.median(residuals):.1f} px" if np.isfinite(residuals).all() else ""
    pair = register(query, target, view)
    if pair is None:
        return Proof(lines, size, alt, error=error)
    (warped, pair_size), (shown, _) = (data_uri(pixels, PAIR_SIDE, PAIR_BYTES) for pixels in pair)
    return Proof(lines, size, alt, warped, shown, pair_size, error)
