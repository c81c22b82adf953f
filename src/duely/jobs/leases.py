"""Renews the leases of running jobs (decision 0008)."""

import threading
from types import TracebackType
from typing import Self
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from duely.jobs.queue import Running, extend, has_ended
from duely.jobs.rules import LEASE

log = structlog.get_logger("duely.jobs")

# Two renewals may fail before a lease ends.
PAUSE_SECONDS = LEASE.total_seconds() / 3


class Leases(threading.Thread):
    """A context manager with a thread that renews the leases of the jobs passed to `hold`."""

    def __init__(self) -> None:
        super().__init__(name="leases", daemon=True)
        self._held: dict[UUID, Running] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.join()

    def hold(self, running: Running) -> None:
        """Renew the lease of this job from now on."""
        with self._lock:
            self._held[running.id] = running

    def drop(self, running: Running) -> None:
        """Stop renewing the lease of this job."""
        with self._lock:
            self._held.pop(running.id, None)

    def run(self) -> None:
        """Renew the leases three times per lease, until the context ends."""
        while not self._ended.wait(PAUSE_SECONDS):
            with self._lock:
                running_jobs = list(self._held.values())
            for running in running_jobs:
                self._renew(running)
            # No connection is held between renewals: on a small PostgreSQL server connections are scarce.
            connection.close()

    def _renew(self, running: Running) -> None:
        job_log = log.bind(job=running.name, job_id=str(running.id))
        try:
            if extend(running):
                return
            self.drop(running)
            # The job may have ended between two renewals: then the lease is not lost, but over.
            if not running.finished and not has_ended(running):
                job_log.warning("the lease of a job is lost")
        except (DatabaseError, InterfaceError) as error:
            job_log.warning("the lease of a job could not be renewed", error=str(error).strip())
            close_old_connections()
