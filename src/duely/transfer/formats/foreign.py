"""What files of other programs have in common: texts that need not fit our fields, and must not be lost silently."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from duely.api.bodies import checked
from duely.api.types import given
from duely.core.errors import BodyTooLarge, ValidationFailed
from duely.tasks.rules import (
    MAX_DESCRIPTION_BYTES,
    MAX_REMINDERS,
    MAX_TAG_LENGTH,
    MAX_TAGS,
    MAX_TITLE,
    IncomingCategory,
    IncomingTask,
    folded,
)
from duely.transfer.formats import markup
from duely.transfer.reading import Reading, Record
from duely.transfer.rows import TaskRow
from duely.transfer.rules import Faulty, at_text, due_text, faulty, offset_text

MAX_CATEGORY = 100
MAX_PARENT = 100
"""Characters of a task's title that its subtasks name."""
NAMELESS = "…"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def plain(text: str) -> str:
    """One line without control characters."""
    return " ".join(_CONTROL.sub(" ", text).split())


MAX_HELD = 32 * 1024 * 1024
"""Characters that a reader holds in memory of a file."""


class Room:
    """A limit for what a reader holds in memory of a file: what other records refer to."""

    def __init__(self) -> None:
        self._left = MAX_HELD

    def take(self, text: str) -> str:
        """The text. Raises BodyTooLarge (413) when all texts together are too long."""
        self._left -= len(text) + 64
        if self._left < 0:
            raise BodyTooLarge(
                "The lists, comments and titles that tasks refer to are too long together. Split the file."
            )
        return text


def text_of_html(record: Record, field: str) -> str:
    """A field that may be HTML, as Markdown. What is lost of it is noted."""
    return markup.text_of_html(record.text(field), lambda reason, example: record.note(field, reason, example))


class References:
    """Records of a file that other records refer to by id, such as labels. `room` limits what is held of them."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._records: dict[str, tuple[str, str]] = {}
        self._repeated: list[tuple[str, str]] = []
        self._used: set[str] = set()

    def add(self, identifier: str, text: str, place: str) -> None:
        """Keep the text of a record. Of several with one id the first one counts."""
        entry = (self._room.take(text), place)
        if identifier in self._records:
            self._repeated.append(entry)
        else:
            self._records[identifier] = entry

    def has(self, identifier: str) -> bool:
        """Whether a record with this id is in the file."""
        return identifier in self._records

    def use(self, record: Record, field: str, identifier: str) -> str:
        """The text of the record that a field refers to; "" for one that is not in the file, which is noted."""
        if identifier not in self._records:
            if identifier.strip():
                record.note(field, "unresolved", identifier)
            return ""
        self._used.add(identifier)
        return self._records[identifier][0]

    def note_unused(self, reading: Reading, field: str) -> None:
        """Note each text that no record has used."""
        unused = [entry for identifier, entry in self._records.items() if identifier not in self._used]
        for text, place in (*unused, *self._repeated):
            if text.strip():
                reading.note(field, "unused", place=place, example=text)


OPEN, DONE = (False, None, "", "incomplete"), (True, "complete", "completed")


def check_list(record: Record, name: str, title: str, done: str, internal: Iterable[str] = ()) -> str:
    """The items of a check list as Markdown, from a list of objects. title, done: their fields."""
    rows = []
    for item in record.records(name, internal):
        mark = item.take(done)
        if mark not in (*OPEN, *DONE):
            item.note(done, "not_understood", mark)
        rows.append(f"- [{'x' if mark in DONE else ' '}] {plain(item.text(title))}")
        item.finish()
    if rows:
        record.note(name, "moved", rows[0])
    return "\n".join(rows)


_COLOR = re.compile(r"#?([0-9a-fA-F]{6})")


def color(record: Record, name: str) -> dict[str, str]:
    """The colour of a category, if a field holds one such as `1973ff`."""
    text = record.text(name)
    match = _COLOR.fullmatch(text)
    if text and match is None:
        record.note(name, "not_understood", text)
    return {"color": f"#{match[1].lower()}"} if match else {}


def parent_title(text: str) -> str:
    """The title of a task as its subtasks name it."""
    return plain(text)[:MAX_PARENT] or NAMELESS


class Categories:
    """The categories that the rows of a file name, each brought in with its first row."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def named(self, record: Record, name: str, field: str) -> tuple[str | None, Iterator[IncomingCategory]]:
        """(key for the task, the category itself if it is new) of a name; (None, nothing) without a name."""
        fitting = category_name(record, name, field)
        if not fitting:
            return None, iter(())
        key = folded(fitting)
        is_new = key not in self._seen
        self._seen.add(key)
        return key, iter((IncomingCategory(key, {"name": fitting}),) if is_new else ())


def category_name(record: Record, name: str, field: str) -> str:
    """A name that a category can have; "" when nothing is left. A name that is cut is noted."""
    fitting = plain(name)
    if len(fitting) > MAX_CATEGORY:
        record.note(field, "cut", fitting)
        fitting = fitting[:MAX_CATEGORY].strip()
    return fitting


class Draft:
    """A task in the making: takes texts of any length, and notes each value that a task cannot hold as it is."""

    def __init__(self, record: Record, reading: Reading, title: str, field: str) -> None:
        self.record = record
        self.fields: dict[str, Any] = {"title": title}
        self.parts: list[str] = []
        self._reading = reading
        self._title_field = field

    def describe(self, text: str) -> None:
        """Add a part to the description."""
        self.parts.append(text)

    def say(self, label: str, value: str, field: str) -> None:
        """Put a value that a task has no field for into the description, as `Label: value`, and note it."""
        if value.strip():
            self.parts.append(f"{label}: {value.strip()}")
            self.record.note(field, "moved", value)

    def due(self, text: str, zone: str, field: str, *, order: str | None = None, label: str = "Due") -> None:
        """Set the due date from a text. One that is no date goes into the description."""
        if text.strip():
            due = due_text(text, zone, order)
            if due is None:
                self.say(label, text, field)
            else:
                self.fields["due_date"] = due

    def at(self, name: str, text: str, zone: str, field: str, *, order: str | None = None) -> None:
        """Set an instant, such as `created_at`, from a text. One that is none is noted."""
        if text.strip():
            at = at_text(text, zone, order)
            if at is None:
                self.record.note(field, "not_understood", text)
            else:
                self.fields[name] = at

    def tag(self, names: Iterable[str], field: str) -> None:
        """Add tags. What is too long or too many is noted."""
        tags: list[str] = self.fields.setdefault("tags", [])
        keys = {folded(tag) for tag in tags}
        for name in names:
            fitting = plain(name.replace(",", " "))
            if not fitting:
                continue
            if len(fitting) > MAX_TAG_LENGTH:
                self.record.note(field, "cut", fitting)
                fitting = fitting[:MAX_TAG_LENGTH].strip()
            elif fitting != name.strip():
                self.record.note(field, "changed", name)
            if folded(fitting) in keys:
                continue
            if len(tags) == MAX_TAGS:
                self.record.note(field, "cut", name)
                continue
            keys.add(folded(fitting))
            tags.append(fitting)

    def remind(self, text: str, zone: str, field: str) -> None:
        """Add a reminder: an instant, or an offset such as `-PT30M`. What is none, or one too many, is noted."""
        reminders: list[str] = self.fields.setdefault("reminders", [])
        reminder = offset_text(text) if text.startswith("-P") else at_text(text, zone)
        if reminder is None:
            self.record.note(field, "not_understood", text)
        elif reminder not in reminders:
            if len(reminders) == MAX_REMINDERS:
                self.record.note(field, "cut", text)
            else:
                reminders.append(reminder)

    def finished(self, source: str, category: str | None, *, follows: bool) -> IncomingTask | Faulty:
        """The task.

        source: the program, and what makes it the same task when the file comes again. follows: that is an id of the
        other program, so a newer file changes the task that is here. Releases must not change how a source is made.
        """
        title = plain(self.fields["title"])
        if _UNREADABLE.search(self.fields["title"]):
            self.record.note(self._title_field, "changed", self.fields["title"])
        if len(title) > MAX_TITLE:
            self.record.note(self._title_field, "moved", title)
            self.parts.insert(0, title)
            title = title[: MAX_TITLE - 1] + "…"
        fields = {**self.fields, "title": title or NAMELESS, "description": self._description()}
        if fields.get("status") != "completed" and fields.pop("completed_at", None):
            self.record.note("completed_at", "left_out", self.fields["completed_at"])
        try:
            parsed = given(checked(fields, TaskRow))
        except ValidationFailed as refused:
            return faulty(self.record.place, refused)
        if (times := self._reading.times(source)) > 1:
            self.record.note("id", "repeated", source)
            source = f"{source} {times}"
        return IncomingTask(parsed, source, category, self.record.place, follows=follows)

    def _description(self) -> str:
        whole = "\n\n".join(part.strip("\r\n\x00") for part in self.parts if part.strip("\x00 \t\r\n"))
        if _UNREADABLE.search(whole):
            self.record.note("description", "changed", whole)
            whole = _UNREADABLE.sub("", whole)
        encoded = whole.encode()
        if len(encoded) > MAX_DESCRIPTION_BYTES:
            rest = encoded[MAX_DESCRIPTION_BYTES - 3 :].decode("utf-8", "ignore")
            self.record.note("description", "cut", rest)
            whole = encoded[: MAX_DESCRIPTION_BYTES - 3].decode("utf-8", "ignore") + "…"
        return whole


def source_of(kind: str, parts: Iterable[str], reading: Reading) -> str:
    """What makes it the same row when the file comes again. Rows that are alike are told apart by their order."""
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()
    return f"{kind} {digest} {reading.times(digest)}"
