"""The clean-up of what limits have counted."""

from datetime import timedelta

from duely.guard import stores
from duely.jobs.queue import Running
from duely.jobs.registry import job


@job("guard.purge_hits", every=timedelta(hours=1), timeout_seconds=300)
def purge_hits(running: Running) -> None:
    """Forget old requests, a thousand at a time."""
    while stores.purge_hits():
        running.confirm()
