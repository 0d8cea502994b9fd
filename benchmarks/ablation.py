"""What each system adds: GeM, DELG, DOLG, Token, glocal with one backbone, the same photos, steps and views.

    python benchmarks/ablation.py ../shared/data/photos-train ../shared/data/photos-dev --init INIT --out runs/ablation

Every run is `recipes/gem_mobilenetv2_ablation.toml` with another name of the model and another seed. The trained
networks describe the development set (global descriptors alone, two scales, queries as they are: a fifth of the time of
what `benchmarks/photos.py` does) and are scored as there. A run that was finished is not made again; the table is
printed after each.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from photos import mean, precision_by_setup, source_of

from glocal.data.image import decode
from glocal.extract.network import NetworkExtractor
from glocal.models.weights import load_model
from glocal.train.loop import BEST, Trainer, Watcher
from glocal.train.recipe import load_recipe

SYSTEMS = ("gem", "delg", "dolg", "token", "glocal")
SCALES = (0.5, 0.70710677)
RECIPE = Path(__file__).parents[1] / "recipes/gem_mobilenetv2_ablation.toml"
COLUMNS = ("held-back groups", "all Oxford medium", "all Oxford hard", "all medium")


class Quiet(Watcher):
    """One line per two hundred steps."""

    def stepped(self, step: int, steps: int, losses: dict[str, float], images_per_s: float, waiting: float) -> None:
        """Tell how far it is."""
        if step % 200 == 0 or step == steps:
            print(f"  step {step}/{steps}  loss {losses['total']:.2f}  {images_per_s:.0f} photos/s", flush=True)


def describe(network: NetworkExtractor, data: Path, names: list[str], boxes: list[Any]) -> NDArray[np.float32]:
    """Photos, or the parts in boxes x1, y1, x2, y2 -> (N, D) descriptors."""

    def one(name: str, box: list[float] | None) -> NDArray[np.float32]:
        part = None if box is None else (box[0], box[1], box[2] - box[0], box[3] - box[1])
        photo = decode((data / name).read_bytes(), name, network.spec.image_size, box=part)
        return network.extract(photo).descriptor

    with ThreadPoolExecutor(network.num_threads, initializer=network.enter_thread) as threads:
        return np.stack(list(threads.map(one, names, boxes)))


def load_trained(folder: Path) -> NetworkExtractor:
    """A trained network, global descriptors at two scales alone."""
    network, config, fingerprint = load_model(folder)
    rules = dataclasses.replace(config.preprocessing, scales=SCALES, local_scales=())
    return NetworkExtractor(network, config.name, rules, fingerprint)


def score(network: NetworkExtractor, data: Path) -> dict[str, float]:
    """Score the development set with global descriptors alone: "source setup" -> mAP in percent."""
    truth = json.loads((data / "groundtruth.json").read_text("utf-8"))
    gallery = describe(network, data, truth["gallery"], [None] * len(truth["gallery"]))
    queries = describe(network, data, *([query[key] for query in truth["queries"]] for key in ("query", "box")))
    values: dict[str, list[float]] = {}
    for query, similarity in zip(truth["queries"], queries @ gallery.T, strict=True):
        ranked = [truth["gallery"][i] for i in np.argsort(-similarity, kind="stable")]
        for setup, precision in precision_by_setup(query, ranked).items():
            for group in (source_of(query), "all", *(["all Oxford"] if query["origin"] != "groups" else [])):
                values.setdefault(f"{group} {setup}", []).append(precision)
    return {name: mean(found) for name, found in values.items()}


def print_table(done: dict[str, dict[str, float]]) -> None:
    """Mean and spread over the seeds that are there."""
    print(f"\n{'system':<10}{'seeds':>6}" + "".join(f"{column:>22}" for column in COLUMNS))
    for system in SYSTEMS:
        rows = [row for name, row in done.items() if name.startswith(f"{system}-")]
        if rows:
            cells = [[row[column] for row in rows] for column in COLUMNS]
            text = [f"{statistics.fmean(c):.1f} ± {statistics.stdev(c) if len(c) > 1 else 0:.1f}" for c in cells]
            print(f"{system:<10}{len(rows):>6}" + "".join(f"{cell:>22}" for cell in text), flush=True)


def main() -> None:
    """Train, describe, score, print; goes on where it stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="shards to train on")
    parser.add_argument("data", type=Path, help="folder with groundtruth.json")
    parser.add_argument("--init", type=Path, required=True, help="checkpoint that fills the backbone")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--systems", nargs="*", default=SYSTEMS)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="values that replace the recipe's")
    options = parser.parse_args()
    results = options.out / "results.json"
    done: dict[str, dict[str, float]] = json.loads(results.read_text("utf-8")) if results.exists() else {}
    for seed in range(options.seeds):
        for system in options.systems:
            name = f"{system}-{seed}"
            if name in done:
                continue
            print(name, flush=True)
            changes = (f"model.name={system}_mobilenetv2", f"model.init={options.init}", f"data.path={options.photos}")
            recipe = load_recipe(RECIPE, [*changes, f"run.seed={seed}", *options.settings])
            progress = Trainer(recipe, options.out / name, "auto", Quiet()).run()
            row = {"held-back groups": 100 * progress.best} | score(
                load_trained(options.out / name / BEST), options.data
            )
            done[name] = row
            results.write_text(json.dumps(done, indent=1), "utf-8")
            print_table(done)


if __name__ == "__main__":
    main()
