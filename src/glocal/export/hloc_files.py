"""The files that hloc reads, as one: what is written of a photo goes to all that want it (NumPy)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from glocal.errors import ConfigError
from glocal.export.drafts import Drafts, explained, open_text
from glocal.export.group_file import GroupFile
from glocal.export.photos import precision_of
from glocal.export.stored_frame import stored_points, stored_size
from glocal.types import ExtractorSpec, LocalFeatures


@dataclass(frozen=True, slots=True)
class HlocOptions:
    """What is written.

    Attributes:
        topk: neighbours of each query; 0 writes no pairs.
        precision: of global and local descriptors, "float16" or "float32".
        matches: also verify the pairs, and write the inliers.
        rename_map: where a CSV of safe names goes, and consent to them; None refuses names that do not fit.
        force: replace files that are there.
    """

    topk: int = 50
    precision: str = "float16"
    matches: bool = False
    rename_map: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        precision_of(self.precision)
        if self.topk < 0:
            raise ConfigError(f"topk must be 0 or more, not {self.topk}")
        if self.matches and not self.topk:
            raise ConfigError("matches are those of the pairs, and topk 0 writes none → --topk 50")


def file_part(model: str) -> str:
    """A model's name as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", model)


class HlocFiles:
    """The open files."""

    def __init__(self, folder: Path, spec: ExtractorSpec, options: HlocOptions, drafts: Drafts) -> None:
        model = file_part(spec.model)
        feats, pairs = f"feats-{model}", f"pairs-{model}{options.topk}"
        metadata = {"glocal.extractor": spec.to_json()}
        self._precision = precision_of(options.precision)
        self._longest = spec.image_size
        with ExitStack() as stack:

            def open_groups(name: str) -> GroupFile:
                place = folder / f"{name}.h5"
                return stack.enter_context(GroupFile(drafts.add(place), place, metadata))

            self._descriptors = open_groups(f"global-{feats}")
            self._features = open_groups(feats) if spec.local_dim else None
            self.matches = open_groups(f"{feats}_matches-glocal_{pairs}") if options.matches else None
            self._pairs = None
            if options.topk:
                self._pairs_place = folder / f"{pairs}.txt"
                self._pairs = stack.enter_context(open_text(drafts.add(self._pairs_place), self._pairs_place))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def write_photo(
        self,
        name: str,
        size: tuple[int, int],
        orientation: int,
        vector: NDArray[np.float32],
        local: Callable[[], LocalFeatures],
    ) -> None:
        """Write the features of a photo, all in the frame of its file.

        Args:
            name: of the groups.
            size: (W, H) of the upright photo in pixels.
            orientation: EXIF, 1 to 8, that made it upright.
            vector: (D,) its global descriptor.
            local: gives its local features; not called for a model without.
        """
        image_size = np.array(stored_size(size, orientation), np.int64)
        arrays = {"global_descriptor": vector.astype(self._precision), "image_size": image_size}
        self._descriptors.write(name, arrays)
        if self._features is None:
            return
        features = local()
        arrays = {
            "keypoints": stored_points(features.keypoints, size, orientation),
            "descriptors": np.ascontiguousarray(features.descriptors.T.astype(self._precision)),
            "scores": features.scores,
            "image_size": image_size,
        }
        # As hloc has it: one pixel of the reduced picture in which they were found, in pixels of the original.
        reduction = max(size) / min(max(size), self._longest or max(size))
        self._features.write(name, arrays, ("keypoints", reduction))

    def write_pairs(self, query: str, names: Sequence[str]) -> None:
        """Write a query's lines."""
        assert self._pairs is not None
        with explained(self._pairs_place):
            self._pairs.writelines(f"{query} {name}\n" for name in names)
