"""How soon somebody at the page sees something: a search of a hundred thousand photos, from the upload to the proof.

    python benchmarks/first_hits.py PHOTOS [--model NAME] [--size 100000] [--folder DIR] [--queries 30] [--json FILE]

PHOTOS are indexed with the model. Around each of their descriptors made-up ones are placed (as in approximate_map.py)
until there are as many as asked, each with the local features of one of the photos, so that candidates cost what real
ones cost; then the nearest-neighbour file is built. The index is kept in DIR and used again. It is served on a free
port of this computer alone, one searcher, and photos of PHOTOS are uploaded one after the other as the page does it:
reduced to 1600 pixels, each time with other bytes at its end. Times are milliseconds from when the request began to be
sent until each event of the answer was there: `query` (described), `hits` (by similarity, drawn at once), `result`
(verified). With turns and without: a model that has queries turned by quarters describes them four times.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from approximate_map import around
from million import name_of
from service import form, server

from glocal.index.build import keep
from glocal.photo_index import Index
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, NewContent
from glocal.types import Extraction, LocalFeatures

BATCH = 500
LONGEST = 1600


def build(place: Path, photos: Path, model: str, size: int) -> None:
    """Index the photos, and add what is missing of so many."""
    if not Collection.exists(place):
        with Index.create(place, model) as index:
            index.add(photos)
    with Collection.open(place, writable=True) as collection:
        blocks = list(collection.descriptors())
        real = [name for block in blocks for name in block.ids]
        vectors = np.concatenate([block.vectors for block in blocks])
        made = {name_of(i) for i in range(size)} & set(real)
        kept = [i for i, name in enumerate(real) if name not in made]
        real, vectors = [real[i] for i in kept], vectors[kept]
        locals_ = collection.local_features_many(real)
        added = around(vectors, size - len(real))
        for start in range(len(made), len(added), BATCH):
            contents, rows = [], []
            for row in range(start, min(start + BATCH, len(added))):
                name, like = name_of(row), locals_[row % len(locals_)]
                local = LocalFeatures(name, like.size, like.keypoints, like.descriptors, like.scores, like.scales)
                contents.append(NewContent(name, 1000 + row, like.size, 1, Extraction(added[row], local)))
                rows.append(CatalogueRow(b"made up/%07d.jpg" % row, 1000 + row, 1, "indexed", content_hash=name))
            collection.commit(contents, rows)
            if start // BATCH % 20 == 0:
                print(f"{start:,} of {len(added):,} made-up photos", flush=True)
        print(f"{collection.counts()['contents']:,} photos, nearest-neighbour file: {keep(collection)}", flush=True)


def upload_of(path: Path) -> bytes:
    """What the page sends: a JPEG of at most 1600 pixels."""
    pixels = cv2.imread(str(path))
    scale = min(1.0, LONGEST / max(pixels.shape[:2]))
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def times_of(port: int, picture: bytes, upright: bool) -> dict[str, float]:
    """Milliseconds until each event of one search."""
    params = json.dumps({"upright": upright}).encode()
    part = b'--b\r\nContent-Disposition: form-data; name="params"\r\n\r\n' + params + b"\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    started = time.perf_counter()
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Accept": "text/event-stream"}
    connection.request("POST", "/v1/search", part + form(picture), headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    found = {}
    for line in answer:
        if line.startswith(b"event: "):
            event = line[7:].strip().decode()
        elif line.startswith(b"data: "):  # all of it is there
            found[event] = 1000 * (time.perf_counter() - started)
            members = json.loads(line[6:])
            assert event != "problem", members
    found["candidates verified"] = sum(hit["verification"] is not None for hit in members["results"])
    connection.close()
    return found


def main() -> None:
    """Build, serve, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", default="delg_mobilenetv2")
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="keep the index here (15 GB for 100,000)")
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glocal-first-hits-") as name:
        place = (options.folder or Path(name)) / f"{options.model}-{options.size}"
        place.parent.mkdir(parents=True, exist_ok=True)
        build(place, options.photos, options.model, options.size)
        files = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        chosen = np.random.default_rng(0).choice(len(files), options.queries, replace=False)
        pictures = [upload_of(files[i]) for i in chosen]
        found: dict[str, Any] = {}
        with server(place, 1, fake=False) as running:
            for way, upright in (("turned", False), ("upright", True)):
                rows = []
                for number, picture in enumerate([*pictures[:3], *pictures]):
                    row = times_of(running.port, picture + number.to_bytes(4, "big"), upright)
                    rows += [row] if number >= 3 else []  # the first ones warm the caches
                found[way] = {
                    event: [statistics.median(values), sorted(values)[int(0.95 * (len(values) - 1))]]
                    for event in rows[0]
                    for values in [[row[event] for row in rows]]
                }
                for event, (median, p95) in found[way].items():
                    print(f"{way:>8} {event:<20} median {median:7.1f}   95 % {p95:7.1f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
