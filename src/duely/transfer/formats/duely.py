"""Our own export as JSON."""

from collections.abc import Callable
from typing import Any

from duely.api.bodies import checked
from duely.api.types import given
from duely.core.errors import FieldError, MalformedRequest, ValidationFailed
from duely.tasks.rules import IncomingCategory, IncomingTask
from duely.transfer.formats.base import Format, Outline, Source
from duely.transfer.formats.document import Document
from duely.transfer.reading import Reading
from duely.transfer.rows import CategoryRow, TaskRow
from duely.transfer.rules import Faulty, Incoming, Rows, at_text, faulty

HEAD = b'{"format":"duely","version":1,'
NOT_OURS = 'The file is no export that can be read: it needs "format": "duely" and "version": 1.'
ABOUT_THE_FILE = frozenset({"exported_at"})
ABOUT_THE_ACCOUNT = frozenset({"profile", "activity"})

Reader = Callable[[str, dict[str, Any]], Incoming]


def recognises(outline: Outline) -> bool:
    """Whether it says that it is ours."""
    return outline.kind == "object" and outline.has("format", "version")


def read(source: Source, reading: Reading) -> Rows:
    """The rows of an export. Its fields are ours: one that is not known is a fault. Raises MalformedRequest (400)."""
    with source.only() as file:
        document = Document(file, reading.check)
        readers: dict[str, Reader] = {"categories": _category, "tasks": _task}
        missing = {"format": "duely", "version": 1}
        for name in document.fields():
            if name in readers:
                for number in document.items():
                    yield _row(f"{name}[{number}]", document.value(), readers[name])
            elif name in missing:
                value = document.value()
                if isinstance(value, bool) or value != missing.pop(name):
                    raise MalformedRequest(NOT_OURS)
            else:
                example = document.skipped()
                is_known = name in ABOUT_THE_FILE and at_text(example.strip('"'), "UTC") is not None
                if not is_known and example not in ("null", "[]", "{}"):
                    reason = "not_imported" if name in ABOUT_THE_ACCOUNT else "left_out"
                    reading.note(name, reason, place=name, example=example)
        document.end()
        if missing:
            raise MalformedRequest(NOT_OURS)


def _row(place: str, item: Any, reader: Reader) -> Incoming:
    if not isinstance(item, dict):
        return Faulty((FieldError(place, "invalid_type", "Use an object."),))
    try:
        return reader(place, item)
    except ValidationFailed as refused:
        return faulty(place, refused)


def _category(_: str, item: dict[str, Any]) -> IncomingCategory:
    fields = given(checked(item, CategoryRow))
    _require_id(fields)
    return IncomingCategory(str(fields["id"]), fields)


def _task(place: str, item: dict[str, Any]) -> IncomingTask:
    fields = given(checked(item, TaskRow))
    _require_id(fields)
    category = fields.pop("category", None)
    return IncomingTask(fields, category=str(category) if category else None, place=place)


def _require_id(fields: dict[str, Any]) -> None:
    if "id" not in fields:
        raise ValidationFailed(FieldError("id", "required", "This field is required."))


FORMAT = Format("duely", "Duely", "the export as JSON", recognises, read)
