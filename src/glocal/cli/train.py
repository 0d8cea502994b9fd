"""Train a network from photos with labels, as a recipe says; the same command goes on after any interruption.

RECIPE is a .toml file (see recipes/ and docs/reproduction.md). KEY=VALUE changes single values, such as
run.batch_size=32 or data.path=/photos. The run's folder gets log.csv, curves.png, last.safetensors (the checkpoint)
and best/, the model that `glocal index --model` takes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from glocal.cli import exits
from glocal.cli.index import DEVICE_HELP
from glocal.cli.signals import Interruption
from glocal.errors import BackendUnavailable
from glocal.models.catalogue import require_torch
from glocal.progress import LINE_EVERY_S, clock, per_second, thousands

if TYPE_CHECKING:
    from glocal.train.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("recipe", help="a .toml file")
    add("settings", nargs="*", metavar="KEY=VALUE", help="values that replace the recipe's")
    add("--out", metavar="DIR", help="the run's folder (default: runs/ and the recipe's name)")
    add("--device", default="auto", metavar="D", help=DEVICE_HELP)
    add("-q", "--quiet", action="store_true", help="say nothing but errors")
    # Settings may stand anywhere on the line, also after --out DIR.
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]


def run(options: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    from glocal.train.recipe import load_recipe  # noqa: PLC0415 - help must be instant

    recipe = load_recipe(Path(options.recipe), options.settings)
    directory = Path(options.out) if options.out else Path("runs") / recipe.name
    require_torch("glocal train")
    from glocal.train.curves import draw_curves  # noqa: PLC0415 - imports torch
    from glocal.train.loop import BEST, LOG, Trainer, Watcher  # noqa: PLC0415 - imports torch

    class Narrator(Watcher):
        """One line when something happens, and every half minute."""

        def __init__(self, interruption: Interruption) -> None:
            self._interruption = interruption
            self._started = self._last = time.monotonic()
            self._first = 0

        def started(self, recipe: Recipe, photos: int, classes: int, held_back: int, step: int, steps: int) -> None:
            self._first = step
            _say(
                options,
                f"{recipe.name}: {recipe.model.name} on {thousands(photos)} photos of {thousands(classes)} classes",
            )
            _say(
                options,
                f"  {thousands(held_back)} photos held back for validation; {thousands(steps)} steps. Ctrl-C is safe.",
            )
            if step:
                _say(options, f"  continuing after step {thousands(step)}")
            self._started = self._last = time.monotonic()

        def stepped(self, step: int, steps: int, losses: dict[str, float], images_per_s: float, waiting: float) -> None:
            now = time.monotonic()
            if now - self._last < LINE_EVERY_S and step not in (1, steps):
                return
            self._last = now
            left = (now - self._started) / (step - self._first) * (steps - step)
            parts = "  ".join(f"{key.rstrip('_')} {value:.4f}" for key, value in losses.items())
            speed = f"{per_second(images_per_s)}, {waiting:.0%} waiting"
            _say(options, f"step {thousands(step)}/{thousands(steps)}  {parts}  {speed}  ETA {clock(left)}")

        def validated(self, step: int, score: float, is_best: bool) -> None:
            _say(options, f"step {thousands(step)}  validation mAP {score:.4f}{'  best so far' if is_best else ''}")

        def should_stop(self) -> bool:
            return self._interruption.received is not None

    with Interruption() as interruption:
        trainer = Trainer(recipe, directory, options.device, Narrator(interruption))
        progress = trainer.run()
    for source, reason in progress.damaged[:10]:
        _say(options, f"damaged  {exits.printable(source)} — {exits.printable(reason)}")
    if progress.step < trainer.steps:
        _say(options, f"Stopped after step {thousands(progress.step)}; saved. Run the same command to continue.")
        return interruption.exit_code
    try:
        draw_curves(directory / LOG, directory / "curves.png")
    except BackendUnavailable as error:
        _say(options, f"no curves.png: {error}")
    place = exits.printable(str(directory / BEST))
    _say(
        options,
        f"✓ {thousands(progress.step)} steps. Best: mAP {progress.best:.4f} at step {thousands(progress.best_step)}.",
    )
    _say(options, f"→ glocal index PHOTOS --model {place}")
    print(place)
    return exits.DONE


def _say(options: argparse.Namespace, line: str) -> None:
    if not options.quiet:
        print(line, file=sys.stderr, flush=True)
