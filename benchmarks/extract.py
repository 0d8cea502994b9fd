"""Extraction speed: our extractor against the plain loop of the published scripts, at batch 1, in one run.

    python benchmarks/extract.py [--models delg_resnet50 dolg_resnet50 ...] [--sizes 512x384 1024x768]
                                 [--threads 1 2] [--rounds 5] [--device cpu]

The plain loop is what the released repositories do with the same network: for every scale resize the float
picture (OpenCV; torch for Token), normalise, run the network, bring its descriptor to unit norm; the mean at the
end; local features selected by the same code as ours. Ours folds the batch normalisation and keeps the channels last.
Both take turns on the same picture, round by round; the ratio is the median of the rounds' ratios, and the
last column says how far the two descriptors are apart. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from glocal.extract.local import LevelMaps, select_local
from glocal.extract.network import NetworkExtractor
from glocal.models.catalogue import create_model, find_model, list_models, preprocessing_of
from glocal.models.delg import DelgOutput
from glocal.models.preprocessing import Preprocessing
from glocal.types import Photo


def plain_loop(network: nn.Module, rules: Preprocessing, photo: Photo, device: str) -> NDArray[np.float32]:
    """The published way: one picture, one scale after the other."""
    height, width = photo.pixels.shape[:2]
    pixels = photo.pixels.astype(np.float32)
    vectors, levels = [], []
    with torch.no_grad():
        for scale in dict.fromkeys((*rules.local_scales, *rules.scales)):
            size = round(width * scale), round(height * scale)
            level = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR) if rules.level_rule == "size" else pixels
            level = (level - np.array(rules.mean, np.float32)) / np.array(rules.std, np.float32)
            images = torch.from_numpy(np.ascontiguousarray(level.transpose(2, 0, 1)))[None].to(device)
            if rules.level_rule == "factor" and scale != 1:  # Token and the baselines resize the normalised tensor
                images = F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
            output = network(images)
            if scale in rules.scales:
                vectors.append(F.normalize(output.descriptor if isinstance(output, DelgOutput) else output, dim=1))
            if isinstance(output, DelgOutput) and scale in rules.local_scales:
                levels.append(LevelMaps(scale, output.attention[0, 0].cpu().numpy(), output.local[0].cpu().numpy()))
    if levels:
        select_local(levels, rules.local, photo.id, (width, height), photo.size)
    return F.normalize(torch.stack(vectors).mean(dim=0), dim=1)[0].cpu().numpy()


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(name: str, size: tuple[int, int], rounds: int, device: str) -> str:
    """One line of the table."""
    torch.manual_seed(0)
    network = create_model(name).eval().to(device)
    rules = preprocessing_of(name)
    if not network.local_dim:
        rules = Preprocessing.from_dict(rules.to_dict() | {"local_scales": ()})
    ours = NetworkExtractor(network, name, rules, "0" * 64, device)
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    photo = Photo("a", cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC), size)
    apart = float(np.abs(plain_loop(network, rules, photo, device) - ours.extract(photo).descriptor).max())  # warms up
    plain_s, ours_s = [], []
    for _ in range(rounds):
        plain_s.append(seconds(lambda: plain_loop(network, rules, photo, device), device))
        ours_s.append(seconds(lambda: ours.extract(photo), device))
    ratio = statistics.median(a / b for a, b in zip(plain_s, ours_s, strict=True))
    return (
        f"| {name} | {size[0]}x{size[1]} | {torch.get_num_threads()} | {1 / statistics.median(plain_s):.2f} | "
        f"{1 / statistics.median(ours_s):.2f} | {ratio:.2f} | {apart:.0e} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    networks = [name for name in list_models() if find_model(name).is_network]
    usual = [name for name in networks if name.startswith(("delg", "dolg", "token", "glocal", "gem"))]
    parser.add_argument("--models", nargs="+", default=usual, metavar="NAME")
    parser.add_argument("--sizes", nargs="+", default=["512x384", "1024x768"], metavar="WxH")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print("| model | picture | threads | plain loop, photos/s | ours, photos/s | ratio | largest difference |")
    print("|---|---|---|---|---|---|---|")
    for name in options.models:
        for text in options.sizes:
            width, height = (int(side) for side in text.split("x"))
            for threads in options.threads:
                torch.set_num_threads(threads)
                cv2.setNumThreads(threads)
                print(measure(name, (width, height), options.rounds, options.device), flush=True)


if __name__ == "__main__":
    main()
