"""One match as one picture: the two photos side by side, with a line per match that agrees (NumPy, Pillow).

Points, quads, boxes and homographies are in pixels of the upright originals; the pixel arrays may be
reduced versions of them and are never changed.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from glocal.pictures.captions import draw_captions, say_nothing_agrees
from glocal.pictures.colours import GROUND, INK, QUERY_BLUE, SAME_GREEN
from glocal.pictures.frames import frame_pair
from glocal.pictures.legend import legend_of
from glocal.pictures.lines import choose_lines, draw_lines
from glocal.pictures.outlines import dash_box, outline_quad
from glocal.pictures.text import font, shorten
from glocal.pictures.view import MatchView
from glocal.types import Pixels


def draw_matches(
    query: Pixels, target: Pixels, view: MatchView, *, width: int = 1600, outliers: bool = False, title: str = ""
) -> Pixels:
    """The two photos side by side with a line per match that agrees.

    Args:
        query: (h, w, 3) uint8, RGB.
        target: (h, w, 3) uint8, RGB.
        view: where they agree.
        width: of the result, in pixels, at least 320.
        outliers: also draw the matches that disagree, as thin grey lines.
        title: line above the photos; letters outside ASCII lose their accents or become "?".

    Returns:
        (H, width, 3) uint8, RGB. Colour says how exact a match is; the legend is part of the picture.
    """
    width = max(width, 320)
    unit = width / 1600
    margin, small, large = round(24 * unit), max(12, round(24 * unit)), max(14, round(30 * unit))
    head = margin + (round(large * 1.6) if title else 0)
    photos_top = head + round(small * 1.8)
    left, right = frame_pair(view.query_size, view.target_size, width, margin, photos_top)
    bottom = max(left.top + left.height, right.top + right.height)
    lines = choose_lines(view, left, right, width)
    legend = legend_of(view, len(lines), outliers, width - 2 * margin, small)
    canvas = np.full((bottom + margin // 2 + legend.height + margin // 2, width, 3), GROUND, np.uint8)

    left.paste(canvas, query)
    right.paste(canvas, target)
    stroke = max(2.0, 3 * unit)
    outline_quad(left.crop(canvas), view.query_quad, view.query_size, QUERY_BLUE, stroke)
    outline_quad(right.crop(canvas), view.target_quad, view.target_size, SAME_GREEN, stroke)
    if view.box is not None:
        dash_box(left.crop(canvas), view.box, view.query_size, stroke)
    draw_lines(canvas, left, right, view, lines, outliers, unit)

    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    if title:
        pen.text((margin, margin // 2), shorten(title, width - 2 * margin, large), font=font(large), fill=INK)
    draw_captions(pen, view, (left, right), head, width - margin, small)
    legend.draw(pen, margin, bottom + margin // 2)
    if not view.inliers:
        say_nothing_agrees(image, small, left.left + left.width + margin // 2, (left.top + bottom) // 2)
    return np.asarray(image).copy()
