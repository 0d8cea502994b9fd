"""A network as an extractor: photos -> global descriptors and local features (torch ends here)."""

from __future__ import annotations

import copy
import logging
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from glocal.errors import BackendUnavailable, ConfigError
from glocal.extract.local import LevelMaps, select_local
from glocal.extract.pyramid import average_scales, pyramid_level, to_tensor
from glocal.models.delg import DelgOutput
from glocal.models.preprocessing import Preprocessing
from glocal.nn.feature_maps import Backbone
from glocal.nn.folding import fold_batchnorm
from glocal.types import Descriptors, Extraction, ExtractorSpec, LocalFeatures, Photo

_LOG = logging.getLogger(__name__)
_AUTO_BATCH = {"cpu": 1, "mps": 8, "cuda": 32}
_MOST_THREADS = 4
"""Photos that are described at a time on a CPU: each holds the maps of its own pass."""


def pick_device(device: str = "auto") -> str:
    """The torch device for a name.

    Args:
        device: "auto" (the fastest there is), "cpu", "cuda", "cuda:i" or "mps".

    Raises:
        BackendUnavailable: the device is not there.
        ConfigError: there is no device of this name.
    """
    kind, _, number = device.partition(":")
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if kind not in _AUTO_BATCH or (number and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError(f'Unknown device "{device}". Choose from auto, cpu, cuda, cuda:0, mps.')
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        build = "torch is the CPU build" if torch.version.cuda is None else f"{torch.cuda.device_count()} are there"
        raise BackendUnavailable(f"--device {device}: no such CUDA device ({build}). → --device cpu, or glocal doctor")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise BackendUnavailable("--device mps: there is no Apple GPU here. → --device cpu")
    return device


def has_bfloat16(device: str) -> bool:
    """Whether a device computes in bfloat16 itself, and not by way of float32."""
    if device == "cpu":
        found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch: then float32
        return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)


class NetworkExtractor:
    """`Extractor` of a network with its weights and preprocessing.

    Args:
        network: in any mode; a copy is taken, set to evaluation, its batch normalisation folded.
        name: catalogue name.
        preprocessing: how photos are fed and local features selected.
        fingerprint: SHA-256 of weights and configuration, hexadecimal.
        device: as for `pick_device`.
        batch_size: photos of one size that go through the network together; "auto" by the device.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        preprocessing: Preprocessing,
        fingerprint: str,
        device: str = "auto",
        batch_size: int | str = "auto",
    ) -> None:
        self.device = pick_device(device)
        if isinstance(batch_size, str):
            if batch_size != "auto" and not (batch_size.isdecimal() and int(batch_size)):
                raise ConfigError(f'batch size must be "auto" or a positive number, not "{batch_size}"')
            batch_size = _AUTO_BATCH[self.device.partition(":")[0]] if batch_size == "auto" else int(batch_size)
        if batch_size < 1:
            raise ConfigError(f"batch size must be at least 1, not {batch_size}")
        self.batch_size: int = batch_size
        self._cores = torch.get_num_threads()
        self.num_threads = min(self._cores, _MOST_THREADS) if self.device == "cpu" else 1
        self.network = fold_batchnorm(copy.deepcopy(network).eval()).requires_grad_(False)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.preprocessing = preprocessing
        self._is_mixed = preprocessing.precision == "bfloat16" and has_bfloat16(self.device)
        body = getattr(network, "backbone", None)
        self._min_side = body.min_side if isinstance(body, Backbone) else 1
        dim, local_dim = int(getattr(network, "dim", 0)), int(getattr(network, "local_dim", 0))
        if not dim:
            raise ConfigError(f"the network of '{name}' has no attribute 'dim': the length of its descriptor")
        self.spec = ExtractorSpec(
            model=name,
            weights=fingerprint,
            image_size=preprocessing.image_size,
            resize=preprocessing.resize,
            exif="apply",
            colour="rgb",
            scales=preprocessing.scales,
            whitening="learned",
            metric="inner product",
            dim=dim,
            local_dim=local_dim,
            max_features=preprocessing.local.max_features if local_dim else 0,
        )

    def enter_thread(self) -> None:
        """Leave the other threads their cores; to be called in each of `num_threads` threads.

        Small maps do not keep several cores busy: on two of them the compact networks describe twice as many photos
        with a photo on each core.
        """
        if self.num_threads > 1:
            torch.set_num_threads(self._cores // self.num_threads)

    def extract(self, photo: Photo) -> Extraction:
        """The global descriptor and the local features of a photo, in one pass."""
        return self.extract_batch([photo])[0]

    def describe(self, photos: Sequence[Photo]) -> Descriptors:
        """One unit-norm descriptor per photo, order kept."""
        rows = [found.descriptor for found in self.extract_batch(photos)]
        vectors = np.stack(rows) if rows else np.empty((0, self.spec.dim), np.float32)
        return Descriptors(tuple(photo.id for photo in photos), vectors)

    def detect(self, photo: Photo) -> LocalFeatures:
        """The local features, keypoints in pixels of the upright original; none for a purely global model."""
        return self.extract(photo).local

    def extract_batch(self, photos: Sequence[Photo]) -> list[Extraction]:
        """Photos of any sizes -> their features, order kept; photos of equal size share a pass.

        Nothing is padded to make sizes equal: a photo's descriptor does not depend on its neighbours. When the
        device runs out of memory the batch is halved, for good.

        Raises:
            BackendUnavailable: a single photo does not fit into the device's memory.
        """
        buckets: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, photo in enumerate(photos):
            buckets[photo.pixels.shape].append(i)
        found: dict[int, Extraction] = {}
        for members in buckets.values():
            waiting = members
            while waiting:
                taken = waiting[: self.batch_size]
                try:
                    outcome = self._run([photos[i] for i in taken])
                except torch.OutOfMemoryError as error:
                    self._shrink(len(taken), error)
                    continue
                found.update(zip(taken, outcome, strict=True))
                waiting = waiting[len(taken) :]
        return [found[i] for i in range(len(photos))]

    def _shrink(self, tried: int, error: Exception) -> None:
        if tried == 1:
            raise BackendUnavailable(
                f"{self.device} has not enough memory for one photo at {self.spec.image_size or 'full'} px "
                f"→ --device cpu, or a model with a smaller image_size in its config.json ({error})"
            ) from error
        self.batch_size = tried // 2
        _LOG.warning(
            "Not enough memory on %s for batch %d at %s px; retrying with %d.",
            self.device,
            tried,
            self.spec.image_size or "full",
            self.batch_size,
        )
        torch.cuda.empty_cache()

    @torch.inference_mode()
    def _run(self, photos: Sequence[Photo]) -> list[Extraction]:
        """Photos of one size."""
        rules = self.preprocessing
        images = to_tensor(np.stack([photo.pixels for photo in photos]), rules, device=self.device)
        vectors: list[Tensor] = []
        levels: list[list[LevelMaps]] = [[] for _ in photos]
        local_scales = rules.local_scales if self.spec.local_dim else ()
        for scale in dict.fromkeys((*local_scales, *rules.scales)):
            level = pyramid_level(images, scale, rules.level_rule)
            level = _at_least(level, self._min_side).contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.partition(":")[0], torch.bfloat16, self._is_mixed):
                output = self.network(level)
            if scale in rules.scales:
                vectors.append((output.descriptor if isinstance(output, DelgOutput) else output).float())
            if scale in local_scales:
                for per_photo, attention, local in zip(
                    levels, _numpy(output.attention), _numpy(output.local), strict=True
                ):
                    per_photo.append(LevelMaps(scale, attention[0], local))
        descriptors = _numpy(average_scales(vectors))
        return [
            Extraction(np.ascontiguousarray(descriptor), self._select(photo, maps))
            for photo, descriptor, maps in zip(photos, descriptors, levels, strict=True)
        ]

    def _select(self, photo: Photo, levels: list[LevelMaps]) -> LocalFeatures:
        height, width = photo.pixels.shape[:2]
        if levels:
            rules = self.preprocessing
            return select_local(levels, rules.local, photo.id, (width, height), photo.size, rules.level_rule)
        nothing = np.empty((0,), np.float32)
        return LocalFeatures(
            photo.id, photo.size, np.empty((0, 2), np.float32), np.empty((0, 0), np.float32), nothing, nothing
        )


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return values.float().contiguous().cpu().numpy()


def _at_least(images: Tensor, side: int) -> Tensor:
    """Repeat the last row and column of a level that is too small for the backbone to leave a cell of."""
    below, right = (max(0, side - length) for length in images.shape[2:])
    return F.pad(images, (0, right, 0, below), mode="replicate") if below or right else images
