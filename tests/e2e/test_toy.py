"""The rendered toy collection through the command line, from pictures to reports."""

import functools
import json

import numpy as np
import pytest

from glocal.cli.main import main
from glocal.data.scenes import homography_between, render, write_demo
from glocal.models.rootsift import RootSift
from glocal.ops.homography import transfer
from glocal.photo_index import Index
from glocal.rerank.bands import Band
from glocal.rerank.geometric import verify_pair
from glocal.types import Photo

SCENES = ("bakery", "composition", "oats")
SIZE = (480, 360)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    return write_demo(folder, size=SIZE, scenes=SCENES)


def test_every_query_finds_its_scene_first_and_nothing_of_another_scene_as_the_same(toys):
    truth = json.loads(toys.ground_truth.read_text("utf-8"))
    assert len(truth["queries"]) >= 2
    with Index.create(toys.folder / "index") as index:
        report = index.add(toys.folder / "photos")
        assert report.indexed == len(truth["gallery"])
        assert report.skipped == 0
        for query in truth["queries"]:
            result = index.search(toys.folder / query["query"])
            relevant = {name.removeprefix("photos/") for name in query["relevant"]}
            found = {hit.name for hit in result.band(Band.SAME)}
            assert found <= relevant
            if relevant:
                assert result[0].name in relevant
                assert result[0].inliers > 0


def test_the_homography_found_between_two_views_is_the_one_they_were_rendered_with():
    model = RootSift()
    first, second = (render("composition", view, size=(640, 480)) for view in (0, 1))
    features = [model.detect(Photo(r.name, r.pixels, (640, 480))) for r in (first, second)]
    found = verify_pair(*features)
    assert found.inliers > 50
    plane = next(plane for plane in first.planes if plane.name == "painting")
    corners = plane.corners.astype(np.float64)
    inside = corners.mean(axis=0) + 0.8 * (corners - corners.mean(axis=0))
    expected = transfer(homography_between(first, second, "painting"), inside)
    assert np.abs(transfer(found.homography, inside) - expected).max() < 3


def test_the_demo_command_writes_a_report_for_every_query(toys, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("glocal.cli.demo.write_demo", functools.partial(write_demo, size=SIZE, scenes=SCENES))
    assert main(["demo", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    reports = sorted((tmp_path / "demo").glob("report-*.html"))
    assert len(reports) == len(toys.queries)
    assert all(str(report) in out for report in reports)
    assert "Open file://" in out
