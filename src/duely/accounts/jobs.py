"""Mails of accounts, and the clean-up."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog
from django.contrib.sessions.backends.db import SessionStore

from duely.accounts import actions, mails, queries
from duely.jobs.pace import in_steps
from duely.jobs.queue import Running
from duely.jobs.registry import job
from duely.mail.delivery import OverLimit, deliver
from duely.mail.messages import Mail

log = structlog.get_logger("duely.accounts")


@job("accounts.send_code", urgent=True)
def send_code(running: Running, *, code_id: str, requester: str = "") -> None:
    """Send a code or a link, as long as it works. requester: the address of the client that asked for a code."""
    mail = mails.of_code(UUID(code_id), running.now, running.id)
    _send(running, mail and replace(mail, requester=requester))


@job("accounts.send_sign_up", urgent=True)
def send_sign_up(running: Running, *, sign_up_id: str) -> None:
    """Send the link that makes an account."""
    _send(running, mails.of_sign_up(UUID(sign_up_id), running.now))


@job("accounts.tell_owner", attempts=40)
def tell_owner(running: Running, *, user_id: str, seq: int, at_new_address: bool = False) -> None:
    """Tell someone what happened to their account. Over the limit the latest notice of each kind of event waits."""
    try:
        _send(running, mails.of_change(UUID(user_id), seq, at_new_address=at_new_address))
    except OverLimit:
        if not queries.is_repeated_later(UUID(user_id), seq):
            raise
        log.info("a notice is left out: a later one of the same kind waits", job=running.name, user=user_id, seq=seq)


def _send(running: Running, mail: Mail | None) -> None:
    if mail is not None:
        deliver(running, mail)


@job("accounts.purge_sessions", every=timedelta(hours=1), timeout_seconds=300)
def purge_sessions(running: Running) -> None:
    """Remove dead sessions, refresh tokens, codes and sign-ups, and the sessions of the admin's pages."""
    SessionStore.clear_expired()
    in_steps(lambda limit: actions.purge_sessions(now=running.now, limit=limit), running.confirm)
