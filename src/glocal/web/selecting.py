"""Which pictures a request may find: the shape of `filter`, and the selection that it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from glocal.search import Selection
from glocal.web.schemas import Ask

MAX_LABELS, MAX_FOLDERS, MAX_NAME = 1000, 100, 1000
_MAX_TIME = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_NS = (1 << 63) - 1
"""Farther from 1970 than 292 years is no time that a file can have."""


def _text(value: str) -> str:
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("this is no text that a name can have")
    return value


def _folder(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError("a folder is named from the folder of the index on, like 2019/Rome")
    return _text(value)


def _time(value: str) -> str:
    nanoseconds(value)
    return value


def nanoseconds(text: str) -> int:
    """A date, or a date and a time, in nanoseconds since 1970; in UTC where it does not say its zone.

    Raises:
        ValueError: it is neither in ISO 8601.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a time is written like 2015-01-01 or 2015-01-01T18:30:00Z (ISO 8601)") from None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    exact = (aware - _EPOCH) // timedelta(microseconds=1) * 1000
    return max(-_MOST_NS, min(_MOST_NS, exact))


Label = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_text)]
Folder = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_folder)]
Time = Annotated[
    str,
    Field(max_length=_MAX_TIME, description="ISO 8601, in UTC if it names no zone", examples=["2015-01-01"]),
    AfterValidator(_time),
]


class LabelFilter(Ask):
    """Which labels a picture may have."""

    within: Annotated[list[Label], Field(min_length=1, max_length=MAX_LABELS)] | None = Field(
        None, alias="in", description="one of these"
    )
    not_in: Annotated[list[Label], Field(min_length=1, max_length=MAX_LABELS)] | None = Field(
        None, description="none of these; a picture without a label has none"
    )

    @model_validator(mode="after")
    def _says_something(self) -> LabelFilter:
        if self.within is None and self.not_in is None:
            raise ValueError("name labels in in or not_in")
        return self


class FolderFilter(Ask):
    """Where a picture's file may lie."""

    within: Annotated[list[Folder], Field(min_length=1, max_length=MAX_FOLDERS)] = Field(
        alias="in", description="below one of these, named from the index's folder on"
    )


class TimeFilter(Ask):
    """When a picture's file may have been modified."""

    gte: Time | None = Field(None, description="then or later")
    lt: Time | None = Field(None, description="earlier")

    @model_validator(mode="after")
    def _is_a_span(self) -> TimeFilter:
        if self.gte is None and self.lt is None:
            raise ValueError("name a time in gte or lt")
        if self.gte is not None and self.lt is not None and nanoseconds(self.gte) >= nanoseconds(self.lt):
            raise ValueError("gte has to be earlier than lt")
        return self


class Filter(Ask):
    """Which pictures of the index may be found: those that meet all of this, by one of their files."""

    label: LabelFilter | None = None
    folder: FolderFilter | None = None
    modified: TimeFilter | None = None
    taken: Any = Field(None, description="not taken: the index does not keep when a photo was taken")

    @model_validator(mode="after")
    def _is_known(self) -> Filter:
        if self.taken is not None:
            raise ValueError(
                "taken is not known: the index does not keep what EXIF says → modified, the time of the file"
            )
        return self


def selection_of(wanted: Filter | None) -> Selection | None:
    """What a searcher is told; None for everything."""
    if wanted is None:
        return None
    label, folder, modified = wanted.label, wanted.folder, wanted.modified
    return Selection(
        labels=None if label is None or label.within is None else frozenset(label.within),
        not_labels=frozenset(label.not_in or ()) if label else frozenset(),
        folders=tuple(folder.within) if folder else (),
        modified_from_ns=None if modified is None or modified.gte is None else nanoseconds(modified.gte),
        modified_before_ns=None if modified is None or modified.lt is None else nanoseconds(modified.lt),
    )
