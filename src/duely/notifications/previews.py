"""The mails of this module with sample contents, for previews."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from uuid import UUID

from duely.accounts.models import User
from duely.mail.messages import Mail
from duely.notifications.mails import composed
from duely.notifications.queries import Agenda, Section
from duely.notifications.rules import Kind
from duely.tasks.models import Task

READERS = (("en", "Europe/London"), ("de", "Europe/Berlin"))
_ID = UUID(int=0)


def previews() -> Iterator[tuple[str, Mail]]:
    """The name and the mail of each kind, in two languages and time zones."""
    rent = Task(title="Pay the rent", due_on=date(2026, 12, 1), due_at=datetime(2026, 12, 1, 22, 59, tzinfo=UTC))
    call = Task(
        title="Call Grace & Alan <today>",
        description="About the new machine.\nBring the plans.",
        due_at=datetime(2026, 12, 1, 14, 30, tzinfo=UTC),
    )
    done = Task(title="Water the plants", completed_at=datetime(2026, 11, 30, 8, 0, tzinfo=UTC))
    day = Agenda(due_today=Section([rent, call], 2), overdue=Section([rent], 23), done_yesterday=Section([done], 1))
    for locale, zone in READERS:
        reader = User(id=_ID, username="ada", email="ada@example.org", locale=locale, time_zone=zone)
        yield f"reminder.{locale}", composed(Kind.REMINDER, reader, {"task": call}, _ID)
        yield f"digest.{locale}", composed(Kind.DIGEST, reader, {"agenda": day, "day": date(2026, 12, 1)}, _ID)
