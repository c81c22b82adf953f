"""What tests of the queue share."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from duely.jobs.models import Job
from duely.jobs.queue import Running, claim
from duely.jobs.rules import LEASE
from races import in_thread


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
