"""Check that this installation works: versions, decoders, model weights, a real extraction, places."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from glocal import __version__
from glocal.cli import exits
from glocal.cli.index import human_bytes
from glocal.cli.places import find_index
from glocal.data.formats import heif_decoder_installed
from glocal.errors import RetrievalError
from glocal.extract.pool import WorkerPool
from glocal.extract.requests import Request
from glocal.models.catalogue import CLASSICAL_MODEL
from glocal.rerank.bands import Calibration
from glocal.store.collection import Collection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options: there are none."""


def run(options: argparse.Namespace) -> int:
    """Check one thing after the other; returns the exit code."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", lambda: f"{platform.python_version()} at {sys.executable}"),
        ("packages", _packages),
        ("machine", _machine),
        ("torch", _torch),
        ("formats", _formats),
        ("model", _model),
        ("disk", _disk),
        ("index", _index),
    ]
    failed = 0
    print(f"glocal {__version__}")
    for name, check in checks:
        try:
            print(f"  ✓ {name:<9} {exits.printable(check())}")
        except (RetrievalError, OSError, sqlite3.Error) as error:
            failed += 1
            print(f"  ✗ {name:<9} {exits.printable(str(error))}")
    print("Everything works." if not failed else f"{failed} checks failed.")
    return exits.DONE if not failed else exits.RESOURCE


def _packages() -> str:
    names = ("numpy", "opencv-python-headless", "pillow", "safetensors", "jinja2", "rich", "threadpoolctl")
    return " · ".join(
        [f"{name} {importlib.metadata.version(name)}" for name in names] + [f"sqlite {sqlite3.sqlite_version}"]
    )


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{len(os.sched_getaffinity(0))} cores, {human_bytes(memory)} of memory, {platform.platform()}"


def _torch() -> str:
    """What networks would run on."""
    if importlib.util.find_spec("torch") is None:
        return "not installed: rootsift works, networks need it → pip install 'glocal[torch]'"
    import torch  # noqa: PLC0415 - takes seconds

    version = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f"{version}; --device auto is cuda: {', '.join(names)}"
    if torch.backends.mps.is_available():
        return f"{version}; --device auto is mps"
    if torch.version.cuda is None:
        return f"{version}; --device auto is cpu (this is the CPU build; for a GPU see pytorch.org/get-started)"
    return f"{version}; --device auto is cpu (no CUDA device was found → nvidia-smi says whether the driver works)"


def _formats() -> str:
    heic = "HEIC" if heif_decoder_installed() else 'HEIC needs: pip install "glocal[heic]"'
    return f"JPEG, PNG, WebP, GIF, BMP, TIFF; {heic}"


def _model() -> str:
    """Describe a small made-up picture in a worker process, as `glocal index` does."""
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder, WorkerPool(CLASSICAL_MODEL) as pool:
        picture = Path(folder) / "check.png"
        Image.fromarray(noise).resize((320, 240), Image.Resampling.NEAREST).save(picture)
        answer = pool.read(Request(os.fsencode(picture)))
        count = len(answer.extraction("check").local)
        Calibration.load(CLASSICAL_MODEL)
        found = f"{count} features in {answer.extract_s * 1000:.0f} ms"
        return f"{CLASSICAL_MODEL} sha256 {pool.spec().weights[:12]}…; {found}"


def _disk() -> str:
    return f"{human_bytes(shutil.disk_usage(Path.cwd()).free)} free here"


def _index() -> str:
    try:
        directory = find_index(None, Path.cwd())
    except RetrievalError:
        return "none yet → glocal index PHOTOS"
    with Collection.open(directory) as collection:
        return f"{directory}: {collection.counts()['indexed']} pictures, {collection.spec.model}"
