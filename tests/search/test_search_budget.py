"""Verification that may take only so long."""

import itertools
import math

import numpy as np
import pytest

from glocal.errors import ConfigError
from glocal.photo_index import Index
from glocal.search.verifying import CHUNK_PER_THREAD, CandidateVerifier
from glocal.store.collection import Collection
from tests.conftest import save, texture
from tests.search.chosen_pictures import asked, build, make_files, searcher_of

COUNT = 60


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Ten pictures, of which two show the query's object."""
    folder = tmp_path_factory.mktemp("library")
    for seed in range(8):
        save(folder / f"photos/{seed}.jpg", texture(seed), quality=92)
    for crop in (10, 20):
        save(folder / f"photos/part{crop}.jpg", texture(0)[crop:], quality=92)
    save(folder / "query.jpg", texture(0)[20:220, 30:300], quality=92)
    with Index.create(folder / "index") as index:
        index.add(folder / "photos")
        yield index


@pytest.fixture(scope="module")
def query(index):
    return index.searcher.describe(index.directory.parent / "query.jpg")


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    """Of pictures that have nothing in common with the query, and of a model without calibration."""
    place = build(tmp_path_factory.mktemp("chosen") / "index", make_files(COUNT))
    with Collection.open(place) as collection, searcher_of(collection) as searcher:
        yield searcher


@pytest.fixture
def slow(monkeypatch):
    """Every candidate takes 10 ms by a clock that nothing else moves; gives the names in the order of comparison."""
    now, compared = [100.0], []
    verify = CandidateVerifier.verify

    def slowly(self, local, names):
        now[0] += 0.01 * len(names)
        compared.append(list(names))
        return verify(self, local, names)

    monkeypatch.setattr(CandidateVerifier, "verify", slowly)
    monkeypatch.setattr("glocal.search.verifying.time.perf_counter", lambda: now[0])
    return compared


def facts(result):
    return [(hit.id, hit.rank, hit.similarity, hit.inliers, hit.band, hit.probability) for hit in result]


def test_no_time_verifies_nothing_and_leaves_the_order_of_similarity(index, query):
    result = index.searcher.find(query, budget_s=0)
    assert [hit.id for hit in result] == [hit.id for hit in index.searcher.find(query, rerank="none")]
    assert (result.num_verified, result.num_candidates) == (0, 10)
    assert all(hit.verification is None for hit in result)
    assert "stopped after 0 of 10 candidates: the time for verification (0 ms) was up" in result.warnings


def test_time_that_is_not_used_up_changes_nothing(index, query):
    free, bounded = index.searcher.find(query), index.searcher.find(query, budget_s=3600)
    assert facts(bounded) == facts(free)
    assert bounded.verdict == "match"
    assert (bounded.warnings, bounded.num_verified) == (free.warnings, free.num_verified) == ((), 10)


@pytest.mark.parametrize("budget_ms", [1, 40, 75, 200, 410])
def test_the_best_candidates_are_verified_until_time_is_up(searcher, slow, budget_ms):
    by_similarity = [hit.id for hit in searcher.find(asked(), 100, "none")]
    result = searcher.find(asked(), 100, budget_s=budget_ms / 1000)
    step = CHUNK_PER_THREAD * searcher._options.threads
    expected = step * math.ceil(budget_ms / (10 * step))
    done = list(itertools.chain(*slow))
    assert done == by_similarity[:expected]
    assert {hit.id for hit in result if hit.verification} == set(done)
    assert result.num_verified == expected
    assert result.warnings[-1] == (
        f"stopped after {expected} of {result.num_searched} candidates: "
        f"the time for verification ({budget_ms} ms) was up"
    )


def test_what_is_left_comes_after_the_verified_by_similarity(searcher, slow):
    result = searcher.find(asked(), 100, budget_s=0.2)
    assert len(slow) == 5
    whole = {hit.id: hit for hit in searcher.find(asked(), 100)}
    rank = {hit.id: n for n, hit in enumerate(searcher.find(asked(), 100, "none"))}
    verified = sorted((hit.id for hit in result if hit.verification), key=lambda i: (-whole[i].inliers, rank[i]))
    left = sorted((hit.id for hit in result if not hit.verification), key=rank.get)
    assert [hit.id for hit in result] == verified + left
    assert [hit.inliers for hit in result][: len(verified)] == [whole[name].inliers for name in verified]


def test_half_of_the_depth_in_time_is_searched_again_and_then_stopped(index, query, slow):
    """Found for sure in the first half: the second half is what the wider search found, as far as time allows."""
    step = CHUNK_PER_THREAD * index.searcher._options.threads
    free = index.searcher.find(query, depth=2 * step)
    slow.clear()
    result = index.searcher.find(query, depth=2 * step, budget_s=0.01 * step + 0.001)
    assert [len(names) for names in slow] == [step, step]
    assert facts(result) == facts(free)
    slow.clear()
    short = index.searcher.find(query, depth=2 * step, budget_s=0.01 * step - 0.001)
    assert [len(names) for names in slow] == [step]
    assert (short.num_verified, free.num_verified) == (step, 2 * step)
    assert short.verdict == "match"


def test_views_share_the_time(searcher, slow):
    views = [asked(1), asked(2), asked(3)]
    step = CHUNK_PER_THREAD * searcher._options.threads
    result = searcher.find(views, 100, depth=90, budget_s=0)
    assert result.num_verified == 0
    assert result.warnings[-1].startswith("stopped after 0 of 90 candidates")
    best = [[hit.id for hit in searcher.find(view, step, "none")] for view in views]
    slow.clear()
    searcher.find(views, 100, depth=90, budget_s=0.03 * step - 0.003)  # a third is not enough for a second chunk
    assert slow == best


def test_similarity_alone_has_nothing_to_stop(searcher):
    assert searcher.find(asked(), rerank="none", budget_s=0).warnings == searcher.find(asked(), rerank="none").warnings
    plain = asked(keypoints=3)
    assert not [text for text in searcher.find(plain, budget_s=0).warnings if "stopped" in text]


@pytest.mark.parametrize("budget_s", [-0.001, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(searcher, budget_s):
    with pytest.raises(ConfigError, match=r"the time for verification must be 0 s or more, not"):
        searcher.find(asked(), budget_s=budget_s)


def test_without_any_time_the_hits_are_those_by_similarity(searcher):
    first, last = (searcher.find(asked(), 100, way, budget_s=0) for way in ("none", "geometric"))
    assert facts(first) == facts(last)
    assert first.warnings == tuple(text for text in last.warnings if "stopped" not in text)
    assert np.all(np.diff([hit.similarity for hit in last]) <= 0)
