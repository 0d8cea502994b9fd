"""Pictures reach the disk whole, in the wanted format and without metadata."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from glocal.errors import ConfigError
from glocal.pictures.files import encode_jpeg, save_picture
from tests.pictures.samples import plain, scene


def test_encoded_pictures_carry_no_metadata() -> None:
    decoded = Image.open(io.BytesIO(encode_jpeg(scene(64, 48))))
    assert not decoded.getexif()
    assert set(decoded.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_a_picture_is_saved_in_the_format_of_its_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"lines{suffix}"
    path.write_bytes(b"old")
    save_picture(plain(64, 48), path)
    with Image.open(path) as saved:
        assert saved.size == (64, 48)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "a temporary file is left"


def test_another_suffix_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lines\.pdf.*\.png, \.jpg, \.jpeg, \.webp"):
        save_picture(plain(8, 8), tmp_path / "lines.pdf")
    assert not list(tmp_path.iterdir())
