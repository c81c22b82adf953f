"""A table as CSV: our own, or anyone's whose columns have names that can be guessed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from duely.api.bodies import checked
from duely.api.types import given
from duely.core.errors import FieldError, ValidationFailed
from duely.tasks.rules import IncomingCategory, IncomingTask, folded
from duely.transfer import rules
from duely.transfer.formats import foreign, sheet
from duely.transfer.formats.base import Format, Outline, Source
from duely.transfer.reading import Reading, Record
from duely.transfer.rows import CategoryRow, TaskRow
from duely.transfer.rules import Faulty, Incoming, Rows, faulty, instant_text

LOOKED_AT = 1000
"""Rows that are looked at to tell days from months."""
MOMENTS = ("completed_at", "created_at", "updated_at", "deleted_at")
DATES = ("due_date", "start_date", *MOMENTS)
WORDS = {"priority": rules.PRIORITIES, "status": rules.STATUSES, "former_status": rules.STATUSES}
MAX_IGNORED = 100
"""Columns that are named to the client as left out."""
OURS = {"id", "version", "former_status"}
"""Columns that no other program has together: then cells are as our export writes them."""
OF_OURS = OURS | {"deleted_at", "reminders"}
"""Columns that are taken from our own tables alone."""
DEFAULTS = {
    "Private": "False",
    "Sensitivity": "Normal",
    "Total Work": "0",
    "Actual Work": "0",
    "Reminder On/Off": "False",
}
"""What Outlook writes into columns that nobody has filled in."""


def recognises(outline: Outline) -> bool:
    """Any table."""
    return outline.kind == "table"


def read(source: Source, reading: Reading) -> Rows:
    """The rows of a table. Raises MalformedRequest (400), ValidationFailed (400) without a column for titles.

    What each column was taken for goes into `reading`.
    """
    with source.only() as file:
        number, cells = sheet.header(file, reading.check)
        columns = rules.columns_of(cells)
        is_ours = OURS.issubset(columns.values())
        if not is_ours:
            columns = {place: name for place, name in columns.items() if name not in OF_OURS}
        if "title" not in columns.values():
            about = f"No column for titles was found. Name one of them: {', '.join(rules.ALIASES['title'][:5])}."
            raise ValidationFailed(FieldError("title", "required", about))
        reading.columns = {cells[place]: name for place, name in columns.items()}
        ignored = [header for place, header in enumerate(cells) if place not in columns and header.strip()]
        reading.ignored = ignored[:MAX_IGNORED]
        names = sheet.column_names(cells)
        fields = {name: names[place] for place, name in columns.items()}
        orders = _orders(file, columns, reading.check)
        row = (
            _Ours(fields, orders, source.zone, reading)
            if is_ours
            else _Foreign(fields, orders, source.zone, reading, names)
        )
        for _, values, record in sheet.records(file, reading, after=number, names=names, defaults=DEFAULTS):
            yield from row.read(record, values)


def _orders(file: BinaryIO, columns: Mapping[int, str], check: sheet.Check) -> dict[str, str | None]:
    """Whether days or months come first, by column."""
    cells: dict[str, list[str]] = {name: [] for name in DATES}
    for number, row in sheet.lines(file, check):
        if number > LOOKED_AT:
            break
        for place, name in columns.items():
            if name in cells and place < len(row) and number > 1:
                cells[name].append(row[place])
    known = {name: rules.order_of(found) for name, found in cells.items()}
    # Who writes one column so writes the others so.
    common = next((order for order in known.values() if order), None)
    return {name: order or common for name, order in known.items()}


class _Foreign:
    """Rows of another program: what a task cannot hold as it is goes into the description, or is noted."""

    def __init__(
        self, fields: Mapping[str, str], orders: Mapping[str, str | None], zone: str, reading: Reading, names: list[str]
    ) -> None:
        self._fields = fields
        self._orders = orders
        self._zone = zone
        self._reading = reading
        self._categories = foreign.Categories()
        # Ids of two programs may be the same numbers: their columns tell them apart.
        self._origin = hashlib.sha256("\x1f".join(names).encode("utf-8", "replace")).hexdigest()

    def read(self, record: Record, cells: Sequence[str]) -> Iterator[Incoming]:
        """The task of a line, and its category when that is new."""
        title = self._cell(record, "title")
        key = self._cell(record, "key").strip()
        ambiguous = [
            name for name in DATES if self._orders[name] is None and rules.is_ambiguous(self._peek(record, name))
        ]
        if not title.strip() or ambiguous:
            yield _refused(record, ambiguous)
            return
        category, new = self._categories.named(record, self._cell(record, "category"), self._name("category"))
        yield from new
        task = foreign.Draft(record, self._reading, title, self._name("title"))
        task.describe(self._cell(record, "description"))
        self._set_status(task, record)
        self._set_priority(task, record)
        self._set_dates(task, record)
        task.tag(_several(self._cell(record, "tags"), ",;"), self._name("tags"))
        task.tag([self._cell(record, "column")], self._name("column"))
        task.say("Part of", self._cell(record, "parent"), self._name("parent"))
        created = record.values.get(self._name("created_at"), "")
        with_id = f"csv {self._origin} {key} {created}"
        source = with_id if key else foreign.source_of("csv", cells, self._reading)
        yield task.finished(source, category, follows=bool(key))

    def _name(self, field: str) -> str:
        """The column that a field is taken from."""
        return self._fields.get(field, field)

    def _cell(self, record: Record, field: str) -> str:
        return record.text(self._fields[field]) if field in self._fields else ""

    def _peek(self, record: Record, field: str) -> str:
        return str(record.values.get(self._name(field), ""))

    def _set_status(self, task: foreign.Draft, record: Record) -> None:
        """As the status says; without one, as the mark or the date of completion does."""
        cell, mark = self._cell(record, "status").strip(), self._cell(record, "completed").strip()
        word, field = rules.word(cell), self._name("status")
        done, mark_word = rules.share(mark), "x" if mark in rules.TICKS else rules.word(mark)
        if word in rules.STATUSES:
            task.fields["status"] = rules.STATUSES[word]
        elif word in rules.NEARLY:
            task.fields["status"] = rules.NEARLY[word]
            record.note(field, "changed", cell)
        elif cell:
            task.say("Status", cell, field)
        is_known = mark_word in rules.TRUE | rules.FALSE and (mark_word or not mark or mark in rules.BLANK_MARKS)
        if not is_known and (done is None or 0 < done < 1):
            task.say("Done", mark, self._name("completed"))
        if "status" in task.fields:
            return
        if mark_word in rules.TRUE or done == 1:
            task.fields["status"] = "completed"
        elif done:
            task.fields["status"] = "in_progress"
        elif "completed" not in self._fields and not cell and self._peek(record, "completed_at").strip():
            task.fields["status"] = "completed"

    def _set_priority(self, task: foreign.Draft, record: Record) -> None:
        """A word. Of a number nothing tells whether it means much or little: it goes into the description."""
        cell = self._cell(record, "priority").strip()
        if rules.word(cell) in rules.PRIORITIES:
            task.fields["priority"] = rules.PRIORITIES[rules.word(cell)]
        elif cell and cell != "0":
            task.say("Priority", cell, self._name("priority"))

    def _set_dates(self, task: foreign.Draft, record: Record) -> None:
        orders, zone = self._orders, self._zone
        task.due(self._cell(record, "due_date"), zone, self._name("due_date"), order=orders["due_date"])
        task.say("Start", self._cell(record, "start_date"), self._name("start_date"))
        for name in ("completed_at", "created_at", "updated_at"):
            task.at(name, self._cell(record, name), zone, self._name(name), order=orders[name])


def _refused(record: Record, ambiguous: Sequence[str]) -> Faulty:
    """A row that cannot be brought in."""
    for name in list(record.values):
        record.take(name)
    about = "Use 2026-01-31 or 2026-01-31T09:00:00Z; 03/04/2026 alone does not tell days from months."
    faults = [FieldError(f"{record.place}.{name}", "invalid_date", about) for name in ambiguous]
    return Faulty(tuple(faults) or (FieldError(f"{record.place}.title", "required", "This field is required."),))


class _Ours:
    """Rows of our own table: its cells are ours, so one that cannot be read is a fault."""

    def __init__(
        self, fields: Mapping[str, str], orders: Mapping[str, str | None], zone: str, reading: Reading
    ) -> None:
        self._fields = fields
        self._orders = orders
        self._zone = zone
        self._reading = reading
        self._categories: set[str] = set()

    def read(self, record: Record, values: Sequence[str]) -> Iterator[Incoming]:
        """The task of a line, and its category when that is new."""
        cells = {name: rules.unescaped(record.text(column)) for name, column in self._fields.items()}
        try:
            fields = given(checked(self._raw(cells), TaskRow))
        except ValidationFailed as refused:
            yield faulty(record.place, refused)
            return
        category = cells.get("category", "").strip()
        if category and folded(category) not in self._categories:
            self._categories.add(folded(category))
            yield named_category(category, f"{record.place}.category")
        source = "" if "id" in fields else foreign.source_of("csv", values, self._reading)
        yield IncomingTask(fields, source, folded(category) or None, record.place)

    def _raw(self, cells: dict[str, str]) -> dict[str, Any]:
        """The cells as the API would take them. Raises ValidationFailed (400) with every cell that cannot be read."""
        raw: dict[str, Any] = {"title": cells.get("title", ""), "description": cells.get("description", "")}
        faults: list[FieldError] = []
        for name, table in WORDS.items():
            cell = cells.get(name, "").strip()
            if cell and rules.word(cell) in table:
                raw[name] = table[rules.word(cell)]
            elif cell:
                choices = ", ".join(dict.fromkeys(table.values()))
                faults.append(FieldError(name, "invalid_choice", f"Use one of: {choices}."))
        for name in ("due_date", *MOMENTS):
            cell = cells.get(name, "").strip()
            if cell:
                raw[name], fault = self._moment(name, cell)
                faults += fault
        if identifier := cells.get("id", "").strip():
            raw["id"] = identifier
        if version := cells.get("version", "").strip():
            raw["version"] = int(version) if version.isdecimal() and len(version) < 10 else version
        raw["tags"] = _several(cells.get("tags", ""), ",")
        raw["reminders"] = _several(cells.get("reminders", ""), ",; ")
        if faults:
            raise ValidationFailed(*faults)
        return raw

    def _moment(self, name: str, cell: str) -> tuple[str | None, list[FieldError]]:
        found = rules.moment(cell, self._orders[name])
        if found is None:
            about = "Use 2026-01-31 or 2026-01-31T09:00:00Z; 03/04/2026 alone does not tell days from months."
            return None, [FieldError(name, "invalid_date", about)]
        if name == "due_date" and found.clock is None:
            return found.day, []
        return instant_text(found, self._zone), []


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


FORMAT = Format("csv", "Any program", "a table as CSV, whose first line names the columns", recognises, read)
