"""Learn the codebook of the classical model and write it into the package.

    python scripts/train_rootsift.py ../shared/data/photos-train

Reads webdataset shards (`*.tar` with `key.jpg` and `key.json`) in place. Everything is learned without
labels: PCA of RootSIFT, 64 centres by k-means, PCA whitening of the two VLADs together. Seeded: the same
photos give the same file. About five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from glocal.data.image import decode
from glocal.models.rootsift import FRAMES, IMAGE_SIZE, VLAD_POWER, Vocabulary, pack_nibbles, sift
from glocal.ops.vlad import root_sift
from glocal.ops.whitening import fit_whitening

WEIGHTS = Path(__file__).parents[1] / "src/glocal/models/weights"
NUM_CENTRES = 64
LOCAL_DIM = 48
DIM = 256
WHITENING_POWER = 0.25
"""Full whitening (0.5) amplifies the noise of components that a few thousand photos cannot estimate."""
NUM_SAMPLES = 300_000
STEP_PER_DEVIATION = 0.335
"""Step of a 4-bit uniform quantiser with least error on normal data, in standard deviations."""

Features = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def photos_of(shards: list[Path]) -> Iterator[tuple[bytes, dict[str, str]]]:
    """The pictures of webdataset shards with their JSON."""
    for shard in shards:
        with tarfile.open(shard) as archive:
            about = {}
            pixels = {}
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                key, _, suffix = member.name.rpartition(".")
                (about if suffix == "json" else pixels)[key] = file.read()
            for key in sorted(pixels):
                yield pixels[key], json.loads(about[key])


def features_of(data: bytes) -> Features:
    """Oriented and upright SIFT of one picture; OpenCV's values are whole numbers up to 255."""
    cv2.setNumThreads(1)
    features = sift(decode(data, "photo", IMAGE_SIZE).pixels)
    return features.oriented.astype(np.uint8), features.upright.astype(np.uint8)


def learn_vocabulary(photos: list[NDArray[np.uint8]], rng: np.random.Generator) -> Vocabulary:
    """PCA and k-means of a sample of one kind of descriptors."""
    everything = np.concatenate(photos)
    chosen = np.sort(rng.choice(len(everything), min(NUM_SAMPLES, len(everything)), replace=False))
    sample = root_sift(everything[chosen].astype(np.float32))
    mean, axes = fit_whitening(sample, LOCAL_DIM, power=0.0)
    projected = np.ascontiguousarray((sample - mean) @ axes)
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 30, 0)
    _, _, centres = cv2.kmeans(projected, NUM_CENTRES, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    return Vocabulary(mean, axes, centres)


def main() -> None:
    """Learn and write `rootsift.safetensors`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of .tar shards")
    parser.add_argument("--out", type=Path, default=WEIGHTS / "rootsift.safetensors")
    options = parser.parse_args()
    shards = sorted(options.photos.glob("*.tar"))
    photos, about = zip(*photos_of(shards), strict=True)
    print(f"{len(photos)} photos of {len(shards)} shards")
    with ProcessPoolExecutor() as workers:
        features = list(workers.map(features_of, photos, chunksize=16))
    rng = np.random.default_rng(0)
    tensors: dict[str, NDArray[np.generic]] = {}
    aggregated = []
    for position, frame in enumerate(FRAMES):
        descriptors = [both[position] for both in features]
        vocabulary = learn_vocabulary(descriptors, rng)
        aggregated.append(np.stack([vocabulary.aggregate(root_sift(each.astype(np.float32))) for each in descriptors]))
        for part in ("mean", "axes", "centres"):
            tensors[f"{frame}_{part}"] = np.ascontiguousarray(getattr(vocabulary, part))
    mean, projection = fit_whitening(np.concatenate(aggregated, axis=1), DIM, WHITENING_POWER)
    steps = (projection.std(axis=0) * STEP_PER_DEVIATION).astype(np.float32)
    levels = np.clip(np.rint(projection / steps), -8, 7).astype(np.int64)
    tensors |= {"mean": mean, "projection_nibbles": pack_nibbles(levels), "projection_steps": steps}
    # safetensors writes the memory as it lies: an array in Fortran order would come back scrambled.
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    sources = Counter(each["source_repo"] for each in about)
    card = {
        "model": "rootsift",
        "licence": "Apache-2.0",
        "num_photos": str(len(photos)),
        "num_descriptors": str(sum(len(both[0]) for both in features)),
        "trained_on": json.dumps(dict(sorted(sources.items()))),
        "vlad_power": str(VLAD_POWER),
        "whitening_power": str(WHITENING_POWER),
    }
    data = save(tensors, metadata=card)
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
