"""The files of a run, for the Lab: bounded before they are read, checked before anybody relies on them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from glocal.errors import ConfigError, RetrievalError
from glocal.evaluation.benchmark import first_repeated
from glocal.evaluation.record import FILE, RunRecord
from glocal.evaluation.results.arrays import Archive

MAX_RECORD = 32 << 20
"""Bytes of a metrics.json: some twelve thousand queries and more."""
MAX_RANKS = 256 << 20
"""Bytes of the rankings of a run, unpacked."""
MAX_GALLERY = 2_000_000
MAX_SETUPS, MAX_CUTOFFS = 8, 12

Ranks = NDArray[Any]
# What a record that is no record makes of itself when it is read or checked.
DAMAGED = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RecursionError, TypeError, ValueError)


class RunDamaged(RetrievalError):
    """A run's files are no files of `glocal eval`, or too large to be shown."""


def without_paths(error: BaseException, folder: Path) -> str:
    """The words of an error, without where things lie."""
    text = str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), folder.name)
    return text[:400] or type(error).__name__


def read_record(folder: Path) -> RunRecord:
    """The scores of a run.

    Raises:
        RunDamaged: there are none that can be read and shown.
    """
    try:
        size = os.stat(folder / FILE, follow_symlinks=False).st_size
        if size > MAX_RECORD:
            raise ConfigError(f"{FILE} has {size:,} bytes; what is shown has at most {MAX_RECORD:,}")
        record = RunRecord.read(folder)
        _expect_sound(record)
    except (RetrievalError, *DAMAGED) as error:
        raise RunDamaged(f"{FILE} cannot be read: {without_paths(error, folder)}") from error
    return record


def _expect_sound(record: RunRecord) -> None:
    """What the page relies on, beyond what reading has checked.

    Raises:
        ValueError, TypeError: a name is no text, a number is none, or there are too many.
    """
    if not (0 < len(record.setups) <= MAX_SETUPS and len(record.cutoffs) <= MAX_CUTOFFS and record.queries):
        raise ValueError("no setups, no queries, or too many setups")
    repeated = first_repeated(tuple(query.id for query in record.queries)) or first_repeated(record.setups)
    if repeated is not None:
        raise ValueError(f"'{repeated[:100]}' is there twice")
    for query in record.queries:
        for score in query.scores.values():
            values = (score.ap, *score.precision, *score.recall)
            # Sums of many terms may pass 1 by a rounding.
            if not all(math.isnan(value) or 0 <= value <= 1 + 1e-6 for value in values):
                raise ValueError(f"query '{query.id[:100]}' has a score that is not between 0 and 1")
            if not (score.first is None or type(score.first) is int):
                raise TypeError(f"query '{query.id[:100]}': the place of the first is no number")
        if not all(isinstance(name, str) for names in query.top.values() for name in names):
            raise TypeError(f"query '{query.id[:100]}' has found what has no name")
    ids = {query.id for query in record.queries}
    if not all(ids.issuperset(members) for members in record.groups.values()):
        raise ValueError("a group of queries has one that was not asked")


def read_ranks(path: Path, record: RunRecord) -> tuple[dict[str, Ranks], tuple[str, ...]]:
    """The rankings of a run, by setup, and the names of its gallery.

    Raises:
        ConfigError: no such file, damaged, of other queries, or too large.
    """
    if path.is_symlink():
        raise ConfigError(f"{path}: a link")
    with Archive(path) as archive:
        names = archive.names("queries", len(record.queries))
        if names != [query.id for query in record.queries]:
            raise ConfigError(f"{path}: its queries are not those of {FILE} → run glocal eval again")
        gallery = archive.names("gallery", MAX_GALLERY)
        if not gallery or first_repeated(tuple(gallery)) is not None:
            raise ConfigError(f"{path}: it does not say which photos it ranks → run glocal eval again")
        members = {setup: f"ranks_{setup}" if f"ranks_{setup}" in archive else "ranks" for setup in record.setups}
        left = MAX_RANKS
        for member in dict.fromkeys(members.values()):
            if member not in archive:
                raise ConfigError(f"{path}: no array '{member}' → run glocal eval again")
            header = archive.header(member)
            if header.dtype.kind not in "iu" or len(header.shape) != 2 or header.shape[1] != len(record.queries):
                raise ConfigError(
                    f"{header.where}: {header.shape} {header.dtype} is no ranking → run glocal eval again"
                )
            left -= header.num_bytes
            if left < 0:
                raise ConfigError(f"{path}: more than {MAX_RANKS >> 20} MiB of rankings are not shown")
        arrays = {member: archive.array(member) for member in dict.fromkeys(members.values())}
    return {setup: arrays[member] for setup, member in members.items()}, tuple(gallery)
