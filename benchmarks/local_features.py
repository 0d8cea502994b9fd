"""Local features side by side: verified true pairs at equal bytes and at an eighth of them.

    python benchmarks/local_features.py ../shared/data/photos-dev [--model NAME ...]

The folder holds `groundtruth.json`. True pairs are every query and up to five of its easy and hard photos, unrelated
pairs a query and a photo of another source: groups of one source share desks, signs and streets. A pair counts as
verified if it has more inliers than all but 0.2 % of the unrelated pairs under the same features. Every model is
matched as `glocal search` does it with this model. A row "1 bit" keeps the signs of the descriptors alone: d / 8 bytes
each (DELG, section 5.3, "binarised").
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from photos import source_of

from glocal.data.image import decode
from glocal.extract.load import load
from glocal.extract.turning import extract_turned
from glocal.protocols import Extractor
from glocal.rerank.bands import Calibration
from glocal.rerank.geometric import DEFAULTS, VerificationOptions, verify_turns
from glocal.types import LocalFeatures

FALSE_SHARE = 0.002
PER_QUERY = 5
UNRELATED = 1500
Pair = tuple[str, str, str]  # source, query, other


def collection_of(query: dict[str, Any]) -> str:
    """Where a query's photos were taken."""
    return "oxford" if query["origin"] != "groups" else source_of(query)


def choose_pairs(truth: dict[str, list[dict[str, Any]]]) -> tuple[list[Pair], list[Pair]]:
    """True and unrelated pairs, seeded, spread over all queries."""
    rng = np.random.default_rng(0)
    queries, true, unrelated = truth["queries"], [], []
    for query in queries:
        related = rng.permutation(query["easy"] + query["hard"])[:PER_QUERY]
        true += [(source_of(query), str(query["query"]), str(name)) for name in related]
    while len(unrelated) < UNRELATED:
        one, two = (queries[i] for i in rng.integers(len(queries), size=2))
        if collection_of(one) != collection_of(two):
            unrelated.append((source_of(one), str(one["query"]), str(rng.choice(two["easy"] + two["hard"]))))
    return true, unrelated


def detect(extractor: Extractor, path: Path, is_query: bool) -> list[LocalFeatures]:
    """The features of a photo; those of a query in every way that its model turns it."""
    photo = decode(path.read_bytes(), path.name, extractor.spec.image_size)
    ways = extract_turned(extractor, photo) if is_query else [extractor.extract(photo)]
    return [way.local for way in ways]


def signs(features: LocalFeatures) -> LocalFeatures:
    """The same features with one bit per number; cosine = 1 - 2 * Hamming distance / d."""
    bits = np.where(features.descriptors > 0, 1.0, -1.0) / np.sqrt(features.descriptors.shape[1])
    return dataclasses.replace(features, descriptors=bits.astype(np.float32))


def compare(
    features: dict[str, list[LocalFeatures]], true: list[Pair], unrelated: list[Pair], options: VerificationOptions
) -> tuple[dict[str, tuple[int, int]], int]:
    """Verified and all true pairs by source, and the least number of inliers that counts."""

    def count(pair: Pair) -> int:
        return verify_turns(features[pair[1]], features[pair[2]][0], options).inliers

    with ThreadPoolExecutor(2) as threads:
        wrong = np.sort(list(threads.map(count, unrelated)))[::-1]
        right = np.array(list(threads.map(count, true)))
    least = int(wrong[int(FALSE_SHARE * len(unrelated))]) + 1
    sources = np.array([pair[0] for pair in true])
    table = {str(s): (int((right[sources == s] >= least).sum()), int((sources == s).sum())) for s in np.unique(sources)}
    return table | {"all": (int((right >= least).sum()), len(true))}, least


def main() -> None:
    """Extract, verify, print one line per kind of feature."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with groundtruth.json")
    parser.add_argument("--model", nargs="*", default=["rootsift", "delg_mobilenetv2"])
    options = parser.parse_args()
    true, unrelated = choose_pairs(json.loads((options.data / "groundtruth.json").read_text("utf-8")))
    names = sorted({name for pair in true + unrelated for name in pair[1:]})
    header = False
    for model in options.model:
        extractor = load(model)
        asked = {pair[1] for pair in true + unrelated}
        features = {name: detect(extractor, options.data / name, name in asked) for name in names}
        calibration = Calibration.load(extractor.spec.model, extractor.spec.weights)
        matching = DEFAULTS if calibration is None else calibration.verification
        kinds = {"8 bits": features, "1 bit": {name: list(map(signs, ways)) for name, ways in features.items()}}
        for kind, found in kinds.items():
            table, least = compare(found, true, unrelated, matching)
            if not header:
                print(f"{'features':<28}{'bytes':>7}{'least':>7}" + "".join(f"{source:>18}" for source in table))
                header = True
            size = extractor.spec.local_dim // (8 if kind == "1 bit" else 1)
            cells = "".join(f"{f'{good} of {count}':>18}" for good, count in table.values())
            print(f"{f'{extractor.spec.model}, {kind}':<28}{size:>7}{least:>7}{cells}", flush=True)


if __name__ == "__main__":
    main()
