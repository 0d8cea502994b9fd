"""Exit codes, and how text reaches a terminal."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

from glocal.errors import (
    BackendUnavailable,
    ConfigError,
    DiskFull,
    ImageError,
    NothingToDo,
    RetrievalError,
    SpecMismatch,
    StoreBusy,
    StoreError,
    WeightsError,
)

DONE = 0
UNEXPECTED = 1
USAGE = 2
NOTHING = 3
MISMATCH = 4
RESOURCE = 5
PARTIAL = 6
INTERRUPTED = 130
TERMINATED = 143

# The most special class first.
_CODES = (
    (NothingToDo, NOTHING),
    (ConfigError, USAGE),
    (ImageError, NOTHING),
    (SpecMismatch, MISMATCH),
    (StoreBusy, MISMATCH),
    (DiskFull, RESOURCE),
    (StoreError, NOTHING),
    (WeightsError, MISMATCH),
    (BackendUnavailable, RESOURCE),
)


def code_of(error: RetrievalError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNEXPECTED)


def near(word: str, known: Iterable[str]) -> str:
    """Either " Did you mean x?" for a mistyped word, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {found[0]}?" if found else ""


def printable(text: str) -> str:
    """Text that is safe on a terminal: control, format and undecodable characters are escaped.

    File names are hostile: they may hold newlines, escape sequences or text direction marks.
    """
    return "".join(
        char if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else ascii(char)[1:-1] for char in text
    )
