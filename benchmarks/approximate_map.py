"""What the nearest-neighbour file costs in mAP: a benchmark's photos among made-up distractors, searched both ways.

    python benchmarks/approximate_map.py ../shared/data/photos-dev [--model NAME] [--distractors 1000000] [--json FILE]

The folder holds `groundtruth.json` as for `photos.py`. Gallery and queries are described once. Around each descriptor
of the gallery lie as many distractors as are needed, at cosines between 0.2 and 0.8 to it, in random directions: a
query meets them right below the photo that they lie around. All go into one collection with its nearest-neighbour file
(`glocal.index`), which is searched for the best `--depth` of each query; the same is done by comparing all. Both lists
are scored by the revisited protocol, without any re-ranking. What lies below the depth counts as not found in both. The
mAP without distractors stands beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from local_forms import describe, request_of
from million import build_collection, name_of
from reranking import precision, without

from glocal.evaluation.metrics import mean_of
from glocal.evaluation.protocol import REVISITED
from glocal.extract.batching import ModelSource
from glocal.extract.requests import Request
from glocal.index.choice import RULES
from glocal.index.nearest import Nearest
from glocal.store.collection import Collection
from glocal.types import Descriptors, Shortlist

COSINES = (0.2, 0.8)
SEED = 0
BLOCK = 8192


def around(photos: np.ndarray, count: int) -> np.ndarray:
    """Unit vectors (count, D) about those of photos (N, D), each with its own cosine and direction."""
    rng = np.random.default_rng(SEED)
    found = np.empty((count, photos.shape[1]), np.float32)
    for start in range(0, count, BLOCK):
        rows = found[start : start + BLOCK]
        base = photos[(start + np.arange(len(rows))) % len(photos)]
        away = rng.standard_normal(rows.shape, np.float32)
        away -= np.sum(away * base, axis=1, keepdims=True) * base
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        cosine = rng.uniform(*COSINES, (len(rows), 1)).astype(np.float32)
        rows[:] = cosine * base + np.sqrt(1 - cosine**2) * away
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def ranked(similarities: np.ndarray, names: list[str], depth: int) -> Shortlist:
    """The best of all, by comparing all; the order of equal ones does not matter here."""
    best = np.argsort(-similarities, kind="stable")[:depth]
    return Shortlist("query", tuple(names[i] for i in best), similarities[best])


def scores_of(query: dict[str, Any], ranking: Shortlist) -> dict[str, float]:
    """Average precision by setup."""
    own, found = {query["query"]}, {}
    for name, setup in REVISITED.setups.items():
        right = {photo for key in setup.right for photo in query[key]} - own
        ignored = {photo for key in setup.ignored for photo in query[key]} | own
        found[name] = precision(list(without(ranking, ignored).ids), right) if right else float("nan")
    return found


def main() -> None:
    """Describe, surround, search both ways, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with groundtruth.json")
    parser.add_argument("--model", default="delg_mobilenetv2")
    parser.add_argument("--distractors", type=int, default=1_000_000)
    parser.add_argument("--depth", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    truth = json.loads((options.data / "groundtruth.json").read_text("utf-8"))
    model = ModelSource(options.model)
    photos = [Request(str((options.data / name).resolve()).encode()) for name in truth["gallery"]]
    asked = [request_of(options.data, query, 0) for query in truth["queries"]]
    described = [answer.arrays["descriptor"] for answer in describe(model, photos + asked)]
    gallery, queries = np.stack(described[: len(photos)]), np.stack(described[len(photos) :])
    rows = np.concatenate([gallery, around(gallery, options.distractors)])
    names = truth["gallery"] + [f"distractor {i}" for i in range(options.distractors)]
    file_of = {name_of(i): name for i, name in enumerate(names)}
    lists: dict[str, list[Shortlist]] = {"all compared": [], "no distractors": []}
    for query in queries:
        similarities = rows @ query
        lists["all compared"].append(ranked(similarities, names, options.depth))
        lists["no distractors"].append(ranked(similarities[: len(gallery)], names, len(gallery)))
    with tempfile.TemporaryDirectory() as folder:
        made = build_collection(Path(folder), rows, RULES.codes_from)
        print(f"{len(rows):,} descriptors of {rows.shape[1]}: {made}")
        with Collection.open(Path(folder)) as collection, collection.snapshot():
            nearest = Nearest(collection)
            nearest.refresh(0)
            found = [nearest.search(Descriptors(("query",), query[None]), options.depth)[0] for query in queries]
    named = [Shortlist("query", tuple(file_of[name] for name in one.ids), one.similarities) for one in found]
    shared = [len({*a.ids[:100]} & {*b.ids[:100]}) for a, b in zip(named, lists["all compared"], strict=True)]
    lists["nearest-neighbour file"] = named
    table = {
        name: {
            setup: 100 * mean_of([scores_of(q, r)[setup] for q, r in zip(truth["queries"], ranking, strict=True)])
            for setup in REVISITED.setups
        }
        for name, ranking in lists.items()
    }
    for name, row in table.items():
        print(f"{name:<28}" + "".join(f"{setup} {value:6.2f}   " for setup, value in row.items()))
    spec = model.spec
    print(f"recall@100 {np.mean(shared) / 100:.4f}; depth {options.depth}; {spec.model} (weights {spec.weights[:12]})")
    if options.json:
        options.json.write_text(json.dumps({"distractors": options.distractors, "made": made, "map": table}, indent=1))


if __name__ == "__main__":
    main()
