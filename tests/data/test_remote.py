import datetime
import os
import sys
import zipfile

import pytest

from glocal.data.image import DecodeLimits, hash_content
from glocal.data.remote import RemoteFile, RemoteFolder, is_url
from glocal.errors import BackendUnavailable, ConfigError, ImageError

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'glocal[remote]'")


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    store.pipe("/bucket/p/a.jpg", b"first")
    store.pipe("/bucket/p/b/c d#%.jpg", b"second")
    yield store
    store.rm("/bucket", recursive=True)


def code_of(call):
    with pytest.raises(ImageError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("place", ["s3://b/p", "file:///x", "zip://::/x.zip", "zip://p::s3://b/x.zip", "gs://b"])
def test_urls_are_told_from_paths(place):
    assert is_url(place)


@pytest.mark.parametrize("place", ["/photos", "photos", "./a:b", "C", "photos/s3://x", "", "a/b::c", "1://x"])
def test_paths_are_told_from_urls(place):
    assert not is_url(place)


def test_files_are_listed_by_their_path_in_the_folder(memory):
    listing = RemoteFolder("memory://bucket/p/").list_files()
    assert [(file.path, file.size) for file in listing.files] == [(b"a.jpg", 5), (b"b/c d#%.jpg", 6)]
    assert listing.unlisted == []


def test_a_file_is_read_with_its_hash_and_the_time_of_the_listing(memory):
    folder = RemoteFolder("memory://bucket/p")
    for file in folder.list_files().files:
        read = folder.read(file.path)
        assert read.data == {b"a.jpg": b"first", b"b/c d#%.jpg": b"second"}[file.path]
        assert read.content_hash == hash_content(read.data)
        assert read.mtime_ns == file.mtime_ns > 0


def test_a_file_that_is_written_again_has_another_time(memory):
    folder = RemoteFolder("memory://bucket/p")
    before = folder.list_files().files[0]
    memory.pipe("/bucket/p/a.jpg", b"other")
    after = folder.list_files().files[0]
    assert (before.path, before.size) == (after.path, after.size)
    assert before.mtime_ns != after.mtime_ns


def test_a_folder_of_this_computer_gives_the_same_as_by_its_path(tmp_path):
    (tmp_path / "sub/.hidden").mkdir(parents=True)
    (tmp_path / "sub/a.jpg").write_bytes(b"abc")
    (tmp_path / "sub/.hidden/b.jpg").write_bytes(b"hidden")
    (tmp_path / "link.jpg").symlink_to("sub/a.jpg")
    (tmp_path / "loop").symlink_to(".")
    folder = RemoteFolder(f"file://{tmp_path}")
    (file,) = folder.list_files().files
    assert (file.path, file.size) == (b"sub/a.jpg", 3)
    # Only a float of seconds comes through: a microsecond may be lost.
    assert abs(file.mtime_ns - os.stat(tmp_path / "sub/a.jpg").st_mtime_ns) < 1000
    assert code_of(lambda: folder.read(b"link.jpg")) == "not_regular_file"
    assert code_of(lambda: folder.read(b"sub")) == "not_regular_file"


def test_an_archive_is_read_without_unpacking_it_and_its_names_climb_nowhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("p/a.jpg", b"a" * 70_000)
        archive.writestr("../../evil.jpg", b"evil")
        archive.writestr("p/../../evil.jpg", b"evil")
    folder = RemoteFolder(f"zip://::{tmp_path}/photos.zip")
    assert [file.path for file in folder.list_files().files] == [b"p/a.jpg"]
    assert folder.read(b"p/a.jpg").data == b"a" * 70_000


def test_no_more_is_read_than_the_limit(memory, monkeypatch):
    folder = RemoteFolder("memory://bucket/p")
    assert code_of(lambda: folder.read(b"a.jpg", DecodeLimits(max_bytes=4))) == "too_large_file"
    asked = []

    def cat_file(path, start, end):
        asked.append((start, end))
        return b"first and more"[start:end]

    monkeypatch.setattr(folder._fs, "cat_file", cat_file)  # a store whose listing lies
    assert code_of(lambda: folder.read(b"a.jpg", DecodeLimits(max_bytes=8))) == "unreadable"
    assert asked == [(0, 9), (0, 9)]  # twice: it might have changed


def test_what_cannot_be_read_is_refused_with_a_reason(memory):
    folder = RemoteFolder("memory://bucket/p")
    memory.pipe("/bucket/p/empty.jpg", b"")
    assert code_of(lambda: folder.read(b"empty.jpg")) == "empty"
    assert code_of(lambda: folder.read(b"gone.jpg")) == "unreadable"


def test_the_words_of_a_store_do_not_reach_the_catalogue(memory, monkeypatch):
    folder = RemoteFolder("memory://bucket/p")

    def cat_file(*_, **__):
        raise RuntimeError("https://store/a.jpg?signature=SECRET denied")

    monkeypatch.setattr(folder._fs, "cat_file", cat_file)
    with pytest.raises(ImageError) as caught:
        folder.read(b"a.jpg")
    assert caught.value.detail == "runtimeerror"


def test_a_part_that_cannot_be_listed_is_named_and_the_rest_is_listed(memory, monkeypatch):
    folder = RemoteFolder("memory://bucket/p")
    listed = folder._fs.ls

    def ls(path, detail):
        if path.endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return listed(path, detail=detail)

    monkeypatch.setattr(folder._fs, "ls", ls)
    listing = folder.list_files()
    assert [file.path for file in listing.files] == [b"a.jpg"]
    assert listing.unlisted == [(b"b", "permission denied")]


def test_a_folder_that_is_not_there_is_refused(memory):
    with pytest.raises(ConfigError, match="memory://bucket/q cannot be listed: no such file"):
        RemoteFolder("memory://bucket/q").list_files()


SECONDS = 1_700_000_000
MOMENT = datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "info",
    [
        {"LastModified": MOMENT},
        {"last_modified": MOMENT.replace(tzinfo=None)},
        {"updated": "2023-11-14T22:13:20.000Z"},
        {"updated": "2023-11-14T23:13:20+01:00"},
        {"mtime": float(SECONDS)},
        {"date_time": (2023, 11, 14, 22, 13, 20)},
    ],
)
def test_stores_tell_the_time_in_many_ways(memory, monkeypatch, info):
    folder = RemoteFolder("memory://bucket/p")
    entry = {"name": "/bucket/p/a.jpg", "size": 5, "type": "file"}
    monkeypatch.setattr(folder._fs, "ls", lambda path, detail: [{**entry, **info}])
    assert folder.list_files().files == [RemoteFile(b"a.jpg", 5, SECONDS * 10**9)]


@pytest.mark.parametrize("info", [{}, {"updated": "yesterday"}, {"mtime": float("inf")}, {"mtime": None}])
def test_a_store_without_the_time_is_no_trouble(memory, monkeypatch, info):
    folder = RemoteFolder("memory://bucket/p")
    entry = {"name": "/bucket/p/a.jpg", "size": 5, "type": "file"}
    monkeypatch.setattr(folder._fs, "ls", lambda path, detail: [{**entry, **info}])
    assert folder.list_files().files[0].mtime_ns == 0


def test_two_versions_of_one_second_differ_by_their_tag(memory, monkeypatch):
    folder = RemoteFolder("memory://bucket/p")
    times = []
    for etag in ('"1"', '"2"', '"1"'):
        entry = {"name": "/bucket/p/a.jpg", "size": 5, "type": "file", "LastModified": MOMENT, "ETag": etag}
        monkeypatch.setattr(folder._fs, "ls", lambda path, detail, entry=entry: [entry])
        times.append(folder.list_files().files[0].mtime_ns)
    assert times[0] == times[2] != times[1]
    assert {time // 10**9 for time in times} == {SECONDS}


@pytest.mark.parametrize(
    ("url", "kept"), [("memory://b/", "memory://b"), ("memory://", "memory://"), ("file:///", "file:///")]
)
def test_the_slash_at_the_end_does_not_matter(url, kept):
    assert RemoteFolder(url).url == kept


def test_a_password_in_the_url_is_refused():
    with pytest.raises(ConfigError, match="holds a password"):
        RemoteFolder("sftp://me:secret@host/photos")


def test_a_kind_of_store_that_nobody_reads_is_refused():
    with pytest.raises(ConfigError, match="nonsense://b"):
        RemoteFolder("nonsense://b/p")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'glocal\[remote\]'"):
        RemoteFolder("s3://bucket/p")
