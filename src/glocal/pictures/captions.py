"""Words on the two photos: what each one is, and that nothing agrees (Pillow)."""

from __future__ import annotations

from PIL import Image, ImageDraw

from glocal.pictures.colours import GROUND, INK, QUERY_BLUE, SAME_GREEN
from glocal.pictures.frames import Frame
from glocal.pictures.text import font, shorten
from glocal.pictures.view import MatchView


def draw_captions(
    pen: ImageDraw.ImageDraw, view: MatchView, frames: tuple[Frame, Frame], top: int, end: int, size: int
) -> None:
    """Name and size above each photo; beside a narrow photo the words give way to the left.

    Args:
        pen: of the canvas.
        view: where the photos agree.
        frames: places of query and target.
        top: of the words, in pixels of the canvas.
        end: where the last word ends at the latest.
        size: height of the text in pixels.
    """
    words = [f"query · {_dimensions(view.query_size)}", f"candidate · {_dimensions(view.target_size)}"]
    radius, gap = size * 0.3, float(size)
    for frame, text, colour in zip(reversed(frames), reversed(words), (SAME_GREEN, QUERY_BLUE), strict=True):
        fitting = shorten(text, max(end - 3 * radius, 0), size)
        start = max(0.0, min(float(frame.left), end - 3 * radius - font(size).getlength(fitting)))
        pen.ellipse((start, top + gap * 0.6 - radius, start + 2 * radius, top + gap * 0.6 + radius), fill=colour)
        pen.text((start + 3 * radius, top), fitting, font=font(size), fill=INK)
        end = int(start - gap)


def say_nothing_agrees(image: Image.Image, size: int, centre: float, middle: float) -> None:
    """A sign at the given place, moved sideways where it would leave the picture; `size` is its text's height."""
    text, pad = "no geometric agreement", size
    wide = font(size).getlength(text)
    centre = min(max(centre, wide / 2 + 2 * pad), image.width - wide / 2 - 2 * pad)
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle(
        (centre - wide / 2 - pad, middle - pad * 1.2, centre + wide / 2 + pad, middle + pad * 1.2), pad, GROUND, INK
    )
    pen.text((centre, middle), text, font=font(size), fill=INK, anchor="mm")


def _dimensions(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
