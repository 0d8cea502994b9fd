"""Pictures fit into the bytes that a page has for them."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from glocal.pictures.data_uris import data_uri
from tests.pictures.samples import plain


@pytest.mark.parametrize("max_bytes", [200_000, 30_000, 8_000])
def test_a_busy_picture_is_reduced_until_it_fits(max_bytes: int) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    uri, size = data_uri(noise, 400, max_bytes)
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    assert len(data) <= max_bytes
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == size


def test_a_plain_picture_keeps_its_size() -> None:
    assert data_uri(plain(400, 300), 400, 8_000)[1] == (400, 300)
