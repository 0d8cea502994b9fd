"""Python object dumps: plain values come back as they were dumped, everything else is refused and never run."""

import builtins
import collections
import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.data import plain_arrays, plain_objects
from glocal.data.plain_objects import read_plain_objects
from glocal.errors import ConfigError
from tests.conftest import SHARED

PROTOCOLS = range(6)
ARRAYS = {
    "matrix": np.arange(6).reshape(2, 3),
    "Fortran's order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "other axes": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(10, dtype=np.float32)[::3],
    "no elements": np.zeros((0, 3)),
    "no dimensions": np.array(2.5),
    "big-endian": np.arange(5, dtype=">i4"),
    "booleans": np.array([True, False]),
    "bytes": np.arange(200, dtype=np.uint8),
}
REVISITED = SHARED / "data" / "revisitop"


def read(tmp_path: Path, data: bytes) -> object:
    path = tmp_path / "gnd.pkl"
    path.write_bytes(data)
    return read_plain_objects(path)


def refused(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(ConfigError, match=r"gnd\.pkl: (at|after) byte \d") as caught:
        read(tmp_path, data)
    return str(caught.value)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
KEYS = st.text(max_size=5) | st.integers(-(2**59), 2**59)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple) | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=30,
)


@given(value=PLAIN, protocol=st.sampled_from(PROTOCOLS))
def test_plain_values_come_back_as_they_were_dumped(tmp_path_factory, value, protocol):
    found = read(tmp_path_factory.mktemp("plain", numbered=True), pickle.dumps(value, protocol))
    assert repr(found) == repr(value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_numeric_arrays_come_back_in_every_protocol(tmp_path, name, protocol):
    array = ARRAYS[name]
    found = read(tmp_path, pickle.dumps({"a": array, "again": [array]}, protocol))
    np.testing.assert_array_equal(found["a"], array)
    assert found["a"].shape == array.shape
    assert found["a"].dtype == array.dtype.newbyteorder("=")
    assert found["again"][0] is found["a"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_scalars_become_python_numbers(tmp_path, protocol):
    found = read(tmp_path, pickle.dumps([np.int64(-7), np.float32(0.5), np.bool_(True)], protocol))
    assert found == [-7, 0.5, True]
    assert [type(value) for value in found] == [int, float, bool]


def test_arrays_that_numpy_1_wrote_are_read(tmp_path):
    old = pickle.dumps([np.arange(4), np.float64(2.5)], 2).replace(b"numpy._core.", b"numpy.core.")
    array, number = read(tmp_path, old)
    np.testing.assert_array_equal(array, [0, 1, 2, 3])
    assert number == 2.5


def test_texts_of_python_2_are_texts(tmp_path):
    assert read(tmp_path, b"(lp0\nS'all_souls'\np1\naU\x03abcaT\x01\x00\x00\x00\xe9a.") == ["all_souls", "abc", "é"]


def test_an_object_that_would_run_a_command_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    for protocol in PROTOCOLS:
        assert "wants to build `posix.system`" in refused(tmp_path, pickle.dumps({"imlist": Hostile()}, protocol))
    assert not marker.exists()


# What each instruction for objects looks like; MARKER is a file that would be there if it were run.
PROGRAMS = {
    "INST": (b"(S'touch MARKER'\niposix\nsystem\n.", "posix.system"),
    "OBJ": (b"(cposix\nsystem\nS'touch MARKER'\no.", "posix.system"),
    "OBJ of an allowed name": (b"(cnumpy\nndarray\nK\x03o.", "an object (OBJ)"),
    "NEWOBJ": (b"\x80\x02cnumpy\nndarray\nK\x03\x85\x81.", "an object (NEWOBJ)"),
    "NEWOBJ_EX": (b"\x80\x04cnumpy\nndarray\n)}\x92.", "an object (NEWOBJ_EX)"),
    "EXT1": (b"\x80\x02\x82\x01.", "an object (EXT1)"),
    "EXT4": (b"\x80\x02\x84\x01\x00\x00\x00.", "an object (EXT4)"),
    "PERSID": (b"Pnumber 1\n.", "outside the file"),
    "BINPERSID": (b"K\x01Q.", "outside the file"),
    "NEXT_BUFFER": (b"\x80\x05\x97.", "not in the file"),
    "a module of dots": (b"\x80\x04\x8c\x08os.pathx\x8c\x06system\x93.", "os.pathx.system"),
    "a computed name": (b"\x80\x04K\x01\x8c\x06system\x93.", "an int and a str name"),
    "attributes": (b"\x80\x02}}b.", "sets attributes of a dict"),
    "a call of a text": (b"\x80\x02X\x02\x00\x00\x00os)R.", "calls a str"),
    "a name as a value": (b"cnumpy\nndarray\n.", "`numpy.ndarray` as a value"),
    "another codec": (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00zip" + b"tR.", "_codecs.encode"),
    "letters in a name": (b"cos\x1b[31m\nsystem\n.", "os?[31m.system"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_instructions_that_make_objects_are_refused(tmp_path, name):
    program, fragment = PROGRAMS[name]
    assert fragment in refused(tmp_path, program.replace(b"MARKER", bytes(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "fragment"),
    [
        (builtins.eval, "eval"),
        (collections.OrderedDict(a=1), "collections.OrderedDict"),
        (complex(1, 2), "complex"),
        ({1, 2}, "set"),
        (frozenset((1,)), "set"),
        (Path("x"), "Path"),
        (bytearray, "bytearray"),
        (np.array(["a", 1], object), "way that is not expected"),
        (np.array(["a"]), "way that is not expected"),
        (np.array([1j]), "way that is not expected"),
        (np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), "way that is not expected"),
        (np.array(["2020-01-01"], "M8[D]"), "way that is not expected"),
        (np.ma.masked_array([1, 2]), "numpy.ma"),
        (np.dtype("i4"), "as a value"),
        (2**65, "66 bits"),
        ({2**60: 1}, "an int as a key"),
        ({(1, 2): 1}, "a tuple as a key"),
    ],
)
def test_other_values_are_refused_by_name(tmp_path, value, fragment):
    for protocol in (2, 4, 5):
        assert fragment in refused(tmp_path, pickle.dumps({"imlist": [value]}, protocol))


def test_a_value_that_contains_itself_is_refused(tmp_path):
    loop = []
    loop.append({"again": loop})
    assert "contains itself" in refused(tmp_path, pickle.dumps(loop))


@pytest.mark.parametrize("program", [b"]" * 100_000 + b"a" * 99_999 + b".", b")" + b"\x85" * 100_000 + b"."])
def test_deep_nesting_is_refused(tmp_path, program):
    assert "nested deeper than 32" in refused(tmp_path, program)


def test_a_deep_tuple_is_never_hashed(tmp_path):
    assert "a tuple as a key" in refused(tmp_path, b"}(" + b")" + b"\x85" * 200_000 + b"Nu.")


def test_a_small_file_that_stands_for_a_billion_values_is_refused(tmp_path):
    level: list = ["x"]
    for _ in range(9):
        level = [level] * 10
    data = pickle.dumps(level)
    assert len(data) < 1000
    assert "repeated ones counted each time" in refused(tmp_path, data)


def test_a_large_array_is_not_made_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_arrays, "MAX_COPIED", 1 << 20)
    kind = b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1\x89\x88tR"
    kind += b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    size = 200_000
    make = (
        b"cnumpy._core.numeric\n_frombuffer\n(h\x00"
        + kind
        + b"J"
        + struct.pack("<i", size)
        + b"\x85X\x01\x00\x00\x00CtRa"
    )
    start = b"\x80\x05]B" + struct.pack("<I", size) + bytes(size) + b"q\x00a"
    assert len(read(tmp_path, start + 5 * make + b".")) == 6
    assert "MiB of arrays" in refused(tmp_path, start + 6 * make + b".")


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"K\x03\x85", b"K\x07\x85"), (b"K\x03\x85", b"J\xff\xff\xff\xff\x85"), (b"K\x03\x85", b"]\x85")],
)
def test_an_array_whose_shape_does_not_fit_its_bytes_is_refused(tmp_path, old, new):
    data = pickle.dumps(np.arange(3), 2)
    assert data.count(old) == 1
    assert "shape" in refused(tmp_path, data.replace(old, new))


@pytest.mark.parametrize(
    "program",
    [
        b"X\xff\xff\xff\x7fabc.",
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"abc.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b"abc.",
        b"\x8b\xff\xff\xff\x7f1.",
        b"",
        b"no dump at all",
        b"I12x\n.",
        b"S'\\q'\n.",
        b"S'unended\n.",
    ],
)
def test_lengths_and_letters_that_make_no_sense_are_damage(tmp_path, program):
    assert "damaged: " in refused(tmp_path, program)


@pytest.mark.parametrize(
    "program", [b"a.", b"K\x01a.", b"(K\x01.", b"K\x01K\x02.", b"(K\x01d.", b"h\x05.", b"t.", b"(K\x01(ee."]
)
def test_values_that_are_not_there_are_not_taken(tmp_path, program):
    assert "refused: " in refused(tmp_path, program)


def test_every_beginning_of_a_file_is_refused(tmp_path):
    data = pickle.dumps({"a": [1, "x", np.arange(2)]}, 4)
    for end in range(len(data)):
        refused(tmp_path, data[:end])


def test_more_bytes_after_the_end_are_refused(tmp_path):
    assert "3 more bytes after the end" in refused(tmp_path, pickle.dumps([1]) + b"abc")


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), protocol=st.sampled_from(PROTOCOLS))
def test_a_changed_byte_gives_plain_values_or_a_refusal(tmp_path_factory, at, byte, protocol):
    data = bytearray(pickle.dumps({"imlist": ["a", "b"], "gnd": [{"bbx": np.arange(4.0), "ok": (1, 2)}]}, protocol))
    data[at % len(data)] = byte
    try:
        found = read(tmp_path_factory.mktemp("fuzz", numbered=True), bytes(data))
    except ConfigError:
        return
    assert isinstance(found, dict | list | tuple | str | bytes | int | float | np.ndarray | None)


def test_files_and_programs_that_are_too_long_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_objects, "MAX_STEPS", 100)
    assert "more than 100 instructions" in refused(tmp_path, b"]" + b"K\x01a" * 50 + b".")
    monkeypatch.setattr(plain_objects, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="101 bytes; the limit for such a file is 100"):
        read(tmp_path, b"x" * 101)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_plain_objects(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot read .* No such file"):
        read_plain_objects(tmp_path / "none.pkl")


@pytest.mark.skipif(not (REVISITED / "gnd_rparis6k.pkl").is_file(), reason="the ground truth is not on this machine")
def test_the_ground_truth_of_the_revisited_benchmarks_is_read():
    oxford = read_plain_objects(REVISITED / "gnd_roxford5k.pkl")
    paris = read_plain_objects(REVISITED / "gnd_rparis6k.pkl")
    assert (len(oxford["imlist"]), len(paris["imlist"])) == (4993, 6322)
    assert (oxford["imlist"][0], paris["qimlist"][0]) == ("ashmolean_000283", "paris_defense_000605")
    assert paris["gnd"][0]["bbx"] == [130, 17, 843, 732]
    golden = SHARED / "golden" / "evaluation" / "gnd_roxford5k.json"
    if golden.is_file():
        wanted = json.loads(golden.read_text("utf-8"))
        assert {key: wanted[key] for key in oxford} == oxford
