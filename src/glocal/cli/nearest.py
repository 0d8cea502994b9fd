"""After an indexing run: the nearest-neighbour file of a large index, made where it is needed, with a word about it."""

from __future__ import annotations

from collections.abc import Callable

from glocal.cli import exits
from glocal.cli.signals import Interruption
from glocal.errors import BackendUnavailable, StoreError
from glocal.index.build import Need, Stopped, Watcher, concerns, keep
from glocal.index.choice import RULES, Rules
from glocal.index.status import quality
from glocal.progress import BarListener, thousands
from glocal.store.collection import Collection

TITLE = "Nearest neighbours"


def keep_nearest(collection: Collection, say: Callable[[str], None], bar: bool, rules: Rules = RULES) -> int | None:
    """Make the file if it is needed. The index is complete without it, so that a failure is told and no more.

    Args:
        collection: open for reading, after a run that came to its end.
        say: prints a line for people.
        bar: show the progress.
        rules: from when on there is one.

    Returns:
        The exit code after a signal; else None.
    """
    if not concerns(collection, rules):
        return None
    with Interruption() as interruption:
        narrator = _Narrator(say, bar, interruption)
        try:
            with Collection.open(collection.directory, writable=True) as writable:
                made = keep(writable, rules, narrator)
        except Stopped:
            say("Stopped. All pictures are searchable; the next glocal index makes the nearest-neighbour file.")
            return interruption.exit_code
        except (StoreError, BackendUnavailable) as error:
            say(exits.printable(f"No nearest-neighbour file: {error}"))
            return None
        finally:
            narrator.bar.finish()
    if made is not None:
        say(f"✓ {made.num_bytes / 1e6:,.0f} MB in {made.seconds:.0f} s: {quality(made)}.")
    return None


class _Narrator(Watcher):
    def __init__(self, say: Callable[[str], None], bar: bool, interruption: Interruption) -> None:
        self.bar = BarListener(title=TITLE)
        self._say, self._shows, self._interruption = say, bar, interruption

    def begins(self, need: Need) -> None:
        self._say(
            f"Making the nearest-neighbour file for {thousands(need.num)} pictures ({need.why}): "
            f"{need.layout.factory}, {need.layout.num_bytes / 1e6:,.0f} MB. Ctrl-C is safe."
        )
        if self._shows:
            self.bar.begin(need.num)

    def advanced(self, done: int, total: int) -> None:
        if self._shows:
            self.bar.advanced(done, total, 0)

    def should_stop(self) -> bool:
        return self._interruption.received is not None
