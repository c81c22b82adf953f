"""A table as CSV: our own, or anyone's whose columns have names that can be guessed."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

from duely.api.bodies import checked
from duely.api.types import given
from duely.core.errors import FieldError, MalformedRequest, ValidationFailed
from duely.tasks.rules import IncomingCategory, IncomingTask, folded
from duely.transfer import rules
from duely.transfer.formats import foreign
from duely.transfer.rows import CategoryRow, TaskRow
from duely.transfer.rules import Faulty, Incoming, Reading, Rows, faulty

DELIMITERS = ",;\t|"
LOOKED_AT = 1000
"""Rows that are looked at to tell days from months."""
MOMENTS = ("completed_at", "created_at", "updated_at", "deleted_at")
WORDS = {"priority": rules.PRIORITIES, "status": rules.STATUSES, "former_status": rules.STATUSES}
MAX_ROW = 1024 * 1024
"""Characters of a row."""
MAX_IGNORED = 100
"""Columns that are named to the client as left out."""
OURS = {"id", "version", "former_status"}
"""Columns that no other program has together: then cells are as our export writes them."""


def lines(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of each line that is not empty; the header has number 1. Raises MalformedRequest (400)."""
    file.seek(0)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        head = "\n"
        while head and not head.strip(f"{DELIMITERS} \r\n"):
            head = text.readline(MAX_ROW)
        delimiter = max(DELIMITERS, key=head.count)
        text.seek(0)
        source = _Source(text)
        for number, cells in enumerate(csv.reader(source, delimiter=delimiter, strict=True), start=1):
            source.taken = 0
            if any(cell.strip() for cell in cells):
                yield number, cells
    except UnicodeDecodeError:
        raise MalformedRequest("The file is not UTF-8. Save it as CSV in UTF-8.") from None
    except csv.Error as fault:
        raise MalformedRequest(f"The file is not CSV: {fault}.") from None
    finally:
        if not file.closed:
            text.detach()


def headers(file: BinaryIO) -> list[str]:
    """The cells of the first line; none when there is no line. Raises MalformedRequest (400)."""
    return next(lines(file), (1, []))[1]


class _Source:
    """The lines of a text, as long as a row of several is not too long."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.text = text
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        while line := self.text.readline(MAX_ROW):
            self.taken += len(line)
            if self.taken >= MAX_ROW:
                raise MalformedRequest(f"A row is longer than {MAX_ROW} characters.")
            yield line


def read(file: BinaryIO, zone: str, reading: Reading) -> Rows:
    """The rows of a table. Raises MalformedRequest (400), ValidationFailed (400) without a column for titles.

    zone: that of times without an offset. What each column was taken for goes into `reading`.
    """
    names = headers(file)
    columns = rules.columns_of(names)
    if not OURS.issubset(columns.values()):
        columns = {place: name for place, name in columns.items() if name not in OURS}
    if "title" not in columns.values():
        about = f"No column for titles was found. Name one of them: {', '.join(rules.ALIASES['title'][:5])}."
        raise ValidationFailed(FieldError("title", "required", about))
    reading.columns = {names[place]: name for place, name in columns.items()}
    ignored = [header for place, header in enumerate(names) if place not in columns and header.strip()]
    reading.ignored = ignored[:MAX_IGNORED]
    table = _Table(columns, zone, _orders(file, columns))
    rows = lines(file)
    next(rows, None)
    for number, cells in rows:
        yield from table.row(number, cells)


def _orders(file: BinaryIO, columns: dict[int, str]) -> dict[str, str | None]:
    """Whether days or months come first, by column."""
    cells: dict[str, list[str]] = {name: [] for name in ("due_date", *MOMENTS)}
    for number, row in lines(file):
        if number > LOOKED_AT:
            break
        for place, name in columns.items():
            if name in cells and place < len(row) and number > 1:
                cells[name].append(row[place])
    known = {name: rules.order_of(found) for name, found in cells.items()}
    # Who writes one column so writes the others so.
    common = next((order for order in known.values() if order), None)
    return {name: order or common for name, order in known.items()}


class _Table:
    """Makes rows of lines."""

    def __init__(self, columns: dict[int, str], zone: str, orders: dict[str, str | None]) -> None:
        self.columns = columns
        self.is_ours = OURS.issubset(columns.values())
        self.zone = zone
        self.orders = orders
        self.categories: set[str] = set()
        self.seen: Counter[int] = Counter()

    def row(self, number: int, cells: Sequence[str]) -> Iterator[Incoming]:
        """The task of a line, and its category when that is new."""
        given_cells = {name: self._text(cells[place]) for place, name in self.columns.items() if place < len(cells)}
        try:
            raw = self._raw(given_cells)
            fields = given(checked(raw, TaskRow))
        except ValidationFailed as refused:
            yield faulty(f"rows[{number}]", refused)
            return
        category = given_cells.get("category", "").strip()
        if category and folded(category) not in self.categories:
            self.categories.add(folded(category))
            yield named_category(category, f"rows[{number}].category")
        source = "" if "id" in fields else foreign.source_of("csv", cells, self.seen)
        yield IncomingTask(fields, source, folded(category) or None, f"rows[{number}]")

    def _text(self, cell: str) -> str:
        return rules.unescaped(cell) if self.is_ours else cell

    def _raw(self, cells: dict[str, str]) -> dict[str, Any]:
        """The cells as the API would take them. Raises ValidationFailed (400) with every cell that cannot be read."""
        title = cells.get("title", "")
        if not self.is_ours:
            title = " ".join(title.split())
        raw: dict[str, Any] = {"title": title, "description": cells.get("description", "")}
        faults: list[FieldError] = []
        for name, table in WORDS.items():
            cell = cells.get(name, "").strip()
            if cell and rules.word(cell) in table:
                raw[name] = table[rules.word(cell)]
            elif cell:
                choices = ", ".join(dict.fromkeys(table.values()))
                faults.append(FieldError(name, "invalid_choice", f"Use one of: {choices}."))
        mark = cells.get("completed", "").strip()
        completed = "x" if mark in rules.TICKS else rules.word(mark)
        if "completed" in cells and completed not in rules.TRUE | rules.FALSE:
            faults.append(FieldError("completed", "invalid_choice", "Use true or false."))
        if "status" not in raw and completed in rules.TRUE:
            raw["status"] = "completed"
        for name in ("due_date", *MOMENTS):
            cell = cells.get(name, "").strip()
            if cell:
                raw[name], fault = self._moment(name, cell)
                faults += fault
        if identifier := cells.get("id", "").strip():
            raw["id"] = identifier
        if version := cells.get("version", "").strip():
            raw["version"] = int(version) if version.isdecimal() and len(version) < 10 else version
        raw["tags"] = _several(cells.get("tags", ""), "," if self.is_ours else ",;")
        raw["reminders"] = _several(cells.get("reminders", ""), ",; ")
        if faults:
            raise ValidationFailed(*faults)
        return raw

    def _moment(self, name: str, cell: str) -> tuple[str | None, list[FieldError]]:
        found = rules.moment(cell, self.orders[name])
        if found is None:
            about = "Use 2026-01-31 or 2026-01-31T09:00:00Z; 03/04/2026 alone does not tell days from months."
            return None, [FieldError(name, "invalid_date", about)]
        if name == "due_date" and found.clock is None:
            return found.day, []
        return instant_text(found, self.zone), []


def instant_text(found: rules.Moment, zone: str) -> str:
    """A moment as RFC 3339; in this time zone where it has no offset of its own."""
    if found.offset:
        return found.text
    whole = f"{found.day}T{found.clock or '00:00:00'}"
    try:
        return datetime.fromisoformat(whole).replace(tzinfo=ZoneInfo(zone)).isoformat()
    except ValueError:
        return whole  # which the field refuses


def _several(cell: str, between: str) -> list[str]:
    """The values of a cell that has several."""
    for sign in between[1:]:
        cell = cell.replace(sign, between[0])
    return [part for part in map(str.strip, cell.split(between[0])) if part]


def named_category(name: str, place: str) -> Incoming:
    """A category that is known by its name alone."""
    try:
        return IncomingCategory(folded(name), given(checked({"name": name}, CategoryRow)))
    except ValidationFailed as refused:
        return Faulty(tuple(FieldError(place, fault.code, fault.message) for fault in refused.errors))
