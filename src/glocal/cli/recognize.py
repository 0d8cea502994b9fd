"""Name what a photo shows, and list the photos that say so.

The photos of the index need labels (glocal index PHOTOS --labels folder). The nearest ones vote; where none of them
surely or possibly shows the same object, the answer is "unknown".
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from glocal.cli import exits
from glocal.cli.index import DEVICE_HELP
from glocal.cli.places import find_index
from glocal.cli.search import as_json as search_json
from glocal.cli.search import as_percent, parse_box
from glocal.photo_index import Index
from glocal.progress import thousands
from glocal.recognition import RecognitionResult
from glocal.rerank.bands import Band
from glocal.rerank.voting import DEFAULTS, ClassVote, Verdict, VotingOptions
from glocal.search import Match

SURE = {
    Verdict.SAME: "same object",
    Verdict.POSSIBLY: "possibly the same object",
    Verdict.NOT_JUDGED: "nearest, not judged",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add("query", metavar="PHOTO", help="a picture of the object")
    add(
        "--index",
        metavar="DIR",
        help="the index, or its folder of photos (default: the nearest .glocal, or the last made)",
    )
    add(
        "--model",
        metavar="NAME|DIR",
        help="refuse an index made with another model; a folder says where the weights that made it are now",
    )
    add("--device", default="auto", metavar="D", help=DEVICE_HELP)
    add("--topk", type=int, default=DEFAULTS.k, metavar="K", help="labelled photos that vote (default: %(default)s)")
    add(
        "--min-score",
        type=float,
        default=DEFAULTS.least,
        metavar="S",
        help="below this sum of its votes an object is unknown (default: the photos' bands alone decide)",
    )
    add(
        "--box",
        metavar="X,Y,W,H",
        help="where the object is, in pixels of the upright picture, or with %% of its sides",
    )
    add("--upright", action="store_true", help="do not look for the object on its side or head (networks; faster)")
    add("--json", action="store_true", help="one JSON object on stdout, with the geometry of the photos that voted")
    add("--html", metavar="FILE", help="write a self-contained report with the photos that voted")


def run(options: argparse.Namespace) -> int:
    """Recognise; returns the exit code."""
    query = Path(options.query)
    voting = VotingOptions(k=options.topk, least=options.min_score)
    directory = find_index(options.index, Path.cwd(), query.absolute().parent)
    with Index.open(directory, options.model, options.device) as index:
        result = index.recognize(query, parse_box(options.box, query, index), voting, options.upright)
        for warning in result.search.warnings:
            print(exits.printable(warning), file=sys.stderr)
        print(json.dumps(as_json(result, index), ensure_ascii=True) if options.json else as_text(result))
        if options.html:
            _write_report(result, index, Path(options.html))
            print(f"Report: {exits.printable(str(Path(options.html).absolute()))}", file=sys.stderr)
    return exits.DONE


def as_text(result: RecognitionResult) -> str:
    """The answer with its evidence, for people."""
    lines = [exits.printable(_sentence(result))]
    others = result.votes
    if result.label is not None:
        lines += [_line(hit) for hit in result.photos(result.votes[0])]
        others = result.votes[1:]
    elif nameless := sum(hit.label is None for hit in result.search.band(Band.SAME)):
        are = "1 photo shows it, but has" if nameless == 1 else f"{thousands(nameless)} photos show it, but have"
        lines.append(f"{are} no label. → glocal search")
    if others:
        lines.append("Other candidates" if result.label is not None else "Candidates")
        lines += [_candidate(result, vote) for vote in others]
    lines.append(f"{thousands(result.search.num_searched)} pictures searched in {result.search.seconds:.2f} s")
    return "\n".join(lines)


def _sentence(result: RecognitionResult) -> str:
    if not result.votes:
        return f"Unknown: {result.recognition.reason}."
    first = result.votes[0]
    hits = result.photos(first)
    best = max(hits, key=lambda hit: hit.inliers)
    if result.label is None:
        chance = "" if best.probability is None else f", {as_percent(best.probability)} probability"
        return f"Unknown: {result.recognition.reason}. (Best candidate {first.label}, {best.inliers} inliers{chance}.)"
    agree = sum(hit.band != Band.LOOK_ALIKE for hit in hits) if result.search.judged else len(hits)
    photos = "1 photo agrees" if agree == 1 else f"{agree} photos agree"
    proof = f", best {best.inliers} inliers" if best.verification else ""
    return f"{result.label}   ({SURE[result.verdict]}; {photos}{proof})"


def _line(hit: Match) -> str:
    inliers = f"{hit.inliers:4} inliers   " if hit.verification else ""
    return (
        f"  {as_percent(hit.probability):>4}  {exits.printable(hit.name):<44} {inliers}similarity {hit.similarity:.3f}"
    )


def _candidate(result: RecognitionResult, vote: ClassVote[str]) -> str:
    hits = result.photos(vote)
    photos = "1 photo" if len(hits) == 1 else f"{len(hits)} photos"
    inliers = f", best {max(hit.inliers for hit in hits)} inliers" if any(hit.verification for hit in hits) else ""
    return f"  {exits.printable(vote.label):<30} score {vote.score:.3f}   {photos}{inliers}"


def as_json(result: RecognitionResult, index: Index) -> dict[str, Any]:
    """The answer with evidence, in the shape of the HTTP interface; `label` is null when it was rejected."""
    fields = search_json(result.search, index)
    hits = fields.pop("results")
    answer = {
        "verdict": str(result.verdict),
        "label": result.label,
        "score": round(result.score, 4),
        "reason": result.recognition.reason or None,
        "votes": [
            {
                "label": vote.label,
                "score": round(vote.score, 4),
                "band": None if vote.band is None else str(vote.band),
                "evidence": [hits[place] for place in vote.evidence],
            }
            for vote in result.votes
        ],
    }
    return fields | answer


def _write_report(result: RecognitionResult, index: Index, file: Path) -> None:
    from glocal.pictures.report import write_report  # noqa: PLC0415
    from glocal.report import report_of  # noqa: PLC0415 - templates and drawing are needed here alone

    search = result.search
    places = sorted(place for vote in result.votes for place in vote.evidence)
    hits = tuple(dataclasses.replace(search[place], rank=rank) for rank, place in enumerate(places, 1))
    shown = dataclasses.replace(search, hits=hits, warnings=(_sentence(result), *search.warnings))
    command = f"glocal recognize {os.path.basename(search.query.path)}"
    write_report(report_of(shown, index, command), file)
