"""Keeps the leases of running jobs alive."""

import threading
from types import TracebackType
from typing import Self
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from duely.jobs.queue import Running, extend, has_ended
from duely.jobs.rules import LEASE

log = structlog.get_logger("duely.jobs")

PAUSE_SECONDS = LEASE.total_seconds() / 3


class Leases(threading.Thread):
    """A thread that renews the leases of the jobs it was given, as a context manager."""

    def __init__(self) -> None:
        super().__init__(name="leases", daemon=True)
        self._held: dict[UUID, Running] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()

    def hold(self, running: Running) -> None:
        """Renew this one's lease from now on."""
        with self._lock:
            self._held[running.id] = running

    def let_go(self, running: Running) -> None:
        """Stop renewing it."""
        with self._lock:
            self._held.pop(running.id, None)

    def run(self) -> None:
        """Until the end of the context."""
        while not self._over.wait(PAUSE_SECONDS):
            with self._lock:
                held = list(self._held.values())
            for running in held:
                self._renew(running)
            connection.close()

    def _renew(self, running: Running) -> None:
        told = log.bind(job=running.name, job_id=str(running.id))
        try:
            if extend(running):
                return
            self.let_go(running)
            if not running.finished and not has_ended(running):
                told.warning("the lease of a job is lost")
        except (DatabaseError, InterfaceError) as error:
            told.warning("the lease of a job could not be renewed", error=str(error).strip())
            close_old_connections()
