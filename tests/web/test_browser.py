"""The page in a real browser: every way to ask, the box, the proof, keys, links, mistakes."""

import base64
import json
import re
import subprocess
import sys
from urllib.parse import parse_qs, urlparse

import pytest

from tests.web.browsing import browser_and_service

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
expect = sync_api.expect

HAND_OVER = """([bytes, kind, where]) => {
  const data = new DataTransfer();
  const binary = atob(bytes);
  const file = new File([Uint8Array.from(binary, (c) => c.charCodeAt(0))], 'given.jpg', { type: 'image/jpeg' });
  data.items.add(file);
  if (kind === 'paste') {
    document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
  } else {
    const on = document.querySelector(where ?? 'body');
    for (const type of ['dragenter', 'dragover', 'drop']) {
      on.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    }
  }
}"""
"""Give the page a file as a drop or a paste does."""
SMALL = """() => [...document.querySelectorAll('button:not(.link), select, summary, nav a, .brand')]
  .filter((each) => each.offsetParent && Math.min(each.offsetWidth, each.offsetHeight) < 44)
  .map((each) => each.outerHTML)"""
"""What a finger would miss: controls smaller than 44 pixels, links in sentences apart."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with browser_and_service(tmp_path_factory.mktemp("browser")) as parts:
        yield parts


@pytest.fixture
def opened(world):
    """`opened(path="/", **context)`: a page; a message of the console about an error fails the test."""
    browser, address, _ = world
    contexts, troubles = [], []

    def visit(path="/", **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        context.set_default_timeout(15_000)
        page = context.new_page()
        contexts.append(context)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: None if _is_own(request.url, address) else troubles.append(request.url))
        page.on(
            "console",
            lambda line: line.type == "error" and "load resource" not in line.text and troubles.append(line.text),
        )
        page.goto(address + path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def asked(opened, world):
    """A page that has searched with query.jpg."""

    def search(path="/", name="query.jpg", **options):
        page = opened(path, **options)
        page.set_input_files("#file", world[2] / name)
        settled(page)
        return page

    return search


def _is_own(url: str, address: str) -> bool:
    return url.startswith((address, "blob:", "data:"))


def _is_trouble(line) -> bool:
    return line.type == "error" and "load resource" not in line.text


def settled(page) -> None:
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    page.wait_for_selector("#results:not([aria-busy]) .verdict")


def cards(page, band: str = "same"):
    return page.locator(f".band.{band} .card")


def state(page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(page.url).query).items()}


def box(page) -> list[int]:
    return [int(page.locator(f"#box-{key}").input_value()) for key in "xywh"]


def searched_box(page, act) -> list[int]:
    """The box of the request that an act leads to."""
    with page.expect_request(lambda request: request.url.endswith("/v1/search")) as sent:
        act()
    asked = sent.value.post_data_json["box"]
    settled(page)
    return asked


def test_the_empty_page_says_how_to_begin(opened):
    page = opened()
    expect(page.locator(".lead")).to_have_text(
        "Drop a picture anywhere, paste (Ctrl V), or choose one. Nothing leaves this computer."
    )
    expect(page.locator("#index")).to_have_value("photos")
    expect(page.locator(".samples .tile")).to_have_count(7)


@pytest.mark.parametrize("way", ["drop", "paste", "file"])
def test_a_picture_given_in_any_way_is_searched_with_at_once(opened, world, way):
    page = opened()
    if way == "file":
        page.set_input_files("#file", world[2] / "query.jpg")
    else:
        page.evaluate(HAND_OVER, [base64.b64encode((world[2] / "query.jpg").read_bytes()).decode(), way])
    settled(page)
    expect(page.locator(".verdict")).to_have_text("3 pictures show the same object")
    expect(cards(page)).to_have_count(3)
    expect(page.locator(".drop")).to_be_hidden()
    expect(page.locator("#voice")).to_contain_text("3 pictures show the same object")


def test_a_card_says_how_sure_and_why_and_outlines_the_matched_area(asked):
    page = asked()
    first = cards(page).first
    expect(first.locator(".odds")).to_contain_text(re.compile("✓.*%.*same object"))
    expect(first.locator(".proof")).to_contain_text(re.compile(r"\d+ inliers · covers \d+"))
    expect(first.locator(".file")).to_have_text("front.jpg")
    expect(first.locator(".place")).to_have_text("thing0")
    label = first.locator(".shot").get_attribute("aria-label")
    assert re.match(r"Result 1 of 3, same object .*percent, \d+ inliers, front, in thing0", label)
    outline = first.locator("polygon.over").get_attribute("points").split()
    xs, ys = zip(*(map(float, corner.split(",")) for corner in outline), strict=True)
    # the query is thing0 from (40, 30) to (440, 330)
    assert 30 < min(xs) < 110
    assert 370 < max(xs) < 450
    assert 20 < min(ys) < 100
    assert 260 < max(ys) < 340


def test_look_alikes_are_folded_and_open_by_a_click(asked):
    page = asked()
    expect(page.locator(".band.look_alike summary")).to_have_text("Look-alikes (4) — similar, not the same")
    expect(cards(page, "look_alike")).to_have_count(0)
    page.click(".band.look_alike summary")
    expect(cards(page, "look_alike")).to_have_count(4)


def test_no_match_is_an_answer(asked):
    page = asked(name="stranger.jpg")
    expect(page.locator(".verdict")).to_have_text("None of the 7 pictures shows this object.")
    expect(page.locator(".band.look_alike summary")).to_have_text("Show 7 look-alikes")
    expect(page.locator(".band.same, .band.possibly")).to_have_count(0)
    expect(page.locator(".recognition")).to_be_hidden()
    page.click(".band.look_alike summary")
    expect(cards(page, "look_alike")).to_have_count(7)


def test_the_object_is_named_by_the_photos_that_voted(asked):
    page = asked()
    expect(page.locator(".recognition .label")).to_contain_text("thing0")
    page.locator(".recognition .voter").first.click()
    expect(page.locator("#why")).to_be_visible()


def test_a_hit_is_searched_with_by_one_click(asked):
    page = asked()
    image = cards(page).nth(1).get_attribute("data-id")
    cards(page).nth(1).locator(".again").click()
    settled(page)
    assert state(page) == {"index": "photos", "id": image}
    expect(cards(page).first).to_have_attribute("data-id", image)


def test_an_indexed_picture_of_the_start_page_is_searched_with(opened):
    page = opened()
    page.get_by_role("button", name="Search with front").first.click()
    settled(page)
    expect(page.locator(".verdict")).to_contain_text("show")


def test_a_box_is_drawn_moved_and_resized_by_mouse(asked):
    page = asked()
    area = page.locator(".query-stage").bounding_box()
    scale = 400 / area["width"]  # the query is 400 x 300

    def drag(start, end):
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        page.mouse.move(*end)
        page.mouse.up()

    def at(x, y):
        return area["x"] + x / scale, area["y"] + y / scale

    assert searched_box(page, lambda: drag(at(40, 60), at(240, 260))) == pytest.approx([40, 60, 200, 200], abs=2)
    assert searched_box(page, lambda: drag(at(140, 160), at(190, 130))) == pytest.approx([90, 30, 200, 200], abs=3)
    assert searched_box(page, lambda: drag(at(290, 230), at(340, 280))) == pytest.approx([90, 30, 250, 250], abs=4)
    assert state(page)["box"] == ",".join(map(str, box(page)))
    expect(cards(page).first).to_be_visible()


def test_a_box_is_drawn_by_a_finger(asked):
    page = asked(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    page.locator(".strip-box").tap()
    area = page.locator(".query-stage").bounding_box()
    scale = 400 / area["width"]  # the query is 400 x 300
    finger = page.context.new_cdp_session(page)

    def touch(kind, *places):
        points = [{"x": area["x"] + x / scale, "y": area["y"] + y / scale} for x, y in places]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def draw():
        touch("touchStart", (60, 50))
        for part in range(1, 9):
            touch("touchMove", (60 + 25 * part, 50 + 20 * part))
        touch("touchEnd")

    assert searched_box(page, draw) == pytest.approx([60, 50, 200, 160], abs=4)
    page.get_by_role("button", name="Done").tap()
    expect(page.locator(".query.open")).to_have_count(0)
    expect(cards(page).first).to_be_visible()


def test_a_box_is_moved_resized_zoomed_and_removed_by_keys(asked):
    page = asked()
    page.get_by_role("button", name="Box", exact=True).first.click()
    settled(page)
    expect(page.locator(".box")).to_be_focused()
    assert box(page) == [80, 60, 240, 180]
    assert searched_box(page, lambda: page.keyboard.press("ArrowRight")) == [84, 60, 240, 180]
    assert searched_box(page, lambda: page.keyboard.press("Shift+ArrowDown")) == [84, 60, 240, 184]
    bigger = searched_box(page, lambda: page.keyboard.press("+"))
    assert bigger[2] == 264
    assert bigger[3] == pytest.approx(202, abs=1)
    assert searched_box(page, lambda: page.keyboard.press("-"))[2] == 240
    with page.expect_request(lambda request: request.url.endswith("/v1/search")) as sent:
        page.keyboard.press("Delete")
    assert "box" not in sent.value.post_data_json
    expect(page.get_by_role("button", name="Whole picture")).to_have_attribute("aria-pressed", "true")


def test_a_box_is_typed_and_kept_inside_the_picture(asked):
    page = asked()
    page.get_by_role("button", name="Box", exact=True).first.click()
    settled(page)
    page.locator("#box-w").fill("9000")
    assert searched_box(page, lambda: page.locator("#box-w").press("Tab")) == [0, 60, 400, 180]
    assert box(page) == [0, 60, 400, 180]
    expect(page.locator(".box")).to_have_attribute(
        "aria-label", "Box on your picture: left 0, top 60, 400 wide, 180 high"
    )


def test_why_shows_the_lines_and_the_figures(asked):
    page = asked()
    cards(page).nth(1).locator(".shot").click()
    page.wait_for_selector(".lines .agrees")
    agree = page.locator(".why-agree").text_content()
    inliers, tentative = map(int, re.fullmatch(r"(\d+) of (\d+) matches agree", agree).groups())
    assert page.locator(".lines .agrees").count() == min(inliers, 400)
    if outliers := page.locator("#outliers").is_enabled():
        page.check("#outliers")
        assert 0 < page.locator(".lines .differs").count() <= tentative - inliers
    assert outliers == (tentative > inliers)
    expect(page.locator(".lines polygon.area")).to_have_count(2)
    expect(page.locator(".figures")).to_contain_text("This photo covered")
    width = page.locator(".lines image").first.evaluate("node => node.getBoundingClientRect().width")
    assert width > 200


def test_blink_changes_the_picture_less_than_three_times_a_second_and_can_be_paused(asked):
    page = asked()
    cards(page).nth(1).locator(".shot").click()
    page.wait_for_selector(".lines .agrees")
    page.keyboard.press("b")
    page.wait_for_selector(".frame")
    changes = page.evaluate(
        """() => new Promise((done) => {
          const frame = document.querySelector('.frame');
          let changes = 0;
          new MutationObserver(() => { changes += 1; }).observe(frame, { attributeFilter: ['class'] });
          setTimeout(() => done(changes), 2200);
        })"""
    )
    assert 2 <= changes <= 5  # three a second would be 6
    over = page.locator(".frame .over")
    assert over.evaluate("image => image.complete && image.naturalWidth") > 300
    page.get_by_role("button", name="Pause").click()
    shown = page.locator(".frame-tag").text_content()
    page.get_by_role("button", name="Swap once").click()
    assert page.locator(".frame-tag").text_content() != shown


def test_nothing_blinks_or_moves_where_less_motion_is_wanted(asked):
    page = asked(reduced_motion="reduce")
    assert page.evaluate("document.getAnimations().filter((each) => each.playState === 'running').length") == 0
    cards(page).nth(1).locator(".shot").click()
    page.wait_for_selector(".lines .agrees")
    page.keyboard.press("b")
    page.wait_for_selector(".frame")
    page.wait_for_timeout(1600)
    expect(page.locator(".frame-tag")).to_have_text("Your picture")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    page.get_by_role("button", name="Swap once").click()
    expect(page.locator(".frame-tag")).to_have_text("This photo")


def test_the_overlay_is_wiped_by_a_slider_and_by_the_pointer(asked):
    page = asked()
    cards(page).nth(1).locator(".shot").click()
    page.wait_for_selector(".lines .agrees")
    page.keyboard.press("o")
    slider = page.locator("#wipe")
    expect(slider).to_have_value("50")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("51")
    assert page.locator(".frame").evaluate("node => node.style.getPropertyValue('--wipe')") == "51%"
    area = page.locator(".frame").bounding_box()
    page.mouse.click(area["x"] + area["width"] * 0.25, area["y"] + area["height"] / 2)
    expect(slider).to_have_value("25")


def test_the_keyboard_alone_is_enough(opened, world):
    page = opened()
    expect(page.locator(".samples .tile").first).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#choose")).to_be_focused()
    page.evaluate(
        "document.getElementById('file').addEventListener('click', (e) => { e.preventDefault(); window.chosen = 1; })"
    )
    page.keyboard.press("Enter")
    assert page.evaluate("window.chosen") == 1  # the browser's own dialog would open
    page.set_input_files("#file", world[2] / "query.jpg")
    settled(page)
    page.keyboard.press("]")
    expect(cards(page).nth(0).locator(".shot")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(cards(page).nth(1).locator(".shot")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#why-title")).to_have_text(re.compile("^Why .*"))
    page.wait_for_selector(".lines .agrees")
    page.keyboard.press("]")
    expect(page.locator(".position")).to_have_text("3 of 3")
    page.keyboard.press("[")
    expect(page.locator(".position")).to_have_text("2 of 3")
    page.keyboard.press("Escape")
    expect(page.locator("#why")).to_be_hidden()
    expect(cards(page).nth(1).locator(".shot")).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    expect(page.locator("#keys h3")).to_have_text(["Anywhere", "Results", "Why", "Lab", "Box"])
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    expect(cards(page).nth(2).locator(".shot")).to_be_focused()
    page.keyboard.press("s")
    settled(page)
    assert "id" in state(page)


def test_single_keys_can_be_turned_off(opened):
    page = opened()
    page.click("#keys-open")
    page.uncheck("#letters")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_hidden()


def test_the_address_carries_the_search_and_back_goes_back(asked, opened, world):
    page = asked()
    whole = state(page)
    assert set(whole) == {"index", "q"}
    page.get_by_role("button", name="Box", exact=True).first.click()
    settled(page)
    boxed = state(page)
    assert boxed["box"] == "80,60,240,180"
    hit = cards(page).nth(1).get_attribute("data-id")
    cards(page).nth(1).locator(".shot").click()
    page.wait_for_selector(".lines .agrees")
    page.keyboard.press("o")
    assert state(page) == {**boxed, "hit": hit, "mode": "overlay"}

    other = opened(urlparse(page.url).path + "?" + urlparse(page.url).query)
    expect(other.locator("#why")).to_be_visible()
    expect(other.locator(".frame")).to_be_visible()
    expect(other.locator(".segment[data-mode=overlay]")).to_have_attribute("aria-pressed", "true")
    assert state(other)["hit"] == hit
    assert box(other) == [80, 60, 240, 180]

    page.go_back()
    expect(page.locator("#why")).to_be_hidden()
    assert state(page) == boxed
    page.go_back()
    settled(page)
    expect(page.get_by_role("button", name="Whole picture")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.locator("#start")).to_be_visible()
    page.go_forward()
    settled(page)
    expect(page.locator(".verdict")).to_have_text("3 pictures show the same object")


def test_a_search_that_the_server_has_forgotten_says_so(opened):
    page = opened("/?q=q_gone&index=photos")
    expect(page.locator(".toast.problem strong")).to_be_visible()
    expect(page.locator(".toast.problem .hint")).to_contain_text("→")
    expect(page.locator("#start")).to_be_visible()


def test_a_file_that_is_no_picture_gets_a_reason_and_a_hint(opened, tmp_path):
    page = opened()
    (tmp_path / "letter.jpg").write_bytes(b"%PDF-1.7 nothing to see")
    page.set_input_files("#file", tmp_path / "letter.jpg")
    toast = page.locator(".toast.problem")
    expect(toast).to_be_visible()
    assert "undefined" not in page.locator("body").inner_text()
    assert len(toast.locator("p").all_text_contents()) >= 2
    toast.get_by_role("button", name="Dismiss").click()
    expect(toast).to_have_count(0)


def test_a_server_that_is_gone_is_named_as_such(asked, world):
    page = asked()
    page.route("**/v1/search", lambda route: route.abort())
    page.set_input_files("#file", world[2] / "stranger.jpg")
    expect(page.locator(".toast.problem strong")).to_have_text("The server does not answer")


def test_hits_come_before_they_are_verified_and_do_not_move_under_the_pointer(opened, world):
    page = opened()
    # The last event is held back, as if the verification took long.
    page.evaluate(
        """() => {
          const real = window.fetch;
          window.release = null;
          const held = new Promise((done) => { window.release = done; });
          window.fetch = async (...given) => {
            const answer = await real(...given);
            if (!String(given[0]).endsWith('/v1/search')) return answer;
            const text = await answer.text();
            const cut = text.indexOf('event: result');
            const stream = new ReadableStream({
              async start(to) {
                const bytes = (part) => new TextEncoder().encode(part);
                to.enqueue(bytes(text.slice(0, cut)));
                await held;
                to.enqueue(bytes(text.slice(cut)));
                to.close();
              },
            });
            return new Response(stream, { headers: { 'Content-Type': 'text/event-stream' } });
          };
        }"""
    )
    page.set_input_files("#file", world[2] / "query.jpg")
    expect(page.locator(".card.pending")).to_have_count(7)
    expect(page.locator(".card.pending .odds").first).to_have_text("checking…")
    page.locator(".card").nth(2).hover()
    page.mouse.move(*[value + 5 for value in _middle(page.locator(".card").nth(2))])
    page.evaluate("window.release()")
    settle = page.get_by_role("button", name="Verified – put in order")
    expect(settle).to_be_visible()
    expect(page.locator(".card.pending")).to_have_count(7)
    page.mouse.move(5, 5)
    expect(cards(page)).to_have_count(3)
    expect(settle).to_be_hidden()


def _middle(locator) -> tuple[float, float]:
    area = locator.bounding_box()
    return area["x"] + area["width"] / 2, area["y"] + area["height"] / 2


def test_names_of_photos_are_shown_as_text_whatever_they_say(asked):
    page = asked()
    shown = " ".join(page.locator(".card .file").all_text_contents())
    assert "<img src=x onerror=alert(1)>\ufffdgpj.jpg" in shown
    assert page.locator("img[src='x']").count() == 0


def test_the_theme_is_kept_and_follows_the_system_otherwise(opened):
    page = opened(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(15, 17, 20)"
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(246, 246, 243)"
    page.reload()
    assert page.evaluate(ground) == "rgb(246, 246, 243)"
    expect(page.locator("#theme")).to_have_attribute("aria-label", "Theme: light")


def test_the_library_tells_what_was_skipped_and_is_brought_up_to_date(opened):
    page = opened("/?view=library")
    expect(page.locator(".stat").first).to_contain_text("7")
    page.click(".skipped-list summary")
    expect(page.locator(".skipped-list td").first).to_have_text("broken.jpg")
    expect(page.locator("#library .tile")).to_have_count(7)
    page.fill("#prefix", "thing0/")
    expect(page.locator("#library .tile")).to_have_count(3)
    page.click("#update")
    expect(page.locator(".job-words")).to_have_text("Up to date")
    expect(page.locator("progress")).to_have_attribute("value", "1")


def test_a_job_that_fails_says_why(opened):
    page = opened("/?view=library")
    expect(page.locator("#library .tile")).to_have_count(7)
    problem = {"title": "The disk is full", "detail": "no room", "hint": "free 1 GB", "code": "disk_full"}
    ended = {"job": "j_1", "state": "failed", "done": 3, "total": 9, "skipped": [], "num_skipped": 0, "error": problem}
    page.route("**/update", lambda route: route.fulfill(status=202, json={"job": "j_1"}))
    stream = f"event: end\ndata: {json.dumps(ended)}\n\n"
    page.route("**/events", lambda route: route.fulfill(body=stream, content_type="text/event-stream"))
    page.click("#update")
    expect(page.locator(".toast.problem strong")).to_have_text("The disk is full")
    expect(page.locator(".toast.problem .hint")).to_have_text("→ free 1 GB")
    expect(page.locator(".job-words")).to_have_text("Failed")


def test_the_other_index_is_searched_with_the_same_picture(asked):
    page = asked()
    page.select_option("#index", "others")
    expect(page.locator(".verdict")).to_have_text("None of the 2 pictures shows this object.")
    assert state(page)["index"] == "others"


def test_the_api_page_has_the_search_of_the_screen(asked, world):
    page = asked()
    page.get_by_role("button", name="Box", exact=True).first.click()
    settled(page)
    cards_of_box = cards(page).count()
    page.click(".tabs a[data-view=api]")
    curl = page.locator("#api pre").first.text_content()
    assert f"curl -s {world[1]}/v1/search" in curl
    assert "-F image=@'query.jpg'" in curl
    assert '"box":[80,60,240,180]' in curl
    python = page.locator("#api pre").nth(1).text_content().replace('"query.jpg"', repr(str(world[2] / "query.jpg")))
    printed = subprocess.run([sys.executable, "-c", python], capture_output=True, text=True, check=True).stdout
    assert sum(line.startswith("same ") for line in printed.splitlines()) == cards_of_box > 0


def test_a_swipe_on_a_phone_changes_how_the_pictures_are_compared(asked):
    page = asked(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    cards(page).nth(1).locator(".shot").tap()
    page.wait_for_selector(".lines .agrees")
    swipe = """(node, by) => {
      for (const [type, x] of [['pointerdown', 200], ['pointerup', 200 + by]]) {
        const how = { pointerType: 'touch', clientX: x, clientY: 300, bubbles: true };
        node.dispatchEvent(new PointerEvent(type, how));
      }
    }"""
    page.locator(".why-stage").evaluate(swipe, -120)
    expect(page.locator(".segment[data-mode=blink]")).to_have_attribute("aria-pressed", "true")
    page.locator(".why-stage").evaluate(swipe, 120)
    expect(page.locator(".segment[data-mode=lines]")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_shows_two_columns_a_sticky_strip_and_nothing_beside_the_screen(asked, width):
    page = asked(viewport={"width": width, "height": 780}, has_touch=True, is_mobile=True)
    lefts = {round(area["x"]) for area in (card.bounding_box() for card in cards(page).all())}
    assert len(lefts) == 2
    page.evaluate("scrollTo(0, 400)")
    strip = page.locator("#query").bounding_box()
    assert strip["height"] == 96
    assert 0 <= strip["y"] <= 60
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator(".strip-box").tap()
    expect(page.locator(".query.open")).to_be_visible()
    page.get_by_role("button", name="Done").tap()
    expect(page.locator(".query.open")).to_have_count(0)
    cards(page).nth(1).locator(".shot").tap()
    page.wait_for_selector(".lines .agrees")
    why = page.locator("#why").bounding_box()
    assert (why["width"], round(why["height"])) == (width, 780)
    for view in ("search", "library", "lab", "api"):
        page.goto(page.url.split("?")[0] + f"?view={view}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(SMALL) == []


def choose_only(page, kind: str, name: str) -> dict:
    """Type a folder or a label to keep to; gives the filter of the request that it leads to."""
    page.locator(f"#only-{kind}").fill(name)
    with page.expect_request(lambda request: request.url.endswith("/v1/search")) as sent:
        page.keyboard.press("Enter")
    settled(page)
    return sent.value.post_data_json["filter"]


def test_a_search_keeps_to_a_folder_and_a_label_by_the_keyboard(asked):
    page = asked()
    page.locator("#only-folder").focus()
    expect(page.locator("#folder-names option")).to_have_count(5)
    assert choose_only(page, "folder", "thing1/") == {"folder": {"in": ["thing1"]}}
    expect(page.locator(".verdict")).to_have_text("The only picture there does not show this object.")
    expect(page.locator(".summary")).to_contain_text("1 of 7 searched")
    assert choose_only(page, "folder", "thing0") == {"folder": {"in": ["thing1", "thing0"]}}
    expect(page.locator(".summary")).to_contain_text("4 of 7 searched")
    expect(page.locator(".verdict")).to_have_text("3 pictures show the same object")
    assert choose_only(page, "label", "thing0")["label"] == {"in": ["thing0"]}
    expect(page.locator(".summary")).to_contain_text("3 of 7 searched")
    assert parse_qs(urlparse(page.url).query)["folder"] == ["thing1", "thing0"]

    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Remove the filter: folder thing1")).to_be_focused()
    for _ in range(3):
        chip = page.locator(".picks button").first
        chip.focus()
        page.keyboard.press("Enter")
        settled(page)
    expect(page.locator(".picks button")).to_have_count(0)
    expect(page.locator(".summary")).to_have_text(re.compile("^7 searched"))
    assert set(state(page)) == {"index", "q"}


def test_a_filter_is_in_the_address_and_back_takes_it_away(asked, opened):
    page = asked()
    choose_only(page, "folder", "thing0")
    page.wait_for_url("**&folder=thing0")
    other = opened("/?" + urlparse(page.url).query)
    settled(other)
    expect(other.locator(".summary")).to_contain_text("3 of 7 searched")
    expect(other.locator(".picks button")).to_have_text("Folderthing0")
    other.click(".tabs a[data-view=api]")
    assert '"filter":{"folder":{"in":["thing0"]}}' in other.locator("#api pre").first.text_content()
    page.go_back()
    expect(page.locator(".summary")).to_have_text(re.compile("^7 searched"))
    expect(page.locator(".picks button")).to_have_count(0)
    page.go_forward()
    expect(page.locator(".summary")).to_contain_text("3 of 7 searched")


def test_a_folder_that_is_not_there_gets_an_empty_answer_that_says_why(asked):
    page = asked()
    choose_only(page, "folder", "nowhere")
    expect(page.locator(".verdict")).to_have_text("Nothing lies in what you chose.")
    expect(page.locator(".summary")).to_contain_text("0 of 7 searched")
    expect(page.locator(".notes")).to_contain_text("nowhere")
    expect(page.locator(".card")).to_have_count(0)
    page.locator(".picks button").click()
    expect(cards(page)).to_have_count(3)


def test_an_index_without_labels_is_not_asked_for_one(asked):
    page = asked()
    expect(page.locator("#only-label")).to_be_visible()
    choose_only(page, "folder", "thing0")
    page.select_option("#index", "others")
    expect(page.locator(".verdict")).to_have_text("None of the 2 pictures shows this object.")
    expect(page.locator("#only-label")).to_be_hidden()
    expect(page.locator(".picks button")).to_have_count(0)


def add_view(page, file, told: str = "") -> dict:
    """Choose a further view; gives the request that it leads to. `told` is what the page says at once."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add a view").click()
    assert chooser.value.is_multiple()
    with page.expect_request(lambda request: request.url.endswith("/v1/search")) as sent:
        chooser.value.set_files(file)
        expect(page.locator(".toast")).to_have_text([told] if told else [])  # gone after four seconds
    settled(page)
    return sent.value.post_data_json


def test_views_of_a_thing_are_added_explained_and_removed(asked, opened, world):
    page = asked(name="stranger.jpg")
    expect(page.locator(".verdict")).to_have_text("None of the 7 pictures shows this object.")
    first = state(page)["q"]
    sent = add_view(page, world[2] / "query.jpg")
    assert sent["images"][0] == {"query": first}
    assert base64.b64decode(sent["images"][1]["base64"]) == (world[2] / "query.jpg").read_bytes()
    expect(page.locator(".verdict")).to_have_text("3 pictures show the same object")
    expect(page.locator(".views img")).to_have_count(2)
    expect(page.locator(".recognition .label")).to_contain_text("thing0")
    second = state(page)["views"]
    assert state(page) == {"index": "photos", "q": first, "views": second}

    with page.expect_request("**/v1/matches/**") as matches:
        cards(page).nth(1).locator(".shot").click()
    assert f"/v1/matches/{second}/" in matches.value.url
    page.wait_for_selector(".lines .agrees")
    expect(page.locator(".lines text").first).to_have_text("View 2")
    assert f"/v1/queries/{second}/" in page.locator(".lines image").first.get_attribute("href")
    expect(page.locator(".figures")).to_contain_text("view 2 of 2")
    other = opened("/?" + urlparse(page.url).query)
    expect(other.locator(".lines text").first).to_have_text("View 2")
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Remove view 2").click()
    expect(page.get_by_role("button", name="Add a view")).to_be_focused()
    expect(page.locator(".verdict")).to_have_text("None of the 7 pictures shows this object.")
    expect(page.locator(".views")).to_be_hidden()
    assert state(page) == {"index": "photos", "q": first}
    page.go_back()
    expect(page.locator(".verdict")).to_have_text("3 pictures show the same object")
    page.get_by_role("button", name="Remove view 1").click()
    settled(page)
    expect(page.locator(".views")).to_be_hidden()
    expect(page.locator(".verdict")).to_have_text("3 pictures show the same object")
    assert state(page) == {"index": "photos", "q": second}


def test_a_picture_dropped_on_the_query_is_a_view_and_anywhere_else_a_new_search(asked, world):
    page = asked(name="stranger.jpg")
    given = base64.b64encode((world[2] / "query.jpg").read_bytes()).decode()
    page.evaluate(HAND_OVER, [given, "drop", ".query-image"])
    expect(page.locator(".views img")).to_have_count(2)
    expect(page.locator(".verdict")).to_have_text("3 pictures show the same object")
    page.evaluate(HAND_OVER, [given, "drop"])
    settled(page)
    expect(page.locator(".views")).to_be_hidden()
    assert set(state(page)) == {"index", "q"}


def test_there_are_eight_views_at_most_and_no_box_on_them(asked, world):
    page = asked()
    page.get_by_role("button", name="Box", exact=True).first.click()
    settled(page)
    sent = add_view(page, [world[2] / "query.jpg"] * 9, "At most 8 views of a thing")
    assert len(sent["images"]) == 8
    assert "box" not in sent
    expect(page.get_by_role("button", name="Add a view")).to_be_disabled()
    expect(page.get_by_role("button", name="Box", exact=True)).to_have_count(0)
    page.click(".tabs a[data-view=api]")
    assert page.locator("#api pre").first.text_content().count("-F image=@'query.jpg'") == 8


def test_a_phone_has_filters_and_views_where_the_box_is_edited(asked):
    page = asked(viewport={"width": 360, "height": 780}, has_touch=True, is_mobile=True)
    expect(page.locator("#only-folder")).to_be_hidden()
    page.get_by_role("button", name="Refine").tap()
    choose_only(page, "folder", "thing0")
    expect(page.get_by_role("button", name="Add a view")).to_be_visible()
    assert page.evaluate(SMALL) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator(".picks button").tap()
    expect(page.locator(".picks button")).to_have_count(0)
    page.get_by_role("button", name="Done").tap()
    expect(page.locator("#query")).to_have_css("height", "96px")
