import os
import socket
from dataclasses import dataclass

import pytest

from glocal.store.scan import compare, scan_folder


@dataclass
class Known:
    size: int
    mtime_ns: int
    status: str = "indexed"
    reason: str | None = None


def write(path, data=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def scan(folder):
    return scan_folder(os.fsencode(folder))


def remembered(found):
    return {picture.path: Known(picture.size, picture.mtime_ns) for picture in found.pictures}


def test_pictures_are_found_by_name_in_all_folders_but_hidden_ones(tmp_path):
    for name in ("b.JPG", "a/c.png", "a/d.heic", ".hidden.jpg", "..jpg", "notes.txt", "x.jpg.html"):
        write(tmp_path / name)
    write(tmp_path / ".glocal/thumb.jpg")
    found = scan(tmp_path)
    assert [p.path for p in found.pictures] == [b"..jpg", b".hidden.jpg", b"a/c.png", b"a/d.heic", b"b.JPG"]
    assert found.num_ignored == 2


def test_links_pipes_and_sockets_are_refused_and_never_opened(tmp_path):
    write(tmp_path / "in/real.jpg")
    write(tmp_path / "out/secret.jpg")
    root = tmp_path / "in"
    (root / "inside.jpg").symlink_to("real.jpg")
    (root / "broken.jpg").symlink_to("nowhere.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "escape.jpg").symlink_to("../out/secret.jpg")
    (root / "up").symlink_to("..")
    os.mkfifo(root / "pipe.jpg")
    here = os.getcwd()
    os.chdir(root)
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket.jpg")
    server.close()
    os.chdir(here)
    refused = {p.path: p.refusal for p in scan(root).pictures}
    assert refused == {
        b"real.jpg": None,
        b"inside.jpg": "not_regular_file",
        b"broken.jpg": "not_regular_file",
        b"loop.jpg": "not_regular_file",
        b"escape.jpg": "outside_root",
        b"pipe.jpg": "not_regular_file",
        b"socket.jpg": "not_regular_file",
    }


def test_deeply_nested_folders_are_walked(tmp_path):
    here = os.getcwd()
    os.chdir(tmp_path)
    for _ in range(300):
        os.mkdir("d")
        os.chdir("d")
    write_name = os.open("deep.jpg", os.O_CREAT | os.O_WRONLY)
    os.close(write_name)
    os.chdir(here)
    found = scan(tmp_path)
    assert [p.path for p in found.pictures] == [b"d/" * 300 + b"deep.jpg"]


def test_new_changed_returned_known_and_gone_are_told_apart(tmp_path):
    for name in ("known.jpg", "changed.jpg", "back.jpg", "new.jpg"):
        write(tmp_path / name)
    found = scan(tmp_path)
    known = remembered(found)
    del known[b"new.jpg"]
    known[b"changed.jpg"].size += 1
    known[b"back.jpg"].status = "missing"
    known[b"gone.jpg"] = Known(1, 1)
    known[b"long gone.jpg"] = Known(1, 1, "missing")
    changes = compare(found, known)
    assert [f.path for f in changes.new] == [b"new.jpg"]
    assert [f.path for f in changes.changed] == [b"changed.jpg"]
    assert [f.path for f in changes.returned] == [b"back.jpg"]
    assert changes.known == 1
    assert changes.gone == [b"gone.jpg"]


@pytest.mark.parametrize(
    ("reason", "retry", "again"), [("corrupt", False, 0), ("corrupt", True, 1), ("unreadable", False, 1)]
)
def test_refused_files_are_tried_again_on_demand_and_unreadable_ones_always(tmp_path, reason, retry, again):
    write(tmp_path / "bad.jpg")
    found = scan(tmp_path)
    known = remembered(found)
    known[b"bad.jpg"].status, known[b"bad.jpg"].reason = "rejected", reason
    assert len(compare(found, known, retry_rejected=retry).changed) == again


def test_files_of_a_folder_that_cannot_be_listed_are_not_taken_for_gone(tmp_path):
    write(tmp_path / "a.jpg")
    found = scan(tmp_path)
    found.unlisted.append((b"locked", "permission denied"))
    known = remembered(found) | {b"locked/b.jpg": Known(1, 1), b"locker/c.jpg": Known(1, 1)}
    assert compare(found, known).gone == [b"locker/c.jpg"]


def test_names_that_are_not_utf8_are_kept(tmp_path):
    name = b"\xff\xfe\n.jpg"
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
        file.write(b"x")
    assert [p.path for p in scan(tmp_path).pictures] == [name]
