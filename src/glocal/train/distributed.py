"""The processes of one run: who this one is, and what they agree on.

`torchrun` starts them and says so in environment variables; without it there is one. Everything they exchange is
numbers: nothing is pickled.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from glocal.errors import ConfigError

_PATIENCE = datetime.timedelta(hours=2)  # the others wait while the first one validates


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the run.

    Attributes:
        rank: its number; 0 writes and speaks.
        world: how many there are.
        local_rank: its number on this machine, which is that of its GPU.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this one writes and speaks."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """Where this process computes: on its own GPU, if on one at all; a single process keeps what it wants.

        Raises:
            ConfigError: one GPU is named for several processes.
        """
        if self.world == 1 or not wanted.startswith("cuda"):
            return wanted
        if wanted != "cuda":
            raise ConfigError(f"--device {wanted} is one GPU for {self.world} processes. → --device cuda")
        return f"cuda:{self.local_rank}"

    def wrap(self, module: nn.Module, device: str) -> nn.Module:
        """The module with gradients that are means over all processes."""
        if self.world == 1:
            return module
        devices = [torch.device(device)] if device.startswith("cuda") else None
        return DistributedDataParallel(module, device_ids=devices)

    def mean(self, values: Sequence[float], device: str) -> list[float]:
        """Means over all processes."""
        if self.world == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=_reachable(device))
        dist.all_reduce(sums)
        return [float(value) / self.world for value in sums]

    def any(self, flags: Sequence[bool], device: str) -> list[bool]:
        """Whether any process says so: all of them go on or stop together."""
        return [value > 0 for value in self.mean([float(flag) for flag in flags], device)]

    def from_first(self, value: float, device: str) -> float:
        """What the first process has."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=_reachable(device))
        dist.broadcast(shared, 0)
        return float(shared)

    def gather(self, pairs: Sequence[tuple[str, str]], device: str) -> list[tuple[str, str]]:
        """The pairs of texts of all processes, each once, in the order of the processes."""
        if self.world == 1:
            return list(pairs)
        mine = torch.frombuffer(bytearray(json.dumps(list(pairs)).encode()), dtype=torch.uint8).to(_reachable(device))
        sizes = [torch.zeros(1, dtype=torch.int64, device=mine.device) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor([len(mine)], device=mine.device))
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8, device=mine.device)
        padded[: len(mine)] = mine
        parts = [torch.zeros_like(padded) for _ in range(self.world)]
        dist.all_gather(parts, padded)
        texts = [bytes(part[: int(size)].cpu().tolist()) for part, size in zip(parts, sizes, strict=True)]
        return list(dict.fromkeys((source, reason) for text in texts for source, reason in json.loads(text)))


def join(device: str) -> Processes:
    """Join the other processes of `torchrun`; alone where it did not start this one.

    Args:
        device: "auto", "cpu", "cuda"…: decides how they talk.

    Raises:
        ConfigError: the environment of torchrun makes no sense.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Processes()
    try:
        found = Processes(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"RANK, WORLD_SIZE and LOCAL_RANK are set, but not as torchrun sets them ({error})"
        ) from error
    if found.world > 1 and not dist.is_initialized():
        on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        if on_gpu:
            torch.cuda.set_device(found.local_rank)
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    return found


def leave() -> None:
    """Take leave of the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def synchronise_statistics(module: nn.Module, processes: Processes, device: str) -> nn.Module:
    """Batch statistics over all processes (SyncBN).

    Raises:
        ConfigError: there are several processes and no GPUs.
    """
    if processes.world == 1:
        return module
    if not device.startswith("cuda"):
        raise ConfigError("run.sync_bn needs GPUs with several processes. → run.sync_bn=false, or one process")
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return converted


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of what one process draws in one step (dropout): a pure function, so that nothing need be saved."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _reachable(device: str) -> str:
    return device if device.startswith("cuda") else "cpu"
