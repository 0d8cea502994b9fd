"""The corpus of malformed files, indexed by the command and held against its manifest."""

import json
import os
import subprocess
import sys

import pytest

from glocal.cli.main import main
from glocal.photo_index import Index


@pytest.fixture(scope="module")
def corpus(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad") / "corpus"
    tool = shared / "tools/make_bad_images.py"
    subprocess.run([sys.executable, tool, "make", folder], check=True, capture_output=True)
    yield folder, tool
    for path in folder.rglob("no_permission*"):
        path.chmod(0o700)


def test_no_must_failures_and_the_same_outcome_twice(corpus, tmp_path, capsys, monkeypatch):
    folder, tool = corpus
    monkeypatch.chdir(tmp_path)
    reports = []
    for run in ("first", "second"):
        directory = tmp_path / run
        assert main(["index", str(folder / "images"), "--index", str(directory), "-q"]) == 0
        capsys.readouterr()
        main(["info", str(directory), "--json"])
        reports.append(json.loads(capsys.readouterr().out))
    first, second = ([{k: f.get(k) for k in ("path", "status", "reason", "hash")} for f in r["files"]] for r in reports)
    assert first == second
    for file in reports[0]["files"]:
        file["path"] = f"images/{file['path']}"
    (tmp_path / "report.json").write_text(json.dumps(reports[0]))
    compared = subprocess.run(
        [sys.executable, tool, "compare", folder, tmp_path / "report.json"], capture_output=True, text=True, check=False
    )
    assert compared.returncode == 0, compared.stdout
    assert "0 'must' failures, 0 'should' differences" in compared.stdout
    last = reports[0]["last_run"]
    assert last["seen"] == last["indexed"] + last["skipped"] + last["ignored"]
    assert not (tmp_path / "PICKLE_CANARY_EXECUTED").exists()


def test_nothing_private_of_the_pictures_gets_into_the_index(corpus, tmp_path):
    folder, _ = corpus
    with Index.create(tmp_path / "index") as index:
        index.add(folder / "images/exif")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "index").iterdir())
    manifest = json.loads((folder / "manifest.json").read_text("ascii"))
    secrets = {secret for item in manifest["items"] for secret in item["leak"] or ()}
    assert secrets
    assert not [secret for secret in secrets if secret.encode("latin-1") in stored]


def test_every_stored_descriptor_is_finite_and_of_unit_norm(corpus, tmp_path):
    folder, _ = corpus
    with Index.create(tmp_path / "index") as index:
        index.add(folder / "images")
        count = sum(len(block.ids) for block in index.collection.descriptors())  # checked on construction
        assert count == index.collection.counts()["contents"] > 90
        rows = {os.fsdecode(row.path): row for row in index.collection.catalogue()}
        blank = rows["control/uniform_black.png"]
        assert len(index.collection.local_features(blank.content_hash)) == 0
