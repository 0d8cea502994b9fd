"""Which photo of a benchmark a name in a file means: written with or without its folder and its extension."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glocal.data.formats import PICTURE_SUFFIXES
from glocal.data.input_file import shown
from glocal.errors import ConfigError, SpecMismatch
from glocal.evaluation.benchmark import Benchmark
from glocal.progress import thousands

DISTRACTORS_HINT = "--distractors NAME if what is not in the gallery is a distractor"
OTHER_DISTRACTORS_HINT = "the --distractors that the file was made with, or none"
MAX_NAME = 4096
"""Characters: what a path may have on Linux."""
_DEPTH = 16  # folders of a path that are told apart
_SEVERAL = -1
_SHOWN = 5
_HINT = "score the file on the benchmark that it was made for"


class NameTable:
    """The photos or the queries of a benchmark, to be found by name.

    Args:
        owner: name of the benchmark.
        noun: what the names are, "image" or "query".
        plural: more than one of them.
        names: all of them, unique.
        num_distractors: photos beyond those, whose names nobody knows; they are numbered after them.
    """

    def __init__(self, owner: str, noun: str, plural: str, names: Sequence[str], num_distractors: int = 0) -> None:
        self._owner, self._noun, self._plural = owner, noun, plural
        self.names = names
        self.num_distractors = num_distractors
        self._exact = {name: i for i, name in enumerate(names)}
        self._short: tuple[dict[str, int], dict[str, int], dict[str, int]] | None = None

    @classmethod
    def of_gallery(cls, benchmark: Benchmark, num_distractors: int = 0) -> NameTable:
        """The photos that are searched."""
        return cls(benchmark.name, "image", "images", benchmark.gallery, num_distractors)

    @classmethod
    def of_queries(cls, benchmark: Benchmark) -> NameTable:
        """The queries."""
        return cls(benchmark.name, "query", "queries", tuple(query.id for query in benchmark.queries))

    def __len__(self) -> int:
        """How many have a name."""
        return len(self.names)

    @property
    def size(self) -> int:
        """How many are numbered: those with a name, and the distractors."""
        return len(self.names) + self.num_distractors

    def find(self, name: str) -> int | None:
        """Position of the name that is meant; None where there is none, -1 where several could be meant."""
        found = self._exact.get(name)
        return found if found is not None or len(name) > MAX_NAME else self._find_similar(name)

    def index(self, name: str, path: Path, place: str, number: object, hint: str = "") -> int:
        """Position of the name that is meant.

        Args:
            name: as the file has it.
            path: of the file, for the message.
            place: what of it holds the name: "line", say.
            number: which of those.
            hint: what to do where there is no such name; a default where it is empty.

        Raises:
            SpecMismatch: the benchmark has no such name, or several.
        """
        found = self.find(name)
        if found is None:
            raise SpecMismatch(
                f"{path}, {place} {number}: {self._owner} has no {self._noun} {shown(name)}; its {self._plural} have "
                f"names such as {shown(self.names[0])} → {hint or _HINT}"
            )
        if found == _SEVERAL:
            raise SpecMismatch(
                f"{path}, {place} {number}: {self._owner} has several {self._plural} that {shown(name)} could mean "
                "→ write names with folder and extension"
            )
        return found

    def align(
        self, names: Sequence[str | None], path: Path, place: str, rows: str, hint: str = ""
    ) -> NDArray[np.int64]:
        """Position of each of some names that have to be all there are, each once, in any order.

        Distractors may be among them or not, by names that are not known; their positions are those after all names.

        Args:
            names: as the file has them; None for a distractor.
            path: of the file, for messages.
            place: what holds one name: "line", say.
            rows: what the file has as many of: "rows", say.
            hint: what to do where there are more names than are known.

        Raises:
            SpecMismatch: an unknown name that is no distractor, or one is missing.
            ConfigError: a name is there twice.
        """
        first: dict[int, int] = {}
        found = np.empty(len(names), np.int64)
        num_unknown = 0
        for number, name in enumerate(names, 1):
            if name is None or (self.num_distractors and self.find(name) is None):
                found[number - 1] = len(self) + num_unknown
                num_unknown += 1
                continue
            index = self.index(name, path, place, number, hint if len(names) > len(self) else "")
            if first.setdefault(index, number) != number:
                raise ConfigError(
                    f"{path}: {self._noun} {shown(self.names[index])} is there twice ({place} {first[index]} and "
                    f"{number}) → keep one"
                )
            found[number - 1] = index
        if len(first) < len(self):
            missing = [name for i, name in enumerate(self.names) if i not in first]
            raise self.disagreement(path, f"{thousands(len(names))} {rows}", missing)
        if num_unknown not in (0, self.num_distractors):
            has = f"{thousands(num_unknown)} other names"
            raise self.disagreement(path, has, hint=OTHER_DISTRACTORS_HINT)
        return found

    def disagreement(self, path: Path, has: str, missing: Sequence[str] = (), hint: str = "") -> SpecMismatch:
        """The error that says that a file is about more or fewer photos than the benchmark.

        Args:
            path: of the file.
            has: what it has: "4 992 rows".
            missing: the names that it lacks; none where it cannot be told.
            hint: what to do; a default where names are missing.
        """
        text = f"{path.name} has {has}, {self._owner} has {thousands(len(self))} {self._plural}"
        if self.num_distractors:
            text += f" and {thousands(self.num_distractors)} distractors"
        if missing:
            more = f" and {thousands(len(missing) - _SHOWN)} more" if len(missing) > _SHOWN else ""
            one = "that one" if len(missing) == 1 else "those"
            text += f"; missing: {', '.join(missing[:_SHOWN])}{more}."
            hint = hint or f"run the other system on {one} and write the file again"
        return SpecMismatch(f"{text} → {hint}")

    def _find_similar(self, name: str) -> int | None:
        tails, bare_tails, bare = self._short or self._shorten()
        short = _without_suffix(name)
        # The benchmark's name is the longer one …
        found = {tails.get(name), tails.get(short), bare_tails.get(name)} - {None}
        if not found:
            # … or the file's is: the longest part of it that is a whole name counts.
            for tail in _tails(name)[1:]:
                found = {self._exact.get(tail), self._exact.get(_without_suffix(tail)), bare.get(tail)} - {None}
                if found:
                    break
        return None if not found else found.pop() if len(found) == 1 else _SEVERAL

    def _shorten(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Ends of names, ends of names without extension, whole names without extension."""
        tails: dict[str, int] = {}
        bare_tails: dict[str, int] = {}
        bare: dict[str, int] = {}
        for i, name in enumerate(self.names):
            short = _without_suffix(name)
            for tail in _tails(name):
                tails[tail] = i if tails.setdefault(tail, i) == i else _SEVERAL
            if short != name:
                bare[short] = i if bare.setdefault(short, i) == i else _SEVERAL
                for tail in _tails(short):
                    bare_tails[tail] = i if bare_tails.setdefault(tail, i) == i else _SEVERAL
        self._short = tails, bare_tails, bare
        return self._short


def _without_suffix(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return stem if stem and not stem.endswith("/") and suffix.lower() in PICTURE_SUFFIXES else name


def _tails(name: str) -> list[str]:
    """A name, and what is left of it without its first folder, its first two and so on."""
    parts = name.rsplit("/", _DEPTH)
    return ["/".join(parts[i:]) for i in range(len(parts))]
