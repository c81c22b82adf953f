"""What the clock does to tasks."""

from datetime import timedelta

from duely.jobs.queue import Running
from duely.jobs.registry import job
from duely.tasks import actions

MOST_BATCHES = 500


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


@job("tasks.index_words", every=timedelta(seconds=15), timeout_seconds=600)
def index_words(running: Running) -> None:
    """Have a search find what older code wrote, and make words of an older format anew, in batches.

    After MOST_BATCHES the rest waits for the next time, so that a re-index of everything ends within no job's time.
    """
    for _ in range(MOST_BATCHES):
        if not actions.index_stale_words():
            return
        running.confirm()
