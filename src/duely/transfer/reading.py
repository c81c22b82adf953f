"""The reading layer: records of a file that account for every value in them, and the notes on what was not taken.

A reader gets a `Record`, takes the fields that it knows, and is done. What it did not take is noted by the layer, not
by the reader.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_NOTES = 200
"""Different notes of one import. Further ones are counted together, as `OTHERS`."""
MAX_EXAMPLE = 100
"""Characters of an example and of a field's name."""
OTHERS = "*"

REASONS: Mapping[str, str] = {
    "left_out": "Not imported: a task has no such field.",
    "not_imported": "Not imported: an import only changes categories and tasks, not your profile or change log.",
    "internal": "Not imported: the value has a meaning only in the other program.",
    "moved": "Put into the description: a task has no such field, or the field cannot hold this value.",
    "cut": "Cut: the value is too long for the field. The rest is not imported.",
    "changed": "Imported with a change: Duely has no exact counterpart.",
    "not_understood": "Not imported: the value could not be read.",
    "unresolved": "Not imported: it refers to something that is not in the file.",
    "unused": "Not imported: no task in the file uses it.",
    "repeated": "Another row of the file has the same id: imported as a separate task.",
}


@dataclass(slots=True)
class Note:
    """What became of the values of one field that could not be taken as they were. `place`, `example`: of the first."""

    field: str
    reason: str
    place: str
    example: str
    count: int = 0


@dataclass(slots=True)
class Reading:
    """What a reader says of a file beside its rows.

    check: called from time to time while the file is read; raises when the work takes too long.
    """

    check: Callable[[], None] = lambda: None
    columns: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    _sources: Counter[int] = field(default_factory=Counter)
    _notes: dict[tuple[str, str], Note] = field(default_factory=dict)

    @property
    def notes(self) -> list[Note]:
        """The notes, in the order in which they came up."""
        return list(self._notes.values())

    def times(self, identity: str) -> int:
        """How often the identity of a row has come, with this time."""
        # One number takes little room. Two identities with one number only make the later row the next one.
        short = int.from_bytes(hashlib.sha256(identity.encode("utf-8", "replace")).digest()[:8])
        self._sources[short] += 1
        return self._sources[short]

    def note(self, name: str, reason: str, *, place: str = "", example: Any = "", count: int = 1) -> None:
        """Count a value that was not taken as it was. reason: one of REASONS."""
        name = name[:MAX_EXAMPLE]
        note = self._notes.get((name, reason))
        if note is None and len(self._notes) >= MAX_NOTES:
            name = OTHERS
            note = self._notes.get((name, reason))
        if note is None:
            note = self._notes[name, reason] = Note(name, reason, place, example_of(example))
        note.count += count


def example_of(value: Any) -> str:
    """The beginning of a value, as text."""
    if isinstance(value, str):
        text = value
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
        except (RecursionError, ValueError):
            text = "…"
    text = "".join(sign if sign.isprintable() else " " for sign in text[: MAX_EXAMPLE + 1])
    return text if len(text) <= MAX_EXAMPLE else text[: MAX_EXAMPLE - 1] + "…"


def is_empty(value: Any) -> bool:
    """Whether there is nothing in a value that could get lost."""
    return value is None or (isinstance(value, str) and not value.strip()) or value == [] or value == {}


class Record:
    """An object or a row of a file by the names of its fields, which knows what was taken from it.

    label: stands before the names of fields in notes. defaults: values that mean "not set" in the other program.
    internal: fields that only mean something there.
    """

    __slots__ = ("_defaults", "_internal", "_left", "_reading", "label", "place", "values")

    def __init__(
        self,
        values: Mapping[str, Any],
        place: str,
        reading: Reading,
        label: str = "",
        defaults: Mapping[str, Any] | None = None,
        internal: Iterable[str] = (),
    ) -> None:
        self.values = values
        self.place = place
        self.label = label
        self._reading = reading
        self._left = dict(values)
        self._defaults = defaults or {}
        self._internal = internal

    def take(self, name: str) -> Any:
        """A value as it is; None where the field is missing."""
        return self._left.pop(name, None) if name in self._left else self.values.get(name)

    def text(self, name: str) -> str:
        """A text, or a number as text; "" for anything else, which is noted."""
        value = self.take(name)
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        self._wrong(name, value, "")
        return ""

    def flag(self, name: str) -> bool:
        """A boolean; false for anything else, which is noted."""
        value = self.take(name)
        return value if isinstance(value, bool) else self._wrong(name, value, False)

    def number(self, name: str) -> int:
        """A whole number; 0 for anything else, which is noted."""
        value = self.take(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else self._wrong(name, value, 0)

    def texts(self, name: str) -> list[str]:
        """A list of texts. Other items are noted."""
        return [item for item in self.items(name) if isinstance(item, str) or self._wrong(name, item, False)]

    def items(self, name: str) -> list[Any]:
        """A list; an empty one for anything else, which is noted."""
        value = self.take(name)
        return value if isinstance(value, list) else self._wrong(name, value, [])

    def records(self, name: str, internal: Iterable[str] = ()) -> "list[Record]":
        """A list of objects. Other items are noted. Call `finish` on each."""
        objects = [item for item in self.items(name) if isinstance(item, dict) or self._wrong(name, item, False)]
        return [self.inner(name, item, internal) for item in objects]

    def inner(self, name: str, values: Mapping[str, Any], internal: Iterable[str] = ()) -> "Record":
        """An object that was found in a field, as a record. Call `finish` on it."""
        return Record(values, self.place, self._reading, f"{self.label}{name}.", None, internal)

    def record(self, name: str, internal: Iterable[str] = ()) -> "Record":
        """An object; an empty one for anything else, which is noted. Call `finish` on it."""
        value = self.take(name)
        return self.inner(name, value if isinstance(value, dict) else self._wrong(name, value, {}), internal)

    def note(self, name: str, reason: str, example: Any) -> None:
        """Count a value of this record that was not taken as it was."""
        self._reading.note(f"{self.label}{name}", reason, place=self.place, example=example)

    def finish(self) -> None:
        """Note every value that nobody has taken."""
        for name, value in self._left.items():
            if not is_empty(value) and (name not in self._defaults or self._defaults[name] != value):
                self.note(name, "internal" if name in self._internal else "left_out", value)
        self._left.clear()

    def _wrong(self, name: str, value: Any, instead: Any) -> Any:
        if not is_empty(value):
            self.note(name, "not_understood", value)
        return instead
