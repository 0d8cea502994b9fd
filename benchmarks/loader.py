"""How many photos per second reading, decoding and augmentation give, and how long a step waits for them.

    python benchmarks/loader.py ../shared/data/photos-train [--size 224] [--threads 1 2] [--step-ms 0 150 400]

A step of a network is stood in for by a pause of `--step-ms`, as on a GPU, where the processor is free meanwhile. The
share of time that the step waits is what `glocal train` prints and logs as "waiting".
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from glocal.data.augment import augment
from glocal.data.labelled import LabelledPhotos, open_photos
from glocal.data.loader import BatchLoader
from glocal.types import Pixels

AUGMENTATIONS = {
    "DOLG's": {"area": (0.08, 1.0), "flip": 0.5, "lighting": 0.1},
    "Token's": {"area": (0.2, 1.0), "flip": 0.5, "jitter": (0.4, 0.4, 0.2, 0.1)},
    "scenes": {"area": (0.25, 1.0), "jitter": (0.3, 0.3, 0.3, 0.03), "scene": 1.0},
}


def measure(photos: LabelledPhotos, name: str, size: int, batch: int, threads: int, step_s: float, count: int) -> str:
    """One line of the table."""
    settings = AUGMENTATIONS[name]

    def transform(pixels: Pixels, rng: np.random.Generator) -> Pixels:
        return augment(pixels, size, rng, **settings)  # type: ignore[arg-type]

    loader = BatchLoader(photos, batch, size, transform, seed=0, workers=threads)
    waited, seen, started = 0.0, -1, time.perf_counter()
    for found in loader.batches(0):
        seen += 1
        if not seen:  # the first batch fills the queue
            started = time.perf_counter()
            continue
        waited += found.wait_s
        time.sleep(step_s)
        if seen == count:
            break
    took = time.perf_counter() - started
    rate = f"{seen * batch / took:>12.0f}{waited / took:>14.0%}"
    return f"{name:<10}{threads:>9}{1000 * step_s:>14.0f}{rate}"


def main() -> None:
    """Measure every combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of shards")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=30)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--step-ms", type=float, nargs="*", default=[0, 150, 400])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    photos = open_photos("webdataset", str(options.photos), unlabelled=True)
    print(f"{'views':<10}{'threads':>9}{'ms per step':>14}{'photos/s':>12}{'waiting':>14}")
    for name in AUGMENTATIONS:
        for threads in options.threads:
            for step in options.step_ms:
                shape = options.size, options.batch, threads, step / 1000, options.batches
                print(measure(photos, name, *shape), flush=True)


if __name__ == "__main__":
    main()
