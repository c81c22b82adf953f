"""The number of rows that fit into a page of MAX_PAGE_BYTES (decision 0035)."""

from collections.abc import Iterable
from typing import Any

import msgspec
from django.db.models import Func, IntegerField, TextField

# A page of 100 tasks with long descriptions was 39 MB (decision 0035).
MAX_PAGE_BYTES = 1024 * 1024
"""The limit for a page with more than one row."""
ENVELOPE_BYTES = 8 * 1024
"""Space in a page for everything except its rows. The cursor contains up to MAX_ORDERINGS values of a row."""
SHORT_BYTES = 4 * 1024
"""Values of `Listing.long` columns up to this size are read by the first statement. Longer values are read only after
their sizes have shown how many fit."""


class SizeInBytes(Func):
    """The length of a text in UTF-8. PostgreSQL does not read a long text for this."""

    output_field = IntegerField()
    template = "length(CAST(%(expressions)s AS BLOB))"

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> Any:
        """The function of PostgreSQL."""
        return self.as_sql(compiler, connection, template="octet_length(%(expressions)s)")


class ShortText(Func):
    """A text of which this is the size, or null if it has more than SHORT_BYTES."""

    output_field = TextField()

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> Any:
        """The limit is part of the SQL, because a parameter would have to be converted for each execution."""
        (text, text_params), (size, size_params) = map(compiler.compile, self.source_expressions)
        return f"CASE WHEN {size} <= {SHORT_BYTES} THEN {text} END", (*size_params, *text_params)


def full_after(sizes: Iterable[int]) -> int:
    """The number of rows of these sizes that fit into one page, at least one."""
    free_bytes = MAX_PAGE_BYTES - ENVELOPE_BYTES
    number = 0
    for size in sizes:
        free_bytes -= size + 1  # a comma
        if free_bytes < 0:
            break
        number += 1
    return max(number, 1)


def number_fitting(items: Iterable[Any]) -> int:
    """The number of these items that fit into one page, at least one."""
    return full_after(len(msgspec.json.encode(item)) for item in items)
