"""A table as CSV: our own, or anyone's whose columns have names that can be guessed."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
SUGGESTED_TITLES = ("title", "task", "name", "subject", "summary")
OF_OURS = OURS | {"deleted_at", "reminders"}
"""Columns that are taken from our own tables alone."""
ONE_VALUE = (
    *("title", "category", "status", "completed", "priority", "due_date", "start_date"),
    *("completed_at", "created_at", "updated_at", "parent"),
)
"""Fields with one value. Where a table has several columns for one of them, a row takes one of its cells."""
MAX_LABEL = 64
"""Characters of a column's name in a description."""
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
        columns = _left_of_each(columns, columns.values()) if is_ours else _of_others(columns)
        if "title" not in columns.values():
            about = f"No column for titles was found. Name one of them: {', '.join(SUGGESTED_TITLES)}."
            raise ValidationFailed(FieldError("title", "required", about))
        reading.columns = {cells[place]: columns[place] for place in sorted(columns)}
        ignored = [header for place, header in enumerate(cells) if place not in columns and header.strip()]
        reading.ignored = ignored[:MAX_IGNORED]
        names = sheet.column_names(cells)
        orders = _orders(file, {place: names[place] for place, name in columns.items() if name in DATES}, reading.check)
        row = (
            _Ours(columns, orders, source.zone, reading, names)
            if is_ours
            else _Foreign(columns, orders, source.zone, reading, names)
        )
        for _, values, record in sheet.records(file, reading, after=number, names=names, defaults=DEFAULTS):
            yield from row.read(record, values)


def _left_of_each(columns: Mapping[int, str], fields: Iterable[str]) -> dict[int, str]:
    """The columns, but of several columns for one of these fields only the left one."""
    left: dict[str, int] = {}
    for place, field in sorted(columns.items()):
        left.setdefault(field, place)
    single = {*fields}
    return {place: field for place, field in columns.items() if field not in single or left[field] == place}


def _of_others(columns: Mapping[int, str]) -> dict[int, str]:
    """The columns that count in a table of another program. It has one column of ids: another may have other ids."""
    theirs = {place: field for place, field in columns.items() if field not in OF_OURS}
    return _left_of_each(theirs, ("key",))


def _orders(file: BinaryIO, columns: Mapping[int, str], check: sheet.Check) -> dict[str, str | None]:
    """Whether days or months come first, by the name of the column."""
    cells: dict[str, list[str]] = {name: [] for name in columns.values()}
    for number, row in sheet.lines(file, check):
        if number > LOOKED_AT:
            break
        for place, name in columns.items():
            if place < len(row) and number > 1:
                cells[name].append(row[place])
    known = {name: rules.order_of(texts) for name, texts in cells.items()}
    # A program writes all columns in the same order.
    common = next((order for order in known.values() if order), None)
    return {name: order or common for name, order in known.items()}


class _Foreign:
    """Rows of another program: what a task cannot hold as it is goes into the description, or is noted."""

    def __init__(
        self,
        columns: Mapping[int, str],
        orders: Mapping[str, str | None],
        zone: str,
        reading: Reading,
        names: Sequence[str],
    ) -> None:
        self._columns: dict[str, list[str]] = {}
        """The names of the columns of each field, the best one first."""
        for place, field in columns.items():
            self._columns.setdefault(field, []).append(names[place])
        self._shared = [field for field in ONE_VALUE if len(self._columns.get(field, ())) > 1]
        """Fields with one value that have several columns."""
        self._orders = orders
        self._zone = zone
        self._reading = reading
        self._categories = foreign.Categories()
        self._names = {field: fields[0] for field, fields in self._columns.items()}
        """The column that each field is taken from in the current row."""
        left = min((place for place, field in columns.items() if field == "created_at"), default=None)
        self._created = "" if left is None else names[left]
        # Ids of two programs may be the same numbers: their columns tell them apart.
        self._origin = hashlib.sha256("\x1f".join(names).encode("utf-8", "replace")).hexdigest()

    def read(self, record: Record, cells: Sequence[str]) -> Iterator[Incoming]:
        """The task of a line, and its category when that is new."""
        for field in self._shared:
            self._names[field] = self._best_column(record, field)
        title = self._cell(record, "title")
        key = self._cell(record, "key").strip()
        ambiguous = [
            name
            for name in DATES
            if name in self._names and self._is_ambiguous(self._names[name], self._peek(record, name))
        ]
        if not title.strip() or ambiguous:
            yield _refused(record, ambiguous)
            return
        category, new = self._categories.named(record, self._cell(record, "category"), self._name("category"))
        yield from new
        task = foreign.Draft(record, self._reading, title, self._name("title"))
        for column in self._columns.get("description", ()):
            task.describe(record.text(column))
        self._set_status(task, record)
        self._set_priority(task, record)
        self._set_dates(task, record)
        for column in self._columns.get("tags", ()):
            task.tag(_several(record.text(column), ",;"), column)
        for column in self._columns.get("column", ()):
            task.tag([record.text(column)], column)
        task.say("Part of", self._cell(record, "parent"), self._name("parent"))
        for field in self._shared:
            self._keep_other_cells(task, record, field)
        created = record.values.get(self._created, "")
        with_id = f"csv {self._origin} {key} {created}"
        source = with_id if key else foreign.source_of("csv", cells, self._reading)
        yield task.finished(source, category, follows=bool(key))

    def _best_column(self, record: Record, field: str) -> str:
        """The column that a row takes a field from: the first that can be read, or else the first with a cell."""
        columns = self._columns[field]
        filled = [column for column in columns if str(record.values.get(column, "")).strip()]
        if field in DATES:
            dates = [column for column in filled if self._is_date(column, str(record.values[column]))]
            filled = dates or filled
        return filled[0] if filled else columns[0]

    def _is_date(self, column: str, cell: str) -> bool:
        return rules.at_text(cell, self._zone, self._orders[column]) is not None or self._is_ambiguous(column, cell)

    def _is_ambiguous(self, column: str, cell: str) -> bool:
        return self._orders.get(column) is None and rules.is_ambiguous(cell)

    def _keep_other_cells(self, task: foreign.Draft, record: Record, field: str) -> None:
        """Keep the cells of a field's other columns: as tags for a category, as lines of text for the rest."""
        chosen = self._names[field]
        cell = self._cell(record, field)
        if cell.strip() and chosen != self._columns[field][0]:
            record.note(chosen, "changed", cell)
        for column in self._columns[field]:
            other = record.text(column)
            if column == chosen or _meaning(field, other) in ("", _meaning(field, cell)):
                continue
            if field == "category":
                task.tag([other], column)
            else:
                task.say(foreign.plain(column)[:MAX_LABEL], other, column)

    def _name(self, field: str) -> str:
        """The column that a field is taken from in the current row."""
        return self._names.get(field, field)

    def _cell(self, record: Record, field: str) -> str:
        return record.text(self._names[field]) if field in self._names else ""

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
        elif "completed" not in self._names and not cell and self._peek(record, "completed_at").strip():
            task.fields["status"] = "completed"

    def _set_priority(self, task: foreign.Draft, record: Record) -> None:
        """A word. Of a number nothing tells whether it means much or little: it goes into the description."""
        cell = self._cell(record, "priority").strip()
        if rules.word(cell) in rules.PRIORITIES:
            task.fields["priority"] = rules.PRIORITIES[rules.word(cell)]
        elif cell and cell != "0":
            task.say("Priority", cell, self._name("priority"))

    def _set_dates(self, task: foreign.Draft, record: Record) -> None:
        due, start = self._name("due_date"), self._name("start_date")
        task.due(self._cell(record, "due_date"), self._zone, due, order=self._orders.get(due))
        task.say("Start", self._cell(record, "start_date"), start)
        for name in ("completed_at", "created_at", "updated_at"):
            column = self._name(name)
            task.at(name, self._cell(record, name), self._zone, column, order=self._orders.get(column))


def _meaning(field: str, cell: str) -> str:
    """A cell as it is compared with others for the same field: two words for one status are the same."""
    text = cell.strip()
    return WORDS[field].get(rules.word(text), text) if field in WORDS else text


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
        self,
        columns: Mapping[int, str],
        orders: Mapping[str, str | None],
        zone: str,
        reading: Reading,
        names: Sequence[str],
    ) -> None:
        self._fields = {field: names[place] for place, field in columns.items()}
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
        found = rules.moment(cell, self._orders[self._fields[name]])
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
