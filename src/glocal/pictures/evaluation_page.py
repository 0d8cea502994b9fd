"""One evaluation as one HTML file that opens from disk, works offline and can be mailed (Jinja2).

Every name is hostile: it reaches the page only through autoescape, and the page's content security policy runs no
script and takes no style but those whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from glocal.pictures.curves_svg import curve_path, lowest_first, mean_curve, waterfall
from glocal.pictures.data_uris import data_uri
from glocal.pictures.files import write_atomically
from glocal.pictures.matches import draw_matches
from glocal.pictures.outlines import draw_box
from glocal.pictures.resizing import reduce
from glocal.pictures.strips import AnsweredQuery, MatchPicture, SetupAnswer
from glocal.pictures.thumbnails import Thumbnail, make_sheet
from glocal.pictures.wording import base_of, folder_of, readable, thousands
from glocal.types import Pixels

MAX_CHARS = 7_600_000
"""Length of the file; with many queries the pictures get smaller."""
MAX_STRIPS = (100, 50)
"""Strips of so many of the worst and of the best queries, if there are more queries than both."""
OPEN = 12
"""Strips of the worst queries are open, and have larger pictures."""
MAX_MATCHES, MATCH_WIDTH, MATCH_BYTES = 12, 1000, 70_000
FOUND_SIDE, QUERY_SIDE = (144, 256), (240, 400)
FOUND_WEIGHT, QUERY_WEIGHT = (1.0, 3.0), (2.0, 5.0)
"""Of a folded strip and of an open one: pixels of the longest side, and parts of the budget."""
MAX_NAME, MAX_TEXT = 160, 4000
"""Letters of a name, and of a line of the card, that are shown."""

Source = Callable[[str], Pixels | None]


@dataclass(frozen=True, slots=True)
class SetupScore:
    """One setup's means.

    Attributes:
        name: of the setup.
        mean: of the average precision, 0 to 1; NaN if no query counts.
        counted: queries that count.
        details: further means: what it is, and the value as text.
    """

    name: str
    mean: float
    counted: int
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationPage:
    """All that the page says.

    Attributes:
        benchmark: its name.
        title: what the mean is called, e.g. "mAP".
        facts: short lines below the name, e.g. of the model and the re-ranking.
        scores: one per setup, in order.
        cost: what it took: name and value.
        notes: what a reader of the numbers must know.
        groups: kinds of queries scored apart: name, number of queries, the mean of each setup.
        queries: all that were asked.
        card: what the numbers were made with: title and value.
        command: what repeats it; "" if it is not known.
    """

    benchmark: str
    title: str
    facts: tuple[str, ...]
    scores: tuple[SetupScore, ...]
    cost: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    groups: tuple[tuple[str, int, tuple[float, ...]], ...]
    queries: tuple[AnsweredQuery, ...]
    card: tuple[tuple[str, str], ...]
    command: str


@dataclass(frozen=True, slots=True)
class _Match:
    picture: MatchPicture
    uri: str
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Strip:
    number: int
    query: AnsweredQuery
    order: str
    by_name: int
    opened: bool
    matches: tuple[_Match, ...]


def render_evaluation(page: EvaluationPage, thumbnail: Source) -> str:
    """The whole page as text, without any reference to another file or host.

    Args:
        page: what it says.
        thumbnail: pixels of a photo of the gallery by name, (h, w, 3) uint8 RGB, reduced or not; None where it
            cannot be read. It is asked once or twice for each, and only one answer is kept at a time.
    """
    setups = [score.name for score in page.scores]
    first = (len(setups) - 1) // 2
    aps = [[query.answers[setup].ap for query in page.queries] for setup in setups]
    orders = [lowest_first(each) for each in aps]
    chosen = _chosen(orders[first], len(page.queries))
    matches = _matches(page, chosen, thumbnail)
    strips = _strips(page, orders, chosen, matches, first)
    keys, pictures = _pictures(strips, thumbnail)
    falls = [waterfall(each) for each in aps]
    body = (
        _environment()
        .get_template("evaluation_body.html")
        .render(
            page=page,
            first=first,
            strips=strips,
            keys=keys,
            falls=falls,
            linked=frozenset(chosen),
            curves=_curves(page),
            num_matches=sum(len(strip.matches) for strip in strips),
        )
    )
    style, script = _source("evaluation.css"), _source("evaluation.js")
    switches = _switches(len(setups))
    room = MAX_CHARS - len(body.encode("utf-8", "replace")) - len(style) - len(script) - len(switches) - 2000
    sheet = "\n".join((switches, make_sheet(pictures, room).css))
    frame = _environment().get_template("evaluation.html")
    return frame.render(
        title=page.benchmark,
        body=body,
        style=style,
        sheet=sheet,
        script=script,
        style_hashes=" ".join(f"'{_hash(text)}'" for text in (style, sheet)),
        script_hash=_hash(script),
    )


def write_evaluation(page: EvaluationPage, thumbnail: Source, path: Path) -> None:
    """Write the page as UTF-8; a half-written file never appears."""
    write_atomically(render_evaluation(page, thumbnail).encode("utf-8", "replace"), path)


def score(value: float) -> str:
    """A mean as it is printed, in per cent with two decimals."""
    return "not counted" if math.isnan(value) else f"{100 * value:.2f}"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()


@lru_cache(maxsize=8)
def _source(name: str) -> str:
    return files("glocal.pictures").joinpath("templates", name).read_text("utf-8")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_source),
    )
    environment.filters.update(
        name=_name,
        folder=lambda name: folder_of(_name(name)),
        base=lambda name: base_of(_name(name)),
        text=lambda text: readable(_cut(text, MAX_TEXT)),
        setup=lambda name: _name(name[:1].upper() + name[1:]),
        number=thousands,
        score=score,
    )
    return environment


def _name(name: str) -> str:
    return readable(_cut(name, MAX_NAME))


def _cut(text: str, longest: int) -> str:
    """Beginning and end of a text that is too long: a name is on the page many times."""
    return text if len(text) <= longest else f"{text[: longest // 2]}…{text[-(longest // 2) :]}"


def _switches(num_setups: int) -> str:
    """Rules that show what belongs to the chosen setup, and nothing of the others."""
    return "\n".join(
        f".page:has(#setup-{i}:checked) .of:not(.of-{i}){{display:none}}"
        f".page:has(#setup-{i}:checked) .curve-{i}{{stroke-width:4}}"
        for i in range(num_setups)
    )


def _chosen(order: list[int], num_queries: int) -> list[int]:
    """Numbers of the queries that get a strip: all, or the worst and the best; those that do not count are last."""
    counted = set(order)
    whole = order + [i for i in range(num_queries) if i not in counted]
    if num_queries <= sum(MAX_STRIPS):
        return whole
    worst, best = MAX_STRIPS
    # Where hardly any query counts, the others fill the page.
    ends = order[:worst] + order[max(worst, len(order) - best) :]
    return ends + [i for i in whole if i not in counted][: sum(MAX_STRIPS) - len(ends)]


def _strips(
    page: EvaluationPage,
    orders: list[list[int]],
    chosen: list[int],
    matches: Mapping[int, tuple[_Match, ...]],
    first: int,
) -> list[_Strip]:
    ranks = [{number: rank for rank, number in enumerate(order)} for order in orders]
    names = sorted(chosen, key=lambda number: readable(page.queries[number].id))
    by_name = {number: rank for rank, number in enumerate(names)}
    return [
        _Strip(
            number,
            page.queries[number],
            " ".join(str(rank.get(number, -1)) for rank in ranks),
            by_name[number],
            position < OPEN and number in ranks[first],
            matches.get(number, ()),
        )
        for position, number in enumerate(chosen)
    ]


def _pictures(strips: list[_Strip], thumbnail: Source) -> tuple[dict[str, str], list[Thumbnail]]:
    """A key for every photo found, by name, and all pictures of the page, those of open strips first."""
    keys: dict[str, str] = {}
    pictures = []
    for strip in sorted(strips, key=lambda strip: not strip.opened):
        large = int(strip.opened)
        asked = partial(_query_picture, strip.query, QUERY_SIDE[large])
        pictures.append(Thumbnail(f"q{strip.number}", asked, QUERY_SIDE[large], QUERY_WEIGHT[large]))
        for answer in strip.query.answers.values():
            for entry in (*answer.entries, *answer.missed):
                if entry.name not in keys:
                    keys[entry.name] = f"t{len(keys)}"
                    found = partial(thumbnail, entry.name)
                    pictures.append(Thumbnail(keys[entry.name], found, FOUND_SIDE[large], FOUND_WEIGHT[large]))
    return keys, pictures


def _query_picture(query: AnsweredQuery, longest: int) -> Pixels | None:
    photo = query.photo()
    if photo is None or query.box is None:
        return photo and photo[0]
    # Reduced first: the dashes are as wide as a picture of this size needs.
    return draw_box(reduce(photo[0], longest), query.box, photo[1])


def _matches(page: EvaluationPage, chosen: list[int], thumbnail: Source) -> dict[int, tuple[_Match, ...]]:
    drawn: dict[int, tuple[_Match, ...]] = {}
    left = MAX_MATCHES
    for number in chosen:
        query = page.queries[number]
        photo = query.photo() if query.matches and left else None
        found = []
        for match in query.matches[:left]:
            pixels = match.part() if match.part else photo and photo[0]
            target = thumbnail(match.entry.name)
            if pixels is not None and target is not None:
                lines = draw_matches(pixels, target, match.view, width=MATCH_WIDTH)
                found.append(_Match(match, *data_uri(lines, MATCH_WIDTH, MATCH_BYTES)))
        drawn[number] = tuple(found)
        left -= len(found)
    return drawn


def _curves(page: EvaluationPage) -> list[tuple[int, str, tuple[float, ...], str]]:
    """Number and name of each setup with a curve, eleven of its values, and its path."""
    curves = []
    for i, setup in enumerate(score.name for score in page.scores):
        answers: list[SetupAnswer] = [query.answers[setup] for query in page.queries]
        mean = mean_curve([(answer.places, answer.num_right) for answer in answers if answer.counted])
        if mean is not None:
            curves.append((i, setup, tuple(mean[::10].tolist()), curve_path(mean)))
    return curves
