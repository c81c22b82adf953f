"""Mails of accounts, and the clean-up."""

from datetime import timedelta
from uuid import UUID

import structlog
from django.contrib.sessions.backends.db import SessionStore

from duely.accounts import actions, mails, queries, steps
from duely.jobs.pace import in_steps
from duely.jobs.queue import Running
from duely.jobs.registry import job
from duely.mail.delivery import Delivery, OverLimit, deliver
from duely.mail.messages import Mail

log = structlog.get_logger("duely.accounts")


@job("accounts.send_code", urgent=True)
def send_code(running: Running, *, code_id: str) -> None:
    """Send a code or a link, as long as it works. A mail that is dropped does not count as a mail with this code."""
    if _send(running, mails.of_code(UUID(code_id), running.now, running.id)) in (Delivery.LIMITED, Delivery.REFUSED):
        steps.take_back_mail(UUID(code_id))


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


def _send(running: Running, mail: Mail | None) -> Delivery | None:
    return None if mail is None else deliver(running, mail)


@job("accounts.purge_sessions", every=timedelta(hours=1), timeout_seconds=300)
def purge_sessions(running: Running) -> None:
    """Remove dead sessions, refresh tokens, codes and sign-ups, and the sessions of the admin's pages."""
    SessionStore.clear_expired()
    in_steps(lambda limit: actions.purge_sessions(now=running.now, limit=limit), running.confirm)
