"""An index whose model is a network, from photos to hits; the network is a fake."""

import pytest

from glocal.errors import BackendUnavailable, ConfigError, SpecMismatch, WeightsError
from glocal.extract.batching import BatchingPool
from glocal.extract.run import IndexOptions, Listener
from glocal.models.catalogue import CLASSICAL_MODEL
from glocal.photo_index import Index
from glocal.report import report_of
from glocal.rerank.bands import Band
from glocal.search import compare_photos
from tests.conftest import save, texture
from tests.fakes import FakeNetwork


def test_a_network_indexes_and_finds_in_order_of_similarity(photos, tmp_path, install):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    place = install(FakeNetwork())
    with Index.create(tmp_path / "index", place, device="cpu", batch_size=3) as index:
        report = index.add(photos, options=IndexOptions(workers=2))
        assert (report.seen, report.indexed, report.skipped, report.ignored, report.copies) == (9, 7, 1, 1, 1)
        assert index.add(photos).done == 0
        result = index.search(photos / "a/2.jpg")
    assert install.loaded == [(str(place), "cpu", 3)]
    assert result[0].name == "a/2.jpg"
    assert [hit.similarity for hit in result] == sorted((hit.similarity for hit in result), reverse=True)
    assert result.verdict == "not_judged"
    assert not result.judged
    assert result.warnings == ("fake_net has no local features: hits are ordered by similarity, nothing is verified",)
    for hit in result:
        assert (hit.probability, hit.band) == (None, Band.LOOK_ALIKE)
        assert (hit.verification, hit.view, hit.inliers) == (None, None, 0)
    with pytest.raises(ConfigError, match="a model that has local features"):
        result[0].plot(tmp_path / "why.png")


def test_an_index_opens_its_network_where_it_was(photos, tmp_path, install):
    place = install(FakeNetwork())
    with Index.open_or_create(tmp_path / "index", place) as index:
        index.add(photos)
    with Index.open(tmp_path / "index") as index:
        assert index.collection.model_source == str(place)
        assert index.search(photos / "b/1.jpg")[0].name == "b/1.jpg"
        assert len(index.search(photos / "b/1.jpg", box=(0, 0, 100, 100))) == 6
        assert index.searcher.size_of(photos / "b/1.jpg") == (320, 240)


def test_without_calibration_hits_are_verified_and_ordered_but_not_judged(photos, tmp_path, install):
    with Index.create(tmp_path / "index", install(FakeNetwork(local=True))) as index:
        index.add(photos)
        result = index.search(photos / "a/2.jpg")
        page = report_of(result, index, "glocal search a/2.jpg")
    assert result[0].name == "a/2.jpg"
    assert result[0].inliers > 50 > result[1].inliers
    assert {(hit.probability, hit.band) for hit in result} == {(None, Band.LOOK_ALIKE)}
    assert result.verdict == "not_judged"
    assert result.warnings == ("fake_net has no calibration: hits are ordered, but not judged",)
    assert result[0].plot(tmp_path / "why.png").stat().st_size > 10_000
    assert not page.judged
    assert len(page.hits) == 6


def test_a_folder_of_weights_that_has_gone_is_named_and_its_new_place_is_remembered(photos, tmp_path, install):
    network = FakeNetwork()
    place = install(network)
    with Index.create(tmp_path / "index", place) as index:
        index.add(photos)
    place.rmdir()
    with Index.open(tmp_path / "index") as index:
        for use in (lambda: index.search(photos / "b/1.jpg"), lambda: index.add(photos)):
            with pytest.raises(WeightsError, match=rf"fake_net in {place}, and that is not there.* --model DIR"):
                use()
        assert len(index) == 7
    moved = install(network, "moved")
    with Index.open(tmp_path / "index", moved) as index:
        assert len(index.search(photos / "b/1.jpg")) == 6
        assert index.collection.model_source == str(place)  # a reader writes nothing
        index.add(photos)
    with Index.open(tmp_path / "index") as index:
        assert index.collection.model_source == str(moved)
        assert len(index.search(photos / "b/1.jpg")) == 6


def test_weights_that_changed_since_are_refused_with_both_fingerprints(photos, tmp_path, install):
    place = install(FakeNetwork())
    with Index.create(tmp_path / "index", place) as index:
        index.add(photos)
    install(FakeNetwork(weights="b" * 64))
    with Index.open(tmp_path / "index") as index:
        for use in (lambda: index.search(photos / "b/1.jpg"), lambda: index.add(photos)):
            for _ in range(2):  # refused once is refused always
                with pytest.raises(SpecMismatch, match=rf"The model in {place} is not the one.*aaaa.*bbbb"):
                    use()


def test_asking_for_another_model_than_the_index_has_names_both(photos, tmp_path, install):
    with Index.create(tmp_path / "index", install(FakeNetwork())) as index:
        index.add(photos)
    with pytest.raises(SpecMismatch) as caught:
        Index.open_or_create(tmp_path / "index", "dolg-r101")
    assert str(caught.value) == (
        "This index holds fake_net (sha aaaa…) vectors of 12 numbers; you asked for dolg_resnet101. They cannot be "
        f"compared. → drop --model to use fake_net, or glocal index {photos} --model dolg_resnet101 --index NEW_PLACE"
    )
    with Index.create(tmp_path / "classic") as index:
        index.add(photos)
    with (
        Index.open(tmp_path / "classic", install(FakeNetwork(), "other")) as index,
        pytest.raises(SpecMismatch, match=r"This index holds rootsift \(sha .* you asked for fake_net \(12\)"),
    ):
        index.search(photos / "b/1.jpg")
    Index.open(tmp_path / "classic", CLASSICAL_MODEL).close()


def test_a_device_that_is_not_there_is_refused_before_anything_is_made(tmp_path, install):
    place = install(BackendUnavailable("--device cuda: no such CUDA device"))
    with pytest.raises(BackendUnavailable, match="--device cuda"):
        Index.create(tmp_path / "index", place, device="cuda")
    assert not (tmp_path / "index").exists()


def test_stopping_a_network_saves_what_is_done_and_the_next_run_continues(tmp_path, install, monkeypatch):
    class Stopper(Listener):
        done = 0

        def advanced(self, done, total, skipped):
            self.done = done

        def should_stop(self):
            return self.done >= 4

    for seed in range(12):
        save(tmp_path / f"photos/{seed}.png", texture(seed, 96, 72))
    with Index.create(tmp_path / "index", install(FakeNetwork(batch_size=2))) as index:
        assert index.add(tmp_path / "photos", listener=Stopper()).stopped
        assert 4 <= len(index) < 12
        index.add(tmp_path / "photos")
        assert len(index) == 12


def test_two_photos_are_compared_as_far_as_the_model_goes(photos):
    copy = photos / "copy of 0.jpg"
    with BatchingPool(FakeNetwork()) as pool:
        report = compare_photos(pool, photos / "a/0.jpg", copy)
    assert (report.probability, report.verification, report.view) == (None, None, None)
    assert report.similarity == pytest.approx(1)
    with BatchingPool(FakeNetwork(local=True)) as pool:
        report = compare_photos(pool, photos / "a/0.jpg", copy)
    assert (report.probability, report.band) == (None, Band.LOOK_ALIKE)
    assert report.verification.inliers > 50
