"""kill -9 at random moments: what was promised is there, nothing is there twice, the index always opens."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys

import pytest

from glocal.cli.main import main
from glocal.store.collection import Collection
from tests.conftest import save, texture

KILLS = 20
PHOTOS = 200
FINISH_EVERY = 5
OWN_FILES = {"glocal.db", "glocal.db-wal", "glocal.db-shm", "writer.lock"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash") / "photos"
    for seed in range(PHOTOS):
        save(folder / f"{seed % 7}/{seed}.png", texture(seed, 64, 48))
    (folder / "copy.png").write_bytes((folder / "0/0.png").read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def digest(directory):
    """One line that must be the same however often the run was interrupted."""
    with Collection.open(directory) as collection:
        lines = [repr((row.path, row.status, row.reason, row.content_hash)) for row in collection.catalogue()]
        for block in collection.descriptors():
            lines += [name + vector.tobytes().hex() for name, vector in zip(block.ids, block.vectors, strict=True)]
        for row in collection.catalogue("indexed"):
            lines.append(collection.local_features(row.content_hash).descriptors.tobytes().hex())
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def index_until_killed(folder, directory, after):
    """Index in a process group of its own; kill -9 once `after` lines were printed. Gives the promised paths."""
    command = [sys.executable, "-m", "glocal", "index", str(folder), "--index", str(directory), "--progress", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    promised = set()
    for number, line in enumerate(process.stdout, 1):
        event = json.loads(line) if line.endswith("\n") else {}
        if event.get("event") == "indexed":
            promised.add(os.fsencode(event["path"]))
        if number == after:
            os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    return promised, process.returncode == -signal.SIGKILL


def test_twenty_kills_lose_nothing_and_double_nothing(folder, tmp_path):
    rng = random.Random(1)
    assert main(["index", str(folder), "--index", str(tmp_path / "straight"), "-q"]) == 0
    straight = digest(tmp_path / "straight")
    killed = 0
    directory = None
    for cycle in range(KILLS):
        if cycle % FINISH_EVERY == 0:
            directory, known = tmp_path / f"index{cycle}", set()
        # Every photo prints a progress line, every saved one another: kills fall before, in and after commits.
        promised, was_killed = index_until_killed(folder, directory, rng.randint(1, 2 * PHOTOS // FINISH_EVERY))
        killed += was_killed
        if Collection.exists(directory):
            with Collection.open(directory) as collection:
                listed = [row.path for row in collection.catalogue("indexed")]
            assert len(listed) == len(set(listed))
            assert (known | promised) <= set(listed)
            known = set(listed)
        if cycle % FINISH_EVERY == FINISH_EVERY - 1:
            assert main(["index", str(folder), "--index", str(directory), "-q"]) == 0
            assert digest(directory) == straight
            assert {path.name for path in directory.iterdir()} <= OWN_FILES
    assert killed >= KILLS * 3 // 4
