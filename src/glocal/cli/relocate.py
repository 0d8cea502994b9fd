"""`glocal index relocate OLD NEW`: the photos of an index have moved to another folder; they are linked again."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path

from glocal.cli.places import INDEX_NAME, find_index, place_for, remember
from glocal.errors import ConfigError, StoreError
from glocal.home import data_home
from glocal.progress import thousands
from glocal.store.collection import Collection
from glocal.store.relocation import is_root, relocate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("old", metavar="OLD", help="the folder where the photos were")
    add("new", metavar="NEW", help="the folder where they are now")
    add("--index", metavar="DIR", help="the index (default: the one of OLD, wherever it lies)")


def relink(options: argparse.Namespace) -> list[str]:
    """Link the photos; returns what there is to say."""
    old, new = Path(options.old), Path(options.new)
    directory = _index_of(old, new, options.index)
    with Collection.open(directory) as collection:
        if is_root(collection, new):
            return [f"The index in {directory} moved along: its photos are linked to {new} already."]
    presence = relocate(directory, old, new)
    directory = _keep_findable(directory, new)
    remember(directory)
    looked = f"{thousands(presence.found)} of {thousands(presence.sampled)} that were looked for are there"
    lines = [f"✓ The pictures of {old} are linked to {new} now ({looked}); nothing was read again."]
    changed = presence.found - presence.unchanged
    if changed:
        lines.append(
            f"  {thousands(changed)} of them have another time than before (copied without it?): the next glocal index "
            "reads such files again, and finds that nothing changed."
        )
    again = f"{new}" if directory == place_for(new) else f"{new} --index {directory}"
    return [*lines, f"Try:  glocal search PICTURE --index {directory}      after changes:  glocal index {again}"]


def _index_of(old: Path, new: Path, given: str | None) -> Path:
    """The index whose photos were in a folder that may be gone: in it, with the user's data, or the last one made."""
    if given is not None:
        return find_index(given)
    places = [new / INDEX_NAME, old / INDEX_NAME, place_for(old)]
    with contextlib.suppress(ConfigError, StoreError):
        places.append(find_index(None, Path.cwd()))
    for place in places:
        if Collection.exists(place):
            with Collection.open(place) as collection:
                if is_root(collection, old) or (place == places[0] and is_root(collection, new)):
                    return place
    raise StoreError(
        f"No index of {old} was found in it, in {new} or with your data → name it with --index, "
        f"or make a new one: glocal index {new}"
    )


def _keep_findable(directory: Path, new: Path) -> Path:
    """Among the user's data an index has the name of its folder: give it that of the new one, if it is free."""
    place = place_for(new)
    if directory.parent != data_home() or place.parent != data_home() or os.path.lexists(place):
        return directory
    try:
        return directory.rename(place)  # beside it, so that the way to the photos stays the same
    except OSError:
        return directory
