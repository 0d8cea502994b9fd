"""Indexing speed: `rootsift` with two workers against one, the default network against it, and where the time goes.

    python benchmarks/indexing.py PHOTOS [--photos 500] [--rounds 3]

Each round indexes the same photos with one worker, with two, and with the network, in turn, from nothing; medians are
compared. The last lines split one photo's time into decoding, SIFT and aggregation, in this process, on one thread.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import cv2
from threadpoolctl import threadpool_limits

from glocal.data.formats import is_picture_name
from glocal.data.image import decode, read_file
from glocal.extract.run import IndexOptions, IndexReport
from glocal.models.catalogue import CLASSICAL_MODEL, DEFAULT_NETWORK
from glocal.models.rootsift import RootSift, sift
from glocal.photo_index import Index


def index_once(photos: Path, place: Path, model: str, workers: int) -> IndexReport:
    """Index a folder from nothing; the network is loaded before the clock starts."""
    with Index.create(place, model) as index:
        report = index.add(photos, options=IndexOptions(workers=workers))
    shutil.rmtree(place)
    return report


def split_time(paths: list[Path]) -> dict[str, float]:
    """Seconds per photo by stage, in this process."""
    cv2.setNumThreads(1)
    model = RootSift()
    total = dict.fromkeys(("decode", "SIFT", "aggregate and the rest"), 0.0)
    with threadpool_limits(1):
        for path in paths:
            started = time.process_time()
            photo = decode(read_file(path).data, path.name, model.spec.image_size)
            decoded = time.process_time()
            sift(photo.pixels)
            found = time.process_time()
            model.extract(photo)
            done = time.process_time()
            total["decode"] += decoded - started
            total["SIFT"] += found - decoded
            total["aggregate and the rest"] += max(0.0, (done - found) - (found - decoded))
    return {stage: seconds / len(paths) for stage, seconds in total.items()}


def main() -> None:
    """Index in turn, compare, split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--photos", dest="count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names = sorted(path for path in options.photos.rglob("*") if is_picture_name(path.name.encode()))
    names = names[:: max(1, len(names) // options.count)][: options.count]
    runs = ((CLASSICAL_MODEL, 1), (CLASSICAL_MODEL, 2), (DEFAULT_NETWORK, 2))
    seconds: dict[tuple[str, int], list[float]] = {run: [] for run in runs}
    shares: dict[tuple[str, int], list[float]] = {run: [] for run in runs}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "photos"
        folder.mkdir()
        for number, path in enumerate(names):
            shutil.copyfile(path, folder / f"{number:05}{path.suffix}")
        for _ in range(options.rounds):
            for run in runs:
                model, workers = run
                report = index_once(folder, Path(temporary) / "index", model, workers)
                seconds[run].append(report.seconds)
                shares[run].append((report.decode_s + report.extract_s) / (workers * report.seconds))
                print(f"{model}, {workers} worker(s): {report.indexed} photos in {report.seconds:.1f} s", flush=True)
    one, two, network = (statistics.median(seconds[run]) for run in runs)
    rates = f"{len(names) / one:.1f} and {len(names) / two:.1f} photos/s"
    print(f"two workers against one: {one / two:.2f} times the speed ({rates})")
    print(
        f"{DEFAULT_NETWORK} against {CLASSICAL_MODEL}, two workers each: {two / network:.2f} times the speed "
        f"({len(names) / network:.1f} photos/s)"
    )
    for workers in (1, 2):
        share = statistics.median(shares[CLASSICAL_MODEL, workers])
        print(f"decode + features share of the workers' wall time, {workers} worker(s): {share:.1%}")
    stages = split_time(names[:60])
    for stage, value in stages.items():
        print(f"  {stage:<24}{1000 * value:7.1f} ms/photo  {value / sum(stages.values()):6.1%}")


if __name__ == "__main__":
    main()
