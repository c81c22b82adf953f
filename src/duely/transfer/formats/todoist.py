"""Todoist's projects as CSV, one by one or as a backup: an archive with a file for each."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from duely.accounts.rules import time_zone_fault
from duely.core.clock import rfc3339
from duely.tasks.quick import MAX_TEXT, read_due
from duely.tasks.rules import IncomingCategory, IncomingTask, folded
from duely.transfer.formats import foreign, table
from duely.transfer.rules import Faulty, Reading, Rows

COLUMNS = frozenset({"TYPE", "CONTENT", "INDENT"})
PRIORITIES = {"1": "urgent", "2": "high", "3": "medium", "4": "low"}
_LABEL = re.compile(r"(?<!\S)@([^\s@,]+)")
_NUMBERED = re.compile(r"\s*\[\d+\]$")


def is_one(headers: Sequence[str]) -> bool:
    """Whether a table with these columns is a project of Todoist's."""
    return {header.strip().upper() for header in headers} >= COLUMNS


def project_name(member: str) -> str:
    """The project that a file of a backup is of: `Work [123].csv`."""
    return _NUMBERED.sub("", member.rpartition("/")[2][:-4])


def read(file: BinaryIO, project: str, zone: str, now: datetime, reading: Reading, seen: Counter[int]) -> Rows:
    """The rows of one project. Sections become tags; comments, and dates that come again and again, a description.

    seen: rows of projects of the same import, to tell those apart that are alike.
    """
    rows = table.lines(file)
    _, headers = next(rows)
    places = {header.strip().upper(): place for place, header in enumerate(headers)}
    name = foreign.category_name(project)
    if name:
        yield IncomingCategory(folded(name), {"name": name})
    section, held = "", None
    for number, cells in rows:
        row = {column: cells[place].strip() if place < len(cells) else "" for column, place in places.items()}
        match row["TYPE"].lower():
            case "section":
                section = row["CONTENT"]
            case "note" if held is not None:
                held.parts.append(row["CONTENT"])
            case "task":
                yield from _finished(held)
                held = _Held(number, row, cells, section, project, folded(name) or None, zone, now, seen)
                reading.note("dates that come again and again were put into the description") if held.recurs else None
            case other if other:
                reading.note("rows that are no task, comment or section were left out")
    yield from _finished(held)


class _Held:
    """A task whose comments may follow."""

    def __init__(
        self,
        number: int,
        row: dict[str, str],
        cells: Sequence[str],
        section: str,
        project: str,
        category: str | None,
        zone: str,
        now: datetime,
        seen: Counter[int],
    ) -> None:
        labels = _LABEL.findall(row["CONTENT"])
        self.place = f"rows[{number}]"
        self.category = category
        self.source = foreign.source_of("todoist", (project, *cells), seen)
        self.raw: dict[str, Any] = {
            "title": _LABEL.sub("", row["CONTENT"]) if labels else row["CONTENT"],
            "priority": PRIORITIES.get(row.get("PRIORITY", ""), "low"),
            "tags": foreign.tags([*labels, *([section] if section else [])]),
        }
        self.parts = [row.get("DESCRIPTION", "")]
        date = row.get("DATE", "")
        self.recurs = False
        if date:
            own_zone = row.get("TIMEZONE", "")
            due = _due(date, own_zone if own_zone and time_zone_fault(own_zone) is None else zone, now)
            self.recurs = due is None
            if due is None:
                self.parts.append(f"Due: {date}")
            else:
                self.raw["due_date"] = due

    def finished(self) -> IncomingTask | Faulty:
        """The task, with its comments."""
        return foreign.task(self.place, self.raw, self.parts, self.source, self.category)


def _finished(held: "_Held | None") -> Iterator[IncomingTask | Faulty]:
    if held is not None:
        yield held.finished()


def _due(text: str, zone: str, now: datetime) -> str | None:
    """A due date as the API takes it; None for what is no single day."""
    due = read_due(text, now, zone) if len(text) <= MAX_TEXT else None
    if due is None:
        return None
    return rfc3339(due) if isinstance(due, datetime) else due.isoformat()
