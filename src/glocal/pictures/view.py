"""Where two photos agree: the geometry that every picture of a match is drawn from (NumPy)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ShapeError
from glocal.ops.homography import transfer_error
from glocal.types import Box


@dataclass(frozen=True, slots=True)
class MatchView:
    """Where two photos agree, in pixels of the upright originals.

    Attributes:
        query_size: (W, H) of the query.
        target_size: (W, H) of the target.
        query_points: (M, 2) float32, all tentative matches in the query.
        target_points: (M, 2) float32, their partners in the target.
        mask: (M,) bool, the inliers.
        homography: (3, 3) float64, query -> target; None if no model was found.
        query_quad: (4, 2) float64, the matched rectangle in the query.
        target_quad: (4, 2) float64, where it lies in the target.
        box: x, y, width, height that the user drew on the query.
    """

    query_size: tuple[int, int]
    target_size: tuple[int, int]
    query_points: NDArray[np.float32]
    target_points: NDArray[np.float32]
    mask: NDArray[np.bool_]
    homography: NDArray[np.float64] | None
    query_quad: NDArray[np.float64] | None
    target_quad: NDArray[np.float64] | None
    box: Box | None = None

    def __post_init__(self) -> None:
        shape = (len(self.mask), 2)
        if self.query_points.shape != shape or self.target_points.shape != shape:
            raise ShapeError(
                f"match points must be {shape} as the mask, found query {self.query_points.shape}, "
                f"target {self.target_points.shape}"
            )

    @property
    def inliers(self) -> int:
        """Number of matches that agree with the homography."""
        return int(self.mask.sum())

    def residuals(self) -> NDArray[np.float64]:
        """(M,) float64, transfer error of every match in target pixels; zeros without a homography."""
        if self.homography is None:
            return np.zeros(len(self.mask))
        return transfer_error(self.homography, self.query_points, self.target_points)
