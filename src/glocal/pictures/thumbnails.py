"""Thousands of small pictures in one page: each is written once, and all together keep a budget (Pillow).

A picture is the background of a class of the page's second style sheet, so that a photo that many queries found costs
its bytes once, and a browser decodes it only where it is seen.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from glocal.pictures.resizing import reduce, size_of
from glocal.types import Pixels

QUALITIES = (66, 46)
SMALLEST = 40
"""Pixels; what does not fit even so is left out."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture that the page wants.

    Attributes:
        key: name of its class: letters and digits.
        source: gives the pixels, (h, w, 3) uint8 RGB; None where they cannot be read.
        longest: largest useful side in pixels.
        weight: its part of the budget, relative to the others.
    """

    key: str
    source: Callable[[], Pixels | None]
    longest: int
    weight: float


@dataclass(frozen=True, slots=True)
class Sheet:
    """The style sheet of the pictures.

    Attributes:
        css: one rule per picture.
        unreadable: keys of those whose pixels cannot be read.
        left_out: keys of those for which the budget was too small.
    """

    css: str
    unreadable: tuple[str, ...]
    left_out: tuple[str, ...]


def make_sheet(pictures: Sequence[Thumbnail], max_chars: int) -> Sheet:
    """Encode pictures one after the other; those that come first may take what their weight says, but no more.

    Args:
        pictures: at any time the pixels of one of them are in memory.
        max_chars: limit for the length of the sheet.
    """
    rules: list[str] = []
    unreadable, left_out = [], []
    weight = sum(picture.weight for picture in pictures)
    # The placeholders' rules come last and name every picture that has none.
    room = max_chars - 400 - sum(len(picture.key) + 10 for picture in pictures)
    for picture in pictures:
        share = room * picture.weight / weight if weight > 0 else 0.0
        weight -= picture.weight
        pixels = picture.source()
        if pixels is None:
            unreadable.append(picture.key)
            continue
        data = encode_within(pixels, picture.longest, int((share - len(_rule(picture.key, ""))) * 3 / 4) - 3)
        if data is None:
            left_out.append(picture.key)
            continue
        rules.append(_rule(picture.key, base64.b64encode(data).decode()))
        room -= len(rules[-1]) + 1
    for keys, words in ((unreadable, "cannot be read"), (left_out, "left out: file too large")):
        if keys:
            rules.append(",".join(f".{key}::after" for key in keys) + f'{{content:"{words}"}}')
    return Sheet("\n".join(rules), tuple(unreadable), tuple(left_out))


def encode_within(pixels: Pixels, longest: int, max_bytes: int) -> bytes | None:
    """A WebP of at most `max_bytes`; quality goes first, then size. None where `SMALLEST` pixels are too many.

    From the bare array: nothing that the photo's file knew can come along.
    """
    while True:
        small = reduce(pixels, longest)
        for quality in QUALITIES:
            buffer = io.BytesIO()
            Image.fromarray(small).save(buffer, "WEBP", quality=quality, method=4)
            if buffer.tell() <= max_bytes:
                return buffer.getvalue()
        if longest <= SMALLEST:
            return None
        # Bytes grow a little slower than the area: one step leads near the goal, a few more into it.
        factor = (max(max_bytes, 1) / buffer.tell()) ** 0.5
        longest = max(SMALLEST, min(round(max(size_of(small)) * max(factor, 0.5)), longest * 9 // 10))


def _rule(key: str, data: str) -> str:
    return f".{key}{{background-image:url(data:image/webp;base64,{data})}}"
