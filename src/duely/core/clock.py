"""The one place that asks for the time, and the one that reads and writes it as text."""

import re
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_FAR = re.compile(r"(?:[+-]?\d{5,6}|-\d{4}|0000)-\d\d-\d\d(?:[Tt ].{0,30})?", re.ASCII | re.DOTALL)
"""A date before the year 1 or after 9999, as ECMAScript and ISO 8601 write it."""
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII)


class OutOfRange(ValueError):
    """A date that is written as it should be, in a year that is not kept here."""


def now() -> datetime:
    """The present instant: aware, UTC, cut to milliseconds.

    Answers show milliseconds. Storing more would make a value that a client reads
    differ from the value that is stored, and a filter on it would miss its own row.
    """
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)


def rfc3339(instant: datetime) -> str:
    """An aware instant as answers show it: UTC, milliseconds, `Z` (RFC 3339 section 5.6)."""
    # A fifth of the time that `isoformat` takes: a page of tasks has 40 of them and more.
    text = _encode(instant.astimezone(UTC))
    return text[1:24].decode() + "Z" if instant.microsecond else text[1:20].decode() + ".000Z"


def as_shown(row: Iterable[Any]) -> tuple[Any, ...]:
    """The values of a row, instants as answers show them."""
    return tuple([rfc3339(value) if isinstance(value, datetime) else value for value in row])


def parse_day(text: str) -> date:
    """A date as `2026-01-31`. Raises ValueError for anything else, OutOfRange when only its year is at fault."""
    if not _DAY.fullmatch(text) or text.startswith("0000"):
        raise _fault(text)
    return date.fromisoformat(text)


def parse_instant(text: str) -> datetime:
    """An RFC 3339 instant (section 5.6; seconds may be left out) in UTC, cut to milliseconds.

    Raises ValueError for anything else, OutOfRange for one that is in no year from 1 to 9999 in UTC.
    """
    if not _INSTANT.fullmatch(text) or text.startswith("0000"):
        raise _fault(text)
    try:
        instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise OutOfRange(text) from None
    return _cut(instant)


def _fault(text: str) -> ValueError:
    return OutOfRange(text) if _FAR.fullmatch(text) else ValueError(text)


def _cut(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
