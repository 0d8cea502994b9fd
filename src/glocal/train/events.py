"""A run's log for TensorBoard (optional dependency tensorboard)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FOLDER = "tensorboard"


class EventLog:
    """Writes the numbers of each step; does nothing where tensorboard is not installed.

    Args:
        directory: of the run.
        step: steps that were made before; what an earlier run wrote after it counts no more.
    """

    def __init__(self, directory: Path, step: int) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional
        except ImportError:
            return
        self._writer = SummaryWriter(str(directory / FOLDER), purge_step=step + 1)

    def write(self, row: Mapping[str, object]) -> None:
        """One line of the log: its "step", and every other field that is a number."""
        if self._writer is not None:
            for name, value in row.items():
                if name != "step" and isinstance(value, int | float):
                    self._writer.add_scalar(name, value, row["step"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
