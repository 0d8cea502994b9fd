import dataclasses
import os
import shutil

import pytest

from glocal.data.image import DecodeLimits
from glocal.errors import ConfigError, NothingToDo, SpecMismatch
from glocal.extract import photo_folder
from glocal.extract import run as run_module
from glocal.extract.run import IndexOptions, Listener
from glocal.models.rootsift import RootSift
from glocal.photo_index import Index
from glocal.store.collection import Collection
from tests.conftest import save, texture


class Recorder(Listener):
    def __init__(self, stop_after=None):
        self.paths = []
        self.stop_after = stop_after
        self.done = 0

    def saved(self, rows):
        self.paths += [row.path for row in rows]

    def advanced(self, done, total, skipped):
        self.done = done

    def should_stop(self):
        return self.stop_after is not None and self.done >= self.stop_after


@pytest.fixture
def index(tmp_path):
    with Index.create(tmp_path / "index") as index:
        yield index


def files(index):
    return {os.fsdecode(row.path): row for row in index.collection.catalogue()}


def test_counts_add_up_and_copies_are_computed_once(index, photos):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    report = index.add(photos)
    assert (report.seen, report.indexed, report.skipped, report.ignored) == (9, 7, 1, 1)
    assert report.copies == 1
    assert index.collection.counts()["contents"] == 6
    rows = files(index)
    assert rows["copy of 0.jpg"].content_hash == rows["a/0.jpg"].content_hash
    assert rows["broken.jpg"].reason == "corrupt"
    assert (rows["a/0.jpg"].width, rows["a/0.jpg"].height) == (320, 240)


def test_a_second_run_reads_nothing(index, photos, monkeypatch):
    index.add(photos)

    def no_reading(*_):
        raise AssertionError("a photo was read again")

    monkeypatch.setattr(photo_folder, "read_file", no_reading)
    monkeypatch.setattr(run_module, "Request", no_reading)
    report = index.add(photos)
    assert (report.known, report.new, report.done) == (7, 0, 0)


def test_changed_moved_and_gone_files_are_followed(index, photos):
    index.add(photos)
    save(photos / "a/2.jpg", texture(20), quality=90)
    (photos / "b/1.jpg").rename(photos / "a/renamed.jpg")
    (photos / "b/3.jpg").unlink()
    report = index.add(photos)
    assert (report.changed, report.moved, report.gone) == (1, 1, 2)
    rows = files(index)
    assert rows["b/3.jpg"].status == "missing"
    assert "b/1.jpg" not in rows
    assert rows["a/renamed.jpg"].status == "indexed"
    assert index.add(photos, options=IndexOptions(prune=True)).pruned == 1
    assert "b/3.jpg" not in files(index)


def test_a_file_that_comes_back_is_shown_again_without_reading(index, photos, tmp_path):
    index.add(photos)
    shutil.move(photos / "b/3.jpg", tmp_path / "elsewhere.jpg")
    index.add(photos)
    assert len(index) == 6
    shutil.move(tmp_path / "elsewhere.jpg", photos / "b/3.jpg")
    report = index.add(photos)
    assert (report.done, len(index)) == (0, 7)


def test_a_whole_library_that_moved_is_followed_without_reading(index, photos):
    index.add(photos)
    photos.rename(photos.with_name("moved"))
    report = index.add(photos.with_name("moved"))
    assert (report.known, report.done) == (7, 0)
    assert index.collection.root == photos.with_name("moved").resolve()


def test_an_index_belongs_to_one_folder(index, photos, tmp_path):
    index.add(photos)
    save(tmp_path / "other/a.jpg", texture(9))
    with pytest.raises(ConfigError, match="belongs to"):
        index.add(tmp_path / "other")
    assert len(index) == 7


@pytest.mark.parametrize("workers", [1, 2])
def test_the_stored_bytes_do_not_depend_on_the_number_of_workers(tmp_path, photos, workers):
    with Index.create(tmp_path / f"index{workers}") as index:
        index.add(photos, options=IndexOptions(workers=workers))
        found = {
            name: vector.tobytes()
            for block in index.collection.descriptors()
            for name, vector in zip(block.ids, block.vectors, strict=True)
        }
    with Index.create(tmp_path / "reference") as index:
        index.add(photos, options=IndexOptions(workers=1))
        expected = {
            name: vector.tobytes()
            for block in index.collection.descriptors()
            for name, vector in zip(block.ids, block.vectors, strict=True)
        }
    assert found == expected


def test_stopping_saves_what_is_done_and_the_next_run_continues(index, photos, monkeypatch):
    monkeypatch.setattr(run_module, "BATCH_IMAGES", 2)
    first = Recorder(stop_after=3)
    report = index.add(photos, listener=first, options=IndexOptions(workers=1))
    assert report.stopped
    assert 3 <= len(first.paths) < 7
    assert sorted(os.fsencode(name) for name in files(index)) == sorted(first.paths)
    second = Recorder()
    report = index.add(photos, listener=second)
    assert report.resumed
    assert not report.stopped
    assert len(first.paths) + len(second.paths) == 7
    assert len(index) == 7
    assert not index.add(photos).resumed


def test_what_is_announced_as_saved_can_be_read_by_others(index, photos):
    class Checker(Listener):
        def saved(self, rows):
            with Collection.open(index.directory) as reader:
                known = {row.path for row in reader.catalogue()}
            assert {row.path for row in rows} <= known

    index.add(photos, listener=Checker())


def test_skipped_files_are_not_read_again_unless_asked(index, photos):
    picture = save(photos / "big.png", texture(5))
    tight = IndexOptions(limits=DecodeLimits(max_pixels=320 * 240 - 1))
    assert index.add(photos, options=tight).skipped == 8
    assert index.add(photos).skipped == 8
    assert index.add(photos, options=IndexOptions(retry_rejected=True)).skipped == 0
    assert files(index)["big.png"].size == picture.stat().st_size


def test_a_file_that_changes_while_it_is_read_is_settled_by_the_next_run(index, photos, monkeypatch):
    index.add(photos)
    save(photos / "a/0.jpg", texture(30), quality=90)
    report = index.add(photos)
    assert report.changed == 1
    assert index.add(photos).done == 0


def test_all_files_gone_hides_them_and_says_so(index, photos):
    index.add(photos)
    for path in photos.rglob("*.jpg"):
        path.unlink()
    report = index.add(photos)
    assert (report.indexed, report.gone) == (0, 7)
    assert index.collection.counts()["missing"] == 7


def test_a_folder_without_pictures_is_nothing_to_do(index, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToDo):
        index.add(tmp_path / "empty")


@pytest.mark.parametrize(
    ("field", "value"), [("weights", "f" * 64), ("image_size", 640), ("exif", "ignore"), ("scales", (0.5, 1.0))]
)
def test_an_index_made_with_other_weights_or_preprocessing_is_refused_with_both_values(tmp_path, photos, field, value):
    ours = RootSift().spec
    Collection.create(tmp_path / "index", dataclasses.replace(ours, **{field: value})).close()
    with Index.open(tmp_path / "index") as index, pytest.raises(SpecMismatch) as caught:
        index.add(photos)

    def shown(v):
        return repr(v[:12] if isinstance(v, str) else v)

    assert field in str(caught.value)
    assert shown(value) in str(caught.value)
    assert shown(getattr(ours, field)) in str(caught.value)


def test_names_of_any_bytes_are_indexed(index, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    data = save(tmp_path / "x.jpg", texture(0)).read_bytes()
    names = [
        b"\xff\xfe.jpg",
        b"two\nlines.jpg",
        b"-rf.jpg",
        b"'; DROP TABLE photos;--.jpg",
        "é😀.jpg".encode(),
        b" a .jpg",
    ]
    for number, name in enumerate(names):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(data + b"%d" % number)  # bytes after the end of a JPEG are ignored: six different files
    report = index.add(folder)
    assert report.indexed == len(names)
    assert sorted(row.path for row in index.collection.catalogue()) == sorted(names)
