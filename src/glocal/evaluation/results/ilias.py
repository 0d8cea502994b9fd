"""ILIAS similarities: JSON, `{query: {photo: score}}`.

The file is read as what it is, two levels of names and numbers: nothing in it can be deep, and messages have lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from glocal.data.input_file import open_input
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.results.scored import ScoredLists
from glocal.evaluation.results.types import RankedLists

MAX_JSON = 512 << 20
"""Bytes: ten times the best thousand photos of the 1232 queries of ILIAS."""
_SPACE = rb"[ \t\r\n]*+"
_OPEN = re.compile(_SPACE + rb"\{" + _SPACE)
_KEY = re.compile(rb'("(?:[^"\\\x00-\x1f]|\\.){0,4096}")' + _SPACE + rb":" + _SPACE)
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]{0,307})(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![0-9A-Za-z.+-])" + _SPACE)
_NEXT = re.compile(_SPACE + rb"([,}])" + _SPACE)


def read_ilias(path: Path, benchmark: Benchmark) -> RankedLists:
    """The lists of a file of similarities: the highest first, equal ones in the order of the gallery.

    Raises:
        ConfigError: no such file, with the line; a name is there twice, or a score is not finite.
        SpecMismatch: an unknown query or photo, or a query is missing.
    """
    with open_input(path, MAX_JSON) as file:
        text = _Text(path, file.read())
    lists = ScoredLists(path, benchmark)
    for query_id in text.members():
        line = text.line
        if lists.has(query_id):
            raise ConfigError(f'{path}, line {line}: query "{query_id[:100]}" is there twice → keep one')
        query = lists.query(query_id, line)
        for photo in text.members():
            lists.add(query, photo, text.number(photo), 0, text.line)
    text.end()
    return lists.ranked()


class _Text:
    """JSON of nested objects and numbers, read from its start to its end."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._data = path, data
        self._at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        self._counted, self._line = 0, 1

    @property
    def line(self) -> int:
        """Number of the line that is being read."""
        self._line += self._data.count(b"\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def members(self) -> Iterator[str]:
        """The names of an object; the value of each has to be read before the next name is asked for."""
        self._expect(_OPEN, "{")
        if self._data[self._at : self._at + 1] == b"}":
            self._at += 1
            return
        while True:
            yield self._name()
            if self._expect(_NEXT, ", or }").group(1) == b"}":
                return

    def number(self, name: str) -> float:
        """A score."""
        # A number with too many digits to be one becomes infinite, and is refused as that.
        return float(self._expect(_NUMBER, f'a finite score for "{name[:100]}"').group())

    def end(self) -> None:
        """Nothing may follow."""
        if self._data[self._at :].strip(b" \t\r\n"):
            raise self._error("the end of the file")

    def _name(self) -> str:
        written = self._expect(_KEY, '"name":').group(1)
        try:
            name: str = json.loads(written) if b"\\" in written else written[1:-1].decode()
        except ValueError as error:
            raise ConfigError(
                f"{self._path}, line {self.line}: a name is no JSON text ({error}) → json.dump"
            ) from error
        return name

    def _expect(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        found = pattern.match(self._data, self._at)
        if found is None:
            raise self._error(what)
        self._at = found.end()
        return found

    def _error(self, what: str) -> ConfigError:
        here = self._data[self._at : self._at + 40].decode("utf-8", "replace")
        return ConfigError(
            f"{self._path}, line {self.line}: {what} was expected, not '{here}' → JSON {{query: {{photo: score}}}}"
        )
