"""A real browser before a real service, `glocal serve` over made photos."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from glocal.photo_index import Index
from tests.conftest import save, texture

CHROMIUM = Path(os.environ.get("GLOCAL_BROWSER", "/usr/bin/chromium"))
HOSTILE = "<img src=x onerror=alert(1)>\u202egpj.jpg"
VIEWS = {
    "aside": np.array([[0.85, 0.12, 30.0], [-0.08, 0.9, 40.0], [1.5e-4, 1e-4, 1.0]]),
    HOSTILE[:-4]: np.array([[0.9, -0.1, 40.0], [0.1, 0.9, 10.0], [0.0, 0.0, 1.0]]),
}


@contextmanager
def browser_and_service(top: Path):
    """A browser, and a service over two indexes: `photos` with labels, seven pictures of five things; `others`, two.

    Gives (browser, address, folder); `folder` has query.jpg, stranger.jpg (in no index) and blank.png.
    """
    if not CHROMIUM.exists():
        pytest.skip(f"needs the browser {CHROMIUM}")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the tests skip without it

    folder = make_photos(top)
    with running(folder / "photos", folder / "others") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser, address, folder
        browser.close()


def make_photos(top: Path) -> Path:
    """Photos of five things, indexed: one of them is seen three times, and one file is broken."""
    things = [texture(seed, 480, 360) for seed in range(5)]
    for number, pixels in enumerate(things):
        save(top / f"photos/thing{number}/front.jpg", pixels, quality=90)
    for name, view in VIEWS.items():
        turned = cv2.warpPerspective(things[0], view, (560, 460), borderValue=(90, 100, 110))
        save(top / "photos/thing0/view.jpg", turned, quality=90).rename(top / f"photos/thing0/{name}.jpg")
    (top / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
    for seed in (50, 51):
        save(top / f"others/{seed}.jpg", texture(seed, 320, 240), quality=90)
    save(top / "query.jpg", things[0][30:330, 40:440], quality=92)
    save(top / "stranger.jpg", texture(77, 480, 360), quality=92)
    save(top / "blank.png", np.full((300, 400, 3), 200, np.uint8))
    for name, labels in (("photos", "folder"), ("others", None)):
        with Index.create(top / name / ".glocal", model="rootsift") as index:
            index.add(top / name, labels=labels)
    return top


@contextmanager
def running(*photos: Path):
    """`glocal serve` in a process of its own, ready to search; gives its address."""
    command = [sys.executable, "-m", "glocal", "serve", *map(str, photos), "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip().rstrip("/")
            assert address.startswith("http://127.0.0.1:"), address
            ends = time.monotonic() + 60
            while not _is_ready(address):
                assert process.poll() is None
                assert time.monotonic() < ends, "not ready after a minute"
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()
            process.wait(20)


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:
            return answer.status == 200
    except urllib.error.URLError:
        return False
