import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from glocal.errors import BackendUnavailable, ConfigError
from glocal.extract.network import NetworkExtractor, pick_device
from glocal.models.catalogue import create_model, preprocessing_of
from glocal.protocols import Extractor
from glocal.types import Photo
from tests.conftest import texture

MODELS = ["delg_mobilenetv2", "dolg_mobilenetv2", "token_mobilenetv2", "glocal_mobilenetv2", "gem_mobilenetv2"]


def extractor_of(name: str, batch_size: int = 2, **options) -> NetworkExtractor:
    torch.manual_seed(0)
    rules = dataclasses.replace(preprocessing_of(name, **options), image_size=160)
    return NetworkExtractor(create_model(name, **options), name, rules, "f" * 64, "cpu", batch_size)


@pytest.fixture(scope="module", params=MODELS)
def extractor(request) -> NetworkExtractor:
    return extractor_of(request.param)


@pytest.fixture(scope="module")
def delg() -> NetworkExtractor:
    return extractor_of("delg_resnet50", variant="torch")


def photo(pixels: np.ndarray, name: str = "a", factor: int = 1) -> Photo:
    return Photo(name, pixels, (pixels.shape[1] * factor, pixels.shape[0] * factor))


def test_it_is_an_extractor_whose_spec_names_what_matters(extractor):
    assert isinstance(extractor, Extractor)
    spec = extractor.spec
    assert (spec.weights, spec.colour, spec.dim) == ("f" * 64, "rgb", extractor.network.dim)
    assert (spec.max_features > 0) == (spec.local_dim > 0) == (spec.model[:4] in ("delg", "gloc"))


def test_mixed_sizes_in_one_batch_give_what_each_photo_gives_alone(extractor):
    photos = [photo(texture(i, 160, 120) if i % 2 else texture(i, 96, 128), str(i)) for i in range(5)]
    together = extractor.extract_batch(photos)
    for one, found in zip(photos, together, strict=True):
        alone = extractor.extract(one)
        assert found.descriptor == pytest.approx(alone.descriptor, abs=1e-5)
        assert found.local.keypoints.shape == alone.local.keypoints.shape
        assert found.local.id == one.id
    vectors = extractor.describe(photos).vectors
    assert np.allclose(vectors, [found.descriptor for found in together], atol=1e-5)


ODD = {
    "one pixel": np.full((1, 1, 3), 200, np.uint8),
    "less than a stride": texture(1, 12, 9),
    "a single row": texture(2, 300, 1),
    "extreme aspect": texture(3, 8, 400),
    "black": np.zeros((64, 64, 3), np.uint8),
    "grey": np.full((64, 48, 3), 128, np.uint8),
    "grey picture": np.repeat(texture(4, 64, 48)[..., :1], 3, axis=2),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_pictures_give_finite_unit_descriptors(extractor, delg, kind):
    for each in (extractor, delg):
        found = each.extract(photo(ODD[kind]))
        assert np.linalg.norm(found.descriptor) == pytest.approx(1, abs=1e-5)
        assert np.isfinite(found.local.descriptors).all()
        assert np.isfinite(found.local.keypoints).all()


def test_the_keras_resnet_whose_pooling_needs_three_cells_describes_a_pixel_too():
    found = extractor_of("delg_resnet50").extract(photo(ODD["one pixel"]))
    assert np.linalg.norm(found.descriptor) == pytest.approx(1, abs=1e-5)


def test_keypoints_are_in_pixels_of_the_original(delg):
    pixels = texture(5, 160, 96)
    small, large = delg.detect(photo(pixels)), delg.detect(photo(pixels, factor=4))
    assert len(small) > 20
    assert np.allclose(large.keypoints, 4 * small.keypoints, atol=1e-3)
    assert np.allclose(large.scales, 4 * small.scales, rtol=1e-5)


def test_a_shifted_picture_moves_its_keypoints_along(delg):
    """A picture shifted by whole strides has the same features at shifted places, away from the borders."""
    single = NetworkExtractor(
        delg.network, "delg", dataclasses.replace(delg.preprocessing, local_scales=(1.0,)), "f" * 64, "cpu"
    )
    wide = texture(6, 480, 320)
    left, right = (single.detect(photo(np.ascontiguousarray(wide[:, x : x + 448]))) for x in (0, 32))
    where = {tuple(point): row for point, row in zip(left.keypoints.tolist(), left.descriptors, strict=True)}
    alike = [
        float(where[x + 32, y] @ row)
        for (x, y), row in zip(right.keypoints.tolist(), right.descriptors, strict=True)
        if (x + 32, y) in where
    ]
    assert len(alike) > 0.5 * len(left)
    assert np.median(alike) > 0.9


class Greedy(nn.Module):
    """Runs out of memory with more than two photos."""

    dim, local_dim = 3, 0

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("no memory")
        return F.normalize(images.mean(dim=(2, 3)), dim=1)


def test_a_batch_that_does_not_fit_is_halved_for_good_and_said_so(caplog):
    greedy = NetworkExtractor(Greedy(2), "greedy", preprocessing_of("gem_resnet50"), "f" * 64, "cpu", 16)
    photos = [photo(texture(i, 32, 32), str(i)) for i in range(7)]
    assert len(greedy.extract_batch(photos)) == 7
    assert greedy.batch_size == 1  # 7 were tried, then 3, then 1
    assert "Not enough memory on cpu for batch 7 at 1024 px; retrying with 3." in caplog.text
    with pytest.raises(BackendUnavailable, match="cpu has not enough memory for one photo"):
        NetworkExtractor(Greedy(0), "greedy", preprocessing_of("gem_resnet50"), "f" * 64, "cpu").extract(photos[0])


def test_the_given_network_stays_as_it_was():
    network = create_model("gem_mobilenetv2").train()
    before = set(network.state_dict())
    NetworkExtractor(network, "gem_mobilenetv2", preprocessing_of("gem_mobilenetv2"), "f" * 64, "cpu")
    assert network.training
    assert set(network.state_dict()) == before


def test_devices_that_are_not_there_are_named():
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match='Unknown device "gpu"'):
        pick_device("gpu")
    with pytest.raises(ConfigError, match='Unknown device "cpu:1"'):
        pick_device("cpu:1")
    with pytest.raises(BackendUnavailable, match="--device cuda:99: no such CUDA device"):
        pick_device("cuda:99")


@pytest.mark.parametrize("size", ["many", "0", 0, "-1"])
def test_batch_sizes_that_make_no_sense_are_refused(size):
    with pytest.raises(ConfigError, match="batch size"):
        NetworkExtractor(Greedy(1), "greedy", preprocessing_of("gem_resnet50"), "f" * 64, "cpu", size)


def test_bfloat16_is_used_where_the_device_has_it_and_changes_little(monkeypatch):
    exact = extractor_of("gem_mobilenetv2")
    rules = dataclasses.replace(exact.preprocessing, precision="bfloat16")
    found = {}
    for has in (False, True):
        monkeypatch.setattr("glocal.extract.network.has_bfloat16", lambda device, has=has: has)
        mixed = NetworkExtractor(exact.network, "gem", rules, "f" * 64, "cpu")
        kinds = set()
        mixed.network.backbone.register_forward_hook(lambda _, given, maps, kinds=kinds: kinds.add(maps.c5.dtype))
        found[has] = mixed.extract(photo(texture(7))).descriptor
        assert kinds == {torch.bfloat16 if has else torch.float32}
        assert found[has].dtype == np.float32
    assert np.linalg.norm(found[True]) == pytest.approx(1, abs=1e-5)
    assert 0.99 < found[True] @ found[False] < 1
