"""The Ray engine: its rules on a cluster of fakes, then on two real nodes of which some are killed."""

import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import glocal
from glocal.errors import BackendUnavailable, ConfigError, ImageError, SpecMismatch
from glocal.extract import ray_cluster, ray_pool
from glocal.extract.batching import ModelSource
from glocal.extract.ray_actor import Assignment, Describer, Failure, Hello, Refusal
from glocal.extract.ray_pool import MOST_TRIES, RayPool
from glocal.extract.requests import Answer, Request
from glocal.models.rootsift import RootSift
from glocal.photo_index import Index
from glocal.store.collection import Collection
from tests.conftest import save, texture

real_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'glocal[ray]'")

# ---------------------------------------------------------------------- a cluster of fakes


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class Reply:
    """What an actor promised: values that are there at once, an exception, or silence."""

    def __init__(self, values, is_silent=False):
        self.values = iter(values)
        self.is_silent = is_silent

    def __next__(self):
        return next(self.values)


class FakeActor:
    """Answers its shards; a photo named "killer" kills it, and after "silent" it says nothing any more."""

    def __init__(self, fakes, node):
        self.fakes, self.node = fakes, node
        self.is_alive = True
        self.hello = SimpleNamespace(remote=lambda: Reply([fakes.hello(node)], fakes.hello(node) is None))
        self.describe = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._describe))

    def _describe(self, requests):
        self.fakes.given.append([os.fsdecode(request.path) for request in requests])
        return Reply(self._answers(requests))

    def _answers(self, requests):
        for request in requests:
            if not self.is_alive:
                yield RayError("the actor died before")
            name = os.fsdecode(os.path.basename(request.path))
            self.fakes.read.append((self.node, name))
            if name == "killer":
                self.is_alive = False
                yield RayError("the actor died")
            yield request.key, self.fakes.outcome(self.node, name)


class FakeCluster:
    """In the place of `RayCluster`: two nodes with a CPU each."""

    def __init__(self, address=None):
        self.address = address
        self.actors, self.given, self.read, self.killed = [], [], [], []
        self.is_closed = False
        exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.ray = SimpleNamespace(wait=self._wait, get=self._get, kill=self.killed.append, exceptions=exceptions)
        self.cpus, self.gpus = 1, 0
        self.nodes = ["one", "two"]

    def hello(self, node):
        return Hello(node, glocal.__version__, RootSift().spec.to_json(), 1)

    def outcome(self, node, name):
        return ANSWER

    def room(self, cpus, gpus):
        return len(self.nodes)

    def most_cpus(self):
        return self.cpus

    def has_gpus(self):
        return self.gpus > 0

    def start(self, assignment, cpus, gpus):
        assert isinstance(assignment, Assignment)
        self.actors.append(FakeActor(self, self.nodes[len(self.actors) % len(self.nodes)]))
        return self.actors[-1]

    def close(self):
        self.is_closed = True

    def _wait(self, awaited, num_returns=1, timeout=None):
        ready = [each for each in awaited if not each.is_silent][:num_returns]
        return ready, [each for each in awaited if each not in ready]

    def _get(self, reply, timeout=None):
        value = next(reply) if isinstance(reply, Reply) else reply
        if isinstance(value, Exception):
            raise value
        return value


ANSWER = Answer("00" * 16, 1, 1, (1, 1), 1, None, {"descriptor": np.ones(2, np.float32)}, 0.0, 0.0)


@pytest.fixture
def fakes(monkeypatch):
    cluster = FakeCluster()
    monkeypatch.setattr(ray_pool, "RayCluster", lambda address: cluster)
    monkeypatch.setattr(ray_pool, "_START_S", 0.05)
    return cluster


@pytest.fixture
def fake_pool(fakes):
    with RayPool(ModelSource("rootsift")) as pool:
        yield pool
    assert fakes.is_closed


def asked(*names):
    return [Request(os.fsencode(name), key=name) for name in names]


def names_of(count):
    return [f"{number}.png" for number in range(count)]


def codes(outcomes):
    return {request.key: getattr(outcome, "code", "ok") for request, outcome in outcomes}


def test_every_photo_is_answered_once_and_the_work_is_shared(fakes, fake_pool):
    names = names_of(100)
    outcomes = list(fake_pool.run(asked(*names)))
    assert sorted(request.key for request, _ in outcomes) == sorted(names)
    assert {node for node, _ in fakes.read} == {"one", "two"}
    assert len(fakes.read) == 100


def test_the_request_comes_back_as_it_was_given(fakes, fake_pool):
    request = Request(b"a.png", key=("anything", 1), root=b"/photos")
    ((back, _),) = fake_pool.run([request])
    assert back is request


def test_few_photos_start_one_actor(fakes, fake_pool):
    list(fake_pool.run(asked(*names_of(3))))
    assert len(fakes.actors) == 1


def test_few_photos_are_shared_evenly_by_those_that_are_up(fakes, fake_pool):
    list(fake_pool.run(asked(*names_of(20))))
    list(fake_pool.run(asked(*names_of(24))))  # the actors stay for the next run
    assert len(fakes.actors) == 2
    shards = [len(shard) for shard in fakes.given]
    assert max(shards[-4:]) <= 12


def test_photos_are_taken_only_as_they_can_be_given(fakes, fake_pool):
    taken = 0

    def source():
        nonlocal taken
        for name in names_of(10_000):
            taken += 1
            yield Request(os.fsencode(name), key=name)

    outcomes = fake_pool.run(source())
    for answered in range(1, 200):
        next(outcomes)
        # Two shards of sixteen for each of two actors, and as many to choose from.
        assert taken <= answered + 2 * 16 * 2 + 2 * 16
    outcomes.close()


def test_a_photo_that_kills_its_actors_is_refused_and_all_others_are_answered(fakes, fake_pool):
    names = [*names_of(30), "killer", *names_of(60)[30:]]
    outcomes = list(fake_pool.run(asked(*names)))
    assert sorted(request.key for request, _ in outcomes) == sorted(names)
    assert codes(outcomes) == dict.fromkeys(names, "ok") | {"killer": "unreadable"}
    assert [name for _, name in fakes.read].count("killer") == MOST_TRIES
    (refusal,) = (outcome for _, outcome in outcomes if isinstance(outcome, ImageError))
    assert "the actor died" in refusal.detail


def test_a_photo_that_was_suspected_once_is_tried_alone(fakes, fake_pool):
    list(fake_pool.run(asked("a", "killer", *names_of(38))))
    shards = [shard for shard in fakes.given if "killer" in shard]
    assert len(shards[0]) > 1
    assert shards[1:] == [["killer"]] * (MOST_TRIES - 1)


def test_when_all_actors_die_the_run_ends_instead_of_refusing_everything(fakes, fake_pool):
    with pytest.raises(BackendUnavailable, match=r"died one after the other.*the actor died"):
        list(fake_pool.run([Request(b"killer", key=i) for i in range(100)]))


def test_an_actor_that_falls_silent_is_replaced(fakes, fake_pool, monkeypatch):
    outcomes = fake_pool.run(asked(*names_of(40)))
    got = [next(outcomes)]
    silenced = fake_pool._actors[0]
    silenced.shards[0].replies.is_silent = True
    monkeypatch.setattr(ray_pool, "_SILENCE_S", -1.0)
    got.append(next(outcomes))
    monkeypatch.undo()
    got += list(outcomes)
    assert silenced.handle in fakes.killed
    assert sorted(request.key for request, _ in got) == sorted(names_of(40))
    assert set(codes(got).values()) == {"ok"}


def test_what_always_ends_in_silence_is_a_timeout(fakes, fake_pool, monkeypatch):
    monkeypatch.setattr(ray_pool, "_SILENCE_S", -1.0)
    describe = FakeActor._describe

    def silent(self, requests):
        reply = describe(self, requests)
        reply.is_silent = any(request.path == b"slow" for request in requests)
        return reply

    monkeypatch.setattr(FakeActor, "_describe", silent)
    outcomes = list(fake_pool.run(asked("a", "slow", "b")))
    assert codes(outcomes) == {"a": "ok", "slow": "timeout", "b": "ok"}


def test_the_time_that_the_caller_takes_is_not_the_actors(fakes, fake_pool, monkeypatch):
    monkeypatch.setattr(ray_pool, "_SILENCE_S", 0.2)
    outcomes = fake_pool.run(asked(*names_of(40)))
    next(outcomes)
    next(outcomes)
    time.sleep(0.3)
    assert len(list(outcomes)) == 38
    assert fakes.killed == []


def test_stopping_early_ends_the_actors_that_are_busy(fakes, fake_pool):
    outcomes = fake_pool.run(asked(*names_of(100)))
    next(outcomes)
    busy = [actor.handle for actor in fake_pool._actors if actor.shards]
    outcomes.close()
    assert fakes.killed == busy
    assert len(list(fake_pool.run(asked("again.png")))) == 1


def test_refusals_keep_their_reason(fakes, fake_pool):
    fakes.outcome = lambda node, name: Refusal("truncated", "damaged: 5 % readable") if name == "bad" else ANSWER
    outcomes = dict((request.key, outcome) for request, outcome in fake_pool.run(asked("a", "bad")))
    assert (outcomes["bad"].code, outcomes["bad"].detail) == ("truncated", "damaged: 5 % readable")


UNSEEN = Refusal("unreadable", "no such file or directory")


def test_a_node_that_does_not_see_the_photos_is_named(fakes, fake_pool, tmp_path):
    paths = [save(tmp_path / name, texture(1, 16, 16)) for name in names_of(6)]
    fakes.nodes = ["blind"]
    fakes.outcome = lambda node, name: UNSEEN
    with pytest.raises(ConfigError, match=r"Node blind cannot read .*png \(no such file or directory\)"):
        list(fake_pool.run(asked(*map(str, paths))))


def test_a_photo_that_one_node_does_not_see_is_given_to_the_other(fakes, fake_pool, tmp_path):
    hidden = save(tmp_path / "hidden.png", texture(1, 16, 16))
    tries = []

    def outcome(node, name):
        if name != "hidden.png":
            return ANSWER
        tries.append(node)
        return UNSEEN if len(tries) < MOST_TRIES else ANSWER

    fakes.outcome = outcome
    names = [*names_of(40), str(hidden)]
    assert codes(fake_pool.run(asked(*names))) == dict.fromkeys(names, "ok")
    assert len(tries) == MOST_TRIES


def test_a_photo_that_is_gone_here_too_is_refused_at_once(fakes, fake_pool):
    fakes.outcome = lambda node, name: UNSEEN if name == "gone" else ANSWER
    outcomes = list(fake_pool.run(asked("a", "/nowhere/gone")))
    assert codes(outcomes) == {"a": "ok", "/nowhere/gone": "unreadable"}
    assert [name for _, name in fakes.read].count("gone") == 1


def test_another_model_on_a_node_is_refused_with_both_values(fakes, fake_pool):
    other = dataclasses.replace(RootSift().spec, weights="f00d")
    fakes.hello = lambda node: Hello(node, glocal.__version__, other.to_json(), 1)
    with pytest.raises(SpecMismatch, match=rf"node one .*here '{RootSift().spec.weights}', there 'f00d'"):
        list(fake_pool.run(asked("a")))


def test_another_glocal_on_a_node_is_refused_with_both_versions(fakes, fake_pool):
    fakes.hello = lambda node: Hello(node, "0.0.0", RootSift().spec.to_json(), 1)
    with pytest.raises(BackendUnavailable, match=f"one has glocal 0.0.0, here is {glocal.__version__}"):
        list(fake_pool.run(asked("a")))


def test_what_a_node_lacks_is_told_with_its_name(fakes, fake_pool):
    fakes.hello = lambda node: Failure(node, "WeightsError", "no weights in /models/x")
    with pytest.raises(glocal.errors.WeightsError, match=r"^Node one: no weights in /models/x$"):
        list(fake_pool.run(asked("a")))


def test_no_exception_but_ours_is_made_from_what_a_node_says(fakes, fake_pool):
    fakes.hello = lambda node: Failure(node, "annotations", "x")
    with pytest.raises(glocal.errors.RetrievalError, match="Node one: x"):
        list(fake_pool.run(asked("a")))


def test_a_cluster_that_is_full_is_given_up(fakes, fake_pool):
    fakes.hello = lambda node: None  # the actors wait for room
    with pytest.raises(BackendUnavailable, match="each asks for 1 CPUs"):
        list(fake_pool.run(asked("a")))


def test_a_mistake_in_an_actor_is_told_in_one_line(fakes, fake_pool):
    fakes.outcome = lambda node, name: (_ for _ in ()).throw(RayTaskError("Traceback\n...\nTypeError: x"))
    with pytest.raises(BackendUnavailable, match="An actor on one failed: TypeError: x"):
        list(fake_pool.run(asked("a")))


def test_a_cluster_without_cpus_is_refused(fakes):
    fakes.cpus = 0
    with pytest.raises(BackendUnavailable, match="no node with a CPU"):
        RayPool(ModelSource("rootsift"))
    assert fakes.is_closed


def test_an_actor_asks_for_as_many_cpus_as_the_largest_node_has(fakes):
    fakes.cpus = 4
    with RayPool(ModelSource("rootsift"), workers=8) as pool:
        assert pool._assignment.workers == 4
    with RayPool(ModelSource("rootsift"), workers=2) as pool:
        assert pool._assignment.workers == 2


def test_a_certain_gpu_cannot_be_asked_for(fakes):
    with pytest.raises(ConfigError, match=r"--device cuda$"):
        RayPool(SimpleNamespace(device="cuda:1"))


@pytest.mark.parametrize("has_gpus", [True, False])
def test_networks_get_a_gpu_each_where_there_are_some(fakes, install, has_gpus):
    network = SimpleNamespace(spec=RootSift().spec, batch_size=4)
    fakes.gpus = int(has_gpus)
    with RayPool(ModelSource(install(network))) as pool:
        assert pool._gpus == int(has_gpus)
        assert pool._assignment.device == ("auto" if has_gpus else "cpu")


# ---------------------------------------------------------------------- an actor without Ray


def assignment(model="rootsift", **changes):
    fields = {"device": "cpu", "batch_size": "auto", "workers": 1, "timeout_s": 10.0}
    return Assignment(model, limits=glocal.data.image.LIMITS, **fields | changes)


def test_an_actor_says_hello_and_answers_by_number(tmp_path):
    actor = Describer(assignment())
    hello = actor.hello()
    assert (hello.version, hello.spec) == (glocal.__version__, RootSift().spec.to_json())
    good = save(tmp_path / "good.png", texture(1, 96, 72))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    requests = [Request(os.fsencode(tmp_path / name), key=i) for i, name in enumerate(("bad.png", good.name))]
    replies = dict(actor.describe(requests))
    assert replies[0] == Refusal("not_an_image", "not a picture (unknown content)")
    assert replies[1].size == (96, 72)
    actor._pool.close()


def test_an_actor_without_the_weights_says_so(tmp_path):
    answer = Describer(assignment(str(tmp_path / "nothing"))).hello()
    assert isinstance(answer, Failure)
    assert (answer.error, str(tmp_path) in answer.message) == ("WeightsError", True)


def test_an_actor_whose_pool_fails_says_so():
    def run(requests):
        yield from ()
        raise BackendUnavailable("no worker")

    actor = Describer(assignment())
    actor._pool = SimpleNamespace(run=run)
    ((number, failure),) = actor.describe([])
    assert (number, failure.error, failure.message) == (-1, "BackendUnavailable", "no worker")


# ---------------------------------------------------------------------- arguments


def test_ray_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'glocal\[ray\]'"):
        ray_cluster.RayCluster()


@real_ray
def test_a_cluster_that_is_not_there_is_named_at_once():
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(BackendUnavailable, match=rf"No Ray cluster answers at 127\.0\.0\.2:{port}: .*refused"):
        ray_cluster.RayCluster(f"127.0.0.2:{port}")


@real_ray
@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1", ":6379", "host:port", "http://h:1", ""])
def test_an_address_must_be_a_host_and_a_port(address):
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        ray_cluster.RayCluster(address)


def test_an_unknown_engine_and_an_address_without_one_are_refused(tmp_path, photos):
    with Index.create(tmp_path / "index") as index:
        with pytest.raises(ConfigError, match="one of local, ray"):
            index.add(photos, engine="spark")
        with pytest.raises(ConfigError, match=r"--engine ray --address 10\.0\.0\.1:6379"):
            index.add(photos, address="10.0.0.1:6379")


# ---------------------------------------------------------------------- two real nodes

NODES = """
import json, sys
import ray
from ray.cluster_utils import Cluster
options = {"num_cpus": 1, "object_store_memory": 80 << 20}
# A dead node is noticed after a second, not after fifteen.
quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_timeout_ms": 1000,
         "health_check_failure_threshold": 2}
head = {**options, "include_dashboard": False, "_system_config": quick}
cluster = Cluster(initialize_head=True, head_node_args=head)
nodes = [cluster.head_node]
print(json.dumps({"address": cluster.address}), flush=True)
for line in sys.stdin:
    nodes.append(cluster.add_node(**options))
    print(json.dumps({"raylet": nodes[-1].all_processes["raylet"][0].process.pid}), flush=True)
cluster.shutdown()
"""
PHOTOS = 72
# With 0, the address of a node is 127.0.0.1, and nobody else can reach its ports.
CLOSED = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}


class Nodes:
    """Two nodes of a Ray cluster on this computer, each with one CPU; `kill` ends the second, `heal` replaces it."""

    def __init__(self, directory):
        self.environment = {**os.environ, **CLOSED, "RAY_TMPDIR": directory}
        self.host = subprocess.Popen(
            [sys.executable, "-c", NODES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )
        self.second = None
        try:
            self.address = self._read()["address"]
            self.heal()
        except BaseException:
            self.close()
            raise

    def _read(self):
        return json.loads(self.host.stdout.readline())

    def heal(self):
        if self.second is None:
            self.host.stdin.write("one more\n")
            self.host.stdin.flush()
            self.second = self._read()["raylet"]

    def kill(self):
        os.kill(self.second, signal.SIGKILL)
        self.second = None

    def command(self, folder, directory, *more):
        engine = ["--engine", "ray", "--address", self.address]
        place = ["--index", str(directory), "--progress", "json"]
        return [sys.executable, "-m", "glocal", "index", str(folder), *place, *engine, *more]

    def start(self, folder, directory, *more):
        return subprocess.Popen(
            self.command(folder, directory, *more),
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )

    def close(self):
        self.host.stdin.close()
        self.host.stdout.close()
        try:
            self.host.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.host.pid, signal.SIGKILL)
            self.host.wait()


@pytest.fixture(scope="session")
def cluster():
    directory = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # names of sockets must be short
    nodes = Nodes(directory)
    yield nodes
    nodes.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def nodes(cluster):
    cluster.heal()
    return cluster


@pytest.fixture
def joined(nodes, monkeypatch):
    """This process may join the cluster: Ray has read the environment when it was imported, perhaps before."""
    from ray._private import ray_constants  # noqa: PLC0415 - optional
    from ray._raylet import Config  # noqa: PLC0415 - optional

    for name, value in CLOSED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    Config.initialize("")
    return nodes


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray") / "photos"
    for seed in range(PHOTOS):
        save(folder / f"{seed % 5}/{seed}.png", texture(seed, 160, 120))
    (folder / "copy.png").write_bytes((folder / "0/0.png").read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture(scope="session")
def straight(folder, tmp_path_factory):
    """What an index of one process holds."""
    directory = tmp_path_factory.mktemp("straight") / "index"
    with Index.create(directory, "rootsift") as index:
        index.add(folder)
    return contents(directory)


def contents(directory):
    """All that must be the same whoever described the photos: files, descriptors, local features."""
    with Collection.open(directory) as collection:
        rows = [(row.path, row.status, row.reason, row.content_hash) for row in collection.catalogue()]
        vectors = {
            name: vector.tobytes()
            for block in collection.descriptors()
            for name, vector in zip(block.ids, block.vectors, strict=True)
        }
        local = {}
        for name in vectors:
            found = collection.local_features(name)
            local[name] = (found.keypoints.tobytes(), found.descriptors.tobytes(), found.scores.tobytes())
    assert len({row[0] for row in rows}) == len(rows)
    return rows, vectors, local


def events(lines):
    return [json.loads(line) for line in lines]  # stdout is nothing but JSON, whatever Ray has to say


def saved(found):
    return [os.fsencode(event["path"]) for event in found if event["event"] in ("indexed", "skipped")]


def rest_of(process):
    """What a process still prints; waits for its end."""
    with process.stdout:
        lines = process.stdout.readlines()
    process.wait(30)
    return lines


def describers():
    """Processes that call themselves our actors."""
    pids = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"Describer" in place.read_bytes():
                pids.append(int(place.parent.name))
        except OSError:
            continue
    return pids


OTHERS = frozenset(describers())  # of another run on this computer, which is none of ours


def actor_pids():
    """The actors of these tests."""
    return [pid for pid in describers() if pid not in OTHERS]


def wait_for(what, seconds=30):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@real_ray
@pytest.mark.slow
def test_two_nodes_make_the_index_that_one_process_makes(joined, folder, straight, tmp_path):
    with Index.create(tmp_path / "index", "rootsift") as index:
        handler = signal.getsignal(signal.SIGTERM)
        report = index.add(folder, engine="ray", address=joined.address)
        assert signal.getsignal(signal.SIGTERM) is handler
    assert (report.indexed, report.skipped, report.copies) == (PHOTOS + 1, 1, 1)
    assert contents(tmp_path / "index") == straight
    with Index.open(tmp_path / "index") as index:
        assert index.add(folder, engine="ray", address=joined.address).done == 0


@real_ray
@pytest.mark.slow
def test_a_node_that_is_killed_costs_no_photo(nodes, folder, straight, tmp_path, capfd):
    process = nodes.start(folder, tmp_path / "index")
    lines = [process.stdout.readline() for _ in range(12)]  # both nodes are at work
    nodes.kill()
    promised = saved(events([*lines, *rest_of(process)]))
    assert process.returncode == 0
    assert "was lost" in capfd.readouterr().err  # it was at work indeed
    assert len(promised) == len(set(promised)) == PHOTOS + 2
    assert contents(tmp_path / "index") == straight


@real_ray
@pytest.mark.slow
def test_after_kill_9_the_same_command_continues(nodes, folder, straight, tmp_path):
    process = nodes.start(folder, tmp_path / "index")
    lines = []
    while not lines or '"indexed"' not in lines[-1]:  # the first batch is safe
        lines.append(process.stdout.readline())
    os.killpg(process.pid, signal.SIGKILL)
    lines += [line for line in rest_of(process) if line.endswith("\n")]
    promised = set(saved(events(lines)))
    with Collection.open(tmp_path / "index") as collection:
        assert promised <= {row.path for row in collection.catalogue()}
    wait_for(lambda: not actor_pids(), 90)  # they end with their driver
    second = nodes.start(folder, tmp_path / "index")
    assert len(saved(events(rest_of(second)))) < PHOTOS + 2
    assert second.returncode == 0
    assert contents(tmp_path / "index") == straight


@real_ray
@pytest.mark.slow
def test_sigterm_saves_and_stops(nodes, folder, tmp_path):
    process = nodes.start(folder, tmp_path / "index")
    for _ in range(6):
        process.stdout.readline()
    started = time.monotonic()
    process.terminate()
    rest_of(process)
    assert process.returncode == 143
    assert time.monotonic() - started < 10
    with Collection.open(tmp_path / "index") as collection:
        assert 5 <= sum(collection.counts()[status] for status in ("indexed", "rejected")) < PHOTOS + 2


@real_ray
@pytest.mark.slow
def test_a_stopped_actor_is_given_up_and_its_photos_described_elsewhere(joined, folder, monkeypatch):
    monkeypatch.setattr(ray_pool, "_SILENCE_S", 1.0)
    paths = sorted(folder.glob("*/*.png"))
    requests = [Request(os.fsencode(path), key=path.name) for path in paths]
    with RayPool(ModelSource("rootsift"), address=joined.address) as pool:
        outcomes = pool.run(requests)
        got = [next(outcomes) for _ in range(3)]
        (stopped, *_) = actor_pids()
        os.kill(stopped, signal.SIGSTOP)
        got += list(outcomes)
    assert sorted(request.key for request, _ in got) == sorted(path.name for path in paths)
    assert all(isinstance(outcome, Answer) for _, outcome in got)
    wait_for(lambda: stopped not in actor_pids())


@real_ray
@pytest.mark.slow
def test_a_network_on_a_node_gives_what_it_gives_here(joined, folder):
    pytest.importorskip("torch", reason="needs torch: pip install 'glocal[torch]'")
    model = ModelSource("delg_mobilenetv2", "cpu")
    requests = [Request(os.fsencode(path), key=path.name) for path in sorted(folder.glob("0/*.png"))[:6]]
    with model.pool() as pool:
        expected = {request.key: answer for request, answer in pool.run(requests)}
    with RayPool(model, address=joined.address) as pool:
        got = {request.key: answer for request, answer in pool.run(requests)}
    assert got.keys() == expected.keys()
    for name, answer in got.items():
        assert np.allclose(answer.arrays["descriptor"], expected[name].arrays["descriptor"], atol=1e-5)
        assert len(answer.arrays["keypoints"]) == len(expected[name].arrays["keypoints"])


@real_ray
@pytest.mark.slow
def test_a_node_fetches_what_a_url_names(joined, folder):
    pytest.importorskip("fsspec", reason="needs fsspec: pip install 'glocal[remote]'")
    url = os.fsencode(f"file://{folder}")
    names = [b"0/0.png", b"1/1.png", b"gone.png", b"broken.png"]
    with RayPool(ModelSource("rootsift"), address=joined.address) as pool:
        outcomes = pool.run([Request(url + b"/" + name, key=name, root=url) for name in names])
        got = {request.key: getattr(outcome, "code", "ok") for request, outcome in outcomes}
    assert got == dict(zip(names, ["ok", "ok", "unreadable", "corrupt"], strict=True))


def family_of(root_pid):
    """A process and its descendants."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(place.parent.name)] = int(place.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {root_pid}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def listening(family):
    """Local addresses on which some processes listen, as the kernel writes them."""
    sockets = set()
    for pid in family:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(os.readlink(link))
            except OSError:
                continue
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.append(fields[1].partition(":")[0])
    return found


@real_ray
@pytest.mark.slow
def test_a_ray_of_our_own_listens_to_nobody_else_imports_nothing_from_the_folder_and_ends(folder, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(folder, photos)
    for name in ("cv2", "numpy", "glocal"):
        (photos / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    command = ["index", ".", "--index", str(tmp_path / "index"), "--progress", "json", "--engine", "ray"]
    environment = {name: value for name, value in os.environ.items() if name not in CLOSED}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "glocal", *command],
        cwd=photos,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "HOME": str(tmp_path)},
        start_new_session=True,
    )
    lines = [process.stdout.readline() for _ in range(6)]
    family = family_of(process.pid)
    addresses = listening(family)
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
    events([*lines, *rest_of(process)])
    assert process.returncode == 130
    # 127.0.0.1, also as it stands in IPv6
    assert set(addresses) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert len(addresses) > 3
    with Collection.open(tmp_path / "index") as collection:
        assert collection.counts()["indexed"] >= 4
    assert not (tmp_path / "imported").exists()
    assert not (tmp_path / ".ray").exists()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))
