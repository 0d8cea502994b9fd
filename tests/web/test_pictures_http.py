"""Photos over HTTP: encoded anew, upright, without anything that their files say about people and places."""

import io
import os
import signal

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from glocal.data.image import hash_content
from glocal.errors import ImageError
from glocal.ops.coordinates import fit_within
from glocal.web.overlay import in_front, onto_query, scaling
from glocal.web.pictures import Encoded, PictureCache, Pictures, full_side, is_current
from tests.conftest import save, texture
from tests.web.served import Served, make_index, problem

CANARY = b"CANARY-48.8584N-2.2945E"


def exif(orientation: int = 1) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    found[0x010E] = found[0x013B] = found[0x8298] = CANARY.decode()  # description, artist, copyright
    found[0x9C9B] = CANARY  # XPTitle
    found.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0), 29: CANARY.decode()})
    return found


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    """Photos with canaries in every place that a file has for them."""
    top = tmp_path_factory.mktemp("pictures")
    pixels = texture(0, 400, 300)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + CANARY
    save(top / "photos/plain.jpg", texture(1, 480, 360), quality=92)
    save(
        top / "photos/gps.jpg", pixels, exif=exif(), comment=CANARY, icc_profile=profile, xmp=b"<x>" + CANARY + b"</x>"
    )
    save(top / "photos/turned.jpg", texture(2, 400, 300), exif=exif(6))
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", CANARY.decode())
    save(top / "photos/text.png", texture(3, 400, 300), pnginfo=text, exif=exif())
    save(top / "photos/x.webp", texture(4, 400, 300), exif=exif(), xmp=CANARY, icc_profile=profile)
    assert all(CANARY in path.read_bytes() for path in (top / "photos").iterdir() if path.stem != "plain")
    make_index(top / "photos")
    return top


@pytest.fixture(scope="module")
def served(top):
    with Served(top / "photos/.glocal") as served:
        yield served.start()


@pytest.fixture
def copied(tmp_path):
    save(tmp_path / "photos/in/1.jpg", texture(1))
    with Served(make_index(tmp_path / "photos")) as served:
        yield served


def opened(answer) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def difference(picture: Image.Image, pixels: np.ndarray) -> float:
    """Mean absolute difference; the photo was compressed twice since."""
    return float(np.abs(np.asarray(picture, np.int16) - pixels.astype(np.int16)).mean())


@pytest.mark.parametrize("what", ["/thumb?w=160", "/thumb?w=1280", ""])
def test_no_picture_that_is_sent_carries_what_its_file_said(served, what):
    for name, image in served.ids("photos").items():
        answer = served.get(f"/v1/images/{image}{what}")
        picture = opened(answer)
        assert CANARY not in answer.content, name
        assert b"Exif" not in answer.content
        assert not picture.getexif(), name
        assert not {"exif", "xmp", "icc_profile", "comment"} & set(picture.info), name


def test_a_thumbnail_is_a_webp_with_no_side_above_the_width(served):
    image = served.ids("photos")["plain.jpg"]
    for width in (160, 320):
        picture = opened(served.get(f"/v1/images/{image}/thumb?w={width}"))
        assert (picture.format, picture.size) == ("WEBP", fit_within((480, 360), width))
    assert opened(served.get(f"/v1/images/{image}/thumb?w=1280")).size == (480, 360)  # never enlarged
    assert opened(served.get(f"/v1/images/{image}/thumb")).size == (320, 240)
    problem(served.get(f"/v1/images/{image}/thumb?w=161"), 400, "invalid_params")


def test_the_whole_picture_looks_like_the_photo(served):
    answer = served.get(f"/v1/images/{served.ids('photos')['plain.jpg']}")
    picture = opened(answer)
    assert (picture.format, picture.size) == ("JPEG", (480, 360))
    assert difference(picture, texture(1, 480, 360)) < 10 < 30 < difference(picture, texture(2, 480, 360))
    assert answer.headers["content-disposition"].startswith("inline; filename=")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_photo_is_shown_upright(served):
    image = served.ids("photos")["turned.jpg"]
    upright = np.rot90(texture(2, 400, 300), -1)
    picture = opened(served.get(f"/v1/images/{image}"))
    assert picture.size == (300, 400)
    assert difference(picture, upright) < 10 < 30 < difference(picture, upright[::-1])
    assert opened(served.get(f"/v1/images/{image}/thumb?w=160")).size == (120, 160)


def test_a_browser_that_has_a_picture_is_told_so(served):
    image = served.ids("photos")["plain.jpg"]
    for path in (f"/v1/images/{image}/thumb?w=160", f"/v1/images/{image}"):
        first = served.get(path)
        assert "private" in first.headers["cache-control"]
        assert "no-store" not in first.headers["cache-control"]
        again = served.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert served.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    etags = {served.get(f"/v1/images/{image}/thumb?w={w}").headers["etag"] for w in (160, 320)}
    assert len(etags) == 2


@pytest.mark.parametrize(
    ("told", "is_there"),
    [(None, False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("a", False)],
)
def test_etags_are_compared_as_the_standard_says(told, is_there):
    assert is_current(told, '"a"') is is_there


def test_a_photo_that_is_gone_or_changed_is_not_shown(copied, tmp_path):
    image = copied.ids("photos")["in/1.jpg"]
    file = tmp_path / "photos/in/1.jpg"
    save(file, texture(2))
    for path in (f"/v1/images/{image}/thumb", f"/v1/images/{image}"):
        told = problem(copied.get(path), 409, "image_changed")
        assert "update" in told["hint"]
    file.write_bytes(b"no picture any more")
    problem(copied.get(f"/v1/images/{image}/thumb"), 409, "image_changed")
    file.unlink()
    problem(copied.get(f"/v1/images/{image}/thumb"), 410, "image_gone")
    problem(copied.get(f"/v1/images/{'0' * 32}/thumb"), 404, "image_not_found")
    problem(copied.get("/v1/images/..%2f..%2fetc%2fpasswd/thumb"), 404, "not_found")
    problem(copied.get("/v1/images/1.jpg/thumb"), 400, "invalid_params")


def test_only_files_that_really_lie_in_the_folder_are_shown(copied, tmp_path):
    image = copied.ids("photos")["in/1.jpg"]
    inside = tmp_path / "photos/in"
    inside.rename(tmp_path / "outside")
    inside.symlink_to(tmp_path / "outside")
    assert hash_content((inside / "1.jpg").read_bytes()) == image  # the same content, but not in the folder
    problem(copied.get(f"/v1/images/{image}/thumb"), 410, "image_gone")
    inside.unlink()
    inside.mkdir()
    (inside / "1.jpg").symlink_to(tmp_path / "outside/1.jpg")
    problem(copied.get(f"/v1/images/{image}/thumb"), 410, "image_gone")


def test_a_decoder_that_takes_too_long_is_replaced(copied):
    found = copied.service.library.get(None).find(copied.ids("photos")["in/1.jpg"])
    pictures = Pictures(timeout_s=30.0, num_workers=1)
    try:
        first = pictures.pixels(found, 160)
        (pool,) = [pool for pool in pictures._idle.queue if pool is not None]
        (stopped,) = [worker.process for worker in pool._workers]
        os.kill(stopped.pid, signal.SIGSTOP)  # it cannot answer, however fast it would be
        pool._timeout_s = 0.2
        with pytest.raises(ImageError, match="took longer"):
            pictures.pixels(found, 160)
        assert stopped.returncode == -signal.SIGKILL
        pool._timeout_s = 30.0
        assert (pictures.pixels(found, 160) == first).all()
        assert [worker.process.pid for worker in pool._workers] != [stopped.pid]
    finally:
        pictures.close()


def test_a_decoder_that_was_killed_costs_nobody_a_picture(served):
    images = list(served.ids("photos").values())
    assert served.get(f"/v1/images/{images[0]}/thumb?w=640").status_code == 200
    idle = served.service.pictures._idle
    for pool in [pool for pool in idle.queue if pool is not None]:
        for worker in pool._workers:
            os.kill(worker.process.pid, signal.SIGKILL)
    for image in images[1:]:
        assert served.get(f"/v1/images/{image}/thumb?w=640").status_code == 200


def test_the_thumbnails_in_memory_are_bounded_and_the_oldest_goes_first():
    cache = PictureCache(100)
    for name in "abc":
        cache.put(name, Encoded(bytes(40), "image/webp", name))
    assert [cache.get(name) is not None for name in "abc"] == [False, True, True]
    cache.get("b")
    cache.put("d", Encoded(bytes(40), "image/webp", "d"))
    assert [cache.get(name) is not None for name in "bcd"] == [True, False, True]
    cache.put("e", Encoded(bytes(200), "image/webp", "e"))
    assert not any(cache.get(name) for name in "bcde")


def test_very_many_pixels_are_reduced():
    assert full_side((4000, 3000)) == 0
    side = full_side((12_000, 9000))
    width, height = fit_within((12_000, 9000), side)
    assert 0.98 * 25_000_000 < width * height <= 25_000_000


# ---------------------------------------------------------------------- overlay
def test_the_overlay_lays_the_photo_onto_the_query(served):
    query = texture(1, 480, 360)[40:340, 60:460]  # a part of plain.jpg: (60, 40) there is (0, 0) here
    buffer = io.BytesIO()
    Image.fromarray(query).save(buffer, "PNG")
    answer = served.post("/v1/search", files={"image": buffer.getvalue()}).json()
    hit = answer["results"][0]
    assert hit["name"] == "plain.jpg"
    picture = opened(served.get(f"/v1/images/{hit['id']}/overlay?query={answer['query']['id']}"))
    assert (picture.format, picture.size) == ("WEBP", (400, 300))
    pixels = np.asarray(picture.convert("RGBA"), np.int16)  # a WebP without transparency has no alpha
    assert (pixels[..., 3] > 250).mean() > 0.95
    assert np.abs(pixels[10:-10, 10:-10, :3] - query[10:-10, 10:-10]).mean() < 12
    other = served.ids("photos")["x.webp"]
    problem(served.get(f"/v1/images/{other}/overlay?query=q_unknown"), 404, "query_expired")


def test_the_overlay_follows_the_homography_pixel_by_pixel():
    target = texture(5, 61, 47)
    homography = np.array([[0.9, 0.1, 3.0], [-0.05, 1.1, 2.0], [1e-3, 5e-4, 1.0]])
    found = onto_query(target, (61, 47), homography, (50, 40), 50)
    assert found.shape == (40, 50, 4)
    for x, y in ((0, 0), (10, 7), (33, 21), (49, 39)):
        u, v, w = homography @ (x, y, 1)
        u, v = u / w, v / w
        if 0 <= u < 60 and 0 <= v < 46:
            assert found[y, x, 3] == 255
            left, top, right, bottom = int(u), int(v), int(u) + 1, int(v) + 1
            corners = target[top : bottom + 1, left : right + 1].astype(float)
            weights = np.outer([bottom - v, v - top], [right - u, u - left])
            assert np.abs(found[y, x, :3] - np.einsum("ij,ijc->c", weights, corners)).max() < 6  # cv2 rounds to 1/32
        else:
            assert found[y, x, 3] < 255


def test_the_overlay_does_not_depend_on_the_size_that_the_photo_was_decoded_to():
    target = cv2.GaussianBlur(texture(6, 240, 180), (0, 0), 4)
    small = cv2.resize(target, (120, 90), interpolation=cv2.INTER_AREA)
    homography = np.array([[1.1, 0.05, 10.0], [0.0, 1.0, 5.0], [0.0, 0.0, 1.0]])
    first = onto_query(target, (240, 180), homography, (200, 150), 100).astype(int)
    second = onto_query(small, (240, 180), homography, (200, 150), 100).astype(int)
    assert first.shape == (75, 100, 4)
    inside = (first[..., 3] == 255) & (second[..., 3] == 255)
    assert inside.mean() > 0.8
    assert np.abs(first - second)[inside].mean() < 3


def test_what_lies_behind_the_viewer_is_transparent_whatever_the_sign():
    homography = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-0.02, 0.0, 1.0]])  # the horizon is at x = 50
    for sign in (1, -1):
        front = in_front(sign * homography, (80, 40))
        assert front[:, :50].all()
        assert not front[:, 51:].any()
    target = texture(7, 80, 40)
    first, second = (onto_query(target, (80, 40), sign * homography, (80, 40), 80) for sign in (1, -1))
    assert (first == second).all()
    assert not first[:, 51:, 3].any()
    assert onto_query(target, (80, 40), np.zeros((3, 3)), (80, 40), 80) is None


def test_resizing_maps_centres_to_centres():
    point = scaling((100, 50), (200, 150)) @ (9.5, 4.5, 1.0)  # the corner between four pixels stays one
    assert np.allclose(point, (19.5, 14.5, 1.0))


def test_no_query_is_written_to_disk(served, top, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = {path for path in top.rglob("*")}
    buffer = io.BytesIO()
    Image.fromarray(texture(1, 480, 360)).save(buffer, "JPEG")
    served.post("/v1/search", files={"image": buffer.getvalue()})
    digest = hash_content(buffer.getvalue())
    assert not os.listdir(tmp_path)
    assert not [path for path in {*top.rglob("*")} - before if path.is_file() and digest in path.name]
