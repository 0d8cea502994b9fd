"""A training run on disk: everything that the next step depends on, in one file, replaced at once.

Tensors go into safetensors, numbers into its metadata as JSON; nothing is pickled. What is not in the file is a
pure function of the recipe and the step: the order of the photos, their augmentation, dropout, the learning rate.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from glocal.errors import ConfigError, WeightsError
from glocal.train.averaging import Average

FILE = "last.safetensors"


@dataclass(slots=True)
class Progress:
    """Where a run is.

    Attributes:
        step: optimiser steps done.
        best: highest validation mAP so far, 0 to 1; negative before the first.
        best_step: when that was.
        damaged: photos that could not be read: source and reason.
        recipe: digest of the recipe; a checkpoint of another one is refused.
    """

    step: int = 0
    best: float = -1.0
    best_step: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)
    recipe: str = ""


def save_checkpoint(
    directory: Path, trainee: nn.Module, optimiser: torch.optim.Optimizer, average: Average | None, progress: Progress
) -> None:
    """Write a checkpoint in the place of the last one; a reader sees the old or the new, never half of one."""
    tensors = {f"trainee.{name}": value for name, value in trainee.state_dict().items()}
    for i, parameter in enumerate(_parameters(optimiser)):
        momentum = optimiser.state[parameter].get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{i}"] = momentum
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    copies = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()
    }
    data = safetensors.torch.save(copies, {"progress": json.dumps(asdict(progress))})
    descriptor, temporary = tempfile.mkstemp(prefix=f".{FILE}.", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, directory / FILE)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_checkpoint(
    directory: Path, trainee: nn.Module, optimiser: torch.optim.Optimizer, average: Average | None, recipe: str
) -> Progress | None:
    """Go on where a run stopped; None where there is no checkpoint.

    Args:
        directory: of the run.
        trainee: gets its parameters and buffers back.
        optimiser: gets its momentum back.
        average: gets the averaged weights back.
        recipe: digest of the recipe that is about to run.

    Raises:
        ConfigError: the checkpoint is of another recipe.
        WeightsError: it is damaged.
    """
    path = directory / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progress = _progress(json.loads(file.metadata()["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is damaged ({error}). → delete it to start the run anew") from error
    if progress.recipe != recipe:
        raise ConfigError(
            f"{directory} holds a run of another recipe (see its recipe.json). → the same recipe goes on; --out names "
            "a new folder"
        )
    trainee.load_state_dict(_under("trainee.", tensors))
    for i, parameter in enumerate(_parameters(optimiser)):
        if f"momentum.{i}" in tensors:
            optimiser.state[parameter]["momentum_buffer"] = tensors[f"momentum.{i}"].to(parameter.device)
    if average is not None:
        average.load_state_dict(_under("average.", tensors))
    return progress


def _progress(fields: dict[str, Any]) -> Progress:
    damaged = [(str(source), str(reason)) for source, reason in fields.pop("damaged")]
    return Progress(**fields, damaged=damaged)


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
