import asyncio
import base64
import contextlib
import json
import re

import pytest

from glocal.errors import ConfigError
from glocal.web.guard import COOKIE, OPEN_PATHS, Guard
from glocal.web.settings import Settings
from glocal.web.telemetry import Telemetry

KEY = "correct horse;battery=staple"
SETTINGS = Settings(max_body_bytes=1000, body_deadline_s=0.2, buffered_bytes=2500)


# ---------------------------------------------------------------------- every operation
def walk(routes):
    for route in routes:
        if hasattr(route, "routes"):
            yield from walk(route.routes)
        elif getattr(route, "original_router", None) is not None:
            yield from walk(route.original_router.routes)
        elif hasattr(route, "path"):
            yield route


def filled(path):
    names = {"image_id": "0" * 32, "query_id": "q_x", "job": "j_x", "index_id": "photos", "name": "js/main.js"}
    return re.sub(r"{(\w+)(?::\w+)?}", lambda match: names.get(match[1], "x1"), path)


def operations(client):
    described = [
        (method.upper(), path)
        for path, methods in client.app.openapi()["paths"].items()
        for method in methods
        if method in ("get", "post", "put", "delete", "patch")
    ]
    found = {(method, route.path) for route in walk(client.app.routes) for method in route.methods or ()}
    return sorted({(method, filled(path)) for method, path in {*described, *found} if method != "HEAD"})


def test_every_route_of_the_service_is_looked_at(client):
    found = operations(client)
    assert len(found) > 20
    expected = {("POST", "/v1/search"), ("GET", "/"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/livez")}
    assert expected <= set(found)


HOSTS = [
    "",
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:8080",
    "127.0.0.2",
    "10.0.0.1",
    "localhost@evil.example",
    "localhost:99999",
    "localhost:",
    "localhost:80:80",
    "localhost/evil",
    "[::2]:8080",
    "0.0.0.0",
    "local\u00adhost",
]


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_host_is_misdirected_whatever_it_asks(client, host):
    for method, path in operations(client):
        answer = client.request(method, path, headers={"Host": host.encode("utf-8")})
        assert answer.status_code == 421, (method, path)
        assert answer.json()["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:65535", "127.0.0.1"])
def test_the_names_of_this_computer_are_known(client, host):
    assert client.get("/livez", headers={"Host": host}).status_code == 200


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8081"},
    {"Origin": "http://127.0.0.1:8080.evil.example"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_web_page_can_change_and_ask_nothing(client, headers):
    for method, path in operations(client):
        if method not in ("GET", "HEAD"):
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin"), (method, path)


def test_our_own_page_may_ask(client, collection):
    own = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    answer = client.post("/v1/search", files={"image": (collection / "query.jpg").read_bytes()}, headers=own)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_an_origin_that_was_allowed_may_ask_and_no_other(start, collection):
    with start(origins=("https://shop.example",)) as client:
        asked = {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}
        answer = client.post("/v1/search", files={"image": (collection / "query.jpg").read_bytes()}, headers=asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["vary"] == "Origin"
        preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        assert client.options("/v1/search", headers=preflight).status_code == 204
        foreign = client.get("/v1/indexes", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in foreign.headers


def bearer(text):
    return {"Authorization": text}


WRONG_KEYS = [
    {},
    bearer(""),
    bearer("Bearer"),
    bearer("Bearer "),
    bearer(f"Bearer {KEY[:-1]}"),
    bearer(f"Bearer {KEY}x"),
    bearer(f"Bearer  {KEY}"),
    bearer(f"Bearer {KEY.upper()}"),
    bearer(KEY),
    bearer("Basic " + base64.b64encode(f"x:{KEY}".encode()).decode()),
    bearer("Bearer \xe9\xff".encode("latin-1")),
    {"X-Api-Key": KEY},
    {"Cookie": f"{COOKIE}={KEY}"},
    {"Cookie": f"{COOKIE}="},
    {"X-Original-URL": "/livez", "X-Rewrite-URL": "/livez", "X-Forwarded-For": "127.0.0.1"},
]


@pytest.fixture(scope="module")
def locked(collection):
    from tests.web.conftest import served  # noqa: PLC0415 - not collected as a module of its own

    with served([collection / "photos/.glocal"], key=KEY) as client:
        yield client


@pytest.mark.parametrize("headers", WRONG_KEYS)
def test_without_the_key_no_operation_answers(locked, headers):
    locked.headers.pop("Authorization", None)
    for method, path in operations(locked):
        answer = locked.request(method, path, headers=headers, follow_redirects=False)
        if path in OPEN_PATHS:
            assert answer.status_code in (200, 405), (method, path)
            continue
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "path", ["/v1/indexes?key=" + KEY, "//livez", "/livez/../v1/indexes", "/livez;/v1", "/LIVEZ", "/%6civez/x"]
)
def test_no_spelling_of_a_path_opens_a_door(locked, path):
    assert locked.get(path, headers={"Authorization": ""}).status_code == 401


def test_the_key_opens_and_a_browser_keeps_something_else(locked):
    good = bearer(f"Bearer {KEY}")
    assert locked.get("/v1/indexes", headers=good).status_code == 200
    assert locked.get("/v1/indexes", headers=bearer(f"bearer {KEY}")).status_code == 200
    answer = locked.get("/", params={"key": KEY}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert KEY not in cookie
    value = cookie.partition("=")[2].partition(";")[0]
    assert locked.get("/v1/indexes", headers={"Cookie": f"other=1; {COOKIE}={value}"}).status_code == 200
    assert locked.get("/v1/indexes", headers={"Cookie": f"{COOKIE}={value}; {COOKIE}=x"}).status_code == 401
    wrong = locked.get("/", params={"key": KEY + "x"}, follow_redirects=False)
    assert wrong.status_code == 401
    locked.cookies.clear()


def test_beyond_loopback_a_key_is_needed():
    with pytest.raises(ConfigError, match="there is no key"):
        Settings(host="0.0.0.0")
    assert not Settings(host="0.0.0.0", key=KEY).is_loopback
    assert Settings(host="::1").is_loopback
    for key in ("short", "with\nline end", "schlüssel"):
        with pytest.raises(ConfigError, match="8 printable"):
            Settings(key=key)


# ---------------------------------------------------------------------- every answer
def test_every_answer_has_the_headers_that_keep_a_browser_out_of_trouble(client):
    for method, path in operations(client):
        answer = client.request(method, path)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
        assert "server" not in answer.headers


def test_every_problem_has_its_members_and_no_path_of_this_computer(client, collection):
    for method, path in operations(client):
        answer = client.request(method, path)
        if answer.status_code < 400:
            continue
        assert answer.status_code < 500, (method, path, answer.text)
        if path.startswith("/static/"):
            continue
        assert answer.headers["content-type"] == "application/problem+json", (method, path)
        body = answer.json()
        assert set(body) == {"type", "title", "status", "detail", "code", "hint", "request_id"}
        assert (body["status"], body["request_id"]) == (answer.status_code, answer.headers["x-request-id"])
        assert str(collection) not in answer.text
        assert not re.search(r"(/tmp|/home|/usr|/work|Traceback|site-packages)", answer.text), answer.text


TRAVERSALS = [
    "../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "..%252f..%252fetc%252fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "..\\..\\etc\\passwd",
    "..%5c..%5cetc%5cpasswd",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "file:///etc/passwd",
    "%00",
    "a%00.jpg",
    ".",
    "..",
    "%c0%ae%c0%ae/etc/passwd",
    "%uff0e%uff0e/etc/passwd",
    "..;/etc/passwd",
    "C:%5cWindows%5cwin.ini",
    "~root/.ssh/id_rsa",
    "proc/self/environ",
    "%0d%0aSet-Cookie:x",
    "<script>alert(1)</script>",
    "a" * 5000,
    "\u202e",
    "' OR 1=1 --",
    "{{7*7}}",
    "glocal.db",
    ".glocal/glocal.db",
]


def test_no_path_parameter_leads_out_of_the_index(client):
    templates = [
        (method, route.path) for route in walk(client.app.routes) for method in route.methods or () if "{" in route.path
    ]
    assert len(templates) > 10
    for method, template in templates:
        names = re.findall(r"{\w+(?::\w+)?}", template)
        for bad in names:
            for payload in TRAVERSALS:
                path = filled(template.replace(bad, "\0")).replace("\0", payload)
                answer = client.request(method, path)
                assert answer.status_code in (200, 303, 400, 401, 403, 404, 405, 409, 415, 422), (method, path)
                assert b"root:" not in answer.content
                assert b"SQLite" not in answer.content
                assert "set-cookie" not in answer.headers
                if answer.headers.get("content-type", "").startswith("text/html"):
                    assert "alert(1)" not in answer.text


@pytest.mark.parametrize("name", ["index", "w", "offset", "limit", "prefix", "query"])
def test_no_query_parameter_leads_out_of_the_index(client, ids, name):
    for path in ("/v1/images/{}/thumb", "/v1/images/{}", "/v1/images/{}/overlay", "/v1/indexes/photos/images"):
        for payload in TRAVERSALS:
            answer = client.get(path.format(ids.first), params={name: payload})
            assert answer.status_code < 500, (path, payload, answer.text)
            assert b"root:" not in answer.content


# ---------------------------------------------------------------------- bodies, without an application
def run(chunks, settings=SETTINGS, headers=(), app=None, guard=None):
    """What the guard answers when a body comes in `chunks`, each (seconds before, bytes)."""
    sent, left = [], list(chunks)

    async def receive():
        if not left:
            await asyncio.sleep(60)
        seconds, data = left.pop(0)
        await asyncio.sleep(seconds)
        return {"type": "http.request", "body": data, "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    async def count(scope, receive, send):
        total, more = 0, True
        while more:
            message = await receive()
            total, more = total + len(message["body"]), message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(total).encode()})

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
    }
    asyncio.run((guard or Guard(app or count, settings, Telemetry()))(scope, receive, send))
    status, body = sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
    return status, json.loads(body) if body[:1] == b"{" else int(body)


@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 413)])
def test_a_body_has_a_largest_size_declared_or_not(size, status):
    declared = [(b"content-length", str(size).encode())]
    for headers in (declared, []):
        found, body = run([(0, b"x" * (size - 400)), (0, b"x" * 400)], headers=headers)
        assert found == status
        assert body == size if status == 200 else body["code"] == "file_too_large"


def test_a_body_that_is_declared_too_large_is_not_read():
    async def never(scope, receive, send):
        raise AssertionError("the application was asked")

    assert run([], headers=[(b"content-length", b"1001")], app=never)[0] == 413
    assert run([], headers=[(b"content-length", b"-1")], app=never)[0] == 400
    assert run([], headers=[(b"content-length", b"5"), (b"content-length", b"6")], app=never)[0] == 400


def test_an_application_that_swallows_the_refusal_does_not_answer_instead():
    async def swallows(scope, receive, send):
        with contextlib.suppress(Exception):
            while True:
                await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1"})

    assert run([(0, b"x" * 600), (0, b"x" * 600)], app=swallows)[0] == 413


@pytest.mark.parametrize(("seconds", "status"), [(0.0, 200), (0.08, 200), (0.15, 408)])
def test_a_body_has_to_be_there_in_time_also_when_it_never_stops_coming(seconds, status):
    found, body = run([(seconds, b"x"), (seconds, b"x")])
    assert found == status
    assert status == 200 or body["code"] == "body_timeout"


def test_bodies_that_come_together_have_a_size_together_and_give_it_back():
    guard = None

    async def nested(scope, receive, send):
        await receive()
        if scope.get("depth", 0) < 3:
            inner = []

            async def again():
                return {"type": "http.request", "body": b"x" * 1000, "more_body": False}

            async def keep(message):
                inner.append(message)

            await guard({**scope, "depth": scope.get("depth", 0) + 1, "state": {}}, again, keep)
            status = inner[0]["status"]
        else:
            status = 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"1"})

    guard = Guard(nested, SETTINGS, Telemetry())
    assert run([(0, b"x" * 1000)], guard=guard)[0] == 503  # 2500 bytes are room for two
    assert guard._buffered == 0


@pytest.mark.parametrize(("extra", "status"), [(-1, 200), (0, 200), (1, 431)])
def test_headers_have_a_largest_size(extra, status):
    base = len("host") + len("localhost") + 4 + len("x-long") + 4
    filler = b"y" * (SETTINGS.max_header_bytes - base + extra)
    assert run([(0, b"")], headers=[(b"x-long", filler)])[0] == status


def test_a_websocket_is_closed():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(None, SETTINGS, Telemetry())({"type": "websocket", "headers": []}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
