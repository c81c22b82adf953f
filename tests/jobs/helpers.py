"""What tests of the queue share."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from duely.jobs.models import Job
from duely.jobs.queue import Running, claim
from duely.jobs.rules import LEASE


def together(*works: Callable[[], Any]) -> list[Any]:
    """All of them at once, each in a thread with a connection of its own; the results in order."""
    connection.close()
    barrier = threading.Barrier(len(works))

    def start(work: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return in_thread(work)

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(60) for future in [pool.submit(start, work) for work in works]]


def in_thread(work: Callable[[], Any]) -> Any:
    """What a thread does: the work, and giving its connection back."""
    try:
        return work()
    finally:
        connection.close()


def elsewhere(work: Callable[[], Any]) -> Any:
    """The work's result, from another thread with another connection."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(in_thread, work).result(60)


def take(worker: str = "test:1") -> Running:
    """The one job that is due."""
    (running,) = claim(worker, 5)
    return running


def expire(running: Running) -> None:
    """As if its worker had been silent for longer than a lease."""
    Job.objects.filter(pk=running.id).update(lease_until=Now() - LEASE / 30)


def due(job_id: UUID | None) -> None:
    """As if the wait of this job were over."""
    Job.objects.filter(pk=job_id).update(run_at=Now())


def row(job_id: UUID | None) -> Job:
    return Job.objects.get(pk=job_id)
