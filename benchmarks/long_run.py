"""Indexing a hundred thousand small photos: memory of all processes, work lost by kill -9, time until work goes on.

    python benchmarks/long_run.py [--sizes 10000 100000] [--kills 10] [--folder DIR] [--json FILE]

Photos are made: 96 x 72 JPEG, all different. They are scanned, hashed, decoded in worker processes and committed as
`glocal index` does it, only that a stand-in takes the place of the model: 2048 numbers and 300 local features of 128,
computed from the pixels in a fraction of a millisecond. Memory is the sum over all processes of the most that each has
had resident (VmHWM, mapped files included), so it is never less than the peak of the sum. The largest run is then begun
anew and killed with -9 at random moments, and each time continued. Lost is what a worker had answered and the next run
did not find; the wait is from the start of the command to the first new photo that is answered, the scan of all
photos included. At the end the catalogue must hold every photo once, and the same descriptors as the run that nobody
killed.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from glocal.errors import ImageError
from glocal.extract.photo_folder import LocalFolder
from glocal.extract.pool import WorkerPool
from glocal.extract.requests import PIXELS_ONLY, Outcome, Request
from glocal.extract.run import IndexOptions, IndexRun, Listener
from glocal.store.collection import Collection
from glocal.types import ExtractorSpec

DIM, LOCAL_DIM, FEATURES = 2048, 128, 300
SPEC = ExtractorSpec(
    "stand-in", "0" * 64, 96, "area", "apply", "rgb", (1.0,), "none", "inner product", DIM, LOCAL_DIM, FEATURES
)
PER_FOLDER = 1000


# ---------------------------------------------------------------------- photos
def make_photos(folder: Path, count: int) -> None:
    """Write photos that are not there yet."""
    for number in range(count):
        path = folder / f"{number // PER_FOLDER:04}" / f"{number:07}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC))


# ---------------------------------------------------------------------- the run
class StandInPool:
    """Decodes in workers, and makes features of the pixels here."""

    def __init__(self, workers: int) -> None:
        self._pool = WorkerPool(PIXELS_ONLY, workers)
        self._mix = np.random.default_rng(0).standard_normal((DIM, 24), np.float32)

    def run(self, requests: Iterable[Request]) -> Generator[Outcome, None, None]:
        """Answer all requests."""
        wanted = (dataclasses.replace(request, want="pixels", longest=96) for request in requests)
        for request, outcome in self._pool.run(wanted):
            if not isinstance(outcome, ImageError):
                outcome = dataclasses.replace(outcome, arrays=self._features(outcome.arrays["pixels"]))
            yield request, outcome

    def _features(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        cells = cv2.resize(pixels, (4, 2), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() / 255
        descriptor = self._mix @ cells
        rng = np.random.default_rng(pixels[::9, ::9].ravel()[:64].tobytes()[0])
        descriptors = np.roll(descriptor[: FEATURES * LOCAL_DIM % DIM or DIM], 1)
        local = np.resize(descriptors, (FEATURES, LOCAL_DIM)).astype(np.float32)
        return {
            "descriptor": descriptor / np.linalg.norm(descriptor),
            "keypoints": rng.uniform(0, 72, (FEATURES, 2)).astype(np.float32),
            "descriptors": local / np.linalg.norm(local, axis=1, keepdims=True),
            "scores": np.linspace(1, 0.1, FEATURES, dtype=np.float32),
            "scales": np.ones(FEATURES, np.float32),
        }

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def __enter__(self) -> StandInPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Teller(Listener):
    """Prints how many photos were answered, and how many of them are saved."""

    def advanced(self, done: int, total: int, skipped: int) -> None:
        """One more was answered."""
        os.write(1, b"a%d\n" % done)

    def saved(self, rows: list[Any]) -> None:
        """So many more are durable."""
        os.write(1, b"s%d\n" % len(rows))


def run_here(photos: Path, place: Path) -> None:
    """In the child: one run, or its continuation."""
    if not Collection.exists(place):
        Collection.create(place, SPEC).close()
    with Collection.open(place, writable=True) as collection:
        if collection.root is None:
            collection.root = photos
        IndexRun(collection, LocalFolder(photos), StandInPool, IndexOptions(), Teller()).run()  # type: ignore[arg-type]


# ---------------------------------------------------------------------- watching it
def peaks_of(parent: int) -> dict[int, float]:
    """VmHWM in MiB of a process and its children, those that live."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(stat.parent.name) == parent or int(fields[1]) == parent:
                lines = (stat.parent / "status").read_text().splitlines()
                peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
                found[int(stat.parent.name)] = int(peak) / 1024
        except (OSError, StopIteration):
            continue  # it has ended
    return found


def run_child(photos: Path, place: Path, kill_after: int | None = None) -> dict[str, Any]:
    """Run, or continue; kill it after so many answers. Gives what it told."""
    started = time.perf_counter()
    words = [sys.executable, __file__, "--stage", str(photos), str(place)]
    peaks: dict[int, float] = {}
    answered = saved = 0
    first_s = None
    looked = 0.0
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith(b"a"):
                answered = int(line[1:])
                first_s = first_s or time.perf_counter() - started
            else:
                saved += int(line[1:])
            if time.perf_counter() - looked > 0.5:
                looked = time.perf_counter()
                peaks |= {pid: max(peak, peaks.get(pid, 0.0)) for pid, peak in peaks_of(child.pid).items()}
            if kill_after is not None and answered >= kill_after:
                child.send_signal(signal.SIGKILL)
                kill_after = None
    return {
        "seconds": time.perf_counter() - started,
        "first_s": first_s,
        "answered": answered,
        "saved": saved,
        "peak_mib": sum(peaks.values()),
        "code": child.returncode,
    }


def digest_of(place: Path) -> tuple[int, str]:
    """How many photos a collection holds, and a digest of which, with their descriptors."""
    digest = hashlib.sha256()
    with Collection.open(place) as collection:
        rows = list(collection.catalogue())
        for start in range(0, len(rows), 1000):
            part = rows[start : start + 1000]
            digest.update(b"".join(row.path + row.status.encode() for row in part))
            digest.update(collection.vectors([str(row.content_hash) for row in part]).tobytes())
        assert len({row.path for row in rows}) == len(rows)
    return len(rows), digest.hexdigest()


def main() -> None:
    """Index each size, then the largest with kills; print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where everything goes (default: a temporary folder)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stage", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run_here(*options.stage)
        return
    told: dict[str, Any] = {"runs": {}}
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        for size in sorted(options.sizes):
            photos, place = Path(temporary) / f"photos-{size}", Path(temporary) / "index"
            make_photos(photos, size)
            found = run_child(photos, place)
            assert found["code"] == 0, "the run failed"
            expected = digest_of(place)
            told["runs"][size] = found | {"bytes": (place / "glocal.db").stat().st_size, "load": os.getloadavg()[0]}
            print(f"{size:>9,} photos: {found['seconds']:.0f} s, peak {found['peak_mib']:.0f} MiB", flush=True)
            shutil.rmtree(place)
        rng, kills, done = random.Random(0), [], 0
        for _ in range(options.kills):
            aim = rng.randint(1, max(1, (size - done) // 2))
            found = run_child(photos, place, aim)
            with Collection.open(place) as collection:
                kept = collection.counts()["indexed"]
            reached = done + found["answered"]
            kills.append({"lost": reached - kept, "first_s": found["first_s"], "kept": kept})
            print(f"killed at {reached:,}: lost {reached - kept}, first after {found['first_s']:.1f} s", flush=True)
            done = kept
        last = run_child(photos, place)
        assert last["code"] == 0, "the last run failed"
        same = digest_of(place) == expected
        told |= {"kills": kills, "same_as_unbroken": same, "last_first_s": last["first_s"]}
        print(f"first new photo after {last['first_s']:.1f} s; each photo once, equal to the unbroken run: {same}")
    if options.json:
        options.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
