"""A Ray cluster as this process sees it: joined or started, and what there is room for (Ray).

Whoever reaches the ports of a Ray cluster may run anything on its nodes. We start Ray on the loopback interface alone,
and join only what others have started.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from glocal.errors import BackendUnavailable, ConfigError
from glocal.extract.ray_actor import Assignment, Describer

LOOPBACK = "127.0.0.1"
_LOCAL_OBJECT_STORE_BYTES = 256 << 20
_CONNECT_S = 10.0
_KEPT_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class RayCluster:
    """A connection to a cluster, for one pool of actors.

    Attributes:
        ray: the package.
        address: what was asked for; None for a cluster of this computer alone.
    """

    def __init__(self, address: str | None = None) -> None:
        """Join the cluster at an address, or start one that nobody else can reach. A connection that is there is used.

        Args:
            address: HOST:PORT of the cluster's head, or "auto" for the one that runs on this computer.

        Raises:
            BackendUnavailable: Ray is not installed, or does not answer.
            ConfigError: the address makes no sense.
        """
        try:
            import ray  # noqa: PLC0415 - optional, and takes a second
        except ImportError as error:
            raise BackendUnavailable("--engine ray needs Ray → pip install 'glocal[ray]'") from error
        if address is not None:
            _expect_answer(ray, address)
        self.ray: Any = ray
        self.address = address
        self._is_ours = not ray.is_initialized()
        self._undo = contextlib.ExitStack()
        if self._is_ours:
            try:
                self._connect()
            except BaseException:
                self._undo.close()
                raise

    def _connect(self) -> None:
        ray = self.ray
        # A job tells its workers to import from the current folder first, which may be the one being indexed. Only
        # jobs of a Ray client do without.
        options: dict[str, Any] = {"job_config": ray.job_config.JobConfig(_client_job=True)}
        # Ray takes SIGTERM for itself; here the first one asks for a clean stop.
        handlers = {number: signal.getsignal(number) for number in _KEPT_SIGNALS}
        try:
            with self._on_loopback(options) if self.address is None else contextlib.nullcontext():
                ray.init(self.address or "local", **options, log_to_driver=False, logging_level=logging.ERROR)
        except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            place = "does not start here" if self.address is None else f"does not answer at {self.address}"
            reason = str(error).strip().partition("\n")[0]
            raise BackendUnavailable(f"Ray {place}: {reason} → ray status --address HOST:PORT") from error
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    if handler is not None:
                        signal.signal(number, handler)
        # It prints what nodes complain of to stdout, which is for our results; the pool says what matters.
        self._undo.callback(setattr, ray._private.worker, "print_to_stdstream", ray._private.worker.print_to_stdstream)
        ray._private.worker.print_to_stdstream = _ignore
        nodes = [node["NodeManagerAddress"] for node in ray.nodes()]
        if self.address is None and nodes != [LOOPBACK]:
            self.close()
            raise BackendUnavailable(
                f"This Ray can only be started where others can reach it ({', '.join(nodes)}). → start it as "
                "docs/scale.md says, then --address HOST:PORT"
            )

    @contextlib.contextmanager
    def _on_loopback(self, options: dict[str, Any]) -> Iterator[None]:
        """While entered, a Ray that is started listens on the loopback interface alone, and asks for a token."""
        place = tempfile.mkdtemp(prefix="glocal-ray-", dir="/tmp")  # names of sockets are 107 bytes long at most
        self._undo.callback(shutil.rmtree, place, ignore_errors=True)
        options |= {
            "_temp_dir": place,
            "_node_ip_address": LOOPBACK,
            "include_dashboard": False,
            "object_store_memory": _LOCAL_OBJECT_STORE_BYTES,
        }
        if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
            # Ray asks for a token; without one it makes one and leaves it in the home directory, readable by all.
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        constants = self.ray._private.ray_constants
        before = constants.ENABLE_RAY_CLUSTER
        constants.ENABLE_RAY_CLUSTER = False  # with True, 127.0.0.1 stands for the address that others see
        try:
            yield
        finally:
            constants.ENABLE_RAY_CLUSTER = before

    def room(self, cpus: int, gpus: int) -> int:
        """How many actors with so many CPUs and GPUs each the nodes hold that are alive, were they idle."""
        return sum(
            min(int(node.get("CPU", 0)) // cpus, int(node.get("GPU", 0)) // gpus if gpus else 1 << 20)
            for node in self._resources()
        )

    def most_cpus(self) -> int:
        """CPUs of the largest node."""
        return max((int(node.get("CPU", 0)) for node in self._resources()), default=0)

    def has_gpus(self) -> bool:
        """Whether any node has one."""
        return any(node.get("GPU", 0) >= 1 for node in self._resources())

    def _resources(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def start(self, assignment: Assignment, cpus: int, gpus: int) -> Any:
        """The handle of a new actor, which may not be there yet."""
        actor = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)(Describer)
        # The nodes share the work evenly, instead of one being filled before the next.
        return actor.options(scheduling_strategy="SPREAD").remote(assignment)

    def close(self) -> None:
        """Leave the cluster; end it, if it was started here."""
        if self._is_ours:
            self._is_ours = False
            self.ray.shutdown()
            self._undo.close()


def _expect_answer(ray: Any, address: str) -> None:
    """Make sure that something listens at an address: Ray itself would try for minutes, deaf to Ctrl-C."""
    host, _, port = address.rpartition(":")
    if address != "auto" and (not host or "/" in host or not port.isdecimal()):
        raise ConfigError(
            f'--address "{address}" is not HOST:PORT. → that of the cluster\'s head, from a computer that is one of '
            "its nodes; a Ray client (ray://) cannot index"
        )
    try:
        # Ray takes the computer's own address for 127.0.0.1, and looks for "auto".
        real = ray._private.services.canonicalize_bootstrap_address(address)
        host, _, port = real.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError, ValueError) as error:
        raise BackendUnavailable(f"No Ray cluster answers at {address}: {error} → ray status") from error


def _ignore(*_: object, **__: object) -> None:
    pass
