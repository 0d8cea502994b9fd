"""Small collections with made-up features, and how to look at all that is in one."""

import numpy as np

from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, LocalForm, NewContent
from glocal.types import Extraction, ExtractorSpec, LocalFeatures

SPEC = ExtractorSpec(
    model="fake",
    weights="0" * 64,
    image_size=64,
    resize="area",
    exif="apply",
    colour="rgb",
    scales=(1.0,),
    whitening="none",
    metric="inner product",
    dim=8,
    local_dim=8,
    max_features=20,
)


def unit_rows(rng, count, length):
    rows = rng.normal(size=(count, length)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def picture(seed, keypoints=6):
    """The features of picture number `seed`."""
    rng = np.random.default_rng(seed)
    name = f"{seed:032x}"
    local = LocalFeatures(
        id=name,
        size=(100, 50),
        keypoints=rng.uniform(0, 50, (keypoints, 2)).astype(np.float32),
        descriptors=unit_rows(rng, keypoints, 8),
        scores=np.sort(rng.random(keypoints).astype(np.float32))[::-1].copy(),
        scales=rng.uniform(1, 2, keypoints).astype(np.float32),
    )
    return NewContent(name, 1000 + seed, (100, 50), 1, Extraction(unit_rows(rng, 1, 8)[0], local))


def found(path, seed, mtime_ns=20):
    return CatalogueRow(path, 1000 + seed, mtime_ns, "indexed", content_hash=f"{seed:032x}")


def refused(path):
    return CatalogueRow(path, 10, 20, "rejected", "corrupt", "damaged")


def make(directory, rows, root=None, labels=None, spec=SPEC, form=LocalForm.INT8, finished=False):
    """A collection with a row for each (path, seed), or (path, None) for a file that was refused."""
    with Collection.create(directory, spec, local_form=form) as collection:
        seeds = sorted({seed for _, seed in rows if seed is not None})
        catalogue = [refused(path) if seed is None else found(path, seed) for path, seed in rows]
        collection.commit([picture(seed) for seed in seeds], catalogue)
        if root is not None:
            root.mkdir(parents=True, exist_ok=True)
            collection.root = root
        if labels == "folder":
            collection.labels = labels
        elif labels is not None:
            collection.set_labels(labels)
        if finished:
            run = collection.start_run()
            collection.finish_run(run, collection.last_run()[1])
    return directory


def content_of(directory):
    """Everything that a search could see: names, labels, and each picture's features as arrays of bytes."""
    with Collection.open(directory) as collection:
        rows = {row.path: (row.status, row.size, row.mtime_ns, row.content_hash) for row in collection.catalogue()}
        labels = {path: collection.label(path.decode()) for path in rows}
        hashes = sorted({row[3] for row in rows.values() if row[3]})
        features = {}
        for name in hashes:
            local = collection.local_features(name)
            arrays = (local.keypoints, local.descriptors, local.scores, local.scales)
            features[name] = (collection.vectors([name]).tobytes(), local.size, *(each.tobytes() for each in arrays))
    return rows, labels, features


def bytes_of(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
