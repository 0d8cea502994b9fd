"""A stand-in for a network that needs no torch."""

import time

import numpy as np

from glocal.errors import ImageError
from glocal.models.preprocessing import Preprocessing
from glocal.models.rootsift import RootSift
from glocal.types import Extraction, ExtractorSpec, LocalFeatures


class FakeNetwork:
    """Describes a photo by the mean colours of its quarters; local features, if any, are those of RootSIFT."""

    device = "cpu"
    num_threads = 1

    def __init__(self, local=False, batch_size=4, weights="a" * 64, seconds=0.0, image_size=320, spoil=None):
        self.preprocessing = Preprocessing(image_size=image_size, resize="bilinear")
        self.batch_size = batch_size
        self.batches = []  # shapes of the pixels, batch by batch
        self.spec = ExtractorSpec(
            model="fake_net",
            weights=weights,
            image_size=image_size,
            resize="bilinear",
            exif="apply",
            colour="rgb",
            scales=(1.0,),
            whitening="none",
            metric="inner product",
            dim=12,
            local_dim=128 if local else 0,
            max_features=1000 if local else 0,
        )
        self._sift = RootSift() if local else None
        self._seconds, self._spoil = seconds, spoil

    def enter_thread(self):
        pass

    def extract_batch(self, photos):
        self.batches.append([photo.pixels.shape for photo in photos])
        time.sleep(self._seconds)
        return [self.extract(photo) for photo in photos]

    def extract(self, photo):
        if self._spoil == "refuse" and photo.id.endswith("bad.png"):
            raise ImageError("too_small", "too small for this network")
        height, width = (side // 2 for side in photo.pixels.shape[:2])
        quarters = [photo.pixels[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
        descriptor = np.concatenate([quarter.mean(axis=(0, 1)) - 128 for quarter in quarters]).astype(np.float32)
        descriptor /= np.linalg.norm(descriptor)
        if self._spoil == "nan" and photo.id.endswith("bad.png"):
            descriptor[:] = np.nan
        if self._sift is not None:
            return Extraction(descriptor, self._sift.extract(photo).local)
        none = np.empty(0, np.float32)
        points, rows = np.empty((0, 2), np.float32), np.empty((0, 0), np.float32)
        return Extraction(descriptor, LocalFeatures(photo.id, photo.size, points, rows, none, none))
