"""Pictures of a match show what the numbers say, at the right places."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from glocal.errors import ConfigError, ShapeError
from glocal.ops.homography import transfer
from glocal.pictures.matches import (
    BLINK_MS,
    GROUND,
    MAX_LINES,
    MatchView,
    blink_gif,
    draw_box,
    draw_matches,
    draw_quad,
    encode_jpeg,
    register,
    save_picture,
)
from glocal.types import Pixels

TURN = np.array([[0.9, -0.3, 60.0], [0.3, 0.9, 10.0], [0.0002, 0.0, 1.0]])
GREY = 90


def plain(width: int, height: int, level: int = GREY) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


def scene(width: int, height: int) -> Pixels:
    rng = np.random.default_rng(7)
    noise = rng.uniform(0, 255, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def view_of(
    query_size: tuple[int, int],
    target_size: tuple[int, int],
    homography: NDArray[np.float64] | None = TURN,
    count: int = 12,
    wrong: int = 0,
) -> MatchView:
    rng = np.random.default_rng(count)
    low, high = np.array(query_size) * 0.25, np.array(query_size) * 0.75
    points = rng.uniform(low, high, (count + wrong, 2)).astype(np.float32)
    mask = np.arange(count + wrong) < count
    if homography is None:
        return MatchView(query_size, target_size, points, points, np.zeros_like(mask), None, None, None)
    partners = transfer(homography, points).astype(np.float32)
    partners[count:] = rng.uniform((0, 0), target_size, (wrong, 2))
    quad = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    return MatchView(query_size, target_size, points, partners, mask, homography, quad, transfer(homography, quad))


def blobs(picture: Pixels, ground: Pixels) -> NDArray[np.bool_]:
    """Where something colourful was drawn on a grey photo."""
    spread = picture.max(axis=2).astype(int) - picture.min(axis=2)
    return (spread > 60) & (np.abs(picture.astype(int) - ground).max(axis=2) > 30)


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
    nothing = MatchView(
        size, size, np.empty((0, 2), np.float32), np.empty((0, 2), np.float32), np.zeros(0, np.bool_), None, None, None
    )
    for view in (nothing, view_of(size, size, None)):
        picture = draw_matches(photo, photo, view, width=800)
        middle = picture[100:300, 350:450]
        assert (middle > 200).all(axis=2).any(), "no words between the photos"
        assert not blobs(picture[60:320], np.full_like(picture[60:320], GREY)).any(), "lines without a match"
        assert register(photo, photo, view) is None
        assert (draw_quad(photo, view) == photo).all()


def test_reduced_pixels_give_the_picture_of_the_originals() -> None:
    size = (1600, 1200)
    view = view_of(size, size)
    query, target = scene(*size), cv2.warpPerspective(scene(*size), TURN, size).astype(np.uint8)
    small = [cv2.resize(pixels, (400, 300), interpolation=cv2.INTER_AREA) for pixels in (query, target)]
    large_picture = draw_matches(query, target, view, width=600)
    small_picture = draw_matches(small[0].astype(np.uint8), small[1].astype(np.uint8), view, width=600)
    assert large_picture.shape == small_picture.shape
    assert np.abs(large_picture.astype(int) - small_picture).mean() < 4


def test_inputs_are_never_changed() -> None:
    size = (400, 300)
    view = view_of(size, size)
    query, target = scene(*size), scene(*size)
    before = query.copy()
    draw_matches(query, target, view, outliers=True)
    draw_quad(target, view)
    draw_box(query, (10, 10, 50, 50), size)
    register(query, target, view)
    assert (query == before).all()
    assert (target == before).all()


def test_the_matched_area_is_outlined_and_the_rest_is_darker() -> None:
    size = (400, 300)
    view = view_of(size, size, np.eye(3))
    picture = draw_quad(plain(200, 150, 200), view)
    assert (picture[75, 100] == 200).all()
    assert (picture[5, 5] < 150).all()
    red, green, _ = picture[75, 50].astype(int)  # a quarter of the width: the quad's left side
    assert green > red + 60


def test_a_quad_that_reaches_far_outside_is_drawn_without_overflow() -> None:
    size = (400, 300)
    view = view_of(size, size, np.eye(3))
    wild = np.array([[-1e12, 10], [1e12, 10], [1e12, 200], [-1e12, 200]])
    endless = np.array([[np.inf, 10], [20, 10], [20, 20], [10, 20]])
    for quad in (wild, endless):
        odd = MatchView(
            size, size, view.query_points, view.target_points, view.mask, view.homography, view.query_quad, quad
        )
        assert draw_quad(plain(*size), odd).shape == (300, 400, 3)
        assert draw_matches(plain(*size), plain(*size), odd).shape[1] == 1600
        register(plain(*size), plain(*size), odd)


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


def test_a_box_of_any_place_and_size_can_be_drawn() -> None:
    for box in ((0, 0, 400, 300), (-50, -50, 1000, 1000), (350, 250, 100, 100), (10, 10, 1, 1)):
        picture = draw_box(plain(200, 150), box, (400, 300))
        assert picture.shape == (150, 200, 3)
        assert (picture > 240).all(axis=2).any(), f"box {box} cannot be seen"


def test_titles_in_any_script_are_drawn() -> None:
    size = (400, 300)
    view = view_of(size, size)
    for title in ("Café 東京", "a\ud800b", "\x1b[31m" * 100, "x" * 5000, "\u202egpj.exe"):
        assert draw_matches(plain(*size), plain(*size), view, width=400, title=title).shape[1] == 400


def test_a_blink_is_slower_than_three_flashes_a_second() -> None:
    gif = Image.open(io.BytesIO(blink_gif((scene(1000, 500), plain(1000, 500)))))
    assert gif.n_frames == 2
    assert gif.info["duration"] == BLINK_MS
    assert 1000 / (2 * BLINK_MS) < 3
    assert gif.size == (640, 320)


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


def test_a_view_with_unequal_lengths_is_refused() -> None:
    with pytest.raises(ShapeError, match="match points"):
        MatchView(
            (9, 9),
            (9, 9),
            np.zeros((2, 2), np.float32),
            np.zeros((3, 2), np.float32),
            np.ones(2, np.bool_),
            None,
            None,
            None,
        )
