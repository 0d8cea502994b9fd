"""What hloc reads: names, frames and types of its files, against the pixels and a naive search."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image, ImageOps

from glocal.errors import ConfigError, NothingToDo
from glocal.export.hloc import export_hloc
from glocal.export.hloc_files import HlocOptions, file_part
from glocal.export.pairs import Neighbours, matches_of
from glocal.export.queries import read_queries
from glocal.extract.pool import WorkerPool
from glocal.photo_index import Index
from glocal.store.collection import Collection
from glocal.types import LocalFeatures, Verification
from tests.conftest import save, texture
from tests.export.rows import collection_of
from tests.fakes import FakeNetwork

# EXIF orientation -> the transposition whose result, stored with that orientation, is shown as the picture was.
UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def stored_as(pixels, orientation):
    """The pixels of a file that shows a picture only after its orientation is applied."""
    return np.asarray(Image.fromarray(pixels).transpose(UNDO[orientation])) if orientation in UNDO else pixels


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Photos, and their index: all orientations, a copy, crops, one that is damaged and one that is gone."""
    top = tmp_path_factory.mktemp("hloc")
    photos = top / "photos"
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(photos / f"exif/{orientation}.png", stored_as(texture(1), orientation), exif=exif)
    save(photos / "exif/plain5.png", stored_as(texture(1), 5))
    scene = texture(2, 420, 320)
    save(photos / "scene/left.png", scene[:, :330])
    save(photos / "scene/right.png", scene[10:, 90:])
    (photos / "scene/zcopy.png").write_bytes((photos / "scene/left.png").read_bytes())
    save(photos / "scene/blank.png", np.full((60, 80, 3), 200, np.uint8))
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff but no picture")
    save(photos / "gone.png", texture(3))
    with Index.create(top / "index", "rootsift") as index:
        index.add(photos)
    with Collection.open(top / "index", writable=True) as collection:
        collection.hide([b"gone.png"])
    return top


@pytest.fixture
def collection(world):
    with Collection.open(world / "index") as opened:
        yield opened


@pytest.fixture(scope="module")
def exported(world):
    """The folder of a whole export with matches, and its report."""
    with Collection.open(world / "index") as opened:
        report = export_hloc(opened, world / "out", HlocOptions(topk=4, matches=True))
    return world / "out", report


def names_in(file):
    """The names of the groups that hold an array: how hloc lists an HDF5 file."""
    names = set()
    with h5py.File(file) as opened:
        opened.visititems(
            lambda _, thing: names.add(thing.parent.name.strip("/")) if isinstance(thing, h5py.Dataset) else None
        )
    return names


def pairs_in(file):
    lines = file.read_text("utf-8").splitlines()
    assert all(line.count(" ") == 1 and line == line.strip() for line in lines)
    return [tuple(line.split()) for line in lines]


def indexed(collection):
    return {row.path.decode(): row for row in collection.catalogue("indexed")}


def test_every_searchable_file_has_a_group_under_its_name_and_no_other(exported, collection):
    folder, report = exported
    names = set(indexed(collection))
    assert len(names) == 13
    assert "scene/zcopy.png" in names
    assert not names & {"gone.png", "broken.jpg"}
    assert names_in(folder / "global-feats-rootsift.h5") == names == names_in(folder / "feats-rootsift.h5")
    assert (report.photos, report.copies, report.rejected, report.missing) == (13, 1, 1, 1)
    assert sorted(os.listdir(folder)) == sorted(place.name for place in report.written)


def test_the_arrays_are_those_of_the_collection_in_hlocs_shapes(exported, collection):
    folder, _ = exported
    with (
        h5py.File(folder / "global-feats-rootsift.h5") as descriptors,
        h5py.File(folder / "feats-rootsift.h5") as local,
    ):
        assert json.loads(local.attrs["glocal.extractor"])["model"] == "rootsift"
        for name, row in indexed(collection).items():
            vector = descriptors[name]["global_descriptor"]
            assert (vector.shape, vector.dtype) == ((collection.spec.dim,), np.float16)
            np.testing.assert_allclose(vector[:], collection.vectors([row.content_hash])[0], atol=5e-4)
            features = collection.local_features(row.content_hash)
            group = local[name]
            count = len(features)
            assert (group["keypoints"].shape, group["keypoints"].dtype) == ((count, 2), np.float32)
            assert (group["descriptors"].shape, group["descriptors"].dtype) == ((128, count), np.float16)
            assert (group["scores"].shape, group["scores"].dtype) == ((count,), np.float32)
            np.testing.assert_allclose(group["descriptors"][:].T, features.descriptors, atol=5e-4)
            np.testing.assert_array_equal(group["scores"][:], features.scores)
            assert group["keypoints"].attrs["uncertainty"] == 1.0  # none of them was reduced
            np.testing.assert_array_equal(group["image_size"][:], descriptors[name]["image_size"][:])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_keypoint_lies_on_the_same_pixel_of_the_file_as_of_the_upright_photo(
    orientation, exported, collection, world
):
    name = f"exif/{orientation}.png"
    with Image.open(world / "photos" / name) as image:
        file = np.asarray(image.convert("RGB"))  # Pillow applies no orientation by itself
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(upright, texture(1))
    features = collection.local_features(indexed(collection)[name].content_hash)
    with h5py.File(exported[0] / "feats-rootsift.h5") as opened:
        keypoints = opened[name]["keypoints"][:]
        assert opened[name]["image_size"][:].tolist() == [file.shape[1], file.shape[0]]
    # A point near the border of two pixels may be rounded to either, by the way it is looked at.
    clear = (np.abs(features.keypoints % 1 - 0.5) > 0.01).all(axis=1)
    assert clear.sum() > 200
    columns, rows = np.rint(features.keypoints[clear]).astype(int).T
    stored_columns, stored_rows = np.rint(keypoints[clear]).astype(int).T
    np.testing.assert_array_equal(file[stored_rows, stored_columns], upright[rows, columns])


def test_the_half_pixel_of_colmap_is_left_to_hloc(exported, collection):
    features = collection.local_features(indexed(collection)["scene/left.png"].content_hash)
    with h5py.File(exported[0] / "feats-rootsift.h5") as opened:
        np.testing.assert_array_equal(opened["scene/left.png"]["keypoints"][:], features.keypoints)


def test_a_turned_photo_has_the_keypoints_of_the_same_pixels_without_orientation(exported):
    # Transposition leaves what is left of a pixel and above it in place, so nothing differs but rounding.
    with h5py.File(exported[0] / "feats-rootsift.h5") as opened:
        turned, plain = (opened[name]["keypoints"][:] for name in ("exif/5.png", "exif/plain5.png"))
    distances = np.linalg.norm(turned[:, None] - plain[None], axis=2)
    assert distances.min(axis=1).max() < 0.01


def test_pairs_are_the_most_similar_other_pictures_as_a_naive_search_finds_them(exported, collection):
    rows = indexed(collection)
    first = {}
    for name, row in sorted(rows.items()):
        first.setdefault(row.content_hash, name)
    vectors = {content: collection.vectors([content])[0].astype(np.float64) for content in first}
    found = {}
    for query, other in pairs_in(exported[0] / "pairs-rootsift4.txt"):
        found.setdefault(query, []).append(other)
    assert list(found) == sorted(rows)
    for name, others in found.items():
        own = rows[name].content_hash
        similar = {first[c]: float(vectors[own] @ vectors[c]) for c in first if c != own}
        best = sorted(similar.values(), reverse=True)[:4]
        assert len(set(others)) == 4
        np.testing.assert_allclose([similar[other] for other in others], best, atol=1e-6)
    assert exported[1].pairs == 52


def test_no_pair_joins_a_photo_with_itself_or_its_copy(exported, collection):
    content = {name: row.content_hash for name, row in indexed(collection).items()}
    pairs = pairs_in(exported[0] / "pairs-rootsift4.txt")
    assert {query for query, _ in pairs} == set(content)
    assert all(content[query] != content[other] for query, other in pairs)
    assert "scene/zcopy.png" not in {other for _, other in pairs}  # it is found by the first of its names


def test_matches_join_keypoints_of_the_same_place(exported):
    folder = exported[0]
    (file,) = folder.glob("feats-rootsift_matches-*.h5")
    assert file.name == "feats-rootsift_matches-glocal_pairs-rootsift4.h5"
    with h5py.File(file) as matches, h5py.File(folder / "feats-rootsift.h5") as local:
        for query, other in pairs_in(folder / "pairs-rootsift4.txt"):
            forward, back = (
                f"{a.replace('/', '-')}/{b.replace('/', '-')}" for a, b in ((query, other), (other, query))
            )
            assert (forward in matches) != (back in matches)
        group = matches["scene-left.png/scene-right.png"]
        found, scores = group["matches0"][:], group["matching_scores0"][:]
        points = [local[name]["keypoints"][:] for name in ("scene/left.png", "scene/right.png")]
        assert (found.dtype, scores.dtype) == (np.int16, np.float16)
        assert len(found) == len(scores) == len(points[0])
        (matched,) = np.nonzero(found > -1)
        assert len(matched) > 50
        offset = points[0][matched] - points[1][found[matched]]
        assert (np.linalg.norm(offset - (90, 10), axis=1) < 3).mean() > 0.95  # where the right part was cut
        assert (scores[matched] > 0.5).all()
        assert not scores[found == -1].any()


def test_matches_beyond_int16_are_written_with_more_bits():
    def features(count):
        rows = np.tile(np.eye(2, dtype=np.float32)[:1], (count, 1))
        ones = np.ones(count, np.float32)
        return LocalFeatures("x", (9, 9), np.zeros((count, 2), np.float32), rows, ones, ones)

    found = Verification(1, np.eye(3), np.array([[1, 32_767]]), np.array([True]))
    few, many = (matches_of(features(3), features(count), found)["matches0"] for count in (32_768, 40_000))
    assert few.tolist() == many.tolist() == [-1, 32_767, -1]
    assert (
        matches_of(features(3), features(32_767), Verification(0, None, np.empty((0, 2), np.int64), np.empty(0, bool)))[
            "matches0"
        ].dtype
        == np.int16
    )
    assert many.dtype == np.int32


def test_a_large_collection_is_read_in_blocks_with_the_same_answer(collection, monkeypatch):
    contents = sorted({row.content_hash for row in indexed(collection).values()})
    vectors = collection.vectors(contents)
    held = Neighbours(collection).of(vectors, contents, 3)
    monkeypatch.setattr("glocal.export.pairs.MAX_HELD_BYTES", 0)
    streamed = Neighbours(collection)
    assert streamed._held is None
    assert streamed.of(vectors, contents, 3) == held
    assert all(len(found) == 3 and own not in found for own, found in zip(contents, held, strict=True))


def test_reduced_photos_have_a_larger_uncertainty(tmp_path):
    spec = FakeNetwork(local=True, image_size=320).spec
    sizes = [(640, 400), (320, 200), (100, 480)]
    with collection_of(tmp_path / "index", spec, [b"a.png", b"b.png", b"c.png"], sizes) as collection:
        export_hloc(collection, tmp_path / "out", HlocOptions(topk=1, precision="float32"))
    with h5py.File(tmp_path / "out/feats-fake_net.h5") as local:
        assert [local[f"{name}.png"]["keypoints"].attrs["uncertainty"] for name in "abc"] == [2.0, 1.0, 1.5]
        assert local["a.png"]["descriptors"].dtype == np.float32


def test_queries_from_outside_are_described_and_asked(world, collection, tmp_path):
    query = save(tmp_path / "night/q.png", stored_as(texture(2, 420, 320)[20:300, 60:360], 6), exif=orientation_6())
    save(tmp_path / "night/broken.png", texture(1)).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (tmp_path / "list.txt").write_text(
        "# mine\nnight/q.png SIMPLE_RADIAL 300 280 1 2 3\n\nnight/broken.png\nexif/1.png\n"
    )
    queries = read_queries(tmp_path / "list.txt", collection)
    assert queries.stored == {b"exif/1.png"}
    assert list(queries.outside.values()) == ["night/q.png", "night/broken.png"]
    with WorkerPool("rootsift") as pool:
        report = export_hloc(collection, tmp_path / "out", HlocOptions(topk=2, matches=True), queries, pool)
    pairs = pairs_in(tmp_path / "out/pairs-rootsift2.txt")
    assert [name for name, _ in pairs] == ["exif/1.png"] * 2 + ["night/q.png"] * 2
    assert {other for name, other in pairs if name == "night/q.png"} == {"scene/left.png", "scene/right.png"}
    assert [name for name, _ in report.failed] == ["night/broken.png"]
    assert (report.photos, report.queries, report.pairs) == (14, 2, 4)
    names = names_in(tmp_path / "out/feats-rootsift.h5")
    assert "night/q.png" in names
    assert "night/broken.png" not in names
    with h5py.File(tmp_path / "out/feats-rootsift.h5") as local:
        group = local["night/q.png"]
        with Image.open(query) as image:
            assert group["image_size"][:].tolist() == list(image.size) == [280, 300]
        assert (group["keypoints"][:].max(axis=0) < (280, 300)).all()
    (file,) = (tmp_path / "out").glob("*matches*")
    with h5py.File(file) as matches:
        assert (matches["night-q.png/scene-left.png"]["matches0"][:] > -1).sum() > 50


def orientation_6():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_query_that_is_a_copy_of_a_stored_photo_is_not_paired_with_it(world, collection, tmp_path):
    folder = tmp_path / "ask"
    folder.mkdir()
    (folder / "same.png").write_bytes((world / "photos/scene/left.png").read_bytes())
    with WorkerPool("rootsift") as pool:
        export_hloc(collection, tmp_path / "out", HlocOptions(topk=1), read_queries(folder, collection), pool)
    assert pairs_in(tmp_path / "out/pairs-rootsift1.txt") == [("same.png", "scene/right.png")]


def test_queries_that_cannot_be_read_at_all_leave_no_file(collection, tmp_path):
    (tmp_path / "ask").mkdir()
    (tmp_path / "ask/x.png").write_bytes(b"no picture")
    with WorkerPool("rootsift") as pool, pytest.raises(NothingToDo, match=r"None of the queries .*first: x.png"):
        export_hloc(collection, tmp_path / "out", None, read_queries(tmp_path / "ask", collection), pool)
    assert os.listdir(tmp_path / "out") == []


def test_a_list_that_names_no_photo_is_refused_with_its_line(collection, tmp_path):
    (tmp_path / "list.txt").write_text("exif/1.png\nexif/99.png\n")
    with pytest.raises(ConfigError, match=r'list.txt, line 2: no such photo: "exif/99.png"'):
        read_queries(tmp_path / "list.txt", collection)
    (tmp_path / "list.txt").write_text("# nothing\n\n")
    with pytest.raises(NothingToDo, match="names no photo"):
        read_queries(tmp_path / "list.txt", collection)
    (tmp_path / "list.txt").write_bytes(b"x" * 70_000)
    with pytest.raises(ConfigError, match="line 1: longer than 64 KiB"):
        read_queries(tmp_path / "list.txt", collection)
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere"):
        read_queries(tmp_path / "nowhere", collection)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no regular file"):
        read_queries(tmp_path / "pipe", collection)


def test_queries_are_named_by_where_they_lie(world, collection, tmp_path, monkeypatch):
    outside = save(tmp_path / "else where/q 1.png", texture(7))
    new = save(world / "photos/scene/not indexed.png", texture(8))
    monkeypatch.chdir(tmp_path)
    lines = [str(outside), "else where/q 1.png", str(world / "photos/scene/left.png"), "scene/right.png", str(new)]
    (tmp_path / "list.txt").write_text("\ufeff" + "\r\n".join(lines))
    try:
        queries = read_queries(tmp_path / "list.txt", collection)
        assert queries.stored == {b"scene/left.png", b"scene/right.png"}
        assert queries.outside == {
            os.fsencode(outside): str(outside)[1:],
            os.fsencode(new): "scene/not indexed.png",
        }
        (tmp_path / "else where/link.png").symlink_to(outside)
        folder = read_queries(tmp_path / "else where", collection)
        assert list(folder.outside.values()) == ["q 1.png"]
        assert [name for name, _ in folder.refused] == ["link.png"]
    finally:
        new.unlink()


def test_without_local_features_there_are_pairs_but_no_matches(tmp_path):
    spec = FakeNetwork().spec
    with collection_of(tmp_path / "index", spec, [b"%d.jpg" % i for i in range(5)]) as collection:
        with pytest.raises(ConfigError, match=r"fake_net has no local features.*without --matches"):
            export_hloc(collection, tmp_path / "out", HlocOptions(matches=True))
        report = export_hloc(collection, tmp_path / "out", HlocOptions(topk=2))
    assert [place.name for place in report.written] == ["global-feats-fake_net.h5", "pairs-fake_net2.txt"]


def test_topk_0_writes_features_alone_and_matches_need_pairs(collection, tmp_path):
    report = export_hloc(collection, tmp_path, HlocOptions(topk=0))
    assert [place.name for place in report.written] == ["global-feats-rootsift.h5", "feats-rootsift.h5"]
    for wrong in ({"topk": -1}, {"topk": 0, "matches": True}, {"precision": "float64"}):
        with pytest.raises(ConfigError):
            HlocOptions(**wrong)


def test_existing_files_are_refused_before_any_work_and_replaced_by_force(collection, tmp_path):
    place = tmp_path / "pairs-rootsift3.txt"
    place.write_text("mine")
    done = []
    with pytest.raises(ConfigError, match=r"pairs-rootsift3.txt exists already → --force"):
        export_hloc(collection, tmp_path, HlocOptions(topk=3), tick=lambda *news: done.append(news))
    assert not done
    assert os.listdir(tmp_path) == [place.name]
    export_hloc(collection, tmp_path, HlocOptions(topk=3, force=True))
    assert len(pairs_in(place)) == 39


@pytest.mark.parametrize("stage", ["Features", "Pairs"])
def test_an_export_that_is_stopped_leaves_nothing(stage, collection, tmp_path):
    def stop(what, done, total):
        assert 0 < done <= total == 13
        if what == stage and done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_hloc(collection, tmp_path / "out", HlocOptions(topk=2, matches=True), tick=stop)
    assert os.listdir(tmp_path / "out") == []


FULL = """
import resource, signal, sys
from pathlib import Path
from glocal.errors import DiskFull
from glocal.export.hloc import export_hloc
from glocal.store.collection import Collection

with Collection.open(Path(sys.argv[1])) as collection:
    collection.counts()  # SQLite has made its shared memory
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
    try:
        export_hloc(collection, Path(sys.argv[2]))
    except DiskFull as error:
        print(error)
"""


@pytest.mark.parametrize("limit", [1000, 300_000])
def test_a_full_disk_is_an_error_in_words_and_not_the_end_of_the_process(limit, world, tmp_path):
    command = [sys.executable, "-c", FULL, str(world / "index"), str(tmp_path / "out"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Disk full: ")
    assert "feats-rootsift.h5 could not be written" in done.stdout
    assert done.stderr == ""
    assert os.listdir(tmp_path / "out") == []


def test_an_empty_index_and_a_single_picture_are_nothing_to_do(tmp_path):
    for names, words in (([], "is empty"), ([b"a.jpg"], "no two different pictures")):
        place = tmp_path / f"of {len(names)}"
        with collection_of(place, FakeNetwork().spec, names) as collection, pytest.raises(NothingToDo, match=words):
            export_hloc(collection, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_tiffs_are_counted_because_their_orientation_is_not_known(tmp_path):
    with collection_of(tmp_path / "index", FakeNetwork().spec, [b"a.tif", b"b.TIFF", b"c.jpg"]) as collection:
        assert export_hloc(collection, tmp_path / "out").tiffs == 2


def test_a_models_name_becomes_a_file_name():
    assert file_part("timm:vit_base/p16 x") == "timm-vit_base-p16-x"
