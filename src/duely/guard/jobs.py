"""The clean-up of what limits have counted, and of bans that are long over."""

from datetime import timedelta

from duely.guard import actions, stores
from duely.jobs.pace import in_steps
from duely.jobs.queue import Running
from duely.jobs.registry import job


@job("guard.purge_hits", every=timedelta(hours=1), timeout_seconds=300)
def purge_hits(running: Running) -> None:
    """Forget old requests in short transactions."""
    in_steps(lambda limit: stores.purge_hits(limit=limit), running.confirm)


@job("guard.purge_bans", every=timedelta(days=1), timeout_seconds=300)
def purge_bans(running: Running) -> None:
    """Forget bans that were over 90 days ago in short transactions."""
    in_steps(lambda limit: actions.purge_bans(now=running.now, limit=limit), running.confirm)
