"""Train a network from photos with labels, as a recipe says; the same command goes on after any interruption.

RECIPE is a .toml file (see recipes/ and docs/reproduction.md). KEY=VALUE changes single values, such as
run.batch_size=32 or data.path=/photos. The run's folder gets log.csv, curves.png, tensorboard/, last.safetensors (the
checkpoint) and best/, the model that `glocal index --model` takes. Several processes, one for each GPU:
torchrun --nproc_per_node N -m glocal train RECIPE
"""

from __future__ import annotations

import argparse
from pathlib import Path

from glocal.cli import exits
from glocal.cli.index import DEVICE_HELP
from glocal.cli.signals import Interruption
from glocal.errors import BackendUnavailable
from glocal.models.catalogue import require_torch
from glocal.progress import thousands


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
    from glocal.cli.narrator import Narrator  # noqa: PLC0415 - imports torch
    from glocal.train.curves import draw_curves  # noqa: PLC0415 - imports torch
    from glocal.train.distributed import join, leave  # noqa: PLC0415 - imports torch
    from glocal.train.loop import BEST, LOG, Trainer  # noqa: PLC0415 - imports torch

    processes = join(options.device)
    try:
        with Interruption() as interruption:
            narrator = Narrator(interruption, options.quiet or not processes.is_first)
            trainer = Trainer(recipe, directory, options.device, narrator, processes)
            progress = trainer.run()
    finally:
        leave()
    if not processes.is_first:
        return exits.DONE if progress.step == trainer.steps else interruption.exit_code
    for source, reason in progress.damaged[:10]:
        narrator.say(f"damaged  {exits.printable(source)} — {exits.printable(reason)}")
    if progress.step < trainer.steps:
        narrator.say(f"Stopped after step {thousands(progress.step)}; saved. Run the same command to continue.")
        return interruption.exit_code
    try:
        draw_curves(directory / LOG, directory / "curves.png")
    except BackendUnavailable as error:
        narrator.say(f"no curves.png: {error}")
    place = exits.printable(str(directory / BEST))
    narrator.say(
        f"✓ {thousands(progress.step)} steps. Best: mAP {progress.best:.4f} at step {thousands(progress.best_step)}.",
    )
    narrator.say(f"→ glocal index PHOTOS --model {place}")
    print(place)
    return exits.DONE
