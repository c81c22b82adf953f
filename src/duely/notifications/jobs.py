"""Background jobs for reminders and digests."""

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
OWNERS_PER_BATCH = 100
"""Users whose reminders are dropped in one transaction."""


@job("notifications.deliver", attempts=40)
def deliver(running: Running, *, notice_id: str) -> None:
    """Send the mail of one notice. Each attempt reads the data again, so that an outdated notice is not sent."""
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
    """Queue the mails of due reminders, and drop the reminders of users who get none.

    Ends after RUN_SECONDS, so that a large backlog does not exceed the timeout of a job. The next run continues.
    """
    deadline = time.monotonic() + RUN_SECONDS
    skipped_owners: set[UUID] = set()
    has_more = True
    while has_more:
        while actions.queue_reminders(deliver=deliver, now=running.now, skipped_owners=skipped_owners):
            running.confirm()
            if time.monotonic() > deadline:
                return
            if len(skipped_owners) >= actions.MAX_SKIPPED_OWNERS:
                break
        has_more = _drop_reminders(running, skipped_owners, deadline)


def _drop_reminders(running: Running, skipped_owners: set[UUID], deadline: float) -> bool:
    """Drop the reminders of users who get none, and clear the set. Returns whether more may be queued after that."""
    total, owners = 0, sorted(skipped_owners)
    for start in range(0, len(owners), OWNERS_PER_BATCH):
        owner_ids = owners[start : start + OWNERS_PER_BATCH]
        while dropped := actions.drop_reminders(owner_ids=owner_ids, now=running.now):
            total += dropped
            running.confirm()
            if time.monotonic() > deadline:
                return False
    is_full = len(skipped_owners) >= actions.MAX_SKIPPED_OWNERS
    # Owners whose reminders were dropped have none left to skip. Owners with a full share are skipped again.
    skipped_owners.clear()
    return bool(is_full and total)


@job("notifications.digest", every=timedelta(seconds=60))
def digest(running: Running) -> None:
    """Queue the mails of due digests."""
    while actions.queue_digests(deliver=deliver, now=running.now):
        running.confirm()


@job("notifications.purge", every=timedelta(hours=1), timeout_seconds=300)
def purge(running: Running) -> None:
    """Delete old notices in short transactions."""
    in_steps(lambda limit: actions.purge_notices(now=running.now, limit=limit), running.confirm)
