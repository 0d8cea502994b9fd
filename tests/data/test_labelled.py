"""Photos with labels from every kind of list, each of which may be hostile."""

import io
import json
import os
import tarfile

import numpy as np
import pytest

from glocal.data import lists, shards
from glocal.data.labelled import LabelledPhotos, open_photos, split_classes
from glocal.errors import ConfigError, ImageError, ShapeError
from tests.conftest import save, texture


def table(photos):
    """Source -> name of its class."""
    root = photos.root + "/"
    return {s.removeprefix(root): photos.names[n] for s, n in zip(photos.sources, photos.labels, strict=True)}


def add(tar, name, data=b"", **attributes):
    header = tarfile.TarInfo(name)
    header.size = len(data)
    for key, value in attributes.items():
        setattr(header, key, value)
    tar.addfile(header, io.BytesIO(data))


def shard(path, members, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members:
            add(tar, name, data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def many(counts):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return LabelledPhotos(tuple(map(str, range(len(labels)))), labels, tuple(f"c{n}" for n in range(len(counts))))


# ---- the table ----


def test_a_folder_per_object_becomes_classes_in_order_of_name_and_loose_photos_count_only_if_wanted(tmp_path):
    for name in ("b/1.jpg", "b/deep/2.JPG", "a/3.png", "loose.jpg", ".hidden/4.jpg"):
        save(tmp_path / name, texture(0, 32, 32))
    (tmp_path / "a/notes.txt").write_text("no picture")
    (tmp_path / "a/link.jpg").symlink_to(tmp_path / "b/1.jpg")
    photos = open_photos("folder", str(tmp_path))
    assert table(photos) == {"a/3.png": "a", "b/1.jpg": "b", "b/deep/2.JPG": "b"}
    assert photos.names == ("a", "b")
    assert photos.read(0) == (tmp_path / "a/3.png").read_bytes()
    all_photos = open_photos("folder", str(tmp_path), unlabelled=True)
    assert all_photos.names == ("a", "b", "loose.jpg")
    assert all_photos.labels.tolist() == [0, 1, 1, 2]


def test_csv_takes_its_columns_by_name_and_an_empty_label_is_none(tmp_path):
    (tmp_path / "list.csv").write_text('\ufefflabel,tier,path\nx,A,"one, two.jpg"\n,A,none.jpg\ny,B,sub/../three.jpg\n')
    assert table(open_photos("csv", str(tmp_path / "list.csv"))) == {"one, two.jpg": "x", "three.jpg": "y"}
    only_a = open_photos("csv", str(tmp_path / "list.csv"), unlabelled=True, allow=lambda about: about["tier"] == "A")
    assert table(only_a) == {"one, two.jpg": "x", "none.jpg": "none.jpg"}


def test_labels_that_are_numbers_are_ordered_as_numbers_and_paths_may_have_spaces(tmp_path):
    (tmp_path / "list.txt").write_text("a b.jpg 10\n\nc.jpg\t9\nd.jpg 10\n")
    photos = open_photos("list", str(tmp_path / "list.txt"))
    assert photos.names == ("9", "10")
    assert table(photos) == {"a b.jpg": "10", "c.jpg": "9", "d.jpg": "10"}
    (tmp_path / "list.txt").write_text("a.jpg 10\nc.jpg x\nd.jpg 9\n")
    assert open_photos("list", str(tmp_path / "list.txt")).names == ("10", "9", "x")


def test_gldv2_is_read_from_either_list_and_from_both_places(tmp_path):
    one, two, three = "0123456789abcdef", "fedcba9876543210", "00000000000000aa"
    (tmp_path / "train").mkdir()
    (tmp_path / "train/train_clean.csv").write_text(f"landmark_id,images\n10,{one} {two}\n9,{three}\n")
    (tmp_path / "train.csv").write_text(f'id,url,landmark_id\n{one},"http://x/a,b.jpg",10\n{two},http://y,2\n')
    clean = open_photos("gldv2", str(tmp_path))
    assert clean.names == ("9", "10")
    assert table(clean)[f"train/0/1/2/{one}.jpg"] == "10"
    every = open_photos("gldv2", str(tmp_path), clean=False)
    assert every.names == ("2", "10")
    assert set(table(every)) == {f"train/0/1/2/{one}.jpg", f"train/f/e/d/{two}.jpg"}
    named = open_photos("gldv2", str(tmp_path / "train.csv"))
    assert table(named) == table(every)
    assert open_photos("gldv2", str(tmp_path / "train.csv"), root=str(tmp_path / "train")).root.endswith("train")


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_webdataset_members_are_read_by_their_place_in_the_shard(tmp_path, kind):
    long = "folder/" + "n" * 90 + "/" + "k" * 90
    first = [("a:1.jpg", b"first"), ("a:1.json", {"group": "x", "tier": "A"}), ("b.json", {"group": None})]
    shard(tmp_path / "s-000.tar", [*first, ("b.png", b"second"), ("d.txt", b"?")], format=kind)
    shard(tmp_path / "s-001.tar", [(f"{long}.JPG", b"third"), (f"{long}.json", {"group": 7})], format=kind)
    photos = open_photos("webdataset", str(tmp_path), unlabelled=True)
    assert [photos.read(i) for i in range(3)] == [b"first", b"third", b"second"]
    assert photos.sources[0].startswith(f"{tmp_path}/s-000.tar:")
    assert photos.sources[0].endswith(":5:a_1")
    assert photos.labels.tolist() == [1, 0, 2]
    assert photos.names[:2] == ("7", "x")
    assert len(open_photos("webdataset", str(tmp_path))) == 2
    assert len(open_photos("webdataset", str(tmp_path / "s-*1.tar"))) == 1
    assert len(open_photos("webdataset", str(tmp_path / "s-000.tar"), allow=lambda j: j.get("tier") == "A")) == 1
    assert open_photos("webdataset", str(tmp_path), label="tier").names == ("A",)


def test_times_in_extended_headers_do_no_harm(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "ä.jpg", b"first", mtime=1.5)
        add(tar, "ä.json", b'{"group": "g"}', mtime=2.5)
    photos = open_photos("webdataset", str(tmp_path / "s.tar"))
    assert photos.read(0) == b"first"
    assert photos.names == ("g",)


def test_a_subset_numbers_its_classes_anew_and_keeps_their_names():
    part = many([2, 1, 3]).subset(np.array([1, 0, 0, 1, 1, 0], bool))
    assert part.labels.tolist() == [0, 1, 1]
    assert part.names == ("c0", "c2")
    assert part.sources == ("0", "3", "4")
    assert len(part.subset(np.zeros(3, bool))) == 0
    with pytest.raises(ShapeError, match="mask"):
        part.subset(np.zeros(4, bool))


def test_labels_without_a_name_or_of_another_length_are_refused():
    with pytest.raises(ShapeError, match="0 to 0"):
        LabelledPhotos(("a",), np.array([1]), ("x",))
    with pytest.raises(ShapeError, match="as many as sources"):
        LabelledPhotos(("a",), np.array([0, 0]), ("x",))


def test_the_digest_is_that_of_the_content_wherever_the_folder_lies(tmp_path):
    for place in ("here", "there"):
        for name in ("a/1.jpg", "b/2.jpg"):
            save(tmp_path / place / name, texture(0, 32, 32))
    here, there = (open_photos("folder", str(tmp_path / place)) for place in ("here", "there"))
    assert here.digest() == there.digest()
    assert here.digest() != here.subset(np.array([True, False])).digest()
    other = LabelledPhotos(here.sources, here.labels[::-1].copy(), here.names, here.root)
    assert other.digest() != here.digest()


# ---- held-back classes ----


def test_whole_classes_are_held_back_and_lone_photos_never():
    photos = many([1] * 5 + [3] * 20)
    train, held = split_classes(photos, 0.25, 0)
    assert len(train) + len(held) == len(photos)
    assert held.num_classes == 5
    assert not set(train.names) & set(held.names)
    assert np.bincount(held.labels).min() == 3
    assert {f"c{n}" for n in range(5)} <= set(train.names)


def test_the_split_depends_on_the_seed_alone():
    photos = many([2] * 30)
    assert split_classes(photos, 0.2, 3)[1].names == split_classes(photos, 0.2, 3)[1].names
    assert split_classes(photos, 0.2, 3)[1].names != split_classes(photos, 0.2, 4)[1].names


def test_at_least_two_classes_are_held_back_unless_nothing_would_be_left():
    assert split_classes(many([2] * 10), 0.01, 0)[1].num_classes == 2
    assert split_classes(many([2] * 10), 0.0, 0)[1].num_classes == 0
    assert split_classes(many([2, 2]), 0.5, 0)[1].num_classes == 0
    assert split_classes(many([1] * 10), 0.5, 0)[1].num_classes == 0
    assert split_classes(many([]), 0.5, 0)[1].num_classes == 0
    with pytest.raises(ConfigError, match="held_back"):
        split_classes(many([2]), 1.0, 0)


# ---- hostile and broken input ----


def test_a_missing_photo_is_told_when_it_is_read(tmp_path):
    (tmp_path / "list.txt").write_text("gone.jpg 1\n")
    with pytest.raises(ImageError) as raised:
        open_photos("list", str(tmp_path / "list.txt")).read(0)
    assert raised.value.code == "unreadable"


@pytest.mark.parametrize("name", ["../out.jpg", "/etc/passwd", "a/../../x", ".", "a\0b"])
@pytest.mark.parametrize("source", ["csv", "list"])
def test_a_path_that_leaves_the_root_is_refused_with_its_line(tmp_path, source, name):
    path = tmp_path / "list"
    path.write_text(f"path,label\nok.jpg,1\n{name},1\n" if source == "csv" else f"ok.jpg 1\n\n{name} 1\n")
    with pytest.raises(ConfigError, match=r"list, line 3: .* is not inside"):
        open_photos(source, str(path))


def test_full_paths_are_allowed_inside_the_root(tmp_path):
    (tmp_path / "list").write_text(f"{tmp_path}/a.jpg 1\n")
    assert open_photos("list", str(tmp_path / "list")).sources == (f"{tmp_path}/a.jpg",)
    assert open_photos("list", str(tmp_path / "list"), root="/").sources == (f"{tmp_path}/a.jpg",)


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("csv", "image,label\na,b\n", 'line 1: columns "path" and "label"'),
        ("csv", "", 'line 1: columns "path" and "label"'),
        ("csv", "path,label\na.jpg,1\nb.jpg\n", "line 3: 2 columns"),
        ("csv", "path,label\na.jpg,1,2\n", "line 2: 2 columns"),
        ("csv", 'path,label\n"a.jpg,1\n', "line 2: "),
        ("csv", f"path,label\n{'a' * 200_000},1\n", "line 2: field larger"),
        ("csv", f"path,label\na.jpg,{'x' * 1001}\n", "line 2: a label of 1,001"),
        ("list", "a.jpg 1\nb.jpg\n", 'line 2: write "path label"'),
        ("gldv2", "id,landmark\n", "line 1: .* was expected"),
        ("gldv2", "landmark_id,images\n1,0123456789abcdef\nx,0123456789abcdef\n", "line 3: "),
        ("gldv2", "landmark_id,images\n1,\n", "line 2: "),
        ("gldv2", "landmark_id,images\n1,../../etc/passwd\n", "line 2: .* is no image id"),
        ("gldv2", "id,url,landmark_id\n0123456789ABCDEF,u,1\n", "line 2: .* is no image id"),
        ("gldv2", f"id,url,landmark_id\n0123456789abcdef,u,{'1' * 5000}\n", "line 2: a label of 5,000"),
    ],
)
def test_a_malformed_list_is_told_with_its_line(tmp_path, source, text, message):
    (tmp_path / "list").write_text(text)
    with pytest.raises(ConfigError, match=message):
        open_photos(source, str(tmp_path / "list"))


def test_lines_that_are_no_text_or_have_no_end_are_refused(tmp_path, monkeypatch):
    (tmp_path / "list").write_bytes(b"a.jpg 1\n\xff\xfe 2\n")
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        open_photos("list", str(tmp_path / "list"))
    monkeypatch.setattr("glocal.data.input_file.MAX_LINE", 100)
    (tmp_path / "list").write_bytes(b"x" * 101)
    with pytest.raises(ConfigError, match="line 1: longer than"):
        open_photos("list", str(tmp_path / "list"))


@pytest.mark.parametrize("source", ["folder", "csv", "list", "gldv2", "webdataset"])
def test_what_is_not_there_is_told_at_once(tmp_path, source):
    for path in ("", str(tmp_path / "nothing")):
        with pytest.raises(ConfigError, match=r"data\.path"):
            open_photos(source, path)


def test_pipes_unknown_sources_and_missing_roots_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no regular file"):
        open_photos("list", str(tmp_path / "pipe"))
    with pytest.raises(ConfigError, match=r"data\.source is folder"):
        open_photos("parquet", str(tmp_path))
    with pytest.raises(ConfigError, match=r"data\.root"):
        open_photos("list", str(tmp_path / "list"), root=str(tmp_path / "nothing"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE])
def test_links_devices_and_sparse_files_in_a_shard_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add(tar, "a.jpg", b"", type=kind, linkname="/etc/passwd")
    with pytest.raises(ConfigError, match=r"a\.jpg.* is a link, device or sparse file"):
        open_photos("webdataset", str(tmp_path / "s.tar"))


def block(name, size, kind=tarfile.REGTYPE):
    header = tarfile.TarInfo(name)
    header.size, header.type = size, kind
    return header.tobuf(tarfile.GNU_FORMAT)


def padded(data):
    return data + bytes(-len(data) % 512)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no tar header"),
        (b"\x1f\x8b" + bytes(600), "no tar header"),
        (b"x" * 512, "no tar header"),
        (block("a.jpg", 5)[:300], "no tar header"),
        (block("a.jpg", 513) + bytes(512), "leaves the file"),
        (block("a.jpg", 1 << 50) + bytes(512), "leaves the file"),
        (block("x", 1 << 20, tarfile.XHDTYPE) + bytes(1 << 20), "an extended header of 1,048,576 bytes"),
        (block("x", 1 << 20, tarfile.GNUTYPE_LONGNAME) + bytes(1 << 20), "an extended header of"),
        (block("x", 9, tarfile.XHDTYPE) + padded(b"99 path=a"), "makes no sense"),
        (block("x", 9, tarfile.XHDTYPE) + padded(b"not a pax"), "makes no sense"),
        (block("x", 9, tarfile.XHDTYPE) + padded(b"9 noequal"), "makes no sense"),
        (block("x", 11, tarfile.XHDTYPE) + padded(b"11 size=-1\n") + block("a.jpg", 0), "a size that is no number"),
        (block("x", 11, tarfile.XGLTYPE) + padded(b"11 path=ab\n") + block("a.jpg", 0), "all members at once"),
        (block("x", 23, tarfile.XHDTYPE) + padded(b"23 GNU.sparse.major=10\n"), "a sparse file"),
    ],
)
def test_a_shard_with_a_lying_header_is_refused(tmp_path, data, message):
    (tmp_path / "s.tar").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        open_photos("webdataset", str(tmp_path / "s.tar"))


def test_a_compressed_shard_and_one_with_too_many_members_are_refused(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "s.tar", "w:gz") as tar:
        add(tar, "a.jpg", b"x")
    with pytest.raises(ConfigError, match="no tar header"):
        open_photos("webdataset", str(tmp_path / "s.tar"))
    monkeypatch.setattr(shards, "MAX_MEMBERS", 2)
    shard(tmp_path / "s.tar", [(f"{n}.jpg", b"x") for n in range(3)])
    with pytest.raises(ConfigError, match="more than 2 members"):
        open_photos("webdataset", str(tmp_path / "s.tar"))


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (b"{", "is no JSON"),
        (b"[1]", "is no JSON object"),
        (b"", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b"[" * 60_000, "is no JSON"),
        (b" " * 70_000, "the limit is 65,536"),
        (b'{"group": ["x"]}', '"group" must be a text'),
        (b'{"group": true}', '"group" must be a text'),
        (json.dumps({"group": "x" * 1001}).encode(), "a label of 1,001"),
    ],
)
def test_a_note_that_makes_no_sense_is_told_with_its_shard(tmp_path, note, message):
    shard(tmp_path / "s.tar", [("a.jpg", b"x"), ("a.json", note)])
    with pytest.raises(ConfigError, match=f"s.tar.*{message}"):
        open_photos("webdataset", str(tmp_path / "s.tar"))


def test_two_photos_of_one_key_are_refused(tmp_path):
    shard(tmp_path / "s.tar", [("a.jpg", b"x"), ("a.png", b"y")])
    with pytest.raises(ConfigError, match='"a" is there twice'):
        open_photos("webdataset", str(tmp_path / "s.tar"))


def test_members_that_are_empty_too_large_or_gone_are_errors_of_the_photo(tmp_path):
    path = shard(tmp_path / "s.tar", [("a.jpg", b""), ("b.jpg", b"x" * 2000)])
    photos = open_photos("webdataset", str(path), unlabelled=True)
    limits = lists.read_member.__defaults__[0]
    small = type(limits)(max_bytes=1000)
    for action, code in ((lambda: photos.read(0), "empty"), (lambda: photos.read(1, small), "too_large_file")):
        with pytest.raises(ImageError) as raised:
            action()
        assert raised.value.code == code
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match="shorter"):
        photos.read(1)
    path.unlink()
    with pytest.raises(ImageError) as raised:
        photos.read(1)
    assert raised.value.code == "unreadable"
