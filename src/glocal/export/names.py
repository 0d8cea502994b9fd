"""The names that photos have in an export: their own where the format can hold them, else safe ones and a map."""

from __future__ import annotations

import csv
import itertools
import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from glocal.errors import NothingToDo
from glocal.export.drafts import explained, open_text

RENAME_HINT = "→ --rename-map names.csv writes safe names and a map"
_FORMULA = "=+-@'"
_UNPRINTED = ("Cc", "Cf", "Zl", "Zp")


class Format(StrEnum):
    """What an export demands of its names."""

    TABLE = "table"
    """Text that is UTF-8."""
    HLOC = "hloc"
    """Also no blanks, and no "#" in front: pairs.txt has two names in a line, and COLMAP takes "#" for a comment."""
    MATCHES = "matches"
    """Also different with "-" for "/": so hloc names the groups of matches."""


@dataclass(frozen=True, slots=True)
class Names:
    """What each file is called in an export.

    Attributes:
        renamed: file -> safe name, of those that could not keep their own.
        own: file -> name, of those that are not called by their path.
    """

    renamed: Mapping[bytes, str] = field(default_factory=dict)
    own: Mapping[bytes, str] = field(default_factory=dict)

    def of(self, file: bytes) -> str:
        """The name of a file."""
        if file in self.renamed:
            return self.renamed[file]
        return self.own.get(file) or os.fsdecode(file)


def choose_names(
    files: Iterable[bytes], form: Format, rename: bool, others: Mapping[bytes, str] | None = None
) -> Names:
    """Give every file a name that the format can hold.

    Args:
        files: paths relative to the collection's folder, each once; "/" between folders.
        form: what is demanded.
        rename: give safe names to those that do not fit; otherwise they are refused.
        others: further files, by absolute path, and the names wanted for them.

    Raises:
        NothingToDo: names do not fit, and `rename` is off; the first is named.
    """
    others = others or {}
    unfit: dict[str, list[tuple[bytes, str]]] = {}
    taken: set[str] = set()
    for file, name in itertools.chain(((file, os.fsdecode(file)) for file in files), others.items()):
        problem = _problem(name, form) or ("taken" if _key(name, form) in taken else None)
        if problem:
            unfit.setdefault(problem, []).append((file, name))
        else:
            taken.add(_key(name, form))
    if unfit and not rename:
        raise NothingToDo(_refusal(unfit, form))
    numbers: dict[str, int] = {}
    renamed = {file: _safe(name, form, taken, numbers) for group in unfit.values() for file, name in group}
    return Names(renamed, others)


def _problem(name: str, form: Format) -> str | None:
    if any(map(_is_lone, name)):
        return "undecodable"
    if form is Format.TABLE:
        return None
    if any(map(str.isspace, name)):
        return "blanks"
    return "comment" if name.startswith("#") else None


def _is_lone(char: str) -> bool:
    """Whether a character stands for a byte of a name that is not UTF-8."""
    return "\ud800" <= char <= "\udfff"


def decodable(text: str) -> str:
    """A text with "_" for every byte that is not UTF-8."""
    return "".join("_" if _is_lone(char) else char for char in text)


def _key(name: str, form: Format) -> str:
    """Names of one key cannot be told apart."""
    return name.replace("/", "-") if form is Format.MATCHES else name


def _refusal(unfit: Mapping[str, list[tuple[bytes, str]]], form: Format) -> str:
    problem = next(kind for kind in ("blanks", "undecodable", "comment", "taken") if kind in unfit)
    group = unfit[problem]
    count = f"{len(group):,}".replace(",", "\N{NO-BREAK SPACE}")
    one = len(group) == 1
    first = as_cell(group[0][0])
    texts = {
        "blanks": f"{count} name{' contains' if one else 's contain'} blanks; hloc's pairs.txt cannot hold "
        f"{'it' if one else 'them'}.",
        "undecodable": f"{count} name{' is' if one else 's are'} not UTF-8, which the export has to be.",
        "comment": f'{count} name{" begins" if one else "s begin"} with "#", which marks a comment in pairs.txt.',
        "taken": f"{count} name{' belongs' if one else 's belong'} to another photo too"
        + (' (with "-" for "/", as hloc names matches).' if form is Format.MATCHES else "."),
    }
    return f"{texts[problem]} {RENAME_HINT}   (first: {first})"


def _safe(name: str, form: Format, taken: set[str], numbers: dict[str, int]) -> str:
    """A new name like an unfit one; it is taken from now on."""
    strict = form is not Format.TABLE
    plain = decodable(name)
    if strict:
        plain = "".join("_" if char.isspace() else char for char in plain)
    if strict and plain.startswith("#"):
        plain = "_" + plain[1:]
    stem, suffix = os.path.splitext(plain)
    number = numbers.get(plain, 1)
    safe = plain
    while _key(safe, form) in taken:
        number += 1
        safe = f"{stem}-{number}{suffix}"
    numbers[plain] = number
    taken.add(_key(safe, form))
    return safe


def as_cell(file: bytes) -> str:
    r"""A file's path as printable text that can be undone.

    The bytes of a control or format character, of a line separator and of a backslash, and a byte that is not UTF-8
    become \x and two hexadecimal digits. A first character that spreadsheets take for a formula gets a ' in front, and
    so does a '.
    """
    text = "".join(_escaped(char) for char in os.fsdecode(file))
    return f"'{text}" if text and text[0] in _FORMULA else text


def _escaped(char: str) -> str:
    if _is_lone(char):
        return f"\\x{ord(char) - 0xDC00:02x}"
    if char == "\\" or unicodedata.category(char) in _UNPRINTED:
        return "".join(f"\\x{byte:02x}" for byte in char.encode())
    return char


def write_map(draft: Path, rows: Iterable[tuple[bytes, str]], place: Path) -> None:
    """Write a CSV of two columns: the name in the export, and the file that it stands for (see `as_cell`).

    Raises:
        DiskFull: no space is left.
        ConfigError: it cannot be written.
    """
    with open_text(draft, place) as file, explained(place):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "file"))
        writer.writerows((as_cell(name.encode()), as_cell(path)) for path, name in rows)
