"""Indexing beside the searches: one job at a time, each in a process that can be stopped or killed.

What a job has saved stays in the index, however the job ends. The list of jobs is in memory: it is gone after a restart
of the service, the work is not, and the next update of the index continues it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from glocal.web.indexing import Order
from glocal.web.job import AGAIN, Job
from glocal.web.library import Library, ServedIndex
from glocal.web.problems import Problem, problem_of
from glocal.web.settings import Settings

_LOG = logging.getLogger(__name__)
MAX_KEPT = 100
"""Jobs that are remembered; of those that have ended, the oldest are forgotten first."""
MAX_QUEUED = 32
STOP_S = 10.0
"""A job that was asked to stop is killed after this time."""


class Jobs:
    """All jobs of a service. All methods may be called by any thread."""

    def __init__(self, library: Library, settings: Settings) -> None:
        """Nothing is started before the first job."""
        self._library, self._settings = library, settings
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()
        self._runner: threading.Thread | None = None
        self._is_closed = False

    def update(self, index: ServedIndex, retry_rejected: bool = False, prune: bool = False) -> Job:
        """Bring an index up to date with its folder.

        Raises:
            Problem: `job_running`, `not_supported` if its folder is not there, `too_many_jobs`, `shutting_down`.
        """
        order = self._order(index, retry_rejected=retry_rejected, prune=prune)
        with self._changed:
            if self._on(index.id) is not None:
                raise Problem(
                    "job_running", "A job of this index is running or waits.", "wait for it, or stop it: GET /v1/jobs"
                )
            return self._queue(index, "update", order)

    def add(self, index: ServedIndex, copied: tuple[str, ...] = ()) -> Job:
        """Index photos that were put into the folder of an index that the service made.

        Args:
            index: the index.
            copied: files and folders that are copied there first; they must lie in `Settings.allow_dirs`.

        Returns:
            The job; one that waits anyway if it would do the same.

        Raises:
            Problem: `too_many_jobs`, `shutting_down`.
        """
        order = self._order(index, copied=copied)
        with self._changed:
            for job in self._jobs.values():
                if job.index == index.id and job.state == "queued" and job.order == order:
                    return job
            return self._queue(index, "add", order)

    def get(self, job_id: str) -> Job:
        """A job by its id.

        Raises:
            Problem: `job_not_found`.
        """
        with self._changed:
            if job_id not in self._jobs:
                raise Problem("job_not_found", "There is no such job, or it is forgotten.", "GET /v1/jobs lists them")
            return self._jobs[job_id]

    def look(self, job_id: str) -> tuple[int, bool, dict[str, Any]]:
        """How often a job has changed, whether it is over, and how it is told, all of one moment.

        Raises:
            Problem: `job_not_found`.
        """
        with self._changed:
            job = self.get(job_id)
            return job.num_changes, job.is_over, job.to_json()

    def listed(self) -> list[dict[str, Any]]:
        """All jobs that are remembered as they are told, newest first."""
        with self._changed:
            return [job.to_json() for job in reversed(self._jobs.values())]

    def by_state(self) -> dict[str, int]:
        """How many jobs are in each state."""
        counts = dict.fromkeys(("queued", "running", "done", "failed", "stopped"), 0)
        with self._changed:
            for job in self._jobs.values():
                counts[job.state] += 1
        return counts

    def running_on(self, index_id: str) -> Job | None:
        """The job of an index that runs, or else one that waits; None if there is none."""
        with self._changed:
            return self._on(index_id)

    def stop(self, job_id: str) -> Job:
        """Have a job save what it has and stop; it is killed if that takes more than `STOP_S`.

        Raises:
            Problem: `job_not_found`.
        """
        with self._changed:
            job = self.get(job_id)
            if job.state == "queued":
                job.end("stopped")
            elif job.state == "running" and not job.is_unwanted:
                job.is_unwanted = True
                if job.process is not None:
                    self._terminate(job.process)
        return job

    def close(self) -> None:
        """Stop all jobs and wait until they have saved."""
        with self._changed:
            self._is_closed = True
            for job in list(self._jobs.values()):
                self.stop(job.id)
            self._changed.notify_all()
        if self._runner is not None:
            self._runner.join(STOP_S + 2)

    # ------------------------------------------------------------------ inside
    def _order(self, index: ServedIndex, **how: Any) -> Order:
        with index.reading() as collection:
            root = collection.root
        if root is None and index.managed:
            root = Path(str(index.place)).parent / "photos"
        if root is None or not root.is_dir():
            raise Problem(
                "not_supported", "The folder of this index is not there now.", "mount it, or: glocal index relocate"
            )
        return Order(
            place=str(index.place),
            root=str(root),
            workers=len(os.sched_getaffinity(0)),
            timeout_s=self._settings.decode_timeout_s,
            max_pixels=self._settings.max_pixels,
            allowed=tuple(str(folder) for folder in self._settings.allow_dirs),
            **how,
        )

    def _on(self, index_id: str) -> Job | None:
        here = [job for job in self._jobs.values() if job.index == index_id and not job.is_over]
        return min(here, key=lambda job: job.state != "running", default=None)

    def _queue(self, index: ServedIndex, kind: str, order: Order) -> Job:
        if self._is_closed:
            raise Problem("shutting_down", "The service is shutting down.")
        if sum(job.state == "queued" for job in self._jobs.values()) >= MAX_QUEUED:
            raise Problem("too_many_jobs", f"{MAX_QUEUED} jobs wait already.", "wait for some of them")
        job = Job("j_" + secrets.token_urlsafe(9), index.id, kind, order)
        self._jobs[job.id] = job
        for old in [each.id for each in self._jobs.values() if each.is_over][: max(0, len(self._jobs) - MAX_KEPT)]:
            del self._jobs[old]
        if self._runner is None:
            self._runner = threading.Thread(target=self._run, name="jobs", daemon=True)
            self._runner.start()
        self._changed.notify_all()
        return job

    def _run(self) -> None:
        while True:
            with self._changed:
                waiting = [job for job in self._jobs.values() if job.state == "queued"]
                while not waiting and not self._is_closed:
                    self._changed.wait()
                    waiting = [job for job in self._jobs.values() if job.state == "queued"]
                if not waiting:
                    return
                job = waiting[0]
                job.state = "running"
                job.num_changes += 1
            try:
                self._work(job)
            except Exception as error:  # noqa: BLE001 - the outermost loop: later jobs must not wait for ever
                _LOG.error("job %s", job.id, exc_info=error)
                with self._changed:
                    job.end("failed", problem_of(error))

    def _work(self, job: Job) -> None:
        # -P keeps the current folder off the import path. A session of its own: Ctrl-C is for us, who then stop it.
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "glocal.web.indexing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            with self._changed:
                job.process = process
                if job.is_unwanted:
                    self._terminate(process)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(job.order.to_line())
                process.stdin.close()
            for line in process.stdout:
                event = json.loads(line)
                with self._changed:
                    job.hear(event)
        with self._changed:
            job.process = None
            if job.is_unwanted and process.returncode:
                job.end("stopped")
            elif process.returncode == 0:
                job.end("done")
            else:
                how = f"ended with code {process.returncode}"
                job.end("failed", job.error or Problem("internal_error", f"The indexing process {how}.", AGAIN))

    @staticmethod
    def _terminate(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        killer = threading.Timer(STOP_S, process.kill)
        killer.daemon = True
        killer.start()
