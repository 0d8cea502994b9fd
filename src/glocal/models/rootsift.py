"""The classical system: RootSIFT local features and a VLAD global descriptor.

    photo ─ SIFT ─┬─ oriented RootSIFT ─┬───────────────────────────▶ local features (N, 128)
                  │                     └─ PCA ─ VLAD (64 centres) ─┐
                  └─ upright RootSIFT ──── PCA ─ VLAD (64 centres) ─┴─ whitening ─▶ descriptor (256,)

Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004; Arandjelović and Zisserman,
CVPR 2012 and 2013; Jégou and Chum, ECCV 2012. The upright half assumes that gravity points down, which
most photos obey; the oriented half keeps the others findable. The codebook is learned by
`scripts/train_rootsift.py`; what it was learned from stands in `weights/rootsift.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from glocal.errors import WeightsError
from glocal.ops.coordinates import rescale
from glocal.ops.vlad import root_sift, vlad
from glocal.ops.whitening import whiten
from glocal.types import Descriptors, Extraction, ExtractorSpec, LocalFeatures, Photo

NAME = "rootsift"
IMAGE_SIZE = 1024
MAX_FEATURES = 1000
CONTRAST_THRESHOLD = 0.02
"""Half of OpenCV's default, so that dim and hazy photos get enough keypoints; the best 1000 are kept anyway."""
VLAD_POWER = 0.5
FRAMES = ("oriented", "upright")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """64 visual words of one kind of RootSIFT.

    Attributes:
        mean: (128,) float32.
        axes: (128, d) float32, orthonormal columns.
        centres: (K, d) float32.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    centres: NDArray[np.float32]

    def aggregate(self, descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 128) RootSIFT -> (K * d,) VLAD of unit norm; zeros if N is 0."""
        return vlad(np.asarray((descriptors - self.mean) @ self.axes, np.float32), self.centres, VLAD_POWER)


@dataclass(frozen=True, slots=True)
class Codebook:
    """What is learned.

    Attributes:
        vocabularies: one per frame of `FRAMES`.
        mean: (V,) float32, V = the lengths of both VLADs together.
        projection: (V, D) float32.
    """

    vocabularies: tuple[Vocabulary, ...]
    mean: NDArray[np.float32]
    projection: NDArray[np.float32]

    @classmethod
    def from_bytes(cls, data: bytes) -> Codebook:
        """Read safetensors; the projection is stored as 4-bit levels with one step per column.

        Raises:
            WeightsError: the data is damaged or of another model.
        """
        try:
            tensors = load(data)
            vocabularies = tuple(
                Vocabulary(*(tensors[f"{frame}_{part}"] for part in ("mean", "axes", "centres"))) for frame in FRAMES
            )
            projection = unpack_nibbles(tensors["projection_nibbles"]) * tensors["projection_steps"]
            book = cls(vocabularies, tensors["mean"], projection)
        except (SafetensorError, KeyError, ValueError) as error:
            raise WeightsError(f"rootsift.safetensors is damaged ({error}) → reinstall glocal") from error
        if len(book.projection) != sum(vocabulary.centres.size for vocabulary in vocabularies):
            raise WeightsError("rootsift.safetensors does not fit together → reinstall glocal")
        return book

    def describe(self, oriented: NDArray[np.float32], upright: NDArray[np.float32]) -> NDArray[np.float32]:
        """Two times (N, 128) RootSIFT -> (D,) unit norm. Without features: the image of the zero vector."""
        whitened = whiten(self.aggregate(oriented, upright)[None], self.mean, self.projection)
        return np.ascontiguousarray(whitened[0])

    def aggregate(self, oriented: NDArray[np.float32], upright: NDArray[np.float32]) -> NDArray[np.float32]:
        """Two times (N, 128) RootSIFT -> (V,) both VLADs."""
        pairs = zip(self.vocabularies, (oriented, upright), strict=True)
        return np.concatenate([vocabulary.aggregate(descriptors) for vocabulary, descriptors in pairs])


def unpack_nibbles(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(V, D / 2) uint8 -> (V, D) float32 levels -8 to 7; the low half of a byte is the even column."""
    levels = np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1)
    return np.asarray(levels, np.float32) - np.float32(8)


def pack_nibbles(levels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The inverse of `unpack_nibbles`: (V, D) int -> (V, D / 2) uint8."""
    shifted = (levels + 8).astype(np.uint8)
    return np.ascontiguousarray(shifted[:, 0::2] | (shifted[:, 1::2] << 4), np.uint8)


def weights_bytes() -> bytes:
    """The shipped weights file."""
    return files("glocal.models").joinpath("weights/rootsift.safetensors").read_bytes()


@dataclass(frozen=True, slots=True)
class SiftFeatures:
    """The strongest SIFT features of a picture, strongest first.

    Attributes:
        table: (N, 4) float32 of x, y, diameter, response, in pixels of the given picture.
        oriented: (N, 128) float32 SIFT in the frame of the dominant gradient.
        upright: (N, 128) float32 SIFT in the frame of the picture.
    """

    table: NDArray[np.float32]
    oriented: NDArray[np.float32]
    upright: NDArray[np.float32]


def sift(pixels: NDArray[np.uint8]) -> SiftFeatures:
    """SIFT of a picture (H, W, 3) uint8 RGB: at most `MAX_FEATURES`, perhaps none."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    detector = cv2.SIFT.create(nfeatures=MAX_FEATURES, contrastThreshold=CONTRAST_THRESHOLD)
    keypoints, oriented = detector.detectAndCompute(grey, None)
    if not keypoints:
        return SiftFeatures(np.empty((0, 4), np.float32), *(np.empty((0, 128), np.float32) for _ in FRAMES))
    table = np.array([(*point.pt, point.size, point.response) for point in keypoints], np.float32)
    for point in keypoints:
        point.angle = 0.0
    _, upright = detector.compute(grey, keypoints)
    # OpenCV keeps all that tie with the last one, and its order is not ours: response, then position.
    order = np.lexsort((table[:, 1], table[:, 0], -table[:, 3]))[:MAX_FEATURES]
    return SiftFeatures(table[order], oriented[order].astype(np.float32), upright[order].astype(np.float32))


class RootSift:
    """`Extractor` of the classical system."""

    def __init__(self, weights: bytes | None = None) -> None:
        data = weights_bytes() if weights is None else weights
        self._digest = hashlib.sha256(data).hexdigest()
        self._codebook = Codebook.from_bytes(data)

    @cached_property
    def spec(self) -> ExtractorSpec:
        """What makes these descriptors comparable with others."""
        return ExtractorSpec(
            model=NAME,
            weights=self._digest,
            image_size=IMAGE_SIZE,
            resize="area",
            exif="apply",
            colour="grey",
            scales=(1.0,),
            whitening="pca, variance^-0.25",
            metric="inner product",
            dim=self._codebook.projection.shape[1],
            local_dim=128,
            max_features=MAX_FEATURES,
        )

    def extract(self, photo: Photo) -> Extraction:
        """Both kinds of features in one pass."""
        features = sift(photo.pixels)
        descriptor = self._codebook.describe(root_sift(features.oriented), root_sift(features.upright))
        return Extraction(descriptor, _local_features(photo, features))

    def describe(self, photos: Sequence[Photo]) -> Descriptors:
        """One unit-norm descriptor per photo, order kept."""
        vectors = [self.extract(photo).descriptor for photo in photos]
        return Descriptors(tuple(photo.id for photo in photos), np.stack(vectors))

    def detect(self, photo: Photo) -> LocalFeatures:
        """RootSIFT features, keypoints in pixels of the upright original."""
        return _local_features(photo, sift(photo.pixels))


def _local_features(photo: Photo, features: SiftFeatures) -> LocalFeatures:
    height, width = photo.pixels.shape[:2]
    return LocalFeatures(
        id=photo.id,
        size=photo.size,
        keypoints=rescale(features.table[:, :2], (width, height), photo.size),
        descriptors=root_sift(features.oriented),
        scores=features.table[:, 3].copy(),
        scales=features.table[:, 2] * np.float32(photo.size[0] / width),
    )
