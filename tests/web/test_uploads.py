import base64
import io
import json
import struct
import tempfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from glocal.web.problems import Problem
from glocal.web.settings import Settings
from glocal.web.uploads import decode_base64, depth_of, parse_object

SETTINGS = Settings()


@pytest.fixture(scope="module")
def picture(collection):
    return (collection / "query.jpg").read_bytes()


def nested(depth):
    return ("[" * (depth - 1)).join(['{"image":', "1" + "]" * (depth - 1) + "}"])


@pytest.mark.parametrize(("depth", "detail"), [(31, "image"), (32, "image"), (33, "deep")])
def test_json_may_be_nested_to_a_depth(client, picture, depth, detail):
    for answer in (
        client.post("/v1/search", content=nested(depth), headers={"Content-Type": "application/json"}),
        client.post("/v1/search", files={"image": picture}, data={"params": nested(depth)}),
    ):
        assert answer.status_code == 400
        assert detail in answer.json()["detail"]


def test_very_deep_json_is_refused_before_it_is_parsed(client):
    for bomb in (b"[" * 60_000, b'{"a":' * 9_000, b'"' + b"\\" * 3_000_001, b'{"a":"' + b"x" * 5_000_000):
        answer = client.post("/v1/search", content=bomb, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_params")


@pytest.mark.parametrize(
    "bomb", [b"[" * 20_000_000, b"[" + b"[]," * 5_000_000 + b"1]", b'["' + b'","' * 5_000_000 + b'"]']
)
def test_json_that_would_fill_the_memory_is_refused_before_it_is_parsed(client, bomb):
    answer = client.post("/v1/search", content=bomb, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert answer.elapsed.total_seconds() < 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_the_depth_of_a_text_is_that_of_its_value(value):
    def depth(part):
        if isinstance(part, dict):
            part = list(part.values())
        return 1 + max(map(depth, part), default=0) if isinstance(part, list) else 0

    assert depth_of(json.dumps(value).encode()) == depth(value)
    assert depth_of(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) == depth(value)


@pytest.mark.parametrize(
    "text",
    [b"", b"nothing", b"[1]", b"1", b"null", b'{"a": NaN}', b'{"a": Infinity}', b"\xff\xfe{}", b'{"a": 1', b"{'a': 1}"],
)
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(Problem) as refused:
        parse_object(text, SETTINGS)
    assert refused.value.code == "invalid_params"


def test_a_number_of_very_many_digits_is_refused():
    with pytest.raises(Problem):
        parse_object(b'{"a": ' + b"9" * 100_000 + b"}", SETTINGS)
    assert parse_object(b'{"a": 1e999}', SETTINGS)  # the shape refuses what is not finite


def test_a_number_that_is_not_finite_is_refused_wherever_a_number_may_be(client, picture):
    for params in ('{"box": [0, 0, 1e999, 100]}', '{"min_probability": 1e999}', '{"box": [0, 0, NaN, 1]}'):
        answer = client.post("/v1/search", files={"image": picture}, data={"params": params})
        assert answer.status_code in (400, 422)
        assert answer.json()["code"] in ("invalid_params", "value_too_large")


@pytest.mark.parametrize("text", ["a", "====", "aGk", "aGk=\n", " aGk=", "data:image/png;base64,aGk=", "aG-_", "é"])
def test_base64_is_strict(text):
    with pytest.raises(Problem):
        decode_base64(text)


@given(st.binary())
def test_base64_gives_the_bytes(data):
    assert decode_base64(base64.b64encode(data).decode()) == data


def post(client, fields, picture, **settings):
    files = [("image", ("x.jpg", picture))] + [(name, (None, value)) for name, value in fields]
    return client.post("/v1/search", files=files)


@pytest.mark.parametrize(("count", "status"), [(19, 200), (20, 200), (21, 413)])
def test_a_body_has_a_largest_number_of_fields(client, picture, count, status):
    answer = post(client, [(f"field{i}", "x") for i in range(count)], picture)
    assert answer.status_code == status
    if status == 200:
        assert f"{count} parts" in answer.json()["warnings"][0]
    else:
        assert answer.json()["code"] == "too_many_parts"


@pytest.mark.parametrize(("size", "status"), [(65_535, 200), (65_536, 200), (65_537, 413)])
def test_a_field_has_a_largest_size(client, picture, size, status):
    assert post(client, [("params", "{" + " " * (size - 2) + "}")], picture).status_code == status
    assert post(client, [("other", "x" * size)], picture).status_code == status


def test_there_is_one_picture_and_one_set_of_parameters(client, picture):
    one = ("image", ("a.jpg", picture))
    for more in (one, ("image2", ("b.jpg", picture)), ("images", ("b.jpg", picture)), ("params", ("p.json", b"{}"))):
        answer = client.post("/v1/embed", files=[one, more])
        assert (answer.status_code, answer.json()["code"]) == (413, "too_many_parts")
    answer = client.post("/v1/embed", files=[one, ("params", (None, "{}")), ("params", (None, "{}"))])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_parts")


@pytest.mark.parametrize(("extra", "status"), [(-1, 200), (0, 200), (1, 413)])
def test_a_request_has_a_largest_size(start, picture, extra, status):
    request_size = len(picture) + 1000
    with start(max_body_bytes=request_size) as client:
        head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + picture + b"\r\n"
        rest = b'--b\r\nContent-Disposition: form-data; name="pad"\r\n\r\n%s\r\n--b--\r\n'
        body = head + rest % (b"x" * (request_size + extra - len(head) - len(rest) + 2))
        assert len(body) == request_size + extra
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert client.post("/v1/search", content=body, headers=headers).status_code == status
        chunked = (body[i : i + 997] for i in range(0, len(body), 997))
        answer = client.post("/v1/search", content=chunked, headers=headers)
        assert "content-length" not in answer.request.headers
        assert answer.status_code == status


@pytest.mark.parametrize(("extra", "status"), [(-1, 200), (0, 200), (1, 413)])
def test_a_picture_has_a_largest_number_of_pixels(start, collection, extra, status):
    with start(max_pixels=400 * 300 - extra) as client:
        answer = client.post("/v1/search", files={"image": (collection / "query.jpg").read_bytes()})
        assert answer.status_code == status
        assert status == 200 or answer.json()["code"] == "image_too_many_pixels"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "image/jpeg", "", "multipart/mixed"]
)
@pytest.mark.parametrize("path", ["/v1/search", "/v1/match", "/v1/rerank", "/v1/recognize", "/v1/embed"])
def test_a_body_of_another_type_is_refused(client, picture, path, kind):
    answer = client.post(path, content=picture, headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\nhello\r\n--b--\r\n'
DAMAGED = [
    b"",
    b"--b--\r\n",
    PART[:-3],
    PART[:40],
    PART.replace(b"--b", b"--c"),
    PART.replace(b"form-data", b"attachment"),
    PART.replace(b'name="image"; ', b""),
    PART.replace(b"Content-Disposition", b"Content-Dis\x00position"),
    b"--b\r\n" * 1000,
    b"\x00" * 1000,
    b"--b\r\n" + b"X: y\r\n" * 1000 + b"\r\n\r\n--b--\r\n",
    b'--b\r\nContent-Disposition: form-data; name="' + b"n" * 100_000 + b'"\r\n\r\nx\r\n--b--\r\n',
]


@pytest.mark.parametrize("body", DAMAGED)
def test_a_damaged_multipart_body_is_refused(client, body):
    answer = client.post("/v1/search", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code in (400, 413), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=" + "b" * 300, "; charset=utf-8"])
def test_a_multipart_body_needs_a_boundary(client, boundary):
    headers = {"Content-Type": "multipart/form-data" + boundary}
    assert client.post("/v1/search", content=PART, headers=headers).status_code == 400


def bomb():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def gif():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "GIF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "corrupt_image"),
        (b"hello", 415, "unsupported_format"),
        (b"<html>", 415, "unsupported_format"),
        (b"%PDF-1.4", 415, "unsupported_format"),
        (b"8BPS" + b"\0" * 100, 415, "unsupported_format"),
        (b"\xff\xd8\xff" + b"\0" * 100, 422, "corrupt_image"),
        (bomb(), 413, "image_too_many_pixels"),
        (gif(), 422, "image_too_small"),
    ],
)
def test_what_is_no_good_picture_is_refused_with_the_reason(client, data, status, code):
    encoded = {"image": {"base64": base64.b64encode(data).decode()}}
    for path in ("/v1/search", "/v1/recognize", "/v1/embed"):
        for answer in (client.post(path, files={"image": data}), client.post(path, json=encoded)):
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
            assert "--" not in answer.json()["detail"]


def test_the_log_says_nothing_of_what_was_sent(client, picture, caplog):
    caplog.set_level("DEBUG")
    for path in ("/v1/search?secret=CANARY", "/CANARY", "/v1/matches/q_CANARY/x"):
        client.post(path, files={"image": ("CANARY.jpg", picture)}, headers={"X-Name": "CANARY"})
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("glocal")]
    assert ours
    assert "CANARY" not in "".join(ours)


def test_what_is_sent_touches_no_disk(client, picture, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a temporary file was made")

    for name in ("mkstemp", "mkdtemp", "TemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, refuse)
    large = Image.effect_noise((1600, 1200), 90)
    file = io.BytesIO()
    large.save(file, "PNG")
    assert len(file.getvalue()) > 1_500_000  # more than a form parser would keep in memory
    assert client.post("/v1/search", files={"image": file.getvalue()}).status_code == 200
