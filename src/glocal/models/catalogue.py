"""The table of models: name -> what it is and how to build it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from glocal.errors import ConfigError
from glocal.protocols import Extractor


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One line of `glocal models`.

    Attributes:
        name: what `--model` takes.
        summary: what it is, in one sentence.
        paper: where it is published.
        licence: of code and weights.
        trained_on: what the weights were learned from.
        build: makes the extractor.
    """

    name: str
    summary: str
    paper: str
    licence: str
    trained_on: str
    build: Callable[[], Extractor]


def _build_rootsift() -> Extractor:
    # OpenCV takes a tenth of a second to import: only who extracts pays for it.
    from glocal.models.rootsift import RootSift  # noqa: PLC0415

    return RootSift()


CATALOGUE = {
    "rootsift": ModelCard(
        name="rootsift",
        summary="RootSIFT local features, VLAD-64 global descriptor whitened to 256; in the package, no download",
        paper="Lowe 2004; Jégou et al. 2010; Arandjelović and Zisserman 2012, 2013",
        licence="Apache-2.0",
        trained_on="6,833 photos of public research sets; see models/weights/rootsift.md",
        build=_build_rootsift,
    ),
}
DEFAULT_MODEL = "rootsift"


def find_model(name: str) -> ModelCard:
    """Look a model up; hyphens and underscores are the same.

    Raises:
        ConfigError: there is none of this name; the message names the nearest.
    """
    known = {key.replace("_", "-"): card for key, card in CATALOGUE.items()}
    card = known.get(name.replace("_", "-"))
    if card is None:
        near = difflib.get_close_matches(name.replace("_", "-"), known, n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(f'Unknown model "{name}".{hint} → glocal models')
    return card


def create_model(name: str = DEFAULT_MODEL) -> Extractor:
    """Build an extractor by name.

    Raises:
        ConfigError: there is none of this name.
        WeightsError: its weights are damaged.
    """
    return find_model(name).build()
