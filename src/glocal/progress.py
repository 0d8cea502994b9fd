"""What a long run shows while it works: a bar on a terminal, a line now and then elsewhere, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from glocal.extract.run import IndexReport, Listener
from glocal.store.rows import CatalogueRow
from glocal.store.scan import Changes, FolderScan

LINE_EVERY_S = 30.0
RATE_WINDOW_S = 30.0


def per_second(rate: float) -> str:
    """A rate for people: "120 img/s", "0.4 img/s"."""
    return f"{rate:.0f} img/s" if rate >= 10 else f"{rate:.1f} img/s"


def clock(seconds: float) -> str:
    """Seconds as 7:26 or 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def thousands(number: int) -> str:
    """48213 -> 48 213."""
    return f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")


class _Rate(ProgressColumn):
    """Images per second and time left."""

    def render(self, task: Task) -> Text:
        speed = task.speed
        if not speed:
            return Text("…")
        left = (task.remaining or 0) / speed
        return Text(f"{per_second(speed)}   ETA {clock(left)}")


class BarListener(Listener):
    """A determinate bar on stderr with rate, ETA and skipped count; without a terminal a line every 30 s."""

    def __init__(self, stream: IO[str] | None = None, title: str = "Indexing") -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._title = title
        self._progress: Progress | None = None
        self._before = 0
        self._started = self._last_line = time.monotonic()

    def scanned(self, scan: FolderScan, changes: Changes, report: IndexReport) -> None:
        """Start the bar, if there is work."""
        # A run that continues another starts where that one stopped, not at zero.
        self.begin(len(changes.new) + len(changes.changed), report.known if report.resumed else 0)

    def begin(self, total: int, before: int = 0) -> None:
        """Start the bar for a number of photos, some more of which are done already."""
        self._before = before
        self._started = self._last_line = time.monotonic()
        if total and self._console.is_terminal:
            self._progress = Progress(
                TextColumn(self._title),
                BarColumn(bar_width=28),
                TextColumn("{task.percentage:>3.0f} %  {task.fields[shown]}"),
                _Rate(),
                TextColumn("{task.fields[skipped]}"),
                console=self._console,
                speed_estimate_period=RATE_WINDOW_S,
            )
            shown = f"{thousands(self._before)}/{thousands(self._before + total)}"
            self._progress.add_task("", total=self._before + total, completed=self._before, shown=shown, skipped="")
            self._progress.start()

    def advanced(self, done: int, total: int, skipped: int) -> None:
        """Move the bar, or print a line."""
        shown = f"{thousands(self._before + done)}/{thousands(self._before + total)}"
        note = f"skipped {thousands(skipped)}" if skipped else ""
        if self._progress:
            self._progress.update(self._progress.task_ids[0], completed=self._before + done, shown=shown, skipped=note)
            if done == total:
                self.finish()
        elif time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            rate = done / (self._last_line - self._started)
            self._console.print(
                f"{self._title} {shown}   {per_second(rate)}   ETA {clock((total - done) / rate)}   {note}"
            )

    def finish(self) -> None:
        """Take the bar down; harmless if there is none."""
        if self._progress:
            self._progress.stop()
            self._progress = None


class JsonListener(Listener):
    """One JSON object per line on stdout. A file named by an `indexed` line is durable."""

    def scanned(self, scan: FolderScan, changes: Changes, report: IndexReport) -> None:
        """Tell what there is to do."""
        todo = len(changes.new) + len(changes.changed)
        self._print(event="scanned", seen=len(scan.pictures), ignored=scan.num_ignored, todo=todo)

    def advanced(self, done: int, total: int, skipped: int) -> None:
        """Tell how far the run is."""
        self._print(event="progress", done=done, total=total, skipped=skipped)

    def saved(self, rows: list[CatalogueRow]) -> None:
        """Tell what is durable now."""
        for row in rows:
            event = "indexed" if row.status == "indexed" else "skipped"
            extra = {} if row.reason is None else {"reason": row.reason, "detail": row.detail}
            self._print(event=event, path=os.fsdecode(row.path), **extra)

    @staticmethod
    def _print(**fields: object) -> None:
        # Pure ASCII: names that are not UTF-8 come out as escaped lone surrogates.
        print(json.dumps(fields), flush=True)
