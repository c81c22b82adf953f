"""TickTick's backup as CSV: some lines about the file, the header, a row for each task.

The columns are those of `pkg/modules/migration/ticktick` in the repository go-vikunja/vikunja.
"""

import re
from collections.abc import Sequence
from datetime import UTC
from zoneinfo import ZoneInfo

from duely.accounts.rules import time_zone_fault
from duely.core.clock import parse_instant
from duely.transfer.formats import foreign, sheet
from duely.transfer.formats.base import Format, Outline, Source
from duely.transfer.reading import Reading, Record
from duely.transfer.rules import Rows, at_text

COLUMNS = frozenset({"Folder Name", "List Name", "Title", "Kind", "Priority", "Status"})
PRIORITIES = {"0": "medium", "1": "low", "3": "medium", "5": "high", "": "medium"}
STATUSES = {"0": "pending", "1": "completed", "2": "completed", "-1": "cancelled", "": "pending"}
DEFAULTS = {"Is Floating": "false", "Is Check list": "N", "Kind": "TEXT", "Repeat": ""}
INTERNAL = frozenset({"Order", "Column Order", "View Mode", "Kind", "Is Check list", "Is Floating"})
_ITEM_SIGNS = {"▫": "- [ ] ", "▪": "- [x] "}
"""How a check list stands in the content."""


def recognises(outline: Outline) -> bool:
    """Whether a table has the columns of a backup."""
    return outline.kind == "table" and outline.has(*COLUMNS)


def read(source: Source, reading: Reading) -> Rows:
    """The rows of a backup: a list becomes a category, its folder and the column tags."""
    with source.only() as file:
        number, cells = sheet.header(file, reading.check, _is_header)
        names = sheet.column_names(cells)
        titles = foreign.References(foreign.Room())
        for _, _, record in sheet.records(file, Reading(reading.check), after=number, names=names):
            if identity := record.text("taskId").strip():
                titles.add(identity, foreign.parent_title(record.text("Title")), "")
        categories = foreign.Categories()
        rows = sheet.records(file, reading, after=number, names=names, defaults=DEFAULTS, internal=INTERNAL)
        for _, row, record in rows:
            key, new = categories.named(record, record.text("List Name"), "List Name")
            yield from new
            task = _draft(record, titles, source.zone, reading)
            identity = record.text("taskId").strip()
            created = record.text("Created Time")
            same = f"ticktick {identity} {created}" if identity else foreign.source_of("ticktick", row, reading)
            yield task.finished(same, key, follows=bool(identity))


def _is_header(cells: Sequence[str]) -> bool:
    return recognises(Outline("table", tuple(cell.strip() for cell in cells)))


def _draft(record: Record, titles: foreign.References, zone: str, reading: Reading) -> foreign.Draft:
    task = foreign.Draft(record, reading, record.text("Title"), "Title")
    task.describe(_content(record))
    for name, words in (("priority", PRIORITIES), ("status", STATUSES)):
        field = name.capitalize()
        cell = record.text(field).strip()
        task.fields[name] = words.get(cell, words[""])
        if cell not in words:
            task.say(field, cell, field)
    task.tag(record.text("Tags").split(","), "Tags")
    task.tag([record.text("Folder Name"), record.text("Column Name")], "Folder Name")
    _set_dates(task, record, zone)
    for reminder in record.text("Reminder").split():
        is_whole_day = record.text("Is All Day").strip().lower() == "true"
        task.remind(offset_of_whole_day(reminder) if is_whole_day else _before(reminder), zone, "Reminder")
    task.say("Repeats", record.text("Repeat"), "Repeat")
    task.say("Part of", titles.use(record, "parentId", record.text("parentId").strip()), "parentId")
    return task


def _content(record: Record) -> str:
    text = record.text("Content")
    if any(sign in text for sign in _ITEM_SIGNS):
        for sign, mark in _ITEM_SIGNS.items():
            text = text.replace(sign, f"\n{mark}")
    return text.strip("\n")


def _set_dates(task: foreign.Draft, record: Record, zone: str) -> None:
    own_zone = record.text("Timezone").strip()
    if own_zone and time_zone_fault(own_zone) is not None:
        record.note("Timezone", "not_understood", own_zone)
        own_zone = ""
    own_zone = own_zone or zone
    all_day = record.text("Is All Day").strip().lower()
    is_all_day = all_day == "true"
    if all_day not in ("true", "false", ""):
        record.note("Is All Day", "not_understood", record.text("Is All Day"))
    due, start = record.text("Due Date").strip(), record.text("Start Date").strip()
    task.due(_day(due, own_zone) if is_all_day else due, own_zone, "Due Date")
    if start and not due:
        task.due(_day(start, own_zone) if is_all_day else start, own_zone, "Start Date", label="Start")
    elif start != due:
        task.say("Start", _day(start, own_zone) if is_all_day else start, "Start Date")
    task.at("created_at", record.text("Created Time"), own_zone, "Created Time")
    task.at("completed_at", record.text("Completed Time"), own_zone, "Completed Time")


def _day(text: str, zone: str) -> str:
    """The day in a time zone that an instant begins: how a whole day is written."""
    at = at_text(text, zone)
    return text if at is None else parse_instant(at).replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).date().isoformat()


def _before(reminder: str) -> str:
    """`TRIGGER:-PT30M`, `TRIGGER:P0DT9H0M0S` or a duration: how long before the due date; as it is otherwise."""
    text = reminder.removeprefix("TRIGGER:")
    if text.startswith("PT") or text in ("P0D", "-P0D"):
        return "-PT0M" if text.strip("-PT0DHMS") == "" else f"-{text}"
    return text


_DURATION = re.compile(
    r"(?:TRIGGER:)?(?P<sign>-?)P(?:(?P<weeks>\d{1,2})W)?(?:(?P<days>\d{1,4})D)?"
    r"(?:T(?:(?P<hours>\d{1,4})H)?(?:(?P<minutes>\d{1,5})M)?(?:(?P<seconds>0{1,2})S)?)?",
    re.ASCII,
)


def offset_of_whole_day(reminder: str) -> str:
    """A reminder of a whole day as an offset before its end.

    TickTick counts from the beginning of the day: `-PT15H` is 9:00 on the day before, `P0DT9H0M0S` 9:00 on the day.
    Other texts, and reminders after the day, are returned in a form that is no offset, so that they are noted.
    """
    match = _DURATION.fullmatch(reminder)
    if match is None or not any(match.groups()[1:]):
        return reminder.lstrip("-")
    weeks, days, hours, minutes = (int(match[name] or 0) for name in ("weeks", "days", "hours", "minutes"))
    minutes += ((weeks * 7 + days) * 24 + hours) * 60
    if match["sign"] or not minutes:
        days, minutes = divmod(minutes, 24 * 60)
        return f"-P{days + 1}D" + (f"T{minutes}M" if minutes else "")
    return f"-PT{24 * 60 - minutes}M" if minutes <= 24 * 60 else reminder


FORMAT = Format("ticktick", "TickTick", "the backup as CSV", recognises, read)
