"""Photos read by workers: decoded, or described in all the ways in which they are turned."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from glocal.errors import ConfigError, ImageError
from glocal.extract.requests import Answer, PhotoPool, Request
from glocal.search.query import PhotoSource, PictureBytes
from glocal.types import Box, Pixels


def read_pixels(pool: PhotoPool, path: Path, longest: int = 1600) -> Pixels:
    """Decode a photo in a worker: upright RGB, longest side at most `longest`."""
    pixels: Pixels = pool.read(Request(os.fsencode(path), want="pixels", longest=longest)).arrays["pixels"]
    return pixels


def expect_picture(path: Path) -> None:
    """Make sure that there is a file.

    Raises:
        ConfigError: there is none, or it is a folder.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. → glocal index {path}   or name one picture in it")
    if not path.exists():
        raise ConfigError(f"No such picture: {path}")


def path_of(photo: PhotoSource) -> Path:
    """The file of a query, or the name of one that is none."""
    return Path(photo.name if isinstance(photo, PictureBytes) else photo)


def read_photo(pool: PhotoPool, photo: PhotoSource, request: Request) -> list[Answer]:
    """Have workers read a photo in all the ways that a request wants, order kept; the error names the photo."""
    if isinstance(photo, PictureBytes):
        request = replace(request, path=os.fsencode(photo.name), data=photo.data)
    else:
        request = replace(request, path=os.fsencode(Path(photo).resolve()))
    answers: dict[int, Answer] = {}
    for asked, outcome in pool.run([request]):
        if isinstance(outcome, ImageError):
            raise ImageError(outcome.code, f"cannot read {path_of(photo)} — {outcome.detail}") from outcome
        answers[asked.turn] = outcome
    return [answers[turn] for turn in sorted(answers)]


def describe_photo(pool: PhotoPool, photo: PhotoSource, turns: int = 1, box: Box | None = None) -> list[Answer]:
    """A photo as it is and turned by 1, 2, ... quarter turns."""
    return read_photo(pool, photo, Request(b"", box=box, num_turns=turns))
