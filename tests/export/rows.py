"""Collections of random descriptors, without a photo behind them."""

import hashlib

import numpy as np

from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, NewContent
from glocal.types import Extraction, LocalFeatures


def collection_of(directory, spec, names, sizes=(), seed=0):
    """A collection that holds a picture for each name (bytes), of size 40 x 30 or as given; open for reading."""
    rng = np.random.default_rng(seed)
    collection = Collection.create(directory, spec)
    collection.root = directory.parent / "photos"
    contents, files = [], []
    for number, name in enumerate(names):
        size = sizes[number] if sizes else (40, 30)
        vector = rng.normal(size=spec.dim).astype(np.float32)
        points = rng.uniform(0, 29, (spec.max_features and 5, 2)).astype(np.float32)
        rows = rng.normal(size=(len(points), spec.local_dim)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        values = np.ones(len(points), np.float32)
        local = LocalFeatures("", size, points, rows, values, values)
        content = hashlib.blake2b(name, digest_size=16).hexdigest()
        contents.append(NewContent(content, 1000, size, 1, Extraction(vector / np.linalg.norm(vector), local)))
        files.append(CatalogueRow(name, 1000, 0, "indexed", content_hash=content))
    collection.commit(contents, files)
    collection.close()
    return Collection.open(directory)
