"""The learning rate at a step: the published schedules as pure functions."""

from __future__ import annotations

import math

from glocal.train.recipe import SchedulePart


def total_steps(part: SchedulePart, steps_per_epoch: int) -> int:
    """Optimiser steps of a whole run, at least 1."""
    return part.steps or max(1, round(part.epochs * steps_per_epoch))


def learning_rate(part: SchedulePart, lr: float, step: int, steps_per_epoch: int) -> float:
    """The rate of one step.

    * DOLG and the PyTorch DELG (`per_epoch`): 0.5 lr (1 + cos(pi e / epochs)) with the whole epoch e; in the warm-up
      this is multiplied with a factor that rises linearly from `warmup_factor` to 1.
    * Token: rises linearly to lr, one step after another, and falls as a cosine over the steps that are left.
    * The TensorFlow DELG: lr (1 - step / steps).

    Args:
        part: of the recipe.
        lr: the peak.
        step: from 0.
        steps_per_epoch: batches of one epoch.

    Returns:
        The rate, not negative; 0 beyond the end of a falling schedule.
    """
    total = total_steps(part, steps_per_epoch)
    warmup = round(part.warmup_epochs * steps_per_epoch)
    if part.per_epoch:
        step -= step % steps_per_epoch
        factor = part.warmup_factor + (1 - part.warmup_factor) * step / warmup if step < warmup else 1.0
        return lr * factor * _left(part.kind, step / total)
    if step < warmup:
        return lr * (part.warmup_factor + (1 - part.warmup_factor) * step / max(1, warmup - 1))
    return lr * _left(part.kind, (step - warmup) / max(1, total - warmup))


def _left(kind: str, done: float) -> float:
    """The share of the peak that is left when a share of the fall is done."""
    done = min(1.0, done)
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1 - done if kind == "linear" else 1.0
