"""From a verified hit to a probability and one of three bands: *same*, *possibly*, *look-alike*.

The numbers are fitted by `scripts/fit_bands.py` on verified and unrelated pairs of a training collection
and lie beside the model's weights; the file says what they were measured on.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files

from glocal.errors import WeightsError
from glocal.rerank.geometric import DEFAULTS, VerificationOptions
from glocal.types import Hit

LEAST_OVERLAP = 0.01
"""Agreement on less than this share of both pictures (say, a few letters of one typeface) is at most *possibly*.

Of the training pairs that show the same thing with 10 inliers or more, 0.6 % cover less of the query.
"""


class Band(StrEnum):
    """How sure a hit is."""

    SAME = "same"
    POSSIBLY = "possibly"
    LOOK_ALIKE = "look-alike"


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic model of "the same object" and the two thresholds on it.

    Attributes:
        intercept: of the logistic model.
        log_inliers: weight of log(1 + inliers).
        same: least probability of band *same*.
        possibly: least probability of band *possibly*.
        verification: how pairs were compared when this was measured, and have to be compared for it to hold.
    """

    intercept: float
    log_inliers: float
    same: float
    possibly: float
    verification: VerificationOptions = DEFAULTS

    @classmethod
    def load(cls, model: str, weights: str | None = None) -> Calibration | None:
        """The calibration shipped with a model; None where nobody has measured one.

        Args:
            model: catalogue name.
            weights: fingerprint of the weights at hand; a calibration of a network holds for its own weights alone.

        Raises:
            WeightsError: it is damaged.
        """
        resource = files("glocal.models").joinpath(f"weights/{model}.bands.json")
        if "/" in model or not resource.is_file():
            return None
        try:
            file = json.loads(resource.read_text("utf-8"))
            if file.get("weights", weights) != weights:
                return None
            table = {name: float(value) for name, value in file["calibration"].items()}
            verification = DEFAULTS
            if how := file.get("verification"):
                verification = VerificationOptions(
                    float(how["max_ratio"]), float(how["tolerance"]), int(how["least"]), float(how["inlier_weight"])
                )
            return cls(**table, verification=verification)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{model}.bands.json cannot be read ({error}) → reinstall glocal") from error

    def probability(self, hit: Hit) -> float:
        """Probability that a hit shows the same object, 0 to 1; 0 where no geometry agrees."""
        found = hit.verification
        if found is None or found.inliers == 0:
            return 0.0
        logit = self.intercept + self.log_inliers * math.log1p(found.inliers)
        probability = 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))
        if max(found.query_overlap, found.target_overlap) < LEAST_OVERLAP:
            return min(probability, self.possibly)
        return probability

    def band(self, probability: float) -> Band:
        """The band of a probability."""
        if probability >= self.same:
            return Band.SAME
        return Band.POSSIBLY if probability >= self.possibly else Band.LOOK_ALIKE


def judge(calibration: Calibration | None, hit: Hit) -> tuple[float | None, Band]:
    """Probability and band of a hit; without a calibration nothing is claimed, and it is a look-alike at most."""
    if calibration is None:
        return None, Band.LOOK_ALIKE
    probability = calibration.probability(hit)
    return probability, calibration.band(probability)
