"""Find the photos that show what a photo shows.

The answer comes in bands: the same object, possibly the same, and look-alikes (hidden unless asked for).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from glocal.cli import exits
from glocal.cli.index import DEVICE_HELP
from glocal.cli.places import STORE_HELP, find_index, server_place
from glocal.errors import ConfigError
from glocal.photo_index import Index
from glocal.progress import thousands
from glocal.rerank.bands import Band
from glocal.search import RERANKERS, Match, SearchResult
from glocal.types import Box

TITLES = {Band.SAME: "Same object", Band.POSSIBLY: "Possibly", Band.LOOK_ALIKE: "Look-alikes"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("query", help="a picture of the object")
    add(
        "--index",
        metavar="DIR",
        help="the index, or its folder of photos (default: the nearest .glocal, or the last made)",
    )
    add("--store", metavar="URL", help=STORE_HELP)
    add(
        "--model",
        metavar="NAME|DIR",
        help="refuse an index made with another model; a folder says where the weights that made it are now",
    )
    add("--device", default="auto", metavar="D", help=DEVICE_HELP)
    add("--topk", type=int, default=20, metavar="K", help="most hits to show (default: %(default)s)")
    add("--rerank", choices=RERANKERS, default="geometric", help="how candidates are verified (default: %(default)s)")
    add(
        "--box",
        metavar="X,Y,W,H",
        help="where the object is, in pixels of the upright picture, or with %% of its sides",
    )
    add("--upright", action="store_true", help="do not look for the object on its side or head (networks; faster)")
    add("--similar", action="store_true", help="show look-alikes too")
    add("--json", action="store_true", help="one JSON object on stdout, with geometry")
    add("--html", metavar="FILE", help="write a self-contained report with pictures")


def run(options: argparse.Namespace) -> int:
    """Search; returns the exit code."""
    query = Path(options.query)
    place = (
        server_place(options.store, options.index)
        if options.store
        else find_index(options.index, Path.cwd(), query.absolute().parent)
    )
    with Index.open(place, options.model, options.device) as index:
        result = index.search(
            query, options.topk, options.rerank, parse_box(options.box, query, index), options.upright
        )
        for warning in result.warnings:
            print(exits.printable(warning), file=sys.stderr)
        if options.json:
            print(json.dumps(as_json(result, index), ensure_ascii=True))
        else:
            print(as_text(result, options.similar))
        if options.html:
            _write_report(result, index, Path(options.html))
            print(f"Report: {exits.printable(str(Path(options.html).absolute()))}", file=sys.stderr)
    return exits.DONE


def parse_box(text: str | None, query: Path, index: Index) -> Box | None:
    """Read `x,y,w,h`, each in pixels or with a percent sign.

    Raises:
        ConfigError: it is no box.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [float(part.rstrip("%")) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(-1e9 < number < 1e9 for number in numbers):
        raise ConfigError(f'--box "{text}" is not x,y,width,height. → --box 120,80,400,520  or  --box 10%,10%,50%,50%')
    if any(part.endswith("%") for part in parts):
        size = index.searcher.size_of(query)
        numbers = [
            number * size[i % 2] / 100 if part.endswith("%") else number
            for i, (part, number) in enumerate(zip(parts, numbers, strict=True))
        ]
    return (numbers[0], numbers[1], numbers[2], numbers[3])


def as_text(result: SearchResult, similar: bool) -> str:
    """The answer in bands, for people."""
    lines = _in_bands(result, similar) if result.judged else _in_one_list(result)
    lines.append(f"{thousands(result.num_searched)} pictures searched in {result.seconds:.2f} s")
    return "\n".join(lines)


def _in_bands(result: SearchResult, similar: bool) -> list[str]:
    lines = []
    shown = [Band.SAME, Band.POSSIBLY] + ([Band.LOOK_ALIKE] if similar else [])
    for band in shown:
        hits = result.band(band)
        if hits:
            lines.append(f"{TITLES[band]} ({len(hits)})")
            lines += [_line(hit) for hit in hits]
    hidden = len(result.band(Band.LOOK_ALIKE))
    if result.verdict == "no_match":
        best = max(result.hits, key=lambda hit: hit.inliers, default=None)
        chance = f", {best.probability:.0%} probability" if best and best.probability is not None else ""
        candidate = f" (Best candidate {best.inliers} inliers{chance}.)" if best else ""
        lines.insert(0, f"No picture shows this object.{candidate}")
    if hidden and not similar:
        lines.append(f"Look-alikes are hidden ({hidden}). Add --similar to see them.")
    return lines


def _in_one_list(result: SearchResult) -> list[str]:
    """Nobody has measured what this model's numbers mean, so nothing is hidden and nothing is claimed."""
    return [f"Nearest, not judged ({len(result)})", *(_line(hit) for hit in result)]


def _line(hit: Match) -> str:
    copies = f"   (+ {len(hit.copies)} exact copies)" if hit.copies else ""
    found = hit.verification
    if found is None:
        proof = f"similarity {hit.similarity:.3f}"
    else:
        proof = f"{hit.inliers:4} inliers   covers {found.query_overlap:.0%} of your picture"
    return f"  {as_percent(hit.probability):>4}  {exits.printable(hit.name):<44} {proof}{copies}"


def as_percent(probability: float | None) -> str:
    """A probability as people read it; "-" where there is none."""
    if probability is None:
        return "-"
    return ">99%" if probability > 0.99 else f"{probability:.0%}"  # no estimate is a certainty


def as_json(result: SearchResult, index: Index) -> dict[str, Any]:
    """The answer with geometry, in the shape of the HTTP interface."""
    query = result.query
    return {
        "query": {
            "width": query.size[0],
            "height": query.size[1],
            "box": query.box,
            "features": {"local": query.num_features},
        },
        "index": {"size": result.num_searched, "model": index.collection.spec.model},
        "verdict": result.verdict,
        "results": [_hit_json(hit) for hit in result],
        "timing_ms": {name: round(seconds * 1000, 1) for name, seconds in result.timing_s.items()},
        "warnings": list(result.warnings),
    }


def _hit_json(hit: Match) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "rank": hit.rank,
        "id": hit.id,
        "path": hit.name,
        "label": hit.label,
        "copies": list(hit.copies),
        "similarity": round(hit.similarity, 4),
        "probability": None if hit.probability is None else round(hit.probability, 4),
        "band": str(hit.band),
    }
    found = hit.verification
    if found is not None:
        fields["verification"] = {
            "inliers": found.inliers,
            "tentative": len(found.matches),
            "model": "homography" if found.homography is not None else None,
            "H": None if found.homography is None else found.homography.tolist(),
            "query_overlap": round(found.query_overlap, 4),
            "target_overlap": round(found.target_overlap, 4),
            "target_quad": None if found.target_quad is None else found.target_quad.round(2).tolist(),
        }
    return fields


def _write_report(result: SearchResult, index: Index, file: Path) -> None:
    from glocal.pictures.report import write_report  # noqa: PLC0415
    from glocal.report import report_of  # noqa: PLC0415 - templates and drawing are needed here alone

    command = f"glocal search {os.path.basename(result.query.path)}"
    write_report(report_of(result, index, command), file)
