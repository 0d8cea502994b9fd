"""Collections of made-up descriptors, without local features and without photos."""

import hashlib

import numpy as np

from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, NewContent
from glocal.types import Extraction, ExtractorSpec, LocalFeatures

DIM = 32


def spec_of(dim=DIM):
    return ExtractorSpec(
        model="made-up",
        weights="0" * 64,
        image_size=64,
        resize="area",
        exif="apply",
        colour="rgb",
        scales=(1.0,),
        whitening="none",
        metric="inner product",
        dim=dim,
        local_dim=0,
        max_features=0,
    )


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clustered(seed, count, dim=DIM, num_clusters=200, spread=0.7):
    """Unit vectors around some centres, and a fifth of them anywhere."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((num_clusters, dim))
    rows = centres[rng.integers(0, num_clusters, count)] + spread * rng.standard_normal((count, dim))
    alone = rng.random(count) < 0.2
    rows[alone] = rng.standard_normal((alone.sum(), dim))
    return unit(rows)


def name_of(number):
    """A content hash; as with real ones, their order is not that of the numbers."""
    return hashlib.blake2b(b"%d" % number, digest_size=16).hexdigest()


def path_of(number):
    return b"%06d.jpg" % number


def put(collection, numbers, vectors):
    """Commit descriptors as pictures `numbers`."""
    none = np.empty(0, np.float32)
    points, rows = np.empty((0, 2), np.float32), np.empty((0, 0), np.float32)
    known = [number for number in numbers if collection.knows(name_of(number))]
    contents = [
        NewContent(
            name_of(n),
            1000 + n,
            (100, 50),
            1,
            Extraction(vector, LocalFeatures(name_of(n), (100, 50), points, rows, none, none)),
        )
        for n, vector in zip(numbers, vectors, strict=True)
        if n not in known
    ]
    listed = [CatalogueRow(path_of(n), 1000 + n, 1, "indexed", content_hash=name_of(n)) for n in numbers]
    collection.commit(contents, listed)


def make(directory, vectors):
    """A collection of pictures 0, 1, ..."""
    with Collection.create(directory, spec_of(vectors.shape[1])) as collection:
        put(collection, range(len(vectors)), vectors)
