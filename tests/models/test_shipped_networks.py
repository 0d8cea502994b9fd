"""The trained networks that come with the package: small, described, and of use on pictures they never saw."""

import numpy as np
import pytest

from glocal.data.scenes import render, scene_names
from glocal.extract.load import load, model_folder
from glocal.extract.turning import extract_turned
from glocal.models.catalogue import DEFAULT_NETWORK
from glocal.photo_index import Index
from glocal.rerank.bands import Band, Calibration
from glocal.rerank.geometric import verify_turns
from glocal.types import Photo
from tests.conftest import save

NETWORKS = ("delg_mobilenetv2", "dolg_mobilenetv2", "token_mobilenetv2", "glocal_mobilenetv2")
SIZE = (480, 360)


@pytest.fixture(scope="module")
def views():
    """Three rendered scenes, each from two places."""
    return {(scene, view): render(scene, view, size=SIZE).pixels for scene in scene_names()[:3] for view in (0, 1)}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_small_and_its_card_names_open_sources_alone(name):
    folder = model_folder(name)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 12_000_000
    card = (folder / "README.md").read_text("utf-8")
    sources = [line for line in card.splitlines() if line.startswith("- ") and "licence:" in line]
    assert len(sources) >= 5
    assert all("; open licence)" in line for line in sources)


@pytest.mark.parametrize("name", NETWORKS)
def test_two_views_of_a_scene_are_more_alike_than_two_scenes(name, views):
    network = load(name, "cpu")
    found = {key: network.extract(Photo(str(key), pixels, SIZE)) for key, pixels in views.items()}
    scenes = sorted({scene for scene, _ in views})
    similarity = np.array([[found[a, 0].descriptor @ found[b, 1].descriptor for b in scenes] for a in scenes])
    assert (similarity.argmax(axis=1) == np.arange(len(scenes))).all()
    if network.spec.local_dim:
        calibration = Calibration.load(name, network.spec.weights)
        assert calibration is not None
        first, second = scenes[:2]
        query = [way.local for way in extract_turned(network, Photo("q", views[first, 0], SIZE))]
        right, wrong = (
            verify_turns(query, found[s, 1].local, calibration.verification).inliers for s in (first, second)
        )
        assert right >= calibration.verification.least > wrong


def test_the_default_finds_a_scene_on_its_side_and_is_sure_of_it(views, tmp_path):
    for (scene, view), pixels in views.items():
        save(tmp_path / f"photos/{scene}-{view}.jpg", pixels, quality=92)
    scene = scene_names()[0]
    query = save(tmp_path / "query.jpg", np.rot90(views[scene, 0]).copy(), quality=92)
    with Index.create(tmp_path / "index", DEFAULT_NETWORK) as index:
        index.add(tmp_path / "photos")
        result = index.search(query)
    assert [hit.name for hit in result.band(Band.SAME)][:2] == [f"{scene}-0.jpg", f"{scene}-1.jpg"]
    assert {hit.verification.turn for hit in result[:2]} == {3}  # the query was turned once; three more make it upright
