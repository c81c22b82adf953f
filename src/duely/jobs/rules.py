"""Pure functions for retries and schedules."""

from datetime import datetime, timedelta
from enum import StrEnum

LEASE = timedelta(seconds=30)
"""How long a job belongs to a worker without a renewal. A worker renews its leases three times in this time."""

SUSPECT_LOSSES = 2
"""Lost workers after which a job may be the cause, so that it runs in a process of its own.

Not after one loss: when a machine restarts, all its running jobs would come back one process at a time (decision 0008).
"""

FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(hours=1)
SPREAD = 0.2
"""Share by which a wait is changed at random, so that jobs that failed together do not retry together."""


class State(StrEnum):
    """The state of a job. A `dead` job has used all its attempts and is not retried automatically."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


def retry_after(attempts: int, chance: float) -> timedelta:
    """The wait after this number of failed attempts. It doubles from 5 s to an hour, ± 20 %.

    chance: a random number from 0 to 1.
    """
    wait = min(FIRST_RETRY * (1 << min(attempts - 1, 20)), LONGEST_RETRY)
    return wait * (1 + SPREAD * (2 * chance - 1))


def next_run(previous: datetime, every: timedelta, now: datetime) -> datetime:
    """The first time after `now` that is a multiple of `every` after `previous`. Missed runs are skipped."""
    missed = max((now - previous) // every, 0)
    return previous + (missed + 1) * every
