import numpy as np
import pytest

from glocal.errors import ConfigError, ShapeError
from glocal.ops.receptive_field import box_centres, level_size, receptive_boxes

CELLS = np.array([[0, 0], [1, 0], [0, 2]])


def test_the_first_cell_of_delg_is_centred_on_the_first_pixel():
    boxes = receptive_boxes(CELLS, 16, 291, 145, 1.0)
    assert boxes.tolist() == [[-145, -145, 145, 145], [-129, -145, 161, 145], [-145, -113, 145, 177]]
    assert box_centres(boxes).tolist() == [[0, 0], [16, 0], [0, 32]]


@pytest.mark.parametrize("scale", [0.25, 0.70710677, 2.0])
def test_boxes_are_divided_by_the_scale(scale):
    centres = box_centres(receptive_boxes(CELLS, 32, 291, 145, scale))
    assert centres.dtype == np.float32
    assert np.allclose(centres, CELLS * 32 / scale, rtol=1e-6, atol=1e-4)


def test_uneven_padding_moves_the_centre():
    assert box_centres(receptive_boxes(CELLS[:1], 16, 100, 10, 1.0)).tolist() == [[39.5, 39.5]]


def test_no_cell_gives_no_box():
    boxes = receptive_boxes(np.zeros((0, 2), np.int64), 16, 291, 145, 1.0)
    assert boxes.shape == (0, 4)
    assert box_centres(boxes).shape == (0, 2)


@pytest.mark.parametrize(
    ("rule", "size", "scale", "expected"),
    [
        ("size", (131, 97), 0.5, (66, 48)),  # 65.5 and 48.5: half to even
        ("size", (160, 224), 1.4142135, (226, 317)),
        ("factor", (131, 97), 0.5, (65, 48)),
        ("factor", (96, 128), 2**0.5, (135, 181)),
        ("size", (1, 3), 0.25, (1, 1)),
        ("factor", (1, 3), 0.25, (1, 1)),
    ],
)
def test_sides_of_a_level_are_rounded_or_floored_and_never_zero(rule, size, scale, expected):
    assert level_size(size, scale, rule) == expected


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_makes_no_sense_is_refused(scale):
    with pytest.raises(ConfigError, match="scale"):
        level_size((10, 10), scale, "size")


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match="size or factor"):
        level_size((10, 10), 1.0, "ratio")


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError):
        receptive_boxes(np.zeros((3, 3), np.int64), 16, 291, 145, 1.0)
    with pytest.raises(ShapeError):
        box_centres(np.zeros((3, 2), np.float32))
