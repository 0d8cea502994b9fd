"""The vocabulary of glocal: every noun that passes between two stages, with shapes and dtypes.

Coordinates are (x, y) in pixels of the upright original photo, x to the right, y down; (0, 0) is the
centre of the top-left pixel. Homographies map query to gallery. Similarity is the inner product of
unit vectors: higher is better.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ShapeError, SpecMismatch

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the upright photo."""

UNIT_NORM_TOLERANCE = 1e-3


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ShapeError(message)


def _unit_rows(rows: NDArray[np.float32]) -> bool:
    if not len(rows):
        return True
    norms = np.linalg.norm(rows, axis=1)
    return bool(np.isfinite(norms).all() and (np.abs(norms - 1) < UNIT_NORM_TOLERANCE).all())


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo, EXIF orientation applied.

    Attributes:
        id: relative POSIX path, or any other unique name.
        pixels: (h, w, 3) uint8, RGB; may be a reduced version of the original.
        size: (W, H) of the upright original in pixels.
    """

    id: str
    pixels: Pixels
    size: tuple[int, int]

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        _expect(
            len(shape) == 3 and shape[2] == 3 and self.pixels.dtype == np.uint8,
            f"photo '{self.id}' must be uint8 (H, W, 3), found {self.pixels.dtype} {shape}",
        )


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Global descriptors of N photos.

    Attributes:
        ids: N unique names.
        vectors: (N, D) float32, rows of unit L2 norm.
    """

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        _expect(
            self.vectors.ndim == 2 and self.vectors.dtype == np.float32,
            f"descriptors must be float32 (N, D), found {self.vectors.dtype} {self.vectors.shape}",
        )
        _expect(len(self.ids) == len(self.vectors), f"{len(self.ids)} ids for {len(self.vectors)} descriptors")
        _expect(len(set(self.ids)) == len(self.ids), "descriptor ids are not unique")
        _expect(_unit_rows(self.vectors), "every descriptor must be finite and of unit norm")


@dataclass(frozen=True, slots=True)
class LocalFeatures:
    """Local features of one photo, best first.

    Attributes:
        id: name of the photo.
        size: (W, H) of the upright photo in pixels.
        keypoints: (N, 2) float32, (x, y) in pixels of the upright photo.
        descriptors: (N, d) float32, rows of unit L2 norm.
        scores: (N,) float32, descending.
        scales: (N,) float32, diameter of the described region in pixels of the upright photo.
    """

    id: str
    size: tuple[int, int]
    keypoints: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    scores: NDArray[np.float32]
    scales: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        _expect(self.keypoints.shape == (count, 2), f"keypoints must be (N, 2), found {self.keypoints.shape}")
        _expect(
            self.descriptors.ndim == 2 and len(self.descriptors) == count == len(self.scores) == len(self.scales),
            f"'{self.id}': {count} keypoints, {len(self.descriptors)} descriptors, "
            f"{len(self.scores)} scores, {len(self.scales)} scales",
        )
        _expect(_unit_rows(self.descriptors), f"'{self.id}': every local descriptor must be of unit norm")
        _expect(bool((np.diff(self.scores) <= 0).all()), f"'{self.id}': scores must be descending")

    def __len__(self) -> int:
        return len(self.keypoints)


@dataclass(frozen=True, slots=True)
class Shortlist:
    """The K candidates of one query, by similarity.

    Attributes:
        query_id: name of the query.
        ids: K names, best first; equal similarities are ordered by id.
        similarities: (K,) float32, descending.
    """

    query_id: str
    ids: tuple[str, ...]
    similarities: NDArray[np.float32]

    def __post_init__(self) -> None:
        _expect(len(self.ids) == len(self.similarities), f"{len(self.ids)} ids, {len(self.similarities)} similarities")
        _expect(bool((np.diff(self.similarities) <= 0).all()), "similarities must be descending")


@dataclass(frozen=True, slots=True)
class Verification:
    """Geometric agreement of a query with one candidate.

    Attributes:
        inliers: number of matches that agree with the homography.
        homography: (3, 3) float64, query -> candidate; None if no model was found.
        matches: (M, 2) int64, keypoint indices (query, candidate).
        mask: (M,) bool, the inliers among the matches.
        query_overlap: share of the query's area covered by the inliers' convex hull, 0 to 1.
        target_overlap: the same share of the candidate's area.
        query_quad: (4, 2) float64, the matched rectangle in the query; None without a model.
        target_quad: (4, 2) float64, the same rectangle mapped into the candidate; None without a model.
        turn: quarter turns counter-clockwise by which the query was turned when it was described for this.
    """

    inliers: int
    homography: NDArray[np.float64] | None
    matches: NDArray[np.int64]
    mask: NDArray[np.bool_]
    query_overlap: float = 0.0
    target_overlap: float = 0.0
    query_quad: NDArray[np.float64] | None = None
    target_quad: NDArray[np.float64] | None = None
    turn: int = 0

    def __post_init__(self) -> None:
        _expect(int(self.mask.sum()) == self.inliers, f"{self.inliers} inliers, but {int(self.mask.sum())} in the mask")
        _expect(self.matches.shape == (len(self.mask), 2), f"matches {self.matches.shape}, mask {self.mask.shape}")


@dataclass(frozen=True, slots=True)
class Hit:
    """One candidate after re-ranking.

    Attributes:
        id: name of the candidate.
        rank: position, from 1.
        similarity: inner product of the global descriptors.
        verification: None where the candidate was not verified.
    """

    id: str
    rank: int
    similarity: float
    verification: Verification | None = None


@dataclass(frozen=True, slots=True)
class Extraction:
    """All that one pass over a photo gives.

    Attributes:
        descriptor: (D,) float32 of unit norm.
        local: the local features.
    """

    descriptor: NDArray[np.float32]
    local: LocalFeatures


@dataclass(frozen=True, slots=True)
class ExtractorSpec:
    """What made a descriptor; written in every store. Unequal specs never mix.

    Attributes:
        model: catalogue name.
        weights: SHA-256 of the weights file, hexadecimal.
        image_size: longest side in pixels to which a larger photo is reduced.
        resize: interpolation of that reduction.
        exif: what is done with the EXIF orientation.
        colour: channel order given to the model.
        scales: factors of the image pyramid.
        whitening: how the descriptor is whitened.
        metric: how descriptors are compared.
        dim: D, length of the global descriptor.
        local_dim: d, length of a local descriptor.
        max_features: most local features of one photo.
    """

    model: str
    weights: str
    image_size: int
    resize: str
    exif: str
    colour: str
    scales: tuple[float, ...]
    whitening: str
    metric: str
    dim: int
    local_dim: int
    max_features: int

    def to_json(self) -> str:
        """The spec as a JSON object with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ExtractorSpec:
        """Read what `to_json` wrote.

        Raises:
            SpecMismatch: if a field is missing or unknown (written by another version of glocal).
        """
        fields: dict[str, Any] = json.loads(text)
        names = {field.name for field in dataclasses.fields(cls)}
        if set(fields) != names:
            odd = ", ".join(sorted(set(fields) ^ names))
            raise SpecMismatch(f"the extractor spec was written by another version of glocal (differs in: {odd})")
        fields["scales"] = tuple(fields["scales"])
        return cls(**fields)

    def differences(self, other: ExtractorSpec) -> list[tuple[str, Any, Any]]:
        """The fields in which two specs differ: (name, value here, value there)."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))
        return [(name, here, there) for name, here, there in pairs if here != there]
