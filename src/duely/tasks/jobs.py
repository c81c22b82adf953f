"""What the clock does to tasks."""

from datetime import timedelta

from duely.jobs.queue import Running
from duely.jobs.registry import job
from duely.tasks import actions


@job("tasks.mark_overdue", every=timedelta(seconds=15), timeout_seconds=600)
def mark_overdue(running: Running) -> None:
    """Mark what is late, in batches."""
    while actions.mark_overdue(now=running.now):
        running.confirm()


@job("tasks.purge_trash", every=timedelta(hours=1), timeout_seconds=600)
def purge_trash(running: Running) -> None:
    """Remove for good what has been in the trash for long, in batches."""
    while actions.purge_trash(now=running.now):
        running.confirm()
