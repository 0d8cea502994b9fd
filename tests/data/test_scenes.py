import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from glocal.data.scenes import (
    Rendered,
    distractor_names,
    homography_between,
    render,
    scene_names,
    write_demo,
)

SMALL = (320, 240)
TINY = (64, 48)
DEMO = ("bakery", "oats", "fruit", "tea")


def transform(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def inliers(a: Rendered, b: Rendered) -> int:
    sift = cv2.SIFT.create(1500)
    (ka, da), (kb, db) = (sift.detectAndCompute(cv2.cvtColor(p.pixels, cv2.COLOR_RGB2GRAY), None) for p in (a, b))
    pairs = cv2.BFMatcher().knnMatch(da, db, k=2)
    good = [m for m, n in pairs if m.distance < 0.8 * n.distance]
    # One to one: many keypoints on a single one would always agree on a degenerate homography.
    good = list({m.trainIdx: m for m in sorted(good, key=lambda m: -m.distance)}.values())
    if len(good) < 4:
        return 0
    source, target = np.array([ka[m.queryIdx].pt for m in good]), np.array([kb[m.trainIdx].pt for m in good])
    cv2.setRNGSeed(0)
    _, mask = cv2.findHomography(source, target, cv2.RANSAC, 4.0)
    return 0 if mask is None else int(mask.sum())


def test_the_same_arguments_give_the_same_bytes() -> None:
    first = render("oats", 1, size=TINY, seed=3)
    for scene in ("poster", "fruit", "composition"):  # must leave no trace, and push the first out of the cache
        render(scene, 0, size=TINY)
    second = render("oats", 1, size=TINY, seed=3)
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert first.conditions == second.conditions


def test_another_seed_shows_another_thing_in_a_group_of_its_own() -> None:
    first, second = render("composition", 0, size=SMALL), render("composition", 0, size=SMALL, seed=1)
    assert first.group != second.group
    assert np.abs(first.pixels.astype(int) - second.pixels).mean() > 10


@pytest.mark.parametrize("scene", [*scene_names(), *distractor_names()])
def test_every_scene_renders_with_finite_ground_truth(scene: str) -> None:
    # One view of each scene, so chosen that every tabulated view occurs.
    for view in (scene_names().index(scene) % 6 if scene in scene_names() else 0,):
        picture = render(scene, view, size=TINY)
        assert picture.pixels.shape == (48, 64, 3)
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.std() > 8, "an empty picture"
        assert picture.name == f"{scene}-{view:02d}"
        assert picture.group == (scene if scene in scene_names() else "")
        json.dumps(dict(picture.conditions))
        for plane in picture.planes:
            assert np.isfinite(plane.homography).all()
            assert 0 <= plane.visible <= 1
            square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
            assert np.allclose(transform(plane.homography, square), plane.corners, atol=1e-3)


def test_a_random_view_renders_too() -> None:
    picture = render("poster", 17, size=SMALL)
    assert picture.planes[0].name == "poster"


@pytest.mark.parametrize(("scene", "plane"), [("portrait", "painting"), ("poster", "poster"), ("atlas", "cover")])
def test_the_homography_between_two_views_aligns_their_pixels(scene: str, plane: str) -> None:
    a, b = render(scene, 0, size=SMALL), render(scene, 1, size=SMALL)
    matrix = homography_between(a, b, plane)
    corners = {p.name: p.corners for p in a.planes}[plane].astype(np.float64)
    assert np.allclose(transform(matrix, corners), {p.name: p.corners for p in b.planes}[plane], atol=1e-2)
    gray_a, gray_b = (cv2.cvtColor(p.pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (a, b))
    inside: NDArray[np.uint8] = np.zeros(gray_b.shape, np.uint8)
    cv2.fillConvexPoly(inside, np.round({p.name: p.corners for p in b.planes}[plane]).astype(np.int32), (1,))
    inside = np.asarray(cv2.erode(inside, np.ones((7, 7), np.uint8)), np.uint8)

    def correlation(offset: float) -> float:
        shift = np.array([[1.0, 0.0, offset], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        warped = cv2.warpPerspective(gray_a, shift @ matrix, SMALL)
        return float(np.corrcoef(warped[inside > 0], gray_b[inside > 0])[0, 1])

    assert correlation(0.0) > 0.75
    # A shift of three pixels either way must be worse: the alignment is exact, not merely rough.
    assert correlation(0.0) > max(correlation(-3.0), correlation(3.0)) + 0.02


def test_views_of_one_group_match_and_other_groups_do_not() -> None:
    bakery = [render("bakery", view, size=SMALL) for view in (0, 1)]
    hills = render("hills", 0, size=SMALL)
    assert inliers(*bakery) >= 25
    assert inliers(bakery[0], hills) < 12


def test_pictures_of_different_things_have_no_homography() -> None:
    a, b = render("poster", 0, size=TINY), render("oats", 0, size=TINY)
    with pytest.raises(ValueError, match="show different things"):
        homography_between(a, b, "poster")
    with pytest.raises(ValueError, match="has no plane 'sign'"):
        homography_between(a, a, "sign")


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="no scene is called 'castle'"):
        render("castle", 0)
    with pytest.raises(ValueError, match="view -1"):
        render("oats", -1)


def test_the_demo_can_be_resumed_and_its_ground_truth_names_existing_files(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    demo = write_demo(tmp_path, size=TINY, scenes=DEMO, progress=lambda done, total: calls.append((done, total)))
    truth = json.loads(demo.ground_truth.read_text(encoding="utf-8"))
    assert truth["gallery"] == list(demo.gallery)
    assert all((tmp_path / path).is_file() for path in (*demo.gallery, *demo.queries))
    assert all(path in truth["gallery"] for query in truth["queries"] for path in query["relevant"])
    assert [query["relevant"] for query in truth["queries"]].count([]) == 1, "one query shows what no photo shows"
    assert calls[-1] == (len(demo.gallery) + len(demo.queries),) * 2
    contents = [(tmp_path / path).read_bytes() for path in demo.gallery]
    assert len(contents) - len(set(contents)) == 1, "exactly one copy"

    lost, kept = tmp_path / demo.gallery[0], tmp_path / demo.gallery[1]
    before = lost.read_bytes()
    lost.unlink()
    kept.write_bytes(b"mine")
    write_demo(tmp_path, size=TINY, scenes=DEMO)
    assert lost.read_bytes() == before
    assert kept.read_bytes() == b"mine"
    assert not list(tmp_path.rglob("*.part"))
