"""Geometric verification against the official style, side by side on real pairs.

    python benchmarks/verification.py ../shared/data/photos-dev [--pairs 60]

The official re-rankers match with a k-d tree under a distance bound and fit an affine model with
scikit-image's RANSAC (1000 trials, 20 px); here both public libraries do exactly that. Ours is
`glocal.rerank.geometric.verify_pair`. Both get the same RootSIFT features on one thread, in turn, pair by pair.

True pairs are a query and one of its easy or hard photos; unrelated pairs are a query and a photo of another
group. The recall of a method is the share of true pairs with more inliers than any unrelated pair has.
Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import ransac
from skimage.transform import AffineTransform
from threadpoolctl import threadpool_limits

from glocal.data.image import decode
from glocal.models.rootsift import RootSift
from glocal.rerank.geometric import verify_pair
from glocal.types import LocalFeatures

TRIALS = 1000
RESIDUAL_PX = 20.0
DISTANCE_BOUND = 0.9

Pair = tuple[str, str]


def official_style(query: LocalFeatures, target: LocalFeatures) -> int:
    """Inliers by k-d tree with distance bound and affine RANSAC."""
    tree = cKDTree(target.descriptors)
    _, nearest = tree.query(query.descriptors, distance_upper_bound=DISTANCE_BOUND)
    matched = np.flatnonzero(nearest < len(target))
    if len(matched) < 4:
        return 0
    source, goal = query.keypoints[matched], target.keypoints[nearest[matched]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, inliers = ransac(
            (source, goal), AffineTransform, min_samples=3, residual_threshold=RESIDUAL_PX, max_trials=TRIALS, rng=0
        )
    return 0 if inliers is None else int(inliers.sum())


def ours(query: LocalFeatures, target: LocalFeatures) -> int:
    """Inliers by `verify_pair`."""
    return verify_pair(query, target).inliers


METHODS: dict[str, Callable[[LocalFeatures, LocalFeatures], int]] = {"official style": official_style, "glocal": ours}


def choose_pairs(truth: dict[str, list[dict[str, list[str]]]], count: int) -> tuple[list[Pair], list[Pair]]:
    """True and unrelated pairs, seeded, spread over all queries."""
    rng = np.random.default_rng(0)
    true, unrelated = [], []
    queries = truth["queries"]
    for position in rng.permutation(len(queries))[:count]:
        query = queries[position]
        related = query["easy"] + query["hard"]
        true.append((str(query["query"]), str(rng.choice(related))))
        other = queries[int(rng.choice([i for i, q in enumerate(queries) if q["group"] != query["group"]]))]
        unrelated.append((str(query["query"]), str(rng.choice(other["easy"] + other["hard"]))))
    return true, unrelated


def main() -> None:
    """Verify all pairs with both methods and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with groundtruth.json")
    parser.add_argument("--pairs", type=int, default=60, help="true pairs, and as many unrelated ones")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    model = RootSift()
    features: dict[str, LocalFeatures] = {}
    true, unrelated = choose_pairs(json.loads((options.data / "groundtruth.json").read_text("utf-8")), options.pairs)
    for name in {name for pair in true + unrelated for name in pair}:
        features[name] = model.detect(decode((options.data / name).read_bytes(), name, model.spec.image_size))
    inliers: dict[str, list[int]] = {name: [] for name in METHODS}
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    with threadpool_limits(1):
        for query, target in true + unrelated:
            for name, method in METHODS.items():
                started = time.process_time()
                inliers[name].append(method(features[query], features[target]))
                seconds[name].append(time.process_time() - started)
    print(f"{len(true)} true and {len(unrelated)} unrelated pairs, one thread, CPU time")
    print(f"{'':<16}{'pairs/s':>10}{'recall':>10}{'most inliers of an unrelated pair':>36}{'median of true pairs':>24}")
    rates = {}
    for name in METHODS:
        counts: NDArray[np.int64] = np.array(inliers[name])
        right, wrong = counts[: len(true)], counts[len(true) :]
        rates[name] = len(counts) / sum(seconds[name])
        recall = float((right > wrong.max()).mean())
        print(f"{name:<16}{rates[name]:>10.1f}{recall:>10.1%}{wrong.max():>36}{np.median(right):>24.0f}")
    print(f"ratio of pairs/s: {rates['glocal'] / rates['official style']:.0f}")


if __name__ == "__main__":
    main()
