"""Adapt a network to a folder of photos; the same command goes on after any interruption.

Without --labels, the groups are found by geometrically verified matches: no annotation is needed. With --labels folder,
every first folder below FOLDER is one object; with --labels FILE.csv, columns path and label say it.
A fifth of the objects is held back from training, and the table at the end compares both models on them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from glocal.cli import exits
from glocal.cli.index import DEVICE_HELP
from glocal.cli.signals import Interruption
from glocal.errors import ConfigError
from glocal.models.catalogue import DEFAULT_NETWORK, require_torch
from glocal.progress import LINE_EVERY_S, clock, thousands


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("photos", metavar="FOLDER", help="photos to learn from")
    add(
        "--from",
        dest="model",
        default=DEFAULT_NETWORK,
        metavar="NAME|DIR",
        help=f"begin with (default: {DEFAULT_NETWORK})",
    )
    add("--labels", metavar="folder|FILE.csv", help="where labels are; without it they are found by verified matches")
    add("--out", metavar="DIR", help="the run's folder (default: runs/ and the name of FOLDER)")
    add("--epochs", type=float, default=10.0, metavar="N", help="how often every photo is seen (default: 10)")
    add("--size", type=int, default=224, metavar="PX", help="side of the pictures in training (default: 224)")
    add("--device", default="auto", metavar="D", help=DEVICE_HELP)
    add("-q", "--quiet", action="store_true", help="say nothing but errors and the result")


def run(options: argparse.Namespace) -> int:
    """Mine, train, compare; returns the exit code."""
    photos = Path(options.photos)
    if not photos.is_dir():
        raise ConfigError(f"No such folder: {photos}")
    require_torch("glocal finetune")
    from glocal.cli.narrator import Narrator  # noqa: PLC0415 - imports torch
    from glocal.finetune import MINED, finetune, finetune_recipe, mine_labels  # noqa: PLC0415 - imports torch
    from glocal.train.recipe import load_recipe  # noqa: PLC0415 - imports torch

    directory = Path(options.out) if options.out else Path("runs") / (photos.resolve().name or "photos")
    with Interruption() as interruption:
        narrator = Narrator(interruption, options.quiet)
        resolved = directory / "recipe.json"
        if resolved.exists():  # the run goes on as it was begun
            recipe = load_recipe(resolved)
        else:
            labels = None if options.labels == "folder" else Path(options.labels or directory / MINED)
            if options.labels is None:
                directory.mkdir(parents=True, exist_ok=True)
                narrator.say(
                    f"Finding groups in {photos} by verified matches; --labels folder takes its folders instead"
                )
                found = mine_labels(photos, directory / MINED, _Count(narrator.say))
                share = f"{thousands(found.grouped)} of {thousands(found.photos)} photos"
                narrator.say(f"  {thousands(found.groups)} groups, {share} → {directory / MINED}")
            recipe = finetune_recipe(photos, labels, options.model, options.epochs, options.size)
        outcome = finetune(recipe, directory, options.device, narrator)
    if not outcome.finished:
        narrator.say(f"Stopped; saved in {directory}. Run the same command to continue.")
        return interruption.exit_code
    if outcome.before is None or outcome.after is None:
        narrator.say("Too few objects to hold some back: how good the new model is was not measured.")
    else:
        print(f"mAP on {outcome.queries} photos of objects that were held back")
        print(f"  before  {100 * outcome.before:5.1f}   {recipe.model.name}")
        print(f"  after   {100 * outcome.after:5.1f}   {exits.printable(str(outcome.model))}")
        if outcome.after <= outcome.before:
            print(f"The new model is not better on them: keep {recipe.model.name}.")
            return exits.DONE
    narrator.say(f"→ glocal index PHOTOS --model {outcome.model}")
    print(exits.printable(str(outcome.model)))
    return exits.DONE


class _Count:
    """A line now and then while matches are verified."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._started = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done and now - self._last >= LINE_EVERY_S:
            self._last = now
            left = (now - self._started) / done * (total - done)
            self._say(f"  {thousands(done)}/{thousands(total)} photos matched  ETA {clock(left)}")
