"""What a line of text is understood to say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MASK = "\x00"
"""Stands where something was understood already."""
QUOTED = "\x01"
"""Stands for text in quotes, which is read as nothing but text."""

Field = Literal["due_date", "category", "tags", "priority"]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text, in characters from its beginning, and the field that it sets. `value` as a task has it."""

    start: int
    end: int
    field: Field
    value: Any


@dataclass(frozen=True, slots=True)
class Understood:
    """The fields of the task that a text stands for, `title` among them, and what they were read from."""

    fields: Mapping[str, Any]
    spans: tuple[Span, ...]
