import numpy as np
import pytest

from glocal.errors import ConfigError, ShapeError
from glocal.extract.local import LevelMaps, select_local
from glocal.models.preprocessing import SEVEN_SCALES, LocalSelection

PICTURE = (128, 96)


def level(scale=1.0, height=6, width=8, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    return LevelMaps(
        scale,
        rng.integers(1, 50, (height, width)).astype(np.float32),
        rng.normal(size=(dim, height, width)).astype(np.float32),
    )


def peak(scale, row, column, height=6, width=8):
    """A level whose attention is 9 in one cell and 0 elsewhere."""
    attention = np.zeros((height, width), np.float32)
    attention[row, column] = 9
    return LevelMaps(scale, attention, np.ones((4, height, width), np.float32))


def select(levels, resized=PICTURE, size=PICTURE, level_rule="size", **fields):
    return select_local(levels, LocalSelection(**fields), "photo", resized, size, level_rule)


def test_a_keypoint_is_the_published_centre_in_pixels_of_the_original():
    found = select([peak(0.5, 2, 3)], resized=(128, 96), size=(256, 384), threshold=1.0)
    assert found.keypoints.tolist() == [[3 * 16 / 0.5 * 2, 2 * 16 / 0.5 * 4]]
    assert found.scores.tolist() == [9]
    assert found.descriptors.tolist() == [[0.5] * 4]
    assert np.allclose(found.scales, 291 / 0.5 * np.sqrt(2 * 4))
    assert (found.id, found.size) == ("photo", (256, 384))


def test_the_half_pixel_formula_maps_centres_of_pixels_to_centres_of_pixels():
    found = select([peak(0.5, 2, 3)], resized=(128, 96), size=(256, 192), threshold=1.0, half_pixel=True)
    assert found.keypoints.tolist() == [[(3 * 16 + 0.5) * 4 - 0.5, (2 * 16 + 0.5) * 4 - 0.5]]


@pytest.mark.parametrize(("rule", "factor"), [("size", 66 / 131), ("factor", 0.5)])
def test_the_half_pixel_formula_knows_the_real_sides_of_a_level(rule, factor):
    found = select([peak(0.5, 0, 4)], (131, 131), (131, 131), rule, threshold=1.0, half_pixel=True)
    assert np.allclose(found.keypoints, [[64.5 / factor - 0.5, 0.5 / factor - 0.5]])


def test_both_formulas_agree_where_nothing_is_resized():
    published, corrected = (select([level()], half_pixel=half) for half in (False, True))
    assert np.allclose(published.keypoints, corrected.keypoints)


def test_features_come_best_first_and_equal_scores_in_the_order_of_level_row_and_column():
    levels = [LevelMaps(s, np.ones((2, 3), np.float32), np.ones((1, 2, 3), np.float32)) for s in (0.5, 1.0)]
    levels[1].attention[1, 2] = 2
    found = select(levels)
    assert found.scores.tolist() == [2] + [1] * 11
    grid = [[x, y] for y in (0, 16) for x in (0, 16, 32)]
    assert found.keypoints.tolist() == [[32, 16]] + [[2 * x, 2 * y] for x, y in grid] + grid[:-1]


def test_the_fixed_threshold_keeps_what_equals_it():
    maps = LevelMaps(1.0, np.array([[1, 2, 3]], np.float32), np.ones((2, 1, 3), np.float32))
    assert select([maps], threshold=2.0).scores.tolist() == [3, 2]


def test_the_halving_threshold_drops_what_equals_its_last_value():
    scores = np.array([[0.125, 0.126, 300]], np.float32)
    maps = LevelMaps(1.0, scores, np.ones((2, 1, 3), np.float32))
    found = select([maps], threshold=256.0, threshold_rule="halving")
    assert found.scores.tolist() == [300, np.float32(0.126)]


def test_the_halving_threshold_stops_once_a_thousand_cells_pass():
    scores = np.concatenate([np.full(1000, 300), np.full(400, 200)]).astype(np.float32).reshape(35, 40)
    maps = LevelMaps(1.0, scores, np.ones((2, 35, 40), np.float32))
    found = select([maps], threshold=260.0, threshold_rule="halving", max_features=1400)
    assert len(found) == 1000


def test_at_most_the_wanted_number_is_chosen():
    assert len(select([level()], max_features=7)) == 7
    assert len(select([level()], max_features=1)) == 1


def test_neighbours_that_overlap_are_dropped():
    found = select([level()], iou=0.3, receptive_field=33, padding=16)  # neighbours: 1/3
    gaps = np.abs(found.keypoints[:, None] - found.keypoints[None]).max(axis=2)[~np.eye(len(found), dtype=bool)]
    assert 1 < len(found) < 48
    assert gaps.min() >= 16
    assert len(select([level()], iou=0.34, receptive_field=33, padding=16)) == 48
    assert found.scores[0] == level().attention.max()


def test_bug_compat_repeats_the_first_candidate():
    fields = {"threshold": 16.0, "threshold_rule": "halving", "iou": 0.2}
    fixed, repeated = (select([level()], **fields, bug_compat=bug) for bug in (False, True))
    assert len(repeated) == 48 > len(fixed)
    first = repeated.keypoints[(repeated.keypoints == 0).all(axis=1)]
    assert len(first) >= 48 - len(fixed)


@pytest.mark.parametrize("rule", ["fixed", "halving"])
@pytest.mark.parametrize("iou", [0.5, 1.0])
@pytest.mark.parametrize("bug_compat", [False, True])
def test_no_cell_above_the_threshold_gives_no_feature(rule, iou, bug_compat):
    quiet = LevelMaps(1.0, np.zeros((3, 4), np.float32), np.ones((5, 3, 4), np.float32))
    found = select([quiet], threshold=8.0, threshold_rule=rule, iou=iou, bug_compat=bug_compat)
    assert len(found) == 0
    assert found.keypoints.shape == (0, 2)
    assert found.descriptors.shape == (0, 5)
    assert found.scores.shape == found.scales.shape == (0,)
    assert {array.dtype for array in (found.keypoints, found.descriptors, found.scores, found.scales)} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize("half_pixel", [False, True])
def test_levels_of_one_cell_and_pictures_of_one_pixel_work(half_pixel):
    levels = [level(scale, 1, 1, seed=i) for i, scale in enumerate(SEVEN_SCALES)]
    found = select(levels, (1, 1), (1, 1), half_pixel=half_pixel)
    assert len(found) == 7
    assert np.isfinite(found.keypoints).all()


def test_values_that_are_not_finite_and_descriptors_of_zero_never_come_out():
    maps = level()
    maps.attention[0, :3] = np.nan, np.inf, -np.inf
    maps.descriptors[:, 1, 0] = 0
    maps.descriptors[2, 1, 1] = np.nan
    maps.descriptors[2, 1, 2] = 1e38
    found = select([maps])
    assert len(found) == 48 - 5
    for array in (found.keypoints, found.descriptors, found.scores, found.scales):
        assert np.isfinite(array).all()


def test_maps_that_do_not_fit_together_are_refused():
    with pytest.raises(ShapeError, match="local descriptors"):
        LevelMaps(1.0, np.zeros((2, 3), np.float32), np.zeros((4, 3, 2), np.float32))
    with pytest.raises(ShapeError, match="attention"):
        LevelMaps(1.0, np.zeros((1, 2, 3), np.float32), np.zeros((4, 2, 3), np.float32))
    with pytest.raises(ConfigError, match="scale"):
        LevelMaps(0.0, np.zeros((2, 3), np.float32), np.zeros((4, 2, 3), np.float32))
    with pytest.raises(ShapeError, match="local descriptors"):
        select([level(dim=4), level(dim=5)])
    with pytest.raises(ShapeError, match="no level"):
        select([])
