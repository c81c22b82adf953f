"""Clean-up of the queue and of stored answers."""

from datetime import timedelta

import django

from duely.api.idempotency import purge_answers
from duely.jobs import queue
from duely.jobs.pace import in_steps
from duely.jobs.queue import Running
from duely.jobs.registry import job


@job("jobs.purge", every=timedelta(hours=1), timeout_seconds=300)
def purge(running: Running) -> None:
    """Delete jobs that ended long ago, in short transactions."""
    in_steps(lambda limit: queue.purge(limit=limit), running.confirm)


@job("api.purge_answers", every=timedelta(hours=1), timeout_seconds=300)
def purge_kept_answers(running: Running) -> None:
    """Delete answers of idempotency keys that are older than a day, in short transactions."""
    in_steps(purge_answers, running.confirm)


if django.VERSION >= (6, 0):
    import duely.jobs.django_tasks  # noqa: F401 - the import registers its jobs
