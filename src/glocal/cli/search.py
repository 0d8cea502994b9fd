"""Find the photos that show what a photo shows.

The answer comes in bands: the same object, possibly the same, and look-alikes (hidden unless asked for).
"""

from __future__ import annotations

import argparse
import json
import os
import re
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
from glocal.search import RERANKERS, Match, SearchResult, Selection
from glocal.types import Box

TITLES = {Band.SAME: "Same object", Band.POSSIBLY: "Possibly", Band.LOOK_ALIKE: "Look-alikes"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("query", nargs="+", help="a picture of the object, or several: views of the same thing")
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
        "--rerank-budget",
        metavar="TIME",
        help="how long candidates may be verified, like 200ms or 2s, best first (default: till it is done)",
    )
    add("--label", action="append", metavar="NAME", help="only photos with this label; may be repeated")
    add(
        "--folder",
        action="append",
        metavar="NAME",
        help="only photos in this folder of the index, like 2019/Roma; may be repeated",
    )
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
    queries = [Path(name) for name in options.query]
    query = queries[0]
    _expect_one(options, len(queries))
    budget_s = parse_duration(options.rerank_budget)
    place = (
        server_place(options.store, options.index)
        if options.store
        else find_index(options.index, Path.cwd(), query.absolute().parent)
    )
    with Index.open(place, options.model, options.device) as index:
        result = index.search(
            queries,
            options.topk,
            options.rerank,
            parse_box(options.box, query, index),
            options.upright,
            selection=_selection(options, index),
            budget_s=budget_s,
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


def _expect_one(options: argparse.Namespace, count: int) -> None:
    """Refuse options that are about one picture.

    Raises:
        ConfigError: there are several pictures.
    """
    if count == 1:
        return
    if options.box:
        raise ConfigError(f"--box marks the object in one picture, and {count} were given. → one picture, or no --box")
    if options.html:
        raise ConfigError(f"--html draws lines to one picture, and {count} were given. → one picture, or --json")


def _selection(options: argparse.Namespace, index: Index) -> Selection | None:
    """Which pictures may be found, as the options say."""
    if not options.label and not options.folder:
        return None
    root = index.collection.root
    folders = options.folder or []
    if root is not None:  # a path of the shell: its part below the folder that was indexed
        top = os.path.join(root, "")
        folders = [os.path.relpath(name, root) if os.path.join(name, "").startswith(top) else name for name in folders]
    return Selection(labels=frozenset(options.label) if options.label else None, folders=tuple(folders))


def parse_duration(text: str | None) -> float | None:
    """Read `200ms` or `2s` as seconds.

    Raises:
        ConfigError: it is no duration.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s?(ms|s)", text.strip())
    if found is None:
        raise ConfigError(f'--rerank-budget "{text}" is no duration. → --rerank-budget 200ms  or  --rerank-budget 2s')
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


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
    searched = f"{thousands(result.num_searched)} pictures"
    if result.num_selected < result.num_searched:
        searched = f"{thousands(result.num_selected)} of {searched}"
    lines.append(f"{searched} searched in {result.seconds:.2f} s")
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
    copies = f"   (+ {len(hit.copies)} exact cop{'y' if len(hit.copies) == 1 else 'ies'})" if hit.copies else ""
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
        "total_candidates": result.num_candidates,
        "verified_candidates": result.num_verified,
        "timing_ms": {name: round(seconds * 1000, 1) for name, seconds in result.timing_s.items()},
        "warnings": list(result.warnings),
    }


def _hit_json(hit: Match) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "rank": hit.rank,
        "id": hit.id,
        "query_number": hit.query_number,
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
