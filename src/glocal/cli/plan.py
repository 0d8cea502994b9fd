"""What indexing a folder would take before anything starts: disk, memory and hours, and what is cheaper.

The time is measured: a few pictures of the folder, drawn at random, are described with each model. Nothing is written.

  glocal plan ~/Photos
  glocal plan ~/Photos --model delg-mobilenetv2 rootsift --json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from glocal.cli import exits
from glocal.cli.index import DEVICE_HELP, human_bytes
from glocal.cli.places import place_for
from glocal.data.formats import LOOKED_FOR
from glocal.errors import BackendUnavailable, ConfigError, NothingToDo, WeightsError
from glocal.extract.batching import ModelSource
from glocal.extract.run import IndexOptions
from glocal.extract.sampling import Sample, sample_photos
from glocal.home import weights_of
from glocal.index.choice import RULES, machine_memory
from glocal.index.faiss_lists import is_installed
from glocal.models.catalogue import canonical_name, default_model, find_model, list_models
from glocal.planning import Machine, Way, cheaper, ways_of
from glocal.progress import thousands
from glocal.store.counting import FolderCount, count_pictures
from glocal.store.rows import LocalForm

SAMPLE = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("photos", metavar="PHOTOS", help="the folder of photos")
    add(
        "--model",
        nargs="+",
        metavar="NAME|DIR",
        help=f"what would describe them; several are compared (default: {default_model()})",
    )
    add("--index", metavar="DIR", help="where the index would go (default: .glocal in the folder)")
    add("--device", default="auto", metavar="D", help=DEVICE_HELP)
    add(
        "--workers",
        type=int,
        default=IndexOptions().workers,
        metavar="N",
        help="processes that read photos (default: %(default)s)",
    )
    add("--sample", type=int, default=SAMPLE, metavar="N", help="pictures that are described (default: %(default)s)")
    add("--no-sample", action="store_true", help="describe none: no hours, and the most bytes that there can be")
    add("--only", action="store_true", help="do not look at the other models that are installed")
    add("--json", action="store_true", help="one JSON object on stdout")


def run(options: argparse.Namespace) -> int:
    """Plan; returns the exit code."""
    photos = Path(options.photos)
    if not photos.is_dir():
        raise ConfigError(f"No such folder: {photos}")
    if options.workers < 1 or options.sample < 1:
        raise ConfigError("--workers and --sample must be at least 1")
    asked = [ModelSource(name, options.device) for name in options.model or [default_model()]]
    place = Path(options.index) if options.index else place_for(photos)
    count = count_pictures(photos, 0 if options.no_sample else options.sample)
    if not count.pictures:
        raise NothingToDo(f"Nothing to plan: {photos} has no pictures. I looked for {LOOKED_FOR}.")
    machine = Machine(
        _free_bytes(place), machine_memory(), options.workers, len(os.sched_getaffinity(0)), is_installed()
    )
    planned = [_plan(model, count, machine, options, is_other=False) for model in asked]
    if not options.only:
        planned += _others(asked, count, machine, options)
    if options.json:
        print(json.dumps(_as_json(photos, place, count, machine, planned)))
    else:
        print(_as_text(photos, place, count, machine, planned))
    for each in planned[: len(asked)]:
        _warn(each, planned, place, machine)
    return exits.DONE


@dataclass(frozen=True, slots=True)
class _Planned:
    """One model: its ways, the first of which is the usual one."""

    ways: list[Way]
    sample: Sample | None


def _plan(
    model: ModelSource, count: FolderCount, machine: Machine, options: argparse.Namespace, is_other: bool
) -> _Planned:
    spec = model.spec
    sample = None
    if not options.no_sample:
        _say(f"Timing {spec.model} on {len(count.some)} pictures …")
        sample = sample_photos(count.some, model, options.workers)
        if sample is None:
            _say(f"None of {len(count.some)} pictures could be described: there is nothing to go by for the time.")
    ways = ways_of(count.pictures, spec, machine, sample, _spoken(model), model.is_network, is_other)
    return _Planned(ways, sample)


def _spoken(model: ModelSource) -> str:
    return model.source if model.is_path else model.source.replace("_", "-")


def _others(
    asked: list[ModelSource], count: FolderCount, machine: Machine, options: argparse.Namespace
) -> list[_Planned]:
    """The other models whose weights are here."""
    known = {canonical_name(model.source) for model in asked if not model.is_path}
    planned = []
    for name in list_models():
        card = find_model(name)
        if name in known or (card.is_network and weights_of(name) is None):
            continue
        device = options.device if card.is_network else "auto"
        try:
            planned.append(_plan(ModelSource(name, device), count, machine, options, is_other=True))
        except (WeightsError, BackendUnavailable) as error:
            _say(f"{name} is left out: {error}")
    return planned


def _free_bytes(place: Path) -> int:
    """Of the disk where a folder is, or would be made."""
    there = place.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        return shutil.disk_usage(there).free
    except OSError as error:
        raise ConfigError(f"cannot look at the disk of {place}: {error.strerror} → --index DIR") from error


def _as_text(photos: Path, place: Path, count: FolderCount, machine: Machine, planned: list[_Planned]) -> str:
    more = "" if count.is_complete else " or more (I stopped counting)"
    lines = [
        exits.printable(f"{photos}: {thousands(count.pictures)} pictures{more}, {human_bytes(count.num_bytes)}"),
        exits.printable(f"Index in {place}: {human_bytes(machine.free_bytes)} free"),
        "",
    ]
    table: list[tuple[str, ...]] = [
        ("model", "local features", "global", "local", "cache", "disk", "", "RAM", "time", "glocal index …")
    ]
    table += [_cells(way, machine) for each in planned for way in each.ways]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = [
            cell.ljust(width) if column in (0, 1, 6, 9) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines += ["", *_notes(machine, planned)]
    return "\n".join(lines)


def _cells(way: Way, machine: Machine) -> tuple[str, ...]:
    local = "none" if not way.max_features else f"{way.max_features} × {way.local}"
    most = "" if way.is_measured or not way.local_bytes else "≤ "
    return (
        way.model,
        local,
        human_bytes(way.global_bytes),
        most + human_bytes(way.local_bytes) if way.local_bytes else "–",
        human_bytes(way.cache_bytes) if way.cache_bytes else "–",
        most + human_bytes(way.disk_bytes),
        "too much" if way.disk_bytes > machine.free_bytes else "",
        human_bytes(way.ram_bytes),
        "–" if way.seconds is None else duration(way.seconds),
        exits.printable(way.how) if way.how else "–",
    )


def _notes(machine: Machine, planned: list[_Planned]) -> list[str]:
    samples = [each.sample for each in planned if each.sample is not None]
    cores = f"{machine.workers} processes on {machine.cores} cores"
    if samples:
        described, refused = samples[0].described, samples[0].refused
        skipped = f", {refused} could not be read" if refused else ""
        notes = [f"Time and local features: from {described} pictures of the folder, described here{skipped}; {cores}."]
    else:
        notes = ["Nothing was timed; local features are the most that there can be."]
    notes.append(
        "RAM: of a search, beside the program and the model. "
        f"Cache: made from {thousands(RULES.exact_below)} pictures on, may be deleted."
    )
    if any(way.local == LocalForm.BINARY for each in planned for way in each.ways):
        notes.append("binary: an eighth of the bytes; what it costs: glocal index --help.")
    if any(way.how is None for each in planned for way in each.ways):
        notes.append("–: for comparison; glocal index has no option for it.")
    return notes


def _warn(mine: _Planned, planned: list[_Planned], place: Path, machine: Machine) -> None:
    """Say so if the disk does not suffice, and what would fit."""
    usual = mine.ways[0]
    if usual.disk_bytes <= machine.free_bytes:
        return
    fitting = cheaper([way for each in planned for way in each.ways], usual, machine.free_bytes)
    hints = [f"{way.how} ({human_bytes(way.disk_bytes)})" for way in fitting] + ["--index /bigdisk/x"]
    about = "about" if usual.is_measured else "up to"
    _say(
        f"{usual.model} needs {about} {human_bytes(usual.disk_bytes)} in {place}, "
        f"{human_bytes(machine.free_bytes)} are free. → {', or '.join(hints)}"
    )


def _as_json(
    photos: Path, place: Path, count: FolderCount, machine: Machine, planned: list[_Planned]
) -> dict[str, object]:
    ways = [
        asdict(way) | {"disk_bytes": way.disk_bytes, "fits": way.disk_bytes <= machine.free_bytes}
        for each in planned
        for way in each.ways
    ]
    samples = {each.ways[0].model: asdict(each.sample) for each in planned if each.sample is not None}
    return {
        "photos": str(photos),
        "pictures": count.pictures,
        "bytes": count.num_bytes,
        "is_complete": count.is_complete,
        "index": str(place),
        "machine": asdict(machine),
        "ways": ways,
        "samples": samples,
    }


def duration(seconds: float) -> str:
    """Seconds as 40 s, 35 min, 2 h 40."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02}" if hours < 100 else f"{thousands(hours)} h"


def _say(line: str) -> None:
    print(exits.printable(line), file=sys.stderr, flush=True)
