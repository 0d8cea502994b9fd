"""Oxford5k and Paris6k of 2007 and 2008 (Philbin et al.), in the form of cnnimageretrieval's ground truth."""

from __future__ import annotations

from pathlib import Path

from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.datasets.ground_truth import benchmark_of, find_ground_truth
from glocal.evaluation.protocol import CLASSIC


def read_classic(root: Path, name: str) -> Benchmark:
    """oxford5k or paris6k: queries are part of the gallery, and ok and junk are used as given.

    Args:
        root: the folder that holds NAME/gnd_NAME.pkl (or .mat, .json) and NAME/jpg/, or these themselves.
        name: of the benchmark.

    Raises:
        ConfigError: there is no ground truth, or it is malformed.
    """
    truth = find_ground_truth((root / name, root), name)
    return benchmark_of(truth, name, CLASSIC, ("ok", "junk"), ("jpg", f"{name}_images", ""))
