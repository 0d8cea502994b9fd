"""`glocal index relocate OLD NEW`, and what else `glocal index` does to whole indexes, as a user types it."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from glocal.cli import exits
from glocal.cli.main import main
from glocal.cli.places import data_home, place_for, remember
from glocal.extract.pool import WorkerPool
from glocal.photo_index import Index
from glocal.store.collection import Collection
from glocal.store.lock import WriterLock
from glocal.store.relocation import look_for
from tests.conftest import save, texture
from tests.store.small_collections import make


@pytest.fixture
def run(capsys):
    """Run a command line; gives (exit code, stdout, stderr)."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of photos and an index beside it, made once."""
    place = tmp_path_factory.mktemp("made")
    for seed in range(6):
        save(place / f"photos/{'ab'[seed % 2]}/{seed}.jpg", texture(seed), quality=90)
    (place / "photos/copy of 0.jpg").write_bytes((place / "photos/a/0.jpg").read_bytes())
    with Index.create(place / "index") as index:
        index.add(place / "photos")
    return place


@pytest.fixture
def apart(made, tmp_path):
    """An index that lies beside the folder of its photos."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)  # both together, with their times
    remember(tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def photos(apart):
    return apart.parent / "photos"


@pytest.fixture
def no_decoding(monkeypatch):
    def refuse(*_):
        raise AssertionError("a photo was read")

    monkeypatch.setattr(WorkerPool, "run", refuse)


def root_of(directory):
    with Collection.open(directory) as collection:
        return collection.root


def test_moved_photos_are_linked_again_without_being_read(photos, apart, run, tmp_path, no_decoding):
    photos.rename(tmp_path / "new")
    code, out, err = run("index", "relocate", photos, tmp_path / "new", "--index", apart)
    assert (code, out) == (0, "")
    assert f"✓ The pictures of {photos} are linked to {tmp_path / 'new'} now (7 of 7 that were looked for" in err
    assert f"glocal index {tmp_path / 'new'} --index {apart}" in err
    assert root_of(apart) == tmp_path / "new"
    code, _, err = run("index", tmp_path / "new", "--index", apart)  # nothing to read, or `no_decoding` would say so
    assert "7 known · 0 new · 0 changed · 0 gone" in err


def test_the_last_index_made_is_found_by_its_folder(photos, apart, run, tmp_path):
    photos.rename(tmp_path / "new")
    assert run("index", "relocate", photos, tmp_path / "new", "-q") == (0, "", "")
    assert root_of(apart) == tmp_path / "new"


def test_an_index_in_its_folder_has_moved_along(photos, run, tmp_path):
    run("index", photos, "-q")
    photos.rename(tmp_path / "new")
    code, _, err = run("index", "relocate", photos, tmp_path / "new")
    assert code == 0
    assert "moved along" in err
    assert root_of(tmp_path / "new/.glocal") == tmp_path / "new"


def test_an_index_with_the_users_data_stays_where_the_next_run_looks_for_it(photos, run, tmp_path, monkeypatch):
    monkeypatch.setattr("glocal.cli.places.os.access", lambda *_: False)  # read-only photos
    assert run("index", photos, "-q")[0] == 0
    before = place_for(photos)
    assert before.parent == data_home()
    photos.rename(tmp_path / "new")
    assert run("index", "relocate", photos, tmp_path / "new")[0] == 0
    assert not before.exists()
    assert root_of(place_for(tmp_path / "new")) == tmp_path / "new"
    assert "7 known" in run("index", tmp_path / "new")[2]


def test_a_copy_without_times_is_linked_and_told(photos, apart, run, tmp_path):
    shutil.copytree(photos, tmp_path / "new", copy_function=shutil.copyfile)
    code, _, err = run("index", "relocate", photos, tmp_path / "new", "--index", apart)
    assert code == 0
    assert "7 of them have another time than before" in err
    assert root_of(apart) == tmp_path / "new"
    assert root_of(apart) != photos  # which is still there


def test_a_folder_that_lacks_the_photos_is_refused_with_numbers(photos, apart, run, tmp_path):
    photos.rename(tmp_path / "new")
    (tmp_path / "new/a/2.jpg").unlink()
    (tmp_path / "new/b/1.jpg").write_bytes(b"another")
    (tmp_path / "new/b/3.jpg").unlink()
    os.mkfifo(tmp_path / "new/b/3.jpg")
    code, _, err = run("index", "relocate", photos, tmp_path / "new", "--index", apart)
    assert code == exits.USAGE
    assert f'{tmp_path / "new"} has 4 of 7 pictures that were looked for, first missing "a/2.jpg"' in err
    assert root_of(apart) == photos


def test_what_cannot_be_meant_is_refused(photos, apart, run, tmp_path):
    (tmp_path / "new").mkdir()
    code, _, err = run("index", "relocate", photos, tmp_path / "nowhere", "--index", apart)
    assert (code, "No such folder" in err) == (exits.USAGE, True)
    code, _, err = run("index", "relocate", tmp_path / "wrong", tmp_path / "new", "--index", apart)
    assert code == exits.USAGE
    assert f"belongs to {photos}, not to {tmp_path / 'wrong'}" in err
    code, _, err = run("index", "relocate", tmp_path / "wrong", tmp_path / "new")
    assert code == exits.NOTHING
    assert "No index of" in err


def test_an_index_that_is_being_written_is_left_alone(photos, apart, run, tmp_path):
    photos.rename(tmp_path / "new")
    with WriterLock(apart):
        code, _, err = run("index", "relocate", photos, tmp_path / "new", "--index", apart)
    assert code == exits.MISMATCH
    assert "being written by process" in err


def test_photos_that_were_hidden_meanwhile_count_too(photos, apart, run, tmp_path):
    photos.rename(tmp_path / "new")
    photos.mkdir()
    run("index", photos, "--index", apart, "-q")  # a drive that is not mounted: all are hidden
    photos.rmdir()
    assert run("index", "relocate", photos, tmp_path / "new", "--index", apart)[0] == 0
    assert "7 known" in run("index", tmp_path / "new", "--index", apart)[2]


def test_of_many_photos_some_are_looked_for_spread_over_the_names(tmp_path):
    rows = [(b"%03d.jpg" % number, number) for number in range(1, 101)]
    make(tmp_path / "index", rows, tmp_path / "photos")
    for name, number in rows:
        if number % 2:
            (tmp_path / "photos" / name.decode()).write_bytes(bytes(1000 + number))
    with Collection.open(tmp_path / "index") as collection:
        whole = look_for(collection, tmp_path / "photos")
        assert (whole.sampled, whole.found, whole.first_missing) == (100, 50, "002.jpg")
        assert not whole.is_enough
        some = look_for(collection, tmp_path / "photos", most=10)  # every tenth: 1, 11, ... are all odd
        assert (some.sampled, some.found, some.unchanged) == (10, 10, 0)


# ---------------------------------------------------------------------- words and folders
def test_a_folder_of_such_a_name_is_still_a_folder(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "relocate/1.jpg", texture(1))
    save(tmp_path / "merge/1.jpg", texture(1))
    assert "1 pictures searchable" in run("index", "relocate")[2].replace("\N{NO-BREAK SPACE}", " ")
    assert "1 pictures searchable" in run("index", "./merge", "--index", "there")[2]
    assert "1 known" in run("index", "merge", "--index", "there")[2]
    code, _, err = run("index", "photos", "more")
    assert (code, "unrecognized arguments" in err) == (exits.USAGE, True)


@pytest.mark.parametrize("action", ["merge", "split", "export", "import", "relocate"])
def test_each_action_explains_itself(action, run):
    code, out, _ = run("index", action, "--help")
    assert code == 0
    assert out.startswith(f"usage: glocal index {action}")
    assert action in run("index", "--help")[1]


def test_indexes_are_merged_split_exported_and_imported_from_the_command_line(tmp_path, run):
    for name, seeds in (("a", (1, 2)), ("b", (2, 3))):
        for seed in seeds:
            save(tmp_path / name / f"{seed}.jpg", texture(seed))
        run("index", tmp_path / name, "-q")
    code, out, err = run("index", "merge", tmp_path / "all", tmp_path / "a", tmp_path / "b")
    assert (code, out) == (0, "")
    assert 'a/.glocal: 2 pictures copied, 0 were there already; names begin with "a/"' in err
    assert 'b/.glocal: 1 pictures copied, 1 were there already; names begin with "b/"' in err
    assert "✓ 4 pictures searchable (3 different)" in err.replace("\N{NO-BREAK SPACE}", " ")
    code, out, _ = run("search", tmp_path / "b/3.jpg", "--index", tmp_path / "all")
    assert "b/3.jpg" in out
    code, _, err = run("index", "split", tmp_path / "all", tmp_path / "p", tmp_path / "q", "--folder", "a")
    assert code == 0
    assert root_of(tmp_path / "p") == tmp_path / "a"
    assert "2 known" in run("index", tmp_path / "a", "--index", tmp_path / "p")[2]
    (tmp_path / "list").write_text("b/3.jpg\n\n")
    assert run("index", "split", tmp_path / "all", tmp_path / "r", "--list", tmp_path / "list", "-q")[0] == 0
    code, _, err = run("index", "export", tmp_path / "r", tmp_path / "file")
    assert (code, "SHA-256 of its rows" in err) == (0, True)
    code, _, err = run("index", "import", tmp_path / "file", tmp_path / "s", "--photos", tmp_path)
    assert (code, f"Photos: {tmp_path}" in err) == (0, True)
    assert "b/3.jpg" in run("search", tmp_path / "b/3.jpg", "--index", tmp_path / "s")[1]


def test_wrong_numbers_of_places_are_usage_errors(tmp_path, run):
    make(tmp_path / "a", [(b"1.jpg", 1)])
    for words, said in (
        (("merge", tmp_path / "x", tmp_path / "a"), "merged with another"),
        (("split", tmp_path / "a", tmp_path / "x"), "name two or more"),
        (("split", tmp_path / "a", *(tmp_path / each for each in "xyz"), "--folder", "f"), "one or two parts, not 3"),
        (("merge", tmp_path / "x", tmp_path / "a", tmp_path / "nowhere"), "No such folder"),
    ):
        code, _, err = run("index", *words)
        assert (code, said in err) == (exits.USAGE, True), err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a"]


def test_a_merge_that_is_stopped_leaves_nothing(tmp_path):
    """A large one as its own process, ended by Ctrl-C in the middle."""
    rows = [(b"%04d.jpg" % number, number) for number in range(600)]
    sources = [make(tmp_path / name, rows, tmp_path / name[:1]) for name in ("a", "b")]
    code = "import sys; from glocal.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "index", "merge", tmp_path / "all", *sources]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    draft = tmp_path / ".all.partial/glocal.db-wal"
    deadline = time.monotonic() + 30
    while not draft.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(2)
    _, err = process.communicate(timeout=30)
    if process.returncode:  # it may have been faster than we
        assert (process.returncode, b"Stopped." in err) == (exits.INTERRUPTED, True)
        assert not (tmp_path / "all").exists()
    assert not draft.parent.exists()
