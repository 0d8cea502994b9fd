"""The first Ctrl-C or SIGTERM asks for a clean stop; a second one ends at once."""

from __future__ import annotations

import signal
from types import FrameType

from glocal.cli import exits

EXIT_BY_SIGNAL = {signal.SIGINT: exits.INTERRUPTED, signal.SIGTERM: exits.TERMINATED}


class Interruption:
    """While entered, remembers the first signal instead of ending the process.

    Attributes:
        received: the signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    @property
    def exit_code(self) -> int:
        """The exit code that goes with the signal."""
        return EXIT_BY_SIGNAL[self.received or signal.SIGINT]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def __enter__(self) -> Interruption:
        for number in EXIT_BY_SIGNAL:
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
