"""When a job runs again, and when a schedule is due next. No database, no clock."""

from datetime import datetime, timedelta
from enum import StrEnum

LEASE = timedelta(seconds=30)
"""How long a job belongs to a worker that is not heard of. One that lives renews it every third of that."""

SUSPECT_LOSSES = 2
"""A job that has lost so many workers may be what they died of: it runs alone. One loss may have been anything."""

FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(hours=1)
SPREAD = 0.2
"""By how much a wait may be off either way, so that what failed together does not come back together."""


class State(StrEnum):
    """Where a job stands. `dead` ones failed for the last time and wait for a person."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


def retry_after(attempts: int, chance: float) -> timedelta:
    """The wait after this many failed attempts: doubling from 5 s to an hour, give or take a fifth.

    chance: a random number from 0 to 1.
    """
    wait = min(FIRST_RETRY * (1 << min(attempts - 1, 20)), LONGEST_RETRY)
    return wait * (1 + SPREAD * (2 * chance - 1))


def next_run(previous: datetime, every: timedelta, now: datetime) -> datetime:
    """The first instant after `now` on the grid of `previous` and `every`: what was missed is not repeated."""
    missed = max((now - previous) // every, 0)
    return previous + (missed + 1) * every
