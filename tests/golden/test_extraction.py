"""The extraction of whole photos against the numbers of the published TensorFlow DELG."""

import dataclasses

import numpy as np
import pytest
import torch

from glocal.extract.network import NetworkExtractor
from glocal.extract.pyramid import pyramid_level, to_tensor
from glocal.models.catalogue import preprocessing_of
from glocal.types import Photo
from tests.golden.test_models import INPUTS, golden, network_of


@pytest.fixture(scope="module")
def extractor() -> NetworkExtractor:
    _, want, _ = golden("delg_tf_r50")
    rules = preprocessing_of("delg_resnet50")
    chosen = dataclasses.replace(
        rules.local, threshold=float(want["a/keypoint_threshold"]), max_features=int(want["a/keypoint_max"])
    )
    rules = dataclasses.replace(rules, local=chosen)
    return NetworkExtractor(network_of("delg_tf_r50", torch.float32), "delg_resnet50", rules, "f" * 64, "cpu")


def test_descriptor_and_keypoints_of_a_photo_are_the_published_ones(extractor):
    about, want, _ = golden("delg_tf_r50")
    pixels = INPUTS["a/image"]
    found = extractor.extract(Photo("a", pixels, (pixels.shape[1], pixels.shape[0])))

    def expect(value: np.ndarray, key: str) -> None:
        noise = about["outputs"].get(key, {}).get("diff_f64", 0.0)
        wanted = want[key].reshape(value.shape)
        assert np.abs(value - wanted).max() <= max(10 * noise, 1e-5 * np.abs(wanted).max()), key

    expect(found.descriptor, "a/multiscale_descriptor")
    assert found.descriptor @ want["a/multiscale_descriptor"] >= 1 - 1e-6
    local = found.local
    assert len(local) == len(want["a/keypoint_locations"])
    expect(local.scores, "a/keypoint_scores")
    expect(local.keypoints[:, ::-1], "a/keypoint_locations")  # theirs are (y, x)
    expect(local.descriptors, "a/keypoint_descriptors")
    assert local.scales == pytest.approx(291 * want["a/keypoint_scales"], rel=1e-5)


def test_the_levels_of_the_pyramid_have_the_published_sizes(extractor):
    _, want, _ = golden("delg_tf_r50")
    images = to_tensor(INPUTS["a/image"][None], extractor.preprocessing)
    sizes = [pyramid_level(images, scale, "size").shape[2:] for scale in extractor.preprocessing.scales]
    assert np.array_equal(sizes, want["a/multiscale_sizes"])
