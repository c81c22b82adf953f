"""What goes out and comes in: rows of a file, and what becomes of their cells. No database, no clock."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from duely.core import quotas
from duely.core.clock import parse_instant
from duely.core.errors import FieldError, ValidationFailed
from duely.tasks.rules import EARLIEST, LATEST, IncomingCategory, IncomingTask, parse_due, parse_offset

MAX_TASKS = 500_000
MAX_CATEGORIES = quotas.CATEGORIES
MAX_UNPACKED = 256 * 1024 * 1024
"""Bytes of what is read from an archive, as many as a file may have (`settings.LARGE_BODIES`)."""
UNPACKED_BASE, UNPACKED_PER_BYTE = 16 * 1024 * 1024, 50
"""So many bytes may come of any archive, and so many more of each of its own. Exports of text shrink to a tenth."""
MAX_MEMBERS = 1_000
"""Files that are read from an archive."""
MAX_DIRECTORY = 1024 * 1024
"""Bytes in which an archive says what is in it."""
BATCH, BATCH_TEXT = 200, 256 * 1024
"""So many tasks, or characters of descriptions, are written in one transaction: the owner's other writes wait for it, a
second at most."""
SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Faulty:
    """A row that cannot be read, and why."""

    faults: tuple[FieldError, ...]


def faulty(place: str, refused: ValidationFailed) -> Faulty:
    """A row whose fields are refused."""
    return Faulty(tuple(FieldError(f"{place}.{fault.field}", fault.code, fault.message) for fault in refused.errors))


Incoming = IncomingCategory | IncomingTask | Faulty
Rows = Iterator[Incoming]

_SIGNS = r"=+\-@\u207a\u207c\u208a\u208c\u2a75\u2a76\ufb29\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20"
"""All characters whose NFKC form begins with `=`, `+`, `-` or `@`: spreadsheets may normalise a cell first."""
_BREAKS = "\t\n\r\x0b\x0c\x85\u2028\u2029"
_BLANKS = r"[\s'\"\u200b-\u200d\u2060\ufeff]"
# Each run of blanks is read once (`*+`, `++`): a pattern that looks ahead from each blank would read it many times.
_STARTS = re.compile(
    rf"(?P<start>\A|;)(?P<first>{_BLANKS}*+)(?P<sign>[{_SIGNS}]?)|(?P<run>{_BLANKS}++)(?P<next>[{_SIGNS}]?)"
)
_BREAK = re.compile(rf"(?<=[{_BREAKS}])")
_ESCAPED_BREAK = re.compile(rf"(?<=[{_BREAKS}])'")
_FIRST_BREAK = re.compile(r"'*[\t\r\n]")


def escaped(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection). `unescaped` gives back the same text.

    An apostrophe goes before blanks and a sign such as `=` wherever a spreadsheet may begin a cell: at the beginning
    and after `;`, a tab or the end of a line, as some take these for separators, whatever the file says.
    """
    return _STARTS.sub(_escape, cell)


def _escape(match: re.Match[str]) -> str:
    start, blanks, sign = _parts(match)
    if sign:
        return start + ("" if match["start"] is None else "'") + _BREAK.sub("'", blanks) + sign
    if match["start"] == "" and _FIRST_BREAK.match(blanks):
        return "'" + match[0]
    return match[0]


def unescaped(cell: str) -> str:
    """The text of a cell that may have been escaped."""
    return _STARTS.sub(_unescape, cell)


def _unescape(match: re.Match[str]) -> str:
    start, blanks, sign = _parts(match)
    is_start = match["start"] is not None
    if sign:
        rest = _ESCAPED_BREAK.sub("", blanks)
        return start + (rest[1:] if is_start and rest.startswith("'") else rest) + sign
    if match["start"] == "" and blanks.startswith("'") and _FIRST_BREAK.match(blanks):
        return blanks[1:]
    return match[0]


def _parts(match: re.Match[str]) -> tuple[str, str, str]:
    """What separates cells, if anything, the blanks after it, and the sign after these."""
    if match["start"] is None:
        return "", match["run"], match["next"]
    return match["start"], match["first"], match["sign"]


TRUE = frozenset({"true", "yes", "y", "1", "x", "done", "completed", "complete", "checked"})
TICKS = frozenset("✓✔☑✅")
"""They mean true; to `word` they are nothing."""
BLANK_MARKS = frozenset({"-", "\u2013", "\u2014", "[]", "[ ]", "( )", "☐", "✗", "✘", "❌"})
"""They mean false; to `word` they are nothing, too."""
FALSE = frozenset({"", "false", "no", "n", "0", "open", "todo"})

# The names of our fields in other programs, the most specific name first: where a table has several columns for one
# field, the first name of the list wins. Names are compared without case, blanks and signs.
ALIASES: Mapping[str, Sequence[str]] = {
    "id": ("id", "uuid"),
    "title": ("title", "taskname", "cardname", "task", "todo", "subject", "name", "summary", "item", "what", "content"),
    "description": (
        *("description", "carddescription", "desc", "details", "body"),
        *("notes", "note", "memo", "comments", "comment"),
    ),
    "status": ("status", "state", "progress"),
    "completed": ("completed", "done", "iscompleted", "isdone", "finished", "checked", "complete"),
    "priority": ("priority", "prio", "importance", "urgency"),
    "due_date": ("duedate", "duedatetime", "dueon", "due", "deadline", "date", "when"),
    "category": ("project", "projectname", "projects", "list", "listname", "category", "folder", "area", "section"),
    "tags": ("tags", "tag", "labels", "label", "contexts", "keywords", "categories"),
    "reminders": ("reminders",),
    "completed_at": (
        *("completedat", "completedon", "completeddate", "completiondate", "completedtime", "doneat"),
        *("datecompleted", "completedatetime"),
    ),
    "created_at": (
        *("createdat", "created", "createdon", "creationdate", "createddate", "createdtime", "dateadded"),
        "datecreated",
    ),
    "updated_at": (
        *("updatedat", "updated", "modified", "modifiedat", "lastmodified", "lastupdated"),
        *("modificationdate", "datemodified", "lasteditedtime", "modificationtime"),
    ),
    "deleted_at": ("deletedat",),
    "former_status": ("formerstatus",),
    "version": ("version",),
    # What a task of ours has no field for, and its description can say.
    "start_date": ("startdate", "start", "starton", "startdatetime", "begindate"),
    "parent": ("parent", "parenttask", "parentname", "parenttitle", "parentitem"),
    "column": ("column", "columnname", "sectioncolumn", "bucket", "bucketname", "sectionname"),
    # What the other program calls it, whatever becomes of its fields.
    "key": ("taskid", "taskkey", "issueid", "issuekey", "gid", "itemid", "cardid"),
}
_FIELDS = {alias: (field, rank) for field, aliases in ALIASES.items() for rank, alias in enumerate(aliases)}


def columns_of(headers: Sequence[str]) -> dict[int, str]:
    """The field of each column that stands for one, by the column's place. Several columns may stand for one field.

    The columns with the most specific names come first, and of two with the same name the left one.
    """
    ranked: list[tuple[int, int, str]] = []
    for place, header in enumerate(headers):
        alias = re.sub(r"[\W_]+", "", header.casefold())
        if alias in _FIELDS:
            field, rank = _FIELDS[alias]
            ranked.append((rank, place, field))
    return {place: field for _, place, field in sorted(ranked)}


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
NEARLY: Mapping[str, str] = {
    **dict.fromkeys(("deferred", "later", "someday", "planned", "scheduled", "triage"), "pending"),
    **dict.fromkeys(("waitingonothers", "waitingonsomeoneelse", "waiting", "onhold", "blocked", "paused"), "pending"),
    **dict.fromkeys(("inreview", "review", "testing", "ongoing", "inprogres", "working"), "in_progress"),
    **dict.fromkeys(("archived", "duplicate", "invalid", "obsolete"), "cancelled"),
}
"""Statuses that we have no exact counterpart for."""


MAX_WORD = 64
"""Characters of a word, a number or a date in a cell. Longer ones are not looked at."""


def word(cell: str) -> str:
    """A cell as the tables above have it; "" for one that is too long for any of them."""
    return re.sub(r"[\W_]+", "", cell.casefold()) if len(cell) <= MAX_WORD else ""


_PERCENT = re.compile(r"(\d{1,3}(?:[.,]\d{1,4})?)\s*(%?)", re.ASCII)


def share(cell: str) -> float | None:
    """How much of a task is done, from 0 to 1: `0.5`, `50%`, `50`. 1 is all of it. None for anything else."""
    match = _PERCENT.fullmatch(cell.strip()) if len(cell) <= MAX_WORD else None
    if match is None:
        return None
    number = float(match[1].replace(",", "."))
    done = number / 100 if match[2] or number > 1 else number
    return done if done <= 1 else None


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_REST = r"(?![\d./-])(.*)"
_YEAR_FIRST = re.compile(rf"(\d{{4}})[./-](\d{{1,2}})[./-](\d{{1,2}}){_REST}", re.DOTALL | re.ASCII)
_YEAR_LAST = re.compile(rf"(\d{{1,2}})[./-](\d{{1,2}})[./-](\d{{4}}|\d\d){_REST}", re.DOTALL | re.ASCII)
_MONTH_FIRST = re.compile(
    rf"{_MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}}){_REST}", re.DOTALL | re.IGNORECASE | re.ASCII
)
_DAY_FIRST = re.compile(
    rf"(\d{{1,2}})(?:st|nd|rd|th|\.)?[\s-]+{_MONTH}[\s,-]+(\d{{4}}){_REST}", re.DOTALL | re.IGNORECASE | re.ASCII
)
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}\.?,?\s+", re.IGNORECASE)
_CLOCK = re.compile(
    r"[T ,]*(\d{1,2}):(\d\d)(?::(\d\d)(\.\d{1,9})?)?\s*([AaPp][Mm])?\s*"
    r"(?:Z|UTC|(?:\((?:GMT|UTC))?([+-]\d{1,2})(?::?(\d\d))?\)?)?",
    re.ASCII,
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
        text = cell.strip() if len(cell) <= MAX_WORD else ""
        if match := _YEAR_LAST.match(text):
            if int(match[1]) > 12 or "." in text[:6]:
                return "day"
            if int(match[2]) > 12:
                return "month"
    return None


def is_ambiguous(cell: str) -> bool:
    """Whether a cell is a date of which nothing tells the day from the month, such as 03/04/2026."""
    is_one = due_text(cell, "UTC", "day") is not None or due_text(cell, "UTC", "month") is not None
    return is_one and moment(cell, None) is None


def moment(cell: str, order: str | None) -> Moment | None:
    """What a cell says; None for what cannot be read, or could be read in two ways."""
    if len(cell) > MAX_WORD:
        return None
    text = cell.strip()
    if match := _YEAR_FIRST.fullmatch(text):
        year, month, day, rest = match.groups()
    elif match := _YEAR_LAST.fullmatch(text):
        first, second, year, rest = match.groups()
        if order is None or "." in text[:6]:
            order = order_of([text]) or order
        if order is None and first != second:
            return None
        day, month = (second, first) if order == "month" else (first, second)
    else:
        text = _WEEKDAY.sub("", text, count=1)
        if match := _MONTH_FIRST.fullmatch(text):
            name, day, year, rest = match.groups()
        elif match := _DAY_FIRST.fullmatch(text):
            day, name, year, rest = match.groups()
        else:
            return None
        month = str(_MONTHS.index(name[:3].lower()) + 1)
    if len(year) == 2:
        year = f"{'20' if int(year) < 69 else '19'}{year}"  # as POSIX reads two digits
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
    time = f"{hour:02}:{clock[2]}:{clock[3] or '00'}{clock[4] or ''}"
    return Moment(date, time, _offset(rest, clock[6], clock[7]))


def _offset(rest: str, hours: str | None, minutes: str | None) -> str | None:
    """The offset from UTC as RFC 3339 writes it, if the cell has one."""
    if hours is None:
        return "Z" if rest.rstrip().endswith(("Z", "UTC")) else None
    return f"{hours[0]}{int(hours[1:]):02}:{minutes or '00'}"


def instant_text(found: Moment, zone: str) -> str:
    """A moment as RFC 3339; in this time zone where it has no offset of its own."""
    if found.offset:
        return found.text
    whole = f"{found.day}T{found.clock or '00:00:00'}"
    try:
        return datetime.fromisoformat(whole).replace(tzinfo=ZoneInfo(zone)).isoformat()
    except ValueError:
        return whole  # which the field refuses


def due_text(cell: str, zone: str, order: str | None = None) -> str | None:
    """A cell as a due date of the API: a day, or an instant. None for what is none, or lies out of the calendar."""
    found = moment(cell, order)
    if found is None:
        return None
    text = found.day if found.clock is None else instant_text(found, zone)
    try:
        parse_due(text)
    except ValueError:
        return None
    return text


def offset_text(text: str) -> str | None:
    """An offset before the due date, such as `-PT30M`, if a reminder can have it."""
    try:
        parse_offset(text[:MAX_WORD])
    except ValueError:
        return None
    return text


def at_text(cell: str, zone: str, order: str | None = None) -> str | None:
    """A cell as an instant of the API, at the beginning of the day where it has no time. None as in `due_text`."""
    found = moment(cell, order)
    if found is None:
        return None
    text = instant_text(found, zone)
    try:
        return text if EARLIEST <= parse_instant(text).year <= LATEST else None
    except ValueError:
        return None
