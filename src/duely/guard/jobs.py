"""The clean-up of what limits have counted, and of bans that are long over."""

from datetime import timedelta

from duely.guard import actions, stores
from duely.jobs.queue import Running
from duely.jobs.registry import job


@job("guard.purge_hits", every=timedelta(hours=1), timeout_seconds=300)
def purge_hits(running: Running) -> None:
    """Forget old requests, a thousand at a time."""
    while stores.purge_hits():
        running.confirm()


@job("guard.purge_bans", every=timedelta(days=1), timeout_seconds=300)
def purge_bans(running: Running) -> None:
    """Forget bans that were over 90 days ago, a thousand at a time."""
    while actions.purge_bans(now=running.now):
        running.confirm()
