"""Opening a large collection and getting the first answer, as a process started from the shell.

    python benchmarks/opening.py [--photos 100000] [--features 1000] [--place DIR]

Builds a collection of made-up pictures through the store's own `commit` (about 15 GB for the defaults), then
times `glocal --help`, `glocal info` and `glocal search` as whole processes. The files are in the page cache,
as after any recent use; the machine's load is printed with the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from glocal.data.scenes import render
from glocal.models.rootsift import RootSift
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, NewContent
from glocal.types import Extraction, LocalFeatures

BATCH = 256


def unit_rows(rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """Random unit vectors, float32."""
    rows = rng.normal(size=(count, length)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def made_up_features(rng: np.random.Generator, count: int, length: int) -> LocalFeatures:
    """Local features of no picture."""
    scores = np.sort(rng.random(count).astype(np.float32))[::-1].copy()
    keypoints = (rng.random((count, 2)) * (1024, 768)).astype(np.float32)
    descriptors = np.abs(unit_rows(rng, count, length))
    return LocalFeatures("made-up", (1024, 768), keypoints, descriptors, scores, np.ones(count, np.float32))


def build(place: Path, photos: int, features: int) -> None:
    """Fill a collection."""
    spec = RootSift().spec
    rng = np.random.default_rng(0)
    pool = [made_up_features(rng, features, spec.local_dim) for _ in range(64)]
    with Collection.create(place, spec) as collection:
        for start in range(0, photos, BATCH):
            vectors = unit_rows(rng, BATCH, spec.dim)
            names = [
                hashlib.blake2b(b"%d" % i, digest_size=16).hexdigest() for i in range(start, min(start + BATCH, photos))
            ]
            contents = [
                NewContent(name, 1000 + start + i, (1024, 768), 1, Extraction(vectors[i], pool[i % len(pool)]))
                for i, name in enumerate(names)
            ]
            rows = [
                CatalogueRow(b"%06d.jpg" % (start + i), 1000 + start + i, 1, "indexed", content_hash=name)
                for i, name in enumerate(names)
            ]
            collection.commit(contents, rows)
            if start % (BATCH * 40) == 0:
                print(f"built {start}/{photos}", flush=True)


def timed(*words: str, runs: int = 5) -> list[float]:
    """Wall seconds of whole processes, sorted."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "glocal", *words], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)


def main() -> None:
    """Build, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=1000)
    parser.add_argument("--place", help="keep the collection here, and use it again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(options.place or temporary) / "index"
        if not Collection.exists(place):
            build(place, options.photos, options.features)
        query = Path(temporary) / "query.jpg"
        Image.fromarray(render("bakery", 0).pixels).save(query, quality=90)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for words in (["--help"], ["info", str(place)], ["search", str(query), "--index", str(place)]):
            seconds = timed(*words)
            shown = " ".join(word for word in words if "/" not in word)
            print(f"glocal {shown:<20} min {min(seconds):.2f} s, median {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()
