"""Fit the probability of "the same object" and the bands' thresholds, and write them into the package.

    python scripts/fit_bands.py ../shared/data/photos-train [--model NAME --max-ratio 0.95 --tolerance 0.035] [--signs]

Every photo of a labelled instance group of the training collection (at most four of each) is
searched among all training photos; its 100 best candidates are verified as `glocal search` does it, without
query expansion. A candidate of the same group is right, any other is unrelated. A logistic model of the number
of inliers is fitted on those pairs, as if every query had one right candidate among the hundred; the thresholds
are the lowest that keep the number of unrelated hits per query within `WRONG_PER_QUERY`. The global similarity
is left out on purpose: it would learn to tell the sources apart.

A calibration holds for the form of local descriptors in which pairs were verified: `--signs` fits that of binary
indexes, `MODEL.signs.bands.json`. Without it their hits are ordered, and not judged.

In `SHARING_SOURCES` the photos of different groups do show the same things, so there only photos of other
sources count as unrelated.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from train_rootsift import WEIGHTS, photos_of

from glocal.data.image import decode
from glocal.extract.load import load
from glocal.extract.turning import extract_turned
from glocal.index.exact import ExactIndex, best_of
from glocal.models.catalogue import find_model
from glocal.rerank.binary import SignReranker, signs_of
from glocal.rerank.geometric import DEFAULTS, GeometricReranker, InlierReranker, VerificationOptions
from glocal.search import TURN_PENALTY
from glocal.types import Descriptors, Extraction

WRONG_PER_QUERY = {"same": 0.002, "possibly": 0.02}
"""Unrelated hits per query in band *same*, and above the threshold of *possibly*."""
DEPTH = 100
"""Candidates of a query that are verified."""
CHANCE = 0.002
"""Of the verified unrelated pairs; with so few inliers, and fewer, the order of the shortlist stays."""
SHARING_SOURCES = {
    "marcusklasson/GroceryStoreDataset",  # one design for several flavours; the shelf behind holds the others
    "kdatsenko/scalable-vocabulary-tree-image-recognition",  # DVDs beside the same keyboard and book
    "KOE-Wayfind/koe-datasets",  # one sign for several doors
    "JSebastianIEU/ie-tower-visual-place-recognition",  # floors of one tower built alike; one food court in two groups
    "google/dreambooth",  # toys photographed on the same boards
}

_STATE: dict[str, object] = {}


def extract(item: tuple[str, bytes, bool]) -> list[Extraction]:
    """Features of one picture, a query's in every way that it is turned.

    A network sees it as large as it would see a camera's photo of the same thing.
    """
    cv2.setNumThreads(1)
    if "model" not in _STATE:
        _STATE["model"] = load(str(_STATE["name"]))
    model = _STATE["model"]
    photo = decode(item[1], item[0], model.spec.image_size)  # type: ignore[attr-defined]
    if find_model(str(_STATE["name"])).is_network:
        zoom = model.spec.image_size / max(photo.size)  # type: ignore[attr-defined]
        photo = dataclasses.replace(photo, pixels=cv2.resize(photo.pixels, None, fx=zoom, fy=zoom))
    return extract_turned(model, photo) if item[2] else [model.extract(photo)]  # type: ignore


def fit_logistic(
    inputs: NDArray[np.float64], right: NDArray[np.bool_], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Maximum likelihood by Newton's method: (N, d), (N,), how often each counts (N,) -> (d,) weights."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(50):
        probability = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (counts * (right - probability))
        curvature = (inputs * (counts * probability * (1 - probability))[:, None]).T @ inputs
        step = np.linalg.solve(curvature + 1e-6 * np.eye(len(weights)), slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def least_inliers(inliers: NDArray[np.int64], right: NDArray[np.bool_], allowed: int) -> int:
    """The lowest number of inliers that at most `allowed` unrelated pairs reach."""
    wrong = np.sort(inliers[~right])[::-1]
    return int(wrong[allowed]) + 1 if allowed < len(wrong) else 1


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and one verified candidate: names in the shards, sources, same group or not, inliers, similarity."""

    query: str
    candidate: str
    query_source: str
    candidate_source: str
    same_group: bool
    inliers: int
    similarity: float


def extract_all(items: list[tuple[str, bytes, bool]], model: str) -> Iterator[list[Extraction]]:
    """Features of all pictures, order kept: a network uses all cores for one, `rootsift` a process each."""
    _STATE["name"] = model
    if find_model(model).is_network:
        yield from map(extract, items)
        return
    with ProcessPoolExecutor() as workers:
        yield from workers.map(extract, items, chunksize=16)


def verify_pairs(
    photos: Path, model: str, verification: VerificationOptions, per_group: int, signs: bool
) -> list[Pair]:
    """Search a few photos of every labelled group among all, and verify the 100 best candidates of each."""
    photo_bytes: dict[str, bytes] = {}
    about: dict[str, dict[str, str]] = {}
    for number, (data, description) in enumerate(photos_of(sorted(photos.glob("*.tar")))):
        name = f"{number:05} {description['source_path']}"
        photo_bytes[name] = data
        about[name] = description
    queries = choose_queries(about, per_group)
    items = [(name, data, name in queries) for name, data in photo_bytes.items()]
    extractions = dict(zip(about, extract_all(items, model), strict=True))
    index = ExactIndex([Descriptors(tuple(about), np.stack([e[0].descriptor for e in extractions.values()]))])
    reranker: InlierReranker = GeometricReranker(lambda name: extractions[name][0].local, verification)
    if signs:
        packed = {name: signs_of(ways[0].local) for name, ways in extractions.items()}
        reranker = SignReranker(packed.__getitem__, verification)
    pairs = []
    for done, name in enumerate(queries):
        ways = extractions[name]
        asked = Descriptors(tuple(f"{i}" for i in range(len(ways))), np.stack([way.descriptor for way in ways]))
        shortlist = best_of(index.search(asked, DEPTH + 1), DEPTH + 1, TURN_PENALTY)
        keep = [i for i, other in enumerate(shortlist.ids) if other != name][:DEPTH]
        shortlist = dataclasses.replace(
            shortlist, ids=tuple(shortlist.ids[i] for i in keep), similarities=shortlist.similarities[keep]
        )
        for hit in reranker.rerank([way.local for way in ways], shortlist):
            assert hit.verification is not None
            mine, other = about[name], about[hit.id]
            sources = mine["source_repo"], other["source_repo"]
            same = mine["group"] == other["group"]
            pairs.append(Pair(name, hit.id, *sources, same, hit.verification.inliers, hit.similarity))
        if done % 50 == 0:
            print(f"{done}/{len(queries)} queries", flush=True)
    return pairs


def main() -> None:
    """Verify pairs, or read them from a file; fit; write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of .tar shards")
    parser.add_argument("--model", default="rootsift")
    parser.add_argument("--max-ratio", type=float, default=DEFAULTS.max_ratio)
    parser.add_argument("--tolerance", type=float, default=DEFAULTS.tolerance)
    parser.add_argument("--per-group", type=int, default=4, help="photos of every group that are searched")
    parser.add_argument("--signs", action="store_true", help="verify by the signs of local descriptors alone")
    parser.add_argument("--pairs", type=Path, help="keep the verified pairs in this file, or use those that it holds")
    options = parser.parse_args()
    verification = VerificationOptions(options.max_ratio, options.tolerance)
    if options.pairs and options.pairs.exists():
        pairs = [Pair(*row) for row in json.loads(options.pairs.read_text("utf-8"))]
    else:
        pairs = verify_pairs(options.photos, options.model, verification, options.per_group, options.signs)
        if options.pairs:
            options.pairs.write_text(json.dumps([dataclasses.astuple(pair) for pair in pairs]), "utf-8")
    kept = [pair for pair in pairs if pair.same_group or not shares(pair)]
    write(options.model, kept, verification, options.signs)


def shares(pair: Pair) -> bool:
    """Whether both photos are of one source whose groups show the same things."""
    return pair.query_source == pair.candidate_source and pair.query_source in SHARING_SOURCES


def choose_queries(about: dict[str, dict[str, str]], per_group: int) -> list[str]:
    """A few photos of every labelled instance group, seeded."""
    members: dict[str, list[str]] = {}
    for name, description in about.items():
        if description["group"] is not None and description["kind"] == "instance":
            members.setdefault(description["group"], []).append(name)
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(members[group])[:per_group].tolist() for group in sorted(members)]
    return [name for some in chosen for name in some]


def inlier_weight(pairs: list[Pair], least: int) -> float:
    """What log(1 + inliers) is worth beside the similarity, among pairs with fewer inliers than `least`.

    Learned within the sources, whose photos look alike whether they show the same thing or not: between sources the
    similarity alone would tell the pairs apart.
    """
    inside = [pair for pair in pairs if pair.query_source == pair.candidate_source and pair.inliers < least]
    right = np.array([pair.same_group for pair in inside])
    if len(inside) < 100 or right.all() or not right.any():
        return 0.0
    inputs = np.array([[1.0, np.log1p(pair.inliers), pair.similarity] for pair in inside])
    _, by_inliers, by_similarity = fit_logistic(inputs, right, np.ones(len(inside)))
    print(
        f"{len(inside)} pairs within sources below {least} inliers, {right.sum()} right: {by_inliers=} {by_similarity=}"
    )
    return float(max(0.0, by_inliers) / by_similarity) if by_similarity > 0 else 0.0


def write(model: str, all_pairs: list[Pair], verification: VerificationOptions, signs: bool) -> None:
    """Fit and write `MODEL.bands.json`, or that of signs; print the strongest unrelated pairs, for eyes."""
    pairs = [pair for pair in all_pairs if pair.inliers]
    right = np.array([pair.same_group for pair in pairs])
    inliers = np.array([pair.inliers for pair in pairs])
    num_queries = len({pair.query for pair in pairs})
    inputs = np.stack([np.ones(len(inliers)), np.log1p(inliers)], axis=1)
    # The labelled groups are large, a query of a user has perhaps one right candidate: so many do they count.
    counts = np.where(right, num_queries / right.sum(), 1.0)
    intercept, slope = (float(value) for value in fit_logistic(inputs, right, counts))
    limits = {band: least_inliers(inliers, right, int(rate * num_queries)) for band, rate in WRONG_PER_QUERY.items()}
    # Half an inlier below, so that the band starts exactly at that number.
    thresholds = {band: 1 / (1 + np.exp(-intercept - slope * np.log(limit + 0.5))) for band, limit in limits.items()}
    calibration = {"intercept": intercept, "log_inliers": slope} | thresholds
    least = least_inliers(inliers, right, int(CHANCE * DEPTH * num_queries))
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
        "calibration": {name: round(float(value), 8) for name, value in calibration.items()},
        "weights": load(model).spec.weights,
        "verification": {
            "max_ratio": verification.max_ratio,
            "tolerance": verification.tolerance,
            "least": least,
            "inlier_weight": round(inlier_weight(all_pairs, least), 5),
        },
        "fitted_on": f"{num_queries} photos of labelled groups searched in the training collection, their 100 best "
        f"candidates verified{' by signs alone' if signs else ''}; {int(right.sum())} right, {int((~right).sum())} "
        "unrelated pairs with a plausible model",
        "wrong_per_query": WRONG_PER_QUERY,
        "measured_on_the_same_pairs": measured,
    }
    file = WEIGHTS / f"{model}{'.signs' if signs else ''}.bands.json"
    file.write_text(json.dumps(table, indent=2) + "\n", "utf-8")
    print(file.read_text("utf-8"))
    for pair in sorted((pair for pair in pairs if not pair.same_group), key=lambda pair: -pair.inliers)[:20]:
        print(f"unrelated, {pair.inliers} inliers: {pair.query}  {pair.candidate}")


if __name__ == "__main__":
    main()
