"""Text inside pictures: the font, and words cut to the room they have (Pillow)."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont

from glocal.errors import ConfigError


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that Pillow brings along, `size` pixels high.

    Raises:
        ConfigError: this Pillow cannot draw text.
    """
    loaded = ImageFont.load_default(size)
    if not isinstance(loaded, ImageFont.FreeTypeFont):  # Pillow built without FreeType has only a bitmap font
        raise ConfigError("this build of Pillow cannot draw text (no FreeType) → pip install --upgrade pillow")
    return loaded


def shorten(text: str, width: float, size: int) -> str:
    """The beginning of a text that fits into `width` pixels, in letters that the font has."""
    words = _plain(text)[:400]
    if font(size).getlength(words) <= width:
        return words
    while words and font(size).getlength(words + "…") > width:
        words = words[:-1]
    return words + "…"


def _plain(text: str) -> str:
    """The built-in font has ASCII only, and names may hold anything."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" or c in "·…" else "?" for c in bare)
