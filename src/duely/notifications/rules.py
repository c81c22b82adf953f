"""What people are told by e-mail, and when. No database, no clock."""

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class Kind(StrEnum):
    """What a notice is about."""

    REMINDER = "reminder"
    DIGEST = "digest"


class Outcome(StrEnum):
    """How a notice ended. Only `sent` ones reached a mail server.

    `unproven`: nobody has verified the address. `limited`: the mailbox has reached its daily limit.
    """

    SENT = "sent"
    OUTDATED = "outdated"
    UNWANTED = "unwanted"
    EMPTY = "empty"
    REFUSED = "refused"
    UNPROVEN = "unproven"
    LIMITED = "limited"


class Unreachable(StrEnum):
    """Why someone is sent no reminders at present."""

    INACTIVE = "inactive"
    UNWANTED = "unwanted"
    UNVERIFIED = "unverified"
    LIMITED = "limited"


def next_digest(hour: int, zone: str, after: datetime) -> datetime:
    """The first instant after `after` at which it is `hour` o'clock in `zone`: once a day, whatever the clocks do.

    An hour that daylight saving skips counts as the moment after the gap; of one that comes twice the first counts.
    """
    local = after.astimezone(ZoneInfo(zone)).date()
    days = (digest_at(local + timedelta(days=offset), hour, zone) for offset in (-1, 0, 1, 2))
    return next(instant for instant in days if instant > after)


def digest_at(day: date, hour: int, zone: str) -> datetime:
    """The instant of the digest of this day."""
    return datetime.combine(day, time(hour), ZoneInfo(zone)).astimezone(UTC)


def day_of(instant: datetime, zone: str) -> date:
    """The day that it is in `zone` at this instant."""
    return instant.astimezone(ZoneInfo(zone)).date()


def day_bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """The first instants of this day and of the next in `zone`."""
    here = ZoneInfo(zone)
    start, end = (datetime.combine(day + timedelta(days=more), time.min, here).astimezone(UTC) for more in (0, 1))
    return start, end
