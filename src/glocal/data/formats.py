"""Which files are pictures: by name for the scan, by magic number for the decoder."""

from __future__ import annotations

import importlib.util

_READ = {
    "JPEG": "jpg jpeg jpe jfif mpo",
    "PNG": "png apng",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp dib",
    "TIFF": "tif tiff",
}
_HEIF = "heic heif hif"
# Pictures that are refused by name, so that a person learns of them instead of wondering.
_FOREIGN = "avif jp2 j2k jxl svg eps psd tga ico ppm pgm pbm pnm cr2 cr3 nef arw dng orf rw2 raf pef srw"
PICTURE_SUFFIXES = frozenset(" ".join([*_READ.values(), _HEIF, _FOREIGN]).split())
"""Lower-case suffixes, without the dot, of files that count as pictures."""
LOOKED_FOR = "jpg, png, webp, gif, bmp, tiff, heic"


def heif_decoder_installed() -> bool:
    """Whether the optional HEIC decoder (extra `heic`) is there."""
    return importlib.util.find_spec("pillow_heif") is not None


DECODERS: dict[str, list[str]] = {name: [name] for name in _READ}
"""Allow-list: format -> the Pillow decoders that may try it."""


def register_heif() -> None:
    """Add the HEIC decoder to the allow-list, where it is installed."""
    if heif_decoder_installed():
        import pillow_heif  # noqa: PLC0415 - an optional package

        pillow_heif.register_heif_opener(thumbnails=False)
        DECODERS["HEIF"] = ["HEIF"]


def is_picture_name(name: bytes) -> bool:
    """Whether a file name has a suffix of a picture, in upper or lower case."""
    _, dot, suffix = name.rpartition(b".")  # os.path.splitext sees none in "..jpg"
    return bool(dot) and suffix.decode("ascii", "replace").lower() in PICTURE_SUFFIXES


def sniff(data: bytes) -> str | None:
    """Name of a picture format by its magic number; None if the content is no picture that we know."""
    head = data[:32]
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
            return "HEIF"
        return "AVIF" if brand in (b"avif", b"avis") else None
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else None
    magics = (
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF87a", "GIF"),
        (b"GIF89a", "GIF"),
        (b"BM", "BMP"),
        (b"II*\x00", "TIFF"),
        (b"MM\x00*", "TIFF"),
        (b"\x00\x00\x01\x00", "ICO"),
        (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\xff\x0a", "JPEG XL"),
        (b"8BPS", "PSD"),
        (b"%!PS", "EPS"),
        (b"<svg", "SVG"),
    )
    for magic, name in magics:
        if head.startswith(magic):
            return name
    if head[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6") and head[2:3].isspace():
        return "PPM"
    return "SVG" if head[:5] == b"<?xml" and b"<svg" in data[:1024] else None
