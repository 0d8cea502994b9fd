"""Fit the probability of "the same object" and the bands' thresholds, and write them into the package.

    python scripts/fit_bands.py ../shared/data/photos-train

Every photo of a labelled instance group of the training collection (at most `QUERIES_PER_GROUP` of each) is
searched among all training photos; its 100 best candidates are verified exactly as `glocal search` does it.
A candidate of the same group is right, any other is unrelated. A logistic model of the number of inliers is
fitted on those pairs; the thresholds are the lowest that keep the number of unrelated hits per query within
`WRONG_PER_QUERY`. The global similarity is left out on purpose: it would learn to tell the sources apart.

In `SHARING_SOURCES` the photos of different groups do show the same things, so there only photos of other
sources count as unrelated.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from train_rootsift import WEIGHTS, photos_of

from glocal.data.image import decode
from glocal.index.exact import ExactIndex
from glocal.models.catalogue import DEFAULT_MODEL, create_model
from glocal.rerank.bands import Calibration
from glocal.rerank.geometric import GeometricReranker
from glocal.types import Descriptors, Extraction, LocalFeatures

QUERIES_PER_GROUP = 4
WRONG_PER_QUERY = {"same": 0.002, "possibly": 0.02}
"""Unrelated hits per query in band *same*, and above the threshold of *possibly*."""
SHARING_SOURCES = {
    "marcusklasson/GroceryStoreDataset",  # one design for several flavours; the shelf behind holds the others
    "kdatsenko/scalable-vocabulary-tree-image-recognition",  # DVDs beside the same keyboard and book
    "KOE-Wayfind/koe-datasets",  # one sign for several doors
}

_STATE: dict[str, object] = {}


def extract(item: tuple[str, bytes]) -> Extraction:
    """Features of one picture."""
    cv2.setNumThreads(1)
    if "model" not in _STATE:
        _STATE["model"] = create_model(_STATE.get("name", DEFAULT_MODEL))
    model = _STATE["model"]
    return model.extract(decode(item[1], item[0], model.spec.image_size))  # type: ignore[attr-defined]


def fit_logistic(inputs: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Maximum likelihood by Newton's method: (N, d), (N,) -> (d,) weights."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(50):
        probability = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (right - probability)
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs
        step = np.linalg.solve(curvature + 1e-6 * np.eye(len(weights)), slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def least_inliers(inliers: NDArray[np.int64], right: NDArray[np.bool_], allowed: int) -> int:
    """The lowest number of inliers that at most `allowed` unrelated pairs reach."""
    wrong = np.sort(inliers[~right])[::-1]
    return int(wrong[allowed]) + 1 if allowed < len(wrong) else 1


def main() -> None:
    """Search, verify, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of .tar shards")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args()
    _STATE["name"] = options.model
    items, groups, sources = [], [], []
    for number, (data, about) in enumerate(photos_of(sorted(options.photos.glob("*.tar")))):
        items.append((f"{number:05}", data))
        groups.append((about["group"], about["kind"]))
        sources.append(about["source_repo"])
    with ProcessPoolExecutor() as workers:
        extractions = list(workers.map(extract, items, chunksize=16))
    names = [name for name, _ in items]
    local: dict[str, LocalFeatures] = {name: e.local for name, e in zip(names, extractions, strict=True)}
    group_of = {name: group for name, (group, _) in zip(names, groups, strict=True)}
    source_of = dict(zip(names, sources, strict=True))
    index = ExactIndex([Descriptors(tuple(names), np.stack([e.descriptor for e in extractions]))])
    reranker = GeometricReranker(local.__getitem__)
    queries = choose_queries(names, groups)
    right, found = [], []
    for done, position in enumerate(queries):
        name = names[position]
        descriptor = Descriptors((name,), extractions[position].descriptor[None])
        shortlist = index.search(descriptor, 101)[0]
        keep = [i for i, other in enumerate(shortlist.ids) if other != name][:100]
        shortlist = dataclasses.replace(
            shortlist, ids=tuple(shortlist.ids[i] for i in keep), similarities=shortlist.similarities[keep]
        )
        for hit in reranker.rerank(local[name], shortlist):
            same_group = group_of[hit.id] == group_of[name]
            if not same_group and source_of[hit.id] == source_of[name] and source_of[name] in SHARING_SOURCES:
                continue
            if hit.verification is not None and hit.verification.inliers:
                found.append(hit.verification.inliers)
                right.append(same_group)
        if done % 50 == 0:
            print(f"{done}/{len(queries)} queries", flush=True)
    write(options.model, np.array(right), np.array(found), len(queries), len(items))


def choose_queries(names: list[str], groups: list[tuple[str | None, str]]) -> list[int]:
    """A few photos of every labelled instance group, seeded."""
    members: dict[str, list[int]] = {}
    for position, (group, kind) in enumerate(groups):
        if group is not None and kind == "instance":
            members.setdefault(group, []).append(position)
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(members[group])[:QUERIES_PER_GROUP] for group in sorted(members)]
    return [int(position) for some in chosen for position in some]


def write(
    model: str,
    right: NDArray[np.bool_],
    inliers: NDArray[np.int64],
    num_queries: int,
    num_photos: int,
) -> None:
    """Fit and write `MODEL.bands.json`."""
    inputs = np.stack([np.ones(len(inliers)), np.log1p(inliers)], axis=1)
    intercept, slope = (float(value) for value in fit_logistic(inputs, right))
    limits = {band: least_inliers(inliers, right, int(rate * num_queries)) for band, rate in WRONG_PER_QUERY.items()}
    # Half an inlier below, so that the band starts exactly at that number.
    thresholds = {band: 1 / (1 + np.exp(-intercept - slope * np.log(limit + 0.5))) for band, limit in limits.items()}
    calibration = Calibration(intercept, slope, **thresholds)
    measured = {
        band: {
            "least_inliers": limit,
            "right_above": int((right & (inliers >= limit)).sum()),
            "unrelated_above": int((~right & (inliers >= limit)).sum()),
            "share_of_right_found": round(float((right & (inliers >= limit)).sum() / right.sum()), 4),
        }
        for band, limit in limits.items()
    }
    table = {
        "calibration": {name: round(float(value), 8) for name, value in dataclasses.asdict(calibration).items()},
        "fitted_on": f"{num_queries} queries of labelled groups among {num_photos} training photos, their 100 best "
        f"candidates verified; {int(right.sum())} right, {int((~right).sum())} unrelated pairs with a plausible model",
        "wrong_per_query": WRONG_PER_QUERY,
        "measured_on_the_same_pairs": measured,
    }
    file = WEIGHTS / f"{model}.bands.json"
    file.write_text(json.dumps(table, indent=2) + "\n", "utf-8")
    print(file.read_text("utf-8"))


if __name__ == "__main__":
    main()
