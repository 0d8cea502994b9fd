"""Candidates in the order of their ASMK similarity, and the codebooks that come with the package (NumPy).

Tolias, Avrithis and Jégou, IJCV 2016; constants of HOW, ECCV 2020; see `glocal.ops.asmk`. Codebooks are learned by
`scripts/learn_codebook.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from glocal.errors import ConfigError, ShapeError, WeightsError
from glocal.ops.asmk import ALPHA, TAU, Aggregated, aggregate, similarity
from glocal.types import LocalFeatures

SAME_LOCAL_FEATURES = {"glocal_mobilenetv2": "delg_mobilenetv2"}
"""Models that share a codebook, since their local features are the same: name -> whose file it is."""
MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Codebook:
    """Visual words of one model's local descriptors.

    Attributes:
        words: (K, d) float32, finite.
        weights: fingerprints of the networks whose local descriptors these are: catalogue name -> SHA-256.
        trained_on: the photos, in words.
    """

    words: NDArray[np.float32]
    weights: Mapping[str, str]
    trained_on: str = ""

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "the codebook") -> Codebook:
        """Read the safetensors that `learn_codebook.py` writes: int8 levels (K, d) and one step for all.

        Args:
            data: of the whole file.
            name: for the message.

        Raises:
            WeightsError: it is damaged, or something else.
        """
        try:
            if len(data) > MAX_BYTES:
                raise ValueError(f"{len(data)} bytes; the limit is {MAX_BYTES}")
            tensors = load(data)
            levels, step = tensors["levels"], tensors["step"]
            metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            weights = json.loads(metadata["weights"])
            if levels.ndim != 2 or not levels.size or levels.dtype != np.int8:
                raise ValueError(f"levels are {levels.dtype} {levels.shape}, not int8 (K, d)")
            if step.shape != (1,) or step.dtype != np.float32 or not (np.isfinite(step[0]) and step[0] > 0):
                raise ValueError(f"step is {step!r}, not one positive float32")
            if not isinstance(weights, dict) or not all(isinstance(value, str) for value in weights.values()):
                raise ValueError("the weights are no table of fingerprints")
            return cls(levels.astype(np.float32) * step, weights, str(metadata.get("trained_on", "")))
        except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(f"{name} is damaged ({error}) → reinstall glocal") from error


def load_codebook(model: str, weights: str) -> Codebook | None:
    """The codebook shipped with a model; None where there is none for these weights.

    Args:
        model: catalogue name.
        weights: fingerprint of the weights at hand; words of another network's descriptors mean nothing.

    Raises:
        WeightsError: it is damaged.
    """
    file = f"{SAME_LOCAL_FEATURES.get(model, model)}.asmk.safetensors"
    resource = files("glocal.models").joinpath(f"weights/{file}")
    if "/" in model or not resource.is_file():
        return None
    try:
        data = resource.read_bytes()
    except OSError as error:
        raise WeightsError(f"{file} cannot be read ({error.strerror}) → reinstall glocal") from error
    codebook = Codebook.from_bytes(data, file)
    return codebook if codebook.weights.get(model) == weights else None


@dataclass(frozen=True, slots=True)
class AsmkOptions:
    """How photos are compared; the defaults are HOW's.

    Attributes:
        assignments: words that a candidate's descriptor counts for.
        query_assignments: words that a query's descriptor counts for.
        binary: signs (ASMK*) instead of unit vectors (ASMK): of 128 numbers 20 bytes a word, and not 516.
        alpha: exponent of the selectivity.
        tau: vectors of a common word count if their similarity is above; below 1.
        cache: aggregated candidates that are kept for the next query; with signs of 128 numbers up to 20 kB each.
    """

    assignments: int = 1
    query_assignments: int = 5
    binary: bool = True
    alpha: float = ALPHA
    tau: float = TAU
    cache: int = 2000

    def __post_init__(self) -> None:
        sensible = self.assignments >= 1 and self.query_assignments >= 1 and self.alpha > 0 and self.cache >= 0
        if not sensible or not self.tau < 1:
            raise ConfigError(
                f"{self} makes no sense → assignments of at least 1, alpha above 0, tau below 1, cache of at least 0"
            )


DEFAULTS = AsmkOptions()


class AsmkReranker:
    """Orders candidates by ASMK similarity; those of earlier queries need no aggregation again.

    Args:
        features_of: local features of the candidate with a number.
        codebook: (K, d) float32 words.
        options: how photos are compared.
        idf: (K,) float32 weights of the words; None, as in HOW, counts all alike.
    """

    def __init__(
        self,
        features_of: Callable[[int], LocalFeatures],
        codebook: NDArray[np.float32],
        options: AsmkOptions = DEFAULTS,
        idf: NDArray[np.float32] | None = None,
    ) -> None:
        if idf is not None and idf.shape != codebook.shape[:1]:
            raise ShapeError(f"idf must be ({len(codebook)},), one weight for each word, found {idf.shape}")
        self._codebook = codebook
        self._options = options
        self._idf = idf

        def aggregate_candidate(number: int) -> Aggregated:
            found = features_of(number).descriptors
            return self._aggregate(found, options.assignments)

        self._candidate = lru_cache(options.cache)(aggregate_candidate)

    def rerank(
        self, query: Sequence[LocalFeatures], candidates: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The order of some candidates, and their similarities.

        Args:
            query: its local features, one set for each way that it is turned; the most similar way counts.
            candidates: their numbers, in the order that decides between equal similarities.

        Returns:
            Positions (M,) int64 in `candidates`, most similar first; similarities (M,) float64, 0 to 1 unless tau is
            negative, of the candidates as they came.

        Raises:
            ShapeError: descriptors are of another length than the words, or there is no query.
        """
        if not query:
            raise ShapeError("the query has no local features: one set for each way that it is turned is needed")
        options = self._options
        ways = [self._aggregate(way.descriptors, options.query_assignments) for way in query]
        similarities = np.zeros(len(candidates))
        for place, number in enumerate(candidates):
            target = self._candidate(number)
            similarities[place] = max(similarity(way, target, options.alpha, options.tau, self._idf) for way in ways)
        return np.argsort(-similarities, kind="stable").astype(np.int64), similarities

    def _aggregate(self, descriptors: NDArray[np.float32], assignments: int) -> Aggregated:
        # A photo without features has descriptors (0, 0) where the model does not say their length.
        if not len(descriptors):
            descriptors = np.empty((0, self._codebook.shape[1]), np.float32)
        return aggregate(descriptors, self._codebook, assignments, self._options.binary)
