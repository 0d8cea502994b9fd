"""The published verification and ours, side by side on real photos: pairs per second, mAP of what they re-rank, bytes.

    python benchmarks/reranking.py ../shared/data/photos-dev [--model NAME] [--index DIR] [--queries N]
        [--official-queries N] [--json FILE]

The folder holds `groundtruth.json` as for `photos.py`. For each query and setup the 100 most similar photos of the
gallery, junk taken out before as the TensorFlow program does, are verified pair by pair by every mode in turn, with
equal features: those of the index, and the query described upright. Each mode orders by its own rule. One thread;
CPU time of the verification, without reading features. A query counts for mAP where every mode verified all its
candidates: the first `--official-queries`. Needs the extra `eval`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from glocal.evaluation.metrics import mean_of, score_places
from glocal.evaluation.protocol import REVISITED
from glocal.extract.requests import Request
from glocal.index.exact import ExactIndex
from glocal.photo_index import Index
from glocal.rerank.bands import Calibration
from glocal.rerank.binary import verify_signs
from glocal.rerank.geometric import DEFAULTS, GeometricReranker, VerificationOptions, verify_pair
from glocal.rerank.official import TENSORFLOW, TORCH, OfficialReranker, verify_tensorflow, verify_torch
from glocal.types import Descriptors, LocalFeatures, Shortlist, Verification

DEPTH = 100
GLOBAL = "global only"


@dataclass(slots=True)
class Mode:
    """One way to verify and order, with what it cost so far."""

    name: str
    verify: Callable[[LocalFeatures, LocalFeatures], Verification]
    order: Callable[[Shortlist, Mapping[str, Verification]], Any]
    descriptor_bytes: int
    is_official: bool
    seconds: list[float] = field(default_factory=list)

    def run(self, query: LocalFeatures, target: LocalFeatures) -> Verification:
        """Verify a pair and note the CPU time."""
        started = time.process_time()
        found = self.verify(query, target)
        self.seconds.append(time.process_time() - started)
        return found


def modes_of(options: VerificationOptions, local_dim: int) -> list[Mode]:
    """The modes in the order of the table; an official descriptor is stored as float32, ours as int8, or as signs."""
    ours = GeometricReranker({}.__getitem__, options)
    tensorflow, torch = (OfficialReranker({}.__getitem__, program) for program in (TENSORFLOW, TORCH))
    return [
        Mode("official, TensorFlow", verify_tensorflow, tensorflow.order, 4 * local_dim, True),
        Mode("official, PyTorch *", verify_torch, torch.order, 4 * local_dim, True),
        Mode("fast", partial(verify_pair, options=options), ours.order, local_dim, False),
        Mode(
            "fast, 500 best",
            partial(verify_pair, options=replace(options, max_features=500)),
            ours.order,
            local_dim,
            False,
        ),
        Mode("fast, signs (DELG*)", partial(verify_signs, options=options), ours.order, -(-local_dim // 8), False),
    ]


@contextmanager
def opened(data: Path, gallery: list[str], model: str, directory: Path | None) -> Iterator[Index]:
    """An index of the gallery: an existing one, or one made here."""
    with tempfile.TemporaryDirectory() as folder:
        place = directory or Path(folder) / "index"
        if Index.exists(place):
            with Index.open(place, model) as index:
                yield index
            return
        for name in gallery:
            (Path(folder) / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / name, Path(folder) / "photos" / name)
        with Index.create(place, model) as index:
            index.add(Path(folder) / "photos", progress=True)
            yield index


class Gallery:
    """The photos of the ground truth by name, with what the index knows of them."""

    def __init__(self, index: Index, names: list[str]) -> None:
        rows = index.collection.catalogue("indexed")
        contents = {os.fsdecode(row.path): str(row.content_hash) for row in rows}
        missing = [name for name in names if name not in contents]
        if missing:
            sys.exit(f"{missing[0]} is not in the index ({len(missing)} are missing) → another --index")
        self._collection = index.collection
        self._contents = contents
        vectors = self._collection.vectors([contents[name] for name in names])
        self._index = ExactIndex([Descriptors(tuple(names), vectors)])

    def ranking(self, vector: np.ndarray) -> Shortlist:
        """All photos by similarity."""
        return self._index.search(Descriptors(("query",), vector[None]), len(self._index))[0]

    def features(self, name: str) -> LocalFeatures:
        """The local features of a photo."""
        return self._collection.local_features(self._contents[name])


def describe(index: Index, path: Path, corners: list[float] | None) -> tuple[np.ndarray, LocalFeatures]:
    """Descriptor and local features of a query as it stands, keypoints in pixels of the whole photo."""
    # The benchmark's boxes are x1, y1, x2, y2; ours are x, y, width, height.
    box = None if corners is None else (corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1])
    answer = index.searcher.pool.read(Request(os.fsencode(path.resolve()), box=box))
    found = answer.extraction("query")
    local = found.local
    if answer.box is not None:
        keypoints = local.keypoints + np.array(answer.box[:2], np.float32)
        local = LocalFeatures("query", answer.size, keypoints, local.descriptors, local.scores, local.scales)
    return found.descriptor, local


def without(ranking: Shortlist, names: set[str]) -> Shortlist:
    """A ranking without some photos."""
    kept = [i for i, name in enumerate(ranking.ids) if name not in names]
    return Shortlist(ranking.query_id, tuple(ranking.ids[i] for i in kept), ranking.similarities[kept])


def precision(ranked: list[str], right: set[str]) -> float:
    """Average precision of a ranking without junk."""
    places = np.array([place for place, name in enumerate(ranked) if name in right], np.int64)
    return score_places(places, np.empty(0, np.int64), len(right), REVISITED).ap


def evaluate(query: dict[str, Any], local: LocalFeatures, ranking: Shortlist, gallery: Gallery, modes: list[Mode]):
    """Verify what any setup of a query needs; average precision by mode and setup."""
    own = {query["query"]}
    setups = {}
    for name, setup in REVISITED.setups.items():
        right = {photo for key in setup.right for photo in query[key]} - own
        ignored = {photo for key in setup.ignored for photo in query[key]} | own
        if right:
            setups[name] = (right, without(ranking, ignored))
    wanted = dict.fromkeys(photo for _, shortlist in setups.values() for photo in shortlist.ids[:DEPTH])
    verified: dict[str, dict[str, Verification]] = {mode.name: {} for mode in modes}
    for photo in wanted:
        target = gallery.features(photo)
        for mode in modes:  # pair by pair, so that whatever else the machine does meets them alike
            verified[mode.name][photo] = mode.run(local, target)
    scores = {GLOBAL: {name: precision(list(shortlist.ids), right) for name, (right, shortlist) in setups.items()}}
    for mode in modes:
        scores[mode.name] = {}
        for name, (right, shortlist) in setups.items():
            window = {photo: verified[mode.name][photo] for photo in shortlist.ids[:DEPTH]}
            scores[mode.name][name] = precision([hit.id for hit in mode.order(shortlist, window)], right)
    return scores


def print_table(modes: list[Mode], counted: list[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Print a row for each mode; returns the rows."""
    setups = list(REVISITED.setups)
    official = next(mode for mode in modes if mode.is_official)
    slow = np.mean(official.seconds) if official.seconds else math.nan
    header = "".join(f"{'mAP ' + setup:>12}" for setup in setups)
    print(f"{'mode':<24}{'pairs':>8}{'pairs/s':>10}{'times':>8}{header}{'bytes/descriptor':>18}")
    rows = []
    for mode in [None, *modes]:
        name = mode.name if mode else GLOBAL
        row: dict[str, Any] = {"mode": name}
        row |= {s: 100 * mean_of([scores[name].get(s, math.nan) for scores in counted]) for s in setups}
        cells = f"{'':>26}"
        if mode:
            seconds = float(np.mean(mode.seconds)) if mode.seconds else math.nan
            row |= {"pairs": len(mode.seconds), "pairs_per_s": 1 / seconds, "times": slow / seconds}
            row["bytes"] = mode.descriptor_bytes
            cells = f"{row['pairs']:>8}{row['pairs_per_s']:>10.1f}{row['times']:>8.1f}"
        rows.append(row)
        print(f"{name:<24}{cells}" + "".join(f"{row[s]:>12.1f}" for s in setups) + f"{row.get('bytes', ''):>18}")
    return rows


def drawn(queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All queries, shuffled, in turn with and without a hard set: a few of them say something of every setup."""
    shuffled = [queries[i] for i in np.random.default_rng(0).permutation(len(queries))]
    kinds = [[q for q in shuffled if q["hard"]], [q for q in shuffled if not q["hard"]]]
    return [query for pair in zip_longest(*kinds) for query in pair if query is not None]


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with groundtruth.json")
    parser.add_argument("--model", default="delg_mobilenetv2")
    parser.add_argument("--index", type=Path, help="index of the gallery; made there if there is none")
    parser.add_argument("--queries", type=int, help="so many of them, see `drawn`; default all")
    parser.add_argument("--official-queries", type=int, help="of these so many by the official modes too; default all")
    parser.add_argument("--json", type=Path, help="write the numbers, per query too")
    return parser.parse_args()


def main() -> None:
    """Index the gallery, verify the candidates of the queries by every mode, print the table."""
    arguments = parsed()
    truth = json.loads((arguments.data / "groundtruth.json").read_text("utf-8"))
    queries = drawn(truth["queries"])[: arguments.queries]
    common = len(queries) if arguments.official_queries is None else min(arguments.official_queries, len(queries))
    cv2.setNumThreads(1)
    scores, num_features = [], []
    with opened(arguments.data, truth["gallery"], arguments.model, arguments.index) as index:
        spec = index.collection.spec
        if not spec.local_dim:
            sys.exit(f"{spec.model} has no local features: there is nothing to verify")
        calibration = Calibration.load(spec.model, spec.weights)
        options = calibration.verification if calibration else DEFAULTS
        modes = modes_of(options, spec.local_dim)
        gallery = Gallery(index, truth["gallery"])
        for number, query in enumerate(queries):
            vector, local = describe(index, arguments.data / query["query"], query["box"])
            num_features.append(len(local))
            active = [mode for mode in modes if number < common or not mode.is_official]
            with threadpool_limits(1):
                scores.append(evaluate(query, local, gallery.ranking(vector), gallery, active))
            print(f"{number + 1}/{len(queries)}", end="\r", file=sys.stderr)
    counted = scores[:common]
    rows = print_table(modes, counted)
    sizes = {setup: sum(setup in found[GLOBAL] for found in counted) for setup in REVISITED.setups}
    print(f"\n{spec.model}, {'calibrated' if calibration else 'default'} options of the fast modes: {options}")
    print(
        f"mAP over {common} queries ({', '.join(f'{setup} {count}' for setup, count in sizes.items())}), "
        f"pairs/s of the fast modes over {len(queries)}; queries have {np.median(num_features):.0f} features (median)"
    )
    print(
        "* OpenCV's RANSAC stands in for pydegensac. A keypoint with scale and score takes 16 bytes more in every mode."
    )
    if arguments.json:
        details = [{"query": q["query"], **found} for q, found in zip(queries, scores, strict=True)]
        about = {"model": spec.model, "weights": spec.weights, "common_queries": common, "rows": rows}
        arguments.json.write_text(json.dumps(about | {"queries": details}, indent=1))


if __name__ == "__main__":
    main()
