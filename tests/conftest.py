"""Photos for the tests: rendered scenes and simple textures, no file from outside."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

# A test that names no model is about something else, and runs with the one that starts at once.
os.environ["GLOCAL_MODEL"] = "rootsift"
# A busy machine fails no test: what takes long is measured by benchmarks.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
SHARED = Path(__file__).parents[2] / "shared"


def texture(seed: int, width: int = 320, height: int = 240) -> np.ndarray:
    """A picture with several hundred distinct corners: overlapping random rectangles and noise."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128, np.uint8)
    for _ in range(160):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(4, max(5, width // 8)), rng.integers(4, max(5, height // 8))
        pixels[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with six different pictures, one exact copy and a file that is no picture."""
    folder = tmp_path / "photos"
    for seed in range(6):
        save(folder / f"{'ab'[seed % 2]}/{seed}.jpg", texture(seed), quality=90)
    (folder / "copy of 0.jpg").write_bytes((folder / "a/0.jpg").read_bytes())
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(autouse=True)
def own_data_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data-home")))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and tools beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder 'shared' beside the checkout, with real photos and tools")
    return SHARED


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Put fake networks (tests/fakes.py) where `load` finds them; gives the folder that names one."""
    networks = {}

    def put(network, name="weights"):
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        networks[str(place)] = network
        return place

    def load(source, device="auto", batch_size="auto"):
        put.loaded.append((source, device, batch_size))
        if isinstance(networks[source], Exception):
            raise networks[source]
        return networks[source]

    put.loaded = []
    monkeypatch.setitem(sys.modules, "glocal.extract.load", SimpleNamespace(load=load))
    return put
