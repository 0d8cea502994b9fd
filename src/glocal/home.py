"""Where glocal keeps a user's things (XDG base directories)."""

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
