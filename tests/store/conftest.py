"""Milvus for the tests: the real server as a process, and milvus-lite in this one."""

import os
import signal
import socket
import time
import urllib.request
import warnings
from pathlib import Path

import pytest

ETCD_PEER_PORT = 2380
START_S = 120
QUICK = {
    "log.level": "error",
    "common.session.ttl": 5,  # seconds until a server that was killed is given up
    "proxy.timeTickInterval": 50,  # milliseconds: what a strong read waits for
    "queryCoord.checkInterval": 100,
    "queryCoord.distPullInterval": 100,
    "queryCoord.checkHandoffInterval": 500,
}
"""Defaults are for machines with more to do than a test."""


class MilvusProcess:
    """A Milvus server of the PyPI package `milvus`, which can be killed and started again.

    It opens its ports on all interfaces and cannot be told otherwise.
    """

    def __init__(self, folder: Path) -> None:
        from milvus import MilvusServer, MilvusServerConfig  # noqa: PLC0415 - optional

        self.port = _free_port()
        self._server = MilvusServer(MilvusServerConfig(data_dir=str(folder), proxy_port=self.port), False)
        for key, value in QUICK.items():
            self._server.config.set(key, value)

    @property
    def is_alive(self) -> bool:
        return self._server.server_proc is not None and self._server.server_proc.poll() is None

    @property
    def pid(self) -> int:
        return self._server.server_proc.pid

    def start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it leaves sockets open while it looks for free ports
            self._server.start()
        until = time.monotonic() + START_S
        while not self._is_healthy():
            assert self._server.server_proc.poll() is None, "the Milvus server has ended"
            assert time.monotonic() < until, f"the Milvus server is not there after {START_S} s"
            time.sleep(0.1)

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._server.webservice_port}/healthz", timeout=5) as said:
                return b"OK" in said.read()
        except OSError:
            return False

    def kill(self) -> None:
        process = self._server.server_proc
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        self._server.stop()

    def stop(self) -> None:
        if self._server.running:
            self.kill()  # it takes long to say goodbye, and nothing of it is needed


def _free_port() -> int:
    """A port that no client of this machine gets by chance while the server is away."""
    for port in range(21000, 29000):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


@pytest.fixture
def milvus_server(milvus_process: MilvusProcess) -> MilvusProcess:
    """A running server. It ends by itself where a busy machine keeps it from telling its etcd in time that it lives."""
    if not milvus_process.is_alive:
        milvus_process.stop()
        milvus_process.start()
    return milvus_process


@pytest.fixture(scope="session")
def milvus_process(tmp_path_factory: pytest.TempPathFactory):
    """The server of all tests; skipped where its package is missing."""
    pytest.importorskip("milvus", reason="needs the Milvus server: pip install milvus")
    pytest.importorskip("pymilvus", reason="needs pymilvus: pip install 'glocal[milvus]'")
    with socket.socket() as peer:
        if peer.connect_ex(("127.0.0.1", ETCD_PEER_PORT)) == 0:
            pytest.skip(f"port {ETCD_PEER_PORT}, which the Milvus server wants for its etcd, is taken")
    server = MilvusProcess(tmp_path_factory.mktemp("milvus"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def milvus_lite(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Port of milvus-lite on 127.0.0.1."""
    pytest.importorskip("pymilvus", reason="needs pymilvus: pip install 'glocal[milvus]'")
    lite = pytest.importorskip("milvus_lite.adapter.grpc.server", reason="needs milvus-lite: pip install milvus-lite")
    server, database, port = lite.start_server_in_thread(
        data_dir=str(tmp_path_factory.mktemp("lite") / "lite.db"), host="127.0.0.1", port=0
    )
    yield port
    server.stop(grace=0).wait()
    database.close()
