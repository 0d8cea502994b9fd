"""Where glocal keeps a user's things (XDG base directories), and what it brings with it."""

from __future__ import annotations

import os
from pathlib import Path


def data_home() -> Path:
    """The user's folder for our data."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(base) / "glocal"


def installed_model(name: str) -> Path:
    """The folder where `glocal convert` puts a model of this name, and where its name is looked up."""
    return data_home() / "models" / name


def shipped_model(name: str) -> Path:
    """The folder in the package with the weights of a model of this name; most have none."""
    return Path(__file__).parent / "models" / "weights" / name


def weights_of(name: str) -> Path | None:
    """The folder with the weights of a model: those that the user installed go before those of the package."""
    return next((place for place in (installed_model(name), shipped_model(name)) if place.exists()), None)
