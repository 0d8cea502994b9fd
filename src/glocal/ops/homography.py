"""Planar geometry between two photos: fit, transfer error, overlap (NumPy, OpenCV)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.ops.shapes import expect_same_length, expect_shape

MIN_MATCHES = 4
MAX_ITERATIONS = 10_000
"""Affine RANSAC with this many iterations finds the model at 90 % outliers in about 10 ms."""
CORE_SHARE = 0.9
"""A sharper homography may lose at most a tenth of the inliers."""


def transfer(homography: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Map points by a homography: (3, 3), (N, 2) -> (N, 2) float64; infinite where a point has no image."""
    expect_shape(points, "N 2", "points")
    mapped = points.astype(np.float64) @ homography[:, :2].T + homography[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(mapped[:, 2:] > 1e-9, mapped[:, :2] / mapped[:, 2:], np.inf), np.float64)


def transfer_error(
    homography: NDArray[np.float64], source: NDArray[np.floating], target: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Distance in target pixels between each mapped source point and its target point: (N,) float64."""
    expect_same_length("source", source, "target", target)
    return np.asarray(np.linalg.norm(transfer(homography, source) - target, axis=1), np.float64)


def is_plausible(homography: NDArray[np.float64], corners: NDArray[np.float64], max_zoom: float = 10.0) -> bool:
    """Whether a homography could be a view of a surface: no fold, no mirror, no collapse.

    Args:
        homography: (3, 3) float64.
        corners: (4, 2) corners of the matched rectangle in the query, clockwise on the screen.
        max_zoom: largest linear enlargement or reduction of any edge.
    """
    mapped = transfer(homography, corners)
    if not np.isfinite(mapped).all():
        return False
    edges = np.roll(mapped, -1, axis=0) - mapped
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    before = np.roll(corners, -1, axis=0) - corners
    zoom = np.linalg.norm(edges, axis=1) / np.maximum(np.linalg.norm(before, axis=1), 1e-9)
    return bool((turns > 0).all() and zoom.max() < max_zoom and zoom.min() > 1 / max_zoom)


def fit_affine(
    source: NDArray[np.float32], target: NDArray[np.float32], threshold: float
) -> NDArray[np.float64] | None:
    """Affine RANSAC, the same answer on every run: (N, 2), (N, 2) -> (3, 3) float64, or None.

    Args:
        source: (N, 2) float32 points.
        target: (N, 2) float32 points.
        threshold: largest transfer error of an inlier, in target pixels.
    """
    # OpenCV seeds this estimator's generator by a constant in each call.
    affine, _ = cv2.estimateAffine2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=threshold, maxIters=MAX_ITERATIONS, confidence=0.999
    )
    if affine is None or not np.isfinite(affine).all():
        return None
    return np.vstack([affine, [0.0, 0.0, 1.0]])


def refine_homography(
    source: NDArray[np.float32], target: NDArray[np.float32], start: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Grow a homography from an affine start; keeps the start where the homography explains less.

    Args:
        source: (N, 2) float32 points.
        target: (N, 2) float32 points.
        start: (3, 3) float64 affine model.
        threshold: largest transfer error of an inlier, in target pixels.

    Returns:
        homography (3, 3) float64 and inlier mask (N,) bool.
    """
    best = start
    mask = transfer_error(start, source, target) < threshold
    for widen in (2.0, 1.5, 1.0):  # a perspective view bends away from its affine start: catch it from outside in
        near = transfer_error(best, source, target) < threshold * widen
        model = _least_squares(source[near], target[near])
        if model is None:
            break
        grown = transfer_error(model, source, target) < threshold
        if grown.sum() > mask.sum():
            best, mask = model, grown
    # Chance matches just inside the threshold pull a least-squares fit; the nearer half of it decides the details.
    core = transfer_error(best, source, target) < threshold / 2
    model = _least_squares(source[core], target[core])
    if model is not None:
        sharpened = transfer_error(model, source, target) < threshold
        if sharpened.sum() >= CORE_SHARE * mask.sum():
            best, mask = model, sharpened
    return best, mask


def _least_squares(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64] | None:
    if len(source) < MIN_MATCHES:
        return None
    found, _ = cv2.findHomography(source, target, 0)
    if found is None or not np.isfinite(found).all():
        return None
    return np.asarray(found, np.float64)


def hull_area(points: NDArray[np.floating]) -> float:
    """Area of the convex hull of (N, 2) points, in square pixels."""
    if len(points) < 3:
        return 0.0
    return float(cv2.contourArea(cv2.convexHull(points.astype(np.float32))))
