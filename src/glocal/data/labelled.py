"""Photos with labels, of whichever source, as one table: what training reads (NumPy)."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.data.image import LIMITS, DecodeLimits, read_file
from glocal.data.lists import Row, csv_rows, folder_rows, gldv2_file, gldv2_rows, list_rows, shard_rows, shards_of
from glocal.data.shards import read_member
from glocal.errors import ConfigError, ShapeError

MAX_PHOTOS = 20_000_000
_LEAST_HELD_BACK = 2  # with one class everything is right, whatever the network


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPhotos:
    """N photos of K classes; none is opened before it is read.

    Attributes:
        sources: N file paths, or "shard.tar:offset:size:key" for members of tar shards.
        labels: (N,) int64, 0 to K - 1.
        names: of the K classes.
        root: the folder that `digest` leaves out of the sources.
        packed: whether the sources are members of shards.
    """

    sources: tuple[str, ...]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    root: str = ""
    packed: bool = False

    def __post_init__(self) -> None:
        if self.labels.shape != (len(self.sources),) or self.labels.dtype != np.int64:
            found = f"{self.labels.dtype} {self.labels.shape}"
            raise ShapeError(f"labels must be int64 ({len(self.sources)},), as many as sources, not {found}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.names):
            raise ShapeError(f"labels must lie in 0 to {len(self.names) - 1}, one for each name")

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.names)

    def read(self, i: int, limits: DecodeLimits = LIMITS) -> bytes:
        """The bytes of a photo.

        Raises:
            ImageError: there is no such file any more, or it is too large; see `code`.
        """
        if not self.packed:
            return read_file(self.sources[i], limits).data
        shard, offset, size, _ = self.sources[i].rsplit(":", 3)
        return read_member(shard, int(offset), int(size), limits)

    def subset(self, mask: NDArray[np.bool_]) -> LabelledPhotos:
        """The photos where a (N,) mask is true; classes without any are gone, the others keep name and order.

        Raises:
            ShapeError: the mask is not bool (N,).
        """
        if mask.shape != self.labels.shape or mask.dtype != np.bool_:
            raise ShapeError(f"mask must be bool ({len(self)},), not {mask.dtype} {mask.shape}")
        kept, labels = np.unique(self.labels[mask], return_inverse=True)
        sources = tuple(itertools.compress(self.sources, mask.tolist()))
        names = tuple(self.names[label] for label in kept.tolist())
        return LabelledPhotos(sources, labels.astype(np.int64).reshape(-1), names, self.root, self.packed)

    def digest(self) -> str:
        """SHA-256 of the sources, relative to the root, and the labels: the same wherever the folder lies."""
        digest = hashlib.sha256(f"{len(self)}\0".encode())
        prefix = self.root.rstrip("/") + "/"
        for source in self.sources:
            digest.update(os.fsencode(source.removeprefix(prefix)) + b"\0")
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


def open_photos(
    source: str,
    path: str,
    root: str = "",
    label: str = "group",
    clean: bool = True,
    unlabelled: bool = False,
    allow: Callable[[Mapping[str, Any]], bool] | None = None,
) -> LabelledPhotos:
    """List the photos of a source; classes are in the order of their labels, as numbers where all are numbers.

    Args:
        source: "folder" (one per object), "csv" (columns path and label), "list" ("path label" per line), "gldv2"
            (its own layout) or "webdataset" (tar shards of key.jpg and key.json).
        path: the folder, file or shards: a folder of *.tar, a pattern or one file.
        root: csv, list, gldv2: where relative paths begin, and what no path may leave; empty for the place of the list
            (gldv2: the folder).
        label: webdataset: the field of key.json that names the class.
        clean: gldv2: train_clean.csv instead of train.csv.
        unlabelled: photos without a label become classes of their own, after the others, instead of being left out.
        allow: whether to take a photo, by key.json (webdataset), the line (csv), or {"path", "label"}.

    Raises:
        ConfigError: a list is missing or malformed (with its line), or a shard is no tar, or the source is unknown.
    """
    if not path:
        raise ConfigError("No photos are named. → data.path=FOLDER")
    packed = source == "webdataset"
    if source == "folder":
        root = os.path.abspath(path)
        rows = folder_rows(Path(path))
    elif source == "gldv2":
        place = gldv2_file(Path(path), clean)
        root = _root(root or (path if os.path.isdir(path) else str(place.parent)))
        rows = gldv2_rows(place, root)
    elif source in ("csv", "list"):
        root = _root(root or str(Path(path).absolute().parent))
        rows = (csv_rows if source == "csv" else list_rows)(Path(path), root)
    elif packed:
        shards = shards_of(path)
        root = os.path.commonpath([os.path.dirname(shard) for shard in shards])
        rows = itertools.chain.from_iterable(shard_rows(shard, label) for shard in shards)
    else:
        raise ConfigError(f'data.source is folder, csv, list, gldv2 or webdataset, not "{source}"')
    return _table(rows, path, root, packed, unlabelled, allow)


def split_classes(photos: LabelledPhotos, held_back: float, seed: int) -> tuple[LabelledPhotos, LabelledPhotos]:
    """Training and held-back photos: whole classes, drawn among those with two photos or more.

    Args:
        photos: all.
        held_back: share of the classes with two photos or more, 0 to less than 1; at least two classes unless it is 0,
            and none where nothing would be left to train on.
        seed: which classes; the same number gives the same ones.

    Raises:
        ConfigError: held_back or seed is out of range.
    """
    if not 0 <= held_back < 1 or seed < 0:
        raise ConfigError(f"data.held_back must lie in [0, 1) and seeds be 0 or more, not {held_back} and {seed}")
    eligible = np.flatnonzero(np.bincount(photos.labels, minlength=photos.num_classes) >= 2)
    count = max(_LEAST_HELD_BACK, round(held_back * len(eligible))) if held_back else 0
    if count > len(eligible) or count >= photos.num_classes:
        count = 0
    drawn = np.random.default_rng([seed, len(eligible)]).permutation(eligible)[:count]
    mask = np.isin(photos.labels, drawn)
    return photos.subset(~mask), photos.subset(mask)


def _root(path: str) -> str:
    root = os.path.abspath(path)
    if not os.path.isdir(root):
        raise ConfigError(f"No such folder: {path} → data.root")
    return root


def _table(
    rows: Iterator[Row],
    path: str,
    root: str,
    packed: bool,
    unlabelled: bool,
    allow: Callable[[Mapping[str, Any]], bool] | None,
) -> LabelledPhotos:
    """Number the labels; photos without one come last."""
    with_label: list[tuple[str, str]] = []
    without: list[str] = []
    for row in rows:
        if allow is not None and not allow(row.about):
            continue
        if row.label is not None:
            with_label.append((row.source, row.label))
        elif unlabelled:
            without.append(row.source)
        if len(with_label) + len(without) > MAX_PHOTOS:
            raise ConfigError(f"{path}: more than {MAX_PHOTOS:,} photos")
    names = {label for _, label in with_label}
    are_numbers = all(name.isascii() and name.isdecimal() for name in names)
    # "7" and "07" are two labels that are the same number: the text decides between them.
    order = sorted(names, key=lambda name: (int(name), name)) if are_numbers else sorted(names)
    number_of = {name: number for number, name in enumerate(order)}
    labels = [number_of[label] for _, label in with_label] + list(range(len(order), len(order) + len(without)))
    return LabelledPhotos(
        (*(source for source, _ in with_label), *without),
        np.asarray(labels, np.int64),
        (*order, *(source.removeprefix(root.rstrip("/") + "/") for source in without)),
        root,
        packed,
    )
