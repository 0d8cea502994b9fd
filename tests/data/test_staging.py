"""Photos as facades of rendered scenes: known places, bounded chance."""

import cv2
import numpy as np
import pytest

from glocal.data import staging
from glocal.data.augment import augment
from glocal.data.staging import stage
from tests.conftest import texture

WHOLE = (0, 0, 320, 240)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("size", "crop"), [(48, WHOLE), (96, (40, 30, 200, 150)), (33, (5, 7, 20, 200))])
def test_a_view_is_a_square_of_bytes_with_known_places(size, crop, seed):
    view = stage(texture(1), crop, size, np.random.default_rng(seed))
    assert view.pixels.shape == (size, size, 3)
    assert view.pixels.dtype == np.uint8
    assert view.pixels.flags.c_contiguous
    assert view.where.shape == (size, size, 2)
    x, y, w, h = crop
    seen = view.where[view.visible]
    assert (seen >= (x - 0.5, y - 0.5)).all()
    assert (seen <= (x + w - 0.5, y + h - 0.5)).all()


def test_the_same_seed_gives_the_same_view_and_another_seed_another():
    first, again, other = (stage(texture(1), WHOLE, 64, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.where, again.where)
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("seed", range(6))
def test_pixels_show_the_places_that_are_told(monkeypatch, seed):
    """With the light and the weather switched off, the photo at the told places is what the picture shows."""
    monkeypatch.setattr(staging, "_light", lambda scene, rng: scene)
    monkeypatch.setattr(staging, "_weather", lambda scene, rng: scene)
    monkeypatch.setattr(staging, "_photograph", lambda scene, rng: np.clip(scene, 0, 255).astype(np.uint8))
    photo = cv2.GaussianBlur(texture(2), (0, 0), 3)
    view = stage(photo, (20, 10, 280, 220), 96, np.random.default_rng(seed))
    told = cv2.remap(photo, view.where[..., 0], view.where[..., 1], cv2.INTER_LINEAR)
    difference = np.abs(told.astype(int) - view.pixels.astype(int)).max(axis=2)
    assert view.visible.mean() > 0.1
    assert np.percentile(difference[view.visible], 97) <= 12  # the facade's own border is mirrored, the photo's is not


def test_views_of_many_seeds_differ_in_viewpoint_light_and_cover():
    views = [stage(texture(1), WHOLE, 48, np.random.default_rng(seed)) for seed in range(60)]
    brightness = [view.pixels.mean() for view in views]
    cover = [view.visible.mean() for view in views]
    assert np.std(brightness) > 15
    assert min(cover) < 0.8 < max(cover)
    shear = [abs(view.where[0, -1, 1] - view.where[0, 0, 1]) for view in views]
    assert max(shear) > 40


def test_training_views_are_staged_as_often_as_asked(monkeypatch):
    calls = []
    monkeypatch.setattr("glocal.data.augment.stage", lambda *given: calls.append(1) or stage(*given))
    for seed in range(40):
        augment(texture(1), 32, np.random.default_rng(seed), scene=0.5)
        augment(texture(1), 32, np.random.default_rng(seed), scene=0.0)
    assert 10 < len(calls) < 30
