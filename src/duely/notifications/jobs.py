"""Reminders and digests in the background."""

import time
from datetime import timedelta
from uuid import UUID

from duely.jobs.pace import in_steps
from duely.jobs.queue import Running
from duely.jobs.registry import job
from duely.mail import delivery
from duely.mail.messages import Mail
from duely.notifications import actions, mails
from duely.notifications.rules import Outcome

RUN_SECONDS = 10.0
AT_ONCE = 100
"""Members whose reminders are dropped together."""


@job("notifications.deliver", attempts=40)
def deliver(running: Running, *, notice_id: str) -> None:
    """Send one mail. It is looked at afresh each time: what is not true any more is not sent."""
    notice = actions.begin(running, UUID(notice_id))
    if notice is None:
        return
    mail = mails.mail_of(notice, running.now)
    if not isinstance(mail, Mail):
        actions.end(running, notice, mail)
        return
    actions.end(running, notice, Outcome(delivery.deliver(running, mail, notice=notice_id)))


@job("notifications.remind", every=timedelta(seconds=10))
def remind(running: Running) -> None:
    """Queue the mails of reminders whose time has come, and drop those of members who are sent none.

    Ends after RUN_SECONDS at the latest, so that a large backlog does not outlast the time of a job; the next run
    goes on.
    """
    end = time.monotonic() + RUN_SECONDS
    passed_over: set[UUID] = set()
    has_more = True
    while has_more:
        while actions.queue_reminders(deliver=deliver, now=running.now, passed_over=passed_over):
            running.confirm()
            if time.monotonic() > end:
                return
            if len(passed_over) >= actions.MOST_PASSED_OVER:
                break
        has_more = _drop(running, passed_over, end)


def _drop(running: Running, passed_over: set[UUID], end: float) -> bool:
    """Drop the reminders of those who are sent none. Returns whether there may be more to queue after that."""
    dropped, owners = 0, sorted(passed_over)
    for start in range(0, len(owners), AT_ONCE):
        owner_ids = owners[start : start + AT_ONCE]
        while many := actions.drop_reminders(owner_ids=owner_ids, now=running.now):
            dropped += many
            running.confirm()
            if time.monotonic() > end:
                return False
    is_full = len(passed_over) >= actions.MOST_PASSED_OVER
    # Those whose reminders are dropped need not be passed over any more; those with a full share are met again.
    passed_over.clear()
    return bool(is_full and dropped)


@job("notifications.digest", every=timedelta(seconds=60))
def digest(running: Running) -> None:
    """Queue the digests whose hour has come."""
    while actions.queue_digests(deliver=deliver, now=running.now):
        running.confirm()


@job("notifications.purge", every=timedelta(hours=1), timeout_seconds=300)
def purge(running: Running) -> None:
    """Forget old notices in short transactions."""
    in_steps(lambda limit: actions.purge_notices(now=running.now, limit=limit), running.confirm)
