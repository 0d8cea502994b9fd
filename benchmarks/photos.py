"""Accuracy and cost on real photos: mAP by source, global only and re-ranked.

    python benchmarks/photos.py ../shared/data/photos-dev [--model rootsift] [--json FILE]

The folder holds `groundtruth.json`: a gallery, and queries with an optional box and easy / hard / junk
photos (revisited protocol, trapezoidal average precision). The gallery is indexed as `glocal index` does
it, every query is searched as `glocal search` does it, with a ranking of the whole gallery.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glocal.models.catalogue import default_model
from glocal.ops.ranking import average_precision
from glocal.photo_index import Index
from glocal.rerank.bands import Band

SETUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "easy": (("easy",), ("hard", "junk")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("easy", "junk")),
}
METHODS = {"global": "none", "re-ranked": "geometric"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One query under one method: average precision by setup, seconds, and how its bands were filled."""

    query: dict[str, Any]
    method: str
    precision: dict[str, float]
    seconds: float
    bands: Counter[tuple[str, bool]]


def precision_by_setup(query: dict[str, Any], ranked: list[str]) -> dict[str, float]:
    """Average precision of a ranking of the gallery under each setup."""
    return {
        setup: average_precision(
            ranked, {name for key in right for name in query[key]}, {name for key in ignored for name in query[key]}
        )
        for setup, (right, ignored) in SETUPS.items()
    }


def search_all(index: Index, data: Path, queries: list[dict[str, Any]], gallery_size: int) -> list[Outcome]:
    """Search every query with every method."""
    outcomes = []
    for query in queries:
        box = query["box"]
        # The benchmark's boxes are x1, y1, x2, y2; ours are x, y, width, height.
        ours = None if box is None else (box[0], box[1], box[2] - box[0], box[3] - box[1])
        for method, rerank in METHODS.items():
            started = time.perf_counter()
            result = index.search(data / query["query"], topk=gallery_size, rerank=rerank, box=ours)
            seconds = time.perf_counter() - started
            ranked = [name for hit in result for name in (hit.name, *hit.copies) if name != query["query"]]
            precision = precision_by_setup(query, ranked)
            relevant = {name for key in ("easy", "hard", "junk") for name in query[key]}
            bands = Counter((str(hit.band), hit.name in relevant) for hit in result if hit.band != Band.LOOK_ALIKE)
            outcomes.append(Outcome(query, method, precision, seconds, bands))
    return outcomes


def mean(values: Iterable[float]) -> float:
    """Mean of the defined values in percent; NaN if there is none."""
    defined = [value for value in values if not math.isnan(value)]
    return 100 * statistics.fmean(defined) if defined else math.nan


def source_of(query: dict[str, Any]) -> str:
    """Which line of the table a query belongs to."""
    return str(query["origin"] if query["origin"] != "groups" else query["query"].split("/")[1])


def print_table(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """Print mAP by source and over all; returns the rows."""
    sources = sorted({source_of(outcome.query) for outcome in outcomes})
    groups: dict[str, Callable[[dict[str, Any]], bool]] = {
        source: (lambda query, source=source: source_of(query) == source) for source in sources
    }
    groups["all Oxford"] = lambda query: query["origin"] != "groups"
    groups["all"] = lambda query: True
    rows = []
    print(f"{'source':<22}{'queries':>8}" + "".join(f"{method + ' ' + s:>18}" for method in METHODS for s in SETUPS))
    for name, belongs in groups.items():
        mine = [outcome for outcome in outcomes if belongs(outcome.query)]
        row: dict[str, Any] = {"source": name, "queries": len(mine) // len(METHODS)}
        for method in METHODS:
            for setup in SETUPS:
                row[f"{method} {setup}"] = mean(o.precision[setup] for o in mine if o.method == method)
        rows.append(row)
        cells = "".join(f"{row[f'{method} {setup}']:>18.1f}" for method in METHODS for setup in SETUPS)
        print(f"{name:<22}{row['queries']:>8}{cells}")
    return rows


def main() -> None:
    """Index the gallery, search all queries, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with groundtruth.json")
    parser.add_argument("--model", default=default_model())
    parser.add_argument("--json", type=Path, help="write the numbers, per query too")
    options = parser.parse_args()
    truth = json.loads((options.data / "groundtruth.json").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for name in truth["gallery"]:
            (Path(folder) / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(options.data / name, Path(folder) / "photos" / name)
        with Index.create(Path(folder) / "index", options.model) as index:
            report = index.add(Path(folder) / "photos", progress=True)
            outcomes = search_all(index, options.data, truth["queries"], len(truth["gallery"]))
            rows = print_table(outcomes)
            info = index.info()
    photos = info["counts"]["contents"]
    milliseconds = {m: 1000 * statistics.median(o.seconds for o in outcomes if o.method == m) for m in METHODS}
    per_photo = {name: info["bytes"][name] / photos for name in ("global", "local", "file")}
    print(f"\n{report.indexed} photos in {report.seconds:.0f} s ({report.indexed / report.seconds:.1f} photos/s)")
    print("ms per query (median): " + ", ".join(f"{m} {value:.0f}" for m, value in milliseconds.items()))
    print("bytes per photo: " + ", ".join(f"{name} {value:,.0f}" for name, value in per_photo.items()))
    bands: Counter[tuple[str, bool]] = sum((o.bands for o in outcomes if o.method == "re-ranked"), Counter())
    for band in (Band.SAME, Band.POSSIBLY):
        right, wrong = bands[str(band), True], bands[str(band), False]
        print(f"band {band}: {right} right, {wrong} wrong over {len(outcomes) // 2} queries")
    if options.json:
        queries = [{"query": o.query["query"], "method": o.method, **o.precision} for o in outcomes]
        options.json.write_text(
            json.dumps({"rows": rows, "ms": milliseconds, "bytes": per_photo, "queries": queries}, indent=1)
        )


if __name__ == "__main__":
    main()
