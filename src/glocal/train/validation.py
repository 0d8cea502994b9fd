"""The real metric while training: mAP of finding the other photos of an object, on objects held back from training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from glocal.data.augment import centre_crop
from glocal.data.image import decode
from glocal.data.labelled import LabelledPhotos
from glocal.errors import ImageError
from glocal.extract.pyramid import to_tensor
from glocal.models.delg import DelgOutput
from glocal.models.preprocessing import Preprocessing
from glocal.ops.ranking import average_precision

_BATCH = 16


def describe_photos(
    network: nn.Module,
    photos: LabelledPhotos,
    rules: Preprocessing,
    size: int,
    device: str,
    precision: str = "float32",
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One scale, the centre square: a quick look, not the protocol of the benchmarks.

    Args:
        network: is in its mode of before afterwards.
        photos: those that cannot be read are left out.
        rules: how the network is fed.
        size: side of the square.
        device: of the network.
        precision: "float32" or "bfloat16" (mixed).

    Returns:
        (N, D) float32 unit descriptors and (N,) int64 labels of the photos that could be read.
    """
    squares, labels = [], []
    for i, label in enumerate(photos.labels):
        try:
            photo = decode(photos.read(i), photos.sources[i], 2 * size)
        except ImageError:
            continue
        squares.append(centre_crop(photo.pixels, size))
        labels.append(label)
    was_training = network.training
    network.eval()
    rows = []
    mixed = torch.autocast(device.partition(":")[0], torch.bfloat16, precision == "bfloat16")
    with torch.inference_mode(), mixed:
        for start in range(0, len(squares), _BATCH):
            output = network(to_tensor(np.stack(squares[start : start + _BATCH]), rules, device=device))
            descriptor = output.descriptor if isinstance(output, DelgOutput) else output
            rows.append(F.normalize(descriptor.float(), dim=1).cpu().numpy())
    network.train(was_training)
    vectors = np.concatenate(rows) if rows else np.empty((0, 1), np.float32)
    return vectors, np.asarray(labels, np.int64)


def mean_average_precision(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean average precision: every photo asks, all others are the gallery; classes of one photo ask nothing.

    Args:
        vectors: (N, D) float32 of unit norm.
        labels: (N,) int64.

    Returns:
        The mean, 0 to 1; 0 without a query.
    """
    similarities = vectors @ vectors.T
    precisions = []
    for i, label in enumerate(labels):
        relevant = set(np.flatnonzero(labels == label).tolist()) - {i}
        if relevant:
            order = np.argsort(-similarities[i], kind="stable").tolist()
            precisions.append(average_precision(order, relevant, junk={i}))
    return float(np.mean(precisions)) if precisions else 0.0
