"""What the clock does to tasks, and what takes too long for one request."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from duely.core.clock import now
from duely.jobs.pace import Pace, in_steps
from duely.jobs.queue import Running
from duely.jobs.registry import job
from duely.tasks import actions

MOST_BATCHES = 500


@job("tasks.mark_overdue", every=timedelta(seconds=15), timeout_seconds=600)
def mark_overdue(running: Running) -> None:
    """Mark what is late, in batches."""
    in_steps(lambda limit: actions.mark_overdue(now=running.now, limit=limit), running.confirm)


@job("tasks.purge_trash", every=timedelta(hours=1), timeout_seconds=600)
def purge_trash(running: Running) -> None:
    """Remove for good what has been in the trash for long, in batches."""
    in_steps(lambda limit: actions.purge_trash(now=running.now, limit=limit), running.confirm)


@job("tasks.move_days", timeout_seconds=3600)
def move_days(running: Running, *, owner_id: str, **kept: Any) -> None:
    """Place the whole days and reminders of an owner by their new time zone. Goes on where an earlier attempt ended."""
    progress, pace, has_more = actions.Progress.of(kept), Pace(), True
    while has_more:
        with pace.step() as limit:
            has_more = actions.move_some_days(
                running=running, owner_id=UUID(owner_id), progress=progress, limit=limit, now=now()
            )


@job("tasks.empty_category", timeout_seconds=3600)
def empty_category(running: Running, *, category_id: str, emptied: int = 0) -> None:
    """Take the tasks out of a deleted category, then remove it. Goes on where an earlier attempt ended."""
    pace, done = Pace(), 1
    while done:
        with pace.step() as limit:
            done = actions.take_some_out(
                running=running, category_id=UUID(category_id), emptied=emptied, limit=limit, now=now()
            )
        emptied += done


@job("tasks.count_stored", every=timedelta(days=1), timeout_seconds=3600)
def count_stored(running: Running) -> None:
    """Put right the numbers that quotas go by, a hundred owners at a time."""
    after = actions.count_stored(after=None, limit=100)
    while after is not None:
        running.confirm()
        after = actions.count_stored(after=after, limit=100)


@job("tasks.index_words", every=timedelta(seconds=15), timeout_seconds=600)
def index_words(running: Running) -> None:
    """Have a search find what older code wrote, and make words of an older format anew, in batches.

    After MOST_BATCHES the rest waits for the next time, so that a re-index of everything ends within no job's time.
    """
    for _ in range(MOST_BATCHES):
        if not actions.index_stale_words():
            return
        running.confirm()
