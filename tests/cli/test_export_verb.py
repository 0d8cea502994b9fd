"""`glocal export` as a user types it: files, streams, exit codes."""

import os
import signal
import subprocess
import sys

import h5py
import pyarrow.parquet as pq
import pytest

from glocal.cli import exits
from glocal.cli import main as main_module
from glocal.cli.main import main
from glocal.store.collection import Collection
from tests.conftest import save, texture
from tests.export.rows import collection_of
from tests.fakes import FakeNetwork


@pytest.fixture(autouse=True)
def verb(monkeypatch):
    monkeypatch.setitem(main_module.VERBS, "export", "write an index in the formats of other programs")


@pytest.fixture
def run(capsys):
    """Run a command line; gives (exit code, stdout, stderr)."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def index(tmp_path):
    """Twelve pictures without photos; one has blanks in its name."""
    names = [b"%02d.jpg" % i for i in range(11)] + [b"a b/c d.jpg"]
    collection_of(tmp_path / "index", FakeNetwork(local=True).spec, names).close()
    return tmp_path / "index"


def test_help_explains_the_targets_and_their_options(run):
    code, out, _ = run("export", "--help")
    assert code == 0
    assert out.startswith("usage: glocal export")
    assert all(target in out for target in ("hloc", "faiss", "parquet"))
    for target, option in (("hloc", "--matches"), ("faiss", "--rename-map"), ("parquet", "--precision")):
        code, out, _ = run("export", target, "--help")
        assert code == 0
        assert out.startswith(f"usage: glocal export {target}")
        assert option in out
    assert run("export")[0] == exits.USAGE
    assert run("export", "kapture", "x", "--out", "y")[0] == exits.USAGE
    assert run("export", "hloc", "x")[0] == exits.USAGE
    assert run("export", "hloc", "x", "--out", "y", "--match")[0] == exits.USAGE


def test_every_target_prints_what_it_wrote(index, run, tmp_path):
    for target, names in (("faiss", ["ids.parquet", "index.faiss"]), ("parquet", ["photos.parquet"])):
        code, out, err = run("export", target, index, "--out", tmp_path / target)
        assert code == 0
        assert out.splitlines() == [str(tmp_path / target / name) for name in names]
        assert err.splitlines()[-1] == "✓ 12 photos."
    code, out, err = run("export", "parquet", index, "--out", tmp_path / "my.parquet", "--precision", "float32", "-q")
    assert (code, out, err) == (0, f"{tmp_path / 'my.parquet'}\n", "")
    assert str(pq.read_schema(tmp_path / "my.parquet").field("global").type).startswith(
        "fixed_size_list<element: float"
    )


def test_names_with_blanks_are_refused_for_hloc_with_exit_3(index, run, tmp_path):
    code, out, err = run("export", "hloc", index, "--out", tmp_path / "out")
    assert (code, out) == (exits.NOTHING, "")
    assert err.startswith(
        "1 name contains blanks; hloc's pairs.txt cannot hold it. → --rename-map names.csv writes safe"
    )
    assert not (tmp_path / "out").exists()
    words = ("export", "hloc", index, "--out", tmp_path / "out", "--topk", 3, "--rename-map", tmp_path / "names.csv")
    code, out, err = run(*words)
    assert code == 0
    assert "✓ 12 photos, 36 pairs of 12 queries." in err
    assert out.splitlines()[0] == str(tmp_path / "names.csv")
    assert "a_b/c_d.jpg,a b/c d.jpg" in (tmp_path / "names.csv").read_text().splitlines()
    with h5py.File(tmp_path / "out/feats-fake_net.h5") as file:
        assert "a_b/c_d.jpg" in file
    pairs = (tmp_path / "out/pairs-fake_net3.txt").read_text()
    assert pairs.count("\na_b/c_d.jpg ") + pairs.startswith("a_b/c_d.jpg ") == 3
    code, _, err = run(*words)
    assert code == exits.USAGE
    assert "exists already → --force" in err
    assert run(*words, "--force")[0] == 0


def test_what_is_left_out_is_counted(index, run, tmp_path):
    with Collection.open(index, writable=True) as collection:
        collection.hide([b"00.jpg", b"01.jpg"])
    code, _, err = run("export", "parquet", index, "--out", tmp_path)
    assert code == 0
    assert f"Left out: 2 missing.  List: glocal info {index} --skipped, or --missing" in err
    assert "✓ 10 photos." in err


def test_queries_are_described_with_the_model_of_the_index(photos, run, tmp_path):
    (photos / "copy of 0.jpg").unlink()
    assert run("index", photos, "-q")[0] == 0
    save(tmp_path / "ask/crop.png", texture(3)[20:230, 20:310])
    (tmp_path / "ask/broken.png").write_bytes(b"nothing")
    code, out, err = run(
        "export", "hloc", photos, "--queries", tmp_path / "ask", "--topk", 2, "--matches", "--out", tmp_path / "out"
    )
    assert code == 0
    assert len(out.splitlines()) == 4
    assert "skipped  broken.png — not a picture" in err
    assert "✓ 7 photos, 2 pairs of 1 query" in err
    lines = (tmp_path / "out/pairs-rootsift2.txt").read_text().splitlines()
    assert lines[0] == "crop.png b/3.jpg"
    code, _, err = run("export", "hloc", photos, "--queries", tmp_path / "none.txt", "--out", tmp_path / "more")
    assert code == exits.USAGE
    assert "none.txt: No such file" in err
    code, _, err = run(
        "export", "hloc", photos, "--queries", tmp_path / "ask", "--model", "delg-r50", "--out", tmp_path / "more"
    )
    assert code == exits.MISMATCH
    assert "They cannot be compared" in err
    assert not (tmp_path / "more").exists()


def test_an_index_that_is_not_there_is_told(run, tmp_path):
    assert run("export", "faiss", tmp_path / "none", "--out", tmp_path / "out")[0] == exits.USAGE


STOPPED = """
import sys
from glocal.cli import main as module
from glocal.export import parquet

parquet.ROW_GROUP = 1
module.VERBS["export"] = "x"
tick = parquet.TableFile.write

def slow(self, columns):
    print("writing", flush=True)
    tick(self, columns)
    sys.stdin.readline()

parquet.TableFile.write = slow
sys.exit(module.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, exits.INTERRUPTED), (signal.SIGTERM, exits.TERMINATED)])
def test_a_signal_ends_the_export_and_leaves_nothing(number, code, index, tmp_path):
    command = [sys.executable, "-c", STOPPED, "export", "parquet", str(index), "--out", str(tmp_path / "out")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        assert len(os.listdir(tmp_path / "out")) == 1  # the draft
        process.send_signal(number)
        _, err = process.communicate("\n" * 20, timeout=30)
    assert process.returncode == code
    assert err == "Stopped. Nothing was written. Run the same command to start again.\n"
    assert os.listdir(tmp_path / "out") == []
