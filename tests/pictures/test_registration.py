"""Two photos of one thing are brought to one viewpoint."""

from __future__ import annotations

import dataclasses
import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from glocal.pictures.registration import BLINK_MS, blink_gif, register
from glocal.pictures.view import MatchView
from tests.pictures.samples import TURN, WILD_QUADS, plain, scene, view_of


@pytest.mark.parametrize("reduction", [(1, 1), (2, 1), (1, 3)])
def test_a_warped_picture_registers_with_its_source(reduction: tuple[int, int]) -> None:
    size = (640, 480)
    query = scene(*size)
    target = cv2.warpPerspective(query, TURN, size).astype(np.uint8)
    view = view_of(size, size)
    shown = [
        cv2.resize(pixels, (640 // by, 480 // by), interpolation=cv2.INTER_AREA).astype(np.uint8)
        for pixels, by in zip((query, target), reduction, strict=True)
    ]
    pair = register(shown[0], shown[1], view)
    assert pair is not None
    warped, here = pair
    assert warped.shape == here.shape
    middle = np.s_[warped.shape[0] // 3 : -warped.shape[0] // 3, warped.shape[1] // 3 : -warped.shape[1] // 3]
    aligned = np.abs(warped[middle].astype(int) - here[middle]).mean()
    shifted = np.abs(np.roll(warped, 8, axis=1)[middle].astype(int) - here[middle]).mean()
    assert aligned < 12
    assert shifted > 2 * aligned


def test_outside_the_query_the_target_itself_is_shown() -> None:
    query, target = plain(100, 100, 10), plain(400, 400, 200)
    shift = np.array([[1.0, 0, 150], [0, 1, 150], [0, 0, 1]])
    corners = np.array([[0.0, 0], [99, 0], [99, 99], [0, 99]])
    none = np.empty((0, 2), np.float32)
    view = MatchView((100, 100), (400, 400), none, none, np.zeros(0, np.bool_), shift, corners, corners + 150)
    pair = register(query, target, view)
    assert pair is not None
    assert (pair[0][0, 0] == 200).all()
    centre = pair[0].shape[0] // 2
    assert (pair[0][centre, centre] == 10).all()


def test_a_match_outside_the_target_or_without_extent_is_not_registered() -> None:
    size = (100, 100)
    none = np.empty((0, 2), np.float32)
    quad = np.array([[0.0, 0], [99, 0], [99, 99], [0, 99]])
    away = MatchView(size, size, none, none, np.zeros(0, np.bool_), np.eye(3), quad, quad + 500)
    flat = MatchView(size, size, none, none, np.zeros(0, np.bool_), np.zeros((3, 3)), quad, quad)
    broken = MatchView(size, size, none, none, np.zeros(0, np.bool_), np.full((3, 3), np.nan), quad, quad)
    for view in (away, flat, broken):
        assert register(plain(*size), plain(*size), view) is None


@pytest.mark.parametrize("count", [0, 12])
def test_photos_without_a_homography_are_not_registered(count: int) -> None:
    size = (400, 300)
    assert register(plain(*size), plain(*size), view_of(size, size, None, count)) is None


@pytest.mark.parametrize("quad", WILD_QUADS)
def test_a_quad_that_reaches_far_outside_breaks_nothing(quad: NDArray[np.float64]) -> None:
    size = (400, 300)
    view = dataclasses.replace(view_of(size, size, np.eye(3)), target_quad=quad)
    pair = register(plain(*size), plain(*size), view)
    assert pair is None or pair[0].shape == pair[1].shape


def test_registration_changes_no_photo() -> None:
    size = (400, 300)
    query, target = scene(*size), scene(*size)
    register(query, target, view_of(size, size))
    assert (query == scene(*size)).all()
    assert (target == scene(*size)).all()


def test_a_blink_is_slower_than_three_flashes_a_second() -> None:
    gif = Image.open(io.BytesIO(blink_gif((scene(1000, 500), plain(1000, 500)))))
    assert gif.n_frames == 2
    assert gif.info["duration"] == BLINK_MS
    assert 1000 / (2 * BLINK_MS) < 3
    assert gif.size == (640, 320)
