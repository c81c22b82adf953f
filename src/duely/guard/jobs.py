"""Clean-up of counted requests and of ended bans."""

from datetime import timedelta

from duely.guard import actions, stores
from duely.jobs.pace import in_steps
from duely.jobs.queue import Running
from duely.jobs.registry import job


@job("guard.purge_hits", every=timedelta(hours=1), timeout_seconds=300)
def purge_hits(running: Running) -> None:
    """Delete counted requests that no limit reads, in short transactions."""
    in_steps(lambda limit: stores.purge_hits(limit=limit), running.confirm)


@job("guard.purge_bans", every=timedelta(days=1), timeout_seconds=300)
def purge_bans(running: Running) -> None:
    """Delete bans that ended more than 90 days ago, in short transactions."""
    in_steps(lambda limit: actions.purge_bans(now=running.now, limit=limit), running.confirm)
