"""Indexing beside the searches: followed, stopped, killed, and never twice on one index."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from glocal.store.collection import Collection
from glocal.store.lock import WriterLock
from glocal.web.indexing import NICENESS, Order
from tests.conftest import save, texture
from tests.web.served import Served, events, make_index, problem, until

MANY = 40
"""More than one process reads while a test looks twice."""


@pytest.fixture
def small(tmp_path):
    for seed in range(2):
        save(tmp_path / f"photos/{seed}.jpg", texture(seed, 160, 120))
    make_index(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def one_reader(monkeypatch):
    """Jobs read photos one by one, on a large machine too."""
    monkeypatch.setattr("glocal.web.jobs.os.sched_getaffinity", lambda _: {0})


@pytest.fixture
def served(small):
    with Served(small / ".glocal") as served:
        yield served


def add_many(folder) -> None:
    for seed in range(MANY):
        save(folder / f"{1000 + seed}.jpg", texture(1000 + seed, 320, 240))


def jobs_of(served):
    return served.service.jobs


def running(served, started):
    """The job of an answer, once its process has begun to read photos."""
    job = jobs_of(served).get(started.json()["job"])
    until(lambda: job.total > 0 or job.is_over, 60)
    assert job.state == "running"
    return job


def held(served, started):
    """The same; its process makes no step until it is told to go on."""
    job = running(served, started)
    os.kill(job.process.pid, signal.SIGSTOP)
    return job


def test_an_update_finds_what_is_new_and_is_followed_to_its_end(served, small):
    save(small / "new.jpg", texture(7, 160, 120))
    (small / "empty.jpg").touch()
    (small / "0.jpg").unlink()
    started = served.post("/v1/indexes/photos/update")
    assert started.status_code == 202
    told = events(served.get(f"/v1/jobs/{started.json()['job']}/events").text)
    assert [name for name, _ in told[:-1]] == ["progress"] * (len(told) - 1)
    name, last = told[-1]
    assert name == "end"
    assert last["state"] == "done"
    assert (last["done"], last["total"], last["num_skipped"], last["indexed"]) == (2, 2, 1, 2)
    assert last["skipped"] == [{"path": "empty.jpg", "reason": "empty"}]
    assert last["error"] is None
    assert served.get(f"/v1/jobs/{last['job']}").json() == last
    assert served.get("/v1/jobs").json() == {"jobs": [last]}
    assert served.get("/v1/indexes/photos").json()["counts"] == {"indexed": 2, "missing": 1, "rejected": 1}


def test_the_options_of_an_update_are_those_of_the_command(served, small):
    (small / "0.jpg").unlink()
    last = served.finish(served.post("/v1/indexes/photos/update", json={"prune": True}))
    assert last["state"] == "done"
    assert served.get("/v1/indexes/photos").json()["counts"]["missing"] == 0
    problem(served.post("/v1/indexes/photos/update", json={"prone": True}), 400, "invalid_params")


def test_one_job_of_an_index_at_a_time_and_searches_go_on(served, small):
    served.start()
    add_many(small)
    query = (small / "1.jpg").read_bytes()
    job = held(served, served.post("/v1/indexes/photos/update"))
    told = problem(served.post("/v1/indexes/photos/update"), 409, "job_running")
    assert "GET /v1/jobs" in told["hint"]
    assert served.get("/v1/indexes/photos").json()["job"] == job.id
    assert served.post("/v1/search", files={"image": query}).json()["verdict"] == "match"
    assert os.getpriority(os.PRIO_PROCESS, job.process.pid) == NICENESS
    assert job.state == "running"
    os.kill(job.process.pid, signal.SIGCONT)


def test_a_stopped_job_keeps_what_it_has_saved_and_the_next_one_continues(served, small):
    add_many(small)
    job = running(served, served.post("/v1/indexes/photos/update"))
    until(lambda: job.done > 5)
    assert served.ask("DELETE", f"/v1/jobs/{job.id}").status_code == 200
    until(lambda: job.is_over)
    assert job.state == "stopped"
    indexed = served.get("/v1/indexes/photos").json()["counts"]["indexed"]
    assert 2 + 5 < indexed < 2 + MANY
    again = served.finish(served.post("/v1/indexes/photos/update"))
    assert again["state"] == "done"
    assert (again["total"], again["indexed"]) == (2 + MANY - indexed, 2 + MANY)


def test_a_killed_job_has_failed_and_leaves_an_index_that_can_be_updated(served, small):
    add_many(small)
    job = running(served, served.post("/v1/indexes/photos/update"))
    os.kill(job.process.pid, signal.SIGKILL)
    until(lambda: job.is_over)
    state = served.get(f"/v1/jobs/{job.id}").json()
    assert state["state"] == "failed"
    assert state["error"]["code"] == "internal_error"
    assert "-9" in state["error"]["detail"]
    assert served.finish(served.post("/v1/indexes/photos/update"))["indexed"] == 2 + MANY


def test_a_job_that_cannot_write_says_why(served, small):
    with WriterLock(small / ".glocal"):
        last = served.finish(served.post("/v1/indexes/photos/update"))
    assert last["state"] == "failed"
    assert last["error"]["code"] == "job_running"
    assert f"process {os.getpid()}" in last["error"]["detail"]
    assert str(small) not in json.dumps(last)


def test_a_folder_that_is_not_there_is_no_reason_to_hide_its_photos(small, tmp_path):
    place = make_index(small, tmp_path / "index")
    small.rename(tmp_path / "unmounted")
    with Served(place) as served:
        told = problem(served.post("/v1/indexes/index/update"), 409, "not_supported")
        assert "folder" in told["detail"]
        assert served.get("/v1/indexes/index").json()["counts"]["indexed"] == 2


def test_a_waiting_job_that_is_stopped_never_starts(served, small, tmp_path):
    add_many(small)
    save(tmp_path / "other/1.jpg", texture(1))
    other = served.service.library.add(make_index(tmp_path / "other"))
    first = held(served, served.post("/v1/indexes/photos/update"))
    second = jobs_of(served).update(other)
    assert served.get(f"/v1/jobs/{second.id}").json()["state"] == "queued"
    assert served.ask("DELETE", f"/v1/jobs/{second.id}").json()["state"] == "stopped"
    assert first.state == "running"
    assert second.process is None
    os.kill(first.process.pid, signal.SIGCONT)


def test_jobs_end_with_the_service_and_have_saved_their_work(small):
    add_many(small)
    with Served(small / ".glocal") as served:
        job = running(served, served.post("/v1/indexes/photos/update"))
        until(lambda: job.done > 5)
        process = job.process
    assert process.returncode == 143
    assert job.state == "stopped"
    with contextlib.closing(Collection.open(small / ".glocal")) as index:
        assert index.counts()["indexed"] > 2 + 5


def test_the_process_of_a_job_ends_when_nobody_listens_any_more(small):
    add_many(small)
    order = Order(str(small / ".glocal"), str(small), 1, 10.0, 1_000_000)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "glocal.web.indexing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdin.write(order.to_line())
        child.stdin.close()
        assert json.loads(child.stdout.readline())["total"] == MANY
        child.stdout.close()
        assert child.wait(30) == 1
    WriterLock(small / ".glocal").acquire()


def test_a_job_that_nobody_knows_is_a_problem(served):
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
        problem(served.ask(method, f"/v1/jobs/j_none{path}"), 404, "job_not_found")
    problem(served.get("/v1/jobs/..%2F..%2Fetc"), 404, "not_found")
    problem(served.get("/v1/jobs/none"), 400, "invalid_params")
