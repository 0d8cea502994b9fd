import os
import sys

import cv2
import numpy as np
import pytest

import glocal
from glocal.candidates import Candidates, RerankResult, rerank
from glocal.errors import ConfigError, ImageError, NothingToDo, SpecMismatch
from glocal.extract.pool import WorkerPool
from glocal.photo_index import Index
from glocal.rerank.bands import Band
from glocal.rerank.geometric import DEFAULTS
from glocal.store.collection import Collection
from tests.conftest import save, texture
from tests.fakes import FakeNetwork

VIEW = np.array([[0.85, 0.12, 30.0], [-0.08, 0.9, 40.0], [1.5e-4, 1e-4, 1.0]])


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Six different pictures; a view from aside of number 2 and an exact copy of it; a query that shows it."""
    folder = tmp_path_factory.mktemp("library")
    things = [texture(seed, 360, 270) for seed in range(6)]
    for seed, pixels in enumerate(things):
        save(folder / f"photos/thing{seed}/front.jpg", pixels, quality=92)
    turned = cv2.warpPerspective(things[2], VIEW, (420, 350), borderValue=(90, 100, 110))
    save(folder / "photos/thing2/aside.jpg", turned, quality=92)
    (folder / "photos/copy.jpg").write_bytes((folder / "photos/thing2/front.jpg").read_bytes())
    (folder / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    save(folder / "query.jpg", things[2][20:250, 20:330], quality=92)
    with Index.create(folder / "index") as index:
        index.add(folder / "photos", labels="folder")
    return folder


@pytest.fixture(scope="module")
def features(library):
    """Where the candidates' features are kept; filled by whoever asks first."""
    return library / "features"


def files_of(library):
    return sorted((library / "photos").rglob("*.jpg"))


def assert_same(found, expected):
    """Hits agree in all but the names that they were given, and the last digits of a product."""
    assert [(hit.id, hit.rank, hit.inliers, hit.band) for hit in found] == [
        (hit.id, hit.rank, hit.inliers, hit.band) for hit in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert one.similarity == pytest.approx(other.similarity, abs=1e-5)
        assert np.array_equal(one.verification.matches, other.verification.matches)


def test_files_come_in_the_order_and_with_the_proof_of_a_search(library, features):
    found = rerank(library / "query.jpg", files_of(library), features=features)
    with Index.open(library / "index") as index:
        expected = index.search(library / "query.jpg")
    assert_same(found, expected)
    assert [os.path.relpath(hit.name, library / "photos") for hit in found] == [hit.name for hit in expected]
    assert (found.verdict, found.num_searched, found.judged) == ("match", 7, True)
    assert found.num_selected == 7
    assert {hit.path.name for hit in found.band(Band.SAME)} == {"copy.jpg", "aside.jpg"}
    for hit in found.band(Band.SAME):
        assert hit.view.query_size == (310, 230)
        assert hit.target_quad.shape == (4, 2)
    assert found[0].plot(library / "why.png").stat().st_size > 10_000


def test_photos_of_an_index_are_reranked_without_reading_any(library, monkeypatch):
    read = []
    original = WorkerPool.run
    monkeypatch.setattr(
        WorkerPool, "run", lambda self, requests: original(self, (read.append(r.path) or r for r in requests))
    )
    names = ["thing0/front.jpg", "thing2/aside.jpg", str(library / "photos/thing5/front.jpg"), "./thing2/front.jpg"]
    found = rerank(library / "query.jpg", names, index=library / "index")
    assert read == [os.fsencode(library / "query.jpg")]
    with Index.open(library / "index") as index:
        expected = [
            hit for hit in index.search(library / "query.jpg") if hit.name.startswith(("thing0", "thing5", "copy"))
        ]
        expected += [hit for hit in index.search(library / "query.jpg") if hit.name == "thing2/aside.jpg"]
    inliers = {hit.id: hit.inliers for hit in expected}
    assert {hit.id: hit.inliers for hit in found} == inliers
    assert [hit.inliers for hit in found] == sorted(inliers.values(), reverse=True)
    assert {hit.name for hit in found} == set(names)
    by_name = {hit.name: hit for hit in found}
    front = by_name["./thing2/front.jpg"]
    assert (front.copies, front.label, front.path) == ((), "thing2", library / "photos/thing2/front.jpg")
    assert by_name[names[2]].path == library / "photos/thing5/front.jpg"


def test_an_open_index_is_used_as_it_is_and_stays_open(library):
    with Index.open(library / "index") as index:
        found = rerank(library / "query.jpg", ["thing2/aside.jpg"], index=index)
        assert [hit.name for hit in found] == ["thing2/aside.jpg"]
        assert len(index) == 8
        with pytest.raises(ConfigError, match="an open index has its model"):
            rerank(library / "query.jpg", ["thing2/aside.jpg"], index=index, model="rootsift")


def test_equal_files_are_one_hit_under_the_first_name_that_was_given(library, features):
    names = [library / "photos/thing2/front.jpg", library / "photos/copy.jpg", library / "photos/thing2/front.jpg"]
    (hit,) = rerank(library / "query.jpg", names, features=features)
    assert (hit.name, hit.copies) == (str(names[0]), (str(names[1]),))
    (hit,) = rerank(library / "query.jpg", ["copy.jpg", "thing2/front.jpg"], index=library / "index")
    assert (hit.name, hit.copies, hit.label) == ("copy.jpg", ("thing2/front.jpg",), None)


def test_what_cannot_be_compared_is_skipped_with_the_reason(library, features, tmp_path):
    names = [library / "photos/broken.jpg", tmp_path / "nowhere.jpg", "zero\0byte.jpg", library / "photos/copy.jpg"]
    found = rerank(library / "query.jpg", names, features=features)
    assert [hit.name for hit in found] == [str(library / "photos/copy.jpg")]
    assert [name for name, _ in found.skipped] == [str(name) for name in names[:3]]
    assert found.skipped[0][1].startswith("damaged")
    assert [reason for _, reason in found.skipped[1:]] == ["no such picture"] * 2
    found = rerank(library / "query.jpg", ["broken.jpg", "no.jpg", "copy.jpg"], index=library / "index")
    assert [name for name, _ in found.skipped] == ["broken.jpg", "no.jpg"]
    assert found.skipped[0][1].startswith("damaged")
    with pytest.raises(NothingToDo, match=r"None of the 2 candidates can be compared \(first: broken.jpg — damaged"):
        rerank(library / "query.jpg", ["broken.jpg", "no.jpg"], index=library / "index")


def test_features_are_kept_and_described_again_only_for_files_that_changed(library, tmp_path, monkeypatch):
    read = []
    original = WorkerPool.run
    monkeypatch.setattr(
        WorkerPool, "run", lambda self, requests: original(self, (read.append(r.path) or r for r in requests))
    )
    for name in ("a", "b", "c"):
        save(tmp_path / f"{name}.png", texture(ord(name)))
    names = [tmp_path / f"{name}.png" for name in "abc"]
    with Candidates(names, features=tmp_path / "kept"):
        assert sorted(read) == [os.fsencode(name) for name in names]
    read.clear()
    with Candidates(names[:2], features=tmp_path / "kept"):
        assert read == []
    save(names[1], texture(7))
    names[2].unlink()
    with Candidates(names, features=tmp_path / "kept") as candidates:
        assert read == [os.fsencode(names[1])]
        assert candidates.skipped == ((str(names[2]), "the file is gone"),)
    with Collection.open(tmp_path / "kept") as collection:
        assert collection.counts() == {"indexed": 2, "rejected": 0, "missing": 1, "contents": 2}


def test_without_a_place_for_features_nothing_stays(library, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Candidates([library / "photos/copy.jpg"]) as candidates:
        place = candidates.index.directory
        assert place.parent == tmp_path
    assert not list(tmp_path.iterdir())


def test_a_place_for_features_is_no_index_of_a_folder_and_has_one_model(library, features, install):
    names = [library / "photos/copy.jpg"]
    with pytest.raises(ConfigError, match=r"index is the index of .*photos → index="):
        rerank(library / "query.jpg", names, features=library / "index")
    with Candidates(names, features=features), pytest.raises(SpecMismatch, match="This index holds rootsift"):
        Candidates(names, model="delg-r50", features=features)
    with pytest.raises(ConfigError, match="either index or features"):
        rerank(library / "query.jpg", names, features=features, index=library / "index")


def test_a_box_is_searched_in_the_coordinates_of_the_whole_query(library, features):
    box = (100.0, 60.0, 160.0, 130.0)
    found = rerank(library / "query.jpg", files_of(library), features=features, box=box)
    assert found[0].band == Band.SAME
    points = found[0].view.query_points[found[0].view.mask]
    assert (points.min(axis=0) >= [99, 59]).all()
    assert (points.max(axis=0) <= [260, 190]).all()
    assert found.query.box == (100, 60, 160, 130)


def test_topk_bounds_the_answer_and_depth_what_is_verified(library, features):
    every = rerank(library / "query.jpg", files_of(library), features=features)
    assert_same(rerank(library / "query.jpg", files_of(library), features=features, topk=2), every[:2])
    few = rerank(library / "query.jpg", files_of(library), features=features, depth=3)
    assert [hit.verification is not None for hit in few] == [True] * 3 + [False] * 4
    with pytest.raises(ConfigError, match="depth must be at least 1"):
        rerank(library / "query.jpg", files_of(library), features=features, depth=0)


def test_more_candidates_than_a_search_verifies_are_all_verified(library, tmp_path):
    for seed in range(DEFAULTS.depth + 3):
        save(tmp_path / f"photos/{seed}.png", texture(seed, 48, 36))
    with Candidates(sorted((tmp_path / "photos").iterdir()), features=tmp_path / "kept") as candidates:
        found = candidates.rerank(library / "query.jpg")
        assert len(candidates.rerank(library / "query.jpg", topk=1)) == 1  # the same candidates, asked again
        in_search = candidates.index.search(library / "query.jpg", topk=200)
    assert [hit.verification is None for hit in in_search].count(True) == 3
    assert [hit.verification is None for hit in found].count(True) == 0


def test_one_candidate_is_enough_and_none_is_too_few(library, features):
    assert rerank(library / "query.jpg", [library / "photos/copy.jpg"], features=features).verdict == "match"
    with pytest.raises(NothingToDo, match="There are no candidates"):
        rerank(library / "query.jpg", [])


def test_an_unreadable_query_is_an_error(library, features):
    with pytest.raises(ImageError, match=r"broken\.jpg — damaged"):
        rerank(library / "photos/broken.jpg", [library / "photos/copy.jpg"], features=features)


def test_a_network_without_local_features_orders_by_similarity(library, install):
    found = rerank(library / "query.jpg", files_of(library), model=install(FakeNetwork()), device="cpu")
    similarities = [hit.similarity for hit in found]
    assert similarities == sorted(similarities, reverse=True)
    assert found.verdict == "not_judged"
    assert "nothing is verified" in found.warnings[0]


def test_candidates_of_a_binary_index_are_compared_by_their_signs(library, tmp_path, install):
    place = install(FakeNetwork(local=True))
    with Index.create(tmp_path / "index", place, local="binary") as index:
        index.add(library / "photos")
        expected = index.search(library / "query.jpg")
        found = rerank(library / "query.jpg", [hit.name for hit in expected], index=index)
    assert_same(found, expected)


def test_the_package_is_a_function_too(library, features):
    assert sys.modules["glocal.rerank"] is glocal.rerank
    found = glocal.rerank(library / "query.jpg", [library / "photos/copy.jpg"], features=features)
    assert isinstance(found, RerankResult)
    assert found[0].name == str(library / "photos/copy.jpg")
    assert glocal.rerank.geometric.verify_pair is glocal.verify_pair
