"""Photos described on their side, and their features put back upright (NumPy)."""

from __future__ import annotations

import dataclasses

import numpy as np

from glocal.ops.coordinates import turn_back, turn_size
from glocal.protocols import Extractor
from glocal.types import Extraction, Photo


def turn(photo: Photo, turns: int) -> Photo:
    """A photo turned by quarter turns counter-clockwise; its size is that of the turned one."""
    return Photo(photo.id, np.ascontiguousarray(np.rot90(photo.pixels, turns)), turn_size(photo.size, turns))


def upright(extraction: Extraction, turns: int) -> Extraction:
    """What was extracted from a turned photo, with keypoints and size of the upright one."""
    local = extraction.local
    size = turn_size(local.size, turns)
    keypoints = turn_back(local.keypoints, turns, size)
    return dataclasses.replace(extraction, local=dataclasses.replace(local, size=size, keypoints=keypoints))


def extract_turned(extractor: Extractor, photo: Photo) -> list[Extraction]:
    """A query in all the ways that its model wants (`Preprocessing.query_turns`), in upright coordinates."""
    rules = getattr(extractor, "preprocessing", None)  # a model without a network has none: it knows turned things
    return [upright(extractor.extract(turn(photo, turns)), turns) for turns in range(rules.query_turns if rules else 1)]
