"""What the clock does about reminders, without a worker."""

from datetime import datetime
from uuid import UUID

from duely.notifications import actions, jobs
from smtp_server import SmtpServer


def remind(at: datetime) -> None:
    """Queue the mails of due reminders, and drop those of members who are sent none."""
    skipped_owners: set[UUID] = set()
    while actions.queue_reminders(deliver=jobs.deliver, now=at, skipped_owners=skipped_owners):
        pass
    while actions.drop_reminders(owner_ids=skipped_owners, now=at):
        pass


def subjects(mailbox: SmtpServer) -> list[str]:
    """The subjects of all mails that have arrived."""
    return [str(mail.message["Subject"]) for mail in mailbox.received]
