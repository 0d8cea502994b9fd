"""A photo file -> upright RGB pixels, bounded before anything is decoded (NumPy, Pillow, OpenCV).

Every input is hostile. The order of checks: kind of file and number of bytes, magic number against an
allow-list, progressive scans, declared pixels, and only then the decoder. Callers who cannot trust the
file run this in a child process with a time limit (`glocal.extract.pool`).
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from glocal.data.formats import DECODERS, sniff
from glocal.errors import ConfigError, ImageError
from glocal.ops.coordinates import fit_within
from glocal.types import Box, Photo, Pixels


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a photo file may cost at most.

    Attributes:
        max_bytes: largest file in bytes.
        max_pixels: largest width times height.
        min_side: smallest side in pixels.
        max_scans: most scans of a progressive JPEG; ordinary ones have about ten.
    """

    max_bytes: int = 128 << 20
    max_pixels: int = 89_478_485
    min_side: int = 12
    max_scans: int = 100


LIMITS = DecodeLimits()

# EXIF orientation -> the transposition that makes the picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_RULES = ("area", "bilinear", "lanczos")


@dataclass(frozen=True, slots=True)
class FileBytes:
    """The bytes of one file, as they were at one moment.

    Attributes:
        data: the content.
        content_hash: BLAKE2b-128 of the content, 32 hexadecimal digits.
        mtime_ns: modification time in nanoseconds.
    """

    data: bytes
    content_hash: str
    mtime_ns: int


def hash_content(data: bytes) -> str:
    """BLAKE2b-128 as 32 hexadecimal digits: the identity of a picture's bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_file(path: str | bytes | Path, limits: DecodeLimits = LIMITS) -> FileBytes:
    """Read a regular file whole, without following a link and without blocking on a pipe.

    A file that changes while it is read is read once more.

    Raises:
        ImageError: `empty`, `too_large_file`, `not_regular_file` or `unreadable`.
    """
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            code = "not_regular_file" if error.errno in (errno.ELOOP, errno.ENXIO) else "unreadable"
            raise ImageError(code, (error.strerror or code).lower()) from error
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            os.close(descriptor)
            raise ImageError("not_regular_file")
        with os.fdopen(descriptor, "rb") as file:
            if before.st_size == 0:
                raise ImageError("empty")
            if before.st_size > limits.max_bytes:
                raise ImageError("too_large_file", _too_large(before.st_size, limits))
            try:
                data = file.read(limits.max_bytes + 1)
            except OSError as error:
                raise ImageError("unreadable", (error.strerror or "read error").lower()) from error
            after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and len(data) == after.st_size:
            return FileBytes(data, hash_content(data), after.st_mtime_ns)
    raise ImageError("unreadable", "it changed while it was read; run the same command again")


def check_bytes(data: bytes, limits: DecodeLimits = LIMITS) -> FileBytes:
    """The bytes of a picture that is no file, with what `read_file` tells; its modification time is 0.

    Raises:
        ImageError: `empty` or `too_large_file`.
    """
    if not data:
        raise ImageError("empty")
    if len(data) > limits.max_bytes:
        raise ImageError("too_large_file", _too_large(len(data), limits))
    return FileBytes(data, hash_content(data), 0)


def _too_large(num_bytes: int, limits: DecodeLimits) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB; the limit is {limits.max_bytes / 2**20:,.0f} MiB"


def _check_scans(data: bytes, limits: DecodeLimits) -> None:
    """Refuse a JPEG with very many scans: each costs a pass over all pixels."""
    first = data.find(b"\xff\xda")
    # Inside entropy-coded data FF is always followed by 00 or a restart marker, so FF DA is a scan.
    if first >= 0 and len(re.findall(rb"\xff\xda", data[first:])) > limits.max_scans:
        raise ImageError("corrupt", f"a JPEG of more than {limits.max_scans} scans")


def _readable_share(image: Image.Image) -> int:
    """Percent of the rows that were decoded before the data ended."""
    try:
        partial = image._new(image.im)  # the decoder has filled the rows that it reached, the rest is zero
        rows = np.atleast_1d(np.asarray(partial.convert("L")).any(axis=1))
    except (AttributeError, ValueError, OSError):
        return 0
    return int(100 * (np.flatnonzero(rows)[-1] + 1) / len(rows)) if rows.any() else 0


def _decode_error(error: Exception, image: Image.Image | None) -> ImageError:
    text = str(error)
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return ImageError("too_many_pixels", "more pixels than the limit")
    if isinstance(error, MemoryError):
        return ImageError("corrupt", "damaged: it claims more memory than the limit")
    if any(word in text.lower() for word in ("truncated", "unexpected end", "not enough", "incomplete", "eof")):
        share = _readable_share(image) if image is not None else 0
        return ImageError("truncated", f"damaged: the file ends early ({share} % readable)")
    return ImageError("corrupt", f"damaged: {text[:120] or type(error).__name__}")


def _open(data: bytes, limits: DecodeLimits) -> Image.Image:
    """Parse the header; check format and size. Nothing is decoded yet."""
    name = sniff(data)
    if name not in DECODERS:
        if name is None:
            raise ImageError("not_an_image", "not a picture (unknown content)")
        hint = '; run: pip install "glocal[heic]"' if name == "HEIF" else ""
        raise ImageError("unsupported_format", f"{name} is not a format that glocal reads{hint}")
    if name == "JPEG":
        _check_scans(data, limits)
    try:
        image = Image.open(io.BytesIO(data), formats=DECODERS[name])
    except UnidentifiedImageError as error:
        raise ImageError("corrupt", f"damaged: the {name} header makes no sense") from error
    width, height = image.size
    if width * height > limits.max_pixels:
        mega, limit = width * height / 1e6, limits.max_pixels / 1e6
        raise ImageError("too_many_pixels", f"{mega:,.0f} megapixels; the limit is {limit:,.0f} → --max-megapixels")
    if min(width, height) < limits.min_side:
        raise ImageError("too_small", f"{width}×{height} pixels; each side needs {limits.min_side}")
    return image


def inspect(data: bytes, limits: DecodeLimits = LIMITS) -> tuple[tuple[int, int], int]:
    """Size (W, H) of the upright picture and its EXIF orientation, from the header alone.

    Raises:
        ImageError: the picture must not be decoded; see `code`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _open(data, limits)
            orientation = _orientation(image)
    except ImageError:
        raise
    except Exception as error:
        raise _decode_error(error, None) from error
    width, height = image.size
    return ((height, width) if orientation >= 5 else (width, height)), orientation


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8 that is left to apply; 1 where it is missing or makes no sense."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFF itself, while it decodes
    try:
        # The base class reads what the header gave; PngImageFile.getexif would decode the whole picture first,
        # and swallow its errors here.
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow raises anything on a damaged EXIF block; the picture is still good
        return 1
    return value if value in _UPRIGHT else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode -> RGB: wide samples scaled to 8 bits, transparency over white."""
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray(np.clip(wide >> 8, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image), nan=0.0, posinf=0.0, neginf=0.0)
        top = 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
        return Image.fromarray((np.clip(values / top, 0, 1) * 255).astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, (255, 255, 255, 255))
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")


def decode(
    data: bytes, name: str, longest: int, limits: DecodeLimits = LIMITS, box: Box | None = None, rule: str = "area"
) -> Photo:
    """Decode a picture, make it upright, reduce it.

    Args:
        data: the whole file.
        name: becomes the id of the photo.
        longest: the longest side is reduced to this many pixels; never enlarged; 0 leaves it as it is. With a box it
            is the box's longest side ("area"), or what is left of it at the share of the whole that the box has
            (the published rules: a query is as large as it would be inside the reduced picture).
        limits: what the file may cost.
        box: x, y, width, height in pixels of the upright picture; only this part is returned.
        rule: "area" (ours), or what was published: "bilinear" (DELG) or "lanczos" (Token), both from full resolution.

    Returns:
        Photo with RGB pixels of the reduced picture or box, and the size of the upright original or box.

    Raises:
        ImageError: the picture cannot or must not be decoded; see `code`.
        ConfigError: the rule is none of the three.
    """
    _expect_rule(rule)
    image: Image.Image | None = None
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _open(data, limits)
            stored = image.size
            orientation = _orientation(image)
            if box is None and longest and rule == "area":
                # libjpeg decodes at 1/2, 1/4 or 1/8 scale for a fraction of the time; never below `longest`.
                image.draft("RGB", fit_within(stored, longest))
            image.load()
            image = _to_rgb(image)
    except ImageError:
        raise
    except Exception as error:
        raise _decode_error(error, image) from error
    if rule != "area":
        upright_image = image.transpose(_UPRIGHT[orientation]) if orientation > 1 else image
        return _published(upright_image, name, longest, box, rule)
    upright = (stored[1], stored[0]) if orientation >= 5 else stored
    if box is not None:
        image = image.transpose(_UPRIGHT[orientation]) if orientation > 1 else image
        x, y, width, height = (round(value) for value in box)
        pixels = np.asarray(image)[y : y + height, x : x + width]
        return Photo(name, resize(pixels, longest), (pixels.shape[1], pixels.shape[0]))
    target = fit_within(stored, longest or max(stored))
    pixels = np.asarray(image)
    if (image.width, image.height) != target:
        pixels = cv2.resize(pixels, target, interpolation=cv2.INTER_AREA)
    if orientation > 1:
        pixels = np.asarray(Image.fromarray(pixels).transpose(_UPRIGHT[orientation]))
    return Photo(name, np.ascontiguousarray(pixels), upright)


def resize(pixels: Pixels, longest: float, rule: str = "area") -> Pixels:
    """Reduce a picture; never enlarges it.

    Args:
        pixels: (H, W, 3) uint8.
        longest: most pixels of the longest side, which may be a fraction; 0 leaves the picture as it is.
        rule: "area", "bilinear" or "lanczos", as in `decode`.

    Returns:
        (h, w, 3) uint8, C-contiguous.

    Raises:
        ConfigError: the rule is none of the three.
    """
    _expect_rule(rule)
    height, width = pixels.shape[:2]
    if not longest:
        return np.ascontiguousarray(pixels)
    if rule == "lanczos":
        image = Image.fromarray(pixels)
        # Not the same as resizing to the sides below: a thumbnail's shorter side is what keeps the aspect best.
        image.thumbnail((max(longest, 1), max(longest, 1)), Image.Resampling.LANCZOS)
        return np.array(image)
    target = fit_within((width, height), longest)
    if target == (width, height):
        return np.ascontiguousarray(pixels)
    if rule == "bilinear":
        return np.array(Image.fromarray(pixels).resize(target, Image.Resampling.BILINEAR))
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), target, interpolation=cv2.INTER_AREA), np.uint8)


def _expect_rule(rule: str) -> None:
    if rule not in _RULES:
        raise ConfigError(f'unknown way to reduce a picture: "{rule}" → one of {", ".join(_RULES)}')


def _published(image: Image.Image, name: str, longest: float, box: Box | None, rule: str) -> Photo:
    """Cut and reduce an upright RGB picture as the papers' programs do."""
    if box is not None:
        x, y, width, height = box
        left, right = (min(max(round(value), 0), image.width) for value in (x, x + width))
        top, bottom = (min(max(round(value), 0), image.height) for value in (y, y + height))
        if right <= left or bottom <= top:
            raise ImageError("too_small", f"the box {box} holds no pixel of the {image.width}×{image.height} picture")
        longest = longest * max(right - left, bottom - top) / max(image.size)
        image = image.crop((left, top, right, bottom))
    return Photo(name, resize(np.asarray(image), longest, rule), image.size)
