"""Many small pictures never exceed their room."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from glocal.pictures.thumbnails import SMALLEST, Thumbnail, encode_within, make_sheet


def noise(width=400, height=300, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


def pictures_of(css: str) -> dict[str, Image.Image]:
    found = re.findall(r"\.(\w+)\{background-image:url\(data:image/webp;base64,([\w+/=]+)\)\}", css)
    return {key: Image.open(io.BytesIO(base64.b64decode(data))) for key, data in found}


@pytest.mark.parametrize("max_bytes", [900, 2500, 6000, 40_000])
def test_a_picture_fits_into_its_bytes_and_uses_them(max_bytes):
    data = encode_within(noise(), 256, max_bytes)
    assert data is not None
    assert len(data) <= max_bytes
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "WEBP"
        assert SMALLEST <= max(picture.size) <= 256
        assert max(picture.size) == 256 or len(data) > max_bytes * 0.5
        assert not picture.getexif()
        assert "icc_profile" not in picture.info


def test_a_picture_that_cannot_fit_is_none():
    assert encode_within(noise(), 256, 60) is None
    assert encode_within(noise(), 256, -5) is None


def test_a_sheet_keeps_its_length_and_names_what_it_has_not():
    sources = {f"t{i}": noise(seed=i) for i in range(30)}
    pictures = [Thumbnail(key, lambda key=key: sources[key], 144, 1.0) for key in sources]
    pictures.insert(3, Thumbnail("gone", lambda: None, 144, 1.0))
    for length in (2_000, 30_000, 300_000):
        sheet = make_sheet(pictures, length)
        assert len(sheet.css) <= length
        shown = pictures_of(sheet.css)
        assert set(shown) | set(sheet.left_out) == set(sources)
        assert sheet.unreadable == ("gone",)
        assert '.gone::after{content:"cannot be read"}' in sheet.css
        assert (len(shown) == 30) == (length > 2000)


def test_what_plain_pictures_do_not_need_is_left_to_the_others():
    plain, busy = np.full((300, 400, 3), 90, np.uint8), noise()
    last = Thumbnail("busy", lambda: busy, 144, 1.0)
    sizes = [
        max(pictures_of(make_sheet([*before, last], 30_000).css)["busy"].size)
        for before in (
            [Thumbnail(f"p{i}", lambda pixels=pixels: pixels, 144, 1.0) for i in range(9)] for pixels in (plain, busy)
        )
    ]
    assert sizes[0] == 144
    assert sizes[1] < 144


def test_a_heavier_picture_gets_more():
    pixels = noise()
    pictures = [Thumbnail("large", lambda: pixels, 400, 4.0), Thumbnail("small", lambda: pixels, 400, 1.0)]
    found = pictures_of(make_sheet(pictures, 20_000).css)
    assert max(found["large"].size) > 1.5 * max(found["small"].size)
