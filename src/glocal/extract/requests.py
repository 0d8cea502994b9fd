"""What is asked of those who read photos, what they answer, and what every such pool can do, whoever it consists of."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ImageError
from glocal.extract.messages import Arrays
from glocal.types import Box, Extraction, ExtractorSpec, LocalFeatures

TIMEOUT_S = 10.0
"""How long a photo may take."""
PIXELS_ONLY = "none"
"""The model of workers that only decode: they load none, and refuse to be asked for features."""


@dataclass(frozen=True, slots=True)
class Request:
    """One photo to be read.

    Attributes:
        path: absolute.
        key: whatever the caller wants back with the answer.
        want: "features" or "pixels".
        root: the folder that the file must really lie in; None for no check.
        box: x, y, width, height in pixels of the upright photo; None for the whole.
        longest: longest side to decode to; 0 for the full size, None for the model's.
        rule: interpolation of that reduction, see `glocal.models.preprocessing.RESIZE_RULES`.
        turn: quarter turns counter-clockwise by which the photo, or the box, is turned before it is described. Features
            come back in the coordinates of the upright one; pixels come turned.
        num_turns: describe it in so many ways, from `turn` on, each a quarter turn further. Each gives an outcome of
            its own, whose request has its `turn`; a photo that cannot be read gives one.
        data: the bytes of the photo, which go to the worker through its pipe; None to read `path`, which otherwise is
            a mere name.
    """

    path: bytes
    key: Any = None
    want: str = "features"
    root: bytes | None = None
    box: Box | None = None
    longest: int | None = None
    rule: str = "area"
    turn: int = 0
    num_turns: int = 1
    data: bytes | None = field(default=None, repr=False)

    def to_line(self) -> bytes:
        """One line of JSON, which the photo's `data` follow; bytes that are not UTF-8 travel as lone surrogates."""
        fields = {
            "path": os.fsdecode(self.path),
            "want": self.want,
            "root": None if self.root is None else os.fsdecode(self.root),
            "box": self.box,
            "longest": self.longest,
            "rule": self.rule,
            "turn": self.turn,
            "num_bytes": None if self.data is None else len(self.data),
        }
        return json.dumps(fields).encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker found out about one photo.

    Attributes:
        content_hash: BLAKE2b-128 of the bytes that were decoded.
        num_bytes: size of the file.
        mtime_ns: modification time of what was decoded.
        size: (W, H) of the upright photo.
        orientation: EXIF orientation, 1 to 8.
        box: the box after clipping, or None.
        arrays: the raw arrays.
        decode_s: seconds for reading and decoding.
        extract_s: seconds for the features.
    """

    content_hash: str
    num_bytes: int
    mtime_ns: int
    size: tuple[int, int]
    orientation: int
    box: Box | None
    arrays: dict[str, NDArray[Any]]
    decode_s: float
    extract_s: float

    @property
    def photo_size(self) -> tuple[int, int]:
        """(W, H) in pixels of what was described: the upright photo, or the box if there is one."""
        return self.size if self.box is None else (round(self.box[2]), round(self.box[3]))

    def extraction(self, name: str) -> Extraction:
        """The features; keypoints and size are those of the box if there is one."""
        names = ("keypoints", "descriptors", "scores", "scales")
        local = LocalFeatures(id=name, size=self.photo_size, **{key: self.arrays[key] for key in names})
        return Extraction(self.arrays["descriptor"], local)


def arrays_of(extraction: Extraction) -> Arrays:
    """The arrays of an `Answer`: what `Answer.extraction` puts together again.

    Raises:
        ImageError: the descriptor is not finite, or zero.
    """
    length = float(np.linalg.norm(extraction.descriptor))
    if not (np.isfinite(length) and length > 0):
        raise ImageError("corrupt", "its descriptor is not finite")
    local = extraction.local
    return {
        "descriptor": extraction.descriptor,
        "keypoints": local.keypoints,
        "descriptors": local.descriptors,
        "scores": local.scores,
        "scales": local.scales,
    }


Outcome = tuple[Request, Answer | ImageError]


class PhotoPool(Protocol):
    """Reads photos and describes them: what indexing and searching need, whichever model does it."""

    def run(self, requests: Iterable[Request]) -> Generator[Outcome, None, None]:
        """Answer all requests, in the order in which they get done; may be closed early."""

    def read(self, request: Request) -> Answer:
        """Answer one request, or raise its ImageError."""

    def spec(self) -> ExtractorSpec:
        """The spec of the model."""

    def close(self) -> None:
        """End all children."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def each_turn(requests: Iterable[Request]) -> Iterator[Request]:
    """The requests, one for each way in which a photo is to be described."""
    for request in requests:
        if request.num_turns == 1:
            yield request
            continue
        for turn in range(request.turn, request.turn + request.num_turns):
            yield dataclasses.replace(request, turn=turn, num_turns=1)


def read_one(pool: PhotoPool, request: Request) -> Answer:
    """Answer one request by `run`.

    Raises:
        ImageError: the photo cannot be read.
    """
    ((_, outcome),) = pool.run([request])
    if isinstance(outcome, ImageError):
        raise outcome
    return outcome
