"""A run's log as a picture (optional dependency matplotlib)."""

from __future__ import annotations

import csv
from pathlib import Path

from glocal.errors import BackendUnavailable, NothingToDo

_PANELS = (
    (("loss", "global", "attention"), "loss"),
    (("reconstruction",), "reconstruction"),
    (("correspondence", "reliability"), "corresponding cells"),
    (("map",), "validation mAP"),
    (("lr",), "learning rate"),
)


def draw_curves(log: Path, picture: Path) -> None:
    """Draw losses, validation and learning rate over the steps.

    Args:
        log: the CSV file of a run.
        picture: the .png to write.

    Raises:
        BackendUnavailable: matplotlib is not installed.
        NothingToDo: the log has no line.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ImportError as error:
        raise BackendUnavailable("curves need matplotlib → pip install 'glocal[train]'") from error
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise NothingToDo(f"{log} has no line yet")
    shown = [(names, title) for names, title in _PANELS if any(row[name] for row in rows for name in names)]
    figure = Figure(figsize=(9, 2.4 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (names, title) in zip(
        figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0], shown, strict=True
    ):
        for name in names:
            points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1.2, marker="o" if name == "map" else None)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(loc="upper right", frameon=False)
    axes.set_xlabel("step")
    figure.savefig(picture, dpi=120)
