"""A service over a few made photos, once for all tests; `start` makes another with settings of one's own."""

import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from glocal.photo_index import Index
from glocal.web.api import create_app
from glocal.web.library import Library
from glocal.web.settings import Settings
from tests.conftest import save, texture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have another package than httpx
    from starlette.testclient import TestClient

BASE = "http://127.0.0.1:8080"
VIEW = np.array([[0.85, 0.12, 30.0], [-0.08, 0.9, 40.0], [1.5e-4, 1e-4, 1.0]])
SETTINGS = Settings(num_searchers=2, queue_length=8, decode_timeout_s=20.0)


@pytest.fixture(scope="session")
def collection(tmp_path_factory) -> Path:
    """`photos/` with eight pictures of six things (index in `photos/.glocal`), and queries beside it."""
    folder = tmp_path_factory.mktemp("served")
    things = {seed: texture(seed, 480, 360) for seed in range(6)}
    for seed, pixels in things.items():
        save(folder / f"photos/thing{seed}/front.jpg", pixels, quality=92)
    turned = cv2.warpPerspective(things[0], VIEW, (560, 460), borderValue=(90, 100, 110))
    save(folder / "photos/thing0/aside.jpg", turned, quality=92)
    (folder / "photos/copy.jpg").write_bytes((folder / "photos/thing0/front.jpg").read_bytes())
    (folder / "photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
    save(folder / "query.jpg", things[0][30:330, 40:440], quality=92)
    save(folder / "stranger.jpg", texture(77, 480, 360), quality=92)
    save(folder / "blank.png", np.full((300, 400, 3), 200, np.uint8))
    with Index.create(folder / "photos/.glocal") as index:
        index.add(folder / "photos", labels="folder")
    return folder


@contextmanager
def served(places, **changes):
    """A client of a running service; `.app`, `.service` and `.settings` are attributes of it."""
    settings = replace(SETTINGS, **changes)
    app = create_app(Library(places, settings), settings)
    key = {"Authorization": f"Bearer {settings.key}"} if settings.key else {}
    with TestClient(app, base_url=BASE, headers=key, raise_server_exceptions=False) as client:
        client.service, client.settings = app.state.service, settings
        ends = time.monotonic() + 60
        while client.service.not_ready and time.monotonic() < ends:
            if any(index.state == "failed" for index in client.service.library.indexes):
                break
            time.sleep(0.02)
        yield client


@pytest.fixture(scope="session")
def client(collection):
    """A client of a service over `collection`, without a key. Do not change what it serves."""
    with served([collection / "photos/.glocal"]) as client:
        yield client


@pytest.fixture
def start(collection):
    """`with start(**settings) as client`: a service over `collection` with other settings."""
    return lambda **changes: served([collection / "photos/.glocal"], **changes)


@pytest.fixture(scope="session")
def ids(client, collection):
    """Ids of a query and of two pictures that show what it shows, in this session's service."""
    found = client.post("/v1/search", files={"image": (collection / "query.jpg").read_bytes()}).json()
    first, second = (result["id"] for result in found["results"][:2])
    return SimpleNamespace(query=found["query"]["id"], first=first, second=second, index=found["index"]["id"])
