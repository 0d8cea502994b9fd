"""The report is one safe file that says what was found."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from glocal.pictures.report import MAX_WHY, Report, ReportHit, render_report, write_report
from glocal.pictures.view import MatchView
from glocal.types import Pixels

HOSTILE = [
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{7*7}}{% raw %}{# c #}",
    "</style></script><img src=x onerror=alert(1)>",
    "javascript:alert(1)//a.jpg",
    "lone\udcff surrogate.jpg",
    "turned\u202egpj.exe",
    "line\nbreak\x00\x1b[31m.jpg",
    "&lt;b&gt;.jpg",
]


def noise(width: int = 160, height: int = 120, seed: int = 3) -> Pixels:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


def view_of(size: tuple[int, int] = (640, 480)) -> MatchView:
    rng = np.random.default_rng(5)
    points: NDArray[np.float32] = rng.uniform((100, 100), (500, 400), (20, 2)).astype(np.float32)
    quad = np.array([[100.0, 100], [500, 100], [500, 400], [100, 400]])
    return MatchView(size, size, points, points, np.arange(20) < 15, np.eye(3), quad, quad)


def hit_of(rank: int, band: str = "same", name: str = "a/b.jpg", proven: bool = True) -> ReportHit:
    return ReportHit(
        rank, name, band, 0.97, 0.5, 15 if proven else 0, 20, 0.62, 0.3, (), noise(), view_of() if proven else None
    )


def report_of(*hits: ReportHit, name: str = "query.jpg", **changes: object) -> Report:
    report = Report(name, noise(), None, (640, 480), 871, hits, 48201, "rootsift", 0.41, (), "glocal search query.jpg")
    return dataclasses.replace(report, **changes)  # type: ignore[arg-type]


class Page(HTMLParser):
    """Tags, attributes and text as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._skipped = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._skipped = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._skipped = ""

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.text += data


def hostile_report(name: str) -> Report:
    hits = [dataclasses.replace(hit_of(1, name=name), copies=(name, name)), hit_of(2, "look-alike", name, proven=False)]
    return report_of(*hits, name=name, warnings=(name,), command=f"glocal search {name}", model=name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_come_out_as_text(name: str) -> None:
    page, harmless = Page(render_report(hostile_report(name))), Page(render_report(hostile_report("a.jpg")))
    assert page.tags == harmless.tags
    assert [part[:2] for part in page.attributes] == [part[:2] for part in harmless.attributes]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    shown = name.rpartition("/")[2]
    for hidden in "\udcff\u202e\n\x00\x1b":
        shown = shown.replace(hidden, "\ufffd")
    assert page.text.count(shown) >= 5


def test_the_only_script_is_the_one_that_the_policy_names() -> None:
    html = render_report(report_of(hit_of(1)))
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(v for tag, name, v in Page(html).attributes if tag == "meta" and v.startswith("default-src"))
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "img-src data:;" in policy
    assert "unsafe-eval" not in policy


def test_nothing_is_loaded_from_elsewhere() -> None:
    html = render_report(report_of(hit_of(1), hit_of(2, "possibly"), hit_of(3, "look-alike")))
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+| // .*", "", html))
    links = [value for _, name, value in Page(html).attributes if name in ("src", "href", "srcset", "action", "data")]
    assert links
    assert all(value.startswith("data:image/jpeg;base64,") for value in links)


def test_pictures_carry_no_metadata() -> None:
    html = render_report(report_of(hit_of(1)))
    for data in re.findall(r"base64,([\w+/=]+)", html):
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert not picture.getexif()
            assert "icc_profile" not in picture.info


@pytest.mark.parametrize(
    ("bands", "sentence"),
    [
        ((), "No picture shows this object."),
        (("look-alike",), "No picture shows this object."),
        (("possibly",), "No picture surely shows this object; 1 possibly does."),
        (("possibly", "possibly"), "No picture surely shows this object; 2 possibly do."),
        (("same",), "1 picture shows the same object."),
        (("same", "same", "possibly"), "2 pictures show the same object."),
    ],
)
def test_the_verdict_is_one_true_sentence(bands: tuple[str, ...], sentence: str) -> None:
    html = render_report(report_of(*(hit_of(rank, band) for rank, band in enumerate(bands, 1))))
    assert f"<h1>{sentence}</h1>" in html


def test_every_result_has_a_spoken_label_and_every_picture_words() -> None:
    page = Page(render_report(report_of(hit_of(1, name="x/IMG 1.jpg"), hit_of(2, "possibly"))))
    assert ("li", "aria-label", "Result 1 of 2, same object, 97\u202f%, x/IMG 1.jpg") in page.attributes
    assert page.tags.count("img") == sum(name == "alt" and bool(v) for tag, name, v in page.attributes if tag == "img")


def test_look_alikes_are_folded_and_the_best_proof_is_open() -> None:
    html = render_report(report_of(hit_of(1), hit_of(2), hit_of(3, "look-alike")))
    assert html.count('<details class="why" open>') == 1
    assert re.search(r'class="band look-alike"[^>]*>\s*<details><summary>', html)


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.999, ">\u202f99\u202f%"), (0.5, "50\u202f%"), (0.001, "<\u202f1\u202f%"), (float("nan"), "unknown")],
)
def test_probabilities_never_claim_certainty(probability: float, text: str) -> None:
    html = render_report(report_of(dataclasses.replace(hit_of(1), probability=probability)))
    assert f'<span class="probability">{text.replace(">", "&gt;").replace("<", "&lt;")}</span>' in html


def test_an_unverified_hit_claims_no_proof() -> None:
    html = render_report(report_of(hit_of(1, "look-alike", proven=False)))
    assert "not compared in detail" in html
    assert '<details class="why"' not in html


def test_hits_that_nobody_judged_are_one_open_list_without_odds() -> None:
    hits = [dataclasses.replace(hit_of(rank, "look-alike"), probability=float("nan")) for rank in (1, 2)]
    html = render_report(report_of(*hits, judged=False))
    assert "<h1>The nearest pictures, not judged.</h1>" in html
    assert not re.search(r'class="band look-alike"[^>]*>\s*<details><summary>', html)
    assert html.count('<span class="probability">unknown</span>') == 2
    assert html.count('<span class="word">Not judged</span>') == 2
    assert "No picture agrees" not in html
    assert "15 inliers" in html
    assert html.count('<details class="why"') == 2


def test_a_report_of_twenty_busy_hits_can_be_mailed(tmp_path: Path) -> None:
    pixels = noise(1024, 768)
    hits = [dataclasses.replace(hit_of(rank), pixels=pixels) for rank in range(1, 21)]
    path = tmp_path / "report.html"
    write_report(report_of(*hits, query=pixels, box=(100.0, 100.0, 300.0, 200.0)), path)
    assert path.stat().st_size < 6e6
    assert path.read_text("utf-8").count('<details class="why"') == MAX_WHY


def test_names_that_are_not_unicode_are_written(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(hostile_report("a\udcff.jpg"), path)
    assert "a\ufffd.jpg" in path.read_text("utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_motion_stops_for_those_who_ask_for_less() -> None:
    html = render_report(report_of(hit_of(1)))
    reduced = html[html.index("prefers-reduced-motion") :]
    assert "animation: none" in reduced[:400]
    assert "animation: blink .8s" in html  # both pictures in 0.8 s: 1.25 Hz
