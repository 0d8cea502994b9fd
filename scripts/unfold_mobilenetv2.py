"""Turn MobileNetV2 convolutions with folded normalisation into a backbone that trains: for `model.init` of a recipe.

    python scripts/unfold_mobilenetv2.py FOLDED.safetensors PHOTOS OUT.safetensors [--photos 256] [--size 224]

FOLDED holds 52 convolutions "00.weight", "00.bias" ... in the order of the forward pass. The normalisations get
their statistics from PHOTOS (webdataset shards); the function of the network stays, which is checked at the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from glocal.data.augment import centre_crop
from glocal.data.image import decode
from glocal.data.labelled import open_photos
from glocal.extract.pyramid import to_tensor
from glocal.models.catalogue import preprocessing_of
from glocal.nn.backbone import create_backbone
from glocal.train.unfolding import load_folded, unfold_batchnorm

_BATCH = 16


def main() -> None:
    """Unfold, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folded", type=Path)
    parser.add_argument("photos_at", metavar="photos", type=str)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    torch.manual_seed(0)
    backbone = create_backbone("mobilenetv2").eval()
    load_folded(backbone, safetensors.torch.load_file(options.folded))
    photos = open_photos("webdataset", options.photos_at, unlabelled=True)
    chosen = np.random.default_rng(0).permutation(len(photos))[: options.photos]
    squares = [
        centre_crop(decode(photos.read(i), photos.sources[i], 2 * options.size).pixels, options.size) for i in chosen
    ]
    rules = preprocessing_of("gem_mobilenetv2")
    batches = [to_tensor(np.stack(squares[i : i + _BATCH]), rules) for i in range(0, len(squares), _BATCH)]
    with torch.no_grad():
        before = backbone(batches[0]).c5
        unfold_batchnorm(backbone, batches)
        after = backbone.eval()(batches[0]).c5
    print(f"largest difference of c5 before and after: {float((before - after).abs().max()):.1e}")
    state = {name: value.contiguous() for name, value in backbone.state_dict().items()}
    safetensors.torch.save_file(state, options.out, {"format": "pt"})
    print(options.out)


if __name__ == "__main__":
    main()
