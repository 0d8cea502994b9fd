"""Answers of inverted lists against those of exact search, over changes of the collection."""

import dataclasses
import shutil
import subprocess
import sys

import faiss
import numpy as np
import pytest

from glocal.errors import ShapeError
from glocal.index import nearest
from glocal.index.build import keep, needed
from glocal.index.choice import Rules, choose
from glocal.index.exact import ExactIndex, best_of
from glocal.index.nearest import Nearest
from glocal.index.voucher import read_voucher
from glocal.store.collection import Collection
from glocal.types import Descriptors
from tests.index.made_up import DIM, clustered, make, name_of, path_of, put, unit

NUM = 3000
BYTES = Rules(exact_below=1000, codes_from=10**6)
CODES = Rules(exact_below=1000, codes_from=1000)
MEMORY = {"bytes": (BYTES, 2**40), "codes, refined": (CODES, 2**40), "codes": (CODES, 4 * 150_000)}
HELD = 256 << 20


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Training on this little is slower with more, above all where other tests run beside it."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture(scope="module", params=list(MEMORY))
def made(request, tmp_path_factory):
    """A collection with lists of one type; read only."""
    place = tmp_path_factory.mktemp("made") / "index"
    make(place, clustered(1, NUM))
    rules, memory = MEMORY[request.param]
    with Collection.open(place, writable=True) as collection:
        keep(collection, rules, memory_bytes=memory)
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy, to be changed."""
    return shutil.copytree(made, tmp_path / "index")


def queries(seed=7, count=100):
    return Descriptors(tuple(f"q{i}" for i in range(count)), clustered(seed, count))


def answers(collection, asked, k, held=HELD):
    searched = Nearest(collection)
    with collection.snapshot():
        searched.refresh(held)
        assert searched.uses_lists
        return searched.search(asked, k)


def exact(collection, asked, k):
    return ExactIndex(collection.descriptors()).search(asked, k)


def recall(found, expected):
    return np.mean([len(set(a.ids) & set(b.ids)) / len(b.ids) for a, b in zip(found, expected, strict=True)])


def test_the_three_types_are_what_they_are_meant_to_be():
    factories = [choose(NUM, DIM, memory, rules).factory for rules, memory in MEMORY.values()]
    assert factories == ["IVF256,SQ8", "IDMap,RR,IVF64,PQ4fs,Refine(SQ8)", "IVF256,PQ16x4fs"]


@pytest.mark.parametrize("k", [1, 10, 100, 500])
def test_nearly_all_of_the_most_similar_are_found(made, k):
    with Collection.open(made) as collection:
        found, expected = answers(collection, queries(), k), exact(collection, queries(), k)
    assert recall(found, expected) >= 0.97
    assert all(len(a.ids) == k for a in found)


def test_similarities_are_those_of_exact_search(made):
    with Collection.open(made) as collection:
        for a, b in zip(answers(collection, queries(), 50), exact(collection, queries(), 50), strict=True):
            expected = dict(zip(b.ids, b.similarities.tolist(), strict=True))
            assert [expected.get(n, s) for n, s in zip(a.ids, a.similarities.tolist(), strict=True)] == pytest.approx(
                a.similarities.tolist(), abs=1e-6
            )
            assert a.query_id == b.query_id
            assert a.similarities.dtype == np.float32


def test_asked_for_everything_they_find_everything(made):
    with Collection.open(made) as collection:
        asked = queries(count=3)
        for a, b in zip(answers(collection, asked, NUM + 9), exact(collection, asked, NUM + 9), strict=True):
            assert set(a.ids) == set(b.ids)
            assert np.allclose(a.similarities, b.similarities, atol=1e-6)


def test_of_a_query_turned_four_ways_the_best_counts(made):
    with Collection.open(made) as collection:
        hits = []
        for seed in range(20):
            turned = queries(seed + 100, 4)
            ours, theirs = (best_of(way(collection, turned, 10), 10, 0.05) for way in (answers, exact))
            hits.append(len(set(ours.ids) & set(theirs.ids)))
    assert np.mean(hits) >= 9.7


def test_equal_similarities_are_ordered_by_id(place):
    vector = unit(np.random.default_rng(5).standard_normal((1, DIM)))
    with Collection.open(place, writable=True) as collection:
        put(collection, range(NUM, NUM + 8), np.repeat(vector, 8, axis=0))
        keep(collection, dataclasses.replace(BYTES, max_newer=0))
        (found,) = answers(collection, Descriptors(("q",), vector), 5)
    assert found.ids == tuple(sorted(name_of(n) for n in range(NUM, NUM + 8))[:5])


def test_no_query_has_no_answer_and_one_of_another_length_is_refused(made):
    with Collection.open(made) as collection:
        assert answers(collection, Descriptors((), np.empty((0, DIM), np.float32)), 5) == []
        with pytest.raises(ShapeError, match="7 numbers against descriptors of 32"):
            answers(collection, Descriptors(("q",), unit(np.ones((1, 7)))), 5)


# ---------------------------------------------------------------------- changes
@pytest.mark.parametrize("held", [HELD, 0])
def test_what_was_added_is_found_at_once_and_after_it_is_in_the_lists(place, held):
    fresh = queries(9, 30)
    with Collection.open(place) as reader:
        searched = Nearest(reader)
        searched.refresh(held)
        with Collection.open(place, writable=True) as writer:
            put(writer, range(NUM, NUM + 30), fresh.vectors)
        searched.refresh(held)
        assert searched.uses_lists
        assert [found.ids[0] for found in searched.search(fresh, 3)] == [name_of(NUM + i) for i in range(30)]
        before = searched.search(queries(), 10)
        with Collection.open(place, writable=True) as writer:
            assert needed(writer, BYTES) is None
            made = keep(writer, dataclasses.replace(BYTES, max_newer=29))
            assert made.num == NUM + 30
        searched.refresh(held)
        assert [found.ids[0] for found in searched.search(fresh, 3)] == [name_of(NUM + i) for i in range(30)]
        assert recall(searched.search(queries(), 10), before) >= 0.97


def test_what_is_hidden_is_gone_at_once_and_what_is_shown_again_is_back(place):
    asked = queries(count=20)
    with Collection.open(place) as reader:
        searched = Nearest(reader)
        searched.refresh(HELD)
        first = [found.ids[0] for found in searched.search(asked, 5)]
        paths = [reader.paths(name)[0] for name in set(first)]
        with Collection.open(place, writable=True) as writer:
            writer.hide(paths)
        searched.refresh(HELD)
        found = searched.search(asked, 5)
        assert not set(first) & {name for each in found for name in each.ids}
        assert all(len(each.ids) == 5 for each in found)
        assert searched.count() == NUM - len(paths)
        with Collection.open(place, writable=True) as writer:
            writer.show(paths)
        searched.refresh(HELD)
        assert [found.ids[0] for found in searched.search(asked, 5)] == first


@pytest.mark.parametrize("left", [NUM // 2, NUM // 20, 3])
def test_however_many_are_hidden_as_many_as_there_are_come_out(place, left):
    with Collection.open(place, writable=True) as collection:
        stay = set(np.random.default_rng(3).choice(NUM, left, replace=False).tolist())
        collection.hide([path_of(n) for n in range(NUM) if n not in stay])
        found, expected = answers(collection, queries(), 20), exact(collection, queries(), 20)
    assert [len(each.ids) for each in found] == [min(20, left)] * 100
    assert recall(found, expected) >= 0.97


def test_if_all_that_is_near_is_hidden_everything_is_compared(place, monkeypatch):
    # A place of which every photo is gone: all candidates of a query are hidden.
    asked = queries(count=1)
    with Collection.open(place, writable=True) as collection:
        gone = [collection.paths(name)[0] for name in exact(collection, asked, 600)[0].ids]
        collection.hide(gone)
        expected = exact(collection, asked, 10)[0].ids
        monkeypatch.setattr(nearest, "GROWTH", (1,))
        assert answers(collection, asked, 10)[0].ids == expected
        monkeypatch.undo()  # looking further finds most of them too
        assert len(set(answers(collection, asked, 10)[0].ids) & set(expected)) >= 8


def test_everything_hidden_leaves_nothing(place):
    with Collection.open(place, writable=True) as collection:
        collection.hide([path_of(n) for n in range(NUM)])
        assert [found.ids for found in answers(collection, queries(count=2), 5)] == [(), ()]
        put(collection, [NUM], clustered(11, 1))
        assert [found.ids for found in answers(collection, queries(count=2), 5)] == [(name_of(NUM),)] * 2


def test_a_number_that_is_given_again_does_not_mean_the_picture_it_meant(place):
    vectors = clustered(1, NUM)
    new = clustered(12, 1)
    with Collection.open(place, writable=True) as collection:
        # The two newest are forgotten; another takes the number of the one, and the other comes back under its own.
        collection.hide([path_of(NUM - 2), path_of(NUM - 1)])
        collection.drop_unused(missing_too=True)
        put(collection, [NUM], new)
        put(collection, [NUM - 1], vectors[-1:])
        _, covers = read_voucher(collection)
        assert covers == NUM - 2
        # One by one: a query is compared with the candidates of those that are asked with it, too.
        asked = Descriptors(("new", "back", "gone"), np.concatenate([new, vectors[-1:], vectors[-2:-1]]))
        found = [
            answers(collection, Descriptors((name,), vector[None]), 3)[0].ids
            for name, vector in zip(asked.ids, asked.vectors, strict=True)
        ]
        assert [found[0][0], found[1][0]] == [name_of(NUM), name_of(NUM - 1)]
        assert name_of(NUM - 2) not in found[2]
        assert [each.ids for each in answers(collection, asked, NUM)] == [
            each.ids for each in exact(collection, asked, NUM)
        ]


def test_deleting_what_is_newer_than_the_lists_leaves_them_whole(place):
    with Collection.open(place, writable=True) as collection:
        put(collection, range(NUM, NUM + 5), clustered(13, 5))
        collection.hide([path_of(n) for n in range(NUM, NUM + 5)])
        collection.drop_unused(missing_too=True)
        assert read_voucher(collection)[1] == NUM


def test_forgetting_everything_and_starting_again_finds_what_is_new(place):
    with Collection.open(place, writable=True) as collection:
        collection.hide([path_of(n) for n in range(NUM)])
        collection.drop_unused(missing_too=True)
        assert read_voucher(collection)[1] == 0
        put(collection, range(NUM, NUM + 50), clustered(14, 50))
        asked = queries(count=5)
        assert [a.ids for a in answers(collection, asked, 9)] == [b.ids for b in exact(collection, asked, 9)]


def test_this_layer_loads_neither_torch_nor_faiss():
    code = "import sys, glocal.index.nearest, glocal.index.build, glocal.index.status; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "faiss"} & set(modules)
