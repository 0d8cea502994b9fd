import numpy as np
import pytest

from glocal.errors import WeightsError
from glocal.models.rootsift import MAX_FEATURES, Codebook, RootSift, pack_nibbles, sift, unpack_nibbles, weights_bytes
from glocal.protocols import Extractor, GlobalExtractor, LocalExtractor
from glocal.types import Photo
from tests.conftest import texture


@pytest.fixture(scope="module")
def model():
    return RootSift()


def photo(pixels, size=None, name="x"):
    return Photo(name, pixels, size or (pixels.shape[1], pixels.shape[0]))


def test_it_is_the_first_user_of_the_seams(model):
    assert isinstance(model, GlobalExtractor)
    assert isinstance(model, LocalExtractor)
    assert isinstance(model, Extractor)


def test_the_shipped_file_is_small():
    assert len(weights_bytes()) < 1_000_000


def test_the_descriptor_has_unit_norm_and_the_declared_length(model):
    extraction = model.extract(photo(texture(0)))
    assert extraction.descriptor.shape == (model.spec.dim,) == (256,)
    assert np.linalg.norm(extraction.descriptor) == pytest.approx(1, abs=1e-5)
    assert extraction.local.descriptors.shape[1] == model.spec.local_dim == 128
    assert 0 < len(extraction.local) <= MAX_FEATURES


@pytest.mark.parametrize("pixels", [np.zeros((120, 160, 3), np.uint8), np.full((12, 12, 3), 255, np.uint8)])
def test_a_picture_without_texture_gives_a_finite_unit_descriptor(model, pixels):
    extraction = model.extract(photo(pixels))
    assert np.isfinite(extraction.descriptor).all()
    assert np.linalg.norm(extraction.descriptor) == pytest.approx(1, abs=1e-5)
    assert len(extraction.local) == 0


def test_the_same_picture_in_other_light_and_size_is_nearer_than_other_pictures(model):
    base = texture(1, 480, 360)
    dimmed = np.clip(base.astype(np.float32) * 0.6 + 10, 0, 255).astype(np.uint8)
    same = model.describe([photo(base)]).vectors[0] @ model.describe([photo(dimmed[20:340, 20:440])]).vectors[0]
    others = model.describe([photo(texture(seed, 480, 360), name=str(seed)) for seed in range(2, 8)]).vectors
    assert same > (others @ model.describe([photo(base)]).vectors[0]).max() + 0.1


def test_a_turned_picture_is_nearer_than_other_pictures(model):
    base = texture(1, 480, 360)
    query = model.describe([photo(base)]).vectors[0]
    turned = model.describe([photo(np.ascontiguousarray(np.rot90(base)))]).vectors[0]
    others = model.describe([photo(texture(seed, 480, 360), name=str(seed)) for seed in range(2, 8)]).vectors
    assert query @ turned > (others @ query).max() + 0.1


def test_keypoints_are_in_pixels_of_the_original(model):
    pixels = texture(2)
    small, large = model.detect(photo(pixels)), model.detect(photo(pixels, (640, 480)))
    assert np.allclose((small.keypoints + 0.5) * 2 - 0.5, large.keypoints, atol=1e-3)
    assert np.allclose(small.scales * 2, large.scales)


def test_features_are_the_same_on_every_run_and_strongest_first():
    first, second = sift(texture(3)), sift(texture(3))
    assert np.array_equal(first.table, second.table)
    assert np.array_equal(first.upright, second.upright)
    assert (np.diff(first.table[:, 3]) <= 0).all()


def test_nibbles_survive_the_round_trip_in_any_memory_order():
    levels = np.random.default_rng(0).integers(-8, 8, (6, 10))
    for array in (levels, np.asfortranarray(levels)):
        packed = pack_nibbles(array)
        assert packed.flags.c_contiguous
        assert np.array_equal(unpack_nibbles(packed), levels)


def test_the_axes_of_the_whitening_are_nearly_orthogonal_after_quantisation():
    projection = Codebook.from_bytes(weights_bytes()).projection
    axes = projection / np.linalg.norm(projection, axis=0)
    assert np.abs(axes.T @ axes - np.eye(256)).mean() < 0.02


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, weights_bytes()[:-10], b"\x02\0\0\0\0\0\0\0{}"])
def test_damaged_weights_are_refused(data):
    with pytest.raises(WeightsError, match="reinstall"):
        RootSift(data)


def test_other_weights_have_another_spec():
    data = bytearray(weights_bytes())
    data[-1] ^= 1
    assert RootSift(bytes(data)).spec.differences(RootSift().spec)[0][0] == "weights"
