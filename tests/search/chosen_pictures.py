"""A collection of made-up pictures with labels, folders and times, and stores that keep it elsewhere than in a file."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from glocal.extract.batching import ModelSource
from glocal.search import Described, Query, Searcher
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, LocalForm, NewContent
from glocal.types import Extraction, LocalFeatures
from tests.store.small_collections import SPEC

DIM = 16
WIDE = replace(SPEC, dim=DIM)
FOLDERS = ("", "2019", "2019/Roma", "2019/Roma2", "2019/Roma/old", "2020")
LABELS = (None, "vase", "coin", "door")


@dataclass(frozen=True)
class File:
    """One line of the catalogue."""

    path: bytes
    seed: int
    mtime_ns: int
    label: str | None


def exact_rows(rng, count):
    """Descriptors whose products are exact in float32, whatever the order of their sums; many are equal."""
    return np.where(rng.random((count, DIM)) < 0.5, -0.25, 0.25).astype(np.float32)


def local_of(seed, keypoints=12):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(keypoints, 8)).astype(np.float32)
    return LocalFeatures(
        id=f"{seed:032x}",
        size=(100, 50),
        keypoints=rng.uniform(0, 50, (keypoints, 2)).astype(np.float32),
        descriptors=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        scores=np.linspace(1, 0.5, keypoints, dtype=np.float32),
        scales=np.ones(keypoints, np.float32),
    )


def make_files(count):
    """Files of `count` pictures, every fifth with a copy elsewhere; some are gone."""
    rng = np.random.default_rng(7)
    files = []
    for seed in range(count):
        for copy in range(2 if seed % 5 == 0 else 1):
            folder, label = FOLDERS[rng.integers(len(FOLDERS))], LABELS[rng.integers(len(LABELS))]
            name = f"{seed}-{copy}.jpg"
            path = f"{folder}/{name}" if folder else name
            files.append(File(path.encode(), seed, int(rng.integers(1000)), label))
    return files


def build(directory, files, labels=True, form=LocalForm.INT8):
    """A collection of some files; those that end in 9-0.jpg are gone."""
    rng = np.random.default_rng(3)
    seeds = sorted({file.seed for file in files})
    vectors = exact_rows(rng, len(seeds))
    contents = [
        NewContent(f"{seed:032x}", 1000 + seed, (100, 50), 1, Extraction(vector, local_of(seed)))
        for seed, vector in zip(seeds, vectors, strict=True)
    ]
    rows = [
        CatalogueRow(file.path, 1000 + file.seed, file.mtime_ns, "indexed", content_hash=f"{file.seed:032x}")
        for file in files
    ]
    with Collection.create(directory, WIDE, local_form=form) as collection:
        collection.commit(contents, [*rows, CatalogueRow(b"2019/torn.jpg", 10, 20, "rejected", "corrupt", "damaged")])
        collection.hide([file.path for file in files if is_gone(file)])
        if labels:
            collection.set_labels({file.path: file.label for file in files if file.label})
    return directory


def is_gone(file):
    return file.path.endswith(b"9-0.jpg")


def asked(seed=1, turns=1, keypoints=12):
    """A query that was never a photo."""
    vectors = exact_rows(np.random.default_rng(seed), turns)
    local = tuple(local_of(5000 + seed, keypoints) for _ in range(turns))
    return Described(Query(Path("q.jpg"), (100, 50), None, keypoints), None, "", vectors, local, 0.0, 0.0)


def searcher_of(collection):
    return Searcher(collection, model=ModelSource("rootsift"))


class Elsewhere:
    """A store that is no file, as far as a search can tell."""

    def __init__(self, collection):
        self.collection = collection
        self.num_read = 0

    def __getattr__(self, name):
        return getattr(self.collection, name)

    def vectors(self, content_hashes):
        self.num_read += len(content_hashes)
        return self.collection.vectors(content_hashes)


class Server(Elsewhere):
    """One that finds neighbours itself, and some of them are wrong."""

    def nearest(self, queries, k):
        raise AssertionError("a selection must not go by somebody's list of neighbours")
