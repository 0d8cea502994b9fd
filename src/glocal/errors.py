"""The exceptions of glocal.

    RetrievalError
    ├── ImageError          a picture cannot be read; carries a reason code
    ├── ShapeError          an array has another shape or type than the function expects
    ├── SpecMismatch        descriptors of two different extractors were about to be mixed
    ├── StoreError          a collection on disk is missing, damaged, full or of another format
    │   ├── StoreBusy       another process is writing it
    │   └── DiskFull        no space is left, or the disk fails
    ├── WeightsError        model weights are missing, damaged or of another model
    ├── ConfigError         an option, name or folder given by the user makes no sense
    │   └── NothingToDo     what was asked is valid, but there is nothing to work on
    └── BackendUnavailable  an optional package that this needs is not installed

A message says what happened to which thing, why, and what to type next.
"""

from __future__ import annotations


class RetrievalError(Exception):
    """Base of every error that glocal raises on purpose."""


class ImageError(RetrievalError):
    """A picture cannot be read.

    Attributes:
        code: one of `REASONS`, stable and machine-readable.
        detail: one line for people.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        self.code = code
        self.detail = detail or REASONS[code]
        super().__init__(self.detail)


class ShapeError(RetrievalError):
    """An array has another shape or type than the function expects."""


class SpecMismatch(RetrievalError):
    """Descriptors of two different extractors were about to be mixed."""


class StoreError(RetrievalError):
    """A collection on disk is missing, damaged, full or of another format."""


class StoreBusy(StoreError):
    """Another process is writing the collection."""


class DiskFull(StoreError):
    """No space is left for the collection, or the disk fails."""


class WeightsError(RetrievalError):
    """Model weights are missing, damaged or of another model."""


class ConfigError(RetrievalError):
    """An option, name or folder given by the user makes no sense."""


class NothingToDo(ConfigError):
    """What was asked is valid, but there is nothing to work on."""


class BackendUnavailable(RetrievalError):
    """An optional package that this needs is not installed."""


REASONS = {
    "empty": "empty file (0 bytes)",
    "not_an_image": "not a picture",
    "unsupported_format": "a picture of a format that glocal does not read",
    "truncated": "damaged: the file ends early",
    "corrupt": "damaged: its structure or a checksum is broken",
    "too_many_pixels": "more pixels than the limit",
    "too_large_file": "more bytes than the limit",
    "too_small": "too small to describe",
    "unreadable": "cannot be read",
    "not_regular_file": "a link, directory, pipe or socket, not a file",
    "outside_root": "a link that leaves the indexed folder",
    "timeout": "decoding took too long",
}
"""Why a picture is skipped: stable code -> words."""
