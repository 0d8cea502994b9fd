"""The Lab in a real browser: what is seen, keys, and what a checker of accessibility finds."""

import json
import os
import shutil
import socket
import threading

import pytest

from glocal.web.api import create_app
from glocal.web.library import Library
from glocal.web.settings import Settings
from tests.web.lab_runs import STRONG, WEAK, file_of, make_data, make_run

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
uvicorn = pytest.importorskip("uvicorn")
BROWSER = os.environ.get("GLOCAL_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
if BROWSER is None:
    pytest.skip("needs a browser: chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    top = tmp_path_factory.mktemp("lab")
    data = make_data(top / "data")
    make_run(top / "runs/weak", data, WEAK)
    make_run(top / "runs/strong", data, STRONG, rerank="geometric", date="2026-01-03 03:04")
    make_run(top / "runs/<img src=x onerror=alert(1)>", data, STRONG, rerank="<b>bold</b>", date="2020-01-01 00:00")
    (top / "runs/broken").mkdir()
    (top / "runs/broken/metrics.json").write_text("{")
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    settings = Settings(port=port, runs=(top / "runs",))
    app = create_app(Library([], settings), settings)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{port}/?view=lab"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_lab(browser, address):
    pages, troubles = [], []

    def opened(width=1440, scheme="light", fragment=""):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
        pages.append(page)
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append("a dialog of the browser"))
        page.on("console", lambda message: "Content Security Policy" in message.text and troubles.append(message.text))
        page.goto(address + fragment)
        page.wait_for_selector(".lab-tile")
        return page

    yield opened
    for page in pages:
        page.close()
    assert troubles == []


def choose(page, label: str, run: str) -> None:
    page.get_by_role("combobox", name=label, exact=True).select_option(label=run)


def tiles(page, grid=".lab-grid") -> list[str]:
    return page.locator(f"{grid} .lab-tile").evaluate_all(
        "tiles => tiles.map((tile) => tile.getAttribute('aria-label'))"
    )


def asked(page, name: str) -> None:
    sync_api.expect(page.locator(".lab-asked figcaption").first).to_have_text(file_of(name))


def weak(page) -> None:
    choose(page, "Run", "weak")
    asked(page, "a0")
    page.wait_for_selector(".lab-tile.missed")


def test_the_worst_query_comes_first_and_every_photo_says_what_it_is(open_lab):
    page = open_lab()
    weak(page)
    assert page.locator(".lab-query").first.get_attribute("aria-label") == "a0, AP 22.2"
    assert tiles(page) == [
        "no place, ignored, a0", "place 1, wrong, b1", "place 2, right, a1", "place 3, wrong, c0",
        "place 4, right, a2", "place 5, wrong, b0", "place 6, wrong, b2", "not ranked, missed, a3",
    ]  # fmt: skip
    assert page.locator(".lab-tile.right .lab-mark").first.inner_text() == "✓"
    assert page.locator(".lab-tile.wrong .lab-mark").first.inner_text() == "✗"
    assert page.locator("tr.chosen td").first.inner_text() == "61.11"
    for picture in page.locator(".lab-tile img").all():
        picture.scroll_into_view_if_needed()
        sync_api.expect(picture).to_have_js_property("complete", value=True)
        assert picture.evaluate("picture => picture.naturalWidth") == 160


def test_the_setup_can_be_switched_by_keys(open_lab):
    page = open_lab()
    weak(page)
    page.get_by_role("radio", name="Medium").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".lab-tile.ignored >> nth=1")
    assert tiles(page)[2] == "no place, ignored, a1"
    assert "setup=hard" in page.url


def test_arrows_go_through_queries_and_photos(open_lab):
    page = open_lab()
    weak(page)
    page.locator(".lab-query[aria-selected=true]").focus()
    page.keyboard.press("ArrowRight")
    asked(page, "b0")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "b0, AP 100.0"
    page.keyboard.press("w")
    asked(page, "a0")
    page.locator(".lab-tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "place 2, right, a1"
    assert page.locator(".lab-grid").first.locator("[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] >> text=right, place 2")
    page.keyboard.press("Escape")
    sync_api.expect(page.locator("dialog.lab-look")).to_have_count(0)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "place 2, right, a1"


def test_two_runs_are_shown_side_by_side_from_the_biggest_loss_on(open_lab):
    page = open_lab()
    weak(page)
    choose(page, "Compare with", "strong")
    page.wait_for_selector(".lab-two .lab-tile")
    labels = page.locator(".lab-query").evaluate_all("all => all.map((each) => each.getAttribute('aria-label'))")
    assert labels == ["b0, AP 100.0, loses 58.3", "a0, AP 22.2, gains 77.8"]
    assert page.locator(".lab-column").count() == 2
    assert tiles(page, ".lab-column >> nth=0 >> .lab-grid")[:2] == ["no place, ignored, b0", "place 1, right, b1"]
    assert tiles(page, ".lab-column >> nth=1 >> .lab-grid")[:2] == ["no place, ignored, b0", "place 1, wrong, c0"]
    assert "Re-ranking" in page.locator(".lab-card").inner_text()
    shared = page.url
    again = open_lab(fragment="#" + shared.partition("#")[2])
    again.wait_for_selector(".lab-two .lab-tile")
    asked(again, "b0")


def test_a_doubt_about_the_ground_truth_becomes_a_patch_file(open_lab, tmp_path):
    page = open_lab()
    weak(page)
    page.locator(".lab-tile.wrong").first.click()
    page.locator("dialog select").select_option("right")
    page.get_by_label("Because").fill("same façade")
    page.get_by_role("button", name="Note a doubt").click()
    page.wait_for_selector(".lab-doubts li")
    with page.expect_download() as found:
        page.get_by_role("button", name="Save patch file").click()
    found.value.save_as(tmp_path / "patch.json")
    patch = json.loads((tmp_path / "patch.json").read_text("utf-8"))
    assert patch["benchmark"] == "data"
    assert len(patch["ground_truth"]) == 64
    (doubt,) = patch["doubts"]
    assert (doubt["query"], doubt["photo"], doubt["setup"]) == (file_of("a0"), file_of("b1"), "medium")
    assert (doubt["was"], doubt["should_be"], doubt["note"]) == ("wrong", "right", "same façade")
    page.get_by_role("button", name="Forget the doubt about b1.jpg").click()
    page.wait_for_selector(".lab-doubts", state="hidden")


def test_the_row_for_a_paper_is_copied(open_lab):
    page = open_lab()
    weak(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy LaTeX row").click()
    page.wait_for_selector(".toast")
    assert page.evaluate("navigator.clipboard.readText()").startswith("rootsift & data & none & ")


def test_hostile_names_are_text_and_broken_runs_are_named(open_lab):
    page = open_lab()
    choose(page, "Run", "<img src=x onerror=alert(1)>")
    sync_api.expect(page.locator(".lab-gist")).to_contain_text("<b>bold</b>")
    assert page.locator("#lab b:text-is('bold')").count() == 0
    assert "1 folder cannot be read" in page.locator(".lab-unreadable").inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (820, "dark"), (390, "light"), (390, "dark")])
def test_nothing_is_wider_than_the_screen_and_axe_finds_nothing(open_lab, width, scheme):
    page = open_lab(width, scheme)
    weak(page)
    choose(page, "Compare with", "strong")
    page.wait_for_selector(".lab-two .lab-tile")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for summary in page.locator("#lab summary").all():
        summary.click()
    found = axe.Axe().run(page, context="#lab")
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found.response["violations"]] == []
    page.locator(".lab-tile.right").first.click()
    page.wait_for_selector("dialog[open] form")
    found = axe.Axe().run(page, context="#lab")
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found.response["violations"]] == []
