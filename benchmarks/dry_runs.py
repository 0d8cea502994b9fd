"""Two hundred steps of every recipe for Google Landmarks v2, on a few rendered photos in its layout.

    python benchmarks/dry_runs.py [--steps 200] [--size 64] [--batch 4] [--out runs/dry]

Nothing is learned that is worth keeping: it shows that each recipe's data source, network, augmentation, losses,
optimiser, schedule, checkpoint and export work together, and that the loss stays finite. Pictures and batches are made
small for a machine without a GPU; nothing else of the recipes is changed.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
import time
from pathlib import Path

import cv2

from glocal.data.scenes import render, scene_names
from glocal.extract.load import load
from glocal.train.loop import BEST, LOG, Trainer
from glocal.train.recipe import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
VIEWS = 6


def write_landmarks(folder: Path) -> None:
    """Rendered scenes as landmarks, in the layout and with the CSV file of Google Landmarks v2."""
    lines = ["landmark_id,images"]
    for number, scene in enumerate(scene_names()):
        names = []
        for view in range(VIEWS):
            name = f"{number:02x}{view:02x}" + "0" * 12
            place = folder / "train" / name[0] / name[1] / name[2] / f"{name}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place), cv2.cvtColor(render(scene, view, size=(160, 120)).pixels, cv2.COLOR_RGB2BGR))
            names.append(name)
        lines.append(f"{number},{' '.join(names)}")
    (folder / "train" / "train_clean.csv").write_text("\n".join(lines) + "\n", "utf-8")


def main() -> None:
    """Run each, print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("runs/dry"))
    parser.add_argument("recipes", nargs="*", type=Path, default=sorted(RECIPES.glob("*_gldv2.toml")))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_landmarks(Path(folder))
        print(f"{'recipe':<28}{'steps':>7}{'loss, first 20':>16}{'last 20':>10}{'s per step':>12}{'descriptor':>12}")
        for path in options.recipes:
            small = [f"data.image_size={options.size}", f"run.batch_size={options.batch}", "run.accumulate=1"]
            recipe = load_recipe(path, [*small, f"schedule.steps={options.steps}", f"data.path={folder}"])
            started = time.perf_counter()
            progress = Trainer(recipe, options.out / recipe.name, "auto").run()
            seconds = (time.perf_counter() - started) / progress.step
            with (options.out / recipe.name / LOG).open(newline="", encoding="utf-8") as file:
                losses = [float(row["loss"]) for row in csv.DictReader(file)]
            if progress.step != options.steps or not all(map(math.isfinite, losses)):
                raise SystemExit(f"{recipe.name}: stopped after {progress.step} steps")
            first, last = (sum(part) / len(part) for part in (losses[:20], losses[-20:]))
            dim = load(options.out / recipe.name / BEST, "cpu").spec.dim
            print(
                f"{recipe.name:<28}{progress.step:>7}{first:>16.2f}{last:>10.2f}{seconds:>12.2f}{dim:>12}", flush=True
            )


if __name__ == "__main__":
    main()
