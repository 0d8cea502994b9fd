"""What the service writes to its log: times, levels and request ids; no names, no addresses, no contents."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class QuietFormatter(logging.Formatter):
    """Shows where an error came from and its class, but not its message: that may hold a file's name."""

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - the name of the base class
        """The frames and the class of an error."""
        kind, _, trace = ei
        return "".join(traceback.format_tb(trace)) + (kind.__name__ if kind else "")


def set_up(verbose: bool = False) -> None:
    """Write to stderr: warnings and errors, and what happens if `verbose`."""
    handler = logging.StreamHandler()
    handler.setFormatter(QuietFormatter(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    # uvicorn's line for each connection would carry the address of who asks.
    logging.getLogger("uvicorn.access").disabled = True
