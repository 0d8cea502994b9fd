"""What `glocal train` and `glocal finetune` say while they work. Imports torch."""

from __future__ import annotations

import sys
import time

from glocal.cli.signals import Interruption
from glocal.progress import LINE_EVERY_S, clock, per_second, thousands
from glocal.train.loop import Watcher
from glocal.train.recipe import Recipe


class Narrator(Watcher):
    """One line when something happens, and every half minute.

    Args:
        interruption: ends the run after the step that is being made.
        quiet: say nothing.
    """

    def __init__(self, interruption: Interruption, quiet: bool = False) -> None:
        self._interruption, self._quiet = interruption, quiet
        self._started = self._last = time.monotonic()
        self._first = 0

    def say(self, line: str) -> None:
        """One line on stderr."""
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def started(self, recipe: Recipe, photos: int, classes: int, held_back: int, step: int, steps: int) -> None:
        """Tell what is trained on what."""
        self._first = step
        self.say(f"{recipe.name}: {recipe.model.name} on {thousands(photos)} photos of {thousands(classes)} classes")
        self.say(f"  {thousands(held_back)} photos held back for validation; {thousands(steps)} steps. Ctrl-C is safe.")
        if step:
            self.say(f"  continuing after step {thousands(step)}")
        self._started = self._last = time.monotonic()

    def prepared(self, seconds: float) -> None:
        """Tell how long the warm start took; it is no part of the estimate."""
        self.say(f"  warm start: {seconds:.0f} s")
        self._started = self._last = time.monotonic()

    def stepped(self, step: int, steps: int, losses: dict[str, float], images_per_s: float, waiting: float) -> None:
        """Tell losses, speed and what is left."""
        now = time.monotonic()
        if now - self._last < LINE_EVERY_S and step not in (1, steps):
            return
        self._last = now
        left = (now - self._started) / (step - self._first) * (steps - step)
        parts = "  ".join(f"{key.rstrip('_')} {value:.4f}" for key, value in losses.items())
        speed = f"{per_second(images_per_s)}, {waiting:.0%} waiting"
        self.say(f"step {thousands(step)}/{thousands(steps)}  {parts}  {speed}  ETA {clock(left)}")

    def validated(self, step: int, score: float, is_best: bool) -> None:
        """Tell the mAP."""
        self.say(f"step {thousands(step)}  validation mAP {score:.4f}{'  best so far' if is_best else ''}")

    def should_stop(self) -> bool:
        """Whether a signal came."""
        return self._interruption.received is not None
