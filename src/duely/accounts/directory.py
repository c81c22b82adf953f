"""What the mail module asks about the people behind addresses (see `duely.mail.recipients`)."""

from datetime import datetime

from duely.accounts import actions, queries
from duely.mail.rules import Allowance


class Directory:
    """Answers from the table of users."""

    def is_proven(self, address: str) -> bool:
        """Whether an active user has verified this address."""
        return queries.is_proven(address)

    def note_limit(self, address: str, allowance: Allowance, *, limit: int, until: datetime, now: datetime) -> None:
        """Record that the daily limit of a mailbox is reached."""
        actions.note_mail_limit(address=address, allowance=allowance, limit=limit, until=until, now=now)
