"""Names of things, from an index of labelled photos: by folder or by a list."""

import itertools
import shutil
import sqlite3

import cv2
import numpy as np
import pytest

from glocal.errors import ConfigError, ImageError, NothingToDo
from glocal.photo_index import Index
from glocal.recognition import own_samples
from glocal.rerank.voting import Verdict, VotingOptions, fit_threshold
from glocal.store.collection import Collection
from glocal.store.schema import DATABASE_NAME, FORMAT
from tests.conftest import save, texture
from tests.fakes import FakeNetwork

ASIDE = np.array([[0.85, 0.12, 30.0], [-0.08, 0.9, 40.0], [1.5e-4, 1e-4, 1.0]])
BELOW = np.array([[0.9, -0.1, 40.0], [0.06, 0.95, 20.0], [0.0, 2e-4, 1.0]])


def view(pixels, way):
    return cv2.warpPerspective(pixels, way, (460, 400), borderValue=(90, 100, 110))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Three things, the first two in two views, one photo without a label; queries of both kinds and of a stranger."""
    folder = tmp_path_factory.mktemp("library")
    things = [texture(seed, 400, 300) for seed in range(4)]
    for seed in range(3):
        save(folder / f"photos/thing{seed}/front.jpg", things[seed], quality=92)
        if seed < 2:
            save(folder / f"photos/thing{seed}/aside.jpg", view(things[seed], ASIDE), quality=92)
    save(folder / "photos/nameless.jpg", things[3], quality=92)
    save(folder / "query.jpg", view(things[0], BELOW), quality=92)
    save(folder / "nameless.jpg", view(things[3], BELOW), quality=92)
    save(folder / "stranger.jpg", texture(77, 400, 300), quality=92)
    save(folder / "two.jpg", np.hstack([things[1][:, :320], things[2][:, :320]]), quality=92)
    with Index.create(folder / "bare") as index:
        index.add(folder / "photos")
    shutil.copytree(folder / "bare", folder / "index")
    with Index.open(folder / "index") as index:
        index.add(folder / "photos", labels="folder")
    return folder


@pytest.fixture(scope="module")
def index(library):
    with Index.open(library / "index") as index:
        yield index


NUMBERS = itertools.count()


@pytest.fixture
def bare(library):
    """An index of the same photos that nobody has given labels."""
    with Index.open(shutil.copytree(library / "bare", library / f"bare{next(NUMBERS)}")) as index:
        yield index


def test_a_thing_is_named_with_its_photos_as_evidence(library, index):
    found = index.recognize(library / "query.jpg")
    assert (found.label, found.verdict) == ("thing0", Verdict.SAME)
    assert {hit.name for hit in found.photos(found.votes[0])} == {"thing0/front.jpg", "thing0/aside.jpg"}
    expected = sum(min(hit.inliers, 70) / 70 + 0.25 * hit.similarity for hit in found.photos(found.votes[0]))
    assert found.score == pytest.approx(expected)
    assert {vote.label for vote in found.votes[1:]} == {"thing1", "thing2"}


def test_a_stranger_is_unknown_and_has_candidates(library, index):
    found = index.recognize(library / "stranger.jpg")
    assert (found.label, found.verdict) == (None, Verdict.UNKNOWN)
    assert found.recognition.reason == "no labelled photo shows this object"
    assert len(found.votes) == 3


def test_what_only_a_photo_without_label_shows_is_unknown(library, index):
    found = index.recognize(library / "nameless.jpg")
    assert found.search[0].name == "nameless.jpg"
    assert found.search.verdict == "match"
    assert found.label is None


def test_a_box_says_which_of_two_things(library, index):
    left = index.recognize(library / "two.jpg", box=(0, 0, 320, 300))
    right = index.recognize(library / "two.jpg", box=(320, 0, 320, 300))
    assert (left.label, right.label) == ("thing1", "thing2")


def test_a_threshold_makes_it_unknown(library, index):
    score = index.recognize(library / "query.jpg").score
    assert index.recognize(library / "query.jpg", options=VotingOptions(least=score)).label == "thing0"
    above = index.recognize(library / "query.jpg", options=VotingOptions(least=score + 0.01))
    assert (above.label, above.score) == (None, score)


def test_a_threshold_can_be_fitted_on_the_photos_themselves(library, index):
    photos = sorted((library / "photos").rglob("*.jpg"))
    scores, right = own_samples(index.searcher, photos)
    # The four photos that have another of their thing are recognised; asked without those, all are unknown.
    assert right == [True] * 4
    assert fit_threshold(scores, right) == min(scores)
    assert own_samples(index.searcher, [library / "query.jpg"]) == ([], [])  # not in the collection
    alone = own_samples(index.searcher, [library / "photos/thing2/front.jpg"])
    assert alone == ([], [])


def test_without_calibration_the_nearest_labels_win_and_nothing_is_claimed(library, tmp_path, install):
    with Index.create(tmp_path / "index", install(FakeNetwork())) as index:
        index.add(library / "photos", labels="folder")
        found = index.recognize(library / "photos/thing2/front.jpg", options=VotingOptions(k=1))
        assert (found.label, found.verdict, found.score) == ("thing2", Verdict.NOT_JUDGED, pytest.approx(1))
        assert found.votes[0].band is None
        # k = 1 for the photo itself and as many wrong answers: one of thing2 has no other photo to be right with.
        scores, right = own_samples(index.searcher, sorted((library / "photos").rglob("*.jpg")), VotingOptions(k=1))
        assert len(scores) == 10
        assert sum(right) <= 4


def test_an_index_without_labels_says_how_to_give_them(library, bare):
    with pytest.raises(NothingToDo, match=r"no labels.*→ glocal index PHOTOS --labels folder"):
        bare.recognize(library / "query.jpg")


def test_an_unreadable_query_is_explained(library, index, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        index.recognize(tmp_path / "broken.jpg")
    with pytest.raises(ConfigError, match="No such picture"):
        index.recognize(tmp_path / "nowhere.jpg")


def listed(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text, "utf-8")
    return tmp_path / "labels.csv"


def test_a_list_gives_labels_and_they_last(library, bare, tmp_path):
    rows = "path,label\nthing0/front.jpg,Fontána di Trevi\nthing0/aside.jpg,Fontána di Trevi\nthing1/front.jpg,\n"
    bare.add(library / "photos", labels=listed(tmp_path, rows))
    assert bare.recognize(library / "query.jpg").label == "Fontána di Trevi"
    assert bare.collection.num_labelled() == 2
    bare.add(library / "photos")
    with Index.open(bare.directory) as again:
        assert again.recognize(library / "query.jpg").label == "Fontána di Trevi"
        assert again.collection.label("thing1/front.jpg") is None


def test_another_list_or_the_folders_replace_the_labels(library, bare, tmp_path):
    bare.add(library / "photos", labels=listed(tmp_path, "path,label\nthing0/front.jpg,old\n"))
    bare.add(library / "photos", labels=listed(tmp_path, "label,path\nnew,nameless.jpg\nnew,gone.jpg\n"))
    assert bare.collection.num_labelled() == 1
    assert bare.collection.label("thing0/front.jpg") is None
    assert bare.recognize(library / "nameless.jpg").label == "new"
    bare.add(library / "photos", labels="folder")
    assert bare.collection.num_labelled() == 5
    assert bare.recognize(library / "nameless.jpg").label is None


def test_a_label_moves_with_its_photo(tmp_path):
    save(tmp_path / "photos/a.jpg", texture(1))
    with Index.create(tmp_path / "index") as index:
        index.add(tmp_path / "photos", labels=listed(tmp_path, "path,label\na.jpg,arch\n"))
        (tmp_path / "photos/deep").mkdir()
        (tmp_path / "photos/a.jpg").rename(tmp_path / "photos/deep/ä.jpg")
        assert index.add(tmp_path / "photos").moved == 1
        assert index.collection.label("deep/ä.jpg") == "arch"
        assert index.collection.label("a.jpg") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.jpg,arch\nb.jpg,bell\na.jpg,cup\n", '"a.jpg" has two labels, "arch" and "cup"'),
        ("name,label\na.jpg,arch\n", 'line 1: columns "path" and "label" are needed'),
        ("path,label\n../a.jpg,arch\n", 'line 2: "../a.jpg" is not inside'),
        ("path,label\na.jpg,arch,bell\n", "line 2: 2 columns are needed"),
        ("path,label\na.jpg," + "x" * 1001 + "\n", "line 2: a label of 1,001 characters"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_and_changes_nothing(library, bare, tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        bare.add(library / "photos", labels=listed(tmp_path, text))
    assert message in str(caught.value)
    assert bare.collection.labels is None


def test_labels_are_a_folder_or_a_file(library, bare, tmp_path):
    for wrong in ("foldr", tmp_path):
        with pytest.raises(ConfigError, match='labels are "folder" or a CSV file with columns path and label, not'):
            bare.add(library / "photos", labels=wrong)


def test_only_a_collection_with_a_list_has_the_table_and_all_have_one_format(library, bare, tmp_path):
    def read(query):
        with sqlite3.connect(bare.directory / DATABASE_NAME) as connection:
            (value,) = connection.execute(query).fetchone()
        connection.close()
        return value

    tables, version = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'labels'", "PRAGMA user_version"
    assert (read(tables), read(version)) == (0, FORMAT)
    with Collection.open(bare.directory) as older:  # as every collection made before there were lists
        assert (older.label("thing0/front.jpg"), older.num_labelled()) == (None, 0)
    bare.add(library / "photos", labels=listed(tmp_path, "path,label\nnameless.jpg,arch\n"))
    assert (read(tables), read(version)) == (1, FORMAT)
