"""Compare two photos: do they show the same object, and why?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from glocal.cli import exits
from glocal.cli.index import DEVICE_HELP
from glocal.cli.search import as_percent
from glocal.errors import ConfigError
from glocal.extract.batching import ModelSource
from glocal.models.catalogue import CLASSICAL_MODEL, default_model
from glocal.pictures.files import save_picture
from glocal.pictures.matches import draw_matches
from glocal.rerank.bands import Band
from glocal.search import PairReport, compare_photos, read_pixels
from glocal.types import ExtractorSpec

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
    add(
        "--model",
        default=default_model(),
        metavar="NAME|DIR",
        help="see `glocal models`, or the folder of a network's weights (default: %(default)s)",
    )
    add("--device", default="auto", metavar="D", help=DEVICE_HELP)
    add("--json", action="store_true", help="one JSON object on stdout")


def run(options: argparse.Namespace) -> int:
    """Compare; returns the exit code."""
    first, second = Path(options.first), Path(options.second)
    for path in (first, second):
        if not path.is_file():
            raise ConfigError(f"No such picture: {path}")
    model = ModelSource(options.model, options.device)
    with model.pool() as pool:
        spec = pool.spec()
        if options.out and not spec.local_dim:
            raise ConfigError(
                f"{spec.model} has no local features, so there are no match lines to draw. "
                f"→ without --out, or --model {CLASSICAL_MODEL}"
            )
        report = compare_photos(pool, first, second, turns=model.query_turns)
        if report.probability is None:
            print(exits.printable(_why_not_judged(spec)), file=sys.stderr)
        if report.view is not None and options.out:
            query, target = read_pixels(pool, first), read_pixels(pool, second)
            title = f"{first.name}  and  {second.name}"
            drawn = draw_matches(query, target, report.view, outliers=options.outliers, title=exits.printable(title))
            save_picture(drawn, Path(options.out))
    print(json.dumps(_as_json(report)) if options.json else _as_text(report, options.out))
    return exits.DONE


def _why_not_judged(spec: ExtractorSpec) -> str:
    if not spec.local_dim:
        return f"{spec.model} has no local features: it gives a similarity, nothing is verified"
    return f"{spec.model} has no calibration: the pair is compared, but not judged"


def _as_text(report: PairReport, out: str | None) -> str:
    found = report.verification
    judged = report.probability is not None
    lines = [f"{as_percent(report.probability)}  {VERDICTS[report.band]}" if judged else "not judged"]
    if found is not None:
        lines += [
            f"  matches       {len(found.matches)}",
            f"  inliers       {found.inliers}",
            f"  overlap       {found.query_overlap:.0%} of A, {found.target_overlap:.0%} of B",
        ]
    lines.append(f"  similarity    {report.similarity:.3f}")
    if out:
        lines.append(f"  picture       {exits.printable(out)}")
    return "\n".join(lines)


def _as_json(report: PairReport) -> dict[str, object]:
    judged = report.probability is not None
    fields: dict[str, object] = {
        "verdict": str(report.band) if judged else "not_judged",
        "probability": None if report.probability is None else round(report.probability, 4),
        "similarity": round(report.similarity, 4),
    }
    found = report.verification
    if found is not None:
        fields |= {
            "matches": len(found.matches),
            "inliers": found.inliers,
            "H": None if found.homography is None else found.homography.tolist(),
            "query_overlap": round(found.query_overlap, 4),
            "target_overlap": round(found.target_overlap, 4),
            "target_quad": None if found.target_quad is None else found.target_quad.round(2).tolist(),
        }
    return fields
