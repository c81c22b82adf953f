"""What goes out and comes in: rows of a file, and what becomes of their cells. No database, no clock."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from duely.core.errors import FieldError, ValidationFailed
from duely.tasks.rules import IncomingCategory, IncomingTask

MAX_TASKS = 500_000
MAX_CATEGORIES = 10_000
MAX_UNPACKED = 256 * 1024 * 1024
"""Bytes of what is read from an archive, as many as a file may have (`settings.LARGE_BODIES`)."""
MAX_MEMBERS = 1_000
"""Files that are read from an archive."""
MAX_DIRECTORY = 1024 * 1024
"""Bytes in which an archive says what is in it."""
BATCH, BATCH_TEXT = 200, 256 * 1024
"""So many tasks, or characters of descriptions, are written in one transaction: the owner's other writes wait for it, a
second at most."""
SAMPLE = 5


class Format(StrEnum):
    """What kind of file it is."""

    DUELY = "duely"
    CSV = "csv"
    TODOIST = "todoist"
    VIKUNJA = "vikunja"


@dataclass(frozen=True, slots=True)
class Faulty:
    """A row that cannot be read, and why."""

    faults: tuple[FieldError, ...]


def faulty(place: str, refused: ValidationFailed) -> Faulty:
    """A row whose fields are refused."""
    return Faulty(tuple(FieldError(f"{place}.{fault.field}", fault.code, fault.message) for fault in refused.errors))


Incoming = IncomingCategory | IncomingTask | Faulty
Rows = Iterator[Incoming]


@dataclass(slots=True)
class Reading:
    """What a reader has to say of a file beside its rows."""

    columns: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Count something that is worth a word."""
        self.notes[text] = self.notes.get(text, 0) + 1


_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r\n]")


def escaped(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection). `unescaped` gives back the same text."""
    return "'" + cell if _FORMULA.match(cell) else cell


def unescaped(cell: str) -> str:
    """The text of a cell that may have been escaped."""
    return cell[1:] if _ESCAPED.match(cell) else cell


TRUE = frozenset({"true", "yes", "y", "1", "x", "done", "completed", "complete"})
TICKS = frozenset("✓✔☑✅")
"""They mean true; to `word` they are nothing."""
FALSE = frozenset({"", "false", "no", "n", "0", "open", "todo"})

# How other programs call our fields. Names are compared without case, blanks and signs.
ALIASES: Mapping[str, Sequence[str]] = {
    "id": ("id", "uuid"),
    "title": ("title", "task", "taskname", "name", "content", "summary", "subject", "todo", "item", "what"),
    "description": ("description", "desc", "note", "notes", "details", "body", "comment", "comments", "memo"),
    "status": ("status", "state", "progress"),
    "completed": ("completed", "done", "iscompleted", "isdone", "finished", "checked", "complete"),
    "priority": ("priority", "prio", "importance", "urgency"),
    "due_date": ("duedate", "due", "dueon", "deadline", "date", "duedatetime", "when"),
    "category": ("category", "project", "projectname", "list", "listname", "folder", "area", "section"),
    "tags": ("tags", "tag", "labels", "label", "contexts", "keywords"),
    "reminders": ("reminders",),
    "completed_at": ("completedat", "completedon", "completeddate", "completiondate", "completedtime", "doneat"),
    "created_at": ("createdat", "created", "createdon", "creationdate", "createddate", "createdtime", "dateadded"),
    "updated_at": ("updatedat", "updated", "modified", "modifiedat", "lastmodified", "lastupdated"),
    "deleted_at": ("deletedat",),
    "former_status": ("formerstatus",),
    "version": ("version",),
}
_MEANT = {alias: name for name, aliases in ALIASES.items() for alias in aliases}


def column_of(header: str) -> str | None:
    """The field that a column of a table stands for."""
    return _MEANT.get(re.sub(r"[\W_]+", "", header.casefold()))


def columns_of(headers: Sequence[str]) -> dict[int, str]:
    """The fields of a table's columns by their places. Of two columns for the same field the first one counts."""
    found: dict[int, str] = {}
    for place, header in enumerate(headers):
        name = column_of(header)
        if name is not None and name not in found.values():
            found[place] = name
    return found


PRIORITIES = {
    **dict.fromkeys(("low", "l", "lowest", "minor", "p4"), "low"),
    **dict.fromkeys(("medium", "m", "med", "normal", "none", "p3"), "medium"),
    **dict.fromkeys(("high", "h", "important", "major", "p2"), "high"),
    **dict.fromkeys(("urgent", "u", "highest", "critical", "blocker", "p1"), "urgent"),
}
STATUSES = {
    **dict.fromkeys(
        ("pending", "todo", "open", "new", "notstarted", "backlog", "incomplete", "needsaction"), "pending"
    ),
    **dict.fromkeys(("inprogress", "doing", "started", "active", "wip"), "in_progress"),
    **dict.fromkeys(("completed", "complete", "done", "closed", "finished", "resolved"), "completed"),
    **dict.fromkeys(("cancelled", "canceled", "rejected", "wontdo", "abandoned", "dropped"), "cancelled"),
    "overdue": "overdue",
}


def word(cell: str) -> str:
    """A cell as the tables above have it."""
    return re.sub(r"[\W_]+", "", cell.casefold())


_DAY_FIRST = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})(?!\d)(.*)", re.DOTALL)
_YEAR_FIRST = re.compile(r"(\d{4})[./-](\d{1,2})[./-](\d{1,2})(?!\d)(.*)", re.DOTALL)
_CLOCK = re.compile(
    r"[T ,]*(\d{1,2}):(\d\d)(?::(\d\d)(\.\d{1,9})?)?\s*([AaPp][Mm])?\s*(Z|UTC|[+-]\d\d:?\d\d)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A date as a table has it, perhaps with a time and an offset from UTC. `text`: as the API takes them."""

    day: str
    clock: str | None
    offset: str | None

    @property
    def text(self) -> str:
        """As far as the cell says."""
        return self.day if self.clock is None else f"{self.day}T{self.clock}{self.offset or ''}"


def order_of(cells: Sequence[str]) -> str | None:
    """Whether days or months come first in dates such as 31/12/2026: "day", "month", or None when nothing tells.

    Dates with points are written with the day first everywhere.
    """
    for cell in cells:
        if match := _DAY_FIRST.match(cell.strip()):
            if int(match[1]) > 12 or "." in cell.strip()[:6]:
                return "day"
            if int(match[2]) > 12:
                return "month"
    return None


def moment(cell: str, order: str | None) -> Moment | None:
    """What a cell says; None for what cannot be read, or could be read in two ways."""
    text = cell.strip()
    if match := _YEAR_FIRST.fullmatch(text):
        year, month, day, rest = match.groups()
    elif match := _DAY_FIRST.fullmatch(text):
        first, second, year, rest = match.groups()
        if order is None or "." in text[:6]:
            order = order_of([text]) or order
        if order is None and first != second:
            return None
        day, month = (second, first) if order == "month" else (first, second)
    else:
        return None
    date = f"{year}-{int(month):02}-{int(day):02}"
    if not rest.strip():
        return Moment(date, None, None)
    clock = _CLOCK.fullmatch(rest)
    if clock is None:
        return None
    hour = int(clock[1])
    if clock[5]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if clock[5].lower() == "pm" else 0)
    offset = clock[6]
    if offset and offset not in ("Z", "UTC") and ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:]}"
    time = f"{hour:02}:{clock[2]}:{clock[3] or '00'}{clock[4] or ''}"
    return Moment(date, time, "Z" if offset == "UTC" else offset)
