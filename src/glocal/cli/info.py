"""What an index holds: counts, model, bytes, skipped files."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from glocal.cli import exits
from glocal.cli.index import human_bytes
from glocal.cli.places import STORE_HELP, find_index, server_place
from glocal.errors import REASONS
from glocal.index.status import search_json, search_line
from glocal.progress import thousands
from glocal.store.collection import Collection
from glocal.store.contract import PhotoCollection
from glocal.store.open import open_collection
from glocal.store.rows import CatalogueRow
from glocal.types import ExtractorSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("index", nargs="?", help="the index, or its folder of photos (default: the nearest .glocal, or the last made)")
    add("--store", metavar="URL", help=STORE_HELP)
    add("--skipped", action="store_true", help="list the skipped files with their reasons")
    add("--missing", action="store_true", help="list the files that are gone")
    add("--json", action="store_true", help="one JSON object on stdout, with every file")


def run(options: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    if options.index and Collection.was_begun(Path(options.index)):
        print(
            json.dumps({"finished": False, "files": []})
            if options.json
            else "Nothing yet: the first run was interrupted."
        )
        return exits.DONE
    place = server_place(options.store, options.index) if options.store else find_index(options.index, Path.cwd())
    with open_collection(place) as collection, collection.snapshot():
        if options.json:
            print(json.dumps(as_json(collection)))
        elif options.skipped or options.missing:
            for row in collection.catalogue("rejected" if options.skipped else "missing"):
                detail = f" — {row.detail}" if row.detail else ""
                print(exits.printable(f"{os.fsdecode(row.path)}{detail}"))
        else:
            print(_as_text(collection))
    return exits.DONE


def _as_text(collection: PhotoCollection) -> str:
    counts, sizes, spec = collection.counts(), collection.stored_bytes(), collection.spec
    photos = max(1, counts["contents"])
    last = collection.last_run()
    source = collection.model_source
    place = collection.directory.resolve() if isinstance(collection.directory, Path) else collection.directory
    lines = [
        f"index      {exits.printable(str(place))}",
        f"photos     {exits.printable(str(collection.url or collection.root or 'none yet'))}",
        f"model      {spec.model} (weights sha256 {spec.weights[:12]}…), {spec.dim} numbers per picture",
        f"           {_local(spec)}; pictures {_reduced(spec)}",
        f"pictures   {thousands(counts['indexed'])} searchable, {thousands(counts['contents'])} different; "
        f"{thousands(counts['rejected'])} skipped; {thousands(counts['missing'])} missing",
        f"bytes      {human_bytes(sizes['file'])}, {sizes['file'] / photos:,.0f} per picture: "
        f"{sizes['global'] / photos:,.0f} global, {sizes['local'] / photos:,.0f} local ({collection.local_form})",
    ]
    if caches := sizes.get("caches"):
        lines.append(f"caches     {human_bytes(caches)}, {caches / photos:,.0f} per picture; may be deleted")
    if isinstance(collection, Collection):
        lines.append(f"search     {search_line(collection)}")
    if source != spec.model:
        lines.insert(3, f"           from {exits.printable(source)}")
    if last is not None:
        finished, seen = last
        lines.append(
            f"last run   seen {seen.seen} = indexed {seen.indexed} + skipped {seen.skipped} + ignored {seen.ignored}"
            if finished
            else "last run   did not finish; run glocal index again to continue"
        )
    for reason, count in collection.rejected_by_reason().items():
        lines.append(f"skipped    {thousands(count)} × {REASONS.get(reason, reason)}")
    if counts["rejected"]:
        lines.append("           → glocal info --skipped lists them")
    return "\n".join(lines)


def _local(spec: ExtractorSpec) -> str:
    if not spec.local_dim:
        return "no local features"
    return f"up to {spec.max_features} local features of {spec.local_dim}"


def _reduced(spec: ExtractorSpec) -> str:
    return f"reduced to {spec.image_size} px" if spec.image_size else "as large as they are"


def as_json(collection: PhotoCollection) -> dict[str, Any]:
    """Everything about a collection, every file included."""
    last = collection.last_run()
    return {
        "model": json.loads(collection.spec.to_json()),
        "model_source": collection.model_source,
        "counts": collection.counts(),
        "local_form": str(collection.local_form),
        "bytes": collection.stored_bytes(),
        "search": search_json(collection) if isinstance(collection, Collection) else None,
        "finished": last is not None and last[0],
        "last_run": None
        if last is None
        else {name: getattr(last[1], name) for name in ("seen", "indexed", "skipped", "ignored")},
        "files": [_file_json(row) for row in collection.catalogue()],
    }


def _file_json(row: CatalogueRow) -> dict[str, Any]:
    fields: dict[str, Any] = {"path": os.fsdecode(row.path), "status": row.status, "bytes": row.size}
    if row.status == "rejected":
        return fields | {"reason": row.reason, "detail": row.detail}
    return fields | {
        "width": row.width,
        "height": row.height,
        "orientation": row.orientation,
        "hash": row.content_hash,
    }
