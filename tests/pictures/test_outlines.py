"""The matched area and the box can be seen, wherever they lie."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from glocal.pictures.outlines import draw_box, draw_quad
from tests.pictures.samples import WILD_QUADS, plain, scene, view_of


def test_the_matched_area_is_outlined_and_the_rest_is_darker() -> None:
    size = (400, 300)
    view = view_of(size, size, np.eye(3))
    picture = draw_quad(plain(200, 150, 200), view)
    assert (picture[75, 100] == 200).all()
    assert (picture[5, 5] < 150).all()
    red, green, _ = picture[75, 50].astype(int)  # a quarter of the width: the quad's left side
    assert green > red + 60


def test_without_a_matched_area_the_photo_stays_as_it_is() -> None:
    photo = scene(400, 300)
    assert (draw_quad(photo, view_of((400, 300), (400, 300), None)) == photo).all()


@pytest.mark.parametrize("quad", WILD_QUADS)
def test_a_quad_that_reaches_far_outside_is_outlined_without_overflow(quad: NDArray[np.float64]) -> None:
    size = (400, 300)
    view = dataclasses.replace(view_of(size, size, np.eye(3)), target_quad=quad)
    assert draw_quad(plain(*size), view).shape == (300, 400, 3)


def test_a_box_of_any_place_and_size_can_be_drawn() -> None:
    for box in ((0, 0, 400, 300), (-50, -50, 1000, 1000), (350, 250, 100, 100), (10, 10, 1, 1)):
        picture = draw_box(plain(200, 150), box, (400, 300))
        assert picture.shape == (150, 200, 3)
        assert (picture > 240).all(axis=2).any(), f"box {box} cannot be seen"


def test_outlining_changes_no_photo() -> None:
    size = (400, 300)
    photo = scene(*size)
    draw_quad(photo, view_of(size, size))
    draw_box(photo, (10, 10, 50, 50), size)
    assert (photo == scene(*size)).all()
