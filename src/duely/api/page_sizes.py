"""How many rows fit into a page of MAX_PAGE_BYTES."""

from collections.abc import Iterable
from typing import Any

import msgspec
from django.db.models import Func, IntegerField, TextField

# A page of 100 tasks with long descriptions was 39 MB (decision 0035).
MAX_PAGE_BYTES = 1024 * 1024
"""Size of a page with more than one row."""
ENVELOPE_BYTES = 8 * 1024
"""Room in a page for everything but its rows: the cursor holds up to MAX_ORDERINGS values of a row."""
SHORT_BYTES = 4 * 1024
"""Values of `Listing.long` columns up to this size are read at once; longer ones only once it is known how many fit."""


class SizeInBytes(Func):
    """The length of a text in UTF-8. PostgreSQL does not load a long text for it."""

    output_field = IntegerField()
    template = "length(CAST(%(expressions)s AS BLOB))"

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> Any:
        """PostgreSQL."""
        return self.as_sql(compiler, connection, template="octet_length(%(expressions)s)")


class ShortText(Func):
    """A text and its size: null in place of one of more than SHORT_BYTES."""

    output_field = TextField()

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> Any:
        """The limit stands in the statement, where it costs no parameter for each execution."""
        (text, text_params), (size, size_params) = map(compiler.compile, self.source_expressions)
        return f"CASE WHEN {size} <= {SHORT_BYTES} THEN {text} END", (*size_params, *text_params)


def full_after(sizes: Iterable[int]) -> int:
    """How many rows of these sizes fit into one page, at least one."""
    room = MAX_PAGE_BYTES - ENVELOPE_BYTES
    number = 0
    for size in sizes:
        room -= size + 1
        if room < 0:
            break
        number += 1
    return max(number, 1)


def number_fitting(items: Iterable[Any]) -> int:
    """How many of these items fit into one page, at least one."""
    return full_after(len(msgspec.json.encode(item)) for item in items)
