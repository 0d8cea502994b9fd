"""`/docs`: Swagger UI, offline, under the same content security policy as every page."""

import sys

import pytest

from glocal.web.guard import CONTENT_SECURITY
from glocal.web.routes_docs import swagger_file
from tests.conftest import save, texture
from tests.web.browsing import CHROMIUM, running
from tests.web.served import Served, make_index, problem


@pytest.fixture
def served():
    swagger_file.cache_clear()
    with Served() as served:
        yield served
    swagger_file.cache_clear()


def test_the_page_has_no_inline_script_and_names_nothing_elsewhere(served):
    pytest.importorskip("fastapi_offline", reason="needs Swagger UI: pip install 'glocal[serve]'")
    page = served.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == CONTENT_SECURITY
    assert "http" not in page.text
    assert "style=" not in page.text
    assert page.text.count("<script") == page.text.count("<script src=")
    for name, kind in (
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-ui.css", "text/css"),
        ("start.js", "text/javascript"),
    ):
        assert f"/docs/{name}" in page.text
        part = served.get(f"/docs/{name}")
        assert part.headers["content-type"].startswith(kind)
        assert len(part.content) > 100
    problem(served.get("/docs/redoc.standalone.js"), 404, "not_found")
    problem(served.get("/docs/..%2f__init__.py"), 404, "not_found")


def test_where_swagger_ui_is_missing_the_page_says_what_to_install(served, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi_offline", None)
    for path in ("/docs", "/docs/swagger-ui.css"):
        told = problem(served.get(path), 404, "not_found")
        assert told["hint"] == "pip install 'glocal[serve]'"
        assert "/openapi.json" in told["detail"]
    assert served.get("/openapi.json").status_code == 200


def test_the_page_needs_the_key_like_every_other(monkeypatch):
    with Served(key="0123456789abcdef") as served:
        problem(served.get("/docs"), 401, "unauthorized")
        problem(served.get("/docs/start.js"), 401, "unauthorized")


def test_a_browser_shows_the_interface_and_tries_it_out_without_asking_anybody_else(tmp_path):
    pytest.importorskip("fastapi_offline", reason="needs Swagger UI: pip install 'glocal[serve]'")
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"needs the browser {CHROMIUM}")
    save(tmp_path / "photos/1.jpg", texture(1, 160, 120))
    make_index(tmp_path / "photos")
    wrong, asked = [], set()
    with running(tmp_path / "photos") as address, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.add(request.url.split("/")[2]) if "//" in request.url else None)
        page.goto(f"{address}/docs")
        operation = page.locator("#operations-library-indexes_v1_indexes_get")
        operation.locator("button.opblock-summary-control").click()
        operation.locator("button.execute").click()
        answer = operation.locator(".live-responses-table tbody .response-col_status").first
        answer.wait_for()
        assert answer.inner_text().strip() == "200"
        assert page.locator(".opblock").count() > 20
        browser.close()
    assert not wrong
    assert asked == {address.removeprefix("http://")}
