"""An hour at half of what the service can do: does its memory grow, does it leak files, do answers stay quick?

    python benchmarks/service_soak.py [--minutes 60] [--share 0.5] [--json FILE]

A server with RootSIFT and two searchers is started on a free port of this computer alone. What it can do is measured
first, with two clients that do not pause; then requests are due at a share of that, whether the last one was answered
or not, and their times count from when they were due. They are what a page and its programs ask: searches (one in
eight as a stream), matches of what was found, thumbnails, descriptors, comparisons - and one in a hundred is a bad
upload: cut off, a bomb, no picture, damaged JSON. Each picture differs from all others by some bytes at its end, so
that every search is a new one. Memory is what all processes hold of their own together (anonymous pages: shared
libraries count for more or less as other programs come and go), the least of each minute, since what a search holds
while it runs is no growth. Its slope is a least-squares line through the last three quarters of the time: caches fill
in the first.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import tempfile
import threading
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from service import as_jpeg, form, make_photos, picture, server, tree

from glocal.photo_index import Index

NUM_PICTURES = 32
SEARCHERS = 2
CLIENTS = 16
SAMPLE_S = 2.0
CALIBRATION_S = 20.0


@dataclass
class Tally:
    """What the clients saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, status: int | str, seconds: float) -> None:
        """One answer."""
        with self.lock:
            self.statuses[f"{kind} {status}"] += 1
            self.seconds.setdefault(kind, []).append(seconds)


class Client:
    """Asks one thing after the other over one connection."""

    def __init__(self, port: int, tally: Tally, seed: int, pictures: list[bytes]) -> None:
        import http.client  # noqa: PLC0415 - next to its only use

        self._connect = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=90)
        self._connection = self._connect()
        self._tally, self._pictures = tally, pictures
        self._rng = np.random.default_rng(seed)
        self._found: list[tuple[str, str]] = []

    def ask_something(self, due: float | None = None) -> None:
        """A request of some kind; its time counts from when it was due."""
        drawn = self._rng.random()
        started = due if due is not None else time.monotonic()
        if drawn < 0.01:
            kind, status = "bad", self._bad()
        elif drawn < 0.61 or not self._found:
            kind, status = "search", self.search()
        elif drawn < 0.69:
            kind, status = "stream", self._post("/v1/search", form(self._picture()), "text/event-stream")[0]
        elif drawn < 0.84:
            kind, status = "thumb", self._ask("GET", f"/v1/images/{self._found[-1][1]}/thumb?w=320")[0]
        elif drawn < 0.92:
            kind, status = "matches", self._ask("GET", "/v1/matches/{}/{}".format(*self._found[-1]))[0]
        else:
            kind, status = "embed", self._post("/v1/embed", form(self._picture()))[0]
        self._tally.note(kind, status, time.monotonic() - started)

    def search(self) -> int | str:
        """A search; what it found can be asked about next."""
        status, body = self._post("/v1/search", form(self._picture()))
        if status == 200:
            answer = json.loads(body)
            if answer["results"]:
                self._found = [(answer["query"]["id"], answer["results"][0]["id"])]
        return status

    def _bad(self) -> int | str:
        good = self._picture()
        bodies = (form(good[: len(good) // 3]), form(_png_bomb()), form(b"<svg onload=1>"), b"--b\r\nnothing")
        return self._post("/v1/search", bodies[self._rng.integers(len(bodies))])[0]

    def _picture(self) -> bytes:
        return self._pictures[self._rng.integers(len(self._pictures))] + self._rng.bytes(8)

    def _post(self, path: str, body: bytes, accept: str = "*/*") -> tuple[int | str, bytes]:
        return self._ask("POST", path, body, {"Content-Type": "multipart/form-data; boundary=b", "Accept": accept})

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int | str, bytes]:
        for again in (False, True):
            try:
                self._connection.request(method, path, body, headers or {})
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except OSError:
                self._connection.close()
                self._connection = self._connect()
                if again:
                    return "reset", b""  # the first may be an idle connection that the server has closed
        raise AssertionError


def _png_bomb() -> bytes:
    """A header that promises 50,000 x 50,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\0" * 20


def own_mib(pid: int) -> float:
    """Memory of their own of a process and all below it."""
    total = 0
    for number in tree(pid):
        try:
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    return total / 1024


def open_files(pid: int) -> int:
    """File descriptors of a process and all below it."""
    count = 0
    for number in tree(pid):
        try:
            count += len(os.listdir(f"/proc/{number}/fd"))
        except OSError:
            continue
    return count


def soak(folder: Path, minutes: float, share: float) -> dict[str, Any]:
    """Find the capacity, ask for a share of it, watch."""
    pictures = [as_jpeg(picture(seed, (640, 480))) for seed in range(NUM_PICTURES)]
    temporary = folder / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    with server(folder / "index", SEARCHERS, fake=False) as running:
        alone = Client(running.port, Tally(), 1, pictures)
        times = []
        for _ in range(12):
            started = time.monotonic()
            assert alone.search() == 200
            times.append(time.monotonic() - started)
        capacity = _capacity(running.port, pictures)
        pace = share * capacity
        median_s = sorted(times)[len(times) // 2]
        print(f"alone {median_s:.3f} s a search; {capacity:.2f} requests/s at most, asked {pace:.2f}", flush=True)
        tally, samples, stop = Tally(), [], threading.Event()
        begun = time.monotonic()

        def client(number: int) -> None:
            mine = Client(running.port, tally, 100 + number, pictures)
            due = begun + number / pace
            while not stop.wait(max(0.0, due - time.monotonic())):
                mine.ask_something(due)
                due += CLIENTS / pace

        with ThreadPoolExecutor(CLIENTS) as threads:
            clients = [threads.submit(client, number) for number in range(CLIENTS)]
            while time.monotonic() - begun < 60 * minutes:
                at = int((time.monotonic() - begun) / 60)
                now = (at, own_mib(running.pid), open_files(running.pid), len(list(temporary.iterdir())))
                if not samples or samples[-1][0] != at:
                    if at % 5 == 1:
                        print("{} min  {:7.1f} MiB  {} fds  {} files".format(*samples[-1]), flush=True)
                    samples.append(now)
                else:
                    samples[-1] = (
                        at,
                        min(now[1], samples[-1][1]),
                        *(max(*pair) for pair in zip(now[2:], samples[-1][2:], strict=True)),
                    )
                time.sleep(SAMPLE_S)
            stop.set()
            for each in clients:
                each.result()
    late = [sample for sample in samples if sample[0] >= minutes / 4]
    slope = float(np.polyfit([at / 60 for at, *_ in late], [mib for _, mib, *_ in late], 1)[0])
    searches = sorted(tally.seconds["search"])
    return {
        "minutes": minutes,
        "capacity_per_s": capacity,
        "asked_per_s": pace,
        "statuses": dict(sorted(tally.statuses.items())),
        "mib_first_late_last": [samples[0][1], late[0][1], samples[-1][1]],
        "mib_of_each_minute": [round(sample[1], 1) for sample in samples],
        "slope_mib_per_h": slope,
        "fds_late": [min(sample[2] for sample in late), max(sample[2] for sample in late)],
        "temporary_files_late": max(sample[3] for sample in late),
        "search_alone_s": median_s,
        "search_p50_s": searches[len(searches) // 2],
        "search_p99_s": searches[int(0.99 * (len(searches) - 1))],
    }


def _capacity(port: int, pictures: list[bytes]) -> float:
    """Requests per second of as many clients as searchers, without a pause."""
    tally, ends = Tally(), time.monotonic() + CALIBRATION_S

    def client(number: int) -> None:
        mine = Client(port, tally, number, pictures)
        while time.monotonic() < ends:
            mine.ask_something()

    with ThreadPoolExecutor(SEARCHERS) as threads:
        for each in [threads.submit(client, number) for number in range(SEARCHERS)]:
            each.result()
    return sum(tally.statuses.values()) / CALIBRATION_S


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="at least 2")
    parser.add_argument("--share", type=float, default=0.5, help="of the capacity")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glocal-soak-") as name:
        folder = Path(name)
        make_photos(folder / "photos")
        with Index.create(folder / "index", "rootsift") as index:
            index.add(folder / "photos")
        found = soak(folder, options.minutes, options.share)
    text = json.dumps(found, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
