"""Pure functions and enums for notices: kinds, outcomes, and the times of digests."""

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class Kind(StrEnum):
    """The kind of a notice."""

    REMINDER = "reminder"
    DIGEST = "digest"


class Outcome(StrEnum):
    """The outcome of a notice. Only a `sent` one was accepted by a mail server.

    `unproven`: the address is not verified. `limited`: the mailbox has reached its daily limit.
    """

    SENT = "sent"
    OUTDATED = "outdated"
    UNWANTED = "unwanted"
    EMPTY = "empty"
    REFUSED = "refused"
    UNPROVEN = "unproven"
    LIMITED = "limited"


class Unreachable(StrEnum):
    """The reason why a user gets no reminders at present."""

    INACTIVE = "inactive"
    UNWANTED = "unwanted"
    UNVERIFIED = "unverified"
    LIMITED = "limited"


def next_digest(hour: int, zone: str, after: datetime) -> datetime:
    """The first instant after `after` at which it is `hour` o'clock in `zone`: once a day, also at clock changes.

    An hour that daylight saving time skips counts as the first moment after the gap. Of an hour that occurs twice, the
    first one counts.
    """
    local = after.astimezone(ZoneInfo(zone)).date()
    days = (digest_at(local + timedelta(days=offset), hour, zone) for offset in (-1, 0, 1, 2))
    return next(instant for instant in days if instant > after)


def digest_at(day: date, hour: int, zone: str) -> datetime:
    """The instant of the digest of this day."""
    return datetime.combine(day, time(hour), ZoneInfo(zone)).astimezone(UTC)


def day_of(instant: datetime, zone: str) -> date:
    """The calendar day of an instant in `zone`."""
    return instant.astimezone(ZoneInfo(zone)).date()


def day_bounds(day: date, zone: str) -> tuple[datetime, datetime]:
    """The first instants of a day and of the next day in `zone`."""
    midnight = time(tzinfo=ZoneInfo(zone))
    start = datetime.combine(day, midnight).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), midnight).astimezone(UTC)
    return start, end
