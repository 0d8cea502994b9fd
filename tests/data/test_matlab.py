"""MATLAB files: what SciPy writes is read, no more of it than was asked for, and hostile ones are refused."""

import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glocal.data.matlab import MAX_VARIABLES, Variable, read_matlab
from glocal.errors import ConfigError

scipy_io = pytest.importorskip("scipy.io")


def cells(*values):
    made = np.empty((len(values), 1), object)
    made[:, 0] = values
    return made


def structures(*rows):
    made = np.zeros((1, len(rows)), [(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        for name, value in row.items():
            made[0, i][name] = value
    return made


def saved(path, compressed=False, **variables):
    scipy_io.savemat(path, variables, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_variables_are_those_that_scipy_wrote(tmp_path, compressed):
    path = saved(
        tmp_path / "x.mat",
        compressed,
        imlist=cells("a", "längere Namen", "INSTRE-S1/01a/001.jpg"),
        gnd=structures(
            {"ok": np.array([[1.0, 3.0]]), "bbx": np.array([[1.5, 2, 3, 4]])}, {"ok": [], "bbx": [1, 2, 3, 4]}
        ),
        matrix=np.arange(6).reshape(2, 3),
        small=np.arange(300, dtype=np.uint16),
        negative=np.array([-1, 2], np.int8),
        flags=np.array([True, False]),
        text="hello",
        none=np.zeros((0, 0)),
    )
    found = read_matlab(path)
    assert found["imlist"] == ["a", "längere Namen", "INSTRE-S1/01a/001.jpg"]
    assert [row["ok"].reshape(-1).tolist() for row in found["gnd"]] == [[1.0, 3.0], []]
    assert [row["bbx"].reshape(-1).tolist() for row in found["gnd"]] == [[1.5, 2, 3, 4], [1, 2, 3, 4]]
    oracle = scipy_io.loadmat(path)
    for name in ("matrix", "small", "negative", "flags", "none"):
        np.testing.assert_array_equal(found[name], oracle[name])
    assert found["matrix"].shape == (2, 3)
    assert found["flags"].dtype == bool
    assert found["text"] == "hello"


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def cell_of(content, sides=(1, 1), kind=1, name=b"x"):
    flags, shape = struct.pack("<II", kind, 0), struct.pack(f"<{len(sides)}i", *sides)
    return element(14, element(6, flags) + element(5, shape) + element(1, name) + content)


def packed(content):
    content = zlib.compress(content)
    return struct.pack("<II", 15, len(content)) + content


def file_of(path, content, head=b""):
    path.write_bytes(head.ljust(124) + b"\x00\x01IM" + content)
    return path


def test_deeply_nested_cells_are_refused(tmp_path):
    content = b""
    for _ in range(2000):
        content = cell_of(content, (1, 1) if content else (0, 0))
    with pytest.raises(ConfigError, match="nested deeper than 16"):
        read_matlab(file_of(tmp_path / "deep.mat", content))


@pytest.mark.parametrize("kind", [1, 4, 6])
def test_a_small_file_that_unpacks_to_very_much_is_refused_before_it_is_unpacked(tmp_path, kind):
    value = element(9 if kind == 6 else 4, bytes(64 << 20))
    path = file_of(tmp_path / "bomb.mat", packed(cell_of(value, (8 << 20, 1), kind)))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(ConfigError, match="more than 63 MiB unpacked"):
        read_matlab(path, max_unpacked=63 << 20)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_small_numbers_that_become_large_ones_count_as_those(tmp_path):
    path = file_of(tmp_path / "wide.mat", cell_of(element(2, bytes(1 << 20)), (1 << 20, 1), 6))
    assert read_matlab(path, max_unpacked=8 << 20)["x"].nbytes == 8 << 20
    with pytest.raises(ConfigError, match="more than 7 MiB unpacked"):
        read_matlab(path, max_unpacked=(8 << 20) - 1)


def test_a_file_over_the_limit_is_refused_unread(tmp_path):
    path = saved(tmp_path / "x.mat", value=np.zeros(100))
    size = path.stat().st_size
    assert read_matlab(path, max_bytes=size)["value"].shape == (1, 100)
    with pytest.raises(ConfigError, match=f"{size:,} bytes; the limit .* is {size - 1:,}"):
        read_matlab(path, max_bytes=size - 1)


def test_more_variables_than_anybody_saves_are_refused(tmp_path):
    assert read_matlab(file_of(tmp_path / "x.mat", element(14, b"") * MAX_VARIABLES)) == {}
    with pytest.raises(ConfigError, match="more than 10,000 variables"):
        read_matlab(file_of(tmp_path / "x.mat", element(14, b"") * (MAX_VARIABLES + 1)))


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (cell_of(b"", (1 << 30, 1 << 30)), "values in 0 bytes"),
        (cell_of(b"", (-1, 2)), "shape"),
        (cell_of(element(9, b""), (0, 2**31 - 1, 2**31 - 1, 2**31 - 1), kind=6), "too big"),
        (cell_of(b"", (2, 2), kind=3), "object, function or sparse"),
        (cell_of(element(9, bytes(8)), (5, 1), kind=6), "in 8 bytes"),
        (cell_of(element(5, struct.pack("<i", 0)) + element(1, b""), (1, 1), kind=2), "field names of 0"),
        (cell_of(element(4, b"abcd"), (2, 2), kind=4), "a text of shape"),
        (struct.pack("<II", 14, 1 << 30), "ends early"),
        (struct.pack("<II", 7, 0), "element of type 7"),
    ],
)
def test_claims_that_do_not_fit_the_file_are_refused(tmp_path, content, fragment):
    with pytest.raises(ConfigError, match=r"x\.mat cannot be read") as caught:
        read_matlab(file_of(tmp_path / "x.mat", content))
    assert fragment in str(caught.value)


def test_a_variable_that_is_there_twice_is_refused_by_name(tmp_path):
    path = file_of(tmp_path / "x.mat", cell_of(element(9, bytes(8)), (1, 1), 6) * 2)
    for wanted in (None, lambda variable: False):
        with pytest.raises(ConfigError, match='variable "x" is there twice'):
            read_matlab(path, wanted)


def test_a_refusal_says_what_else_can_be_done(tmp_path):
    path = file_of(tmp_path / "x.mat", b"1234567")
    with pytest.raises(ConfigError, match=r"ends early.* → save\('x.mat', …, '-v7'\) in MATLAB, or write JSON$"):
        read_matlab(path, instead="write JSON")


def test_files_of_other_versions_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512))
    with pytest.raises(ConfigError, match=r"version 7\.3 .*-v7"):
        read_matlab(tmp_path / "new.mat")
    (tmp_path / "old.mat").write_bytes(bytes(200))
    with pytest.raises(ConfigError, match="no header of version 5 to 7"):
        read_matlab(tmp_path / "old.mat")


def test_complex_and_sparse_numbers_are_refused(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    for value, fragment in ((np.array([1j]), "complex"), (sparse.eye(3).tocsc(), "sparse")):
        with pytest.raises(ConfigError, match=fragment):
            read_matlab(saved(tmp_path / "x.mat", value=value))


@given(at=st.integers(128, 100_000), byte=st.integers(0, 255), end=st.integers(0, 100_000), compressed=st.booleans())
def test_a_changed_or_short_file_is_read_or_refused(tmp_path_factory, at, byte, end, compressed):
    path = tmp_path_factory.mktemp("mat", numbered=True) / "x.mat"
    with warnings.catch_warnings():
        saved(path, compressed, imlist=cells("a", "b"), gnd=structures({"ok": [1, 2], "bbx": [1, 2, 3, 4]}))
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(bytes(data[: max(end % (2 * len(data)), 1)]))
    try:
        found = read_matlab(path)
    except ConfigError:
        return
    assert isinstance(found, dict)


# variables that were asked for


@pytest.mark.parametrize("compressed", [False, True])
def test_each_variable_is_asked_for_once_and_only_wanted_ones_are_read(tmp_path, compressed):
    sparse = pytest.importorskip("scipy.sparse")
    path = saved(
        tmp_path / "x.mat",
        compressed,
        names=cells("a"),
        small=np.ones((2, 3), np.float32),
        flags=np.array([True]),
        odd=sparse.eye(3).tocsc(),
        complex=np.array([[1j, 2]]),
        whole=np.ones((1, 2), np.int16),
        text="hello",
    )
    asked = []
    found = read_matlab(path, lambda variable: asked.append(variable) or variable.name == "small")
    assert asked == [
        Variable("names", (1, 1), None),
        Variable("small", (2, 3), np.dtype("f4")),
        Variable("flags", (1, 1), np.dtype(bool)),
        Variable("complex", (1, 2), np.dtype("c16")),
        Variable("whole", (1, 2), np.dtype("i2")),
        Variable("text", (1, 5), None),
    ]
    assert list(found) == ["small"]
    assert found["small"].dtype == np.float32
    with pytest.raises(ConfigError, match="complex"):
        read_matlab(path, lambda variable: variable.name == "complex")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_large_matrix_is_held_once(tmp_path, compressed):
    values = np.arange(1 << 21, dtype=np.float32).reshape(1 << 10, -1)
    path = saved(tmp_path / "x.mat", compressed, other=values, X=values)
    tracemalloc.start()
    found = read_matlab(path, lambda variable: variable.name == "X")["X"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, values)
    assert found.T.flags.c_contiguous
    assert peak < values.nbytes + (4 << 20)


@given(
    st.integers(1, 5),
    st.integers(1, 7),
    st.sampled_from(["i1", "u1", "i2", "u2", "i4", "f4", "f8"]),
    st.booleans(),
    st.integers(0, 2**31),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_a_matrix_may_be_stored_in_a_smaller_type(tmp_path, rows, columns, dtype, compressed, seed):
    values = np.random.default_rng(seed).integers(0, 100, (rows, columns)).astype(dtype)
    buffer = io.BytesIO()
    scipy_io.savemat(buffer, {"X": values})
    data = bytearray(buffer.getvalue())
    # MATLAB stores whole numbers of a double matrix in the smallest type that holds them: only its class says double.
    assert data[128 + 16] in (6, 7, 8, 9, 10, 11, 12)
    data[128 + 16] = 6
    path = tmp_path / "m.mat"
    path.write_bytes(bytes(data[:128]) + (packed(data[128:]) if compressed else data[128:]))
    found = read_matlab(path)["X"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(scipy_io.loadmat(path)["X"], values)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_of_the_other_byte_order_is_read(tmp_path, compressed):
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, -6.5]])
    body = struct.pack(">IIIIIIii", 6, 8, 6, 0, 5, 8, 3, 2)
    body += struct.pack(">HH4s", 1, 1, b"X") + struct.pack(">II", 9, 48) + values.T.astype(">f8").tobytes()
    content = struct.pack(">II", 14, len(body)) + body
    if compressed:
        content = zlib.compress(content)
        content = struct.pack(">II", 15, len(content)) + content
    path = tmp_path / "m.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + content)
    np.testing.assert_array_equal(read_matlab(path)["X"], values)
    np.testing.assert_array_equal(scipy_io.loadmat(path)["X"], values)


@pytest.mark.parametrize(("dtype", "kind"), [("f8", 8), ("f8", 7), ("f4", 15), ("f8", 6)])
def test_numbers_that_the_type_of_a_variable_cannot_hold_are_no_traceback(tmp_path, dtype, kind):
    content = np.array([np.nan, 1e300 if dtype == "f8" else 1e30], dtype).tobytes()
    path = file_of(tmp_path / "x.mat", cell_of(element(9 if dtype == "f8" else 7, content), (2, 1), kind))
    assert read_matlab(path)["x"].shape == (2, 1)
