"""Two photos compared with each other, without a collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glocal.extract.requests import PhotoPool
from glocal.pictures.view import MatchView
from glocal.rerank.bands import Band, Calibration, judge
from glocal.rerank.geometric import DEFAULTS, Placed, VerificationOptions, verify_turns
from glocal.search.query import PhotoSource
from glocal.search.reading import describe_photo, path_of
from glocal.store.rows import LocalForm
from glocal.types import Box, ExtractorSpec, Hit, LocalFeatures, Verification


@dataclass(frozen=True, slots=True)
class PairReport:
    """Two photos compared by `explain`.

    Attributes:
        similarity: inner product of the global descriptors.
        probability: that both show the same object; None where the model has no calibration.
        band: how sure that is.
        verification: the geometry; None for a model without local features.
        view: where they agree; None for a model without local features.
        sizes: (W, H) of both upright photos in pixels.
    """

    similarity: float
    probability: float | None
    band: Band
    verification: Verification | None
    view: MatchView | None
    sizes: tuple[tuple[int, int], tuple[int, int]]


def compare_photos(
    pool: PhotoPool, first: PhotoSource, second: PhotoSource, options: VerificationOptions | None = None, turns: int = 1
) -> PairReport:
    """Compare two photos: similarity, geometry, verdict; only the similarity for a model without local features.

    Args:
        pool: reads the photos and describes them.
        first: a file, or bytes; the query's part.
        second: likewise.
        options: how they are compared; None takes what the model's calibration was measured with.
        turns: in how many quarter turns the first is described, see `Preprocessing.query_turns`; the best one counts.

    Raises:
        ImageError: one of them cannot be read.
    """
    query = [answer.extraction(path_of(first).name) for answer in describe_photo(pool, first, turns)]
    target = describe_photo(pool, second)[0].extraction(path_of(second).name)
    sizes = (query[0].local.size, target.local.size)
    similarity = max(float(turned.descriptor @ target.descriptor) for turned in query)
    if not pool.spec().local_dim:
        return PairReport(similarity, None, Band.LOOK_ALIKE, None, None, sizes)
    calibration = calibration_of(pool.spec())
    options = options or (calibration.verification if calibration else DEFAULTS)
    local = [turned.local for turned in query]
    verification = verify_turns(local, target.local, options)
    probability, band = judge(calibration, Hit("second", 1, similarity, verification))
    return PairReport(
        similarity, probability, band, verification, view_of(local, target.local, verification, None), sizes
    )


def view_of(query: Sequence[LocalFeatures], target: Placed, verification: Verification, box: Box | None) -> MatchView:
    """Where a query, with one set of features for each way it was turned, and a verified candidate agree."""
    turned = query[verification.turn]
    return MatchView(
        query_size=turned.size,
        target_size=target.size,
        query_points=turned.keypoints[verification.matches[:, 0]],
        target_points=target.keypoints[verification.matches[:, 1]],
        mask=verification.mask,
        homography=verification.homography,
        query_quad=verification.query_quad,
        target_quad=verification.target_quad,
        box=box,
    )


def calibration_of(spec: ExtractorSpec, form: LocalForm = LocalForm.INT8) -> Calibration | None:
    """What was measured for a model with local features in some form; int8 and float count as one."""
    name = f"{spec.model}.signs" if form == LocalForm.BINARY else spec.model
    return Calibration.load(name, spec.weights) if spec.local_dim else None
