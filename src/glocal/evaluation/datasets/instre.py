"""INSTRE (Wang and Jiang, 2015) with the queries and the ground truth of Iscen et al., CVPR 2017."""

from __future__ import annotations

from pathlib import Path

from glocal.evaluation.benchmark import Benchmark, BenchmarkQuery, Corners
from glocal.evaluation.datasets.ground_truth import GroundTruth, find_ground_truth, find_photos, read_ground_truth
from glocal.evaluation.datasets.published import notes_on_size
from glocal.evaluation.datasets.reading import as_corners, corners_of, distinct, inside, position_of
from glocal.evaluation.protocol import INSTRE

NAME = "instre"


def read_instre(root: Path) -> Benchmark:
    """INSTRE; without photos its `root` is None.

    Args:
        root: the folder that holds instre/gnd_instre.mat (or .pkl, .json) and instre/INSTRE-S1/ …, or these themselves.

    Raises:
        ConfigError: there is no ground truth, or it is malformed.
    """
    truth = read_ground_truth(find_ground_truth((root / NAME, root), NAME))
    # Its names have folder and suffix.
    photos, prefix = find_photos(truth, "", ("", "jpg"))
    index = position_of(truth.gallery)
    boxes = _boxes(truth)
    has_junk = truth.has("junk")
    queries = tuple(
        BenchmarkQuery(
            unique,
            inside(f"{prefix}{query}", str(truth.path)),
            boxes[i],
            {"ok": truth.indices(i, "ok")} | ({"junk": truth.indices(i, "junk")} if has_junk else {}),
            index.get(query),
        )
        for i, (unique, query) in enumerate(zip(distinct(truth.queries), truth.queries, strict=True))
    )
    files = tuple(inside(f"{prefix}{photo}", str(truth.path)) for photo in truth.gallery)
    notes = notes_on_size(NAME, len(files), len(queries))
    return Benchmark(NAME, INSTRE, photos, truth.gallery, files, queries, notes)


def _boxes(truth: GroundTruth) -> list[Corners | None]:
    """The queries' boxes as corners.

    Programs that read the file disagree whether it says x1, y1, x2, y2 or x, y, width, height. Over all queries it can
    be told: with sizes, some box in the right or lower half is narrower or lower than it is far from the edge.
    """
    if not truth.has("bbx"):
        return [None] * len(truth.queries)
    numbers = [truth.numbers(i) for i in range(len(truth.queries))]
    if all(x2 > x1 and y2 > y1 for x1, y1, x2, y2 in numbers):
        return [as_corners(box, str(truth.path)) for box in numbers]
    return [
        as_corners(corners_of(*box), f"{truth.path}: query {i} ({truth.queries[i]}), bbx")
        for i, box in enumerate(numbers)
    ]
