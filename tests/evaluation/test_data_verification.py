"""Are the photos there, whole, and the same as before?"""

import hashlib
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery
from glocal.evaluation.datasets.verification import (
    files_of,
    image_set_digest,
    read_manifest,
    verify_data,
    verify_files,
    write_manifest,
)
from glocal.evaluation.protocol import REVISITED

FILES = ("jpg/a.jpg", "jpg/b.png", "jpg/c d.jpg")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "jpg").mkdir()
    for i, file in enumerate(FILES):
        Image.fromarray(np.full((16, 20, 3), 40 * i, np.uint8)).save(tmp_path / file)
    return tmp_path


def test_a_complete_set_is_complete(root):
    report = verify_files("mine", root, FILES)
    assert report.complete
    assert (report.num_listed, report.num_found, report.missing) == (3, 3, ())
    assert report.num_bytes == sum((root / file).stat().st_size for file in FILES)
    assert report.message() == "mine: 3 names listed, 3 pictures found; nothing is missing."


def test_a_benchmark_is_its_gallery_and_its_queries_each_once(root):
    queries = tuple(BenchmarkQuery(f, f, None, {"easy": np.array([0])}) for f in ("jpg/a.jpg", "jpg/q.jpg"))
    benchmark = Benchmark("mine", REVISITED, root, FILES, FILES, queries)
    assert files_of(benchmark) == (*FILES, "jpg/q.jpg")
    assert verify_data(benchmark).missing == ("jpg/q.jpg",)
    with pytest.raises(ConfigError, match="only the ground truth is there"):
        verify_data(Benchmark("mine", REVISITED, None, FILES, FILES, queries))


def test_what_is_missing_is_said_as_the_product_promises(root):
    names = tuple(f"jpg/{i}.jpg" for i in range(1131))
    report = verify_files("revisitop1m", root, (*FILES, *names))
    assert report.missing == names
    assert report.message().replace("\N{NO-BREAK SPACE}", " ") == (
        "revisitop1m: 1 134 names listed, 3 pictures found; 1 131 missing (first: jpg/0.jpg, jpg/1.jpg, jpg/2.jpg)."
        " Evaluating on the present ones would not be R1M. → download what is named again, or --allow-incomplete"
        " (marked in the result)"
    )


def test_what_is_no_picture_is_told_by_its_reason(root):
    (root / "empty.jpg").touch()
    (root / "page.jpg").write_text("<!doctype html><title>404</title>")
    (root / "drawing.jpg").write_bytes(b"8BPS" + bytes(60))
    (root / "folder.jpg").mkdir()
    (root / "link.jpg").symlink_to(root / FILES[0])
    os.mkfifo(root / "pipe.jpg")
    names = ("empty.jpg", "page.jpg", "drawing.jpg", "folder.jpg", "link.jpg", "pipe.jpg", "jpg/a.jpg/x.jpg", "n" * 300)
    report = verify_files("mine", root, (*FILES, *names))
    assert report.problems == {
        "missing": ("jpg/a.jpg/x.jpg",),
        "empty": ("empty.jpg",),
        "not_an_image": ("page.jpg",),
        "unsupported_format": ("drawing.jpg",),
        "not_regular_file": ("folder.jpg", "link.jpg", "pipe.jpg"),
        "unreadable": ("n" * 300,),
    }
    assert report.num_found == 3
    assert "1 empty file (0 bytes) (first: empty.jpg)" in report.message()


def test_a_manifest_is_what_sha256sum_checks(root):
    strange = "jpg/back\\slash\nline.jpg"
    (root / strange).write_bytes((root / FILES[0]).read_bytes())
    path = write_manifest(root, (*FILES, strange))
    assert path == root / "SHA256SUMS"
    subprocess.run(["sha256sum", "--check", "--strict", path.name], cwd=root, capture_output=True, check=True)
    assert read_manifest(path) == {f: hashlib.sha256((root / f).read_bytes()).hexdigest() for f in (*FILES, strange)}


def test_changed_and_new_files_are_told_from_the_manifest(root, tmp_path_factory):
    path = write_manifest(root, FILES, tmp_path_factory.mktemp("kept") / "sums")
    assert verify_files("mine", root, FILES, path).complete
    data = bytearray((root / FILES[0]).read_bytes())
    data[-10] ^= 1
    (root / FILES[0]).write_bytes(data)
    (root / "new.jpg").write_bytes(data)
    report = verify_files("mine", root, (*FILES, "new.jpg"), path)
    assert report.problems == {"changed": (FILES[0],), "not_in_manifest": ("new.jpg",)}
    assert report.num_found == 4
    # The change is in the content alone: without the manifest nothing is wrong.
    assert verify_files("mine", root, FILES).complete


def test_a_manifest_of_missing_files_is_not_written(root):
    with pytest.raises(ConfigError, match=r"gone\.jpg"):
        write_manifest(root, (*FILES, "gone.jpg"))
    assert sorted(os.listdir(root)) == ["jpg"]


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("abc  jpg/a.jpg\n", 'line 1: "SHA-256  file" was expected'),
        (f"{'0' * 64}  ../x.jpg\n", "not inside"),
        (f"{'0' * 64}  /etc/x.jpg\n", "not inside"),
        (f"{'0' * 64}  a.jpg\n{'1' * 64}  a.jpg\n", 'line 2: "a.jpg" is there twice'),
    ],
)
def test_malformed_manifests_are_refused_with_their_line(root, text, fragment):
    (root / "SHA256SUMS").write_text(text)
    with pytest.raises(ConfigError) as caught:
        verify_files("mine", root, FILES, root / "SHA256SUMS")
    assert fragment in str(caught.value)


def test_the_digest_of_a_set_of_images_is_of_names_and_contents(root):
    digest = image_set_digest(root, FILES)
    assert digest == image_set_digest(root, FILES[::-1])
    assert len(digest) == 64
    others = {
        digest,
        image_set_digest(root, FILES[:2]),
        image_set_digest(root, (*FILES, "gone.jpg")),
    }
    os.rename(root / FILES[0], root / "jpg/e.jpg")
    others.add(image_set_digest(root, ("jpg/e.jpg", *FILES[1:])))
    os.rename(root / "jpg/e.jpg", root / FILES[0])
    assert image_set_digest(root, FILES) == digest
    data = bytearray((root / FILES[2]).read_bytes())
    data[-10] ^= 1
    (root / FILES[2]).write_bytes(data)
    others.add(image_set_digest(root, FILES))
    (root / FILES[2]).write_bytes(b"")
    others.add(image_set_digest(root, FILES))
    assert len(others) == 6


def test_progress_is_told_and_ends_at_the_end(root):
    for step in (lambda p: verify_files("mine", root, FILES, progress=p), lambda p: image_set_digest(root, FILES, p)):
        told = []
        step(lambda done, of, told=told: told.append((done, of)))
        assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_folder_that_is_not_there_is_refused(root):
    with pytest.raises(ConfigError, match="No such folder"):
        verify_files("mine", root / "none", FILES)
