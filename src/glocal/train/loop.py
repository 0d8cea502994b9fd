"""The training loop: recipe and photos -> a model's folder, resumable at every step.

The state after step n depends on the recipe, the photos and n alone. On the CPU with a fixed number of threads a
run that was killed and resumed ends with the same bytes as one that was not.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import math
import os
import platform
import time
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from glocal import __version__
from glocal.data.augment import augment, staged_view
from glocal.data.labelled import open_photos, split_classes
from glocal.data.loader import Batch, BatchLoader
from glocal.data.staging import Staged
from glocal.errors import ConfigError, NothingToDo, RetrievalError
from glocal.extract.network import pick_device
from glocal.extract.pyramid import to_tensor
from glocal.models.catalogue import canonical_name, create_model, preprocessing_of
from glocal.models.conversion import load_backbone
from glocal.models.weights import ModelConfig, save_model
from glocal.nn.margin_head import ArcFaceHead, CosFaceHead, CurricularHead, MarginHead
from glocal.nn.partial_head import PartialHead, SubcentreHead
from glocal.train.averaging import Average
from glocal.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from glocal.train.distributed import Processes, step_seed, synchronise_statistics
from glocal.train.events import EventLog
from glocal.train.objectives import GlobalObjective, JointObjective, Losses
from glocal.train.recipe import Recipe
from glocal.train.schedule import learning_rate, total_steps
from glocal.train.validation import describe_photos, mean_average_precision
from glocal.train.warm_start import fill_from, imprint, whiten_projections
from glocal.types import Pixels

LOG, BEST = "log.csv", "best"
_LOSSES = ("attention", "reconstruction", "correspondence", "reliability")
_FIELDS = ("step", "epoch", "lr", "loss", "global", *_LOSSES, "map", "images_per_s", "waiting")
_EMPTY = dict.fromkeys(_FIELDS, "")
_COMMON = ("area", "aspect", "lighting", "jitter", "jitter_probability")  # to plain and to staged views


class TrainingDiverged(RetrievalError):
    """The loss is no number any more; the best model so far is untouched."""


class Watcher:
    """What a run tells while it works; override what is of interest."""

    def started(self, recipe: Recipe, photos: int, classes: int, held_back: int, step: int, steps: int) -> None:
        """The first step, or the first after a resumption, is about to be made."""

    def prepared(self, seconds: float) -> None:
        """The warm start, if the recipe has one, is done."""

    def stepped(self, step: int, steps: int, losses: dict[str, float], images_per_s: float, waiting: float) -> None:
        """One optimiser step was made; `waiting` is the share of its time spent on waiting for photos."""

    def validated(self, step: int, score: float, is_best: bool) -> None:
        """Validation gave this mAP on the held-back classes, 0 to 1."""

    def should_stop(self) -> bool:
        """Whether to save a checkpoint and stop."""
        return False


class Trainee(nn.Module):
    """A network and its objective as one module: what is optimised."""

    def __init__(self, network: nn.Module, objective: GlobalObjective | JointObjective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective

    def forward(self, images: Tensor, labels: Tensor, places: Tensor | None = None) -> Losses:
        """(B, 3, H, W) normalised, (B,) int64, (B, n, n, 2) places of the local cells or None -> losses."""
        losses: Losses = self.objective(self.network(images), labels, places)
        return losses


class Trainer:
    """One run.

    Args:
        recipe: what to do.
        directory: of the run; made if it is not there; a run in it is continued.
        device: as for `glocal.extract.network.pick_device`.
        watcher: is told what happens.
        processes: this process among those of the run; see `glocal.train.distributed.join`.

    Raises:
        ConfigError: the recipe does not fit the photos or the network, or the folder holds another run.
        NothingToDo: there are no photos with labels.
    """

    def __init__(
        self,
        recipe: Recipe,
        directory: Path,
        device: str = "auto",
        watcher: Watcher | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.recipe, self.directory = recipe, directory
        self._processes = processes or Processes()
        self.device = self._processes.device(pick_device(device))
        self._watcher = watcher or Watcher()
        data = recipe.data
        photos = open_photos(
            data.source, data.path, data.root, data.label, data.clean, data.unlabelled, partial(_is_allowed, data.only)
        )
        self.photos, self.held_back = split_classes(photos, data.held_back, data.split_seed)
        if not len(self.photos):
            raise NothingToDo(f"{data.path}: no photos with labels to train on. → see data.source and data.path")
        torch.manual_seed(recipe.run.seed)
        self.name = canonical_name(recipe.model.name)
        self.rules = preprocessing_of(self.name, **recipe.model.options)
        self.trainee = self._build().to(self.device)
        if recipe.run.channels_last:
            self.trainee.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.run.sync_bn:
            synchronise_statistics(self.trainee, self._processes, self.device)
        self._optimiser = self._make_optimiser()
        self._average = Average(self.trainee.network, recipe.run.ema) if recipe.run.ema else None
        augmentation = dataclasses.asdict(recipe.augment)
        colours = {name: augmentation[name] for name in _COMMON}
        has_pairs = bool(recipe.loss.correspondence_weight)
        if has_pairs and not self.rules.local_scales:
            raise ConfigError(f"loss.correspondence_weight is for models with local features, not {self.name} → 0")

        def transform(pixels: Pixels, rng: np.random.Generator) -> Pixels | Staged:
            if has_pairs:
                return staged_view(pixels, data.image_size, rng, **colours)
            return augment(pixels, data.image_size, rng, **augmentation)

        self._loader = BatchLoader(
            self.photos,
            self._share(recipe.run.batch_size),
            data.image_size,
            transform,
            recipe.run.seed,
            data.balanced,
            recipe.run.workers,
            self._processes.rank,
            self._processes.world,
            views=1 + has_pairs,
            stride=self.rules.local.stride if has_pairs else 0,
        )
        if not self._loader.num_batches:
            raise ConfigError(
                f"{len(self.photos)} photos are fewer than one batch of {recipe.run.batch_size} → run.batch_size"
            )
        self.steps = total_steps(recipe.schedule, self._loader.num_batches)

    def _share(self, batch_size: int) -> int:
        """This process's part of a batch."""
        world, passes = self._processes.world, self.recipe.run.accumulate
        if batch_size % (world * passes):
            raise ConfigError(
                f"run.batch_size ({batch_size}) must be a multiple of {world} processes times run.accumulate ({passes})"
            )
        return batch_size // world

    def _build(self) -> Trainee:
        recipe = self.recipe
        network = create_model(self.name, **recipe.model.options)
        if recipe.model.init and (Path(recipe.model.init) / "config.json").is_file():
            fill_from(network, self.name, Path(recipe.model.init))
        elif recipe.model.init:
            load_backbone(network, Path(recipe.model.init))
        for name, parameter in network.named_parameters():
            if name.startswith(recipe.model.freeze):
                parameter.requires_grad_(False)
        head = self._head(network)
        if not getattr(network, "local_dim", 0):
            return Trainee(network, GlobalObjective(head))
        pooled = network.get_submodule("local_head").pooled_channels
        loss = recipe.loss
        weights = (
            loss.attention_weight,
            loss.reconstruction_weight,
            loss.correspondence_weight,
            loss.reliability_weight,
        )
        assert isinstance(pooled, int)
        return Trainee(network, JointObjective(head, pooled, self.photos.num_classes, *weights))

    def _head(self, network: nn.Module) -> MarginHead | PartialHead:
        head, num_sampled = self._whole_head(network), self.recipe.loss.num_sampled
        head.weight.requires_grad_(not self.recipe.loss.fixed_classes)
        return PartialHead(head, num_sampled, self.recipe.run.seed) if num_sampled else head

    def _whole_head(self, network: nn.Module) -> MarginHead:
        loss, classes = self.recipe.loss, self.photos.num_classes
        dim = int(getattr(network, "dim", 0))
        if loss.head == "curricular":
            return CurricularHead(dim, classes, loss.margin, loss.scale)
        if loss.head == "cosface":
            return CosFaceHead(dim, classes, loss.margin, loss.scale)
        if loss.head == "subcentre":
            return SubcentreHead(dim, classes, loss.margin, loss.scale, loss.num_centres)
        return ArcFaceHead(dim, classes, loss.margin, loss.scale, loss.learn_scale)

    def _make_optimiser(self) -> torch.optim.SGD:
        part = self.recipe.optimiser
        network = self.trainee.network
        body = {id(p) for p in getattr(network, "backbone", network).parameters()}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in self.trainee.parameters():
            if parameter.requires_grad:
                decay = part.weight_decay if part.decay_vectors or parameter.ndim > 1 else 0.0
                factor = part.backbone_lr if id(parameter) in body else 1.0
                groups.setdefault((decay, factor), []).append(parameter)
        return torch.optim.SGD(
            [
                {"params": members, "weight_decay": decay, "factor": factor}
                for (decay, factor), members in groups.items()
            ],
            lr=part.lr,
            momentum=part.momentum,
            nesterov=part.nesterov and part.momentum > 0,
        )

    def run(self) -> Progress:
        """Train to the end of the recipe, or until the watcher stops it; the folder says how far it came.

        Raises:
            TrainingDiverged: the loss is not finite; the last checkpoint and the best model are untouched.
            ConfigError: too many photos are damaged, or the folder holds another run.
        """
        cv2.setNumThreads(1)  # the loader has threads of its own
        self.directory.mkdir(parents=True, exist_ok=True)
        digest = self._digest()
        progress = load_checkpoint(self.directory, self.trainee, self._optimiser, self._average, digest)
        is_new = progress is None
        progress = progress or Progress(recipe=digest)
        self._loader.damaged.extend(progress.damaged)
        self._watcher.started(
            self.recipe, len(self.photos), self.photos.num_classes, len(self.held_back), progress.step, self.steps
        )
        if is_new:
            started = time.monotonic()
            self._warm_start()
            self._watcher.prepared(time.monotonic() - started)
        if self._processes.is_first:
            if is_new:
                self._write_about()
            _cut_log(self.directory / LOG, progress.step)
        whole = self._processes.wrap(self.trainee, self.device)
        self._stepper = torch.compile(whole) if self.recipe.run.compile else whole
        saved_at = time.monotonic()
        per_epoch = self._loader.num_batches
        with contextlib.ExitStack() as stack:
            batches = stack.enter_context(contextlib.closing(self._batches(progress.step)))
            events = stack.enter_context(EventLog(self.directory, progress.step)) if self._processes.is_first else None
            for batch in batches:
                row = self._step(batch, progress.step)
                progress.step += 1
                if self._validation_is_due(progress.step, per_epoch):
                    row["map"] = self._validate(progress)
                late = time.monotonic() - saved_at > self.recipe.run.checkpoint_every_s
                stop, late = self._processes.any((self._watcher.should_stop(), late), self.device)
                save = late or stop or progress.step == self.steps
                if save:
                    progress.damaged = self._processes.gather(self._loader.damaged, self.device)
                    saved_at = time.monotonic()
                if events is not None:
                    _append(self.directory / LOG, row)
                    events.write(row)
                    if save:
                        save_checkpoint(self.directory, self.trainee, self._optimiser, self._average, progress)
                if stop:
                    break
        return progress

    def _warm_start(self) -> None:
        """Give projection and classifier the start that the recipe asks for."""
        network, size = self.trainee.network, self.recipe.data.image_size
        feed = self.photos, self.rules, size, self.device
        precision = self.recipe.run.precision
        model = self.recipe.model
        if model.whitening or model.local_whitening:
            whiten_projections(network, *feed, model.whitening, model.local_whitening, precision)
        if self.recipe.loss.imprint:
            head = self.trainee.objective.head
            imprint(head.head if isinstance(head, PartialHead) else head, network, *feed, precision)
        if self._average is not None:
            self._average.load_state_dict(network.state_dict())

    def _batches(self, step: int) -> Generator[Batch, None, None]:
        """The batches of all steps from one on."""
        while step < self.steps:
            epoch, first = divmod(step, self._loader.num_batches)
            with contextlib.closing(self._loader.batches(epoch, first)) as batches:
                for batch in batches:
                    yield batch
                    step += 1
                    if step == self.steps:
                        return

    def _step(self, batch: Batch, step: int) -> dict[str, object]:
        started = time.perf_counter()
        recipe = self.recipe
        lr = learning_rate(recipe.schedule, recipe.optimiser.lr, step, self._loader.num_batches)
        for group in self._optimiser.param_groups:
            group["lr"] = lr * group["factor"]
        self.trainee.train()
        _keep_frozen(self.trainee.network, recipe.model.freeze)
        if recipe.model.freeze_statistics:
            _keep_statistics(getattr(self.trainee.network, "backbone", self.trainee.network))
        self._optimiser.zero_grad(set_to_none=True)
        torch.manual_seed(step_seed(recipe.run.seed, step, self._processes.rank))
        sums: dict[str, float] = {}
        size = len(batch.images) // recipe.run.accumulate
        for first in range(0, len(batch.images), size):
            images = to_tensor(batch.images[first : first + size], self.rules, device=self.device)
            labels = torch.from_numpy(batch.labels[first : first + size]).to(self.device)
            places = None
            if batch.places is not None:
                places = torch.from_numpy(batch.places[first : first + size]).to(self.device)
            with torch.autocast(self.device.partition(":")[0], torch.bfloat16, recipe.run.precision == "bfloat16"):
                losses: Losses = self._stepper(images, labels, places)
            (losses.total / recipe.run.accumulate).backward()  # type: ignore[no-untyped-call]
            for key, value in losses._asdict().items():
                if value is not None:
                    sums[key] = sums.get(key, 0.0) + float(value.detach()) / recipe.run.accumulate
        sums = dict(zip(sums, self._processes.mean(list(sums.values()), self.device), strict=True))
        if not math.isfinite(sums["total"]):
            raise TrainingDiverged(
                f"The loss is {sums['total']} at step {step + 1}. The checkpoint before it and the best model in "
                f"{self.directory / BEST} are untouched. → lower optimiser.lr, or set optimiser.clip_norm=10"
            )
        if recipe.optimiser.clip_norm:
            nn.utils.clip_grad_norm_(self.trainee.parameters(), recipe.optimiser.clip_norm)
        self._optimiser.step()
        if self._average is not None:
            self._average.update(self.trainee.network)
        took = time.perf_counter() - started + batch.wait_s
        rate, waiting = len(batch.images) * self._processes.world / took, batch.wait_s / took
        self._watcher.stepped(step + 1, self.steps, sums, rate, waiting)
        return _EMPTY | {
            "step": step + 1,
            "epoch": round((step + 1) / self._loader.num_batches, 4),
            "lr": lr,
            "loss": sums["total"],
            "global": sums["global_"],
            **{name: sums.get(name, "") for name in _LOSSES},
            "images_per_s": round(rate, 2),
            "waiting": round(waiting, 4),
        }

    def _validation_is_due(self, step: int, per_epoch: int) -> bool:
        if step == self.steps:
            return True
        every = round(self.recipe.run.validate_every * per_epoch)
        return every > 0 and step % every == 0

    def _validate(self, progress: Progress) -> float:
        """Score the held-back classes; keep the model if it is the best so far."""
        network = self._average.network if self._average is not None else self.trainee.network
        score = 0.0
        if len(self.held_back) and self._processes.is_first:
            feed = self.held_back, self.rules, self.recipe.data.image_size, self.device, self.recipe.run.precision
            score = mean_average_precision(*describe_photos(network, *feed))
        score = self._processes.from_first(score, self.device)
        is_best = score >= progress.best
        if is_best:
            progress.best, progress.best_step = score, progress.step
            if self._processes.is_first:
                self._export(network, score)
        self._watcher.validated(progress.step, score, is_best)
        return score

    def _export(self, network: nn.Module, score: float) -> None:
        card = {
            "trained_on": f"{len(self.photos)} photos of {self.photos.num_classes} classes: {self.recipe.data.path}"
        }
        config = ModelConfig(self.name, dict(self.recipe.model.options), self.rules, card)
        source = {"recipe": self.recipe.name, "validation_map": round(score, 6), "photos": self.photos.digest()}
        save_model(self.directory / BEST, network, config, source)

    def _digest(self) -> str:
        """What the result depends on: recipe and photos; not how often it is saved."""
        same = dataclasses.replace(self.recipe.run, workers=1, checkpoint_every_s=1.0)
        text = dataclasses.replace(self.recipe, run=same).to_json() + self.photos.digest() + self.held_back.digest()
        return hashlib.sha256(text.encode()).hexdigest()

    def _write_about(self) -> None:
        (self.directory / "recipe.json").write_text(self.recipe.to_json() + "\n", "utf-8")
        init = Path(self.recipe.model.init) if self.recipe.model.init else None
        digest = hashlib.sha256(init.read_bytes()).hexdigest() if init is not None and init.is_file() else "none"
        lines = {
            "glocal": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {self.device}",
            "threads": torch.get_num_threads(),
            "init sha256": digest,
            "photos sha256": self.photos.digest(),
        }
        text = "".join(f"{key}: {value}\n" for key, value in lines.items())
        (self.directory / "versions.txt").write_text(text, "utf-8")


def _is_allowed(only: Mapping[str, Sequence[object]], note: Mapping[str, object]) -> bool:
    """Whether a photo's note has one of the wanted values in every wanted field."""
    return all(note.get(key) in values for key, values in only.items())


def _keep_frozen(network: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Frozen parts keep the statistics of their normalisations, too."""
    for name, module in network.named_modules():
        if prefixes and name.startswith(prefixes):
            module.eval()


def _keep_statistics(body: nn.Module) -> None:
    """Normalisations use the statistics that they have, and do not move them."""
    for module in body.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _append(path: Path, row: dict[str, object]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _FIELDS)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def _cut_log(path: Path, step: int) -> None:
    """Drop the lines of steps that will be made again; the log is replaced at once."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row.get("step") or "").isdecimal() and int(row["step"]) <= step]
    shorter = path.with_name(f".{path.name}.tmp")
    with shorter.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    shorter.replace(path)
