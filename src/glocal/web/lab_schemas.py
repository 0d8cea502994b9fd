"""The shapes of the Lab's answers; what is null is not known, or does not count."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from glocal.web.schemas import Answer, Number, Share

RunId = Annotated[str, Field(pattern="^r[0-9a-f]{16}$")]
Means = dict[str, Share | None]
"""Setup -> mean average precision."""
Curve = Annotated[list[Share], Field(min_length=101, max_length=101)]
"""Precision at recall 0, 0.01 … 1."""


class RunSummary(Answer):
    """A run in the list."""

    run: RunId
    name: str
    benchmark: str
    title: str = Field(description="what the mean is called, such as mAP")
    model: str
    rerank: str
    distractors: str
    date: str
    num_queries: int
    setups: list[str]
    means: Means


class UnreadableRun(Answer):
    """A folder that looks like a run and is none."""

    run: RunId
    name: str
    detail: str


class RunList(Answer):
    """All runs, the latest first."""

    runs: list[RunSummary]
    unreadable: list[UnreadableRun]
    has_folders: bool = Field(description="whether the service was started with folders of runs")


class SetupScore(Answer):
    """Means under one setup; precision and recall at the cutoffs."""

    setup: str
    mean: Share | None
    counted: int
    precision: list[Share | None]
    recall: list[Share | None]


class GroupScore(Answer):
    """Means of one kind of queries."""

    name: str
    queries: int
    means: Means


class NamedValue(Answer):
    """A figure in words."""

    name: str
    value: str


class CardEntry(Answer):
    """A line of the protocol card."""

    key: str
    title: str
    value: str


class Latex(Answer):
    """A line of a table, and its header."""

    header: str
    row: str


class LabQuery(Answer):
    """A query of a run."""

    id: int = Field(description="its number")
    name: str
    ap: Means
    thumb_url: str | None


class RunDetails(RunSummary):
    """All of a run but its rankings."""

    cutoffs: list[int]
    metrics: list[SetupScore]
    first_four: Annotated[float, Field(ge=0, le=4)] | None
    groups: list[GroupScore]
    cost: list[NamedValue]
    card: list[CardEntry]
    notes: list[str]
    command: str
    latex: Latex
    has_rankings: bool
    has_answers: bool = Field(description="whether right and wrong photos can be told")
    trouble: str
    queries: list[LabQuery]


class RunCurves(Answer):
    """Precision over recall, the mean of all queries, by setup."""

    run: RunId
    curves: dict[str, Curve | None]


class RankedPhoto(Answer):
    """A photo of a ranking: `position` counts all, `place` without what is ignored; null where it was not ranked."""

    position: int | None
    place: int | None
    photo: int | None = Field(description="its number in the gallery")
    name: str
    relation: Literal["right", "wrong", "ignored", "missed", "unknown"]
    thumb_url: str | None


class QueryAnswer(Answer):
    """A query's ranking under one setup."""

    run: RunId
    query: LabQuery
    setup: str
    ap: Share | None
    first: int | None = Field(description="place of the first right photo")
    precision: list[Share | None]
    recall: list[Share | None]
    num_right: int | None
    num_ranked: int
    results: list[RankedPhoto]
    missed: list[RankedPhoto]
    num_missed: int | None
    curve: Curve | None


class MovedQuery(Answer):
    """A query that two runs answer differently."""

    a_query: int
    b_query: int
    name: str
    a: Share
    b: Share
    difference: Number
    thumb_url: str | None


class ComparedSetup(Answer):
    """Two runs under one setup: a difference is what the second has more; the interval is one of 95 %."""

    setup: str
    num_queries: int
    a: Share | None
    b: Share | None
    difference: Number | None
    low: Number | None
    high: Number | None
    p: Share | None
    better: int
    worse: int
    equal: int
    distinguishable: bool
    num_moved: int
    moved: list[MovedQuery] = Field(description="the biggest losses first")


class CardDifference(Answer):
    """What two protocol cards say differently; empty where a card does not tell."""

    key: str
    title: str
    a: str
    b: str


class RunComparison(Answer):
    """Two runs against each other."""

    a: RunSummary
    b: RunSummary
    setups: list[ComparedSetup]
    differs: list[CardDifference]
