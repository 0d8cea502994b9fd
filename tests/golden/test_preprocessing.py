"""Reduced pictures, normalised tensors and pyramid levels against what the published programs make of them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glocal.data.image import decode, resize
from glocal.extract.pyramid import pyramid_level, to_tensor
from glocal.models.preprocessing import Preprocessing

HERE = Path(__file__).parent
INPUTS, PREPROCESS = np.load(HERE / "inputs.npz"), np.load(HERE / "preprocess.npz")
THUMBNAILS = json.loads((HERE / "preprocess.json").read_text("utf-8"))["thumbnail"]["cases"]
RESIZES = json.loads((HERE / "geometry_tf.json").read_text("utf-8"))["resize"]["cases"]
PICTURE = INPUTS["train/images"][:1]
TENSORFLOW = Preprocessing(mean=(128.0,) * 3, std=(128.0,) * 3)
TOLERANCE = 1e-5


def encoded(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def close(found, wanted):
    found = found.numpy()
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize("picture", ["a", "b", "e", "g"])
def test_pictures_are_normalised_as_published(picture):
    pixels = INPUTS[f"{picture}/image"][None]
    rgb = to_tensor(pixels, Preprocessing())[0]
    close(rgb, INPUTS[f"{picture}/rgb"])
    close(rgb.flip(0), INPUTS[f"{picture}/bgr"])
    close(to_tensor(pixels, TENSORFLOW)[0].permute(1, 2, 0), INPUTS[f"{picture}/tf"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.3535, 0.5, 0.7071, 1.4142])
def test_a_level_of_dolg_is_the_published_one(scale, dtype):
    level = pyramid_level(to_tensor(PICTURE, Preprocessing(), dtype), scale, "size")
    close(level[0].flip(0), PREPROCESS[f"dolg/{scale}"])


@pytest.mark.parametrize("scale", [0.35355338, 0.70710677, 1.4142135])
def test_a_level_of_the_tensorflow_delg_is_the_published_one(scale):
    level = pyramid_level(to_tensor(PICTURE, TENSORFLOW), scale, "size")
    close(level[0].permute(1, 2, 0), PREPROCESS[f"tf/{scale}"])


@pytest.mark.parametrize(("name", "scale"), [("sqrt2", 2**0.5), ("sqrt0.5", 0.5**0.5)])
def test_a_level_of_token_is_the_published_one(name, scale):
    level = pyramid_level(to_tensor(PICTURE, Preprocessing()), scale, "factor")
    close(level[0], PREPROCESS[f"token/{name}"])


@pytest.mark.parametrize(("number", "case"), list(enumerate(THUMBNAILS)))
def test_a_picture_is_reduced_as_token_does(number, case):
    box = case["bbox"] and (*case["bbox"][:2], *np.subtract(case["bbox"][2:], case["bbox"][:2]).tolist())
    photo = decode(encoded(INPUTS["a/image"]), "a", case["imsize"], box=box and tuple(box), rule="lanczos")
    assert list(photo.pixels.shape[:2]) == case["size"]
    wanted = PREPROCESS[f"thumbnail/{number}"].astype(int)
    assert np.abs(photo.pixels - wanted).max() <= 1


@pytest.mark.parametrize("case", [case for case in RESIZES if case["min_image_size"] < 0])  # we never enlarge
def test_sides_after_the_reduction_are_those_of_the_tensorflow_code(case):
    pixels = np.zeros((case["height"], case["width"], 3), np.uint8)
    reduced = resize(pixels, case["max_image_size"] * case["resize_factor"], "bilinear")
    assert list(reduced.shape[:2]) == case["new_size"]
    assert np.array_equal(np.divide(reduced.shape[:2], pixels.shape[:2]), case["scale_factors"])
