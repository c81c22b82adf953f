"""Mails of accounts, and the clean-up."""

from datetime import timedelta
from uuid import UUID

import structlog
from django.contrib.sessions.backends.db import SessionStore

from duely.accounts import actions, mails
from duely.jobs.queue import Postponed, Running
from duely.jobs.registry import job
from duely.mail import transport
from duely.mail.messages import Mail

log = structlog.get_logger("duely.accounts")


@job("accounts.send_code", urgent=True)
def send_code(running: Running, *, code_id: str) -> None:
    """Send a code or a link, as long as it works."""
    _send(running, mails.of_code(UUID(code_id), running.now))


@job("accounts.send_sign_up", urgent=True)
def send_sign_up(running: Running, *, sign_up_id: str) -> None:
    """Send the link that makes an account."""
    _send(running, mails.of_sign_up(UUID(sign_up_id), running.now))


@job("accounts.tell_owner", attempts=40)
def tell_owner(running: Running, *, user_id: str, seq: int) -> None:
    """Tell someone what happened to their account."""
    _send(running, mails.of_change(UUID(user_id), seq))


def _send(running: Running, mail: Mail | None) -> None:
    if mail is None:
        return
    # A worker that was held up before this line, longer than its lease, has no say any more.
    running.confirm()
    try:
        transport.send(mail)
    except transport.PermanentFailure as failure:
        log.warning("a mail was refused for good", job=running.name, reason=str(failure))
    except transport.TemporaryFailure as failure:
        raise Postponed(str(failure)) from failure


@job("accounts.purge_sessions", every=timedelta(hours=1), timeout_seconds=300)
def purge_sessions(running: Running) -> None:
    """Remove dead sessions, refresh tokens, codes and sign-ups, and the sessions of the admin's pages."""
    SessionStore.clear_expired()
    while actions.purge_sessions(now=running.now):
        running.confirm()
