"""Result files of other systems: each kind is read as it was written, and refused by name where it cannot be right."""

import contextlib
import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glocal.errors import ConfigError, RetrievalError, ShapeError, SpecMismatch
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.protocol import CLASSIC, LANDMARKS
from glocal.evaluation.results import arrays
from glocal.evaluation.results.kaggle import read_recognition_predictions, read_retrieval_predictions
from glocal.evaluation.results.names import NameTable
from glocal.evaluation.results.reader import read_results
from glocal.evaluation.results.types import Features, RankedLists

PHOTOS = ("a_1", "b_2", "c_3", "d_4", "e_5")
QUERIES = ("q_1", "q_2")
ORDERS = ([3, 1, 4, 0, 2], [0, 2, 1, 4, 3])
RANKS = np.array(ORDERS).T
RNG = np.random.default_rng(0)
GALLERY_ROWS = RNG.normal(size=(5, 3)).astype(np.float32)
QUERY_ROWS = RNG.normal(size=(2, 3)).astype(np.float32)
THOUSANDS = "\N{NO-BREAK SPACE}"


def benchmark_of(photos=PHOTOS, queries=QUERIES, protocol=CLASSIC, own=None, corners=None):
    asked = tuple(
        BenchmarkQuery(name, name, corners, {"ok": np.array([0])}, None if own is None else own[i])
        for i, name in enumerate(queries)
    )
    return Benchmark("toy", protocol, None, tuple(photos), tuple(photos), asked)


TOY = benchmark_of()


def lists_of(found):
    assert isinstance(found, RankedLists)
    assert found.queries == QUERIES
    assert all(photos.dtype == np.int64 for photos in found.lists)
    return [photos.tolist() for photos in found.lists]


def refusal(path, *words, benchmark=TOY, kind=ConfigError, **options):
    with pytest.raises(kind) as caught:
        read_results(path, benchmark, **options)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"
    assert "→" in str(caught.value)


def write(path, text):
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def npz(tmp_path):
    def save(**members):
        np.savez_compressed(tmp_path / "ranks.npz", **members)
        return tmp_path / "ranks.npz"

    return save


@pytest.fixture
def npy(tmp_path):
    def save(rows, name="features.npy"):
        np.save(tmp_path / name, rows)
        return tmp_path / name

    return save


@pytest.fixture
def mat(tmp_path):
    def save(**matrices):
        scipy.io.savemat(tmp_path / "features.mat", matrices, do_compression=True)
        return tmp_path / "features.mat"

    return save


# ranks.npz


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, ">i4", np.uint64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_ranks_are_read_in_any_whole_type_and_memory_order(npz, dtype, order):
    assert lists_of(read_results(npz(ranks=np.asarray(RANKS, dtype, order=order)), TOY)) == list(ORDERS)


def test_ranks_of_the_first_places_are_enough_and_may_be_filled_up(npz):
    short = RANKS[:3].copy()
    short[1:, 1] = -1
    assert lists_of(read_results(npz(ranks=short), TOY)) == [ORDERS[0][:3], ORDERS[1][:1]]


def test_ranks_with_names_are_put_in_the_order_of_the_benchmark(npz):
    shuffle = [4, 2, 0, 3, 1]
    theirs = np.argsort(shuffle)[RANKS][:, ::-1]
    names = np.array([f"jpg/{PHOTOS[i]}.jpg" for i in shuffle])
    found = read_results(npz(ranks=theirs, gallery=names, queries=np.array(["q_2", "q_1"])), TOY)
    assert lists_of(found) == list(ORDERS)


def test_names_may_be_bytes(npz):
    names = np.array([name.encode() for name in PHOTOS])
    assert lists_of(read_results(npz(ranks=RANKS, gallery=names), TOY)) == list(ORDERS)


def test_a_missing_photo_is_named_with_both_counts(npz):
    many = tuple(f"photo_{i:05}" for i in range(4993))
    ranks = np.stack([np.arange(4992)] * 2, axis=1)
    path = npz(ranks=ranks, gallery=np.array(many[:4000] + many[4001:]))
    refusal(
        path,
        f"ranks.npz has 4{THOUSANDS}992 rows, toy has 4{THOUSANDS}993 images; missing: photo_04000. →",
        benchmark=benchmark_of(many),
        kind=SpecMismatch,
    )


def test_the_whole_order_of_a_smaller_gallery_is_refused(npz):
    smaller = np.array([[3, 1, 2, 0], [0, 2, 1, 3]]).T
    refusal(npz(ranks=smaller), "ranks.npz has 4 rows", "toy has 5 images", "gallery", kind=SpecMismatch)


def test_the_first_places_of_the_same_gallery_are_not_taken_for_a_smaller_one(npz):
    assert lists_of(read_results(npz(ranks=RANKS[:4]), TOY)) == [order[:4] for order in ORDERS]


@pytest.mark.parametrize(
    ("members", "words", "kind"),
    [
        ({"ranks": RANKS[:, :1]}, ["1 columns, toy has 2 queries"], SpecMismatch),
        ({"ranks": RANKS.T}, ["2 rows and 5 columns", "save ranks.T"], ConfigError),
        ({"ranks": np.vstack([RANKS, RANKS[:1]])}, ["6 rows, toy has 5 images"], SpecMismatch),
        ({"ranks": RANKS.astype(np.float32)}, ['array "ranks"', "whole numbers"], ConfigError),
        ({"ranks": RANKS[:, 0]}, ['array "ranks"', "(5,)"], ConfigError),
        ({"ranks": RANKS + 1}, ["ranks[2, 0] is 5", "subtract 1"], ConfigError),
        ({"ranks": np.where(RANKS == 4, 7, RANKS)}, ["ranks[2, 0] is 7", "write the file again"], ConfigError),
        ({"ranks": RANKS - 2}, ["ranks[0, 1] is -2"], ConfigError),
        ({"ranks": np.where(RANKS == 4, -1, RANKS)}, ["ranks[2, 0] is -1, but a photo follows"], ConfigError),
        ({"ranks": np.where(RANKS == 4, 1, RANKS)}, ["ranks[2, 0] is 1, which is in that column"], ConfigError),
        ({"order": RANKS}, ['no array "ranks"', "order"], ConfigError),
        (
            {"ranks": RANKS, "gallery": np.array([*PHOTOS[:4], "a_1.jpg"])},
            ['"a_1" is there twice', "1 and 5"],
            ConfigError,
        ),
        ({"ranks": RANKS, "gallery": np.array([*PHOTOS[:4], "x"])}, ['name 5: toy has no image "x"'], SpecMismatch),
        ({"ranks": RANKS, "queries": np.array(["q_1", "q_3"])}, ['name 2: toy has no query "q_3"'], SpecMismatch),
        ({"ranks": RANKS[:, :1], "queries": np.array(["q_1"])}, ["toy has 2 queries; missing: q_2."], SpecMismatch),
        ({"ranks": RANKS, "gallery": np.arange(5)}, ['array "gallery"', "list of names"], ConfigError),
        ({"ranks": RANKS, "gallery": np.array([["a_1"]])}, ['array "gallery"', "list of names"], ConfigError),
        ({"ranks": RANKS, "gallery": np.array([b"\xff"] * 5)}, ['array "gallery"', "no text"], ConfigError),
        ({"ranks": RANKS, "queries": np.array(["q"] * 1005)}, ['array "queries"', "too many"], ConfigError),
    ],
)
def test_ranks_that_cannot_be_right_are_refused(npz, members, words, kind):
    refusal(npz(**members), *words, kind=kind)


# distractors: three photos that are numbered after the five of the gallery

MORE_ORDERS = ([7, 3, 1, 5, 4, 0, 6, 2], [0, 2, 5, 7, 6, 1, 4, 3])
MORE_RANKS = np.array(MORE_ORDERS).T


@pytest.mark.parametrize("rows", [8, 5, 2])
def test_ranks_may_hold_distractors(npz, rows):
    found = read_results(npz(ranks=MORE_RANKS[:rows]), TOY, num_distractors=3)
    assert lists_of(found) == [order[:rows] for order in MORE_ORDERS]


def test_distractors_of_ranks_may_have_names_or_none(npz):
    shuffle = [4, 2, 0, 3, 1]
    theirs = np.concatenate([np.argsort(shuffle), [5, 6, 7]])[MORE_RANKS]
    names = [PHOTOS[i] for i in shuffle]
    for more in ([], ["x", "y", "z"]):
        found = read_results(npz(ranks=theirs, gallery=np.array(names + more)), TOY, num_distractors=3)
        assert lists_of(found) == list(MORE_ORDERS)
    # Those that are named may stand anywhere; they are numbered in their order.
    mixed = ["x", *names[:3], "y", *names[3:], "z"]
    number = {name: i for i, name in enumerate(mixed)}
    theirs = np.array([[number[(*PHOTOS, "x", "y", "z")[i]] for i in order] for order in MORE_ORDERS]).T
    found = read_results(npz(ranks=theirs, gallery=np.array(mixed)), TOY, num_distractors=3)
    assert lists_of(found) == list(MORE_ORDERS)


def test_of_a_folder_of_our_own_ranks_are_read_and_those_of_setups_are_not(npz):
    ranks = MORE_RANKS.astype(np.int32)
    ranks[6:, 0] = -1
    other = {f"ranks_{setup}": RANKS[::-1] for setup in ("easy", "medium", "hard")}
    path = npz(ranks=ranks, **other, gallery=np.array(PHOTOS), queries=np.array(QUERIES))
    assert lists_of(read_results(path, TOY, num_distractors=3)) == [MORE_ORDERS[0][:6], MORE_ORDERS[1]]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("ranks", "num_distractors", "words", "kind"),
    [
        (MORE_RANKS, 0, ["8 rows, toy has 5 images → --distractors NAME"], SpecMismatch),
        (
            MORE_RANKS[:5],
            0,
            ["ranks[0, 0] is 7", "5 photos are numbered from 0 to 4 → --distractors NAME"],
            ConfigError,
        ),
        (MORE_RANKS, 2, ["8 rows, toy has 5 images and 2 distractors → the --distractors that"], SpecMismatch),
        (MORE_RANKS[:7], 2, ["ranks[0, 0] is 7", "5 photos and 2 distractors", "0 to 6"], ConfigError),
        (np.where(MORE_RANKS == 7, 5, MORE_RANKS), 3, ["ranks[3, 0] is 5, which is in that column"], ConfigError),
        (RANKS, 3, ["5 rows, all of a gallery, toy has 5 images and 3 distractors", "or none"], SpecMismatch),
        (np.array([[5, 3, 1, 0, 2, 4], [0, 2, 1, 4, 3, 5]]).T, 3, ["6 rows, all of a gallery"], SpecMismatch),
    ],
)
def test_ranks_of_other_distractors_are_refused(npz, named, ranks, num_distractors, words, kind):
    names = {"gallery": np.array(PHOTOS)} if named else {}
    refusal(npz(ranks=ranks, **names), "ranks.npz", *words, kind=kind, num_distractors=num_distractors)


@pytest.mark.parametrize(
    ("names", "num_distractors", "words"),
    [
        ([*PHOTOS, "x", "y", "z"], 0, ['name 6: toy has no image "x"', "→ --distractors NAME"]),
        ([*PHOTOS, "x", "y", "z"], 2, ["3 other names, toy has 5 images and 2 distractors"]),
        ([*PHOTOS, "x", "y"], 3, ["2 other names, toy has 5 images and 3 distractors"]),
        ([*PHOTOS[:4], "x", "y", "z"], 3, ["toy has 5 images and 3 distractors; missing: e_5."]),
    ],
)
def test_names_of_other_distractors_are_refused(npz, names, num_distractors, words):
    path = npz(ranks=MORE_RANKS, gallery=np.array(names))
    refusal(path, *words, kind=SpecMismatch, num_distractors=num_distractors)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", '{"q_1": {"a_1": 1}, "q_2": {}}'),
        ("x.csv", "id,images\nq_1,a_1\n"),
        ("x.trec", "q_1 0 a_1 1 1 x\nq_2 0 b_2 1 1 x\n"),
    ],
)
def test_lists_of_names_have_no_distractors(tmp_path, name, text):
    path = write(tmp_path / name, text)
    assert isinstance(read_results(path, TOY), RankedLists)
    refusal(path, name, "distractors have none", num_distractors=1)


def test_arrays_of_objects_are_refused_without_being_loaded(tmp_path):
    path = tmp_path / "ranks.npz"
    np.savez(path, ranks=RANKS, gallery=np.array([PathTouch(tmp_path / "ran")] * 5, object))
    refusal(path, 'array "gallery"', "object", "run code")
    np.save(tmp_path / "features.npy", np.array([PathTouch(tmp_path / "ran")] * 7, object))
    refusal(tmp_path / "features.npy", "object", "run code")
    assert not (tmp_path / "ran").exists()


class PathTouch:
    """Makes a file when it is loaded as an object."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mknod, (str(self.path),)


def npy_bytes(shape, descr="<i8", data=b""):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "ranks.npz"
    zeros = bytes(64 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ranks.npy", npy_bytes((4 << 20, 2), data=zeros))
    assert path.stat().st_size < 100_000
    refusal(path, f"4{THOUSANDS}194{THOUSANDS}304 rows, toy has 5 images", kind=SpecMismatch)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy_bytes((10**9, 10**9)), ["(1000000000, 1000000000) int64 needs 8", "there are 0"]),
        (npy_bytes((5, 2), data=bytes(79)), ["there are 79"]),
        (npy_bytes((5, 2), data=bytes(81)), ["there are 81"]),
        (npy_bytes((-5, -2), data=bytes(80)), ["(-5, -2)"]),
        (npy_bytes((5,), "V8", bytes(40)), ["V8"]),
        (npy_bytes((5, 2), "<U0"), ["<U0"]),
        (npy_bytes("().__class__"), ["damaged"]),
        (b"\x93NUMPY\x09\x00" + bytes(99), ["damaged"]),
        (b"", ["damaged"]),
        (b"\x93NUMPY\x01\x00\xff\xff{", ["damaged"]),
    ],
)
def test_a_head_that_does_not_fit_its_data_is_refused(tmp_path, data, words):
    path = tmp_path / "ranks.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ranks.npy", data)
    refusal(path, 'array "ranks"', *words)


def test_odd_archives_are_refused(tmp_path, npz):
    path = tmp_path / "ranks.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("ranks.npy", npy_bytes((5, 2), data=bytes(80)))
    refusal(path, "unusual way")
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(2000):
            archive.writestr(f"{i}.npy", b"")
    refusal(path, "too many arrays")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ranks.npy", npy_bytes((5, 2), data=bytes(80)))
        archive.writestr("ranks", npy_bytes((5, 2), data=bytes(80)))
    refusal(path, '"ranks" is there twice')
    whole = npz(ranks=RANKS).read_bytes()
    path.write_bytes(whole[:-30])
    refusal(path, "no .npz archive")
    damaged = bytearray(whole)
    damaged[whole.index(b"ranks.npy") + 40] ^= 0xFF
    path.write_bytes(damaged)
    refusal(path, "damaged")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_no_change_of_a_byte_is_a_traceback(tmp_path, data):
    buffer = io.BytesIO()
    kind = data.draw(st.sampled_from(["npz", "mat", "npy"]))
    if kind == "npz":
        np.savez_compressed(buffer, ranks=RANKS, gallery=np.array(PHOTOS))
    elif kind == "npy":
        np.save(buffer, np.concatenate([GALLERY_ROWS, QUERY_ROWS]))
    else:
        packed = data.draw(st.booleans())
        scipy.io.savemat(buffer, {"X": GALLERY_ROWS.T, "Q": QUERY_ROWS.T}, do_compression=packed)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"file.{kind}"
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
    with contextlib.suppress(RetrievalError):  # anything else fails
        assert isinstance(read_results(path, TOY), RankedLists | Features)


# names


def test_names_are_found_with_and_without_folder_and_extension():
    table = NameTable("toy", "image", "images", ("a/1.jpg", "b/1.JPG", "b/2", "c/x.y", "3.png"))
    assert [table.find(name) for name in ("a/1.jpg", "a/1", "/data/a/1.jpg", "x/b/1")] == [0, 0, 0, 1]
    assert [table.find(name) for name in ("b/2.jpg", "2", "2.jpg", "z/b/2.png", "x.y", "x/3")] == [2, 2, 2, 2, 3, 4]
    assert table.find("1") == -1
    for unknown in ("a/1.png", "c/1.jpg", "x", "3.jpg", "d/2", "", "/", "a", "." * 5000, "/" * 5000):
        assert table.find(unknown) is None, unknown


def test_the_longest_part_of_a_path_decides():
    table = NameTable("toy", "image", "images", ("b/a", "a"))
    assert table.find("x/b/a") == 0
    assert table.find("x/a.jpg") == 1
    assert table.find("a") == 1


@given(st.lists(st.text("ab/.jpg", min_size=1, max_size=8), min_size=1, max_size=6, unique=True))
def test_every_name_is_found_as_itself(names):
    table = NameTable("toy", "image", "images", tuple(names))
    assert [table.find(name) for name in names] == list(range(len(names)))


def test_an_ambiguous_name_is_refused(tmp_path):
    path = write(tmp_path / "theirs.csv", "id,images\nq_1,1\n")
    refusal(path, "line 2", 'several images that "1"', benchmark=benchmark_of(("a/1", "b/1")), kind=SpecMismatch)


# Kaggle


def test_a_kaggle_file_gives_lists_and_empty_ones_for_absent_queries(tmp_path):
    path = write(tmp_path / "theirs.csv", "id,images\r\nq_2,c_3.jpg  a_1 \r\nother,whatever\r\n\r\n")
    assert lists_of(read_results(path, TOY, ignored=frozenset({"other"}))) == [[], [2, 0]]


def test_a_photo_that_is_listed_again_takes_a_place_on_landmarks_only(tmp_path):
    path = write(tmp_path / "theirs.csv", "id,images\nq_1,c_3 a_1 c_3\n")
    found = read_results(path, benchmark_of(protocol=LANDMARKS))
    assert found.lists[0].tolist() == [2, 0, 2]
    refusal(path, "line 2", '"c_3" is there twice')


@pytest.mark.parametrize(
    ("text", "words", "kind"),
    [
        ("id,images\nq_1,a_1\nq_3,a_1\n", ["line 3", 'no query "q_3"'], SpecMismatch),
        ("id,images\nq_1,a_1\nq_2,a_1 z\n", ["line 3", 'no image "z"', '"a_1"'], SpecMismatch),
        ("id,images\nq_1,a_1\nq_1.jpg,b_2\n", ["line 3", "line 2 already"], ConfigError),
        ("id,images\nq_1\n", ["line 2", '"q_1"'], ConfigError),
        ("id,images\nq_1,a_1,0.5\n", ["line 2"], ConfigError),
        ('id,images\n"q_1","a_1"\n', ["line 2", "without quotes"], ConfigError),
        ("id,landmarks\nq_1,5 0.5\n", ["recognition submission"], ConfigError),
        ("id,image\nq_1,a_1\n", ["line 1", "id,images"], ConfigError),
        ("id,images\nq_1,\udc80\n", ["line 2", "UTF-8"], ConfigError),
        ("", ["is empty"], ConfigError),
    ],
)
def test_kaggle_files_that_cannot_be_right_are_refused(tmp_path, text, words, kind):
    path = tmp_path / "theirs.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    refusal(path, "theirs.csv", *words, kind=kind)


def test_a_recognition_file_gives_labels_and_scores(tmp_path):
    path = write(tmp_path / "theirs.csv", "id,landmarks\na,17 0.5\nb,\nc,-3 1e-3 \nd,1 2\n")
    assert read_recognition_predictions(path, {"a", "b", "c"}, {"d"}) == {"a": (17, 0.5), "c": (-3, 0.001)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,17\n", ["line 2", "label score"]),
        ("a,17 0.5 18 0.4\n", ["line 2", "label score"]),
        ("a,x 0.5\n", ["line 2", "label score"]),
        ("a,17 nan\n", ["line 2", "label score"]),
        ("a,17 1e999\n", ["line 2", "not finite"]),
        ("a,17 0.5\na,18 0.4\n", ["line 3", "line 2 already"]),
        ("b,17 0.5\n", ["line 2", '"b"']),
    ],
)
def test_recognition_files_that_cannot_be_right_are_refused(tmp_path, text, words):
    path = write(tmp_path / "theirs.csv", "id,landmarks\n" + text)
    with pytest.raises(RetrievalError) as caught:
        read_recognition_predictions(path, {"a"})
    assert all(word in str(caught.value) for word in words)


def test_a_retrieval_file_is_read_without_a_benchmark(tmp_path):
    path = write(tmp_path / "theirs.csv", "id,images\na,x y x\nb, \nc,z\n")
    assert read_retrieval_predictions(path, {"a", "b"}, {"c"}) == {"a": ("x", "y", "x")}
    with pytest.raises(SpecMismatch, match='line 4: "c" is not in the solution'):
        read_retrieval_predictions(path, {"a", "b"})


# ILIAS


def test_similarities_are_sorted_and_equal_ones_follow_the_gallery(tmp_path):
    scores = {"q_2.jpg": {}, "q_1": {"e_5": 0.5, "b_2": 0.5, "c_3": 2, "a_1": -1e-3, "d_4": 0.75}}
    for text in (json.dumps(scores), json.dumps(scores, indent=2), "\ufeff " + json.dumps(scores) + "\n"):
        found = read_results(write(tmp_path / "theirs.json", text), TOY)
        assert lists_of(found) == [[2, 3, 1, 4, 0], []]
        assert found.scores[0].tolist() == [2.0, 0.75, 0.5, 0.5, -0.001]
        assert found.scores[1].tolist() == []


def test_names_in_json_may_be_escaped(tmp_path):
    path = write(tmp_path / "theirs.json", '{"q\\u00e9": {"a\\"b": 1.0}}')
    assert read_results(path, benchmark_of(('a"b',), ("qé",))).lists[0].tolist() == [0]


@pytest.mark.parametrize(
    ("text", "words", "kind"),
    [
        ('{"q_1": {"a_1": 1}}', ["1 queries, toy has 2 queries; missing: q_2."], SpecMismatch),
        ('{"q_1": {},\n "q_3": {}}', ["line 2", 'no query "q_3"'], SpecMismatch),
        ('{"q_1": {},\n "q_2": {"z": 1}}', ["line 2", 'no image "z"'], SpecMismatch),
        ('{"q_1": {},\n "q_1": {}}', ["line 2", '"q_1" is there twice'], ConfigError),
        ('{"q_1": {"a_1": 1,\n"a_1": 2}, "q_2": {}}', ["line 2", '"a_1" is there twice', '"q_1"'], ConfigError),
        ('{"q_1": {"a_1": NaN}}', ["finite score", '"a_1"', "NaN"], ConfigError),
        ('{"q_1": {"a_1": -Infinity}}', ["finite score", '"a_1"'], ConfigError),
        ('{"q_1": {"a_1": 1e999}}', ["a_1", "inf"], ConfigError),
        (f'{{"q_1": {{"a_1": {"9" * 5000}}}}}', ["finite score", '"a_1"'], ConfigError),
        ('{"q_1": {"a_1": "1"}}', ["finite score"], ConfigError),
        ('{"q_1": {"a_1": 01}}', ["finite score"], ConfigError),
        ('{"q_1": {"a_1": true}}', ["finite score"], ConfigError),
        ('{"q_1": ["a_1"]}', ["{ was expected"], ConfigError),
        ('{"q_1": ' * 100_000, ["finite score"], ConfigError),
        ('{"q_1": {"a_1": 1}', [", or } was expected"], ConfigError),
        ('{"q_1": {"a_1": 1}, }', ['"name": was expected'], ConfigError),
        ('{"q_1": {}, "q_2": {}} {}', ["the end of the file"], ConfigError),
        ('{"q_\\x31": {}}', ["no JSON text"], ConfigError),
    ],
)
def test_similarities_that_cannot_be_right_are_refused(tmp_path, text, words, kind):
    refusal(write(tmp_path / "theirs.json", text), "theirs.json", *words, kind=kind)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(PHOTOS), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=2,
        max_size=2,
    ),
    st.sampled_from([None, 1]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_similarities_come_back(tmp_path, scores, indent):
    text = json.dumps(dict(zip(QUERIES, scores, strict=True)), indent=indent)
    found = read_results(write(tmp_path / "theirs.json", text), TOY)
    for photos, values, wanted in zip(found.lists, found.scores, scores, strict=True):
        assert {PHOTOS[i]: value for i, value in zip(photos, values, strict=True)} == wanted
        assert (np.diff(values) <= 0).all()


# TREC


def test_a_run_is_sorted_by_score_and_then_by_rank(tmp_path):
    lines = ["q_2 Q0 a_1 1 0.5 sys", "q_1 Q0 b_2 2 7 sys", "q_1 Q0 e_5 1 7 sys", "", "q_1\tQ0\tc_3\t3\t9e0\tsys"]
    found = read_results(write(tmp_path / "run.txt", "\n".join(lines)), TOY)
    assert lists_of(found) == [[2, 4, 1], [0]]
    assert found.scores[0].tolist() == [9.0, 7.0, 7.0]


@pytest.mark.parametrize(
    ("line", "words", "kind"),
    [
        ("q_1 Q0 a_1 2 0.4 sys", ["line 3", '"a_1" is there twice', '"q_1"'], ConfigError),
        ("q_1 Q0 jpg/a_1.jpg 2 0.4 sys", ["line 3", '"a_1" is there twice'], ConfigError),
        ("q_1 Q0 z 2 0.4 sys", ["line 3", 'no image "z"'], SpecMismatch),
        ("q_3 Q0 a_1 2 0.4 sys", ["line 3", 'no query "q_3"'], SpecMismatch),
        ("q_1 Q0 b_2 2 nan sys", ["line 3", "nan", '"b_2"'], ConfigError),
        ("q_1 Q0 b_2 2 inf sys", ["line 3", "inf", '"b_2"'], ConfigError),
        ("q_1 Q0 b_2 2 x sys", ["line 3", "rank score tag"], ConfigError),
        ("q_1 Q0 b_2 2.5 1 sys", ["line 3", "rank score tag"], ConfigError),
        ("q_1 Q0 b_2 2 1", ["line 3", "rank score tag"], ConfigError),
    ],
)
def test_runs_that_cannot_be_right_are_refused(tmp_path, line, words, kind):
    path = write(tmp_path / "run.trec", f"q_1 Q0 a_1 1 0.5 sys\nq_2 Q0 a_1 1 0.5 sys\n{line}\n")
    refusal(path, "run.trec", *words, kind=kind)


def test_a_run_without_a_query_is_refused_by_its_name(tmp_path):
    path = write(tmp_path / "run.txt", "q_1 Q0 a_1 1 0.5 sys\n")
    refusal(path, "run.txt has 1 queries, toy has 2 queries; missing: q_2.", kind=SpecMismatch)


# features


def expect_features(found, gallery=GALLERY_ROWS, queries=QUERY_ROWS):
    assert isinstance(found, Features)
    assert found.gallery.dtype == found.queries.dtype == np.float32
    np.testing.assert_array_equal(found.gallery, gallery)
    np.testing.assert_array_equal(found.queries, queries)


ROWS = np.concatenate([GALLERY_ROWS, QUERY_ROWS])
NAMES = [*PHOTOS, *QUERIES]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_one_npy_holds_the_gallery_and_then_the_queries(npy, dtype, order):
    rows = np.asarray(ROWS, dtype, order=order)
    wanted = ROWS.astype(dtype).astype(np.float32)
    expect_features(read_results(npy(rows), TOY), wanted[:5], wanted[5:])


@given(st.permutations(range(7)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_named_rows_may_come_in_any_order(tmp_path, order):
    np.save(tmp_path / "rows.npy", ROWS[order])
    names = write(tmp_path / "NAMES.txt", "".join(f"{NAMES[i]}.jpg\n" for i in order))
    expect_features(read_results(tmp_path / "rows.npy", TOY, names))


def test_a_folder_holds_gallery_and_queries_apart(tmp_path, npy):
    npy(GALLERY_ROWS, "gallery.npy")
    npy(QUERY_ROWS, "queries.npy")
    expect_features(read_results(tmp_path, TOY))
    names = write(tmp_path / "NAMES.txt", "\n".join([*PHOTOS[::-1], *QUERIES]))
    expect_features(read_results(tmp_path, TOY, names), GALLERY_ROWS[::-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("packed", [False, True])
def test_a_mat_holds_columns(tmp_path, dtype, packed):
    matrices = {
        "names": np.array(NAMES, object),
        "X": GALLERY_ROWS.T.astype(dtype),
        "about": {"model": "some"},
        "Q": QUERY_ROWS.T.astype(dtype),
        "big": np.arange(10_000.0),
        "complex": np.array([[1j]]),
    }
    scipy.io.savemat(tmp_path / "features.mat", matrices, do_compression=packed)
    expect_features(read_results(tmp_path / "features.mat", TOY))
    names = write(tmp_path / "NAMES.txt", "\n".join([*PHOTOS[::-1], *QUERIES[::-1]]))
    found = read_results(tmp_path / "features.mat", TOY, names)
    expect_features(found, GALLERY_ROWS[::-1], QUERY_ROWS[::-1])


def test_nothing_of_a_mat_is_unpacked_that_was_not_asked_for(tmp_path, mat, monkeypatch):
    path = mat(big=np.zeros((1000, 1000)), X=GALLERY_ROWS.T, Q=QUERY_ROWS.T)
    unpacked = []
    real = zlib.decompressobj

    class Counting:
        def __init__(self):
            self._real = real()

        def decompress(self, data, limit):
            part = self._real.decompress(data, limit)
            unpacked.append(len(part))
            return part

        def __getattr__(self, name):
            return getattr(self._real, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    expect_features(read_results(path, TOY))
    assert sum(unpacked) < 10_000


def test_a_changed_number_in_a_packed_mat_is_noticed(tmp_path, mat):
    path = mat(X=GALLERY_ROWS.T, Q=QUERY_ROWS.T)
    data = path.read_bytes()
    size = int.from_bytes(data[132:136], "little")
    body = zlib.decompress(data[136 : 136 + size])
    changed = body[:-1] + bytes([body[-1] ^ 1])
    packed = zlib.compress(changed)[:-4] + zlib.compress(body)[-4:]
    path.write_bytes(data[:132] + struct.pack("<I", len(packed)) + packed + data[136 + size :])
    refusal(path, "incorrect data check")


def test_a_bomb_in_a_mat_is_refused_by_its_shape(tmp_path, mat):
    path = mat(X=np.zeros((100, 40_000)), Q=QUERY_ROWS.T)
    assert path.stat().st_size < 100_000
    refusal(path, f"features.mat has 40{THOUSANDS}000 columns, toy has 5 images", kind=SpecMismatch)


@pytest.mark.parametrize(
    ("matrices", "words", "kind"),
    [
        ({"X": GALLERY_ROWS.T}, ["X (D, images) and Q (D, queries)"], ConfigError),
        ({"X": GALLERY_ROWS, "Q": QUERY_ROWS}, ["save X' and Q'"], ConfigError),
        ({"X": GALLERY_ROWS.T[:, :4], "Q": QUERY_ROWS.T}, ["4 columns, toy has 5 images"], SpecMismatch),
        ({"X": GALLERY_ROWS.T, "Q": QUERY_ROWS.T[:, :1]}, ["1 columns, toy has 2 queries"], SpecMismatch),
        ({"X": GALLERY_ROWS.T, "Q": QUERY_ROWS.T[:2]}, ["3 numbers for the gallery and of 2"], ConfigError),
        ({"X": GALLERY_ROWS.T + 1j, "Q": QUERY_ROWS.T}, ['"X" is no matrix of real numbers'], ConfigError),
        ({"X": GALLERY_ROWS.T.astype(int), "Q": QUERY_ROWS.T}, ['"X" is no matrix of real numbers'], ConfigError),
        ({"X": np.array(PHOTOS, object), "Q": QUERY_ROWS.T}, ["found Q (3, 2)"], ConfigError),
        ({"X": GALLERY_ROWS.T, "Q": np.full((3, 2), np.nan)}, ["column of Q 0", "not finite"], ConfigError),
    ],
)
def test_mats_that_cannot_be_right_are_refused(mat, matrices, words, kind):
    refusal(mat(**matrices), "features.mat", *words, kind=kind)


def test_a_mat_of_another_version_is_refused(tmp_path):
    path = tmp_path / "features.mat"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    refusal(path, "7.3", "-v7", "gallery.npy")
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(128))
    refusal(path, "features.mat", "no header of version 5 to 7")
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(head + struct.pack("<II", 14, 8) * 10_002)
    refusal(path, "features.mat", "ends early")
    path.write_bytes(head + struct.pack("<II", 15, 0) * 10_002)
    refusal(path, "features.mat", "ends early")
    path.write_bytes(head + struct.pack("<II", 14, 0) * 10_001)
    refusal(path, "features.mat", "10,000 variables")


@pytest.mark.parametrize(
    ("rows", "names", "words", "kind"),
    [
        (ROWS[:6], None, ["6 rows, 2 of which should be queries, toy has 5 images"], SpecMismatch),
        (ROWS, NAMES[:6], ["6 names", "7 descriptors"], ConfigError),
        (ROWS[:6], [*PHOTOS[:4], *QUERIES], ["toy has 5 images; missing: e_5."], SpecMismatch),
        (ROWS[:6], NAMES[:6], ["rows for 1 queries, toy has 2 queries; missing: q_2."], SpecMismatch),
        (ROWS, [*NAMES[:6], "z"], ["line 7", 'no image "z"'], SpecMismatch),
        (ROWS, [*NAMES[:6], "a_1.jpg"], ["line 7", '"a_1.jpg" is there twice', "line 1"], ConfigError),
        (ROWS, [*NAMES[:5], "", "q_2"], ["line 6 is empty"], ConfigError),
        (np.where(np.arange(7)[:, None] == 3, np.nan, ROWS), None, ["row 3 (from 0)", "not finite"], ConfigError),
        (
            np.where(np.arange(7)[:, None] == 6, 1e39, ROWS.astype(np.float64)),
            None,
            ["row 6 (from 0)", "not finite"],
            ConfigError,
        ),
        (ROWS[:, 0], None, ["(7,)"], ConfigError),
        (ROWS[:, :0], None, ["1 to 65536"], ConfigError),
        (np.zeros((7, 70_000), np.float16), None, ["transpose"], ConfigError),
        (ROWS.astype(int), None, ["ranks belong in a .npz"], ConfigError),
        (ROWS + 1j, None, ["complex64"], ConfigError),
        (np.array(NAMES), None, ["<U3"], ConfigError),
    ],
)
def test_features_that_cannot_be_right_are_refused(tmp_path, npy, rows, names, words, kind):
    file = None if names is None else write(tmp_path / "NAMES.txt", "\n".join(names) + "\n")
    refusal(npy(rows), *words, kind=kind, names=file)


def test_folders_that_cannot_be_right_are_refused(tmp_path, npy):
    refusal(tmp_path, "gallery.npy", "check the path")
    npy(GALLERY_ROWS[:4], "gallery.npy")
    npy(QUERY_ROWS, "queries.npy")
    refusal(tmp_path, "gallery.npy has 4 rows, toy has 5 images", kind=SpecMismatch)
    names = write(tmp_path / "NAMES.txt", "\n".join([*PHOTOS[1:], *QUERIES]))
    refusal(tmp_path, "has 4 rows, toy has 5 images; missing: a_1.", kind=SpecMismatch, names=names)
    npy(GALLERY_ROWS[:, :2], "gallery.npy")
    refusal(tmp_path, "2 numbers for the gallery and of 3")
    npy(np.where(np.arange(5)[:, None] == 2, np.inf, GALLERY_ROWS), "gallery.npy")
    refusal(tmp_path, "gallery.npy, row 2 (from 0)")


# features of distractors: three rows after those of the gallery

MORE_ROWS = RNG.normal(size=(3, 3)).astype(np.float32)
WITH_MORE = np.concatenate([GALLERY_ROWS, MORE_ROWS])


@pytest.fixture
def save_features(tmp_path, npy, mat):
    """Write rows of a gallery and of queries as a kind of file."""

    def save(kind, gallery, queries=QUERY_ROWS):
        if kind == "npy":
            return npy(np.concatenate([gallery, queries]))
        if kind == "mat":
            return mat(X=gallery.T, Q=queries.T)
        npy(gallery, "gallery.npy")
        npy(queries, "queries.npy")
        return tmp_path

    return save


KINDS = pytest.mark.parametrize("kind", ["npy", "folder", "mat"])


@KINDS
def test_features_may_have_distractors_after_the_gallery(save_features, kind):
    expect_features(read_results(save_features(kind, WITH_MORE), TOY, num_distractors=3), WITH_MORE)


@KINDS
def test_names_may_leave_distractors_out_or_name_them_anywhere(tmp_path, save_features, kind):
    names = write(tmp_path / "NAMES.txt", "\n".join([*PHOTOS[::-1], *QUERIES[::-1]]))
    path = save_features(kind, np.concatenate([GALLERY_ROWS[::-1], MORE_ROWS]), QUERY_ROWS[::-1])
    expect_features(read_results(path, TOY, names, num_distractors=3), WITH_MORE)
    order = [5, 3, 0, 6, 4, 2, 1, 7]
    all_names = [*PHOTOS, "x", "y", "z"]
    write(names, "\n".join([*(all_names[i] for i in order), *QUERIES]))
    path = save_features(kind, WITH_MORE[order])
    expect_features(read_results(path, TOY, names, num_distractors=3), WITH_MORE)


@KINDS
@pytest.mark.parametrize(
    ("gallery", "num_distractors", "words"),
    [
        (WITH_MORE, 0, ["toy has 5 images → --distractors NAME", "give the name"]),
        (WITH_MORE, 4, ["toy has 5 images and 4 distractors → the --distractors that", "or none"]),
        (GALLERY_ROWS, 3, ["toy has 5 images and 3 distractors → the --distractors that", "or none"]),
        (GALLERY_ROWS[:4], 0, ["toy has 5 images → give the name"]),
    ],
)
def test_features_of_other_distractors_are_refused(save_features, kind, gallery, num_distractors, words):
    refusal(save_features(kind, gallery), *words, kind=SpecMismatch, num_distractors=num_distractors)


@KINDS
@pytest.mark.parametrize(
    ("names", "num_distractors", "words"),
    [
        ([*PHOTOS, "x", "y", "z"], 0, ['6: toy has no image "x"', "→ --distractors NAME"]),
        ([*PHOTOS, "x", "y", "z"], 2, ["3 ", "names", "toy has 5 images and 2 distractors"]),
        ([*PHOTOS[:4], "w", "x", "y", "z"], 3, ["toy has 5 images and 3 distractors; missing: e_5."]),
    ],
)
def test_named_features_of_other_distractors_are_refused(tmp_path, save_features, kind, names, num_distractors, words):
    file = write(tmp_path / "NAMES.txt", "\n".join([*names, *QUERIES]))
    path = save_features(kind, WITH_MORE)
    refusal(path, *words, kind=SpecMismatch, names=file, num_distractors=num_distractors)


def test_the_line_of_a_name_is_told_where_distractors_are_left_out(tmp_path, save_features):
    names = write(tmp_path / "NAMES.txt", "\n".join([*PHOTOS, "q_1", "q_1.jpg"]))
    path = save_features("npy", WITH_MORE)
    refusal(path, "line 7", '"q_1.jpg" is there twice, as line 6', names=names, num_distractors=3)


def test_a_query_that_is_a_whole_photo_of_the_gallery_needs_no_row(tmp_path, npy):
    whole = benchmark_of(queries=("a_1", "c_3"), own=(0, 2))
    expect_features(read_results(npy(GALLERY_ROWS), whole), queries=GALLERY_ROWS[[0, 2]])
    names = write(tmp_path / "NAMES.txt", "\n".join(PHOTOS[::-1]))
    found = read_results(npy(GALLERY_ROWS[::-1]), whole, names)
    expect_features(found, queries=GALLERY_ROWS[[0, 2]])


def test_a_name_that_is_a_photo_and_a_cropped_query_is_refused(tmp_path, npy):
    cropped = benchmark_of(queries=("a_1", "c_3"), own=(0, 2), corners=(0.0, 0.0, 9.0, 9.0))
    names = write(tmp_path / "NAMES.txt", "\n".join([*PHOTOS, "a_1", "c_3"]))
    refusal(npy(ROWS), "line 1", '"a_1" is a photo of the gallery and a query', benchmark=cropped, names=names)
    expect_features(read_results(npy(ROWS), cropped))


# which kind it is


def test_content_and_suffix_must_agree(tmp_path, npy):
    path = npy(ROWS)
    refusal(path.rename(tmp_path / "x.npz"), "does not begin as a .npz does")
    refusal(write(tmp_path / "x.json", "id,images\n"), "does not begin as a .json does")
    refusal(write(tmp_path / "x.dat", "what is this"), "of no known kind", "ILIAS", "Kaggle", "TREC")
    refusal(write(tmp_path / "empty", ""), "is empty")
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04\x95" + bytes(20))
    refusal(tmp_path / "x.pkl", "of no known kind")


def test_a_file_without_a_suffix_is_known_by_its_content(tmp_path, npz, npy, mat):
    assert lists_of(read_results(npz(ranks=RANKS).rename(tmp_path / "1"), TOY)) == list(ORDERS)
    expect_features(read_results(npy(ROWS).rename(tmp_path / "2"), TOY))
    expect_features(read_results(mat(X=GALLERY_ROWS.T, Q=QUERY_ROWS.T).rename(tmp_path / "3"), TOY))
    assert lists_of(read_results(write(tmp_path / "4", '{"q_1": {"a_1": 1}, "q_2": {}}'), TOY)) == [[0], []]
    assert lists_of(read_results(write(tmp_path / "5", "id,images\nq_1,a_1\n"), TOY)) == [[0], []]
    assert lists_of(read_results(write(tmp_path / "6", "q_1 0 a_1 1 1 x\nq_2 0 b_2 1 1 x\n"), TOY)) == [[0], [1]]


def test_what_is_no_regular_file_is_refused(tmp_path):
    refusal(tmp_path / "none.npz", "none.npz", "check the path")
    os.mkfifo(tmp_path / "pipe.npz")
    refusal(tmp_path / "pipe.npz", "no regular file")
    refusal(Path("/dev/zero"), "no regular file")
    refusal(tmp_path / "a\0b", "check the path")


def test_files_over_the_limit_are_refused_unread(tmp_path, npz, npy, monkeypatch):
    monkeypatch.setattr(arrays, "MAX_ARCHIVE", 20)
    refusal(npz(ranks=RANKS), "bytes", "limit")
    # Files of holes: they say that they are large, and take no space.
    heads = {"theirs.json": "{", "theirs.csv": "id,images\n", "run.trec": "q_1 Q0 a_1 1 1 x\n", "NAMES.txt": "a_1\n"}
    for name, head in heads.items():
        with (tmp_path / name).open("wb") as file:
            file.write(head.encode())
            file.truncate(1 << 40)
        if name != "NAMES.txt":
            refusal(tmp_path / name, name, "limit")
    refusal(npy(ROWS), "NAMES.txt", "limit", names=tmp_path / "NAMES.txt")
    with (tmp_path / "features.mat").open("wb") as file:
        file.write(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM")
        file.truncate(1 << 40)
    refusal(tmp_path / "features.mat", "features.mat", "limit")


def test_a_line_over_the_limit_is_refused(tmp_path):
    path = write(tmp_path / "theirs.csv", "id,images\nq_1," + "a_1 " * (1 << 20) + "\n")
    refusal(path, "line 2", "longer than")


def test_lists_have_their_own_names(tmp_path, npz):
    names = write(tmp_path / "NAMES.txt", "a_1\n")
    refusal(npz(ranks=RANKS), "names of their own", names=names)


def test_what_was_read_keeps_its_invariants():
    one = np.zeros(1, np.int64)
    with pytest.raises(ShapeError, match="2 queries, 1 lists"):
        RankedLists(("a", "b"), (one,))
    with pytest.raises(ShapeError, match="needs a score"):
        RankedLists(("a",), (one,), (np.zeros(2),))
    with pytest.raises(ShapeError, match="expected"):
        Features(GALLERY_ROWS, QUERY_ROWS[:, :2])
