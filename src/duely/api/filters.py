"""Filters of lists: their query parameters, the form of the values, and the conditions that they select.

A filter is declared once, in a module's schemas. Its parameters, their documentation and the condition are derived from
the declaration. No text from a request ever becomes the name of a column.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q

from duely.api.bodies import Invalid, far_year, is_plain
from duely.api.types import reference
from duely.core.actor import Actor
from duely.core.clock import OutOfRange, parse_day, parse_instant

MAX_CHOICES = 50
RANGE = {"gte": "gte", "gt": "gt", "lte": "lte", "lt": "lt"}


@dataclass(frozen=True, slots=True)
class Filter:
    """One filterable field: the parameter `name`, with `name__suffix` beside it for each suffix.

    column: the ORM column. parse: reads one value or raises Invalid. schema: the JSON schema of one value.
    many: accepts several values, separated by commas; a row matches if one of them does. select: makes the condition of
    a lookup and a value, in place of a comparison with the column.
    """

    name: str
    column: str
    parse: Callable[[str, Actor], Any]
    schema: Mapping[str, Any]
    suffixes: tuple[str, ...] = ()
    many: bool = True
    description: str = ""
    select: Callable[[str, Any], Q] | None = None

    def parameters(self) -> Iterable[tuple[str, Mapping[str, Any], str]]:
        """Name, JSON schema and description of each query parameter."""
        description = self.description or f"Filters by `{self.name}`: equal to this value."
        array = {"type": "array", "items": self.schema, "minItems": 1, "maxItems": MAX_CHOICES}
        yield self.name, array if self.many else self.schema, description
        for suffix in self.suffixes:
            match suffix:
                case "isnull":
                    yield f"{self.name}__isnull", {"type": "boolean"}, f"Filters by whether `{self.name}` is null."
                case "ne":
                    yield (
                        f"{self.name}__ne",
                        array if self.many else self.schema,
                        f"Filters by `{self.name}`: not equal to this value.",
                    )
                case _:
                    yield f"{self.name}__{suffix}", self.schema, f"`{self.name}` {SIGNS[suffix]} this."

    def condition(self, suffix: str, raw: str, actor: Actor) -> Q:
        """The condition for `name__suffix=raw`. Raises Invalid."""
        if suffix == "isnull":
            return Q((f"{self.column}__isnull", boolean(raw, actor)))
        if suffix in RANGE:
            return self._condition_of(RANGE[suffix], self.parse(raw, actor))
        texts = raw.split(",") if self.many else [raw]
        if len(texts) > MAX_CHOICES:
            raise Invalid("too_many", f"Use at most {MAX_CHOICES} values.")
        values = [self.parse(text.strip() if self.many else text, actor) for text in texts]
        condition = Q()
        if self.select is None and len(values) > 1:
            condition = Q((f"{self.column}__in", values))
        else:
            for value in values:
                condition |= self._condition_of("exact", value)
        if suffix != "ne":
            return condition
        if self.nullable:
            # In SQL, NULL is not unequal to any value: rows without a value would be missing.
            return ~condition | Q((f"{self.column}__isnull", True))
        return ~condition

    @property
    def nullable(self) -> bool:
        """Whether rows without a value exist, which `ne` then includes."""
        return "isnull" in self.suffixes

    def _condition_of(self, lookup: str, value: Any) -> Q:
        if self.select is not None:
            return self.select(lookup, value)
        return Q((f"{self.column}__{lookup}", value))


UUID_TEXT = {"type": "string", "format": "uuid"}
SIGNS = {"gte": "≥", "gt": ">", "lte": "≤", "lt": "<"}


def boolean(raw: str, _actor: Actor) -> bool:
    """`true` or `false`, in any case, or `1` and `0`."""
    match raw.lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise Invalid("invalid_choice", "Use true or false.")


def identifier(raw: str, _actor: Actor) -> UUID:
    """A UUID in its usual form."""
    try:
        if len(raw) == 36:  # UUID() also accepts braces, a prefix and no dashes
            return UUID(raw)
    except ValueError:
        pass
    raise Invalid("invalid_id", "Use a UUID, such as 0198c3a0-0000-7000-8000-000000000000.")


def text(raw: str, _actor: Actor) -> str:
    """Text without control characters."""
    if not 0 < len(raw) <= 255 or not is_plain(raw):
        raise Invalid("invalid_format", "Use 1 to 255 characters without control characters.")
    return raw


def word(raw: str, actor: Actor) -> str:
    """A word in upper or lower case. Answers write it in lower case."""
    return text(raw, actor).lower()


def integer(raw: str, _actor: Actor) -> int:
    """A whole number that fits 63 bits."""
    # Python accepts digits of other scripts, and 19 digits may exceed 63 bits.
    if raw.isascii() and raw.isdigit() and len(raw) < 19:
        return int(raw)
    raise Invalid("invalid_type", "Use a whole number of at most 18 digits.")


def choice(values: type[Enum]) -> Callable[[str, Actor], Any]:
    """A parser of one value of an enumeration, in upper or lower case, or one of its aliases."""

    def parse(raw: str, _actor: Actor) -> Any:
        try:
            return values(raw)
        except ValueError:
            raise Invalid("invalid_choice", f"Use one of: {', '.join(item.value for item in values)}.") from None

    return parse


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a date or an instant in a filter covers: from `start` on, before `end`."""

    start: datetime
    end: datetime

    def condition(self, column: str, lookup: str) -> Q:
        """The condition for rows within, before or after this span."""
        match lookup:
            case "gte":
                return Q((f"{column}__gte", self.start))
            case "gt":
                return Q((f"{column}__gte", self.end))
            case "lte":
                return Q((f"{column}__lt", self.end))
            case "lt":
                return Q((f"{column}__lt", self.start))
        return Q((f"{column}__gte", self.start), (f"{column}__lt", self.end))


def span(raw: str, actor: Actor) -> Span:
    """A date (that whole day in the caller's time zone) or an instant (that millisecond). Raises Invalid."""
    try:
        if len(raw) == len("2026-01-31"):
            return _span_of_day(parse_day(raw), ZoneInfo(actor.zone))
        # A plus sign that was not percent-encoded arrives as a blank.
        start = parse_instant(raw[:-6] + "+" + raw[-5:] if raw[-6:-5] == " " else raw)
    except OutOfRange:
        raise far_year() from None
    except ValueError:
        raise Invalid("invalid_date", "Use 2026-01-31 or 2026-01-31T09:00:00Z.") from None
    millisecond = timedelta(milliseconds=1)
    return Span(start, start + millisecond if start <= _LAST - millisecond else _LAST)


def _span_of_day(day: date, zone: ZoneInfo) -> Span:
    """The span of a day in a time zone, limited to the instants from year 1 to 9999."""
    try:
        start = datetime.combine(day, time.min, zone).astimezone(UTC)
    except OverflowError:
        start = _FIRST
    try:
        return Span(start, datetime.combine(day + timedelta(days=1), time.min, zone).astimezone(UTC))
    except OverflowError:
        return Span(start, _LAST)


_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


DATE_OR_INSTANT = {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]}


def moments(name: str, column: str, *, nullable: bool = False) -> Filter:
    """A filter for a column of instants. It accepts dates too (decision 0005)."""
    return Filter(
        name,
        column,
        span,
        DATE_OR_INSTANT,
        suffixes=("gte", "gt", "lte", "lt", *(("isnull",) if nullable else ())),
        many=False,
        description=f"Filters by `{name}`: on this day (in your time zone) or at this instant.",
        select=lambda lookup, value: value.condition(column, lookup),
    )


def choices(name: str, column: str, values: type[Enum], *, ranks: Mapping[Any, int] | None = None) -> Filter:
    """A filter for an enumeration. With `ranks` the column holds numbers, and the filter accepts ranges."""
    parse = choice(values)
    return Filter(
        name,
        column,
        (lambda raw, actor: ranks[parse(raw, actor)]) if ranks else parse,
        reference(values),
        suffixes=("ne", *(RANGE if ranks else ())),
    )


def flags(name: str, select: Callable[[bool], Q], description: str) -> Filter:
    """A filter with the values true and false, whose condition is computed by `select`."""
    return Filter(
        name,
        name,
        boolean,
        {"type": "boolean"},
        many=False,
        description=description,
        select=lambda _, value: select(value),
    )


@dataclass(frozen=True, slots=True)
class Order:
    """A field by which a list can be ordered. nullable: rows without a value exist; they come last."""

    column: str
    nullable: bool = False
