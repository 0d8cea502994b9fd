"""What a checker of accessibility (axe-core) finds on every screen, in both themes: nothing."""

import pytest

from tests.web.browsing import browser_and_service

pytest.importorskip("playwright.sync_api", reason="needs playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
SCREENS = ["start", "results", "none", "box", "views", "lines", "blink", "overlay"]
SCREENS += ["error", "keys", "library", "api", "lab"]
AS_ON_A_DESK = {"none", "blink", "error", "keys", "api"}
NARROW = 760


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with browser_and_service(tmp_path_factory.mktemp("a11y")) as parts:
        yield parts


@pytest.fixture(scope="module", params=["light", "dark", "phone"])
def page(request, world):
    """One page per theme: the screens follow each other on it."""
    size = {"width": 390, "height": 844} if request.param == "phone" else {"width": 1280, "height": 900}
    context = world[0].new_context(
        viewport=size, color_scheme="dark" if request.param == "dark" else "light", reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    yield page
    context.close()


def show(page, world, screen: str) -> None:
    _, address, folder = world
    if screen in ("library", "api", "lab"):
        page.goto(f"{address}/?view={screen}")
        page.wait_for_selector(f"#{screen} h1")
        page.wait_for_load_state("networkidle")
        if screen == "library":
            page.click(".skipped-list summary")
        return
    page.goto(address)
    page.wait_for_selector(".samples .tile")
    if screen == "keys":
        page.evaluate("document.getElementById('keys-open').click()")
    if screen in ("start", "keys"):
        return
    name = {"none": "stranger.jpg", "error": "photos/broken.jpg"}.get(screen, "query.jpg")
    page.set_input_files("#file", folder / name)
    if screen == "error":
        page.wait_for_selector(".toast.problem")
        return
    page.wait_for_selector("#results:not([aria-busy]) .band")
    page.wait_for_selector(".recognition:not(.waiting)", state="attached")
    if screen == "results":
        page.click(".band.look_alike summary")
    if screen in ("box", "views") and page.viewport_size["width"] < NARROW:
        page.click(".strip-box")
    if screen == "views":
        page.fill("#only-folder", "thing0")
        page.press("#only-folder", "Enter")
        page.wait_for_selector(".picks button")
        with page.expect_file_chooser() as chooser:
            page.click(".add-view")
        chooser.value.set_files(folder / "stranger.jpg")
        page.wait_for_selector("#results:not([aria-busy]) .band", state="attached")
        page.wait_for_selector(".views img")
    if screen == "box":
        page.get_by_role("button", name="Box", exact=True).first.click()
        page.wait_for_selector(".box-fields:not([hidden])")
    if screen in ("lines", "blink", "overlay"):
        page.locator(".band.same .shot").nth(1).click()
        page.wait_for_selector(".lines .agrees")
        page.click(f".segment[data-mode={screen}]")


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing(page, world, screen):
    if page.viewport_size["width"] < NARROW and screen in AS_ON_A_DESK:
        pytest.skip("the same on a phone")
    show(page, world, screen)
    found = axe.Axe().run(page, options=OPTIONS)
    assert found.violations_count == 0, found.generate_report()
