"""The picture of a match shows what the numbers say, at the right places."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from glocal.pictures.colours import GROUND
from glocal.pictures.lines import MAX_LINES
from glocal.pictures.matches import draw_matches
from glocal.pictures.view import MatchView
from tests.pictures.samples import GREY, TURN, WILD_QUADS, blobs, plain, scene, view_of


def test_a_line_ends_where_the_points_are() -> None:
    size = (780, 500)
    points = np.array([[100.0, 120.0]], np.float32)
    partners = np.array([[600.0, 400.0]], np.float32)
    shift = np.array([[1.0, 0, 500], [0, 1, 280], [0, 0, 1]])
    view = MatchView(size, size, points, partners, np.ones(1, np.bool_), shift, None, None)
    picture = draw_matches(plain(*size), plain(*size), view)
    drawn = blobs(picture, np.full_like(picture, GREY))
    # Photos fill the width: three margins of 24, two photos of 764 at 764 / 780 of their size.
    left, right = 24, 24 + 764 + 24
    top = int(np.flatnonzero((picture[:, left + 2] == GREY).all(axis=1))[0])
    scale = 764 / 780
    for x0, (x, y) in ((left, points[0]), (right, partners[0])):
        column, row = round(x0 + (x + 0.5) * scale - 0.5), round(top + (y + 0.5) * scale - 0.5)
        assert drawn[row, column]
    start = np.array([left + 100 * scale, top + 120 * scale])
    end = np.array([right + 600 * scale, top + 400 * scale])
    middle = (start * 0.75 + end * 0.25).round().astype(int)
    assert drawn[middle[1] - 1 : middle[1] + 2, middle[0]].any()
    inside = drawn[top : top + 480]
    assert not inside[:, : left + round(95 * scale) - 6].any()


def test_exact_matches_are_yellow_and_inexact_ones_blue() -> None:
    size = (400, 300)
    points = np.array([[100, 60], [100, 220]], np.float32)
    partners = points + np.array([[0, 0], [6, 0]], np.float32)
    view = MatchView(size, size, points, partners, np.ones(2, np.bool_), np.eye(3), None, None)
    picture = draw_matches(plain(*size), plain(*size), view, width=872)
    colourful = np.argwhere(blobs(picture, np.full_like(picture, GREY)))
    colourful = colourful[(colourful[:, 0] > 40) & (colourful[:, 0] < 320) & (colourful[:, 1] < 420)]
    upper, lower = colourful[colourful[:, 0] < 150], colourful[colourful[:, 0] > 150]
    yellow, blue = picture[tuple(upper.T)].mean(axis=0), picture[tuple(lower.T)].mean(axis=0)
    assert yellow[0] > yellow[2] + 60
    assert blue[2] > blue[0] + 30


def test_outliers_are_drawn_only_on_request() -> None:
    size = (400, 300)
    view = view_of(size, size, wrong=30)
    photo = plain(*size)
    without, with_them = draw_matches(photo, photo, view), draw_matches(photo, photo, view, outliers=True)
    height = min(len(without), len(with_them)) - 120
    assert (without[:height] != with_them[:height]).any(axis=2).sum() > 1000


def test_hundreds_of_matches_leave_the_photos_visible() -> None:
    size = (800, 600)
    view = view_of(size, size, np.eye(3), count=900)
    assert len(view.mask) > MAX_LINES
    picture = draw_matches(plain(*size), plain(*size), view)
    untouched = (picture == GREY).all(axis=2)
    assert untouched.sum() > 0.6 * 2 * 764 * 573


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ((300, 400), (400, 300)),
        ((400, 300), (300, 400)),
        ((2000, 100), (100, 2000)),
        ((1, 3000), (50, 50)),
        ((9, 9), (9, 9)),
    ],
)
@pytest.mark.parametrize("width", [320, 1000])
def test_any_two_orientations_fit_side_by_side(query: tuple[int, int], target: tuple[int, int], width: int) -> None:
    stretch = np.diag([target[0] / query[0], target[1] / query[1], 1.0])
    view = view_of(query, target, stretch)
    photos = plain(*query, 200), plain(*target, 200)
    picture = draw_matches(*photos, view, width=width, outliers=True, title="two photos")
    assert picture.shape[1] == width
    assert picture.dtype == np.uint8
    assert (picture[:, -2:] == GROUND).all(), "a photo or quad runs over the border"
    assert picture.shape[0] < 1.2 * width + 200


def test_without_any_match_the_picture_says_so() -> None:
    size = (400, 300)
    photo = plain(*size)
    for view in (view_of(size, size, None, count=0), view_of(size, size, None)):
        picture = draw_matches(photo, photo, view, width=800)
        middle = picture[100:300, 350:450]
        assert (middle > 200).all(axis=2).any(), "no words between the photos"
        assert not blobs(picture[60:320], np.full_like(picture[60:320], GREY)).any(), "lines without a match"


def test_reduced_pixels_give_the_picture_of_the_originals() -> None:
    size = (1600, 1200)
    view = view_of(size, size)
    query, target = scene(*size), cv2.warpPerspective(scene(*size), TURN, size).astype(np.uint8)
    small = [cv2.resize(pixels, (400, 300), interpolation=cv2.INTER_AREA) for pixels in (query, target)]
    large_picture = draw_matches(query, target, view, width=600)
    small_picture = draw_matches(small[0].astype(np.uint8), small[1].astype(np.uint8), view, width=600)
    assert large_picture.shape == small_picture.shape
    assert np.abs(large_picture.astype(int) - small_picture).mean() < 4


def test_drawing_matches_changes_no_photo() -> None:
    size = (400, 300)
    query, target = scene(*size), scene(*size)
    draw_matches(query, target, view_of(size, size), outliers=True)
    assert (query == scene(*size)).all()
    assert (target == scene(*size)).all()


@pytest.mark.parametrize("quad", WILD_QUADS)
def test_a_quad_that_reaches_far_outside_is_drawn_without_overflow(quad: NDArray[np.float64]) -> None:
    size = (400, 300)
    view = dataclasses.replace(view_of(size, size, np.eye(3)), target_quad=quad)
    assert draw_matches(plain(*size), plain(*size), view).shape[1] == 1600


def test_titles_in_any_script_are_drawn() -> None:
    size = (400, 300)
    view = view_of(size, size)
    for title in ("Café 東京", "a\ud800b", "\x1b[31m" * 100, "x" * 5000, "\u202egpj.exe"):
        assert draw_matches(plain(*size), plain(*size), view, width=400, title=title).shape[1] == 400
