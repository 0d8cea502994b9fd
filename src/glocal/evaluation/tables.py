"""Many evaluations as one table: Markdown, CSV, LaTeX.

Names of models and photos' folders are hostile: no cell may start a formula, a tag or a command.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from glocal.evaluation.comparison import asked
from glocal.evaluation.record import RunRecord

MISSING = "–"
CUTOFF = 10
"""The k of the precision at k that is shown."""
COSTS = (
    ("bytes_global", "bytes/photo global", 0),
    ("bytes_local", "bytes/photo local", 0),
    ("ms_per_query", "ms/query", 2),
)
"""Costs that are shown: key of `RunRecord.cost`, title of the column, decimals."""

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_NAMES = ("model", "benchmark", "re-ranking")


@dataclass(frozen=True, slots=True)
class FailedRun:
    """An evaluation that could not be made: what was wanted, and why there is nothing."""

    model: str
    benchmark: str
    rerank: str
    reason: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One number as it is printed; `best` where no comparable row has a better one."""

    text: str
    best: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One evaluation.

    Attributes:
        names: model, benchmark, re-ranking.
        cells: one for each column of numbers.
        notes: what a reader of the numbers must know.
    """

    names: tuple[str, str, str]
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Evaluations under each other.

    Attributes:
        columns: titles of the columns of numbers.
        rows: as they were given.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def header(self) -> tuple[str, ...]:
        """All titles."""
        return (*_NAMES, *self.columns, "notes")

    @property
    def footnotes(self) -> tuple[str, ...]:
        """Every different note, in order of appearance; a row refers to it by its number, from 1."""
        return tuple(dict.fromkeys(note for row in self.rows for note in row.notes))

    def markers(self, row: Row) -> str:
        """Numbers of a row's footnotes."""
        return ", ".join(str(self.footnotes.index(note) + 1) for note in row.notes)


def table_of(records: Sequence[RunRecord | FailedRun]) -> Table:
    """One row for each evaluation.

    Mean average precision and precision are in points of 100. The best value of a column is marked among rows that
    were asked the same (benchmark, distractors, crop and so on): others do not compare. Of costs the lowest is best.

    Args:
        records: evaluations, and those that failed, in the order of the rows.
    """
    runs = [each for each in records if isinstance(each, RunRecord)]
    scores = dict.fromkeys((run.title, setup) for run in runs for setup in run.setups)
    cut = dict.fromkeys(setup for run in runs if CUTOFF in run.cutoffs for setup in run.setups)
    columns = [f"{title} {setup}" for title, setup in scores] + [f"mP@{CUTOFF} {setup}" for setup in cut]
    decimals = [2] * len(columns) + [places for *_, places in COSTS]
    numbers = [_numbers(each, list(scores), list(cut)) for each in records]
    texts = [[_printed(value, places) for value, places in zip(row, decimals, strict=True)] for row in numbers]
    groups: dict[tuple[str | None, ...], list[int]] = {}
    for i, each in enumerate(records):
        if isinstance(each, RunRecord):
            groups.setdefault(asked(each), []).append(i)
    best: set[tuple[int, int]] = set()
    for members in groups.values():
        for column in range(len(decimals)):
            best |= _best(members, column, texts, lowest=column >= len(columns))
    rows = tuple(
        Row(names, tuple(Cell(text, (i, j) in best) for j, text in enumerate(texts[i])), _notes(each))
        for i, (names, each) in enumerate(zip(_all_names(records), records, strict=True))
    )
    return Table((*columns, *(title for _, title, _ in COSTS)), rows)


def to_markdown(table: Table) -> str:
    """A table of Markdown with the best values bold, and its footnotes."""
    lines = [_piped(map(_markdown, table.header)), _piped(["---"] * 3 + ["---:"] * len(table.columns) + ["---"])]
    for row in table.rows:
        cells = [f"**{cell.text}**" if cell.best else cell.text for cell in row.cells]
        lines.append(_piped([*map(_markdown, row.names), *cells, table.markers(row)]))
    notes = [f"{i}. {_markdown(note)}" for i, note in enumerate(table.footnotes, 1)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def to_csv(table: Table) -> str:
    """A table for spreadsheets, comma-separated; notes in full. No cell is taken for a formula."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_harmless, table.header))
    for row in table.rows:
        cells = [*row.names, *(cell.text for cell in row.cells), "; ".join(row.notes)]
        writer.writerow(map(_harmless, cells))
    return buffer.getvalue()


def to_latex(table: Table) -> str:
    """A plain `tabular` with the best values bold, and its footnotes as lines below; needs no package."""
    lines = [rf"\begin{{tabular}}{{lll{'r' * len(table.columns)}l}}", r"\hline"]
    lines += [_joined(map(_latex, table.header)), r"\hline"]
    for row in table.rows:
        cells = [rf"\textbf{{{_latex(cell.text)}}}" if cell.best else _latex(cell.text) for cell in row.cells]
        markers = table.markers(row)
        noted = rf"\textsuperscript{{{markers}}}" if markers else ""
        lines.append(_joined([*map(_latex, row.names), *cells, noted]))
    lines += [r"\hline", r"\end{tabular}"]
    lines += [rf"\par\textsuperscript{{{i}}} {_latex(note)}" for i, note in enumerate(table.footnotes, 1)]
    return "\n".join(lines) + "\n"


WRITERS = {".md": to_markdown, ".csv": to_csv, ".tex": to_latex}
"""Suffix of a file -> what writes it."""


def _numbers(each: RunRecord | FailedRun, scores: list[tuple[str, str]], cut: list[str]) -> list[float]:
    """The numbers of a row, NaN for what is missing."""
    if isinstance(each, FailedRun):
        return [math.nan] * (len(scores) + len(cut) + len(COSTS))
    values = [
        100 * each.mean_ap(setup) if title == each.title and setup in each.setups else math.nan
        for title, setup in scores
    ]
    for setup in cut:
        known = setup in each.setups and CUTOFF in each.cutoffs
        values.append(100 * each.mean_precision(setup)[each.cutoffs.index(CUTOFF)] if known else math.nan)
    return values + [each.cost.get(key, math.nan) for key, *_ in COSTS]


def _printed(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else MISSING


def _best(members: list[int], column: int, texts: list[list[str]], lowest: bool) -> set[tuple[int, int]]:
    """The best of a column among some rows, as printed: equal texts share it; where none is worse, none is best."""
    values = {i: float(texts[i][column]) for i in members if texts[i][column] != MISSING}
    if len(set(values.values())) < 2:
        return set()
    top = min(values.values()) if lowest else max(values.values())
    return {(i, column) for i, value in values.items() if value == top}


def _names(each: RunRecord | FailedRun) -> tuple[str, str, str]:
    if isinstance(each, FailedRun):
        return each.model, each.benchmark, each.rerank
    distractors = _words(each.card.get("distractors")).partition(",")[0]  # what follows is how many
    benchmark = each.benchmark if distractors in (MISSING, "none") else f"{each.benchmark} + {distractors}"
    return _words(each.card.get("model")), benchmark, _words(each.card.get("rerank"))


def _all_names(records: Sequence[RunRecord | FailedRun]) -> list[tuple[str, str, str]]:
    """Names of all rows; two networks of one name are told apart by their weights."""
    names = [_names(each) for each in records]
    weights = ["" if isinstance(each, FailedRun) else str(each.card.get("weights", ""))[:8] for each in records]
    by_name: dict[str, set[str]] = {}
    for (model, *_), short in zip(names, weights, strict=True):
        by_name.setdefault(model, set()).update([short] if short else [])
    return [
        (f"{model} ({short})" if short and len(by_name[model]) > 1 else model, benchmark, rerank)
        for (model, benchmark, rerank), short in zip(names, weights, strict=True)
    ]


def _notes(each: RunRecord | FailedRun) -> tuple[str, ...]:
    if isinstance(each, FailedRun):
        return (f"failed: {each.reason}",)
    told = each.card.get("notes") or ()
    notes = [str(note) for note in told] if isinstance(told, list | tuple) else [_words(told)]
    incomplete = _words(each.card.get("incomplete"))
    if incomplete not in (MISSING, "0"):
        notes.append(f"incomplete: photos that could not be read: {incomplete}")
    return tuple(dict.fromkeys(notes))


def _words(value: Any) -> str:
    """A card's value as words."""
    if isinstance(value, list | tuple):
        value = ", ".join(str(each) for each in value)
    return MISSING if value is None or value == "" or value is False else str(value)


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _joined(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _markdown(text: str) -> str:
    # An underscore between letters starts no emphasis: names of models stay as they are.
    escaped = re.sub(r"([\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", _one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_LATEX = {char: "\\" + char for char in "{}$&#%_"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "…": r"\ldots{}",
    "→": r"$\rightarrow$",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in _one_line(text))


def _harmless(text: str) -> str:
    """A cell that no spreadsheet computes."""
    text = _one_line(text)
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@") and not _NUMBER.fullmatch(text) else text
