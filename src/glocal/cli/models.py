"""The models that can describe photos."""

from __future__ import annotations

import argparse
import json

from glocal.cli import exits
from glocal.models.catalogue import CATALOGUE, DEFAULT_MODEL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run(options: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    for card in CATALOGUE.values():
        fields = {name: getattr(card, name) for name in ("name", "summary", "paper", "licence", "trained_on")}
        if options.json:
            print(json.dumps(fields))
            continue
        print(f"{card.name}{'  (default)' if card.name == DEFAULT_MODEL else ''}")
        for name, value in list(fields.items())[1:]:
            print(f"  {name.replace('_', ' '):<11} {value}")
    return exits.DONE
