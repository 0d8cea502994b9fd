"""Pictures as bytes and files: encoded from bare pixels, written whole or not at all (Pillow)."""

from __future__ import annotations

import io
import os
import secrets
from pathlib import Path

from PIL import Image

from glocal.errors import ConfigError
from glocal.types import Pixels

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def encode_jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    """JPEG bytes of (h, w, 3) uint8 RGB, without any metadata."""
    return _encode(pixels, "JPEG", quality)


def save_picture(pixels: Pixels, path: Path) -> None:
    """Write a picture in the format that the suffix names; a half-written file never appears.

    Raises:
        ConfigError: another suffix than .png, .jpg, .jpeg or .webp.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"cannot write '{path.name}': a picture ends in {', '.join(FORMATS)} → choose one of them")
    write_atomically(_encode(pixels, kind, 90), path)


def write_atomically(data: bytes, path: Path) -> None:
    """Write a file beside its place and move it there: either the old or the new content is seen."""
    draft = path.parent / f".glocal-{secrets.token_hex(8)}.tmp"
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _encode(pixels: Pixels, kind: str, quality: int) -> bytes:
    # From the bare array: nothing that the photo's file knew (place, owner, thumbnail) can come along.
    buffer = io.BytesIO()
    if kind == "PNG":
        Image.fromarray(pixels).save(buffer, kind, optimize=True)
    else:
        Image.fromarray(pixels).save(buffer, kind, quality=quality, optimize=True)
    return buffer.getvalue()
