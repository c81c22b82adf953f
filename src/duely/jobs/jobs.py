"""The queue's own upkeep."""

from datetime import timedelta

import django

from duely.jobs import queue
from duely.jobs.queue import Running
from duely.jobs.registry import job


@job("jobs.purge", every=timedelta(hours=1), timeout_seconds=300)
def purge(running: Running) -> None:
    """Remove jobs that ended long ago, a thousand at a time."""
    while queue.purge():
        running.confirm()


if django.VERSION >= (6, 0):
    import duely.jobs.django_tasks  # noqa: F401 - loading it defines its jobs
