"""Nearest neighbours side by side on this machine: glocal's search, FAISS Flat, FAISS HNSW32, NumPy dot and argsort.

    python benchmarks/million.py [--size 10000 100000] [--dim 512] [--methods glocal flat hnsw numpy] [--json FILE]

For each size and method: seconds to build, the most memory of its own that took, bytes on disk, seconds to open, memory
of its own and of mapped files, milliseconds per query on one thread, and the shares of the 10 and of the 100 most
similar that are found. `1st ms` is the median of the first tenth of the queries, p50 and p95 are of the second half:
between them the system maps the pages of the files. Each method is built in one process, with all threads, and
searched in another, with one; the files are in the page cache, as after any recent use. `glocal` is what `glocal
search` calls with a described photo: a collection in SQLite, and from 100,000 pictures on its nearest-neighbour file,
of which seconds to build and bytes are told. HNSW32 is searched with the smallest of a few efSearch that finds 0.98 of
the 100. NumPy is the published way: all products, and a full sort.

The descriptors are made up. Random ones would mislead: they have no neighbours. These are sums of Gaussian vectors with
a falling spectrum, normalised: one that all share, one of 64 kinds, one of a place (300 photos), one of an object (10
photos on average, some many, most few), and the photo's own. Their weights are fitted to the descriptors that
`delg_mobilenetv2` gives to 1,060 photos of a benchmark. There, similarities are 0.14 ± 0.12, the median similarity of
the first, tenth and hundredth neighbour is 0.59, 0.44 and 0.29, and the local intrinsic dimension 21 (maximum
likelihood, 20 neighbours); the same figures of 1,060 made-up ones, from 20,000, are printed. Queries are further photos
of the same objects.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

METHODS = ("glocal", "flat", "hnsw", "numpy")
WEIGHTS = (0.13, 0.10, 0.12, 0.33, 0.32)
"""Shares of the squared norm: common, kind, place, object, photo."""
NUM_KINDS, PHOTOS_PER_PLACE, PHOTOS_PER_OBJECT = 64, 300, 10
BLOCK = 20_000
K = 100
TARGET = 0.98
EF_SEARCH = (64, 128, 256, 512, 1024, 2048)


# ---------------------------------------------------------------------- descriptors
def make(file: Path, size: int, num_queries: int, dim: int) -> np.ndarray:
    """Write descriptors (N, D); returns the queries (Q, D)."""
    rng = np.random.default_rng(dim)
    spectrum = (np.arange(dim) + 4.0) ** -1.2
    scale = np.sqrt(spectrum / spectrum.sum()).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    common, kind, place, thing, own = np.sqrt(np.array(WEIGHTS, np.float32))
    num_places, num_objects = max(1, size // PHOTOS_PER_PLACE), max(1, size // PHOTOS_PER_OBJECT)

    def gaussian(count: int) -> np.ndarray:
        return rng.standard_normal((count, dim), np.float32) * scale

    kinds, places = gaussian(NUM_KINDS), gaussian(num_places)
    kind_of_place = rng.integers(0, NUM_KINDS, num_places)
    place_of_object = rng.integers(0, num_places, num_objects)
    share = np.arange(1, num_objects + 1) ** -0.5
    objects = rng.choice(num_objects, size + num_queries, p=share / share.sum())
    seeds = rng.integers(0, 2**31)

    def photos(chosen: np.ndarray) -> np.ndarray:
        rows = own * gaussian(len(chosen))
        for row, number in enumerate(chosen):  # an object's vector is made anew from its number: there may be many
            rows[row] += thing * np.random.default_rng((seeds, number)).standard_normal(dim, np.float32) * scale
        rows += place * places[place_of_object[chosen]] + kind * kinds[kind_of_place[place_of_object[chosen]]]
        rows[:, -1] += common
        rows = rows @ turn
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    gallery = np.lib.format.open_memmap(file, "w+", np.float32, (size, dim))
    for start in range(0, size, BLOCK):
        gallery[start : start + BLOCK] = photos(objects[start : min(start + BLOCK, size)])
    gallery.flush()
    return photos(objects[size:])


def describe(dim: int) -> str:
    """The figures that the descriptors are fitted by, of 1,060 from 20,000."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "few.npy", 20_000, 1, dim)
        rows = np.load(Path(folder) / "few.npy")[np.random.default_rng(0).choice(20_000, 1060, replace=False)]
    similarities = rows @ rows.T
    others = similarities[~np.eye(len(rows), dtype=bool)].reshape(len(rows), -1)
    ranked = -np.sort(-others, axis=1)
    distances = np.sqrt(2 - 2 * ranked[:, :20])
    dimension = np.median(1 / np.log(distances[:, -1:] / distances[:, :-1]).mean(axis=1))
    near = ", ".join(f"{value:.2f}" for value in np.median(ranked[:, [0, 9, 99]], axis=0))
    return (
        f"similarities {others.mean():.2f} ± {others.std():.2f}; neighbours 1, 10, 100: {near}; "
        f"local intrinsic dimension {dimension:.0f}"
    )


def truth_of(gallery: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The K most similar of each query (Q, K), best first."""
    best = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(gallery), BLOCK):
        block = queries @ gallery[start : start + BLOCK].T
        best = np.concatenate([best, block], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :K]
        best, rows = np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1)
    return rows


# ---------------------------------------------------------------------- build
def name_of(row: int) -> str:
    """Content hash of a made-up picture."""
    return hashlib.blake2b(b"%d" % row, digest_size=16).hexdigest()


def build(method: str, folder: Path, gallery: np.ndarray, codes_from: int) -> dict[str, Any]:
    """Build one method's files, in `folder`; gives what it measured itself."""
    if method == "glocal":
        return build_collection(folder / "index", gallery, codes_from)
    if method == "numpy":
        np.save(folder / "descriptors.npy", gallery)
        return {}
    import faiss  # noqa: PLC0415 - only where it is asked for

    dim = gallery.shape[1]
    inner = faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexFlatIP(dim) if method == "flat" else faiss.IndexHNSWFlat(dim, 32, inner)
    for start in range(0, len(gallery), BLOCK):
        index.add(np.ascontiguousarray(gallery[start : start + BLOCK]))
    faiss.write_index(index, str(folder / "index.faiss"))
    return {}


def build_collection(place: Path, gallery: np.ndarray, codes_from: int) -> dict[str, Any]:
    """A collection without local features, and its nearest-neighbour file; the seconds are of that alone."""
    from glocal.index.build import keep  # noqa: PLC0415 - the other methods' memory is their own
    from glocal.index.choice import RULES  # noqa: PLC0415
    from glocal.store.collection import Collection  # noqa: PLC0415
    from glocal.store.rows import CatalogueRow, NewContent  # noqa: PLC0415
    from glocal.types import Extraction, ExtractorSpec, LocalFeatures  # noqa: PLC0415

    dim = gallery.shape[1]
    spec = ExtractorSpec("made-up", "0" * 64, 64, "area", "apply", "rgb", (1.0,), "none", "inner product", dim, 0, 0)
    none = np.empty(0, np.float32)
    with Collection.create(place, spec) as collection:
        for start in range(0, len(gallery), 5000):
            contents, rows = [], []
            for row in range(start, min(start + 5000, len(gallery))):
                name = name_of(row)
                local = LocalFeatures(
                    name, (100, 50), np.empty((0, 2), np.float32), np.empty((0, 0), np.float32), none, none
                )
                contents.append(NewContent(name, 1000 + row, (100, 50), 1, Extraction(gallery[row], local)))
                rows.append(CatalogueRow(b"%07d.jpg" % row, 1000 + row, 1, "indexed", content_hash=name))
            collection.commit(contents, rows)
        stored = time.perf_counter()
        made = keep(collection, replace(RULES, codes_from=codes_from))
        told = {} if made is None else {"file_bytes": made.num_bytes, "nprobe": made.nprobe, "type": made.factory}
        return told | {"build_s": time.perf_counter() - stored}


# ---------------------------------------------------------------------- search
def opened(method: str, folder: Path, queries: np.ndarray, truth: np.ndarray) -> Callable[[int], np.ndarray]:
    """Open one method's files; gives query number -> rows of the K most similar."""
    if method == "glocal":
        return opened_collection(folder / "index")(queries)
    if method == "numpy":
        gallery = np.load(folder / "descriptors.npy")
        return lambda number: np.argsort(-np.dot(gallery, queries[number]))[:K]
    import faiss  # noqa: PLC0415

    index = faiss.read_index(str(folder / "index.faiss"), faiss.IO_FLAG_MMAP_IFC)
    if method == "hnsw":
        for index.hnsw.efSearch in EF_SEARCH:
            found = index.search(queries[:50], K)[1]
            if np.mean([len(np.intersect1d(*pair)) for pair in zip(found, truth, strict=False)]) / K >= TARGET:
                break
    return lambda number: index.search(queries[number : number + 1], K)[1][0]


def opened_collection(place: Path) -> Callable[[np.ndarray], Callable[[int], np.ndarray]]:
    """What `Searcher` does with a described query, the reading of the photo and the verification left out."""
    from glocal.extract.batching import ModelSource  # noqa: PLC0415
    from glocal.search import Searcher  # noqa: PLC0415
    from glocal.store.collection import Collection  # noqa: PLC0415

    collection = Collection.open(place)
    searcher = Searcher(collection, model=ModelSource("rootsift"))
    searcher._load()

    def search_of(queries: np.ndarray) -> Callable[[int], np.ndarray]:
        def search(number: int) -> Any:
            with collection.snapshot():
                return searcher._shortlist(queries[number : number + 1], K).ids

        return search

    return search_of


def search(method: str, folder: Path, queries: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Open and search; what it took."""
    if method != "numpy":
        __import__("faiss")  # a third of a second that is not the index's
    if method == "glocal":
        __import__("glocal.search")
    before = memory()
    started = time.perf_counter()
    find = opened(method, folder, queries, truth)
    open_s = time.perf_counter() - started
    find(0)
    seconds, found = [], []
    for number in range(len(queries)):
        started = time.perf_counter()
        found.append(find(number))
        seconds.append(time.perf_counter() - started)
    warm = seconds[len(seconds) // 2 :]
    after = memory()
    rows = {name_of(row): row for row in truth.ravel().tolist()} if method == "glocal" else {}
    recalls = {}
    for count in (10, K):
        shares = [
            len({rows.get(name, -1) if rows else int(name) for name in got[:count]} & set(right[:count].tolist()))
            for got, right in zip(found, truth, strict=True)
        ]
        recalls[f"recall_{count}"] = float(np.mean(shares)) / count
    return {
        "open_s": open_s,
        "own_mb": after["RssAnon"] - before["RssAnon"],
        "mapped_mb": after["RssFile"] - before["RssFile"],
        "first_ms": float(np.median(seconds[: len(seconds) // 10])) * 1e3,
        "p50_ms": float(np.median(warm)) * 1e3,
        "p95_ms": float(np.quantile(warm, 0.95)) * 1e3,
        **recalls,
    }


def memory() -> dict[str, float]:
    """Resident memory of this process in MB: its own, and of mapped files."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Rss"))
    return {words[0].rstrip(":"): int(words[1]) * 1024 / 1e6 for words in lines}


# ---------------------------------------------------------------------- processes
def child(stage: str, method: str, folder: Path, data: Path, codes_from: int) -> dict[str, Any]:
    """Run one stage of one method in a process of its own."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    words = [sys.executable, __file__, "--stage", stage, "--methods", method, "--place", str(folder), str(data)]
    words += ["--codes-from", str(codes_from)]
    environment = os.environ | (one if stage == "search" else {})
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_stage(stage: str, method: str, folder: Path, data: Path, codes_from: int) -> dict[str, Any]:
    """In the child."""
    if stage == "search":
        return search(method, folder, np.load(data / "queries.npy"), np.load(data / "truth.npy"))
    before, peak, done = memory()["RssAnon"], [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], memory()["RssAnon"])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.perf_counter()
    told = build(method, folder, np.load(data / "gallery.npy", mmap_mode="r"), codes_from)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return {"build_s": seconds, "build_peak_mb": max(0.0, peak[0] - before)} | told


def bytes_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def plot(results: list[dict[str, Any]], file: Path) -> None:
    """Four panels over the number of pictures, a line for each method."""
    import matplotlib as mpl  # noqa: PLC0415 - extra `train`

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    styles = {
        "glocal": ("glocal", "#0b7285", 2.4),
        "flat": ("FAISS Flat", "#868e96", 1.4),
        "hnsw": ("FAISS HNSW32", "#e8590c", 1.4),
        "numpy": ("NumPy dot, argsort", "#5f3dc4", 1.4),
    }
    panels = (
        ("p50_ms", "Milliseconds per query, one thread"),
        ("build_s", "Seconds to build"),
        ("memory_mb", "Memory of a search, MB"),
        ("bytes_mb", "Bytes on disk, MB"),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(13, 3.2), layout="constrained")
    for axis, (key, title) in zip(axes, panels, strict=True):
        for method, (label, colour, width) in styles.items():
            rows = [row for row in results if row["method"] == method]
            values = {
                "memory_mb": [row["own_mb"] + row["mapped_mb"] for row in rows],
                "bytes_mb": [row["bytes"] / 1e6 for row in rows],
            }.get(key, [row.get(key, 0.0) for row in rows])
            if rows:
                sizes = [row["size"] for row in rows]
                axis.loglog(sizes, np.maximum(values, 0.01), "o-", color=colour, linewidth=width, label=label)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xticks([10_000, 100_000, 1_000_000], ["10 000", "100 000", "1 million"])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.tick_params(labelsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=140)


def main() -> None:
    """Make descriptors, run each method, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--codes-from", type=int, default=100_000, help="see `glocal.index.choice.Rules`")
    parser.add_argument("--folder", type=Path, help="where everything goes (default: a temporary folder)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="draw the cost over the number of pictures (.svg, .png)")
    parser.add_argument("--from-json", type=Path, help="draw what was measured before; nothing is measured")
    parser.add_argument("--stage", choices=("build", "search"), help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(run_stage(options.stage, options.methods[0], *options.place, options.codes_from)))
        return
    if options.from_json:
        plot(json.loads(options.from_json.read_text()), options.plot)
        return
    results = []
    print(f"1,060 of 20,000 made-up descriptors: {describe(options.dim)}")
    for size in options.size:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            data = Path(folder)
            np.save(data / "queries.npy", make(data / "gallery.npy", size, options.queries, options.dim))
            gallery = np.load(data / "gallery.npy", mmap_mode="r")
            np.save(data / "truth.npy", truth_of(gallery, np.load(data / "queries.npy")))
            load = os.getloadavg()[0]
            print(f"\n{size:,} x {options.dim}; load {load:.1f} on {os.cpu_count()} cores")
            print(
                f"{'':8} build s  peak MB  disk MB  open s  own MB  mapped MB   1st ms   p50 ms   p95 ms   R@10  R@100"
            )
            for method in options.methods:
                place = data / method
                place.mkdir()
                found = child("build", method, place, data, options.codes_from)
                found |= {"bytes": found.get("file_bytes", bytes_of(place)), "load": os.getloadavg()[0]}
                found |= child("search", method, place, data, options.codes_from)
                shutil.rmtree(place)
                results.append({"method": method, "size": size, "dim": options.dim} | found)
                print(
                    f"{method:8} {found['build_s']:7.1f} {found['build_peak_mb']:8.0f} {found['bytes'] / 1e6:8.0f} "
                    f"{found['open_s']:7.2f} {found['own_mb']:7.0f} {found['mapped_mb']:10.0f} "
                    f"{found['first_ms']:8.2f} "
                    f"{found['p50_ms']:8.2f} {found['p95_ms']:8.2f} "
                    f"{found['recall_10']:6.3f} {found['recall_100']:6.3f}"
                    f"   {found.get('type', '')} {found.get('nprobe', '')}",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
