import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.store.codec import decode_local, decode_vectors, encode_local, encode_vector
from glocal.types import LocalFeatures


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 40), length=st.integers(1, 128))
def test_local_features_survive_the_round_trip(seed, count, length):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, length)).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    local = LocalFeatures(
        "x",
        (640, 480),
        rng.uniform(0, 640, (count, 2)).astype(np.float32),
        rows,
        np.sort(rng.random(count).astype(np.float32))[::-1].copy(),
        rng.random(count).astype(np.float32),
    )
    back = decode_local(encode_local(local), "x", (640, 480), length)
    for name in ("keypoints", "scores", "scales"):
        assert np.array_equal(getattr(back, name), getattr(local, name))
    assert ((back.descriptors * local.descriptors).sum(axis=1) > 0.999).all()


def test_vectors_survive_exactly():
    vectors = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    assert np.array_equal(decode_vectors([encode_vector(v) for v in vectors], 7), vectors)


def test_no_local_features_of_no_length_survive_the_round_trip():
    none = np.empty(0, np.float32)
    local = LocalFeatures("x", (640, 480), np.empty((0, 2), np.float32), np.empty((0, 0), np.float32), none, none)
    back = decode_local(encode_local(local), "x", (640, 480), 0)
    assert (len(back), back.descriptors.shape, back.size) == (0, (0, 0), (640, 480))
