"""Some photos described as indexing would do it: how long that takes here, and how many bytes they give."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from glocal.data.image import LIMITS, DecodeLimits
from glocal.errors import ImageError
from glocal.extract.batching import ModelSource
from glocal.extract.requests import TIMEOUT_S, Request
from glocal.store.codec import encode_local
from glocal.store.rows import LocalForm
from glocal.types import LocalFeatures

MAX_SECONDS = 60.0
"""A sample that takes longer ends early: fewer photos say as much."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What describing some photos has shown.

    Attributes:
        described: how many were described.
        refused: how many were not.
        decode_s: seconds that one takes to be read and decoded, median.
        extract_s: seconds that one takes to be described, median.
        num_features: local features of one, mean.
        local_bytes: bytes of these in a collection, by form, mean.
        half_bytes: likewise for the better half of them.
        threads: how many photos a network describes at a time; 0 if the processes that decode do it.
    """

    described: int
    refused: int
    decode_s: float
    extract_s: float
    num_features: float
    local_bytes: Mapping[LocalForm, float] = field(default_factory=dict)
    half_bytes: Mapping[LocalForm, float] = field(default_factory=dict)
    threads: int = 0


def sample_photos(
    paths: Sequence[bytes],
    model: ModelSource,
    workers: int,
    limits: DecodeLimits = LIMITS,
    timeout_s: float = TIMEOUT_S,
    max_seconds: float = MAX_SECONDS,
) -> Sample | None:
    """Describe photos and watch the clock.

    Args:
        paths: absolute.
        model: describes them; is loaded before the clock starts.
        workers: processes that read photos.
        limits: what one photo may cost.
        timeout_s: seconds that one may take.
        max_seconds: after so many no further photo is waited for.

    Returns:
        None if no photo could be described.

    Raises:
        WeightsError: the model's weights are missing or damaged.
        BackendUnavailable: it cannot run here.
    """
    spec = model.spec
    forms = [form for form in LocalForm if form != LocalForm.BINARY or spec.local_dim % 8 == 0]
    decode_s, extract_s, counts = [], [], []
    whole: dict[LocalForm, list[int]] = {form: [] for form in forms}
    half: dict[LocalForm, list[int]] = {form: [] for form in forms}
    refused = 0
    with model.pool(max(1, min(workers, len(paths))), limits, timeout_s) as pool:
        pool.spec()  # the processes have started
        deadline = time.monotonic() + max_seconds
        with contextlib.closing(pool.run([Request(path) for path in paths])) as outcomes:
            for _, outcome in outcomes:
                if isinstance(outcome, ImageError):
                    refused += 1
                else:
                    decode_s.append(outcome.decode_s)
                    extract_s.append(outcome.extract_s)
                    local = outcome.extraction("sample").local
                    counts.append(len(local))
                    for form in forms if spec.local_dim else []:
                        whole[form].append(_num_bytes(local, form))
                        half[form].append(_num_bytes(_best(local, spec.max_features // 2), form))
                if time.monotonic() > deadline:
                    break
    if not counts:
        return None
    return Sample(
        described=len(counts),
        refused=refused,
        decode_s=median(decode_s),
        extract_s=median(extract_s),
        num_features=fmean(counts),
        local_bytes={form: fmean(sizes) for form, sizes in whole.items() if sizes},
        half_bytes={form: fmean(sizes) for form, sizes in half.items() if sizes},
        threads=model.network().num_threads if model.is_network else 0,
    )


def _num_bytes(local: LocalFeatures, form: LocalForm) -> int:
    encoded = encode_local(local, form)
    return len(encoded.descriptors) + len(encoded.geometry)


def _best(local: LocalFeatures, most: int) -> LocalFeatures:
    rows = {name: getattr(local, name)[:most] for name in ("keypoints", "descriptors", "scores", "scales")}
    return dataclasses.replace(local, **rows)
