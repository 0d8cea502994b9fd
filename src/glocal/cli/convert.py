"""Turn a released checkpoint into a model's folder that `--model` takes.

Reads the PyTorch checkpoints of feymanpriv/DOLG, feymanpriv/DELG and MCC-WH/Token, the variables of the
TensorFlow DELG, and plain ResNets or MobileNetV2 (--partial: only the backbone is filled). What variant a file
holds is taken from its tensors. Files are read as tensors; code in them is refused, not run.

The folder gets model.safetensors, config.json, fingerprint.json and a model card. It appears only if the network
read back from it answers 16 probe pictures as the checkpoint does (cosine at least 0.9999).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from glocal.cli import exits
from glocal.errors import ConfigError
from glocal.home import installed_model
from glocal.models.catalogue import canonical_name, require_torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("file", help="the checkpoint: .pth .pyth .pt .bin .safetensors .npz, or a TensorFlow checkpoint")
    add("settings", nargs="*", metavar="KEY=VALUE", help="what the tensors do not say, such as refine_order=paper")
    add("--as", dest="name", required=True, metavar="NAME", help="what it is, such as dolg-r101; see `glocal models`")
    add("--out", metavar="DIR", help="the folder to write (default: the place where --model NAME looks)")
    add("--partial", action="store_true", help="accept missing tensors (they stay random) and unknown ones (left out)")
    add("--json", action="store_true", help="one JSON object instead of the report")
    # Settings may stand anywhere on the line, also after --out DIR.
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]


def run(options: argparse.Namespace) -> int:
    """Convert; returns the exit code."""
    settings = dict(_setting(word) for word in options.settings)
    name = canonical_name(options.name)
    require_torch("glocal convert")
    # Networks take a second to import: mistyped names and settings are told before.
    from glocal.models.conversion import convert, install, setting_text  # noqa: PLC0415
    from glocal.models.probes import NUM_PROBES  # noqa: PLC0415
    from glocal.models.weights import expect_place  # noqa: PLC0415

    directory = Path(options.out) if options.out else installed_model(name)
    expect_place(directory)
    conversion = convert(Path(options.file), options.name, settings, options.partial)
    if not options.out:
        _expect_same(directory, conversion.config.options)
    cosine = install(conversion, directory)
    fields = {
        "model": name,
        "options": conversion.config.options,
        "matched": conversion.matched,
        "renamed": conversion.renamed,
        "missing": list(conversion.missing),
        "unused": conversion.unused,
        "probes": NUM_PROBES,
        "cosine": cosine,
        "path": str(directory),
    }
    if options.json:
        print(json.dumps(fields))
        return exits.DONE
    report = f"{conversion.summary()}   parity on {NUM_PROBES} probes: cos min {cosine:.5f} ✓"
    print(f"  {exits.printable(report)}")
    chosen = ", ".join(setting_text(key, value) for key, value in conversion.config.options.items())
    print(f"  {name}{f' ({chosen})' if chosen else ''} written to {exits.printable(str(directory))}")
    if conversion.missing:
        print(f"{len(conversion.missing)} tensors have random values: train it before use.", file=sys.stderr)
    else:
        model = options.name if not options.out else exits.printable(str(directory))
        print(f"→ glocal index PHOTOS --model {model}", file=sys.stderr)
    return exits.DONE


def _setting(word: str) -> tuple[str, Any]:
    """`multi_atrous=true` -> ("multi_atrous", True)."""
    key, equals, value = word.partition("=")
    if not equals or not key.isidentifier():
        raise ConfigError(f'"{word}" is not a setting: write KEY=VALUE, such as multi_atrous=true')
    plain: dict[str, Any] = {"true": True, "false": False}
    if value.lower() in plain:
        return key, plain[value.lower()]
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value


def _expect_same(directory: Path, options: dict[str, Any]) -> None:
    """Two variants of one name must not overwrite each other where `--model NAME` looks."""
    from glocal.models.conversion import setting_text  # noqa: PLC0415
    from glocal.models.weights import read_config  # noqa: PLC0415

    if not (directory / "config.json").is_file():
        return
    there = read_config(directory).options
    if there != options:
        differing = sorted(key for key in {*there, *options} if there.get(key) != options.get(key))
        old = ", ".join(setting_text(key, there.get(key)) for key in differing)
        new = ", ".join(setting_text(key, options.get(key)) for key in differing)
        raise ConfigError(f"{directory} holds this model with {old} already, and this is {new}. → give --out DIR")
