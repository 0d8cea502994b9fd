"""The published ways of reducing a picture, beside our own (`test_image.py`)."""

import io

import numpy as np
import pytest
from PIL import Image

from glocal.data.image import decode, resize
from glocal.errors import ConfigError, ImageError
from tests.conftest import texture

RULES = ["area", "bilinear", "lanczos"]


def encoded(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("longest", [0, 320, 5000])
def test_a_picture_is_never_enlarged_and_zero_leaves_it_as_it_is(rule, kind, longest):
    data = encoded(texture(0), kind)
    photo = decode(data, "x", longest, rule=rule)
    assert photo.size == (320, 240)
    assert np.array_equal(photo.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert photo.pixels.flags.c_contiguous


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(400, 300), (301, 1001), (1000, 40), (4000, 13)])
def test_the_longest_side_becomes_the_limit_and_the_other_follows(rule, size):
    photo = decode(encoded(np.zeros((size[1], size[0], 3), np.uint8)), "x", 200, rule=rule)
    assert photo.size == size
    height, width = photo.pixels.shape[:2]
    assert max(width, height) == 200
    assert min(width, height) == max(1, round(min(size) * 200 / max(size)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_published_rules_reduce_the_picture_at_full_resolution(kind):
    data = encoded(texture(0, 1600, 1200), kind)
    image = Image.open(io.BytesIO(data)).convert("RGB")
    bilinear = np.asarray(image.resize((100, 75), Image.Resampling.BILINEAR))
    assert np.array_equal(decode(data, "x", 100, rule="bilinear").pixels, bilinear)
    image.thumbnail((100, 100), Image.Resampling.LANCZOS)
    assert np.array_equal(decode(data, "x", 100, rule="lanczos").pixels, np.asarray(image))


@pytest.mark.parametrize("rule", ["bilinear", "lanczos"])
def test_a_picture_is_made_upright_before_it_is_reduced(rule):
    pixels = texture(0, 321, 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90)
    turned = decode(encoded(np.asarray(stored), exif=exif.tobytes()), "x", 100, rule=rule)
    plain = decode(encoded(pixels), "x", 100, rule=rule)
    assert turned.size == plain.size == (321, 200)
    assert np.array_equal(turned.pixels, plain.pixels)


@pytest.mark.parametrize("rule", ["bilinear", "lanczos"])
def test_a_query_box_is_as_large_as_it_would_be_in_the_reduced_picture(rule):
    data = encoded(texture(0, 400, 200))
    photo = decode(data, "x", 100, box=(20, 30, 200, 100), rule=rule)
    assert photo.size == (200, 100)
    assert photo.pixels.shape == (25, 50, 3)
    cut = texture(0, 400, 200)[30:130, 20:220]
    assert np.array_equal(photo.pixels, resize(cut, 50, rule))
    assert decode(data, "x", 0, box=(20, 30, 200, 100), rule=rule).pixels.shape == (100, 200, 3)


@pytest.mark.parametrize("rule", ["bilinear", "lanczos"])
def test_the_corners_of_a_box_are_rounded_and_cut_to_the_picture(rule):
    pixels = texture(0, 64, 48)
    photo = decode(encoded(pixels), "x", 0, box=(10.4, 5.4, 20.3, 60.0), rule=rule)
    assert np.array_equal(photo.pixels, pixels[5:48, 10:31])
    outside = decode(encoded(pixels), "x", 0, box=(-8.0, -8.0, 18.0, 28.0), rule=rule)
    assert np.array_equal(outside.pixels, pixels[:20, :10])


@pytest.mark.parametrize("rule", ["bilinear", "lanczos"])
@pytest.mark.parametrize("longest", [1, 2])
def test_a_box_of_one_pixel_stays_a_pixel(rule, longest):
    assert decode(encoded(texture(0)), "x", longest, box=(5, 5, 1, 1), rule=rule).pixels.shape == (1, 1, 3)
    assert decode(encoded(texture(0)), "x", longest, box=(5, 5, 9, 3), rule=rule).pixels.shape == (1, 1, 3)


def test_a_box_outside_the_picture_is_refused():
    with pytest.raises(ImageError, match="holds no pixel of the 320×240 picture"):
        decode(encoded(texture(0)), "x", 100, box=(400, 5, 10, 10), rule="bilinear")


def test_our_own_rule_is_the_default():
    data = encoded(texture(0), "JPEG")
    for box in (None, (10, 20, 200, 100)):
        assert np.array_equal(decode(data, "x", 50, box=box).pixels, decode(data, "x", 50, box=box, rule="area").pixels)
    assert np.array_equal(resize(texture(0), 50), resize(texture(0), 50, "area"))


def test_read_only_pixels_are_reduced_and_left_alone():
    pixels = texture(0)
    before = pixels.copy()
    pixels.setflags(write=False)
    for rule in RULES:
        assert resize(pixels, 50.5, rule).shape[0] == 38
        assert resize(pixels, 1000, rule).flags.c_contiguous
    assert np.array_equal(pixels, before)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match='"cubic"'):
        decode(encoded(texture(0)), "x", 100, rule="cubic")
    with pytest.raises(ConfigError, match='"cubic"'):
        resize(texture(0), 100, "cubic")
