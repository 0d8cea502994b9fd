"""What the service costs besides the model: CPU of a request, throughput against the library, ten times too much load.

    python benchmarks/service.py [--seconds 20] [--requests 60] [--only cpu|throughput|overload]

A server is started on a free port of this computer alone and ended again. For the CPU a stand-in describes pictures in
almost no time (mean colours of their quarters), so that what remains is HTTP, decoding and the search itself; the other
two use RootSIFT. Times of processes are those of the kernel (/proc), memory is what all processes hold together. The
clients run on the same cores as the server.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glocal.models.preprocessing import Preprocessing
from glocal.photo_index import Index
from glocal.types import Extraction, ExtractorSpec, LocalFeatures, Photo

SIZES = {"tiny": (160, 120), "1024x768": (1024, 768), "12 Mpx": (4032, 3024)}
GOALS_MS = {"health": 1, "tiny": 8, "1024x768": 25, "12 Mpx": 80}
GOALS_PER_S = {"tiny": 120, "1024x768": 50}
NUM_PHOTOS = 60
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class StandIn:
    """A network that is none: the mean colours of a picture's quarters."""

    device, num_threads, batch_size = "cpu", 1, 1

    def __init__(self) -> None:
        self.preprocessing = Preprocessing(image_size=1024, resize="area")
        self.spec = ExtractorSpec(
            "stand_in", "0" * 64, 1024, "area", "apply", "rgb", (1.0,), "none", "inner product", 12, 0, 0
        )

    def enter_thread(self) -> None:
        """Nothing to set."""

    def extract_batch(self, photos: list[Photo]) -> list[Extraction]:
        """A descriptor each, no local features."""
        return [self._extract(photo) for photo in photos]

    def _extract(self, photo: Photo) -> Extraction:
        small = cv2.resize(photo.pixels, (2, 2), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() - 127.5
        none = np.empty(0, np.float32)
        local = LocalFeatures(
            photo.id, photo.size, np.empty((0, 2), np.float32), np.empty((0, 0), np.float32), none, none
        )
        return Extraction(small / np.linalg.norm(small), local)


def stand_in() -> None:
    """Have the stand-in loaded whatever weights are asked for, and torch not at all."""
    network = StandIn()
    sys.modules["glocal.extract.load"] = SimpleNamespace(load=lambda *_: network)  # type: ignore[assignment]


def picture(seed: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Rectangles and noise, as many for every size."""
    rng = np.random.default_rng(seed)
    width, height = size
    pixels = np.full((height, width, 3), 128, np.uint8)
    for _ in range(160):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(4, max(5, width // 8)), rng.integers(4, max(5, height // 8))
        pixels[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)


def as_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG of quality 88."""
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def make_photos(folder: Path) -> None:
    """Photos that are searched."""
    folder.mkdir()
    for seed in range(NUM_PHOTOS):
        (folder / f"{seed}.jpg").write_bytes(as_jpeg(picture(seed, (640, 480))))


# ---------------------------------------------------------------------- server
def serve(place: str, port: int, searchers: int, queue: int) -> None:
    """Be the server."""
    from glocal.web.api import create_app  # noqa: PLC0415 - not needed by the clients
    from glocal.web.library import Library  # noqa: PLC0415
    from glocal.web.server import serve as serve_app  # noqa: PLC0415
    from glocal.web.settings import Settings  # noqa: PLC0415

    settings = Settings(port=port, num_searchers=searchers, queue_length=queue)
    app = create_app(Library([Path(place)], settings), settings)
    listener = socket.create_server(("127.0.0.1", port), reuse_port=False, backlog=512)
    serve_app(app, app.state.service, listener)


@contextlib.contextmanager
def server(place: Path, searchers: int, fake: bool, queue: int = 32) -> Iterator[SimpleNamespace]:
    """A server process, ready, with room for so many searches that wait; `.port` and `.pid`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [str(place), str(port), str(searchers), str(queue), "fake" if fake else "real"]
    command = [sys.executable, __file__, "--serve", *words]
    process = subprocess.Popen(command)
    try:
        ends = time.monotonic() + 60
        while time.monotonic() < ends and process.poll() is None:
            with contextlib.suppress(OSError):
                if ask(port, "GET", "/readyz")[0] == 200:
                    break
            time.sleep(0.05)
        else:
            raise SystemExit("the server did not get ready")
        yield SimpleNamespace(port=port, pid=process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def cpu_s(pid: int) -> float:
    """Seconds of CPU of a process and all below it."""
    total = 0
    for number in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total * _TICK_S


def memory_mib(pid: int) -> float:
    """Memory of a process and all below it, pages that they share counted once (PSS)."""
    total = 0
    for number in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


# ---------------------------------------------------------------------- client
def ask(
    port: int, method: str, path: str, body: bytes = b"", connection: http.client.HTTPConnection | None = None
) -> tuple[int, bytes, str | None]:
    """One request: status, body, Retry-After."""
    connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    headers = {"Content-Type": "multipart/form-data; boundary=b"} if body else {}
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers.get("Retry-After")


def form(data: bytes) -> bytes:
    """A search of a picture."""
    return b'--b\r\nContent-Disposition: form-data; name="image"; filename="q"\r\n\r\n' + data + b"\r\n--b--\r\n"


def measure_cpu(folder: Path, requests: int) -> dict[str, float]:
    """Milliseconds of CPU per request, all processes of the server together."""
    stand_in()
    weights = folder / "weights"
    weights.mkdir()
    with Index.create(folder / "fake", str(weights)) as index:
        index.add(folder / "photos")
    found = {}
    with server(folder / "fake", 1, fake=True) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=90)
        kinds: dict[str, Callable[[], Any]] = {"health": lambda: ask(running.port, "GET", "/livez", b"", connection)}
        for name, size in SIZES.items():
            body = form(as_jpeg(picture(1000, size)))
            kinds[name] = lambda body=body: ask(running.port, "POST", "/v1/search", body, connection)
        for name, once in kinds.items():
            for _ in range(5):
                status = once()[0]
                assert status == 200, status
            count = requests * (5 if name == "health" else 1)
            before, started = cpu_s(running.pid), time.monotonic()
            for _ in range(count):
                once()
            spent, seconds = cpu_s(running.pid) - before, time.monotonic() - started
            found[name] = 1000 * spent / count
            print(
                f"{name:>9}: {found[name]:6.2f} ms CPU per request (goal {GOALS_MS[name]}), "
                f"{count / seconds:6.1f} requests/s from one client",
                flush=True,
            )
    with server(folder / "fake", 2, fake=True) as running:
        for name, goal in GOALS_PER_S.items():
            body = form(as_jpeg(picture(1000, SIZES[name])))
            rate = found[f"{name} per s"] = _rate(running.port, body, 4, 10 * requests)
            print(f"{name:>9}: {rate:6.1f} requests/s from four clients (goal {goal})", flush=True)
    return found


def _rate(port: int, body: bytes, num_clients: int, requests: int) -> float:
    """Searches per second of some clients that do not pause, two searchers."""

    def client(count: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
        for _ in range(count):
            _search(port, body, connection)

    with ThreadPoolExecutor(num_clients) as threads:
        list(threads.map(client, [3] * num_clients))  # the searchers open the index
        started = time.monotonic()
        list(threads.map(client, [requests // num_clients] * num_clients))
        return requests // num_clients * num_clients / (time.monotonic() - started)


def measure_throughput(folder: Path, requests: int) -> dict[str, float]:
    """Searches per second over HTTP and of the library, one after the other."""
    files = [folder / f"query{i}.jpg" for i in range(8)]
    for i, file in enumerate(files):
        file.write_bytes(as_jpeg(picture(i, (640, 480))))
    bodies = [form(file.read_bytes()) for file in files]
    spent = {"library": 0.0, "http": 0.0}
    rounds = max(1, requests // len(files))
    with Index.open(folder / "index") as index, server(folder / "index", 1, fake=False) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=90)
        for turn in range(-1, rounds):  # by turns, so that whatever else runs here slows both; the first does not count
            for name, asks in (
                ("library", [lambda file=file: index.search(file) for file in files]),
                ("http", [lambda body=body: _search(running.port, body, connection) for body in bodies]),
            ):
                seconds = sum(map(_seconds_of, asks))
                spent[name] += seconds if turn >= 0 else 0.0
    library, over_http = (rounds * len(files) / spent[name] for name in ("library", "http"))
    ratio = over_http / library
    print(f"library {library:.2f}/s, HTTP {over_http:.2f}/s: {ratio:.2f} of it (goal 0.85)", flush=True)
    return {"library_per_s": library, "http_per_s": over_http, "ratio": ratio}


def measure_overload(folder: Path, seconds: float, searchers: int) -> dict[str, Any]:
    """Clients enough for ten times what the server can do, for a while."""
    body = form(as_jpeg(picture(3, (640, 480))))
    with server(folder / "index", searchers, fake=False, queue=2 * searchers) as running:
        for _ in range(4):
            ask(running.port, "POST", "/v1/search", body)
        alone = sorted(_seconds_of(lambda: ask(running.port, "POST", "/v1/search", body)) for _ in range(8))[4]
        idle_mib, peak_mib = memory_mib(running.pid), 0.0
        pace = searchers / alone * 10
        statuses: Counter[str] = Counter()
        health: list[float] = []
        stop = threading.Event()

        def client(number: int, num_clients: int) -> None:
            due = time.monotonic() + number / pace
            while not stop.is_set():
                time.sleep(max(0.0, due - time.monotonic()))
                due += num_clients / pace
                try:
                    status, _, retry = ask(running.port, "POST", "/v1/search", body)
                    statuses[f"{status}" + ("" if status == 200 or retry else " without Retry-After")] += 1
                except OSError:
                    statuses["reset"] += 1

        num_clients = 12 * searchers
        with ThreadPoolExecutor(num_clients) as threads:
            clients = [threads.submit(client, number, num_clients) for number in range(num_clients)]
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                health.append(_seconds_of(lambda: ask(running.port, "GET", "/livez")))
                peak_mib = max(peak_mib, memory_mib(running.pid))
                time.sleep(0.2)
            stop.set()
            for each in clients:
                each.result()
        time.sleep(5)
        after = sorted(_seconds_of(lambda: ask(running.port, "POST", "/v1/search", body)) for _ in range(8))[4]
    found = {
        "asked_per_s": sum(statuses.values()) / seconds,
        "wanted_per_s": pace,
        "statuses": dict(statuses),
        "health_p99_s": sorted(health)[int(0.99 * (len(health) - 1))],
        "idle_mib": idle_mib,
        "peak_mib": peak_mib,
        "median_before_s": alone,
        "median_after_s": after,
    }
    print(json.dumps(found, indent=1), flush=True)
    return found


def _search(port: int, body: bytes, connection: http.client.HTTPConnection) -> None:
    status, answer, _ = ask(port, "POST", "/v1/search", body, connection)
    assert status == 200, answer


def _seconds_of(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def main() -> None:
    """Measure, print."""
    if sys.argv[1:2] == ["--serve"]:
        place, port, searchers, queue, kind = sys.argv[2:7]
        if kind == "fake":
            stand_in()
        serve(place, int(port), int(searchers), int(queue))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of overload")
    parser.add_argument("--requests", type=int, default=60, help="of each kind")
    parser.add_argument("--searchers", type=int, default=2, help="under overload")
    parser.add_argument("--only", choices=("cpu", "throughput", "overload"), help="one of the three")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glocal-service-") as name:
        folder = Path(name)
        make_photos(folder / "photos")
        if options.only in (None, "throughput", "overload"):
            with Index.create(folder / "index", "rootsift") as index:
                index.add(folder / "photos")
        if options.only in (None, "throughput"):
            measure_throughput(folder, options.requests)
        if options.only in (None, "overload"):
            measure_overload(folder, options.seconds, options.searchers)
        if options.only in (None, "cpu"):
            measure_cpu(folder, options.requests)


if __name__ == "__main__":
    main()
