"""The models that can describe photos: their names, or the cards of those that fit a pattern."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

from glocal.cli import exits
from glocal.errors import ConfigError
from glocal.home import shipped_model, weights_of
from glocal.models.catalogue import (
    ModelCard,
    build_classical,
    canonical_name,
    default_model,
    find_model,
    list_models,
)
from glocal.models.preprocessing import Preprocessing

_WIDTH = 13


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("pattern", nargs="?", help='which, for example "dolg*"; shows everything known about them')
    parser.add_argument("--json", action="store_true", help="one JSON object per line, with everything known")


def run(options: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    names = list_models(options.pattern or "*") or [canonical_name(options.pattern)]
    cards = [find_model(name) for name in names]
    cards.sort(key=lambda card: card.name != default_model())
    for card in cards:
        if options.json:
            print(json.dumps(as_json(card)))
        elif options.pattern is None:
            print(_line(card))
        else:
            print(_as_text(card))
    if options.pattern is None and not options.json:
        print('Everything about some of them: glocal models "delg*"   Weights of your own: glocal convert')
    return exits.DONE


def as_json(card: ModelCard) -> dict[str, Any]:
    """Everything known about a model as it would be loaded; what takes torch to find out is None without it."""
    at_hand = _at_hand(card)
    fields = {
        "name": card.name,
        "summary": card.summary,
        "paper": card.paper,
        "licence": card.licence,
        "trained_on": at_hand.trained_on,
        "weights": at_hand.weights,
        "preprocessing": at_hand.preprocessing.to_dict() if at_hand.preprocessing else None,
        "published": card.published,
    }
    return fields | _measures(card, at_hand.options)


@dataclass(frozen=True, slots=True)
class _AtHand:
    """The variant of a model whose weights are here, or the default one.

    Attributes:
        weights: "built in", "none", or where they were installed.
        options: of the network.
        preprocessing: None for a classical model.
        trained_on: what the weights were learned from.
    """

    weights: str
    options: dict[str, Any]
    preprocessing: Preprocessing | None
    trained_on: str


def _at_hand(card: ModelCard) -> _AtHand:
    if not card.is_network:
        return _AtHand("built in", {}, None, card.trained_on)
    place = weights_of(card.name)
    if place is None:
        return _AtHand("none", {}, card.preprocessing(), card.trained_on)
    weights = "built in" if place == shipped_model(card.name) else str(place)
    try:
        config = json.loads((place / "config.json").read_text("utf-8"))
        rules = Preprocessing.from_dict(config["preprocessing"])
        trained_on = str(config["card"].get("trained_on") or "not stated")
        return _AtHand(weights, dict(config["options"]), rules, trained_on)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ConfigError):
        return _AtHand(weights, {}, card.preprocessing(), "its config.json cannot be read")


def _measures(card: ModelCard, options: dict[str, Any]) -> dict[str, Any]:
    """Lengths of the descriptors, parameters, operations."""
    if not card.is_network:
        spec = build_classical(card.name).spec
        return {"dim": spec.dim, "local_dim": spec.local_dim, "parameters": 0, "gflop": None}
    try:
        from glocal.models.cost import cost_of  # noqa: PLC0415 - takes a second or two, and torch is optional
    except ImportError:
        return dict.fromkeys(("dim", "local_dim", "parameters", "gflop"))
    cost = cost_of(card.name, **options)
    return {
        "dim": cost.dim,
        "local_dim": cost.local_dim,
        "parameters": cost.num_parameters,
        "gflop": round(cost.gflop, 1),
    }


def _line(card: ModelCard) -> str:
    state = {"built in": "built in", "none": "no weights here"}.get(_at_hand(card).weights, "installed")
    default = ", default" if card.name == default_model() else ""
    return f"{card.name:<20} {exits.printable(card.summary)} ({state}{default})"


def _as_text(card: ModelCard) -> str:
    fields = as_json(card)
    lines = [card.name]
    for name in ("summary", "paper", "licence", "trained_on", "weights"):
        lines.append(f"  {name.replace('_', ' '):<{_WIDTH}} {exits.printable(fields[name])}")
    local = f", local features of {fields['local_dim']}" if fields["local_dim"] else ", no local features"
    numbers = f"{fields['dim']} numbers{local}" if fields["dim"] else "pip install 'glocal[torch]' to see it"
    lines.append(f"  {'descriptor':<{_WIDTH}} {numbers}")
    if fields["parameters"]:
        cost = f"{fields['parameters'] / 1e6:.1f} million parameters, {fields['gflop']:,.0f} GFLOP per photo of 4:3"
        lines.append(f"  {'cost':<{_WIDTH}} {cost}")
    if fields["preprocessing"]:
        how = Preprocessing.from_dict(fields["preprocessing"])
        mean, std = (_numbers(values if len(set(values)) > 1 else values[:1]) for values in (how.mean, how.std))
        lines.append(f"  {'colours':<{_WIDTH}} RGB of 0 to 255, minus {mean}, divided by {std}")
        longest = f"longest side {how.image_size} px ({how.resize})" if how.image_size else "full size"
        lines.append(f"  {'pictures':<{_WIDTH}} {longest}; scales {_numbers(how.scales)}")
        if how.local_scales and fields["local_dim"]:
            lines.append(f"  {'':<{_WIDTH}} local features at scales {_numbers(how.local_scales)}")
        crop = "reduced by the same rule" if how.resize == "area" else "as large as inside the reduced picture"
        lines.append(f"  {'query box':<{_WIDTH}} cut out, then {crop}")
    for protocol, value in card.published.items():
        lines.append(
            f"  {'published' if protocol == next(iter(card.published)) else '':<{_WIDTH}} {value:5.2f} mAP {protocol}"
        )
    return "\n".join(lines)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)
