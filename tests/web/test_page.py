"""The page as files: what is served, how large it is, and that it runs without anything from outside."""

import gzip
import re

import pytest

from glocal.web import pages

LIMIT_BYTES = 147_000
LIMIT_WITH_LAB = 189_500
LIMIT_PACKED = 71_000
LAB = re.compile(r"(js/lab\w*\.js|css/lab\w*\.css)")
FILES = pages.static_files()
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))


def text(name: str) -> str:
    return FILES[name].content.decode()


def test_the_start_page_is_html_behind_a_strict_policy(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policies = answer.headers.get_list("content-security-policy")
    assert len(policies) == 1
    assert "default-src 'self'" in policies[0]
    assert "unsafe-inline" not in policies[0]
    assert "unsafe-eval" not in policies[0]
    assert "frame-ancestors 'none'" in policies[0]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_of_the_page_is_served_as_what_it_is(client, name):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.content == FILES[name].content
    kinds = {"js": "text/javascript", "css": "text/css", "html": "text/html", "svg": "image/svg+xml"}
    assert answer.headers["content-type"].split(";")[0] == kinds[name.rsplit(".", 1)[1]]


def test_a_file_that_has_not_changed_is_not_sent_again(client):
    first = client.get("/static/js/main.js")
    again = client.get("/static/js/main.js", headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert client.get("/static/js/main.js", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/static/css/base.css").headers["etag"] != first.headers["etag"]


def test_compressed_where_the_browser_takes_it(client):
    packed = client.get("/static/js/main.js", headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == FILES["js/main.js"].content  # as the client unpacks it
    assert int(packed.headers["content-length"]) < len(FILES["js/main.js"].content) / 2
    assert packed.headers["vary"] == "Accept-Encoding"
    plain = client.get("/static/js/main.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "Accept-Encoding"
    assert plain.headers["etag"] != packed.headers["etag"]
    refused = client.get("/static/js/main.js", headers={"Accept-Encoding": "gzip;q=0, br"})
    assert "content-encoding" not in refused.headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/none.js",
        "/static/../pages.py",
        "/static/..%2fpages.py",
        "/static/%2e%2e/pages.py",
        "/static//etc/passwd",
        "/static/js",
        "/static/js/main.js%00",
        "/static/JS/MAIN.JS",
    ],
)
def test_nothing_but_the_files_of_the_page_is_served(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert b"import" not in answer.content
    assert b"root:" not in answer.content


def test_a_browser_loads_less_than_150_kb():
    sizes = {name: len(file.content) for name, file in FILES.items()}
    without_lab = sum(size for name, size in sizes.items() if not LAB.fullmatch(name))
    assert without_lab < LIMIT_BYTES, "the page without the Lab, which is loaded when it is opened"
    assert sum(sizes.values()) < LIMIT_WITH_LAB
    assert sum(len(gzip.compress(file.content)) for file in FILES.values()) < LIMIT_PACKED


def test_there_is_no_script_or_style_inside_the_html():
    html = text("index.html")
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert "<style" not in html
    assert not re.search(r"\s(style|on\w+)=", html)
    assert "javascript:" not in html


def test_everything_that_the_html_names_is_there():
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', text("index.html"))
    assert len(named) >= 6
    for address in named:
        assert address.removeprefix("/static/") in FILES


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_import_only_files_of_the_page(name):
    for imported in re.findall(r"""(?:from|import\()\s*["']([^"']+)["']""", text(name)):
        assert imported.startswith("./")
        assert f"js/{imported[2:]}" in FILES


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_address_outside_this_service_is_named(name):
    allowed = {"http://www.w3.org/2000/svg"}  # the name of a vocabulary: nothing is fetched
    assert set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[\w./-]*", text(name))) <= allowed
    assert "@import" not in text(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_markup_or_code_from_text(name):
    source = text(name)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert word not in source
    assert not re.search(r"""setAttribute\(\s*["']style""", source)
    assert not re.search(r"""\bstyle:\s""", source)


def test_no_text_is_smaller_than_14_pixels():
    for name in FILES:
        if name.endswith(".css"):
            sizes = [float(size) for size in re.findall(r"font(?:-size)?:[^;}]*?([\d.]+)px", text(name))]
            assert all(size >= 14 for size in sizes), name
