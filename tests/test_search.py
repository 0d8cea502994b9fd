import dataclasses

import cv2
import numpy as np
import pytest

from glocal.errors import ConfigError, ImageError, NothingToDo, SpecMismatch
from glocal.models.rootsift import RootSift
from glocal.photo_index import Index
from glocal.rerank.bands import Band
from glocal.search import MAX_CACHED_BYTES, Searcher
from glocal.store.collection import Collection
from tests.conftest import save, texture

VIEW = np.array([[0.85, 0.12, 30.0], [-0.08, 0.9, 40.0], [1.5e-4, 1e-4, 1.0]])


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Eight pictures, of which four show object 0 (one is an exact copy), and a query that shows it from aside."""
    folder = tmp_path_factory.mktemp("library")
    things = {seed: texture(seed, 480, 360) for seed in range(6)}
    for seed, pixels in things.items():
        save(folder / f"photos/thing{seed}/front.jpg", pixels, quality=92)
    turned = cv2.warpPerspective(things[0], VIEW, (560, 460), borderValue=(90, 100, 110))
    save(folder / "photos/thing0/aside.jpg", turned, quality=92)
    (folder / "photos/copy.jpg").write_bytes((folder / "photos/thing0/front.jpg").read_bytes())
    save(folder / "query.jpg", things[0][30:330, 40:440], quality=92)
    save(folder / "stranger.jpg", texture(77, 480, 360), quality=92)
    save(folder / "blank.png", np.full((300, 400, 3), 200, np.uint8))
    with Index.create(folder / "index") as index:
        index.add(folder / "photos", labels="folder")
    return folder


@pytest.fixture(scope="module")
def index(library):
    with Index.open(library / "index") as index:
        yield index


def test_the_views_of_the_object_come_first_and_in_the_first_band(library, index):
    result = index.search(library / "query.jpg")
    assert result.verdict == "match"
    same = result.band(Band.SAME)
    assert {hit.name for hit in same} == {"copy.jpg", "thing0/aside.jpg"}
    assert [hit.rank for hit in result] == list(range(1, 8))
    assert all(hit.probability > 0.9 and hit.inliers > 20 for hit in same)
    assert same[0].inliers >= same[1].inliers
    assert result.num_searched == 7


def test_exact_copies_are_one_hit_under_all_their_names(library, index):
    hit = next(hit for hit in index.search(library / "query.jpg") if hit.name == "copy.jpg")
    assert hit.copies == ("thing0/front.jpg",)
    assert hit.path.read_bytes() == (library / "photos/thing0/front.jpg").read_bytes()


def test_labels_are_the_names_of_folders(library, index):
    labels = {hit.name: hit.label for hit in index.search(library / "query.jpg")}
    assert labels["thing0/aside.jpg"] == "thing0"
    assert labels["copy.jpg"] is None


def test_the_homography_and_the_quad_are_those_of_the_view(library, index):
    hit = next(hit for hit in index.search(library / "query.jpg") if hit.name == "thing0/aside.jpg")
    crop = np.array([[1, 0, 40], [0, 1, 30], [0, 0, 1.0]])
    expected = VIEW @ crop
    where = np.array([[20.0, 20], [380, 20], [380, 280], [20, 280]]).reshape(-1, 1, 2)
    found = cv2.perspectiveTransform(where, hit.verification.homography)
    assert np.abs(found - cv2.perspectiveTransform(where, expected)).max() < 3
    assert hit.target_quad.shape == (4, 2)
    assert 0.3 < hit.verification.query_overlap <= 1
    assert 0.2 < hit.verification.target_overlap <= hit.verification.query_overlap


def test_a_box_searches_only_its_part_and_keeps_the_coordinates_of_the_whole(library, index):
    box = (200.0, 100.0, 180.0, 160.0)
    result = index.search(library / "query.jpg", box=box)
    hit = result[0]
    assert hit.band == Band.SAME
    assert result.query.box == (200, 100, 180, 160)
    points = hit.view.query_points[hit.view.mask]
    assert (points.min(axis=0) >= [199, 99]).all()
    assert (points.max(axis=0) <= [380, 260]).all()


def test_a_box_that_leaves_the_picture_is_clipped_with_a_warning(library, index):
    result = index.search(library / "query.jpg", box=(300, 40, 400, 520))
    assert "clipped to 300,40,100,260" in result.warnings[0]
    with pytest.raises(ConfigError, match="too small"):
        index.search(library / "query.jpg", box=(0, 0, 12, 9))


def test_nothing_found_is_an_answer(library, index):
    result = index.search(library / "stranger.jpg")
    assert result.verdict == "no_match"
    assert {hit.band for hit in result} == {Band.LOOK_ALIKE}


def test_a_query_without_detail_is_told_so_and_never_matches(library, index):
    result = index.search(library / "blank.png")
    assert "almost no detail" in result.warnings[0]
    assert result.verdict == "no_match"


def test_searching_twice_gives_the_same_answer(library, index):
    first, second = (index.search(library / "query.jpg") for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a.id, a.inliers, a.probability) == (b.id, b.inliers, b.probability)
        assert np.array_equal(a.verification.mask, b.verification.mask)


def test_the_answer_is_the_same_from_memory_and_from_disk(library, index, monkeypatch):
    expected = [(hit.id, hit.similarity) for hit in index.search(library / "query.jpg")]
    monkeypatch.setattr("glocal.search.searcher.MAX_CACHED_BYTES", 0)
    with Searcher(index.collection) as searcher:
        found = [(hit.id, hit.similarity) for hit in searcher.search(library / "query.jpg")]
    assert found == expected
    assert MAX_CACHED_BYTES > 0


def test_without_reranking_hits_are_ordered_by_similarity(library, index):
    result = index.search(library / "query.jpg", rerank="none")
    similarities = [hit.similarity for hit in result]
    assert similarities == sorted(similarities, reverse=True)
    assert all(hit.verification is None and hit.inliers == 0 for hit in result)
    with pytest.raises(ConfigError, match="not verified"):
        result[0].plot("x.png")


def test_topk_bounds_the_answer(library, index):
    assert len(index.search(library / "query.jpg", topk=2)) == 2
    with pytest.raises(ConfigError, match="at least 1"):
        index.search(library / "query.jpg", topk=0)


def test_a_hit_can_be_plotted(library, index, tmp_path):
    path = index.search(library / "query.jpg")[0].plot(tmp_path / "why.png")
    assert path.stat().st_size > 10_000


def test_unreadable_queries_are_explained(library, index, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ImageError, match=r"cannot read .*broken\.jpg — damaged"):
        index.search(tmp_path / "broken.jpg")
    with pytest.raises(ConfigError, match="No such picture"):
        index.search(tmp_path / "nowhere.jpg")
    with pytest.raises(ConfigError, match="is a folder"):
        index.search(tmp_path)
    with pytest.raises(ConfigError, match="Choose from"):
        index.search(library / "query.jpg", rerank="magic")


def test_an_empty_index_is_nothing_to_search(tmp_path, library):
    with Index.create(tmp_path / "empty") as empty, pytest.raises(NothingToDo, match="is empty"):
        empty.search(library / "query.jpg")


def test_descriptors_of_two_extractors_are_never_compared(tmp_path, library):
    spec = dataclasses.replace(RootSift().spec, weights="e" * 64)
    Collection.create(tmp_path / "other", spec).close()
    with Index.open(tmp_path / "other") as other, pytest.raises(SpecMismatch, match="weights: index 'eeeeeeeeeeee'"):
        other.search(library / "query.jpg")


def test_a_search_sees_pictures_that_were_added_since(library, tmp_path):
    with Index.create(tmp_path / "index") as index:
        save(tmp_path / "photos/a.jpg", texture(50, 480, 360))
        index.add(tmp_path / "photos")
        assert index.search(library / "query.jpg").verdict == "no_match"
        (tmp_path / "photos/b.jpg").write_bytes((library / "photos/copy.jpg").read_bytes())
        index.add(tmp_path / "photos")
        assert index.search(library / "query.jpg")[0].name == "b.jpg"


def test_two_photos_can_be_compared_without_an_index(library, index):
    same = index.searcher.explain(library / "query.jpg", library / "photos/thing0/aside.jpg")
    other = index.searcher.explain(library / "query.jpg", library / "stranger.jpg")
    assert (same.band, other.band) == (Band.SAME, Band.LOOK_ALIKE)
    assert same.verification.inliers > 20 > other.verification.inliers
