"""Each random change does what it says, and all chance comes from the generator."""

import colorsys

import cv2
import numpy as np
import pytest

from glocal.data.augment import augment, centre_crop
from glocal.errors import ConfigError, ShapeError
from tests.conftest import texture

STILL = {"area": (1.0, 1.0), "aspect": (1.0, 1.0), "flip": 0.0}
EVERYTHING = {
    "area": (0.3, 1.0),
    "lighting": 0.1,
    "jitter": (0.4, 0.4, 0.4, 0.1),
    "jitter_probability": 1.0,
    "perspective": 0.2,
    "rotation": 20.0,
    "erase": 1.0,
}


def square(seed=0, side=64):
    return texture(seed, side, side)


def ramp(width, height):
    """Red is x, green is y."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    return pixels


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", [(1, 1), (12, 500), (500, 12), (63, 64), (240, 320)])
@pytest.mark.parametrize("size", [1, 32, 65])
@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["default", "everything"])
def test_any_photo_becomes_a_square_of_bytes(shape, size, options):
    for seed in range(3):
        result = augment(texture(0, *shape[::-1]), size, rng(seed), **options)
        assert result.shape == (size, size, 3)
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous


def test_the_same_generator_gives_the_same_view_and_another_one_does_not():
    pixels = texture(0)
    first, again, other = (augment(pixels, 48, rng(seed), **EVERYTHING) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_photo_itself_is_not_changed():
    pixels = texture(0)
    before = pixels.copy()
    for seed in range(5):
        augment(pixels, 240, rng(seed), **EVERYTHING)
        augment(pixels, 240, rng(seed), **STILL, erase=1.0)
    assert np.array_equal(pixels, before)


def test_without_any_change_the_photo_stays_as_it_is():
    assert np.array_equal(augment(square(), 64, rng(), **STILL), square())


def test_crops_have_the_area_and_aspect_that_were_asked_for():
    pixels = ramp(250, 200)
    areas, aspects = [], []
    for seed in range(300):
        view = augment(pixels, 64, rng(seed), area=(0.2, 0.5), aspect=(0.5, 2.0), flip=0.0).astype(float)
        # The middle half of the ramp covers 32 of 64 pixels.
        width = (view[32, 48, 0] - view[32, 16, 0]) * 2
        height = (view[48, 32, 1] - view[16, 32, 1]) * 2
        areas.append(width * height / pixels[..., 0].size)
        aspects.append(width / height)
    assert 0.17 < min(areas) < 0.25
    assert 0.45 < max(areas) < 0.54
    assert 0.45 < min(aspects) < 0.6
    assert 1.7 < max(aspects) < 2.2
    assert abs(np.mean(np.log(aspects))) < 0.1  # flat and tall ones as often


def test_an_aspect_range_that_is_not_symmetric_is_kept():
    for seed in range(50):
        view = augment(ramp(250, 200), 64, rng(seed), area=(0.1, 0.1), aspect=(1.5, 2.0), flip=0.0).astype(float)
        ratio = (view[32, 48, 0] - view[32, 16, 0]) / (view[48, 32, 1] - view[16, 32, 1])
        assert 1.3 < ratio < 2.3


def test_a_crop_that_never_fits_falls_back_to_the_middle():
    view = augment(ramp(250, 50), 50, rng(), area=(1.0, 1.0), aspect=(1.0, 1.0), flip=0.0)
    assert np.array_equal(view, ramp(250, 50)[:, 100:150])


def test_a_mirror_image_comes_as_often_as_asked():
    pixels = square()
    still = STILL | {"flip": 1.0}
    assert np.array_equal(augment(pixels, 64, rng(), **still), pixels[:, ::-1])
    half = [np.array_equal(augment(pixels, 64, rng(s), **(STILL | {"flip": 0.5})), pixels) for s in range(200)]
    assert 70 < sum(half) < 130


def test_lighting_moves_all_pixels_along_the_published_axes():
    grey = np.full((8, 8, 3), 128, np.uint8)
    shifts = []
    for seed in range(400):
        view = augment(grey, 8, rng(seed), **STILL, lighting=1.0).astype(float) - 128
        assert np.ptp(view, axis=(0, 1)).max() == 0
        shifts.append(view[0, 0] / 255)
    # The variance of the shifts is A diag(w^2) A^T, of which the first axis, nearly grey, holds almost everything.
    found = np.cov(np.array(shifts).T)
    assert np.trace(found) == pytest.approx(0.2175**2 + 0.0188**2 + 0.0045**2, rel=0.2)
    assert found[0, 2] == pytest.approx(0.2175**2 * 0.5675 * 0.5836, rel=0.25)


def test_lighting_is_in_the_order_red_green_blue():
    class Second:
        """Only the second axis moves: up in red, not in green, down in blue."""

        def __getattr__(self, name):
            return getattr(rng(), name)

        def normal(self, *_):
            return np.array([0.0, 5.0, 0.0])

    view = augment(np.full((4, 4, 3), 128, np.uint8), 4, Second(), **STILL, lighting=0.1)
    expected = np.rint(128 + 255 * 5 * 0.0188 * np.array([0.7192, -0.0045, -0.6948]))
    assert view[0, 0].tolist() == expected.tolist()


def test_brightness_scales_and_contrast_keeps_the_mean():
    pixels = (square() // 4) + 96  # far from the bounds
    for seed in range(5):
        bright = augment(pixels, 64, rng(seed), **STILL, jitter=(0.3, 0, 0, 0), jitter_probability=1.0)
        factor = bright.mean() / pixels.mean()
        assert 0.7 <= factor <= 1.3
        assert np.abs(bright - pixels * factor).max() < 1
        contrast = augment(pixels, 64, rng(seed), **STILL, jitter=(0, 0.3, 0, 0), jitter_probability=1.0)
        grey = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(float) for each in (pixels, contrast)]
        assert abs(grey[0].mean() - grey[1].mean()) < 1
        assert 0.69 <= grey[1].std() / grey[0].std() <= 1.31


def test_saturation_does_not_change_grey_and_hue_turns_colours():
    grey = np.repeat(square()[..., :1], 3, axis=2)
    for jitter in ((0, 0, 0.5, 0), (0, 0, 0, 0.5)):
        view = augment(grey, 64, rng(1), **STILL, jitter=jitter, jitter_probability=1.0)
        assert np.abs(view.astype(int) - grey).max() <= 1
    red = np.full((4, 4, 3), (200, 20, 20), np.uint8)
    hues = []
    for seed in range(200):
        view = augment(red, 4, rng(seed), **STILL, jitter=(0, 0, 0, 0.1), jitter_probability=1.0)
        hue = colorsys.rgb_to_hsv(*(view[0, 0] / 255))[0]
        hues.append((hue + 0.5) % 1 - 0.5)
    assert -0.11 < min(hues) < -0.08
    assert 0.08 < max(hues) < 0.11


def test_colours_are_changed_as_often_as_asked():
    options = STILL | {"jitter": (0.5, 0.5, 0.5, 0.1), "jitter_probability": 0.3}
    changed = [not np.array_equal(augment(square(), 64, rng(seed), **options), square()) for seed in range(200)]
    assert 35 < sum(changed) < 85


def test_rotation_turns_about_the_middle_by_no_more_than_its_angle():
    pixels = ramp(201, 201)
    angles = []
    for seed in range(100):
        view = augment(pixels, 201, rng(seed), **STILL, rotation=10.0).astype(float)
        assert np.abs(view[100, 100, :2] - 100).max() <= 1
        angles.append(
            np.degrees(np.arctan2(view[100, 150, 1] - view[100, 50, 1], view[100, 150, 0] - view[100, 50, 0]))
        )
    assert -10.6 < min(angles) < -8
    assert 8 < max(angles) < 10.6


def test_perspective_moves_corners_by_no_more_than_its_share():
    pixels = ramp(201, 201)
    moves = []
    for seed in range(50):
        view = augment(pixels, 201, rng(seed), area=(0.25, 0.25), aspect=(1.0, 1.0), flip=0.0, perspective=0.1)
        sides = view.astype(float)
        moves.append(sides[0, -1, 0] - sides[0, 0, 0])  # 100 without, each end moves by 10 at most
    assert 78 < min(moves) < 95
    assert 105 < max(moves) < 122
    # The square itself, were no corner moved, is what the plain crop gives.
    plain, warped = (augment(square(), 64, rng(), **STILL, rotation=angle) for angle in (0.0, 1e-9))
    assert np.abs(plain.astype(int) - warped).max() <= 1


def test_a_covered_rectangle_has_one_colour_and_a_bounded_area():
    black = np.zeros((100, 100, 3), np.uint8)
    shares = []
    for seed in range(100):
        view = augment(black, 100, rng(seed), **STILL, erase=1.0)
        covered = view.any(axis=2)
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        assert covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(np.unique(view[covered], axis=0)) == 1
        shares.append(covered.mean())
    assert 0.015 < min(shares) < 0.05
    assert 0.15 < max(shares) < 0.21


def test_validation_sees_the_largest_square_in_the_middle():
    assert np.array_equal(centre_crop(ramp(250, 50), 50), ramp(250, 50)[:, 100:150])
    assert np.array_equal(centre_crop(ramp(50, 250), 50), ramp(50, 250)[100:150])
    half = centre_crop(square(), 32).astype(float)
    assert np.abs(half - square().reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))).max() <= 1  # every pixel counts
    assert centre_crop(square(), 130).shape == (130, 130, 3)


@pytest.mark.parametrize("action", [lambda p, s: augment(p, s, rng()), centre_crop])
def test_what_is_no_photo_is_refused(action):
    for bad in (
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), "u1"),
    ):
        with pytest.raises(ShapeError, match="uint8"):
            action(bad, 8)
    with pytest.raises(ConfigError, match="positive"):
        action(square(), 0)


@pytest.mark.parametrize("options", [{"perspective": 0.5}, {"jitter": (0, 0, 0, 0.6)}])
def test_changes_that_are_too_large_are_refused(options):
    with pytest.raises(ConfigError, match="must lie in"):
        augment(square(), 8, rng(), **options)
