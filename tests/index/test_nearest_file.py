"""The file beside the database: made, made anew, stopped, killed, damaged; answers are exact or as good as stated."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys

import faiss
import numpy as np
import pytest

from glocal.cli import nearest as cli
from glocal.cli.main import main
from glocal.errors import DiskFull, StoreError
from glocal.index import beside, build
from glocal.index.build import Stopped, Watcher, keep, needed
from glocal.index.choice import RULES, Rules
from glocal.index.exact import ExactIndex
from glocal.index.faiss_lists import InvertedLists
from glocal.index.nearest import Nearest
from glocal.index.status import search_json, search_line
from glocal.index.voucher import Voucher, read_voucher
from glocal.photo_index import Index
from glocal.store.collection import Collection
from glocal.store.schema import DATABASE_NAME
from glocal.types import Descriptors
from tests.index.made_up import clustered, make, path_of, put

NUM = 1500
RULES_HERE = Rules(exact_below=1000, codes_from=10**6)
ASKED = Descriptors(tuple("abcde"), clustered(7, 5))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    place = tmp_path_factory.mktemp("bare") / "index"
    make(place, clustered(1, NUM))
    return place


@pytest.fixture(scope="module")
def made(bare, tmp_path_factory):
    place = shutil.copytree(bare, tmp_path_factory.mktemp("made") / "index")
    with Collection.open(place, writable=True) as collection:
        keep(collection, RULES_HERE)
    return place


@pytest.fixture
def empty(bare, tmp_path):
    """A copy of a collection without lists."""
    return shutil.copytree(bare, tmp_path / "empty")


@pytest.fixture
def place(made, tmp_path):
    """A copy of one with lists."""
    return shutil.copytree(made, tmp_path / "index")


def search(place, k=20):
    """Whether lists were used, the answers, and the warning."""
    with Collection.open(place) as collection:
        searched = Nearest(collection)
        with collection.snapshot():
            searched.refresh(256 << 20)
            return searched.uses_lists, [found.ids for found in searched.search(ASKED, k)], searched.warning


def exact(place, k=20):
    with Collection.open(place) as collection:
        return [found.ids for found in ExactIndex(collection.descriptors()).search(ASKED, k)]


def beside_of(place):
    return sorted(name for name in os.listdir(place) if name.startswith("nearest"))


def file_of(place):
    (name,) = beside_of(place)
    return place / name


def kept(place, rules=RULES_HERE, watcher=None):
    with Collection.open(place, writable=True) as collection:
        return keep(collection, rules, watcher)


def change(place, *statements):
    connection = sqlite3.connect(place / DATABASE_NAME)
    with connection:
        for statement in statements:
            connection.execute(*statement)
    connection.close()


# ---------------------------------------------------------------------- made
def test_what_is_made_is_private_named_by_its_checksum_and_vouched_for(place):
    file = file_of(place)
    with Collection.open(place) as collection:
        voucher, covers = read_voucher(collection)
    assert file.name == voucher.file == f"nearest.{voucher.crc32:08x}.faiss"
    assert (file.stat().st_size, stat.S_IMODE(file.stat().st_mode)) == (voucher.num_bytes, 0o600)
    assert (voucher.num, covers, voucher.factory, voucher.num_probes) == (NUM, NUM, "IVF128,SQ8", 200)
    assert voucher.recall_100 >= 0.98
    assert voucher.recall_10 >= 0.98


def test_the_recall_that_it_states_is_that_of_other_queries_too(place):
    with Collection.open(place) as collection:
        voucher, _ = read_voucher(collection)
        asked = [Descriptors(("q",), vector[None]) for vector in clustered(99, 200)]
        searched = Nearest(collection)
        searched.refresh(1 << 30)
        index = ExactIndex(collection.descriptors())
        found = np.mean(
            [len(set(searched.search(q, 100)[0].ids) & set(index.search(q, 100)[0].ids)) / 100 for q in asked]
        )
    assert abs(found - voucher.recall_100) < 0.015


def test_the_same_collection_gives_the_same_bytes(place, empty):
    kept(empty)
    assert file_of(place).read_bytes() == file_of(empty).read_bytes()


def test_good_lists_are_not_made_anew(place):
    before = file_of(place).stat().st_ino
    assert kept(place) is None
    assert file_of(place).stat().st_ino == before


def test_they_are_made_anew_when_too_many_pictures_are_newer(place):
    with Collection.open(place, writable=True) as collection:
        put(collection, range(NUM, NUM + 75), clustered(3, 75))
        assert needed(collection, RULES_HERE) is None  # a twentieth
        put(collection, [NUM + 75], clustered(4, 1))
        assert needed(collection, RULES_HERE).why == "76 pictures are newer"
        assert needed(collection, dataclasses.replace(RULES_HERE, newer_share=1.0)) is None
        assert needed(collection, dataclasses.replace(RULES_HERE, newer_share=1.0, max_newer=75)) is not None
        before = beside_of(place)
        assert keep(collection, RULES_HERE).num == NUM + 76
    assert beside_of(place) != before
    assert len(beside_of(place)) == 1


def test_they_are_made_anew_when_too_many_pictures_were_forgotten(place):
    with Collection.open(place, writable=True) as collection:
        collection.hide([path_of(n) for n in range(300)])
        collection.drop_unused(missing_too=True)
        assert needed(collection, RULES_HERE) is None  # a fifth
        collection.hide([path_of(300)])
        collection.drop_unused(missing_too=True)
        assert needed(collection, RULES_HERE).why == "301 of its 1,500 pictures are forgotten"
        assert keep(collection, RULES_HERE).num == NUM - 301


def test_a_collection_that_has_become_small_gives_them_up(place):
    assert kept(place, Rules(exact_below=NUM + 1)) is None
    assert beside_of(place) == []
    assert search(place) == (False, exact(place), None)
    assert kept(place, Rules(exact_below=NUM + 1)) is None


def test_a_search_goes_on_while_they_are_made_anew(place):
    with Collection.open(place) as reader:
        searched = Nearest(reader)
        searched.refresh(1 << 30)
        before = [found.ids for found in searched.search(ASKED, 5)]
        file_of(place).unlink()
        kept(place)
        assert [found.ids for found in searched.search(ASKED, 5)] == before  # the old file is still mapped
        searched.refresh(1 << 30)
        assert searched.uses_lists
        assert [found.ids for found in searched.search(ASKED, 5)] == before


# ---------------------------------------------------------------------- progress
class Counting(Watcher):
    def __init__(self, stop_after=None):
        self.needs, self.seen, self.asked, self.stop_after = [], [], 0, stop_after

    def begins(self, need):
        self.needs.append(need.why)

    def advanced(self, done, total):
        self.seen.append((done, total))

    def should_stop(self):
        self.asked += 1
        return self.asked == self.stop_after


def test_progress_rises_to_the_number_of_pictures(empty):
    watcher = Counting()
    kept(empty, watcher=watcher)
    done = [each for each, _ in watcher.seen]
    assert {total for _, total in watcher.seen} == {NUM}
    assert done == sorted(done)
    assert (done[0] > 0, done[-1]) == (True, NUM)
    assert watcher.needs == ["there is none yet"]


def test_stopped_anywhere_nothing_has_changed(empty, tmp_path):
    watcher = Counting()
    kept(shutil.copytree(empty, tmp_path / "whole"), watcher=watcher)
    assert watcher.asked > 12
    for after in (1, 5, 9, 10, watcher.asked):
        with pytest.raises(Stopped):
            kept(empty, watcher=Counting(after))
        assert beside_of(empty) == []
        assert search(empty) == (False, exact(empty), None)


# ---------------------------------------------------------------------- trouble while it is made
KILL = """
import os, signal, sys
from pathlib import Path
from glocal.index import beside, build
from glocal.index.choice import Rules
from glocal.photo_index import Index
from glocal.store.collection import Collection

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "rename":
    beside.os.replace = die
elif sys.argv[2] == "statement":
    build.write_voucher = die
else:
    build.clear_away = die
with Collection.open(Path(sys.argv[1]), writable=True) as collection:
    build.keep(collection, Rules(exact_below=1000, codes_from=10**6))
"""


@pytest.mark.parametrize(
    ("moment", "left"), [("rename", ["nearest.part"]), ("statement", ["nearest"]), ("clearing", ["nearest"])]
)
def test_killed_at_any_moment_the_answers_are_right_and_the_next_run_makes_good(empty, moment, left):
    dead = subprocess.run([sys.executable, "-c", KILL, str(empty), moment], check=False, capture_output=True)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert [name.startswith(start) for name, start in zip(beside_of(empty), left, strict=True)] == [True]
    used, found, warning = search(empty)
    assert (used, warning) == (moment == "clearing", None)
    assert used or found == exact(empty)
    (empty / "nearest.part").write_bytes(b"of an older run")
    (empty / "nearest.00000000.faiss").write_bytes(b"of an older run")
    kept(empty)
    assert search(empty)[0]
    assert len(beside_of(empty)) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_disk_that_refuses_leaves_everything_as_it_was(place, monkeypatch, call, code):
    with Collection.open(place, writable=True) as collection:
        put(collection, range(NUM, NUM + 100), clustered(3, 100))
        before = (beside_of(place), read_voucher(collection))

        def refuse(*_):
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse)
            with pytest.raises(DiskFull if code == errno.ENOSPC else StoreError, match=os.strerror(code)):
                keep(collection, RULES_HERE)
        assert (beside_of(place), read_voucher(collection)) == before
    assert search(place)[0]


def test_too_little_space_is_told_before_anything_is_written(empty, monkeypatch):
    monkeypatch.setattr(build.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(DiskFull, match=r"0 MB are free.*→"):
        kept(empty)
    assert beside_of(empty) == []


# ---------------------------------------------------------------------- damage
@pytest.fixture
def never_read(monkeypatch):
    """FAISS must not be given what the database does not vouch for."""

    def refuse(*_):
        raise AssertionError("FAISS was given a damaged file")

    monkeypatch.setattr(InvertedLists, "read", refuse)


def test_every_flipped_bit_is_noticed(place, never_read):
    file, rng = file_of(place), np.random.default_rng(0)
    good, expected = file.read_bytes(), exact(place)
    places = [0, 3, 4, 12, len(good) - 1, *rng.integers(0, len(good), 95).tolist()]
    for position in places:
        bad = bytearray(good)
        bad[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(bad)
        used, found, warning = search(place)
        assert (used, found) == (False, expected)
        assert "its checksum differs" in warning
        assert "→ glocal index" in warning


def test_every_truncation_and_extension_is_noticed(place, never_read):
    file, expected = file_of(place), exact(place)
    good = file.read_bytes()
    for size in (0, 1, 4, 100, len(good) // 2, len(good) - 1):
        file.write_bytes(good[:size])
        used, found, warning = search(place)
        assert (used, found) == (False, expected)
        assert f"{size:,} bytes instead of {len(good):,}" in warning
    file.write_bytes(good + b"\0")
    assert search(place)[:2] == (False, expected)


def _gone(file):
    file.unlink()


def _folder(file):
    file.unlink()
    file.mkdir()


def _link(file):
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _pipe(file):
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("spoil", [_gone, _folder, _link, _pipe])
def test_what_is_no_file_is_not_used(place, never_read, spoil):
    spoil(file_of(place))
    used, found, warning = search(place)
    assert (used, found) == (False, exact(place))
    assert "is not used" in warning


def test_the_file_of_another_collection_is_not_used(place, tmp_path, never_read):
    other = tmp_path / "other"
    make(other, clustered(55, NUM))
    kept(other)
    shutil.copy(file_of(other), file_of(place))
    used, found, warning = search(place)
    assert (used, found) == (False, exact(place))
    assert "its checksum differs" in warning


def test_damage_is_repaired_by_the_next_run(place):
    file = file_of(place)
    bad = bytearray(file.read_bytes())
    bad[len(bad) // 2] ^= 1
    file.write_bytes(bad)
    assert kept(place).num == NUM
    assert search(place)[0]


def _statement(**fields):
    def spoil(place):
        with Collection.open(place) as collection:
            said = json.loads(read_voucher(collection)[0].to_json())
        text = json.dumps(said | fields)
        change(place, ("UPDATE meta SET value = ? WHERE key = 'nearest'", (text.encode(),)))

    return spoil


def _raw(value):
    return lambda place: change(place, ("UPDATE meta SET value = ? WHERE key = 'nearest'", (value,)))


def _covers(value):
    return lambda place: change(place, ("UPDATE meta SET value = ? WHERE key = 'nearest_covers'", (value,)))


SPOILED = {
    "no JSON": _raw(b"\xff{"),
    "no object": _raw(b"[1]"),
    "a number": _raw(10**15),
    "deep": _raw(b"[" * 4000),
    "long": _raw(b" " * 5000),
    "another format": _statement(format=2),
    "a path": _statement(file="../../nearest.00000000.faiss"),
    "another spec": _statement(spec="0" * 64),
    "no size": _statement(num_bytes=0),
    "a huge size": _statement(num_bytes=2**60),
    "true": _statement(num=True),
    "text for a number": _statement(nprobe="9"),
    "too many lists": _statement(nprobe=10**6),
    "nothing asked": _statement(widen=0.0),
    "not a number": _statement(recall_10=float("nan")),
    "one field more": _statement(more=1),
    "another count": _statement(num=NUM - 1),
    "another number of lists": _statement(num_lists=64, nprobe=1),
    "another kind": _statement(refine=4),
    "a later FAISS": _statement(faiss="99.0.0"),
    "a watermark of text": _covers("1500"),
    "no watermark": lambda place: change(place, ("DELETE FROM meta WHERE key = 'nearest_covers'",)),
    "only a watermark": lambda place: change(place, ("DELETE FROM meta WHERE key = 'nearest'",)),
    "no trigger": lambda place: change(place, ("DROP TRIGGER nearest_covers",)),
    "another trigger": lambda place: change(
        place,
        ("DROP TRIGGER nearest_covers",),
        ("CREATE TRIGGER nearest_covers AFTER DELETE ON contents BEGIN SELECT 1; END",),
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_statement_that_is_not_whole_is_not_believed(place, name):
    SPOILED[name](place)
    used, found, warning = search(place)
    assert (used, found) == (False, exact(place))
    assert "→ glocal index" in warning
    with Collection.open(place) as collection:
        assert needed(collection, RULES_HERE) is not None


def test_after_a_statement_was_spoiled_the_next_run_makes_good(place):
    SPOILED["another trigger"](place)
    kept(place)
    assert search(place)[0]
    with Collection.open(place, writable=True) as collection:
        collection.hide([path_of(NUM - 1)])
        collection.drop_unused(missing_too=True)
        assert read_voucher(collection)[1] == NUM - 1


def test_a_statement_survives_being_written_and_read(made):
    with Collection.open(made) as collection:
        voucher, _ = read_voucher(collection)
    assert Voucher.from_json(voucher.to_json().encode()) == voucher


@pytest.mark.parametrize(
    ("version", "numbers"), [("1.15.1", (1, 15, 1)), ("1.9", (1, 9)), ("2.0.0rc1", (2, 0, 0)), ("none", ())]
)
def test_versions_are_compared_as_numbers(version, numbers):
    assert beside._release(version) == numbers


# ---------------------------------------------------------------------- without FAISS
@pytest.fixture
def without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)


def test_without_faiss_search_is_exact_and_nothing_is_made(place, without_faiss):
    assert search(place) == (False, exact(place), None)
    before = beside_of(place)
    with Collection.open(place, writable=True) as collection:
        put(collection, range(NUM, NUM + 100), clustered(3, 100))
        assert keep(collection, RULES_HERE) is None
        assert "pip install 'glocal[faiss]'" in search_line(collection, RULES_HERE)
        assert search_json(collection) is None
    assert beside_of(place) == before


def test_a_large_collection_is_told_what_to_install_and_a_small_one_is_not(empty, without_faiss):
    with Collection.open(empty) as collection:
        assert search_line(collection, RULES_HERE).endswith("→ pip install 'glocal[faiss]'  then glocal index PHOTOS")
        assert search_line(collection, RULES) == "exact: every picture is compared"


# ---------------------------------------------------------------------- commands
def test_info_says_how_it_is_searched(place, empty, capsys):
    assert main(["info", str(empty)]) == 0
    assert "search     exact: every picture is compared" in capsys.readouterr().out
    with Collection.open(place, writable=True) as collection:
        put(collection, range(NUM, NUM + 3), clustered(3, 3))
    assert main(["info", str(place)]) == 0
    line = next(each for each in capsys.readouterr().out.splitlines() if each.startswith("search"))
    assert line.startswith("search     IVF128,SQ8, 0 MB: finds ")
    assert line.endswith("% of the 100 most similar (200 probes); 3 newer pictures are compared one by one")
    assert main(["info", "--json", str(place)]) == 0
    told = json.loads(capsys.readouterr().out)["search"]
    assert (told["num"], told["newer"], told["factory"]) == (NUM, 3, "IVF128,SQ8")


def test_info_tells_of_a_file_that_is_missing(place):
    file_of(place).unlink()
    with Collection.open(place) as collection:
        line = search_line(collection, RULES_HERE)
    assert "it is missing" in line
    assert line.endswith("→ glocal index PHOTOS makes the nearest-neighbour file")


def tell(place, rules=RULES_HERE):
    said = []
    with Collection.open(place) as collection:
        code = cli.keep_nearest(collection, said.append, False, rules)
    return code, said


def test_after_a_run_it_is_made_and_measured_in_words(empty):
    code, said = tell(empty)
    assert code is None
    assert "1 500 pictures (there is none yet): IVF128,SQ8".replace(" ", "\N{NO-BREAK SPACE}", 1) in said[0]
    assert said[1].startswith("✓ 0 MB in ")
    assert "of the 10 and" in said[1]
    assert tell(empty) == (None, [])
    assert search(empty)[0]


def test_a_small_collection_is_left_alone(empty, monkeypatch):
    monkeypatch.setattr(cli, "keep", None)  # not even opened for writing
    assert tell(empty, RULES) == (None, [])


def test_another_writer_is_told_of_and_is_no_failure(empty):
    with Collection.open(empty, writable=True):
        code, said = tell(empty)
    assert code is None
    assert said[0].startswith("No nearest-neighbour file: This index is being written by process")


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_exit_code_and_leaves_nothing(empty, monkeypatch, number, expected):
    begins = cli._Narrator.begins

    def interrupt(self, need):
        begins(self, need)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(cli._Narrator, "begins", interrupt)
    code, said = tell(empty)
    assert code == expected
    assert said[-1].startswith("Stopped. All pictures are searchable")
    assert beside_of(empty) == []


def test_a_search_that_cannot_use_its_file_says_so(photos, tmp_path, capsys, monkeypatch):
    index = tmp_path / "index"
    assert main(["index", str(photos), "--index", str(index), "-q"]) == 0
    kept(index, Rules(exact_below=2, codes_from=10**6))
    assert main(["search", str(photos / "a/0.jpg"), "--index", str(index), "--json"]) == 0
    lists = json.loads(capsys.readouterr().out.splitlines()[0])
    file_of(index).unlink()
    assert main(["search", str(photos / "a/0.jpg"), "--index", str(index), "--json"]) == 0
    exactly = json.loads(capsys.readouterr().out.splitlines()[0])
    assert "it is missing" in json.dumps(exactly)
    assert "it is missing" not in json.dumps(lists)


def test_in_python_too_it_is_made_after_a_run_and_its_failure_is_none_of_the_runs(photos, tmp_path, monkeypatch):
    asked = []

    def keep_and_fail(collection):
        asked.append(collection.counts()["indexed"])
        collection.labels = "folder"  # it is open for writing
        raise StoreError("no")

    monkeypatch.setattr("glocal.photo_index.keep", keep_and_fail)
    with Index.create(tmp_path / "index", "rootsift") as index:
        report = index.add(photos)
        assert asked == [report.indexed]
        index.add(photos, nearest=False)
        assert asked == [report.indexed]
