"""Learn the visual words of a model's local descriptors (ASMK) and write them for the package.

    python scripts/learn_codebook.py delg_mobilenetv2 ../shared/data/photos-train \
        src/glocal/models/weights/delg_mobilenetv2.asmk.safetensors [--words 4096] [--also glocal_mobilenetv2]

Reads webdataset shards (`*.tar` with `key.jpg` and `key.json`) in place: photos under open licences alone (tier A,
kinds "instance" and "none"), the same that the shipped networks learned from. A random part of every photo's local
features, mini-batch k-means (Sculley, WWW 2010, with whole passes and means at the end of each), int8 levels. Seeded,
without labels: the same photos give the same words, up to the rounding of sums. Under ten minutes on two cores.

With `--also` the file holds for another model too, if it gives the same local features on `PROBES` of the photos.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from train_rootsift import photos_of

from glocal.data.image import decode
from glocal.extract.load import load
from glocal.ops.asmk import nearest_words
from glocal.rerank.asmk import Codebook
from glocal.types import LocalFeatures

ONLY = {"tier": {"A"}, "kind": {"instance", "none"}}
"""As in the recipes of the shipped networks."""
BATCH = 1 << 15
LEVELS = 127  # int8, symmetric
PROBES = 8


def describe(model: Any, photos: list[bytes]) -> Iterator[LocalFeatures]:
    """Local features of pictures, each as large as the model would see a camera's photo of the same thing."""

    def one(item: tuple[int, bytes]) -> LocalFeatures:
        photo = decode(item[1], f"{item[0]:05}", model.spec.image_size)
        zoom = model.spec.image_size / max(photo.size)
        found: LocalFeatures = model.detect(
            dataclasses.replace(photo, pixels=cv2.resize(photo.pixels, None, fx=zoom, fy=zoom))
        )
        return found

    threads = getattr(model, "num_threads", 1)
    with ThreadPoolExecutor(threads, initializer=getattr(model, "enter_thread", None)) as pool:
        yield from pool.map(one, enumerate(photos))


def k_means(
    sample: NDArray[np.float32], num_words: int, passes: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Mini-batch k-means: within a pass words move with the batches, after it they are the means of their members.

    Args:
        sample: (N, d) float32, in random order; N at least `num_words`.
        num_words: K.
        passes: over the whole sample.
        rng: picks the first words, and new ones in place of those without members.

    Returns:
        Words (K, d) float32, and the mean squared distance of the sample to its words in the last pass.
    """
    words = sample[rng.choice(len(sample), num_words, replace=False)].copy()
    error = float("nan")
    for number in range(passes):
        start = time.perf_counter()
        sums = np.zeros((num_words, sample.shape[1]))
        counts = np.zeros(num_words, np.int64)
        error = 0.0
        for first in range(0, len(sample), BATCH):
            batch = sample[first : first + BATCH]
            nearest = nearest_words(batch, words)[:, 0]
            error += float(np.square(batch - words[nearest], dtype=np.float64).sum())
            order = np.argsort(nearest, kind="stable")
            used, starts = np.unique(nearest[order], return_index=True)
            sums[used] += np.add.reduceat(batch[order], starts, axis=0)
            counts[used] += np.diff(starts, append=len(order))
            words[used] = sums[used] / counts[used, None]
        error /= len(sample)
        empty = counts == 0
        words[empty] = sample[rng.choice(len(sample), int(empty.sum()), replace=False)]
        spent = time.perf_counter() - start
        print(f"pass {number + 1}: squared distance {error:.4f}, {int(empty.sum())} empty, {spent:.0f} s", flush=True)
    return words, error


def main() -> None:
    """Describe, cluster, write, read again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="catalogue name, with weights here")
    parser.add_argument("photos", type=Path, help="folder of .tar shards")
    parser.add_argument("out", type=Path, help="NAME.asmk.safetensors")
    parser.add_argument("--words", type=int, default=4096)
    parser.add_argument("--per-photo", type=int, default=300, help="local features taken of each")
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--also", action="append", default=[], help="a model with the same local features")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    model = load(options.model)
    chosen = [
        (data, about)
        for data, about in photos_of(sorted(options.photos.glob("*.tar")))
        if all(about.get(field) in values for field, values in ONLY.items())
    ]
    photos = [data for data, _ in chosen]
    print(f"{len(photos)} photos")
    weights = {options.model: model.spec.weights}
    for name in options.also:
        other = load(name)
        for mine, theirs in zip(describe(model, photos[:PROBES]), describe(other, photos[:PROBES]), strict=True):
            if not np.array_equal(mine.descriptors, theirs.descriptors):
                raise SystemExit(f"{name} has other local features than {options.model}: it needs its own words")
        weights[name] = other.spec.weights
    parts = []
    for number, found in enumerate(describe(model, photos)):
        taken = np.sort(rng.choice(len(found), min(len(found), options.per_photo), replace=False))
        parts.append(found.descriptors[taken])
        if number % 500 == 0:
            print(f"{number} photos described", flush=True)
    sample = rng.permutation(np.concatenate(parts))
    del parts
    print(f"{len(sample)} local descriptors", flush=True)
    words, error = k_means(sample, options.words, options.passes, rng)
    step = np.array([np.abs(words).max() / LEVELS], np.float32)
    levels = np.ascontiguousarray(np.rint(words / step).astype(np.int8))
    sources = Counter(about["source_repo"] for _, about in chosen)
    card = {
        "model": options.model,
        "weights": json.dumps(weights, sort_keys=True),
        "licence": "Apache-2.0; learned from photos under open licences alone",
        "words": str(options.words),
        "num_photos": str(len(photos)),
        "num_descriptors": str(len(sample)),
        "squared_distance": f"{error:.5f}",
        "trained_on": json.dumps(dict(sorted(sources.items()))),
    }
    data = save({"levels": levels, "step": step}, metadata=card)
    codebook = Codebook.from_bytes(data, options.out.name)
    if np.abs(codebook.words - words).max() > 0.51 * step[0]:
        raise SystemExit("what is read back is not what was written")
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
