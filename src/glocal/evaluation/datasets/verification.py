"""Are the photos of a data set there, whole, and those that were there before?

Files are opened one at a time; only what is wrong is kept.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from glocal.data.formats import DECODERS, register_heif, sniff
from glocal.data.image import LIMITS, read_file
from glocal.data.input_file import numbered_lines
from glocal.errors import REASONS, ConfigError, ImageError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.datasets.reading import MAX_PHOTOS, inside
from glocal.evaluation.datasets.revisited import DISTRACTORS
from glocal.progress import thousands

Progress = Callable[[int, int], None]
"""Called with how many files are done, and of how many."""

MANIFEST = "SHA256SUMS"
MISSING, CHANGED, NEW = "missing", "changed", "not_in_manifest"
_WORDS = {**REASONS, CHANGED: "changed since the manifest was written", NEW: "not in the manifest"}
_SHORT = {DISTRACTORS: "R1M"}
_HEAD = 1024  # bytes that say which format it is
_CHUNK = 1 << 20
_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")
_SHOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class DataReport:
    """What is wrong with the files of a data set.

    Attributes:
        name: of the data set.
        num_listed: files that it names.
        num_bytes: of all files that are there.
        problems: reason -> files, in the order of the list: `missing`, `changed`, `not_in_manifest` or one of
            `glocal.errors.REASONS`; only reasons that occur.
    """

    name: str
    num_listed: int
    num_bytes: int
    problems: Mapping[str, tuple[str, ...]]

    @property
    def missing(self) -> tuple[str, ...]:
        """The files that are not there."""
        return self.problems.get(MISSING, ())

    @property
    def num_found(self) -> int:
        """Files that are there and are pictures; changed ones among them."""
        return self.num_listed - sum(len(f) for reason, f in self.problems.items() if reason not in (CHANGED, NEW))

    @property
    def complete(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def message(self) -> str:
        """What is wrong in one line, and what to do; or that nothing is."""
        found = f"{self.name}: {thousands(self.num_listed)} names listed, {thousands(self.num_found)} pictures found"
        if self.complete:
            return f"{found}; nothing is missing."
        wrong = [
            f"{thousands(len(files))} {_WORDS.get(reason, reason)} (first: {', '.join(files[:_SHOWN])})"
            for reason, files in self.problems.items()
        ]
        return (
            f"{found}; {'; '.join(wrong)}. Evaluating on the present ones would not be"
            f" {_SHORT.get(self.name, self.name)}. → download what is named again, or --allow-incomplete (marked in the"
            " result)"
        )


def files_of(benchmark: Benchmark) -> tuple[str, ...]:
    """The gallery's files, then the queries' that are not among them; each once."""
    return tuple(dict.fromkeys((*benchmark.files, *(query.file for query in benchmark.queries))))


def verify_data(benchmark: Benchmark, manifest: Path | None = None, progress: Progress | None = None) -> DataReport:
    """Check every photo of a benchmark; see `verify_files`.

    Raises:
        ConfigError: the benchmark has no photos, or the manifest is malformed.
    """
    return verify_files(benchmark.name, _root(benchmark), files_of(benchmark), manifest, progress)


def verify_files(
    name: str, root: Path, files: Sequence[str], manifest: Path | None = None, progress: Progress | None = None
) -> DataReport:
    """Check that files are there, are not empty, and begin as pictures that glocal reads do.

    Args:
        name: of the data set.
        root: their folder.
        files: paths below it, each once.
        manifest: what `write_manifest` wrote; then every file is read whole and compared.
        progress: called now and then.

    Raises:
        ConfigError: there is no such folder, or the manifest is malformed.
    """
    if not root.is_dir():
        raise ConfigError(f"No such folder: {root} → --data DIR")
    expected = None if manifest is None else read_manifest(manifest)
    register_heif()
    problems: dict[str, list[str]] = {}
    num_bytes = 0
    for file in _each(files, progress):
        try:
            with _opened(root / file) as (opened, size):
                num_bytes += size
                reason = _reason(opened, size)
                if reason is None and expected is not None:
                    wanted = expected.get(file)
                    reason = NEW if wanted is None else None if _sha256(opened) == wanted else CHANGED
        except ImageError as error:
            reason = error.code
        except FileNotFoundError:
            reason = MISSING
        if reason is not None:
            problems.setdefault(reason, []).append(file)
    order = (MISSING, *(reason for reason in problems if reason != MISSING))
    return DataReport(name, len(files), num_bytes, {r: tuple(problems[r]) for r in order if r in problems})


def write_manifest(
    root: Path, files: Sequence[str], path: Path | None = None, progress: Progress | None = None
) -> Path:
    """Write the SHA-256 of every file in the form of `sha256sum`; returns where.

    Args:
        root: the folder of the files.
        files: paths below it, each once.
        path: where to write; None for SHA256SUMS in the folder.
        progress: called now and then.

    Raises:
        ConfigError: a file is not there or cannot be read, or the manifest cannot be written.
    """
    path = root / MANIFEST if path is None else path
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("w", encoding="utf-8", errors="surrogateescape") as written:
            for file in _each(files, progress):
                with _opened(root / file) as (opened, _):
                    written.write(_manifest_line(file, _sha256(opened)))
        os.replace(unfinished, path)
    except ImageError as error:
        raise ConfigError(f"{root / file}: {error.detail} → repair the data before writing {path.name}") from error
    except OSError as error:
        what = error.filename or path
        raise ConfigError(f"{what}: {error.strerror} → repair the data, or write {path.name} elsewhere") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def read_manifest(path: Path) -> dict[str, str]:
    """File -> SHA-256, of what `sha256sum` or `write_manifest` wrote.

    Raises:
        ConfigError: no such file, or a malformed line.
    """
    found: dict[str, str] = {}
    for number, line in numbered_lines(path, max_bytes=None):
        match = _LINE.fullmatch(line)
        where = f"{path}, line {number}"
        if match is None or len(found) >= MAX_PHOTOS:
            raise ConfigError(f'{where}: "SHA-256  file" was expected, not "{line[:100]}" → write the manifest again')
        escaped, digest, file = match.groups()
        if escaped:
            file = re.sub(r"\\([\\nr])", lambda m: {"\\": "\\", "n": "\n", "r": "\r"}[m[1]], file)
        file = inside(file, where)
        if file in found:
            raise ConfigError(f'{where}: "{file[:200]}" is there twice → write the manifest again')
        found[file] = digest
    return found


def image_set_digest(root: Path, files: Sequence[str], progress: Progress | None = None) -> str:
    """SHA-256 over name, size and content hash of files, whatever their order: which photos a result is about.

    A file that is not there counts as that, so that an incomplete set has a digest of its own.

    Raises:
        ConfigError: a file is there, but cannot be read, or is larger than any photo.
    """
    digest = hashlib.sha256(f"{len(files)}\0".encode())
    for file in _each(sorted(files), progress):
        size, content = -1, ""
        if os.path.lexists(root / file):
            try:
                photo = read_file(root / file)
                size, content = len(photo.data), photo.content_hash
            except ImageError as error:
                if error.code != "empty":
                    raise ConfigError(f"{root / file}: {error.detail} → repair the data") from error
                size = 0
        digest.update(os.fsencode(file) + f"\0{size}\0{content}\0".encode())
    return digest.hexdigest()


def _root(benchmark: Benchmark) -> Path:
    if benchmark.root is None:
        raise ConfigError(f"{benchmark.name}: only the ground truth is there, no photos → --data DIR")
    return benchmark.root


def _each(files: Sequence[str], progress: Progress | None) -> Iterator[str]:
    """The files, telling now and then how far it is."""
    step = max(1, min(1000, len(files) // 100))
    for i, file in enumerate(files):
        yield file
        if progress is not None and ((i + 1) % step == 0 or i + 1 == len(files)):
            progress(i + 1, len(files))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A file and its size, opened as photos are: no link is followed, and no pipe waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, "is missing", str(path)) from error
    except (OSError, ValueError) as error:
        linked = getattr(error, "errno", None) in (errno.ELOOP, errno.ENXIO)
        raise ImageError("not_regular_file" if linked else "unreadable") from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise ImageError("not_regular_file")
    with os.fdopen(descriptor, "rb") as file:
        yield file, about.st_size


def _reason(file: BinaryIO, size: int) -> str | None:
    """Why a file is no picture that can be read; None if its beginning is that of one."""
    if not size:
        return "empty"
    if size > LIMITS.max_bytes:
        return "too_large_file"
    try:
        head = file.read(_HEAD)
    except OSError:
        return "unreadable"
    name = sniff(head)
    return "not_an_image" if name is None else None if name in DECODERS else "unsupported_format"


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    try:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    except OSError as error:
        raise ImageError("unreadable", error.strerror or "read error") from error
    return digest.hexdigest()


def _manifest_line(file: str, digest: str) -> str:
    escaped = file.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == file else chr(92)}{digest}  {escaped}\n"
