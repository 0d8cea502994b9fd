"""A model for one's own photos: labels from folders or from verified matches, a short training, before and after."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glocal.data.labelled import LabelledPhotos, open_photos
from glocal.errors import NothingToDo
from glocal.extract.load import model_folder
from glocal.models.weights import load_model, read_config
from glocal.photo_index import Index
from glocal.rerank.bands import Band
from glocal.train.loop import BEST, Trainer, Watcher
from glocal.train.recipe import (
    AugmentPart,
    DataPart,
    LossPart,
    ModelPart,
    OptimiserPart,
    Recipe,
    RunPart,
    SchedulePart,
)
from glocal.train.validation import describe_photos, mean_average_precision

MINED = "mined.csv"
LEAST_GROUPS = 2
_TOPK = 30
_MINER = "rootsift"  # its probabilities are calibrated: only what is the same for sure becomes a label

Report = Callable[[int, int], None]
"""Photos done, photos in all."""


@dataclass(frozen=True, slots=True)
class Groups:
    """How the photos fall into objects.

    Attributes:
        photos: of all.
        groups: objects with two photos or more.
        grouped: photos in them.
    """

    photos: int
    groups: int
    grouped: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training brought.

    Attributes:
        model: folder of the new model.
        before: mAP of the model that it started from, on objects held back from training; 0 to 1, None without such.
        after: the same of the new model.
        queries: photos that the two numbers are means over.
        step: after which the best model was kept.
        finished: False where the run was interrupted; the same call goes on.
    """

    model: Path
    before: float | None
    after: float | None
    queries: int
    step: int
    finished: bool


def mine_labels(photos: Path, out: Path, report: Report = lambda done, total: None) -> Groups:
    """Group photos by geometrically verified matches, without any label, and write them to `out` as CSV.

    Every photo is searched among all others. Two that show the same thing for sure (band *same*) belong to one
    group, and so do groups that share a photo. A photo without partner has an empty label.

    Args:
        photos: the folder.
        out: the CSV file, columns path and label; replaced.
        report: is told how far the search is.

    Raises:
        NothingToDo: there are no photos.
    """
    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "index", _MINER) as index:
        index.add(photos)
        rows = sorted(os.fsdecode(row.path) for row in index.collection.catalogue("indexed"))
        parent = {name: name for name in rows}
        for done, name in enumerate(rows):
            report(done, len(rows))
            try:
                hits = index.search(photos / name, topk=_TOPK)
            except NothingToDo:  # too plain a photo to search for
                continue
            for other in (other for hit in hits if hit.band == Band.SAME for other in (hit.name, *hit.copies)):
                parent[_root(parent, other)] = _root(parent, name)
        report(len(rows), len(rows))
    members: dict[str, list[str]] = {}
    for name in rows:
        members.setdefault(_root(parent, name), []).append(name)
    label_of = {name: f"group-{first}" for first, names in members.items() if len(names) > 1 for name in names}
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        writer.writerows((name, label_of.get(name, "")) for name in rows)
    return Groups(len(rows), len(set(label_of.values())), len(label_of))


def _root(parent: dict[str, str], name: str) -> str:
    while parent[name] != name:
        parent[name] = name = parent[parent[name]]
    return name


def count_groups(photos: LabelledPhotos) -> Groups:
    """How labelled photos fall into objects."""
    counts = np.bincount(photos.labels, minlength=photos.num_classes)
    return Groups(len(photos), int((counts > 1).sum()), int(counts[counts > 1].sum()))


def finetune_recipe(
    photos: Path, labels: Path | None, model: str, epochs: float = 10.0, image_size: int = 224, batch_size: int = 32
) -> Recipe:
    """The short training from a model that works already.

    Args:
        photos: the folder.
        labels: CSV with columns path and label; None takes the first folder below `photos` as the label.
        model: what `--model` takes: name or folder of a network.
        epochs: length.
        image_size: side of the square that the network sees.
        batch_size: photos per step.

    Raises:
        NothingToDo: fewer than two objects have two photos.
        WeightsError: there are no weights of this model.
    """
    source, path = ("folder", photos) if labels is None else ("csv", labels)
    table = open_photos(source, str(path), "" if labels is None else str(photos), unlabelled=True)
    found = count_groups(table)
    if found.groups < LEAST_GROUPS:
        raise NothingToDo(
            f"{photos}: {found.groups} objects with two photos or more among {found.photos} photos: nothing to "
            "learn from. → more photos of the same objects"
        )
    place = model_folder(model)
    config = read_config(place)
    return Recipe(
        name=f"finetuned_{config.name}",
        about=f"From {config.name}, on {found.groups} groups of {photos.resolve()}.",
        model=ModelPart(config.name, config.options, str(place)),
        data=DataPart(
            source=source,
            path=str(path.resolve()),
            root="" if labels is None else str(photos.resolve()),
            unlabelled=True,
            held_back=0.2,
            image_size=image_size,
        ),
        augment=AugmentPart(
            area=(0.3, 1.0), jitter=(0.3, 0.3, 0.3, 0.03), perspective=0.12, rotation=8.0, scene=0.3, flip=0.0
        ),
        loss=LossPart("arcface", imprint=True),
        # A tenth of the rate from scratch, and a tenth of that for the backbone: what is known is kept.
        optimiser=OptimiserPart(lr=0.01, backbone_lr=0.1, decay_vectors=False, clip_norm=10.0),
        schedule=SchedulePart("cosine", epochs, warmup_epochs=0.3),
        run=RunPart(
            batch_size=min(batch_size, max(2, found.photos // 4)), ema=0.99, workers=max(os.cpu_count() or 1, 1)
        ),
    )


def finetune(recipe: Recipe, directory: Path, device: str = "auto", watcher: Watcher | None = None) -> Outcome:
    """Train, or go on with it, and compare with the model that it began with on the objects held back.

    Args:
        recipe: of `finetune_recipe`, or of your own with `model.init`.
        directory: of the run.
        device: as for `glocal.extract.network.pick_device`.
        watcher: is told what happens.

    Raises:
        TrainingDiverged, ConfigError, NothingToDo: see `Trainer`.
    """
    trainer = Trainer(recipe, directory, device, watcher)
    progress = trainer.run()
    best = directory / BEST
    if progress.step < trainer.steps or not best.exists():
        return Outcome(best, None, None, 0, progress.best_step, finished=False)
    held_back = trainer.held_back
    queries = count_groups(held_back).grouped
    scores = []
    for place in (Path(recipe.model.init), best):
        network, config, _ = load_model(place)
        feed = held_back, config.preprocessing, recipe.data.image_size, trainer.device
        if queries:
            scores.append(mean_average_precision(*describe_photos(network.to(trainer.device), *feed)))
    before, after = scores if queries else (None, None)
    return Outcome(best, before, after, queries, progress.best_step, finished=True)
