"""What tasks are: statuses, priorities, due dates, tags, reminders. No database, no clock."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Self
from zoneinfo import ZoneInfo

from duely.core.clock import OutOfRange, parse_day, parse_instant
from duely.core.names import fold

MAX_TAGS = 20
MAX_TAG_LENGTH = 50
MAX_REMINDERS = 10
MAX_KEY = 300
"""A single character may become 18 in the form that is compared; the column of a category's key holds so many."""
MAX_TITLE = 255
MAX_OPERATIONS = 100
MAX_DESCRIPTION_BYTES = 64 * 1024
EARLIEST = 1900
LATEST = 9998
MILLISECOND = timedelta(milliseconds=1)


class _Choice(StrEnum):
    """A closed set of words, read in any case."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if isinstance(value, str):
            lowered = value.lower()
            wanted = cls.aliases().get(lowered, lowered)
            return next((item for item in cls if item.value == wanted), None)
        return None

    @classmethod
    def aliases(cls) -> dict[str, str]:
        """Other words for some of the values."""
        return {}


class Status(_Choice):
    """The status of a task. Only the system sets `overdue`."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    OVERDUE = "overdue"

    @classmethod
    def aliases(cls) -> dict[str, str]:
        """As other products call them."""
        return {"todo": "pending", "done": "completed"}


class Priority(_Choice):
    """The priority of a task, from low to urgent."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class Verb(_Choice):
    """What one of many operations does."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


RANKS = {priority: rank for rank, priority in enumerate(Priority, start=1)}
PRIORITIES = {rank: priority for priority, rank in RANKS.items()}
OPEN = (Status.PENDING, Status.IN_PROGRESS)
CLOSED = (Status.COMPLETED, Status.CANCELLED)
TRASH_DAYS = 30
"""How long a deleted task stays in the trash."""


def start_of_day(day: date, zone: str) -> datetime:
    """The first instant of a day in a time zone."""
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


def last_days(now: datetime, zone: str, number: int) -> list[date]:
    """So many days of a time zone, the last one today."""
    today = now.astimezone(ZoneInfo(zone)).date()
    return [today - timedelta(days=back) for back in reversed(range(number))]


def placed(due: date, zone: str) -> datetime:
    """The instant of a due date on the one time line.

    A `datetime` is an instant already; a plain `date` counts as its last millisecond in the owner's zone.
    """
    if isinstance(due, datetime):
        return due
    # Filters, ordering and the overdue check need one order for whole days and instants (decision 0005).
    return start_of_day(due + timedelta(days=1), zone) - MILLISECOND


def parse_due(text: str) -> date:
    """`2026-01-31` as a date, or an RFC 3339 instant with an offset as a datetime.

    Raises ValueError for anything else, OutOfRange for years that a task cannot have.
    """
    due = parse_instant(text) if len(text) > len("2026-01-31") else parse_day(text)
    if not EARLIEST <= due.year <= LATEST:
        raise OutOfRange(text)
    return due


def show_due(due_on: date | None, due_at: str | None) -> str | None:
    """A due date in the form it was given. due_at: as text already."""
    return due_at if due_on is None else due_on.isoformat()


_OFFSET = re.compile(r"-P(?=.)(?:(\d{1,4})W|(?:(\d{1,4})D)?(?:T(?=.)(?:(\d{1,5})H)?(?:(\d{1,6})M)?)?)", re.ASCII)
MAX_OFFSET = timedelta(days=366)


def parse_offset(text: str) -> timedelta:
    """An ISO 8601 duration before the due date, such as `-PT30M` or `-P1D`: minutes to a year. Raises ValueError."""
    nominal, exact = _offset(text)
    if nominal + exact > MAX_OFFSET:
        raise ValueError(text)
    return nominal + exact


def reminded_at(text: str, due_at: datetime | None, zone: str) -> datetime | None:
    """When a reminder is due: an RFC 3339 instant, or an offset before the due date; None without a due date.

    Weeks and days are days of the calendar in the owner's zone, hours and minutes are exact, days count first
    (RFC 5545 section 3.3.6). A time that the clocks skip counts as if they had not, one that they show twice is the
    first of the two (section 3.3.5).
    """
    if not text.startswith("-"):
        return parse_instant(text)
    if due_at is None:
        return None
    nominal, exact = _offset(text)
    if nominal:
        due = due_at.astimezone(ZoneInfo(zone)).replace(fold=0)
        due_at = (due - nominal).astimezone(UTC)
    return due_at - exact


def _offset(text: str) -> tuple[timedelta, timedelta]:
    """Days of the calendar, and the exact time besides. Raises ValueError."""
    match = _OFFSET.fullmatch(text.upper())
    if not match:
        raise ValueError(text)
    weeks, days, hours, minutes = (int(part or 0) for part in match.groups())
    return timedelta(weeks=weeks, days=days), timedelta(hours=hours, minutes=minutes)


@dataclass(frozen=True, slots=True)
class IncomingCategory:
    """A category from a file. `key`: what its tasks call it. `fields` as of a new one, with instants beside them."""

    key: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IncomingTask:
    """A task from a file.

    `source`: what makes it the same task when the file comes again, for one without an id of ours.
    `category`: the key of its category. `fields` as of a new task, with instants and version where the file has them.
    `place`: where it stands in the file. `follows`: `source` is an id of another program, so a newer file changes the
    task, unless somebody has changed it here.
    """

    fields: Mapping[str, Any]
    source: str = ""
    category: str | None = None
    place: str = ""
    follows: bool = False


def folded(name: str) -> str:
    """The form in which names and tags are compared, of at most MAX_KEY characters (see `core.names.fold`).

    Databases differ in what counts as the same, Python does not.
    """
    return fold(name)[:MAX_KEY]


def former_key(name: str) -> str:
    """The form in which the release before compares names: what it writes beside this one is found by it."""
    return name.casefold()


@dataclass(frozen=True, slots=True)
class Standing:
    """A task's status with what hangs on it. `former` is the status from before it became overdue."""

    status: Status
    former: Status | None
    completed_at: datetime | None


def standing_of(wanted: Mapping[str, Any], due_at: datetime | None, updated_at: datetime, now: datetime) -> Standing:
    """The standing of a task that comes from elsewhere, with what does not go together put right."""
    status: Status = wanted["status"]
    former: Status | None = wanted.get("former_status")
    open_before = former if former in OPEN else Status.PENDING
    if status is Status.COMPLETED:
        return Standing(status, None, wanted.get("completed_at") or updated_at)
    if status is not Status.OVERDUE:
        return Standing(status, None, None)
    is_late = due_at is not None and due_at <= now
    return Standing(status, open_before, None) if is_late else Standing(open_before, None, None)


def next_standing(current: Standing, *, asked: Status | None, late: bool, due_moved: bool, now: datetime) -> Standing:
    """The standing after an edit.

    asked: the status in the request, if any. late: whether the due date (the new one) is past.
    A task that is overdue and still late stays so, and remembers what it was asked to become; one
    whose due date moved to the future goes back to what it was.
    """
    overdue = current.status is Status.OVERDUE
    if asked in CLOSED:
        done_at = (current.completed_at or now) if asked is Status.COMPLETED else None
        return Standing(asked, None, done_at)
    # Another status would be replaced by overdue within a minute (decision 0005).
    if overdue and late:
        return Standing(Status.OVERDUE, asked if asked in OPEN else current.former, None)
    if overdue and due_moved:
        return Standing(asked if asked in OPEN else current.former or Status.PENDING, None, None)
    if asked is None or asked is current.status:
        return current
    return Standing(asked, None, None)
