"""Clean-up of the counters of mails."""

from datetime import timedelta

from duely.jobs.queue import Running
from duely.jobs.registry import job
from duely.mail import limits


@job("mail.purge", every=timedelta(hours=1), timeout_seconds=300)
def purge(running: Running) -> None:
    """Delete the counters of past days, a thousand at a time."""
    while limits.purge(now=running.now):
        running.confirm()
