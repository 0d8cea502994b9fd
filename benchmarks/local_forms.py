"""The forms of stored local descriptors side by side: bytes, reading, pairs per second, mAP of what they re-rank.

    python benchmarks/local_forms.py ../shared/data/photos-dev [--model NAME] [--queries N] [--large-gb 3] [--json FILE]

The folder holds `groundtruth.json` as for `photos.py`. Gallery and queries are described once, and the gallery is
stored in a collection of each form. For each query and setup the 100 most similar photos, junk taken out before, are
verified by every form in turn (one thread, CPU time without reading), ordered by one rule and scored; queries are
upright. "Top 100" is the wall time for reading and verifying the most similar ones on two threads, the query in every
way that its model turns it, "upright" that with the query as it is. Bytes and reading are those of a collection of up
to 100,000 photos, at most `--large-gb` of each form, that repeats the gallery: 100 random photos at a time, in the page
cache. Needs the extra `eval`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from reranking import DEPTH, drawn, precision, without
from threadpoolctl import threadpool_limits

from glocal.errors import ImageError
from glocal.evaluation.metrics import mean_of
from glocal.evaluation.protocol import REVISITED
from glocal.extract.batching import ModelSource
from glocal.extract.requests import Answer, Request
from glocal.index.exact import ExactIndex
from glocal.rerank.bands import Calibration
from glocal.rerank.binary import SignReranker, signs_of, verify_signs
from glocal.rerank.geometric import DEFAULTS, GeometricReranker, InlierReranker, VerificationOptions, verify_pair
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, LocalForm, NewContent
from glocal.types import Descriptors, ExtractorSpec, LocalFeatures, Shortlist, Verification

GLOBAL, FLOAT = "global only", "float32, not stored"
LARGE, BATCH, RUNS, TIMED_QUERIES = 100_000, 250, 30, 20


def describe(model: ModelSource, requests: Sequence[Request]) -> list[Answer]:
    """All photos, in the order in which they were asked for."""
    found: dict[int, Answer] = {}
    with model.pool(os.cpu_count() or 1) as pool:
        for request, answer in pool.run([dataclasses.replace(r, key=i) for i, r in enumerate(requests)]):
            if isinstance(answer, ImageError):
                sys.exit(f"{os.fsdecode(request.path)}: {answer}")
            found[request.key] = answer
            print(f"described {len(found)}/{len(requests)}   ", end="\r", file=sys.stderr)
    return [found[i] for i in range(len(requests))]


def request_of(data: Path, query: dict[str, Any], turn: int) -> Request:
    """A query; the benchmark's boxes are x1, y1, x2, y2, ours are x, y, width, height."""
    corners = query["box"]
    box = None if corners is None else (corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1])
    return Request(os.fsencode((data / query["query"]).resolve()), box=box, turn=turn)


def shifted(answer: Answer) -> LocalFeatures:
    """The features of a box in pixels of the whole photo."""
    local = answer.extraction("query").local
    if answer.box is None:
        return local
    return dataclasses.replace(
        local, size=answer.size, keypoints=local.keypoints + np.array(answer.box[:2], np.float32)
    )


def name_of(number: int) -> str:
    """A content hash."""
    return hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest()


def stored(place: Path, spec: ExtractorSpec, form: LocalForm, answers: Sequence[Answer], count: int) -> Collection:
    """A collection of `count` photos that repeats those described."""
    with Collection.create(place, spec, None, form) as collection:
        for start in range(0, count, BATCH):
            contents, rows = [], []
            for i in range(start, min(start + BATCH, count)):
                answer, name = answers[i % len(answers)], name_of(i)
                contents.append(NewContent(name, 1000 + i, answer.size, 1, answer.extraction(name)))
                rows.append(CatalogueRow(b"a folder/photo-%07d.jpg" % i, 1000 + i, 1, "indexed", content_hash=name))
            collection.commit(contents, rows)
            print(f"{form}: stored {start}/{count}   ", end="\r", file=sys.stderr)
    return Collection.open(place)


def read(collection: Collection, names: Sequence[str]) -> Sequence[Any]:
    """The features of some photos as `glocal search` reads them."""
    if collection.local_form == LocalForm.BINARY:
        return collection.sign_features_many(names)
    return collection.local_features_many(names)


@dataclasses.dataclass(slots=True)
class Mode:
    """A form, how its features are compared, and what that took so far."""

    name: str
    collection: Collection | None
    options: VerificationOptions
    seconds: list[float] = dataclasses.field(default_factory=list)

    def verify(self, query: LocalFeatures, names: Sequence[str], described: dict[str, Answer]) -> list[Verification]:
        """Verify pairs and note the CPU time of each."""
        if self.collection is None:
            targets: Sequence[Any] = [described[name].extraction(name).local for name in names]
        else:
            targets = read(self.collection, names)
        is_binary = self.name == LocalForm.BINARY
        compare: Any = verify_signs if is_binary else verify_pair
        asked: Any = signs_of(query) if is_binary else query
        found = []
        for target in targets:
            started = time.process_time()
            found.append(compare(asked, target, self.options))
            self.seconds.append(time.process_time() - started)
        return found


def evaluate(
    query: dict[str, Any], local: LocalFeatures, ranking: Shortlist, described: dict[str, Answer], modes: list[Mode]
) -> dict[str, dict[str, float]]:
    """Average precision by mode and setup."""
    own, setups = {query["query"]}, {}
    for name, setup in REVISITED.setups.items():
        right = {photo for key in setup.right for photo in query[key]} - own
        if right:
            ignored = {photo for key in setup.ignored for photo in query[key]} | own
            setups[name] = (right, without(ranking, ignored))
    wanted = list(dict.fromkeys(photo for _, shortlist in setups.values() for photo in shortlist.ids[:DEPTH]))
    hashes = {path: name_of(i) for i, path in enumerate(described)}
    by_hash = {hashes[path]: answer for path, answer in described.items()}
    scores = {GLOBAL: {name: precision(list(short.ids), right) for name, (right, short) in setups.items()}}
    for mode in modes:
        found = dict(zip(wanted, mode.verify(local, [hashes[path] for path in wanted], by_hash), strict=True))
        order = GeometricReranker({}.__getitem__, mode.options).order
        scores[mode.name] = {
            name: precision([hit.id for hit in order(short, {p: found[p] for p in short.ids[:DEPTH]})], right)
            for name, (right, short) in setups.items()
        }
    return scores


def reading_ms(collection: Collection, count: int) -> float:
    """Milliseconds for 100 random photos, median."""
    rng = np.random.default_rng(0)
    milliseconds = []
    for _ in range(RUNS):
        names = [name_of(int(i)) for i in rng.permutation(count)[:DEPTH]]
        started = time.perf_counter()
        read(collection, names)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return statistics.median(milliseconds)


def top_ms(
    collection: Collection, ways: list[LocalFeatures], names: Sequence[str], options: VerificationOptions
) -> float:
    """Milliseconds for reading and verifying a shortlist."""
    started = time.perf_counter()
    features: dict[str, Any] = dict(zip(names, read(collection, names), strict=True))
    reranker: InlierReranker = GeometricReranker(features.__getitem__, options)
    if collection.local_form == LocalForm.BINARY:
        reranker = SignReranker(features.__getitem__, options)
    reranker.verify(ways, names)
    return 1000 * (time.perf_counter() - started)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with groundtruth.json")
    parser.add_argument("--model", default="delg_mobilenetv2")
    parser.add_argument("--queries", type=int, help="so many of them, see `drawn` of reranking.py; default all")
    parser.add_argument("--large-gb", type=float, default=3.0, help="bytes of the large collection of each form")
    parser.add_argument("--json", type=Path, help="write the numbers")
    return parser.parse_args()


def main() -> None:
    """Describe, store in every form, verify, time, print the table."""
    arguments = parsed()
    truth = json.loads((arguments.data / "groundtruth.json").read_text("utf-8"))
    queries = drawn(truth["queries"])[: arguments.queries]
    model = ModelSource(arguments.model)
    spec = model.spec
    calibration = Calibration.load(spec.model, spec.weights)
    options = calibration.verification if calibration else DEFAULTS
    forms = [form for form in LocalForm if form != LocalForm.BINARY or model.is_network]
    cv2.setNumThreads(1)
    paths = [Request(os.fsencode((arguments.data / name).resolve())) for name in truth["gallery"]]
    described = dict(zip(truth["gallery"], describe(model, paths), strict=True))
    turns = model.query_turns
    asked = [request_of(arguments.data, query, 0) for query in queries]
    asked += [request_of(arguments.data, query, t) for query in queries[:TIMED_QUERIES] for t in range(1, turns)]
    answers = describe(model, asked)
    vectors = np.stack([answer.arrays["descriptor"] for answer in described.values()])
    index = ExactIndex([Descriptors(tuple(described), vectors)])
    rows: dict[str, dict[str, Any]] = {FLOAT: {}}
    with tempfile.TemporaryDirectory() as folder:
        gallery = list(described.values())
        kept = {form: stored(Path(folder) / form, spec, form, gallery, len(gallery)) for form in forms}
        modes = [Mode(FLOAT, None, options), *(Mode(str(form), kept[form], options) for form in forms)]
        scores = []
        for number, query in enumerate(queries):
            vector = answers[number].arrays["descriptor"]
            ranking = index.search(Descriptors(("query",), vector[None]), len(index))[0]
            with threadpool_limits(1):
                scores.append(evaluate(query, shifted(answers[number]), ranking, described, modes))
            print(f"queries {number + 1}/{len(queries)}   ", end="\r", file=sys.stderr)
        hashes = {path: name_of(i) for i, path in enumerate(described)}
        for form in forms:
            timed, once = [], []
            for number, query in enumerate(queries[:TIMED_QUERIES]):
                first = len(queries) + number * (turns - 1)
                ways = [shifted(answers[number]), *map(shifted, answers[first : first + turns - 1])]
                vector = answers[number].arrays["descriptor"]
                ranking = index.search(Descriptors(("query",), vector[None]), DEPTH + 1)[0]
                names = [hashes[path] for path in ranking.ids if path != query["query"]][:DEPTH]
                timed.append(top_ms(kept[form], ways, names, options))
                once.append(top_ms(kept[form], ways[:1], names, options))
            rows[form] = {"top_ms": statistics.median(timed), "upright_ms": statistics.median(once)}
            per_photo = kept[form].stored_bytes()["file"] / len(gallery)
            kept[form].close()
            count = min(LARGE, int(1e9 * arguments.large_gb / per_photo))
            with stored(Path(folder) / "large" / form, spec, form, gallery, count) as large:
                sizes = {name: size / count for name, size in large.stored_bytes().items()}
                rows[form] |= {"photos": count, "bytes": sizes, "read_ms": reading_ms(large, count)}
            (Path(folder) / "large" / form / "glocal.db").unlink()
    features = float(np.mean([len(answer.arrays["scores"]) for answer in described.values()]))
    print_table(rows, modes, scores, features)
    print(f"\n{spec.model}, {features:.0f} local features of {spec.local_dim} per photo; {options}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end")
    if arguments.json:
        arguments.json.write_text(json.dumps({"model": spec.model, "weights": spec.weights, "forms": rows}, indent=1))


def print_table(
    rows: dict[str, dict[str, Any]], modes: list[Mode], scores: list[dict[str, dict[str, float]]], features: float
) -> None:
    """Print a line for each form; adds what was verified to the rows."""
    setups = list(REVISITED.setups)
    print(
        f"{'form':<20}{'local B':>9}{'file B':>9}{'GB/million':>12}{'local GB':>10}{'read ms':>9}{'top 100 ms':>12}"
        f"{'upright ms':>12}{'pairs/s':>9}" + "".join(f"{'mAP ' + setup:>12}" for setup in setups)
    )
    timed = {mode.name: len(mode.seconds) / sum(mode.seconds) for mode in modes}
    for name in [GLOBAL, *rows]:
        row = rows.get(name, {})
        precisions = {s: 100 * mean_of([found[name].get(s, float("nan")) for found in scores]) for s in setups}
        row |= {"pairs_per_s": timed.get(name)} | precisions
        cells = " " * 73
        if "bytes" in row:
            local, file = row["bytes"]["local"], row["bytes"]["file"]
            cells = f"{local:>9,.0f}{file:>9,.0f}{file / 1000:>12.1f}{local / 1000:>10.1f}"
            cells += f"{row['read_ms']:>9.1f}{row['top_ms']:>12.0f}{row['upright_ms']:>12.0f}"
        pairs = f"{timed[name]:>9.0f}" if name in timed else " " * 9
        print(f"{name:<20}{cells}{pairs}" + "".join(f"{precisions[s]:>12.1f}" for s in setups))


if __name__ == "__main__":
    main()
