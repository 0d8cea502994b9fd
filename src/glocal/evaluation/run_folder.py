"""The folder of a run: `metrics.json`, `ranks.npz`, `card.md`; what others need to check and to go on from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from glocal.evaluation import card as cards
from glocal.evaluation.answering import Answers
from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.printing import reference_lines
from glocal.evaluation.record import RunRecord
from glocal.pictures.files import write_atomically

RANKS, CARD = "ranks.npz", "card.md"


def write_run(folder: Path, record: RunRecord, benchmark: Benchmark, answers: Answers) -> None:
    """Write the files of a run; each whole or not at all, the metrics last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(_ranks(benchmark, answers), folder / RANKS)
    summary = "```\n" + "\n".join(reference_lines(record)) + "\n```"
    write_atomically(cards.to_markdown(record.card, summary).encode("utf-8", "backslashreplace"), folder / CARD)
    record.write(folder)


def _ranks(benchmark: Benchmark, answers: Answers) -> bytes:
    """Arrays `gallery` and `queries` (names) and `ranks` (K, Q) int32: gallery indices, best first, one column a query.

    Indices from the size of the gallery on are distractors; -1 is no photo. A method that orders the first candidates
    apart for each setup adds `ranks_easy` and so on; there junk comes last.
    """
    ranks = {"ranks": answers.ranking.top.T}
    for setup in answers.heads:
        columns = []
        for number, order in enumerate(answers.ranking.top):
            head = answers.heads[setup][number]
            rest = order[~np.isin(order, head.photos)]
            junk = np.isin(rest, benchmark.queries[number].ignored(benchmark.protocol.setups[setup]))
            tail = np.concatenate([rest[~junk], rest[junk]]) if head.excludes_junk else rest
            columns.append(np.concatenate([head.photos, tail]))
        ranks[f"ranks_{setup}"] = np.stack(columns, axis=1)
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: each.astype(np.int32) for name, each in ranks.items()}
    arrays["gallery"] = np.array(benchmark.gallery, np.str_)
    arrays["queries"] = np.array([query.id for query in benchmark.queries], np.str_)
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
