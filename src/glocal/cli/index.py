"""Make a folder of photos searchable, or bring its index up to date.

Unchanged files are not read again; moved or renamed ones are recognised by their content; those that are
gone are hidden. Ctrl-C is safe: what is saved stays, and the same command continues.

Whole indexes: glocal index merge|split|export|import|relocate ... (glocal index merge --help)
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

from glocal.cli import exits
from glocal.cli.nearest import keep_nearest
from glocal.cli.places import STORE_HELP, place_for, remember, server_place
from glocal.cli.signals import Interruption
from glocal.data.formats import LOOKED_FOR, heif_decoder_installed, is_picture_name
from glocal.data.image import LIMITS
from glocal.data.remote import is_url
from glocal.errors import ConfigError, DiskFull, NothingToDo
from glocal.extract.run import IndexOptions, IndexReport, Listener
from glocal.models.catalogue import default_model
from glocal.photo_index import ENGINES, Index
from glocal.planning import most_bytes_per_photo
from glocal.progress import BarListener, JsonListener, per_second, thousands
from glocal.store.collection import Collection
from glocal.store.open import Place
from glocal.store.rows import LocalForm
from glocal.store.scan import Changes, FolderScan

DEVICE_HELP = "where a network runs: auto, cpu, cuda, cuda:1, mps (default: %(default)s)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    defaults = IndexOptions()
    add = parser.add_argument
    add("photos", help="the folder of photos; or the URL of one in an object store, s3://bucket/prefix: docs/scale.md")
    add("--index", metavar="DIR", help="where the index goes (default: .glocal in the folder)")
    add("--store", metavar="URL", help=STORE_HELP)
    add(
        "--model",
        metavar="NAME|DIR",
        help="see `glocal models`, or the folder of a network's weights "
        f"(default: {default_model()}, or that of the index)",
    )
    add(
        "--labels",
        metavar="folder|FILE.csv",
        help="names for `glocal recognize`: that of a photo's folder, or columns path and label of a CSV file",
    )
    add(
        "--local",
        choices=tuple(LocalForm),
        help="how a new index keeps local descriptors: float16 takes twice the bytes of int8; binary an eighth, and "
        "its hits are ordered but not judged (default: int8, or that of the index)",
    )
    add("--device", default="auto", metavar="D", help=DEVICE_HELP)
    add(
        "--batch-size",
        default="auto",
        metavar="N",
        help="photos of one size that go through a network together (default: %(default)s, by the device)",
    )
    add(
        "--workers",
        type=int,
        default=defaults.workers,
        metavar="N",
        help="processes that read photos (default: %(default)s)",
    )
    add(
        "--engine",
        choices=ENGINES,
        default="local",
        help="describe photos on this computer, or on the nodes of a Ray cluster: docs/scale.md (default: %(default)s)",
    )
    add(
        "--address",
        metavar="HOST:PORT",
        help="head of the Ray cluster, or auto (default: a Ray of this computer alone)",
    )
    add(
        "--timeout",
        type=float,
        default=defaults.timeout_s,
        metavar="S",
        help="seconds per photo (default: %(default)g)",
    )
    mega = LIMITS.max_pixels / 1e6
    add("--max-megapixels", type=float, default=mega, metavar="MP", help=f"largest picture (default: {mega:.0f})")
    add("--retry-skipped", action="store_true", help="try files again that were skipped before")
    add("--prune", action="store_true", help="forget pictures that are gone instead of hiding them")
    add("--strict", action="store_true", help="exit with 6 if any file was skipped")
    add("--progress", choices=("bar", "json", "none"), default="bar", help="json: one object per line on stdout")
    add("-q", "--quiet", action="store_true", help="say nothing but errors")


def run(options: argparse.Namespace) -> int:
    """Index a folder; returns the exit code."""
    photos = options.photos if is_url(options.photos) else Path(options.photos)
    if isinstance(photos, Path):
        _check_folder(photos)
    if options.workers < 1 or options.timeout <= 0 or options.max_megapixels <= 0:
        raise ConfigError("--workers, --timeout and --max-megapixels must be positive")
    how = IndexOptions(
        workers=options.workers,
        timeout_s=options.timeout,
        limits=dataclasses.replace(LIMITS, max_pixels=int(options.max_megapixels * 1e6)),
        retry_rejected=options.retry_skipped,
        prune=options.prune,
    )
    place = server_place(options.store, options.index) if options.store else Path(options.index or place_for(photos))
    quiet = options.quiet or options.progress == "none"
    talk = _Talk(quiet)
    if isinstance(place, Path) and not options.index and place.parent != photos:
        why = "is read-only" if isinstance(photos, Path) else "is in a store"
        talk.say(f"{exits.printable(str(photos))} {why}: its index goes to {place}")
    talk.say(f"Looking at {exits.printable(str(photos))} …")
    with _open(place, options, photos) as index:
        listener = JsonListener() if options.progress == "json" else _Narrator(talk, index)
        try:
            with Interruption() as interruption:
                report = index.add(
                    photos,
                    options.labels,
                    options=how,
                    listener=_Stopper(listener, interruption),
                    engine=options.engine,
                    address=options.address,
                    nearest=False,  # it is told of below
                )
        except NothingToDo as error:
            raise NothingToDo(_nothing(photos)) from error
        finally:
            if isinstance(listener, _Narrator):
                listener.bar.finish()
        if isinstance(place, Path):
            remember(place)
        _conclude(talk, report, index, photos, options.labels is not None)
        if not report.stopped and isinstance(index.collection, Collection):
            stopped = keep_nearest(index.collection, talk.say, bar=options.progress == "bar" and not quiet)
            if stopped is not None:
                return stopped
    if report.stopped:
        return interruption.exit_code
    return exits.PARTIAL if options.strict and report.skipped else exits.DONE


class _Talk:
    """Lines for people, on stderr."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def say(self, line: str) -> None:
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)


class _Narrator(Listener):
    """Tells what was found before the work, then shows the bar."""

    def __init__(self, talk: _Talk, index: Index) -> None:
        self.bar = BarListener()
        self._talk, self._index = talk, index

    def scanned(self, scan: FolderScan, changes: Changes, report: IndexReport) -> None:
        if report.resumed:
            self._talk.say(f"The last run did not finish ({thousands(report.known)} pictures safe). Continuing.")
        kinds = Counter(
            os.path.splitext(found.path)[1][1:].lower().decode("ascii", "replace") for found in scan.pictures
        )
        size = sum(found.size for found in scan.pictures)
        listed = " · ".join(f"{thousands(count)} {kind}" for kind, count in kinds.most_common(6))
        self._talk.say(f"  {thousands(len(scan.pictures))} pictures ({listed}), {human_bytes(size)}")
        if kinds["heic"] + kinds["heif"] and not heif_decoder_installed():
            heic = kinds["heic"] + kinds["heif"]
            self._talk.say(
                f'{thousands(heic)} HEIC pictures need one extra package. → pip install "glocal[heic]"  then '
                f"glocal index with --retry-skipped; the other {thousands(len(scan.pictures) - heic)} are indexed now."
            )
        todo = len(changes.new) + len(changes.changed)
        if report.known or report.gone:
            self._talk.say(
                f"  {thousands(report.known)} known · {thousands(report.new)} new · "
                f"{thousands(report.changed)} changed · {thousands(report.gone)} gone"
            )
        if todo:
            self._forecast(todo)
            self.bar.scanned(scan, changes, report)

    def _forecast(self, todo: int) -> None:
        place = self._index.place
        needed = todo * most_bytes_per_photo(self._index.collection.spec, self._index.collection.local_form)
        if not isinstance(place, Path):  # nobody tells how much room a server has
            self._talk.say(f"Model: {self._described()}.   Space: up to {human_bytes(needed)} in {place}.")
            return
        free = shutil.disk_usage(place).free
        if needed > free:
            raise DiskFull(
                f"This may need about {human_bytes(needed)} in {place}, {human_bytes(free)} are free. "
                "→ free some space, or --index /bigdisk/x"
            )
        self._talk.say(
            f"Model: {self._described()}.   Space: up to {human_bytes(needed)} in "
            f"{exits.printable(str(place))} (free: {human_bytes(free)}).   Ctrl-C is safe."
        )

    def _described(self) -> str:
        name, model = self._index.collection.spec.model, self._index.model
        if not model.is_network:
            return f"{name} (built in, no download)"
        return f"{name} ({f'{exits.printable(model.source)}, ' if model.is_path else ''}on {model.network().device})"

    def advanced(self, done: int, total: int, skipped: int) -> None:
        if not self._talk._quiet:
            self.bar.advanced(done, total, skipped)


class _Stopper(Listener):
    """Passes everything on, and stops cleanly after a signal."""

    def __init__(self, inner: Listener, interruption: Interruption) -> None:
        self.scanned, self.advanced, self.saved = inner.scanned, inner.advanced, inner.saved  # type: ignore[method-assign]
        self._interruption = interruption

    def should_stop(self) -> bool:
        return self._interruption.received is not None


def _open(place: Place, options: argparse.Namespace, photos: Path | str) -> Index:
    if isinstance(place, Path) and place.exists() and not place.is_dir():
        raise ConfigError(f"--index {place} is a file. → name a folder")
    if not Index.exists(place) and isinstance(photos, Path) and not _has_pictures(photos):
        raise NothingToDo(_nothing(photos))  # an empty result is never written as success
    size = options.batch_size
    batch_size = size if size == "auto" or not size.isdecimal() else int(size)
    return Index.open_or_create(place, options.model, options.device, batch_size, options.local)


def _conclude(talk: _Talk, report: IndexReport, index: Index, photos: Path | str, named: bool) -> None:
    shown = exits.printable(str(photos))
    option = "--index" if isinstance(index.place, Path) else "--store"
    elsewhere = isinstance(photos, str) or index.place != place_for(photos)
    where = exits.printable(str(index.place)) if elsewhere else shown  # what search takes
    place = f"--store {where}" if option == "--store" else where  # what info takes
    again = f"{shown} {option} {where}" if elsewhere else shown
    if report.stopped:
        safe = report.indexed + report.skipped
        talk.say(
            f"Stopping after the current batch… saved {thousands(safe)} pictures. Run the same command to continue."
        )
        return
    if report.moved_from is not None:
        talk.say(
            f"{exits.printable(str(report.moved_from))} is gone, but {thousands(report.known)} of its pictures "
            f"are under {shown}. Re-linked, nothing recomputed."
        )
    for folder, why in report.unlisted:
        talk.say(f"cannot read  {exits.printable(os.fsdecode(folder))} — {why}. Skipped, 1 folder.")
    if report.moved:
        talk.say(f"{thousands(report.moved)} pictures were moved or renamed: re-linked, nothing recomputed.")
    if report.copies:
        what = "exact copy" if report.copies == 1 else "exact copies"
        talk.say(f"{thousands(report.copies)} {what} found — processed once, listed under each original.")
    if report.gone - report.moved > 0 and not report.pruned:
        talk.say(
            f"{thousands(report.gone - report.moved)} pictures are missing. They stay in the index, hidden. "
            f"→ glocal info {place} --missing, glocal index {again} --prune to forget them"
        )
    if report.pruned:
        talk.say(f"{thousands(report.pruned)} missing pictures forgotten.")
    rate = f" in {report.seconds:.1f} s" + (f", {per_second(report.done / report.seconds)}" if report.done else "")
    talk.say(f"✓ {thousands(report.indexed)} pictures searchable{rate}.")
    if report.skipped:
        reasons = index.collection.rejected_by_reason()
        listed = ", ".join(f"{thousands(count)} {code.replace('_', ' ')}" for code, count in reasons.items())
        talk.say(
            f"{thousands(report.skipped)} skipped ({listed}).  List: glocal info {place} --skipped   "
            f"Retry after repair: glocal index {again} --retry-skipped"
        )
    talk.say(
        f"  seen {thousands(report.seen)} = indexed {thousands(report.indexed)} + skipped {thousands(report.skipped)}"
        f" + ignored {thousands(report.ignored)} (no pictures by their name)"
    )
    verb = "search"
    if named:
        count = index.collection.num_labelled()
        talk.say(f"  {thousands(count)} of {thousands(report.indexed)} have a label")
        verb = "recognize" if count else verb
    talk.say(f"Try:  glocal {verb} PICTURE {option} {where}")


def human_bytes(count: float) -> str:
    """1234567 -> 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _check_folder(photos: Path) -> None:
    if photos.is_dir():
        return
    if photos.is_file():
        what = "a picture" if is_picture_name(os.fsencode(photos.name)) else "a file, not a folder"
        hint = f" → glocal search {photos}" if what == "a picture" else ""
        raise ConfigError(f"{photos} is {what}.{hint}")
    nearby = ", ".join(map(str, _similar_folders(photos)[:2]))
    raise ConfigError(f"No such folder: {photos}" + (f". Nearby: {nearby}" if nearby else ""))


def _similar_folders(photos: Path) -> list[Path]:
    """Other folders beside one, with names like its own, the most similar first."""
    photos = photos.absolute()
    try:
        names = [entry.name for entry in os.scandir(photos.parent) if entry.is_dir() and entry.name != photos.name]
    except OSError:
        return []
    return [photos.parent / name for name in difflib.get_close_matches(photos.name, names, n=3, cutoff=0.6)]


def _has_pictures(folder: Path) -> bool:
    return any(is_picture_name(os.fsencode(name)) for _, _, names in os.walk(folder) for name in names)


def _nothing(photos: Path | str) -> str:
    if isinstance(photos, str):
        return f"Nothing to index: {photos} has no pictures. I looked for {LOOKED_FOR}."
    full = [folder for folder in _similar_folders(photos) if any(map(is_picture_name, os.listdir(os.fsencode(folder))))]
    hint = f" Did you mean {full[0]}?" if full else ""
    return f"Nothing to index: {photos} has no pictures. I looked for {LOOKED_FOR}.{hint}"
