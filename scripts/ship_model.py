"""Put a trained network into the package: half precision, a card that lists every source, and its fingerprint.

    python scripts/ship_model.py runs/NAME/best ../shared/data/photos-train --note "what is to be known" ...
    python scripts/ship_model.py runs/DOLG/best ../shared/data/photos-train --local runs/DELG/best ...

The folder is the `best/` of a run; `recipe.json` of the run lies beside it and says which photos were used. Fit the
bands afterwards: `python scripts/fit_bands.py PHOTOS --model NAME`. With `--local` a DOLG or Token becomes a glocal: it
takes the local head of a network that was trained with the very same backbone.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from glocal.home import shipped_model
from glocal.models.catalogue import create_model, find_model, preprocessing_of
from glocal.models.weights import TENSORS, ModelConfig, load_model, save_model

BASE = "MobileNetV2 1.0 of google-coral/test_data (tf2_mobilenet_v2_1.0_224_ptq.tflite), ImageNet-1k, Apache-2.0"
LICENCE = "Apache-2.0 for what was added here; trained on photos under the licences listed below"
LICENCE_OPEN = "Apache-2.0; trained on photos under open licences alone, listed below"
TIERS = {"A": "open licence", "B": "public research set", "C": "no licence stated"}
KINDS = "grocery-fresh"
"""Groups of what is alike and not the same; no recipe of ours learns from them."""
MAX_BYTES = 12_000_000


def photos_of(run: Path) -> dict[str, list[str]]:
    """Which photos a run took (`data.only` of its recipe)."""
    recipe = json.loads((run.parent / "recipe.json").read_text("utf-8"))
    return {key: list(value) for key, value in recipe["data"]["only"].items()}


def sources_of(photos: Path, selections: list[dict[str, list[str]]]) -> list[str]:
    """One line for every source of the photos that one of some runs took: count, place, licence, tier."""
    counts: Counter[tuple[str, str, str]] = Counter()
    with (photos / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            tier = row["image"].split("-")[1]
            is_kind = row["group"].startswith(KINDS)
            source = row["source_repo"]
            if any(
                tier in only.get("tier", [tier])
                and source in only.get("source_repo", [source])
                and not (is_kind and "kind" in only)
                for only in selections
            ):
                counts[tier, row["source_repo"], row["licence"]] += 1
    return [
        f"{count} photos of {source} (licence: {licence}; {TIERS[tier]})"
        for (tier, source, licence), count in sorted(counts.items())
    ]


def join(system: nn.Module, config: ModelConfig, local: Path) -> tuple[nn.Module, ModelConfig]:
    """The local head of another network for a DELG; for a DOLG or Token, which then becomes a glocal."""
    other, _, _ = load_model(local)
    images = torch.rand(1, 3, 96, 128)
    with torch.inference_mode():
        mine, theirs = (module.get_submodule("backbone").eval()(images).c3 for module in (system, other))
    if not torch.equal(mine, theirs):
        raise SystemExit(f"{local} has another c3, the map that local features are read from: they do not fit")
    family, _, body = config.name.partition("_")
    if family == "delg":
        system.get_submodule("local_head").load_state_dict(other.get_submodule("local_head").state_dict())
        return system, config
    options = config.options | {"system": family}
    network = create_model(f"glocal_{body}", **options)
    network.get_submodule("system").load_state_dict(system.state_dict())
    network.get_submodule("local_head").load_state_dict(other.get_submodule("local_head").state_dict())
    return network, dataclasses.replace(config, name=f"glocal_{body}", options=options)


def main() -> None:
    """Read, halve, write, say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="best/ of a run")
    parser.add_argument("photos", type=Path, help="folder of the training photos, with manifest.csv")
    parser.add_argument("--local", type=Path, help="best/ of a run with local features and the same backbone")
    parser.add_argument("--note", action="append", default=[], help="a paragraph of the card; may be repeated")
    options = parser.parse_args()
    network, config, _ = load_model(options.model)
    if options.local:
        network, config = join(network, config, options.local)
    about = json.loads((options.model / "fingerprint.json").read_text("utf-8"))["source"]
    selections = [photos_of(run) for run in (options.model, options.local) if run]
    is_open = all(only.get("tier") == ["A"] for only in selections)
    about_model = find_model(config.name)
    card = dict(config.card) | {
        "summary": about_model.summary,
        "paper": about_model.paper,
        "licence": about_model.licence,
        "weights_licence": LICENCE_OPEN if is_open else LICENCE,
        "base_model": BASE,
        "datasets": ["photos-train"],
        "trained_on": f"{config.card['trained_on'].split(':')[0]}, and rendered views of them; sources below",
        "notes": [
            *options.note,
            "Sources of the pool from which the photos were taken:\n\n"
            + "\n".join(f"- {line}" for line in sources_of(options.photos, selections)),
            "No photo can be recovered from these numbers, and none is in the package. No photo of Oxford5k, Paris6k "
            "or of the development set was used for training, selection or calibration.",
        ],
    }
    config = ModelConfig(config.name, config.options, preprocessing_of(config.name, **config.options), card)
    place = shipped_model(config.name)
    shutil.rmtree(place, ignore_errors=True)
    save_model(place, network, config, about, half=True)
    size = (place / TENSORS).stat().st_size
    print(f"{place}: {size / 1e6:.2f} MB")
    if size > MAX_BYTES:
        raise SystemExit(f"more than {MAX_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
