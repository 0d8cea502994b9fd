import asyncio
import contextlib
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from glocal.photo_index import Index
from glocal.search import PictureBytes
from glocal.web.engine import Engine
from glocal.web.library import Library
from glocal.web.problems import Problem
from glocal.web.queries import QueryStore
from glocal.web.settings import Settings
from tests.conftest import save, texture


def search(client, file, **params):
    return client.post("/v1/search", files={"image": file.read_bytes()}, **params)


def children():
    """Processes that this one has started, and that have not ended."""
    found = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the thread has ended
            found += [int(number) for number in (task / "children").read_text().split()]
    return found


@contextlib.contextmanager
def running(collection, **changes):
    """An engine whose one index is ready at once; what it is asked to do needs no bench."""
    settings = replace(Settings(num_searchers=1, queue_length=1), **changes)
    library = Library([collection / "photos/.glocal"], settings)
    engine = Engine(library, settings)
    engine._bench = lambda seat, index: None
    index = library.get()
    index.state = "ready"
    try:
        yield engine, index
    finally:
        engine.close()
        library.close()


def code_of(outcome):
    return outcome.code if isinstance(outcome, Problem) else outcome


@pytest.mark.parametrize(("asked", "refused"), [(1, 0), (2, 0), (3, 1), (6, 4)])
def test_one_is_worked_on_one_waits_and_the_next_is_refused_at_once(collection, asked, refused):
    gate = threading.Event()
    with running(collection) as (engine, index):

        async def go():
            tasks = [asyncio.create_task(engine.run(index, lambda _: gate.wait(10))) for _ in range(asked)]
            await asyncio.sleep(0.1)
            early = sum(task.done() for task in tasks)
            assert engine.num_running == 1
            assert engine.num_waiting == min(asked, 2) - 1
            gate.set()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            return early, [code_of(outcome) for outcome in outcomes]

        early, outcomes = asyncio.run(go())
        assert early == refused
        assert outcomes.count("overloaded") == refused
        assert outcomes.count(True) == asked - refused
        assert Problem("overloaded", "").headers["Retry-After"]


def test_nobody_waits_for_ever_and_what_goes_on_keeps_its_place(collection):
    gate = threading.Event()
    with running(collection, request_deadline_s=0.2) as (engine, index):

        async def go():
            started = time.monotonic()
            both = [engine.run(index, lambda _: gate.wait(10)) for _ in range(2)]
            outcomes = await asyncio.gather(*both, return_exceptions=True)
            assert [code_of(outcome) for outcome in outcomes] == ["overloaded", "overloaded"]
            assert time.monotonic() - started < 2
            assert engine.num_running == 1  # its thread is not free
            gate.set()
            await asyncio.sleep(0.1)
            assert engine.num_running == 0
            assert await engine.run(index, lambda _: "done") == "done"

        asyncio.run(go())


def test_one_who_goes_away_while_waiting_leaves_the_queue(collection):
    gate, called = threading.Event(), []
    with running(collection) as (engine, index):

        async def go():
            first = asyncio.create_task(engine.run(index, lambda _: gate.wait(10)))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(engine.run(index, lambda _: called.append(2)))
            await asyncio.sleep(0.05)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            assert engine.num_waiting == 0
            gate.set()
            await first

        asyncio.run(go())
    assert called == []


def test_an_index_that_is_not_ready_is_not_searched(collection):
    with running(collection) as (engine, index):
        index.state, index.reason = "loading", "its model is being loaded"
        with pytest.raises(Problem, match="being loaded") as refused:
            asyncio.run(engine.run(index, lambda _: None))
        assert (refused.value.code, refused.value.status) == ("index_loading", 503)


def test_under_overload_answers_are_right_or_say_when_to_come_again(start, collection):
    with start(num_searchers=1, queue_length=2) as client, ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: search(client, collection / "query.jpg"), range(24)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 503}
        for answer in answers:
            if answer.status_code == 503:
                assert answer.json()["code"] == "overloaded"
                assert int(answer.headers["retry-after"]) > 0
            else:
                assert answer.json()["results"][0]["name"] == "copy.jpg"
        assert search(client, collection / "query.jpg").status_code == 200
        assert client.get("/livez").elapsed.total_seconds() < 1


def test_answers_are_the_same_from_many_threads(client, collection):
    alone = search(client, collection / "query.jpg").json()["results"]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda _: search(client, collection / "query.jpg").json()["results"], range(8)))
    for results in together:
        assert [{**result, "matches_url": None} for result in results] == [
            {**result, "matches_url": None} for result in alone
        ]


def test_workers_that_are_killed_cost_no_query(start, collection):
    before = set(children())
    with start(num_searchers=1) as client:
        assert search(client, collection / "query.jpg").status_code == 200
        for _ in range(3):
            killed = set(children()) - before
            assert killed
            for number in killed:
                os.kill(number, signal.SIGKILL)
            started = time.monotonic()
            assert search(client, collection / "query.jpg").status_code == 200
            assert time.monotonic() - started < 5


def test_a_worker_that_is_killed_at_work_gets_the_same_picture_again(start, collection):
    before = set(children())
    with start(num_searchers=1) as client, ThreadPoolExecutor(1) as threads:
        assert search(client, collection / "query.jpg").status_code == 200
        (worker,) = set(children()) - before
        os.kill(worker, signal.SIGSTOP)
        answer = threads.submit(search, client, collection / "query.jpg")
        time.sleep(0.3)
        os.kill(worker, signal.SIGKILL)
        assert answer.result().status_code == 200


def test_a_picture_that_takes_too_long_is_refused_and_the_next_is_answered(start, collection):
    before = set(children())
    with start(num_searchers=1, decode_timeout_s=1.0) as client, ThreadPoolExecutor(1) as threads:
        search(client, collection / "query.jpg")
        (worker,) = set(children()) - before
        os.kill(worker, signal.SIGSTOP)  # as a decoder that does not come to an end
        answer = threads.submit(search, client, collection / "query.jpg").result()
        assert (answer.status_code, answer.json()["code"]) == (422, "timeout")
        started = time.monotonic()
        assert search(client, collection / "stranger.jpg").status_code in (200, 422)
        assert time.monotonic() - started < 5
        assert worker not in children()


def test_no_worker_is_left_behind(start, collection):
    before = set(children())
    with start() as client:
        search(client, collection / "query.jpg")
        assert set(children()) > before
    assert set(children()) == before


# ---------------------------------------------------------------------- indexes that change
@pytest.fixture
def own(tmp_path, collection):
    """A folder of photos with an index of its own."""
    shutil.copytree(collection / "photos", tmp_path / "photos", ignore=shutil.ignore_patterns(".glocal", "copy.jpg"))
    with Index.create(tmp_path / "index") as index:
        index.add(tmp_path / "photos")
    return tmp_path


def asked_until(client, file, name, seconds=2.0):
    """Answers until one begins with a picture of some name, or time is up."""
    ends = time.monotonic() + seconds
    while True:
        answer = search(client, file)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        if found["results"][0]["name"] == name or time.monotonic() > ends:
            return found


def test_pictures_that_are_added_by_another_process_are_found_within_two_seconds(own, collection):
    from tests.web.conftest import served  # noqa: PLC0415 - not collected as a module of its own

    with served([own / "index"]) as client:
        before = search(client, collection / "query.jpg").json()
        (own / "photos/added.jpg").write_bytes((collection / "query.jpg").read_bytes())
        with Index.open(own / "index") as index:
            index.add(own / "photos")
        after = asked_until(client, collection / "query.jpg", "added.jpg")
        assert after["results"][0]["name"] == "added.jpg"
        assert after["index"]["size"] == before["index"]["size"] + 1
        assert after["index"]["version"] > before["index"]["version"]


def test_an_index_that_is_swapped_while_it_is_asked_fails_no_query(own, collection):
    from tests.web.conftest import served  # noqa: PLC0415 - not collected as a module of its own

    save(own / "others/only.jpg", texture(0, 480, 360), quality=90)
    statuses, stop = [], threading.Event()
    with served([own / "index"], queue_length=32) as client, ThreadPoolExecutor(3) as threads:

        def ask():
            while not stop.is_set():
                statuses.append(search(client, collection / "query.jpg").status_code)

        asking = [threads.submit(ask) for _ in range(3)]
        try:
            for turn in range(4):
                with Index.create(own / f"next{turn}") as index:
                    index.add(own / ("others" if turn % 2 == 0 else "photos"))
                os.rename(own / "index", own / f"old{turn}")
                time.sleep(0.05)  # nothing is in its place for a moment
                os.rename(own / f"next{turn}", own / "index")
                expected = "only.jpg" if turn % 2 == 0 else "thing0/front.jpg"
                assert asked_until(client, collection / "query.jpg", expected)["results"][0]["name"] == expected
        finally:
            stop.set()
        for each in asking:
            each.result()
        assert len(statuses) > 10
        assert set(statuses) == {200}
        assert client.get("/readyz").status_code == 200


def test_an_index_that_is_replaced_by_a_damaged_one_is_searched_as_it_was(own, collection):
    from tests.web.conftest import served  # noqa: PLC0415 - not collected as a module of its own

    with served([own / "index"], num_searchers=1) as client:
        assert search(client, collection / "query.jpg").status_code == 200
        damaged = own / "index/glocal.db.new"
        damaged.write_bytes(b"no database" * 1000)
        os.replace(damaged, own / "index/glocal.db")
        assert search(client, collection / "query.jpg").status_code in (200, 503)


def test_an_index_that_is_not_there_is_not_ready_until_it_is(tmp_path, own):
    from tests.web.conftest import served  # noqa: PLC0415 - not collected as a module of its own

    with served([tmp_path / "later"]) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text
        os.rename(own / "index", tmp_path / "later")
        ends = time.monotonic() + 10
        while client.get("/readyz").status_code != 200 and time.monotonic() < ends:
            time.sleep(0.1)
        assert client.get("/readyz").status_code == 200


def test_an_empty_index_is_ready_and_says_so(tmp_path, collection):
    from tests.web.conftest import served  # noqa: PLC0415 - not collected as a module of its own

    Index.create(tmp_path / "empty").close()
    with served([tmp_path / "empty"]) as client:
        assert client.get("/readyz").status_code == 200
        for headers in ({}, {"Accept": "text/event-stream"}):
            answer = search(client, collection / "query.jpg", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (409, "index_empty")


def test_ids_of_indexes_are_made_safe_and_unlike(tmp_path):
    places = [tmp_path / name for name in ("Meine Fotos/.glocal", "a/b", "c/b", "../..", "x" * 200, "é/.glocal")]
    library = Library(places, Settings())
    names = [index.id for index in library.indexes]
    assert names[:3] == ["Meine-Fotos", "b", "b-2"]
    assert all(0 < len(name) <= 64 for name in names)
    assert len(set(names)) == len(names)
    assert library.get(None).id == "Meine-Fotos"


# ---------------------------------------------------------------------- queries
@pytest.fixture(scope="module")
def described(client, collection):
    with Index.open(collection / "photos/.glocal") as index:
        yield index.searcher.describe(collection / "query.jpg"), index.collection.spec


def test_the_newest_queries_are_remembered_within_bounds_of_number_bytes_and_time(described):
    features, spec = described

    def put(store, size=1000):
        return store.put("photos", PictureBytes(b"x" * size), False, features, spec)

    store = QueryStore(2, 1 << 30, 60)
    first, second = put(store), put(store)
    assert store.get(first.id) is first  # and now it is the newer one
    third = put(store)
    assert store.get(third.id) is third
    assert store.get(first.id) is first
    with pytest.raises(Problem, match="not remembered"):
        store.get(second.id)

    few_bytes = QueryStore(10, 3 * first.num_bytes, 60)
    kept = [put(few_bytes) for _ in range(4)]
    assert len(few_bytes) == 3
    few_bytes.keep_picture(kept[3], "large", b"y" * first.num_bytes)
    assert len(few_bytes) == 2

    brief = QueryStore(10, 1 << 30, 0.05)
    gone = put(brief)
    time.sleep(0.1)
    with pytest.raises(Problem, match="not remembered"):
        brief.get(gone.id)
    assert len({first.id, second.id, third.id}) == 3
