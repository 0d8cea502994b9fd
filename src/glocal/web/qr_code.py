"""An address for the camera of a phone (segno)."""

from __future__ import annotations

import io

import segno


def drawn(address: str) -> str:
    """A QR code in the half blocks of a terminal with light letters on dark, with the quiet zone that cameras need."""
    lines = io.StringIO()
    segno.make_qr(address, error="m").terminal(out=lines, compact=True)
    return lines.getvalue().rstrip("\n")
