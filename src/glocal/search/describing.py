"""Photo -> query: its features, in all the ways in which its model wants it turned."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from glocal.extract.requests import Answer, PhotoPool, Request
from glocal.search.query import Described, PhotoSource, PictureBytes, Query
from glocal.search.reading import expect_picture, path_of, read_photo
from glocal.types import Box, LocalFeatures


def describe(pool: PhotoPool, photo: PhotoSource, box: Box | None, turns: int) -> Described:
    """A photo as it is, and turned by 1, 2, ... quarter turns: so many ways together.

    Raises:
        ImageError: it cannot be read.
        ConfigError: there is no such file, or the box is not in the picture.
    """
    if not isinstance(photo, PictureBytes):
        expect_picture(Path(photo))
    return _described(pool, photo, Request(b"", box=box, num_turns=turns), box)


def describe_rest(pool: PhotoPool, asked: Described, photo: PhotoSource, turns: int) -> Described:
    """A query that was described in fewer ways than so many, with those that it lacks: what `describe` gives at once.

    Args:
        pool: what described it.
        asked: the query.
        photo: what was described.
        turns: in how many ways it is to be described.
    """
    known = len(asked.vectors)
    if known >= turns:
        return asked
    rest = _described(pool, photo, Request(b"", box=asked.asked, turn=known, num_turns=turns - known), asked.asked)
    return replace(
        asked,
        vectors=np.concatenate([asked.vectors, rest.vectors]),
        local=asked.local + rest.local,
        decode_s=asked.decode_s + rest.decode_s,
        seconds=asked.seconds + rest.seconds,
    )


def _described(pool: PhotoPool, photo: PhotoSource, request: Request, box: Box | None) -> Described:
    started = time.perf_counter()
    answers = read_photo(pool, photo, request)
    first = answers[0]
    ways = [answer.extraction("query") for answer in answers]
    local = tuple(_shifted(way.local, first) for way in ways)
    return Described(
        query=Query(path_of(photo), first.size, first.box, len(local[0])),
        asked=box,
        content_hash=first.content_hash,
        vectors=np.stack([way.descriptor for way in ways]),
        local=local,
        decode_s=first.decode_s,
        seconds=time.perf_counter() - started,
    )


def _shifted(local: LocalFeatures, answer: Answer) -> LocalFeatures:
    """Features of a box, moved to the coordinates of the whole photo."""
    if answer.box is None:
        return local
    offset = np.array(answer.box[:2], np.float32)
    return LocalFeatures(local.id, answer.size, local.keypoints + offset, local.descriptors, local.scores, local.scales)
