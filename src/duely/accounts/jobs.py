"""The clean-up of accounts."""

from datetime import timedelta

from django.contrib.sessions.backends.db import SessionStore

from duely.accounts import actions
from duely.jobs.queue import Running
from duely.jobs.registry import job


@job("accounts.purge_sessions", every=timedelta(hours=1), timeout_seconds=300)
def purge_sessions(running: Running) -> None:
    """Remove dead sessions and refresh tokens, and those of the admin's pages."""
    SessionStore.clear_expired()
    while actions.purge_sessions(now=running.now):
        running.confirm()
