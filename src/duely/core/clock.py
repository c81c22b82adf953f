"""The current time, and instants as text. No other module reads the clock or formats instants."""

import math
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
    """A well-formed date in a year before 1 or after 9999."""


def now() -> datetime:
    """The current instant: aware, UTC, cut to milliseconds.

    Answers show milliseconds. If more were stored, the value in an answer would differ from the stored one, and a
    filter with it would not match its own row.
    """
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)


def whole_seconds(wait: float) -> int:
    """A wait rounded up to whole seconds, at least 1, as `Retry-After` has it."""
    return max(math.ceil(wait), 1)


def rfc3339(instant: datetime) -> str:
    """An aware instant in the form of answers: UTC, milliseconds, `Z` (RFC 3339 section 5.6)."""
    # msgspec takes a fifth of the time of `isoformat`; a page of tasks has 40 instants or more (decision 0024).
    text = _encode(instant.astimezone(UTC))
    return text[1:24].decode() + "Z" if instant.microsecond else text[1:20].decode() + ".000Z"


def as_shown(row: Iterable[Any]) -> tuple[Any, ...]:
    """The values of a row, with instants in the form of answers."""
    return tuple([rfc3339(value) if isinstance(value, datetime) else value for value in row])


def parse_day(text: str) -> date:
    """A date such as `2026-01-31`. Raises ValueError, or OutOfRange if only the year is wrong."""
    if not _DAY.fullmatch(text) or text.startswith("0000"):
        raise _fault(text)
    return date.fromisoformat(text)


def parse_instant(text: str) -> datetime:
    """An RFC 3339 instant (section 5.6; seconds are optional) in UTC, cut to milliseconds.

    Raises ValueError, or OutOfRange if its year in UTC is before 1 or after 9999.
    """
    if not _INSTANT.fullmatch(text) or text.startswith("0000"):
        raise _fault(text)
    try:
        instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise OutOfRange(text) from None
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _fault(text: str) -> ValueError:
    return OutOfRange(text) if _FAR.fullmatch(text) else ValueError(text)
