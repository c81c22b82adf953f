"""Shapes of `tasks/quick/`: a task in one line of text."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from duely.api.types import Parsed, text_of
from duely.core.clock import rfc3339
from duely.core.errors import FieldError, ValidationFailed
from duely.tasks import quick, rules


class QuickText(Parsed[str]):
    """One line of 1 to 1,000 characters."""

    schema = {"type": "string", "minLength": 1, "maxLength": quick.MAX_TEXT}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        return text_of(raw, longest=quick.MAX_TEXT, shortest=1)


class QuickTask(msgspec.Struct, forbid_unknown_fields=True):
    """A task as one line, such as `Pay rent tomorrow 9am #home @bank !high`. With `preview` no task is created."""

    examples: ClassVar[Mapping[str, Any]] = {
        "task": {"text": "Pay rent tomorrow 9am @bank !high"},
        "preview": {"text": "Pay rent tomorrow 9am @bank !high", "preview": True},
    }

    text: QuickText
    preview: bool = False


class QuickSpan(msgspec.Struct, frozen=True):
    """A part of the text that sets a field: from `start` up to but not including `end`, counted in code points.

    `value` is the value of the field. There may be several spans for `tags`.
    """

    start: int
    end: int
    text: str
    field: quick.Field
    value: str


class QuickPreview(msgspec.Struct, frozen=True):
    """The recognized parts of the text, and the remaining title."""

    title: str
    spans: list[QuickSpan]


def checked_title(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that were understood. Raises ValidationFailed (400) when too much is left for a title."""
    if len(fields["title"]) > rules.MAX_TITLE:
        about = f"{len(fields['title'])} characters are left for the title; use at most {rules.MAX_TITLE}."
        raise ValidationFailed(FieldError("text", "too_long", about))
    return fields


def show_preview(text: str, found: quick.Understood) -> QuickPreview:
    """What was understood of a text as clients see it."""
    spans = [
        QuickSpan(span.start, span.end, text[span.start : span.end], span.field, _shown(span.value))
        for span in found.spans
    ]
    return QuickPreview(found.fields["title"], spans)


def _shown(value: Any) -> str:
    return rfc3339(value) if isinstance(value, datetime) else str(value)
