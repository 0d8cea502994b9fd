import dataclasses
import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ShapeError, StoreError
from glocal.rerank.binary import pack_signs
from glocal.store.codec import (
    MAX_KEYPOINTS,
    EncodedLocal,
    LocalRow,
    decode_local,
    decode_many,
    decode_signs,
    decode_vectors,
    encode_local,
    encode_vector,
    most_bytes,
)
from glocal.store.rows import LocalForm
from glocal.types import LocalFeatures

SIZE = (640, 480)
BYTES = {LocalForm.INT8: 1.0, LocalForm.FLOAT16: 2.0, LocalForm.BINARY: 0.125}  # of a number


def features(seed, count, length, num_places=None):
    """Local features of random places, or of few columns and rows of cells as those of a network."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, length)).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    keypoints = rng.uniform(-0.5, 1, (count, 2)) * SIZE
    if num_places:
        keypoints = np.floor(rng.random((count, 2)) * num_places) * 7.7 + 3.3
    return LocalFeatures(
        "x",
        SIZE,
        keypoints.astype(np.float32),
        rows,
        np.sort(rng.random(count).astype(np.float32))[::-1].copy(),
        (rng.random(count) * 90 + 10).astype(np.float32),
    )


MANY = st.tuples(st.integers(0, 2**31), st.integers(0, 40), st.integers(1, 16))


@settings(max_examples=50, deadline=None)
@given(drawn=MANY)
def test_exact_keypoints_survive_the_round_trip(drawn):
    seed, count, eighths = drawn
    local = features(seed, count, 8 * eighths)
    encoded = encode_local(local, exact=True)
    back = decode_local(encoded, "x", SIZE, 8 * eighths, exact=True)
    for name in ("keypoints", "scores", "scales"):
        assert np.array_equal(getattr(back, name), getattr(local, name))
    assert ((back.descriptors * local.descriptors).sum(axis=1) > 0.999).all()
    assert len(encoded.geometry) == 16 * count


@pytest.mark.parametrize("form", LocalForm)
@settings(max_examples=30, deadline=None)
@given(drawn=MANY, num_places=st.sampled_from([None, 1, 5, 300]))
def test_what_comes_back_is_as_near_as_promised(form, drawn, num_places):
    seed, count, eighths = drawn
    local = features(seed, count, 8 * eighths, num_places)
    encoded = encode_local(local, form)
    assert len(encoded.descriptors) == BYTES[form] * count * 8 * eighths
    assert len(encoded.descriptors) + len(encoded.geometry) <= most_bytes(count, 8 * eighths, form)
    back = decode_local(encoded, "x", SIZE, 8 * eighths, form)
    assert (back.id, back.size, len(back)) == ("x", SIZE, count)
    if not count:
        return
    span = np.ptp(local.keypoints.astype(float), axis=0)
    assert (np.abs(back.keypoints - local.keypoints.astype(float)) <= span / 131070 + 1e-4).all()
    for name in ("scales", "scores"):
        logarithms = np.log(getattr(local, name).astype(float))
        error = np.abs(np.log(getattr(back, name).astype(float)) - logarithms)
        assert error.max() <= np.ptp(logarithms) / 510 + 1e-5
    if form == LocalForm.BINARY:
        wanted = np.where(local.descriptors > 0, 1, -1) / math.sqrt(8 * eighths)
        assert np.abs(back.descriptors - wanted).max() < 1e-6
    else:
        assert ((back.descriptors * local.descriptors).sum(axis=1) > 0.999).all()


@pytest.mark.parametrize("num_places", [None, 20])
def test_a_keypoint_takes_at_most_six_bytes_and_half_of_it_on_a_grid(num_places):
    geometry = encode_local(features(0, 1000, 8, num_places)).geometry
    assert len(geometry) <= (6.1 if num_places is None else 3.5) * 1000


def test_the_greatest_and_least_values_come_back_exactly():
    local = features(1, 300, 8)
    back = decode_local(encode_local(local), "x", SIZE, 8)
    for name in ("keypoints", "scales", "scores"):
        before, after = getattr(local, name), getattr(back, name)
        assert np.allclose(after.min(axis=0), before.min(axis=0), rtol=1e-6)
        assert np.allclose(after.max(axis=0), before.max(axis=0), rtol=1e-6)


@pytest.mark.parametrize("scores", [[0.5] * 3, [2.0, 0.0, 0.0], [1.0, -1.0, -3.0], [3e38, 1e-3, 1e-40]])
def test_scores_that_are_equal_zero_negative_or_far_apart_stay_in_order(scores):
    local = dataclasses.replace(features(0, 3, 8), scores=np.array(scores, np.float32))
    back = decode_local(encode_local(local), "x", SIZE, 8).scores
    assert np.allclose(back, local.scores, rtol=0.5, atol=0.02)
    assert (np.diff(back) <= 0).all()


def test_all_keypoints_in_one_place_survive():
    local = features(0, 50, 8)
    local = dataclasses.replace(local, keypoints=np.full((50, 2), 7.25, np.float32))
    assert np.array_equal(decode_local(encode_local(local), "x", SIZE, 8).keypoints, local.keypoints)


@pytest.mark.parametrize("field", ["keypoints", "scales", "scores"])
def test_numbers_that_are_not_finite_are_refused(field):
    local = features(0, 3, 8)
    values = getattr(local, field).copy()
    values[0] = np.inf
    with pytest.raises(ShapeError, match="must be finite"):
        encode_local(dataclasses.replace(local, **{field: values}))


def test_signs_that_fill_no_whole_byte_are_refused():
    with pytest.raises(ShapeError, match="12 signs"):
        encode_local(features(0, 3, 12), LocalForm.BINARY)


def test_packed_signs_are_those_of_the_descriptors_at_the_same_keypoints():
    local = features(3, 200, 128, 30)
    encoded = encode_local(local, LocalForm.BINARY)
    signs = decode_signs(encoded, "x", SIZE, 128)
    assert (signs.id, signs.size, len(signs)) == ("x", SIZE, 200)
    assert np.array_equal(signs.bits, pack_signs(local.descriptors))
    assert np.array_equal(signs.keypoints, decode_local(encoded, "x", SIZE, 128, LocalForm.BINARY).keypoints)


@pytest.mark.parametrize("exact", [True, False])
def test_many_are_decoded_as_one_by_one(exact):
    rows = [LocalRow(f"{n}", SIZE, encode_local(features(n, n, 16), exact=exact)) for n in (5, 0, 17)]
    for row, found in zip(rows, decode_many(rows, 16, exact=exact), strict=True):
        alone = decode_local(row.encoded, row.name, SIZE, 16, exact=exact)
        assert found.id == row.name
        assert np.array_equal(found.descriptors, alone.descriptors)
        assert np.array_equal(found.keypoints, alone.keypoints)


def test_vectors_survive_exactly():
    vectors = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    assert np.array_equal(decode_vectors([encode_vector(v) for v in vectors], 7), vectors)


@pytest.mark.parametrize("exact", [True, False])
def test_no_local_features_of_no_length_survive_the_round_trip(exact):
    none = np.empty(0, np.float32)
    local = LocalFeatures("x", SIZE, np.empty((0, 2), np.float32), np.empty((0, 0), np.float32), none, none)
    back = decode_local(encode_local(local, exact=exact), "x", SIZE, 0, exact=exact)
    assert (len(back), back.descriptors.shape, back.size) == (0, (0, 0), SIZE)


# ---------------------------------------------------------------- hostile rows: the checksum is right, the rest is not


def sealed(encoded, **changes):
    """A row with other contents and the checksum that fits."""
    changed = dataclasses.replace(encoded, **changes)
    return dataclasses.replace(changed, checksum=zlib.crc32(changed.geometry, zlib.crc32(changed.descriptors)))


def deflated(body):
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(body) + deflate.flush()


def expect_refused(encoded, form=LocalForm.INT8, dim=16, size=SIZE, exact=False):
    with pytest.raises(StoreError, match="damaged: local features of 'y'"):
        decode_local(encoded, "y", size, dim, form, exact)
    if form == LocalForm.BINARY:
        with pytest.raises(StoreError, match="damaged: local features of 'y'"):
            decode_signs(encoded, "y", size, dim)


@pytest.mark.parametrize("form", LocalForm)
@pytest.mark.parametrize("exact", [True, False])
def test_a_row_that_does_not_fit_is_refused(form, exact):
    good = encode_local(features(0, 9, 16), form, exact)
    decode_local(good, "y", SIZE, 16, form, exact)
    damaged = [
        dataclasses.replace(good, checksum=good.checksum ^ 1),
        dataclasses.replace(good, checksum="0"),
        sealed(good, count=8),
        sealed(good, count=-9),
        dataclasses.replace(good, count="9"),
        dataclasses.replace(good, count=None),
        dataclasses.replace(good, descriptors="text"),
        dataclasses.replace(good, geometry=5),
        sealed(good, descriptors=good.descriptors[:-1]),
        sealed(good, descriptors=b""),
        sealed(good, geometry=good.geometry[:-1]),
        sealed(good, geometry=good.geometry + b"x"),
        sealed(good, geometry=b""),
        sealed(good, geometry=bytes(len(good.geometry)) if not exact else b"\xff" * len(good.geometry)),
    ]
    for row in damaged:
        expect_refused(row, LocalForm.INT8 if exact and form == LocalForm.BINARY else form, exact=exact)
    for size in ((0, 5), (-1, 5), ("5", 5), (None, 5)):
        with pytest.raises(StoreError, match="damaged"):
            decode_local(good, "y", size, 16, form, exact)
    # Without numbers a count is bounded by nothing else.
    expect_refused(EncodedLocal(10**12, 1.0, b"", b"", zlib.crc32(b"")), form, dim=0, exact=exact)


def test_more_keypoints_than_any_model_gives_are_refused():
    count = MAX_KEYPOINTS + 1
    expect_refused(sealed(EncodedLocal(count, 1.0, bytes(count), b"", 0)), LocalForm.BINARY, dim=8)
    local = features(0, 1, 8)
    many = {name: np.repeat(getattr(local, name), count, axis=0) for name in ("keypoints", "descriptors")}
    many |= {name: np.repeat(getattr(local, name), count) for name in ("scores", "scales")}
    with pytest.raises(ShapeError, match="65537 keypoints"):
        encode_local(dataclasses.replace(local, **many))


def test_a_little_geometry_that_unfolds_to_a_lot_is_refused():
    good = encode_local(features(0, 9, 16), LocalForm.BINARY)
    bomb = deflated(bytes(50_000_000))
    assert len(bomb) < 60_000
    expect_refused(sealed(good, geometry=bomb), LocalForm.BINARY)


def body_of(ranges=(0, 1, 0, 1, 1, 2, 1, 2), few=(1, 1), which=b"\0\0", falls=b"\0\0"):
    """What is deflated for two keypoints: a place of x, which of them; the same of y; scales; falls of scores."""
    return struct.pack("<8f2H", *ranges, *few) + b"\0\0" + which + b"\0\0\0\0" + b"\0\0" + falls


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({}, True),
        ({"ranges": (0, 1, 0, 1, 1, 2, 1, math.nan)}, False),
        ({"ranges": (0, math.inf, 0, 1, 1, 2, 1, 2)}, False),
        ({"ranges": (1, 0, 0, 1, 1, 2, 1, 2)}, False),
        ({"ranges": (-3e38, 3e38, -3e38, 3e38, 1e-45, 3e38, -3e38, 3e38)}, True),
        ({"which": b"\0\1"}, False),
        ({"few": (2, 1)}, False),
        ({"few": (60000, 1)}, False),
        ({"few": (0, 0)}, True),
        ({"falls": b"\xff\x00"}, True),
        ({"falls": b"\xff\x01"}, False),
        ({"falls": b"\0"}, False),
        ({"falls": b"\0\0\0"}, False),
    ],
)
def test_geometry_whose_parts_do_not_fit_is_refused(changes, sound):
    row = sealed(EncodedLocal(2, 1.0, b"\x80\x01\xff\x00", deflated(body_of(**changes)), 0))
    if sound:
        found = decode_local(row, "y", SIZE, 16, LocalForm.BINARY)
        assert np.isfinite(found.keypoints).all()
        assert np.isfinite(found.scales).all()
        return
    with pytest.raises(StoreError, match="damaged: local features of 'y'"):
        decode_local(row, "y", SIZE, 16, LocalForm.BINARY)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**31), data=st.binary(max_size=300), form=st.sampled_from(list(LocalForm)))
def test_any_bytes_are_either_refused_or_sound(seed, data, form):
    rng = np.random.default_rng(seed)
    good = encode_local(features(seed, 9, 16, 5), form)
    geometry = bytearray(good.geometry)
    geometry[rng.integers(len(geometry))] ^= int(rng.integers(1, 256))
    inside = zlib.decompressobj(-15).decompress(good.geometry)
    inside = bytearray(inside)
    inside[rng.integers(len(inside))] ^= int(rng.integers(1, 256))
    descriptors = rng.integers(0, 256, len(good.descriptors), np.uint8).tobytes()
    for row in (
        sealed(good, geometry=data),
        sealed(good, geometry=deflated(data)),
        sealed(good, geometry=bytes(geometry)),
        sealed(good, geometry=deflated(bytes(inside))),
        sealed(good, descriptors=descriptors),
    ):
        try:
            found = decode_local(row, "y", SIZE, 16, form)
        except StoreError:
            continue
        assert np.isfinite(found.keypoints).all()
        assert np.isfinite(found.scores).all()


def test_a_descriptor_of_zeros_is_refused():
    good = encode_local(features(0, 9, 16))
    expect_refused(sealed(good, descriptors=bytes(len(good.descriptors))))
