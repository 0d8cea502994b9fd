"""A run in lines of text: the reference's own lines, byte for byte, and the cost beside them."""

from __future__ import annotations

import math

import numpy as np

from glocal.evaluation.datasets.published import SIZES
from glocal.evaluation.methods import NONE
from glocal.evaluation.protocol import CLASSIC, LANDMARKS, REVISITED, UKBENCH
from glocal.evaluation.record import RunRecord
from glocal.models.published import PUBLISHED


def reference_lines(record: RunRecord) -> list[str]:
    """The lines that the benchmark's own program prints; people search for them.

    Revisited Oxford and Paris: filipradenovic/revisitop, python/example_evaluate.py. Oxford5k and Paris6k:
    filipradenovic/cnnimageretrieval-pytorch, utils/evaluate.py. The others have no such line and get one of this form.
    """
    name = record.benchmark + (f"+{record.card['distractors'].split(',')[0]}" if _has_distractors(record) else "")
    protocol = record.card.get("protocol")
    percent = {setup: np.around(record.mean_ap(setup) * 100, decimals=2) for setup in record.setups}
    if protocol == REVISITED.name:
        precision = {s: np.around(np.array(record.mean_precision(s)) * 100, decimals=2) for s in record.setups}
        cutoffs = np.array(record.cutoffs)
        return [
            f">> {name}: mAP E: {percent['easy']}, M: {percent['medium']}, H: {percent['hard']}",
            f">> {name}: mP@k{cutoffs} E: {precision['easy']}, M: {precision['medium']}, H: {precision['hard']}",
        ]
    if protocol == CLASSIC.name:
        return [f">> {name}: mAP {percent['all']:.2f}"]
    if protocol == LANDMARKS.name:
        return [f">> {name}: {record.title} Public: {percent['public']:.2f}, Private: {percent['private']:.2f}"]
    lines = [f">> {name}: {record.title} {percent['all']:.2f}"]
    if protocol == UKBENCH.name:
        lines.append(f">> {name}: N-S {record.first_four():.2f} of 4")
    else:
        shown = ", ".join(
            f"{k}: {100 * p:.2f}" for k, p in zip(record.cutoffs, record.mean_precision("all"), strict=True)
        )
        lines.append(f">> {name}: mP@k {shown}")
    return lines


def group_lines(record: RunRecord) -> list[str]:
    """The mAP of each kind of queries, if there are several."""
    if len(record.groups) < 2:
        return []
    width = max(len(name) for name in record.groups)
    lines = []
    for name, ids in record.groups.items():
        cells = ", ".join(f"{setup} {_percent(record.mean_ap(setup, name))}" for setup in record.setups)
        lines.append(f"   {name:<{width}}  {len(ids):4} queries   {cells}")
    return lines


def published_line(record: RunRecord) -> str | None:
    """What the authors of the model reported on this benchmark, and the difference; None where that says nothing.

    It is given for the whole benchmark, cropped queries, no distractors, and the global ranking or DELG's re-ranking.
    """
    card = record.card
    name = str(card.get("benchmark", ""))
    told = PUBLISHED.get(str(card.get("model")), {})
    suffix = {NONE: "", "delg": "_verified"}.get(str(card.get("rerank")))
    whole = name in SIZES and (card.get("gallery"), card.get("queries")) == SIZES[name] and not card.get("incomplete")
    if suffix is None or not whole or not str(card.get("crop")).startswith("on") or _has_distractors(record):
        return None
    keys = [f"{name.rstrip('0123456789k')}_{setup}{suffix}" for setup in ("medium", "hard")]
    if not all(key in told for key in keys):
        return None
    pairs = [(told[key], 100 * record.mean_ap(setup)) for key, setup in zip(keys, ("medium", "hard"), strict=True)]
    numbers = " / ".join(f"{theirs:.2f}" for theirs, _ in pairs)
    apart = " / ".join(f"{ours - theirs:+.2f}" for theirs, ours in pairs)
    return f"   published (medium / hard, weights of the authors) {numbers} → Δ {apart}"


def cost_line(record: RunRecord) -> str:
    """What it costs: ms per query, bytes per photo, memory; what was not measured in this run is left out."""
    cost = record.cost
    parts = []
    if "ms_per_query" in cost:
        split = [
            f"{stage} {cost[f'ms_{stage}']:.1f}"
            for stage in ("describe_query", "dba", "search", "rerank")
            if f"ms_{stage}" in cost
        ]
        parts.append(f"{cost['ms_per_query']:.1f} ms/query ({', '.join(split).replace('describe_query', 'describe')})")
    if "bytes_global" in cost:
        local = f" + {cost['bytes_local']:,.0f} local" if "bytes_local" in cost else ""
        parts.append(f"{cost['bytes_global']:,.0f} B/img global{local}")
    if "photos_per_s" in cost:
        parts.append(f"{cost['photos_per_s']:.1f} img/s")
    if "peak_rss_mib" in cost:
        parts.append(f"{cost['peak_rss_mib']:,.0f} MiB RAM")
    return "   " + " · ".join(parts)


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _has_distractors(record: RunRecord) -> bool:
    return bool(record.card.get("distractors", "none") != "none")
