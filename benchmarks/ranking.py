"""Scoring 70 queries against a million descriptors: memory, time, and the same mAP as the published way.

    python benchmarks/ranking.py [--size 1000000] [--dim 512 2048] [--folder DIR] [--json FILE]

The published way (revisitop, python/example_evaluate.py and evaluate.py) multiplies the whole matrix, sorts all of it
for every query, and looks for the labelled photos in the sorted lists. Ours counts the photos before each labelled one
(`glocal.evaluation.ranking`). Both read the same memory-mapped file of synthetic descriptors: random ones, with 20 to
400 photos near each query, of which some are easy, hard or junk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glocal.evaluation.metrics import mean_of, score_places
from glocal.evaluation.protocol import REVISITED
from glocal.evaluation.ranking import blocks_of, rank_exact

QUERIES = 70
LABELLED = 5000
"""The first photos of the gallery are the benchmark's own; the others are distractors."""


class MemoryWatch:
    """The most anonymous memory (without mapped files) that this process takes while it is entered, in MiB."""

    def __enter__(self) -> MemoryWatch:
        self.before = self.peak = anonymous_mib()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.peak = max(self.peak, anonymous_mib())

    @property
    def taken(self) -> float:
        """MiB above what was there before."""
        return self.peak - self.before


def anonymous_mib() -> float:
    """Anonymous resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell the anonymous memory of a process")


def make_gallery(file: Path, size: int, dim: int) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """Write the descriptors; returns the queries (Q, D) and their sets."""
    rng = np.random.default_rng(dim)
    queries = unit(rng.standard_normal((QUERIES, dim)))
    gallery = np.lib.format.open_memmap(file, "w+", np.float32, (size, dim))
    for start in range(0, size, 50_000):
        stop = min(start + 50_000, size)
        gallery[start:stop] = unit(rng.standard_normal((stop - start, dim)))
    sets = []
    for query in queries:
        members = np.sort(rng.choice(LABELLED, int(rng.integers(20, 400)), replace=False))
        strength = rng.uniform(0.0, 0.3, (len(members), 1))
        gallery[members] = unit(gallery[members] + strength * query)
        kinds = rng.integers(0, 3, len(members))
        sets.append({name: members[kinds == i] for i, name in enumerate(("easy", "hard", "junk"))})
    gallery.flush()
    return queries, sets


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit norm, float32."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def members_of(sets: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """The photos of some sets."""
    return np.sort(np.concatenate([sets[name] for name in names]))


def published(
    gallery: np.ndarray, queries: np.ndarray, sets: list[dict[str, np.ndarray]], kind: str = "quicksort"
) -> dict[str, Any]:
    """The whole product, a full sort of it, and a search of every sorted list for every set.

    The published sort leaves the order of equal similarities open; "stable" orders them by index, as ours does.
    """
    started = time.perf_counter()
    similarities = np.dot(gallery, queries.T)
    multiplied = time.perf_counter()
    ranks = np.argsort(-similarities, axis=0, kind=kind)
    ordered = time.perf_counter()
    found = {}
    for name, setup in REVISITED.setups.items():
        values = []
        for i, own in enumerate(sets):
            right, junk = members_of(own, setup.right), members_of(own, setup.ignored)
            places = np.arange(len(ranks))[np.isin(ranks[:, i], right)]
            ignored = np.arange(len(ranks))[np.isin(ranks[:, i], junk)]
            values.append(score_places(places, ignored, len(right), REVISITED).ap)
        found[name] = mean_of(values)
    scored = time.perf_counter()
    return {"dot": multiplied - started, "sort": ordered - multiplied, "score": scored - ordered, "mAP": found}


def ours(gallery: np.ndarray, queries: np.ndarray, sets: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Blocks of the product, and the number of photos before each labelled one."""
    started = time.perf_counter()
    labelled = [members_of(own, ("easy", "hard", "junk")) for own in sets]
    ranking = rank_exact(blocks_of(gallery), len(gallery), queries, labelled, 1000)
    ranked = time.perf_counter()
    found = {}
    for name, setup in REVISITED.setups.items():
        values = []
        for i, own in enumerate(sets):
            right, junk = members_of(own, setup.right), members_of(own, setup.ignored)
            places, ignored = ranking.places_of(i, right), ranking.places_of(i, junk)
            values.append(score_places(places, ignored, len(right), REVISITED).ap)
        found[name] = mean_of(values)
    return {"rank": ranked - started, "score": time.perf_counter() - ranked, "mAP": found}


def measure(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run it and add the memory that it took and the seconds of all stages."""
    with MemoryWatch() as watch:
        found = work()
    seconds = sum(value for key, value in found.items() if key != "mAP")
    return found | {"MiB": watch.taken, "seconds": seconds}


def main() -> None:
    """Both ways, in turns, best of three; prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the descriptors go (default: a temporary folder)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for dim in options.dim:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            file = Path(folder) / "descriptors.npy"
            queries, sets = make_gallery(file, options.size, dim)
            gallery = np.load(file, mmap_mode="r")
            gallery.sum(dtype=np.float64)  # both ways find the file in the system's cache
            theirs, mine = [], []
            for _ in range(options.rounds):
                theirs.append(measure(partial(published, gallery, queries, sets)))
                mine.append(measure(partial(ours, gallery, queries, sets)))
            a, b = (min(runs, key=lambda run: run["seconds"]) for runs in (theirs, mine))
            stable = published(gallery, queries, sets, "stable")
            apart, open_ties = (
                max(abs(each["mAP"][name] - b["mAP"][name]) for name in REVISITED.setups) for each in (stable, a)
            )
            sorting = a["dot"] + a["sort"]
            print(
                f"{options.size:,} x {dim}: published dot {a['dot']:.2f} s, sort {a['sort']:.2f} s, "
                f"score {a['score']:.2f} s, {a['MiB']:.0f} MiB; "
                f"ours rank {b['rank']:.2f} s, score {b['score']:.2f} s, {b['MiB']:.0f} MiB"
            )
            print(
                f"   ratio: ranks alone {sorting / b['rank']:.1f}, ranks and scores {a['seconds'] / b['seconds']:.1f}; "
                f"mAP medium {b['mAP']['medium']:.6f}, "
                f"largest difference {apart:.1e} with equal similarities by index, {open_ties:.1e} as published"
            )
            rows.append({"dim": dim, "size": options.size, "published": a, "ours": b, "apart": apart})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
