"""What the authors reported, in percent mAP of the revisited protocol with cropped queries, weights from GLDv2-clean.

They are other people's numbers, for comparison; ours are measured by the benchmarks.
"""

from __future__ import annotations

_KEYS = ("roxford_medium", "rparis_medium", "roxford_hard", "rparis_hard")


def _row(*values: float, verified: tuple[float, ...] = ()) -> dict[str, float]:
    row = dict(zip(_KEYS, values, strict=True))
    return row | {f"{key}_verified": value for key, value in zip(_KEYS, verified, strict=False)}


PUBLISHED: dict[str, dict[str, float]] = {
    # Global descriptors alone, and after geometric verification of the first 100 (as reprinted by ViTGaL).
    "delg_resnet50": _row(73.6, 85.7, 51.0, 71.5, verified=(78.3, 85.7, 57.9, 71.0)),
    "delg_resnet101": _row(76.3, 86.6, 55.6, 72.4, verified=(81.2, 87.2, 64.0, 72.8)),
    # The corrected tables of the authors' repositories.
    "dolg_resnet50": _row(81.20, 90.07, 62.55, 79.20),
    "dolg_resnet101": _row(82.37, 90.97, 64.93, 81.71),
    "token_resnet50": _row(79.79, 88.08, 62.68, 75.49),
    "token_resnet101": _row(82.16, 89.40, 65.75, 78.44),
    # Retrained by the authors of Token.
    "rmac_resnet101": _row(75.14, 85.28, 53.77, 71.28),
}
