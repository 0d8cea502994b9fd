"""Compare two photos: do they show the same object, and why?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from glocal.cli import exits
from glocal.errors import ConfigError
from glocal.extract.pool import WorkerPool
from glocal.models.catalogue import DEFAULT_MODEL, find_model
from glocal.pictures.files import save_picture
from glocal.pictures.matches import draw_matches
from glocal.rerank.bands import Band, Calibration
from glocal.search import PairReport, compare_photos, read_pixels

VERDICTS = {
    Band.SAME: "the same object",
    Band.POSSIBLY: "possibly the same object",
    Band.LOOK_ALIKE: "no sign of the same object",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("first", metavar="A", help="a picture")
    add("second", metavar="B", help="another picture")
    add("--out", metavar="FILE", help="draw the match lines into a .png, .jpg or .webp")
    add("--outliers", action="store_true", help="draw the matches that do not agree, too")
    add("--model", default=DEFAULT_MODEL, metavar="NAME", help="see `glocal models` (default: %(default)s)")
    add("--json", action="store_true", help="one JSON object on stdout")


def run(options: argparse.Namespace) -> int:
    """Compare; returns the exit code."""
    first, second = Path(options.first), Path(options.second)
    for path in (first, second):
        if not path.is_file():
            raise ConfigError(f"No such picture: {path}")
    card = find_model(options.model)
    with WorkerPool(card.name) as pool:
        report = compare_photos(pool, Calibration.load(card.name), first, second)
        if options.out:
            query, target = read_pixels(pool, first), read_pixels(pool, second)
            title = f"{first.name}  and  {second.name}"
            drawn = draw_matches(query, target, report.view, outliers=options.outliers, title=exits.printable(title))
            save_picture(drawn, Path(options.out))
    print(json.dumps(_as_json(report)) if options.json else _as_text(report, options.out))
    return exits.DONE


def _as_text(report: PairReport, out: str | None) -> str:
    found = report.verification
    lines = [
        f"{report.probability:.0%}  {VERDICTS[report.band]}",
        f"  matches       {len(found.matches)}",
        f"  inliers       {found.inliers}",
        f"  overlap       {found.query_overlap:.0%} of A, {found.target_overlap:.0%} of B",
        f"  similarity    {report.similarity:.3f}",
    ]
    if out:
        lines.append(f"  picture       {exits.printable(out)}")
    return "\n".join(lines)


def _as_json(report: PairReport) -> dict[str, object]:
    found = report.verification
    return {
        "verdict": str(report.band),
        "probability": round(report.probability, 4),
        "similarity": round(report.similarity, 4),
        "matches": len(found.matches),
        "inliers": found.inliers,
        "H": None if found.homography is None else found.homography.tolist(),
        "query_overlap": round(found.query_overlap, 4),
        "target_overlap": round(found.target_overlap, 4),
        "target_quad": None if found.target_quad is None else found.target_quad.round(2).tolist(),
    }
