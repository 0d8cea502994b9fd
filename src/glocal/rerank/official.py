"""Verification and order of the two published DELG programs (SciPy, scikit-image, OpenCV), beside the fast mode.

* TensorFlow: `delf/python/detect_to_retrieve/image_reranking.py` with the settings of `delg/perform_retrieval.py`.
* PyTorch: `tools/revisitop/example_evaluate_with_local.py` of feymanpriv/DELG.

Both take the nearest target descriptor of every query descriptor by a k-d tree, one way, so several may share one.
They are for comparing with published numbers: `glocal.rerank.geometric` is many times faster.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.errors import BackendUnavailable, ConfigError
from glocal.ops.shapes import expect_same_length, expect_shape
from glocal.rerank.geometric import verification_of
from glocal.types import Hit, LocalFeatures, Shortlist, Verification

PROGRAMS = ("tensorflow", "torch")
_AFFINE_SAMPLES = 3
_HOMOGRAPHY_SAMPLES = 4
_NEARLY_SURE = 1 - 1e-12
"""The published confidence is 1, so that every trial is made; OpenCV wants less, and then makes 1000 trials too."""
_LEAST_AREA = 1e-9
"""An affine model that shrinks areas further has no inverse worth the name."""


@dataclass(frozen=True, slots=True)
class OfficialOptions:
    """How a published program compares two photos and orders candidates.

    Attributes:
        program: whose model and order, "tensorflow" or "torch".
        distance_threshold: a match is nearer than this; 1.0 in `perform_retrieval`, 0.9 in the TensorFlow library.
        max_ratio: a match is nearer than this share of the distance to the second nearest, in place of the distance
            threshold; None, as published, for no such test.
        residual_threshold: an inlier errs by less, in pixels: of the query for TensorFlow, of the target for PyTorch.
        max_trials: samples drawn by RANSAC.
        seed: of the TensorFlow program's samples; OpenCV's are always the same.
        depth: how many candidates are verified.

    Raises:
        ConfigError: there is no such program, or a number makes no sense.
    """

    program: str = "tensorflow"
    distance_threshold: float = 1.0
    max_ratio: float | None = None
    residual_threshold: float = 20.0
    max_trials: int = 1000
    seed: int = 0
    depth: int = 100

    def __post_init__(self) -> None:
        if self.program not in PROGRAMS:
            raise ConfigError(f'there is no program "{self.program}" → {" or ".join(PROGRAMS)}')
        for name in ("distance_threshold", "max_ratio", "residual_threshold", "max_trials", "depth"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be above 0, not {value}")
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or above, not {self.seed}")


TENSORFLOW = OfficialOptions()
TORCH = OfficialOptions("torch", distance_threshold=0.99)


def verify_tensorflow(
    query: LocalFeatures, target: LocalFeatures, options: OfficialOptions = TENSORFLOW
) -> Verification:
    """Compare two photos as the TensorFlow program does: an affine model from target to query by RANSAC.

    Up to 3 putative matches count as none. The returned homography is the inverse of the model; it is None in spite of
    inliers where the model has none.

    Raises:
        BackendUnavailable: SciPy or scikit-image is missing.
        ShapeError: if the lengths of the descriptors differ.
    """
    try:
        from skimage.measure import ransac  # noqa: PLC0415 - optional
        from skimage.transform import AffineTransform  # noqa: PLC0415 - optional
    except ImportError as error:
        raise BackendUnavailable(_missing("scikit-image")) from error
    fit: Any = ransac  # not typed
    matches = nearest_matches(query, target, options)
    if len(matches) <= _AFFINE_SAMPLES:
        return _nothing(matches)
    # The published locations are (y, x).
    data = target.keypoints[matches[:, 1], ::-1], query.keypoints[matches[:, 0], ::-1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No inliers found")
        model, mask = fit(
            data,
            AffineTransform,
            min_samples=_AFFINE_SAMPLES,
            residual_threshold=options.residual_threshold,
            max_trials=options.max_trials,
            rng=options.seed,
        )
    if mask is None:
        return _nothing(matches)
    homography = None
    if model:
        backward = np.asarray(model.params, np.float64)[np.ix_([1, 0, 2], [1, 0, 2])]  # (x, y) of target -> query
        if abs(np.linalg.det(backward)) > _LEAST_AREA:
            homography = np.asarray(np.linalg.inv(backward), np.float64)
    return _verification(query, target, matches, np.asarray(mask, np.bool_), homography)


def verify_torch(query: LocalFeatures, target: LocalFeatures, options: OfficialOptions = TORCH) -> Verification:
    """Compare two photos as the PyTorch program does: a homography from query to target by RANSAC.

    Up to 4 putative matches count as none. The matches are those of the program. The RANSAC is OpenCV's, a stand-in
    for pydegensac, which optimises its models on the way: numbers of inliers are not those of the program.

    Raises:
        BackendUnavailable: SciPy is missing.
        ShapeError: if the lengths of the descriptors differ.
    """
    matches = nearest_matches(query, target, options)
    if len(matches) <= _HOMOGRAPHY_SAMPLES:
        return _nothing(matches)
    # OpenCV seeds this estimator's generator by a constant in each call.
    homography, mask = cv2.findHomography(
        query.keypoints[matches[:, 0]],
        target.keypoints[matches[:, 1]],
        cv2.RANSAC,
        options.residual_threshold,
        maxIters=options.max_trials,
        confidence=_NEARLY_SURE,
    )
    if homography is None or not mask.any():
        return _nothing(matches)
    return _verification(query, target, matches, mask.ravel() > 0, np.asarray(homography, np.float64))


_VERIFY = {"tensorflow": verify_tensorflow, "torch": verify_torch}


def nearest_matches(query: LocalFeatures, target: LocalFeatures, options: OfficialOptions) -> NDArray[np.int64]:
    """The putative matches of both programs: (K, 2) int64 rows (query, target), ascending by query row.

    The nearest target descriptor of each query descriptor, if it is near enough.

    Raises:
        BackendUnavailable: SciPy is missing.
        ShapeError: if the lengths of the descriptors differ.
    """
    try:
        from scipy.spatial import cKDTree  # noqa: PLC0415 - optional
    except ImportError as error:
        raise BackendUnavailable(_missing("scipy")) from error
    _, length = expect_shape(query.descriptors, "N d", "query")
    expect_shape(target.descriptors, "M d", "target", d=length)
    if not len(query) or not len(target):
        return np.empty((0, 2), np.int64)
    tree = cKDTree(target.descriptors)
    if options.max_ratio is None:
        _, nearest = tree.query(query.descriptors, distance_upper_bound=options.distance_threshold)
        rows = np.flatnonzero(nearest < len(target))
    else:
        distances, two = tree.query(query.descriptors, k=2)  # without a second one it is infinitely far
        nearest = two[:, 0]
        rows = np.flatnonzero(distances[:, 0] < options.max_ratio * distances[:, 1])
    return np.stack([rows, nearest[rows]], axis=1).astype(np.int64)


def candidates_to_verify(
    similarities: NDArray[np.floating], depth: int, junk: Collection[int] = ()
) -> NDArray[np.int64]:
    """Which photos of a gallery are verified: (min(depth, N - junk),) int64, most similar first.

    Args:
        similarities: (N,) global similarities; of equal ones the first in the gallery comes first.
        depth: how many.
        junk: photos that the protocol ignores. The TensorFlow program takes them out before, so that they take no
            places; this needs the ground truth and is for comparing with its numbers alone.
    """
    order = np.argsort(-similarities, kind="stable")
    return order[~np.isin(order, list(junk))][:depth].astype(np.int64)


def order_tensorflow(inliers: NDArray[np.integer], similarities: NDArray[np.floating]) -> NDArray[np.int64]:
    """All photos of a gallery by inliers, then by similarity, both descending; full ties keep their order.

    Args:
        inliers: (N,); 0 for those that were not verified, so that they compete with those verified in vain.
        similarities: (N,) global similarities.

    Returns:
        (N,) int64 positions, best first.
    """
    expect_same_length("inliers", inliers, "similarities", similarities)
    return np.lexsort((-similarities, -inliers.astype(np.int64))).astype(np.int64)


def order_torch(inliers: NDArray[np.integer]) -> NDArray[np.int64]:
    """The verified window of a ranking by inliers; ties keep their order, which the program leaves to chance.

    Args:
        inliers: (K,) of the window, best first before; 0 for junk, which the program leaves where it falls.

    Returns:
        (K,) int64 positions in the window, best first; what comes behind the window stays there.
    """
    return np.argsort(-inliers.astype(np.int64), kind="stable").astype(np.int64)


class OfficialReranker:
    """`Reranker` that verifies and orders as a published program does; of a query it takes the upright way alone."""

    def __init__(self, features_of: Callable[[str], LocalFeatures], options: OfficialOptions = TENSORFLOW) -> None:
        self._features_of = features_of
        self._options = options

    def rerank(self, query: Sequence[LocalFeatures], shortlist: Shortlist) -> list[Hit]:
        """Verify the first `depth` candidates and order all."""
        verify = _VERIFY[self._options.program]
        names = shortlist.ids[: self._options.depth]
        verified = {name: verify(query[0], self._features_of(name), self._options) for name in names}
        return self.order(shortlist, verified)

    def order(self, shortlist: Shortlist, verified: Mapping[str, Verification]) -> list[Hit]:
        """The candidates in the order of the program; those that were not verified have no inliers."""
        inliers = np.array([verified[n].inliers if n in verified else 0 for n in shortlist.ids], np.int64)
        if self._options.program == "torch":
            depth = self._options.depth
            order = np.concatenate([order_torch(inliers[:depth]), np.arange(len(inliers))[depth:]])
        else:
            order = order_tensorflow(inliers, shortlist.similarities)
        return [
            Hit(shortlist.ids[i], rank, float(shortlist.similarities[i]), verified.get(shortlist.ids[i]))
            for rank, i in enumerate(order.tolist(), 1)
        ]


def _missing(package: str) -> str:
    return f"the official verification needs {package} → pip install 'glocal[eval]'"


def _nothing(matches: NDArray[np.int64]) -> Verification:
    return Verification(0, None, matches, np.zeros(len(matches), np.bool_))


def _verification(
    query: LocalFeatures,
    target: LocalFeatures,
    matches: NDArray[np.int64],
    mask: NDArray[np.bool_],
    homography: NDArray[np.float64] | None,
) -> Verification:
    """Inliers with their model; neither program asks whether it could be a view of anything."""
    if homography is None or not np.isfinite(homography).all() or homography[2, 2] == 0:
        return Verification(int(mask.sum()), None, matches, mask)
    found = verification_of(query, target, matches, mask, homography)
    assert found.target_quad is not None
    if not np.isfinite(found.target_quad).all():  # a corner lies behind the camera
        return replace(found, query_quad=None, target_quad=None)
    return found
