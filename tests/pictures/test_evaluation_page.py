"""The report of an evaluation is one safe file of bounded size that says what was found and missed."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from glocal.errors import ConfigError
from glocal.pictures import evaluation_page
from glocal.pictures.evaluation_page import EvaluationPage, SetupScore, render_evaluation, write_evaluation
from glocal.pictures.strips import AnsweredQuery, MatchPicture, SetupAnswer, StripEntry
from tests.pictures.samples import view_of

HOSTILE = [
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{7*7}}{% raw %}{# c #}",
    "</style></script></title></svg><img src=x onerror=alert(1)>",
    "javascript:alert(1)//a.jpg",
    "lone\udcff surrogate.jpg",
    "turned\u202egpj.exe",
    "line\nbreak\x00\x1b[31m.jpg",
    "&lt;b&gt;.jpg",
]
NAN = math.nan
BLOCKS = {"p", "li", "div", "dt", "dd", "th", "td", "h2", "h3", "summary", "details", "pre", "option", "figure"}


def noise(width=160, height=120, seed=3):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


PHOTO = noise()


def answer_of(ap=0.5, name="g", missed=1):
    """Right at the first place, junk, wrong at the second; further down what was missed."""
    entries = (
        StripEntry(f"{name}/right.jpg", "right", 1, 0.91, 214),
        StripEntry(f"{name}/junk.jpg", "junk", None, 0.8, 1),
        StripEntry(f"{name}/wrong.jpg", "wrong", 2, 0.7),
    )
    further = tuple(StripEntry(f"{name}/far{i}.jpg", "right", 1214 + i) for i in range(missed))
    return SetupAnswer(ap, entries, further, np.array([0, *(1213 + i for i in range(missed))]), 1 + missed)


def query_of(number=0, aps=(0.5, 0.25), name="g", **changes):
    answers = dict(zip(("easy", "hard"), (answer_of(ap, name) for ap in aps), strict=False))
    return AnsweredQuery(f"q/{number}.jpg", answers, lambda: (PHOTO, (640, 480)), **changes)


def page_of(*queries, **changes):
    setups = list(queries[0].answers)
    scores = tuple(SetupScore(name, 0.375, len(queries), (("P@1", "12.5"),)) for name in setups)
    page = EvaluationPage(
        "toys",
        "mAP",
        ("model m",),
        scores,
        (("One query", "0.8 ms"),),
        (),
        (),
        queries,
        (("Dim", "64"),),
        "glocal eval",
    )
    return dataclasses.replace(page, **changes)


def render(*queries, **changes):
    return render_evaluation(page_of(*queries, **changes), lambda name: PHOTO)


class Page(HTMLParser):
    """Tags, attributes and text as a browser would see them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self._skipped = [], [], "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.text += " " * (tag in BLOCKS)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._skipped = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._skipped = ""

    def handle_data(self, data):
        self.text += "" if self._skipped else data


def words_of(html):
    """Visible text in one line."""
    return " ".join(Page(html).text.split())


def hostile_page(name):
    match = MatchPicture(StripEntry(name, "right", 1), view_of((160, 120), (160, 120)))
    queries = [
        dataclasses.replace(query_of(i, (0.5, 0.25), name), id=f"{name} {i}", matches=(match,)) for i in range(2)
    ]
    return page_of(
        *queries,
        benchmark=name,
        title=name,
        facts=(name,),
        cost=((name, name),),
        notes=(name,),
        groups=((name, 2, (0.5, NAN)),),
        card=((name, name),),
        command=name,
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_come_out_as_text(name):
    page, harmless = (Page(render_evaluation(hostile_page(each), lambda _: PHOTO)) for each in (name, "a.jpg"))
    assert page.tags == harmless.tags
    assert [part[:2] for part in page.attributes] == [part[:2] for part in harmless.attributes]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    shown = name
    for hidden in "\udcff\u202e\n\x00\x1b":
        shown = shown.replace(hidden, "\ufffd")
    assert page.text.count(shown) >= 10


def test_a_hostile_setup_is_text_too():
    bad = '<img src=x onerror="alert(1)">'
    query = dataclasses.replace(query_of(), answers={bad: answer_of()})
    page = Page(render(query))
    assert "img" not in page.tags
    assert bad in page.text


def test_the_policy_names_the_only_script_and_both_style_sheets():
    html = render(query_of())
    policy = next(v for _, name, v in Page(html).attributes if name == "content" and v.startswith("default-src"))
    hashes = {
        tag: [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        ]
        for tag in ("script", "style")
    }
    assert len(hashes["script"]) == 1
    assert len(hashes["style"]) == 2
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": " ".join(hashes["style"]),
        "script-src": hashes["script"][0],
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # What the policy would not allow is not there either.
    assert not [each for each in Page(html).attributes if each[1] == "style"]
    assert re.findall(r"<(?:script|style)[^>]*>", html) == ["<style>", "<style>", "<script>"]


def test_nothing_is_loaded_from_elsewhere():
    match = MatchPicture(StripEntry("a", "right", 1), view_of((160, 120), (160, 120)))
    html = render(query_of(matches=(match,)), query_of(1))
    bare = re.sub(r"base64,[\w+/=]+| // .*", "", html)
    assert not re.search(r"https?:|//[a-z]|@import", bare)
    assert set(re.findall(r"url\(([^)]*)\)", bare)) == {"data:image/webp;"}
    links = {value for _, name, value in Page(html).attributes if name in ("src", "href", "srcset", "action", "data")}
    assert {link for link in links if not link.startswith("#")} == {
        link for link in links if link.startswith("data:image/jpeg;base64,")
    }
    ids = [value for _, name, value in Page(html).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_pictures_carry_no_metadata():
    found = re.findall(r"base64,([\w+/=]{40,})", render(query_of()))
    assert len(found) == 5  # the query, three photos of the strip, one that was missed
    for data in found:
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert not picture.getexif()
            assert "icc_profile" not in picture.info


def test_a_strip_says_what_each_photo_is_and_where_it_stood():
    html = render(query_of())
    row = re.search(r'<ol class="row" aria-label="First photos">(.*?)</ol>', html, re.DOTALL)
    assert row is not None
    kinds = re.findall(r'<li class="(\w+)">', row[1])
    assert kinds == ["right", "junk", "wrong"]
    photos = [words_of(part) for part in row[1].split("</li>")[:3]]
    assert photos[0] == "✓ right, place 1 0.910 214 inliers right.jpg"
    assert photos[1] == "▨ junk 0.800 1 inlier junk.jpg"
    assert photos[2] == "✗ wrong, place 2 0.700 wrong.jpg"
    text = words_of(html)
    assert "1 right photo is not among these missed, at place 1 214 far0.jpg" in text
    assert "✓▨✗ 1 of 2 right" in text


def test_what_was_not_ranked_has_no_place():
    lost = StripEntry("g/lost.jpg", "right", None)
    answer = SetupAnswer(0.0, (), (lost,), np.empty(0, np.int64), 7)
    text = words_of(render(dataclasses.replace(query_of(), answers={"all": answer})))
    assert "Nothing was ranked." in text
    assert "7 right photos are not among these, the nearest 1 shown not ranked lost.jpg" in text


def test_a_query_that_does_not_count_says_so_and_has_no_bar():
    html = render(query_of(0, (NAN, 0.25)), query_of(1, (0.5, NAN)), query_of(2, (0.75, NAN)))
    charts = re.split(r'<div class="of of-\d">', html[: html.index('class="readout')])
    first, second = charts[1:]
    assert re.findall(r'href="#q(\d)"', first) == ["1", "2"]
    assert "1 query is not counted: nothing is right there." in first
    assert re.findall(r'href="#q(\d)"', second) == ["0"]
    assert "2 queries are not counted" in second
    strip = html[html.index('id="q0"') :]
    assert re.search(r'class="of of-0 ap none"><b>not counted</b>', strip)
    assert "nan" not in re.sub(r"base64,[\w+/=]+", "", html).lower()


def test_a_setup_without_any_query_is_not_a_zero():
    page = page_of(query_of(0, (NAN, 0.25)))
    page = dataclasses.replace(page, scores=(SetupScore("easy", NAN, 0), page.scores[1]))
    text = words_of(render_evaluation(page, lambda _: PHOTO))
    assert "Easy mAP not counted over 0 of 1 query" in text
    assert "Easy: no query counts" in text


def test_the_worst_come_first_and_only_they_are_open():
    queries = [query_of(i, (0.9 - i / 100, 0.01 * i)) for i in range(20)]
    html = render(*queries)
    strips = re.findall(r'class="strip" id="q(\d+)" data-order="([-\d ]+)" data-name="(\d+)"( open)?', html)
    assert [int(number) for number, *_ in strips] == list(range(19, -1, -1))
    assert [order for _, order, *_ in strips] == [f"{i} {19 - i}" for i in range(20)]
    assert [bool(opened) for *_, opened in strips] == [i < evaluation_page.OPEN for i in range(20)]
    by_name = sorted(strips, key=lambda strip: int(strip[2]))
    assert [f"q/{number}.jpg" for number, *_ in by_name] == sorted(f"q/{i}.jpg" for i in range(20))


def test_a_photo_that_many_queries_found_is_in_the_file_once():
    asked = []
    queries = [query_of(i) for i in range(6)]
    html = render_evaluation(page_of(*queries), lambda name: asked.append(name) or PHOTO)
    assert sorted(asked) == ["g/far0.jpg", "g/junk.jpg", "g/right.jpg", "g/wrong.jpg"]
    assert html.count("background-image") == 4 + 6
    key = re.search(r'<li class="right"><span class="pic (t\d+)">', html)[1]
    assert html.count(f'class="pic {key}"') == 12  # six queries, two setups
    assert html.count(f".{key}{{background-image") == 1


def test_a_photo_that_cannot_be_read_keeps_its_place_and_its_name():
    query = dataclasses.replace(query_of(), photo=lambda: None)
    html = render_evaluation(page_of(query), lambda name: None if "wrong" in name else PHOTO)
    key = re.search(r'<li class="wrong"><span class="pic (t\d+)">', html)[1]
    assert re.search(rf'[.]{key}::after[^}}]*{{content:"cannot be read"}}', html)
    assert ".q0::after" in html
    assert html.count("background-image") == 3
    assert words_of(html).count("wrong.jpg") == 2


def test_the_box_is_drawn_on_the_query():
    plain, boxed = (
        re.search(r"\.q0\{background-image:url\(data:image/webp;base64,([\w+/=]+)", render(query))[1]
        for query in (
            dataclasses.replace(query_of(), photo=lambda: (np.full((120, 160, 3), 120, np.uint8), (640, 480)), box=box)
            for box in (None, (160.0, 120.0, 320.0, 240.0))
        )
    )
    pixels = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int) for data in (plain, boxed)]
    assert np.abs(pixels[0] - 120).max() < 6
    assert abs(pixels[1][60, 80].mean() - 120) < 10  # inside: as it was
    assert pixels[1][10, 10].mean() < 100  # outside: darker
    assert "Query, the dashed box" in words_of(render(query_of(box=(0.0, 0.0, 10.0, 10.0))))


def test_match_lines_are_drawn_for_as_many_candidates_as_the_limit_says(monkeypatch):
    monkeypatch.setattr(evaluation_page, "MAX_MATCHES", 3)
    view = view_of((160, 120), (160, 120), count=12, wrong=4)
    match = MatchPicture(StripEntry("x/cand.jpg", "right", 1, 0.9, 12), view, "hard")
    html = render(query_of(0, matches=(match, match)), query_of(1, matches=(match, match)))
    assert Page(html).tags.count("img") == 3
    text = words_of(html)
    assert "Match lines are drawn for 3 candidates" in text
    assert text.count("Match lines: ✓ right, place 1, cand.jpg, 12 inliers") == 3
    assert html.count('class="lines of of-1"') == 3
    assert html.count('class="tag"') == 2


def test_match_lines_of_a_part_are_drawn_on_that_part():
    asked = []
    match = MatchPicture(StripEntry("c", "wrong", 1), view_of((80, 60), (160, 120)), None, lambda: asked.append(1))
    html = render(query_of(matches=(match,)))
    assert asked == [1]
    assert Page(html).tags.count("img") == 0  # the part could not be read


def test_many_busy_queries_stay_below_the_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluation_page, "MAX_CHARS", 250_000)
    queries = [query_of(i, (0.5 + i / 100, 0.1), f"folder{i}") for i in range(16)]
    path = tmp_path / "report.html"
    write_evaluation(page_of(*queries), lambda name: noise(300, 200, len(name)), path)
    assert 200_000 < path.stat().st_size <= 250_000
    html = path.read_text("utf-8")
    assert "left out" not in html.replace("left out: a", "")
    sizes = {
        key: max(Image.open(io.BytesIO(base64.b64decode(data))).size)
        for key, data in re.findall(r"\.(\w+)\{background-image:url\(data:image/webp;base64,([\w+/=]+)", html)
    }
    assert len(sizes) == 16 + 16 * 4
    folded = re.search(r'id="q15".*?<li class="right"><span class="pic (t\d+)"', html, re.DOTALL)[1]
    opened = re.search(r'id="q0".*?<li class="right"><span class="pic (t\d+)"', html, re.DOTALL)[1]
    assert sizes[opened] > sizes[folded]


def test_names_without_end_do_not_make_a_file_without_end():
    query = query_of(0, name="n" * 100_000)
    html = render(dataclasses.replace(query, id="q" * 100_000), command="c" * 100_000)
    assert len(html) < 200_000


def test_of_thousands_of_queries_the_worst_and_the_best_have_strips(monkeypatch):
    monkeypatch.setattr(evaluation_page, "MAX_STRIPS", (3, 2))
    html = render(*(query_of(i, (i / 10, 0.5)) for i in range(8)))
    assert [int(number) for number in re.findall(r'class="strip" id="q(\d+)"', html)] == [0, 1, 2, 6, 7]
    assert "Strips of 5 of 8 queries: the worst and the best ones." in words_of(html)
    bars = html[html.index('<div class="of of-0">') : html.index('<div class="of of-1">')]
    assert len(re.findall('class="bar"', bars)) == 8
    assert re.findall(r'href="#q(\d)"', bars) == ["0", "1", "2", "6", "7"]


def test_the_switch_starts_in_the_middle_and_every_setup_has_its_rule():
    three = dataclasses.replace(query_of(), answers={name: answer_of() for name in ("easy", "medium", "hard")})
    html = render(three)
    assert re.findall(r'id="setup-(\d)" checked', html) == ["1"]
    for i in range(3):
        assert f".page:has(#setup-{i}:checked) .of:not(.of-{i}){{display:none}}" in html
    one = render(dataclasses.replace(query_of(), answers={"all": answer_of()}))
    assert re.findall(r'id="setup-(\d)" checked', one) == ["0"]
    assert 'class="switch unseen"' in one


def test_numbers_notes_card_and_command_are_on_the_page():
    page = page_of(
        query_of(),
        notes=("this is a subset of the benchmark",),
        groups=(("cups", 1, (0.5, NAN)),),
        command="glocal eval x",
    )
    text = words_of(render_evaluation(page, lambda _: PHOTO))
    for part in (
        "! Please note this is a subset of the benchmark",
        "Easy mAP 37.50 over 1 of 1 query P@1 12.5",
        "One query 0.8 ms",
        "cups 1 50.00 not counted",
        "Protocol card Dim 64 To repeat it glocal eval x",
        "10 100.00 100.00",  # precision at recall 0.1: the first photo is right
    ):
        assert part in text


def test_an_unknown_kind_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'a\.jpg'.*'maybe'"):
        StripEntry("a.jpg", "maybe", 1)
