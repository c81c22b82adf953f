"""Todoist's projects as CSV, one by one or as a backup: an archive with a file for each.

Its help pages name the columns ("Format a CSV file to import into Todoist"). Dates are written as people say them.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import BinaryIO

from duely.accounts.rules import time_zone_fault
from duely.core.clock import rfc3339
from duely.core.errors import MalformedRequest
from duely.tasks.quick import read_due
from duely.tasks.rules import IncomingCategory, folded
from duely.transfer.formats import foreign, sheet
from duely.transfer.formats.base import Format, Outline, Source, each_member
from duely.transfer.reading import Reading, Record
from duely.transfer.rules import MAX_WORD, Rows, due_text

COLUMNS = frozenset({"TYPE", "CONTENT", "INDENT"})
PRIORITIES = {"1": "urgent", "2": "high", "3": "medium", "4": "low", "": "low"}
DEFAULTS = {"IS_COLLAPSED": "False", "DATE_LANG": "en", "DEADLINE_LANG": "en"}
INTERNAL = frozenset({"IS_COLLAPSED", "DATE_LANG", "DEADLINE_LANG", "TIMEZONE"})
_LABEL = re.compile(r"(?<!\S)@([^\s@,]+)")
_NUMBERED = re.compile(r"\s*\[(?:\d+|(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{16})\]$")
"""The id of a project: a number, since 2024 sixteen letters and digits."""


def recognises(outline: Outline) -> bool:
    """Whether a table has the columns of a project."""
    return outline.kind == "table" and COLUMNS.issubset(name.upper() for name in outline.names)


def project_name(member: str) -> str:
    """The project that a file of a backup is of: `Work [123].csv`, `Work [6Crg8jQ886Wh4P5g].csv`."""
    return _NUMBERED.sub("", member.rpartition("/")[2][:-4])


def read(source: Source, reading: Reading) -> Rows:
    """The rows of all projects. Sections become tags, comments a part of the description."""
    for member, file in each_member(source):
        yield from _project(file, member.name, source, reading)


def _project(file: BinaryIO, member: str, source: Source, reading: Reading) -> Rows:
    number, cells = sheet.header(file, reading.check)
    if not recognises(Outline("table", tuple(cell.strip() for cell in cells))):
        raise MalformedRequest(f"{member[:100]} in the archive is not a project of Todoist's.")
    names = sheet.column_names([cell.upper() for cell in cells])
    project = project_name(member) if member else ""
    name = foreign.category_name(Record({}, member, reading), project, "project")
    if name:
        yield IncomingCategory(folded(name), {"name": name})
    state = _Project(project, folded(name) or None, source, reading)
    rows = sheet.records(file, reading, after=number, names=names, defaults=DEFAULTS, internal=INTERNAL)
    for _, cells, record in rows:
        match record.text("TYPE").strip().lower():
            case "section":
                yield from state.finished()
                state.enter(record)
            case "note" if state.task is not None:
                state.task.describe(record.text("CONTENT"))
            case "task":
                previous = list(state.finished())
                state.begin(record, cells)
                yield from previous
            case "meta":
                record.note("CONTENT", "internal", record.text("CONTENT"))
            case "note":
                record.note("CONTENT", "unresolved", record.text("CONTENT"))
            case other if other:
                # What follows may belong to it, and not to the task before.
                yield from state.finished()
                record.note("TYPE", "left_out", f"{other}: {record.text('CONTENT')}")
    yield from state.finished()
    state.leave()


class _Project:
    """What the rows of a project have said so far. A task is finished by the next one: its comments follow it."""

    def __init__(self, project: str, category: str | None, source: Source, reading: Reading) -> None:
        self.task: foreign.Draft | None = None
        self._section: Record | None = None
        self._is_empty = False
        self._parents: list[tuple[int, str]] = []
        self._identity: list[str] = []
        self._project = project
        self._category = category
        self._source = source
        self._reading = reading

    def enter(self, section: Record) -> None:
        """Go into a section: a tag of the tasks in it."""
        self.leave()
        self._section, self._is_empty = section, True
        section.take("CONTENT")

    def leave(self) -> None:
        """Go out of a section. One without tasks is noted."""
        if self._section is not None and self._is_empty and (name := self._section.text("CONTENT").strip()):
            self._section.note("CONTENT", "unused", name)

    def begin(self, record: Record, cells: Sequence[str]) -> None:
        """Start the task of a row."""
        content = record.text("CONTENT").strip()
        labels = _LABEL.findall(content)
        task = foreign.Draft(record, self._reading, _LABEL.sub("", content) if labels else content, "CONTENT")
        task.tag(labels, "CONTENT")
        if self._section is not None:
            task.tag([self._section.text("CONTENT")], "section")
            self._is_empty = False
        task.describe(record.text("DESCRIPTION"))
        priority = record.text("PRIORITY").strip()
        if priority not in PRIORITIES:
            record.note("PRIORITY", "not_understood", priority)
        task.fields["priority"] = PRIORITIES.get(priority, "low")
        self._set_dates(task, record)
        self._set_parent(task, record)
        duration = record.text("DURATION").strip()
        unit = record.text("DURATION_UNIT").strip()
        if duration and duration != "None":
            task.say("Duration", f"{duration} {'' if unit == 'None' else unit}", "DURATION")
        elif unit and unit != "None":
            record.note("DURATION_UNIT", "left_out", unit)
        self.task, self._identity = task, [self._project, *cells]

    def _set_dates(self, task: foreign.Draft, record: Record) -> None:
        own_zone = record.text("TIMEZONE").strip()
        if own_zone and time_zone_fault(own_zone) is not None:
            record.note("TIMEZONE", "not_understood", own_zone)
            own_zone = ""
        zone = own_zone or self._source.zone
        date, deadline = record.text("DATE").strip(), record.text("DEADLINE").strip()
        if date:
            _set_due(task, date, zone, self._source.now, "DATE")
        if deadline and not date:
            _set_due(task, deadline, zone, self._source.now, "DEADLINE")
        elif deadline:
            task.say("Deadline", deadline, "DEADLINE")

    def _set_parent(self, task: foreign.Draft, record: Record) -> None:
        """A task of its own, whose description names the one that it belongs to."""
        indent = record.text("INDENT").strip()
        level = int(indent) if indent.isdecimal() and len(indent) < 3 else 1
        if indent and (str(level) != indent or level < 1):
            record.note("INDENT", "not_understood", indent)
        while self._parents and self._parents[-1][0] >= level:
            self._parents.pop()
        if self._parents:
            task.say("Part of", self._parents[-1][1], "INDENT")
        elif level > 1:
            record.note("INDENT", "unresolved", indent)
        self._parents.append((level, foreign.parent_title(task.fields["title"])))

    def finished(self) -> Rows:
        """The task whose comments are complete, if there is one."""
        task, self.task = self.task, None
        if task is None:
            return
        source = foreign.source_of("todoist", self._identity, self._reading)
        yield task.finished(source, self._category, follows=False)


def _set_due(task: foreign.Draft, text: str, zone: str, now: datetime, field: str) -> None:
    due = due_text(text, zone)
    if due is None and len(text) <= MAX_WORD:
        spoken = read_due(text, now, zone)
        due = rfc3339(spoken) if isinstance(spoken, datetime) else spoken.isoformat() if spoken else None
    if due is None:
        task.say("Due", text, field)
    else:
        task.fields["due_date"] = due


FORMAT = Format("todoist", "Todoist", "a project as CSV, or a backup (ZIP)", recognises, read)
