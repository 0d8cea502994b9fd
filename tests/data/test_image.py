import io
import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from glocal.data.formats import is_picture_name, sniff
from glocal.data.image import DecodeLimits, decode, hash_content, inspect, read_file, resize
from glocal.errors import REASONS, ImageError
from tests.conftest import texture

RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 180, 60), (40, 60, 200), (240, 240, 240)


def quarters(width=80, height=60):
    """Red, green / blue, white: any turn or mirror image shows."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, WHITE
    return pixels


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def corners(pixels):
    height, width = pixels.shape[:2]
    return [pixels[y, x].astype(int) for y in (height // 8, -height // 8) for x in (width // 8, -width // 8)]


def assert_quarters(pixels, tolerance=30):
    for found, expected in zip(corners(pixels), (RED, GREEN, BLUE, WHITE), strict=True):
        assert np.abs(found - expected).max() <= tolerance, (found, expected)


def code_of(data, **limits):
    with pytest.raises(ImageError) as caught:
        decode(data, "x", 1024, DecodeLimits(**limits))
    assert caught.value.code in REASONS
    return caught.value.code


def png_header(width, height, depth=8, colour=2):
    ihdr = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunk = b"IHDR" + ihdr
    idat = b"IDAT" + zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in (chunk, idat)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_comes_out_upright(orientation, kind):
    upright = Image.fromarray(quarters())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Transpose values that store the picture turned
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, kind, exif=exif.tobytes(), **({"quality": 95} if kind != "TIFF" else {}))
    photo = decode(data, "x", 1024)
    assert photo.size == (80, 60)
    # Pillow turns a TIFF while it decodes it, so nothing is left for us.
    assert inspect(data) == ((80, 60), 1 if kind == "TIFF" else orientation)
    assert_quarters(photo.pixels)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_makes_no_sense_counts_as_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert inspect(encoded(quarters(), "JPEG", exif=exif.tobytes())) == ((80, 60), 1)


def test_damaged_exif_does_not_cost_the_picture():
    data = encoded(quarters(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", quality=95)
    assert_quarters(decode(data, "x", 1024).pixels)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(quarters()).convert("RGBA"),
        Image.fromarray(quarters()).convert("P", palette=Image.Palette.ADAPTIVE),
        Image.fromarray(quarters()).quantize(8),
    ],
    ids=lambda image: image.mode,
)
def test_modes_become_rgb(image):
    assert_quarters(decode(encoded(image), "x", 1024).pixels)


def test_cmyk_is_not_inverted():
    assert_quarters(
        decode(encoded(Image.fromarray(quarters()).convert("CMYK"), "JPEG", quality=95), "x", 99).pixels, 45
    )


def test_sixteen_bits_are_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 80 * 60).reshape(60, 80).astype(np.uint16)
    pixels = decode(encoded(Image.fromarray(ramp)), "x", 1024).pixels
    assert np.abs(pixels[..., 0].astype(int) - (ramp >> 8)).max() <= 1


def test_floats_are_scaled_and_not_numbers_are_black():
    values = np.full((60, 80), 0.5, np.float32)
    values[0, 0] = np.nan
    pixels = decode(encoded(Image.fromarray(values), "TIFF"), "x", 1024).pixels
    assert abs(int(pixels[30, 40, 0]) - 127) <= 1
    assert pixels[0, 0, 0] == 0


def test_transparency_is_shown_over_white():
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert (decode(encoded(image), "x", 1024).pixels == 255).all()


@pytest.mark.parametrize("size", [(400, 300), (301, 1001), (1000, 40)])
@pytest.mark.parametrize("longest", [64, 200, 5000])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pictures_are_reduced_and_never_enlarged(size, longest, kind):
    photo = decode(encoded(texture(0, *size), kind), "x", longest)
    assert photo.size == size
    assert max(photo.pixels.shape[:2]) == min(longest, max(size))
    assert photo.pixels.flags.c_contiguous


def test_a_box_is_cut_from_the_upright_picture_before_it_is_reduced():
    pixels = texture(0, 400, 300)
    photo = decode(encoded(pixels), "x", 1024, box=(50, 60, 200, 100))
    assert photo.size == (200, 100)
    assert np.array_equal(photo.pixels, pixels[60:160, 50:250])
    assert decode(encoded(pixels), "x", 100, box=(50, 60, 200, 100)).pixels.shape == (50, 100, 3)


def test_pixels_are_counted_in_the_header():
    assert code_of(png_header(50_000, 50_000)) == "too_many_pixels"
    assert code_of(encoded(texture(0, 100, 100)), max_pixels=9_999) == "too_many_pixels"
    decode(encoded(texture(0, 100, 100)), "x", 99, DecodeLimits(max_pixels=10_000))


def test_scans_of_a_jpeg_are_counted_before_decoding():
    data = encoded(texture(0), "JPEG", progressive=True)
    assert 2 < data.count(b"\xff\xda") < 20
    decode(data, "x", 1024)
    assert code_of(data, max_scans=2) == "corrupt"


@pytest.mark.parametrize("side", [1, 11])
def test_tiny_pictures_are_refused(side):
    assert code_of(encoded(np.zeros((side, 50, 3), np.uint8))) == "too_small"
    decode(encoded(np.zeros((12, 12, 3), np.uint8)), "x", 1024)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_ends_early_is_refused(kind, share):
    data = encoded(texture(0), kind)
    assert code_of(data[: int(len(data) * share)]) in ("truncated", "corrupt")


def test_a_cut_jpeg_says_how_much_of_it_is_readable():
    data = encoded(texture(0), "JPEG", quality=90)
    with pytest.raises(ImageError, match=r"ends early \((4|5|6)\d % readable\)"):
        decode(data[: len(data) // 2], "x", 1024)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"hello world, this is text", "not_an_image"),
        (b"\x80\x04\x95canary pickle", "not_an_image"),
        (b"%PDF-1.7", "not_an_image"),
        (b"<svg xmlns='x'></svg>", "unsupported_format"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "unsupported_format"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 40, "not_an_image"),
        (b"\xff\xd8\xff\xe0garbage", "truncated"),
        (b"GIF89a=1;alert(1)//", "corrupt"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "corrupt"),
    ],
)
def test_what_is_no_picture_is_told_apart(data, code):
    assert code_of(data) == code
    with pytest.raises(ImageError):
        inspect(data)


def test_reading_a_file_never_follows_a_link_nor_blocks_on_a_pipe(tmp_path):
    (tmp_path / "real.jpg").write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to("real.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "empty.jpg").touch()
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(3 << 30)
    codes = {}
    for name in ("link.jpg", "pipe.jpg", "empty.jpg", "huge.jpg", "nowhere.jpg", "."):
        with pytest.raises(ImageError) as caught:
            read_file(tmp_path / name)
        codes[name] = caught.value.code
    assert codes == {
        "link.jpg": "not_regular_file",
        "pipe.jpg": "not_regular_file",
        "empty.jpg": "empty",
        "huge.jpg": "too_large_file",
        "nowhere.jpg": "unreadable",
        ".": "not_regular_file",
    }


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    file = read_file(tmp_path / "a")
    assert file.content_hash == hash_content(b"abc")
    assert len(file.content_hash) == 32


def test_resizing_keeps_small_pictures_as_they_are():
    pixels = texture(0, 40, 30)
    assert np.array_equal(resize(pixels, 40), pixels)
    assert resize(pixels, 20).shape == (15, 20, 3)


@pytest.mark.parametrize("name", [b"a.jpg", b"A.JPEG", b"..jpg", b"x.heic", b"x.svg"])
def test_pictures_are_known_by_their_suffix(name):
    assert is_picture_name(name)
    assert not is_picture_name(name + b".txt")
    assert not is_picture_name(name.rpartition(b".")[2])


def test_every_readable_format_is_recognised_by_its_content():
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        assert sniff(encoded(quarters(), kind)) == kind


def test_the_colours_of_the_malformed_corpus_are_right(shared, tmp_path):
    """Wrong orientation, inverted CMYK, clipped 16 bits or an embedded thumbnail taken for the picture would show."""
    tool = shared / "tools/make_bad_images.py"
    subprocess.run([sys.executable, tool, "make", tmp_path / "corpus", "--no-sparse"], check=True, capture_output=True)
    items = json.loads((tmp_path / "corpus/manifest.json").read_text("ascii"))["items"]
    probed = [item for item in items if item["probes"] and item["expect"] == "index"]
    assert len(probed) > 30
    for item in probed:
        photo = decode(read_file(os.fsencode(tmp_path / "corpus" / item["path"])).data, "x", 1024)
        height, width = photo.pixels.shape[:2]
        for x, y, colour, tolerance in item["probes"]:
            found = photo.pixels[min(height - 1, int(y * height)), min(width - 1, int(x * width))].astype(int)
            assert np.abs(found - colour).max() <= tolerance, (item["kind"], found, colour)
    for path in tmp_path.rglob("no_permission*"):
        path.chmod(0o700)
