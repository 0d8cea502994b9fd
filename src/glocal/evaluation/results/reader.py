"""Read a result file of any system, whichever kind it is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from glocal.data.input_file import open_input
from glocal.errors import ConfigError
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.results.features import read_folder_features, read_mat_features, read_npy_features
from glocal.evaluation.results.ilias import read_ilias
from glocal.evaluation.results.kaggle import RECOGNITION, read_kaggle_lists
from glocal.evaluation.results.ranks import read_ranks
from glocal.evaluation.results.trec import FIELDS, read_trec
from glocal.evaluation.results.types import Features, RankedLists

KINDS = (
    "ranks.npz, features.npy or a folder of gallery.npy and queries.npy, features.mat, "
    "ILIAS .json, Kaggle .csv, a TREC run"
)
_RANKS = ".npz"
_LISTS = {".json": read_ilias, ".trec": read_trec}
_FEATURES = {".npy": read_npy_features, ".mat": read_mat_features}
_SUFFIXES = (_RANKS, *_LISTS, *_FEATURES, ".csv")
_HEAD = 4096


def read_results(
    path: Path,
    benchmark: Benchmark,
    names: Path | None = None,
    ignored: Collection[str] = (),
    num_distractors: int = 0,
) -> RankedLists | Features:
    """What a system answered, in the order of a benchmark.

    Args:
        path: the file, or the folder of `gallery.npy` and `queries.npy`.
        benchmark: what was asked.
        names: for features, the list of names of their rows.
        ignored: queries that a Kaggle submission may have and that do not count.
        num_distractors: photos that were added to the gallery: ranks number them after it, and features have as many
            more rows after those of its photos.

    Raises:
        ConfigError: no file of a kind that is read, a damaged one, an id twice, a number that is not finite.
        SpecMismatch: it is about other photos or queries than the benchmark; the message names the first.
    """
    if path.is_dir():
        return read_folder_features(path, benchmark, names, num_distractors)
    kind = _kind(path)
    if kind in _FEATURES:
        return _FEATURES[kind](path, benchmark, names, num_distractors)
    if names is not None:
        raise ConfigError(f"{path} holds lists with names of their own → leave out {names}")
    if kind == _RANKS:
        return read_ranks(path, benchmark, num_distractors)
    if num_distractors:
        raise ConfigError(
            f"{path} lists photos by name, and distractors have none here → ranks.npz, or no --distractors"
        )
    if kind == ".csv":
        return read_kaggle_lists(path, benchmark, ignored)
    return _LISTS[kind](path, benchmark)


def _kind(path: Path) -> str:
    """The suffix that tells what a file holds, judged by its first bytes."""
    with open_input(path) as file:
        head = file.read(_HEAD)
    line = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n")[0].decode("utf-8", "replace").strip()
    if line == RECOGNITION:
        raise ConfigError(f"{path} is a recognition submission, not lists of photos → score it with its solution file")
    found = None
    if head.startswith(b"PK\3\4"):
        found = _RANKS
    elif head.startswith(b"\x93NUMPY"):
        found = ".npy"
    elif head.startswith((b"MATLAB", b"\x89HDF")) or head[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        found = ".mat"
    elif line.startswith("{"):
        found = ".json"
    elif line.startswith("id,"):
        found = ".csv"
    elif len(line.split()) == FIELDS and b"\0" not in head:
        found = ".trec"
    suffix = path.suffix.lower()
    promised = suffix if suffix in _SUFFIXES else None
    if found is None or (promised is not None and promised != found):
        what = "is empty" if not head else f"does not begin as a {promised} does" if promised else "is of no known kind"
        raise ConfigError(f"{path} {what}; read are: {KINDS} → check the file, or its suffix")
    return found
