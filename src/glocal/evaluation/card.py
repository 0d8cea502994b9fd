"""The protocol card: everything that a number depends on, beside the number."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from glocal import __version__

PACKAGES = ("numpy", "opencv-python-headless", "pillow", "torch", "scipy", "scikit-image")

UNKNOWN_CROP = "as in the result file"
"""What a card says of the query boxes where only a result file was there."""

TITLES = {
    "benchmark": "Benchmark",
    "protocol": "Protocol",
    "ground_truth": "Ground truth, SHA-256",
    "gallery": "Photos searched",
    "queries": "Queries",
    "distractors": "Distractors",
    "images": "Photos, SHA-256 of names and contents",
    "incomplete": "Photos that could not be read",
    "crop": "Query boxes",
    "query_scale": "Size of a query's box",
    "query_turns": "Turns of a query",
    "exif": "EXIF orientation",
    "colour": "Colour order",
    "resize": "Reduced by",
    "image_size": "Longest side, px",
    "scales": "Scales, global",
    "local_scales": "Scales, local",
    "model": "Model",
    "weights": "Weights, SHA-256",
    "dim": "Numbers of a global descriptor",
    "local_dim": "Numbers of a local descriptor",
    "max_features": "Most local features of a photo",
    "rerank": "Re-ranking",
    "rerank_depth": "Candidates re-ranked",
    "exclude_junk": "Junk taken out before candidates are chosen",
    "rerank_options": "Re-ranking, options",
    "seed": "Seed",
    "vote": "Vote",
    "results": "Result file",
    "notes": "Notes",
    "command": "Command",
    "date": "Date, UTC",
    "versions": "Versions",
    "machine": "Machine",
}
"""Keys of a card, in the order in which it is printed."""


def versions() -> str:
    """What computed: glocal, Python and the packages that numbers depend on."""
    found = [f"glocal {__version__}", f"python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def machine(device: str = "cpu") -> str:
    """Where it was computed: processor, cores, memory, and the accelerator if there is one."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            processor = next(
                (line.partition(":")[2].strip() for line in file if line.startswith("model name")), processor
            )
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return f"{processor}, {cores} cores, {memory:.0f} GiB, {device}"


def to_markdown(card: Mapping[str, Any], summary: str) -> str:
    """A card as a Markdown page; values are one line each."""
    lines = [f"# {_cell(card.get('benchmark', 'Evaluation'))}", "", summary, "", "| | |", "|---|---|"]
    for key, title in TITLES.items():
        if key in card and card[key] not in (None, "", [], ()):
            lines.append(f"| {title} | {_cell(card[key])} |")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    """A value in a table of Markdown: names are hostile, and must not end the cell or start a tag."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {each}" for key, each in value.items())
    elif isinstance(value, list | tuple):
        value = "; ".join(str(each) for each in value)
    text = "".join(char if char.isprintable() else " " for char in str(value))
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
