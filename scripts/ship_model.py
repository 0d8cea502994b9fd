"""Put a trained network into the package: half precision, a card that lists every source, and its fingerprint.

    python scripts/ship_model.py runs/NAME/best ../shared/data/photos-train --note "what is to be known" ...

The folder is the `best/` of a run; `recipe.json` of the run lies beside it and says which photos were used. Fit the
bands afterwards: `python scripts/fit_bands.py PHOTOS --model NAME`.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections import Counter
from pathlib import Path

from glocal.home import shipped_model
from glocal.models.catalogue import preprocessing_of
from glocal.models.weights import TENSORS, ModelConfig, load_model, save_model

BASE = "MobileNetV2 1.0 of google-coral/test_data (tf2_mobilenet_v2_1.0_224_ptq.tflite), ImageNet-1k, Apache-2.0"
TIERS = {"A": "open licence", "B": "public research set", "C": "no licence stated"}
MAX_BYTES = 12_000_000


def sources_of(photos: Path, only: dict[str, list[str]]) -> list[str]:
    """One line for every source of the training photos: count, place, licence, tier."""
    counts: Counter[tuple[str, str, str]] = Counter()
    with (photos / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            tier = row["image"].split("-")[1]
            if tier in only.get("tier", list(TIERS)):
                counts[tier, row["source_repo"], row["licence"]] += 1
    return [
        f"{count} photos of {source} (licence: {licence}; {TIERS[tier]})"
        for (tier, source, licence), count in sorted(counts.items())
    ]


def main() -> None:
    """Read, halve, write, say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="best/ of a run")
    parser.add_argument("photos", type=Path, help="folder of the training photos, with manifest.csv")
    parser.add_argument("--note", action="append", default=[], help="a paragraph of the card; may be repeated")
    options = parser.parse_args()
    network, config, _ = load_model(options.model)
    recipe = json.loads((options.model.parent / "recipe.json").read_text("utf-8"))
    about = json.loads((options.model / "fingerprint.json").read_text("utf-8"))["source"]
    only = {key: list(value) for key, value in recipe["data"]["only"].items()}
    card = dict(config.card) | {
        "weights_licence": "Apache-2.0 for what was added here; trained on photos under the licences listed below",
        "base_model": BASE,
        "datasets": ["photos-train"],
        "trained_on": f"{config.card['trained_on'].split(':')[0]}, and rendered views of them; sources below",
        "notes": [
            *options.note,
            "Sources of the pool from which the photos were taken:\n\n"
            + "\n".join(f"- {line}" for line in sources_of(options.photos, only)),
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
